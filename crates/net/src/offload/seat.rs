//! Who sits at the entrance of an interface (tc), in which order, and whether the process of one of ours is there.
//!
//! On kernels before 6.6 a programme outlives its process. Each process that puts it there holds a name in the network
//! namespace that dies with it, and its filters bear the number of that name: so what a dead process left behind is told
//! from what a living one uses, without a right to look into either.

use super::OffloadError;
use crate::route::{Interface, Routes};
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact};
use aya::programs::{LinkOrder, ProgramError, ProgramInfo, SchedClassifier, TcAttachType};
use aya::util::KernelVersion;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// By which way of the kernel the programme comes to the entrance of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// The kernel takes it off when the process ends, and puts it before others.
    Tcx,
    /// What kernels before 6.6 have: it stays until somebody takes it off, and comes after others that name a place.
    Clsact,
}

impl Entrance {
    /// The best that this kernel has.
    pub fn best() -> Self {
        let has_tcx = KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0));
        if has_tcx { Entrance::Tcx } else { Entrance::Clsact }
    }
}

/// Puts the programme of one process to the entrances of interfaces, and looks who else is there.
pub(super) struct Usher {
    entrance: Entrance,
    /// Of [`Entrance::Clsact`].
    token: Option<Token>,
    routes: Routes,
}

/// A programme at an entrance.
struct Seat {
    programme: Option<u32>,
    name: String,
}

impl Usher {
    pub(super) fn new(entrance: Entrance) -> io::Result<Self> {
        let token = match entrance {
            Entrance::Tcx => None,
            Entrance::Clsact => Some(Token::take()?),
        };
        Ok(Usher { entrance, token, routes: Routes::open()? })
    }

    /// All interfaces.
    pub(super) fn interfaces(&self) -> io::Result<Vec<Interface>> {
        self.routes.interfaces()
    }

    /// Puts the programme there; what dead processes left is taken away first.
    pub(super) fn seat(
        &self,
        programme: &mut SchedClassifier,
        interface: &Interface,
    ) -> Result<SchedClassifierLink, ProgramError> {
        let options = match &self.token {
            // First, because what another one lets pass does not come to us.
            None => TcAttachOptions::TcxOrder(LinkOrder::first()),
            Some(token) => {
                // Whoever else uses the interface has made the place already.
                let _ = qdisc_add_clsact(&interface.name);
                self.clear(interface, token);
                let handle = TcHandle::from(token.number);
                TcAttachOptions::Netlink(NlOptions { handle, ..NlOptions::default() })
            }
        };
        let id = programme.attach_with_options(&interface.name, TcAttachType::Ingress, options)?;
        programme.take_link(id)
    }

    /// Whether a programme is still there; one that cannot be looked for is taken for there.
    pub(super) fn is_seated(&self, programme: u32, interface: &Interface) -> bool {
        self.seats(interface).is_none_or(|seats| seats.iter().any(|seat| seat.programme == Some(programme)))
    }

    /// Whose programme sees packets before ours, which `programme` names where it is there.
    pub(super) fn ahead(&self, programme: Option<u32>, interface: &Interface) -> Option<OffloadError> {
        let seats = self.seats(interface)?;
        let is_ours = |seat: &Seat| match programme {
            Some(_) => seat.programme == programme,
            None => seat.name == super::program::TC,
        };
        let ours = seats.iter().position(is_ours)?;
        let other = seats.iter().take(ours).find(|seat| seat.name != super::program::TC)?;
        Some(OffloadError::Ahead { interface: interface.name.clone(), programme: other.name.clone() })
    }

    /// Everybody at the entrance, in order; `None` when that is not told: names of programmes need CAP_SYS_ADMIN.
    fn seats(&self, interface: &Interface) -> Option<Vec<Seat>> {
        match self.entrance {
            Entrance::Tcx => {
                // One of them may go away between being listed and being looked at.
                let listed = || SchedClassifier::query_tcx(&interface.name, TcAttachType::Ingress).ok();
                let (_, programmes) = (0..LOOKS).find_map(|_| listed())?;
                Some(programmes.iter().map(Seat::of).collect())
            }
            Entrance::Clsact => {
                let filters = self.routes.filters(interface.index).ok()?;
                Some(filters.into_iter().map(|it| Seat { programme: it.programme, name: it.name }).collect())
            }
        }
    }

    /// Takes away what dead processes left, and what has our own number and is not ours any more.
    fn clear(&self, interface: &Interface, own: &Token) {
        let left = self.routes.filters(interface.index).unwrap_or_default();
        for filter in left.into_iter().filter(|filter| filter.name == super::program::TC) {
            if filter.handle == own.number || !Token::is_held(filter.handle) {
                let (at, handle) = (TcAttachType::Ingress, TcHandle::from(filter.handle));
                // Its link takes it off when it is dropped.
                drop(SchedClassifierLink::attached(&interface.name, at, filter.priority, handle, None));
            }
        }
    }
}

impl Seat {
    fn of(info: &ProgramInfo) -> Self {
        let name = info.name_as_str().filter(|name| !name.is_empty());
        Seat { programme: Some(info.id()), name: name.map_or_else(|| info.id().to_string(), str::to_owned) }
    }
}

/// A number whose name this process holds as long as it lives: an abstract socket of the network namespace.
struct Token {
    number: u32,
    _held: UnixDatagram,
}

impl Token {
    fn take() -> io::Result<Self> {
        for number in 1..=TOKENS {
            match UnixDatagram::bind_addr(&Token::name(number)?) {
                Ok(held) => return Ok(Token { number, _held: held }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Whether somebody holds it; what cannot be told counts as held.
    fn is_held(number: u32) -> bool {
        let asked = Token::name(number).and_then(|name| UnixDatagram::unbound()?.connect_addr(&name));
        !asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    fn name(number: u32) -> io::Result<SocketAddr> {
        SocketAddr::from_abstract_name(format!("crosspoint/tc/{number}"))
    }
}

/// How many processes of ours may use one network namespace.
const TOKENS: u32 = 1_024;
/// How often a list that changed under our eyes is asked for.
const LOOKS: usize = 8;
