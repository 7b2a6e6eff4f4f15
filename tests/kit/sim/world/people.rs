//! Who is in the world: accounts, phones, peers, routers.

use super::{AccountKey, World};
use crate::sim::net::Nat;
use crate::sim::phone::{Identity, Phone};
use crate::sim::script::Do;
use sip::locate::Wanted;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use switch::account::{Peer, RouteTarget};
use switch::{Command, Need, Trust, Way};
use words::{PeerId, Srtp, Transport, UserId};

/// A phone of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PhoneId(pub(crate) usize);

/// A router of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatKey(pub(crate) usize);

/// Where a phone stands and whose it is.
#[derive(Clone, Debug)]
pub struct Site {
    extension: String,
    account: Option<AccountKey>,
    transport: Transport,
    nat: Option<NatKey>,
    by_address: bool,
    same_user: bool,
    ipv6: bool,
}

impl Site {
    /// A phone of the office that speaks UDP and is behind no router.
    pub fn new(extension: &str) -> Site {
        Site {
            extension: extension.to_owned(),
            account: None,
            transport: Transport::Udp,
            nat: None,
            by_address: false,
            same_user: false,
            ipv6: false,
        }
    }

    /// Of another account.
    #[must_use]
    pub fn of(mut self, account: AccountKey) -> Site {
        self.account = Some(account);
        self
    }

    /// Speaks TCP.
    #[must_use]
    pub fn tcp(mut self) -> Site {
        self.transport = Transport::Tcp;
        self
    }

    /// Speaks another transport than UDP.
    #[must_use]
    pub fn over(mut self, transport: Transport) -> Site {
        self.transport = transport;
        self
    }

    /// Has an address of IPv6, and no other.
    #[must_use]
    pub fn ipv6(mut self) -> Site {
        self.ipv6 = true;
        self
    }

    /// Stands behind a router.
    #[must_use]
    pub fn behind(mut self, nat: NatKey) -> Site {
        self.nat = Some(nat);
        self
    }

    /// Knows our address and its user name only, not the domain.
    #[must_use]
    pub fn by_address(mut self) -> Site {
        self.by_address = true;
        self
    }

    /// A further device of a user who is there already.
    #[must_use]
    pub fn second_device(mut self) -> Site {
        self.same_user = true;
        self
    }
}

impl World {
    /// A new account.
    pub fn account(&mut self, name: &str) -> AccountKey {
        let account = self.directory.add_account(name);
        self.tell_directory();
        account
    }

    /// A new user of the office, and its phone.
    pub fn phone(&mut self, extension: &str) -> PhoneId {
        self.add(Site::new(extension))
    }

    /// A new user and its phone.
    pub fn add(&mut self, site: Site) -> PhoneId {
        let account = site.account.unwrap_or(self.office);
        let found = self.directory.account(account);
        let auth_user = format!("{}-{}", found.name, site.extension);
        let domain = found.domain.clone();
        let password = format!("secret of {auth_user}");
        if !site.same_user {
            self.directory.add_user(account, &site.extension, &auth_user, &password);
        }
        let n = self.phones.len() as u8 + 1;
        let ip: IpAddr = match site.nat {
            None if site.ipv6 => Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, n.into()).into(),
            None => Ipv4Addr::new(198, 51, 100, n).into(),
            Some(NatKey(nat)) => Ipv4Addr::new(192, 168, nat as u8, n).into(),
        };
        let (number, host) =
            if site.by_address { (auth_user.clone(), exchange().ip().to_string()) } else { (site.extension, domain) };
        let identity = Identity { number, auth_user, password: Some(password), host };
        self.put(identity, site.transport, SocketAddr::new(ip, 5060), site.nat)
    }

    /// A new user of the office without a phone.
    pub fn user(&mut self, extension: &str) -> UserId {
        let auth_user = format!("office-{extension}");
        self.directory.add_user(self.office, extension, &auth_user, "nobody knows")
    }

    /// A static peer of the office, which is a phone that does not register.
    pub fn peer(&mut self, name: &str) -> (PeerId, PhoneId) {
        let n = self.phones.len() as u8 + 1;
        self.peer_at(name, SocketAddr::new(Ipv4Addr::new(198, 18, 0, n).into(), 5060))
    }

    /// The same at an address that the test chooses.
    pub fn peer_at(&mut self, name: &str, address: SocketAddr) -> (PeerId, PhoneId) {
        self.peer_over(name, address, Transport::Udp)
    }

    /// The same over another transport.
    pub fn peer_over(&mut self, name: &str, address: SocketAddr, transport: Transport) -> (PeerId, PhoneId) {
        let id = PeerId(self.phones.len() as u32 + 1);
        self.directory.add_peer(Peer {
            id,
            account: self.office,
            name: name.to_owned(),
            host: address.to_string(),
            addresses: vec![address],
            by_name: None,
            from: Some((u16::from(transport.is_reliable()), exchange())),
            transport,
            trust: Trust::default(),
            srtp: Srtp::default(),
        });
        self.tell_directory();
        let host = exchange().to_string();
        let identity = Identity { number: name.to_owned(), auth_user: name.to_owned(), password: None, host };
        (id, self.put(identity, transport, address, None))
    }

    /// What a peer and the exchange tell each other from now on.
    pub fn trust(&mut self, peer: PeerId, trust: Trust) {
        self.directory.change_peer(peer, |peer| peer.trust = trust);
        self.tell_directory();
    }

    /// A static peer of the office that is known by its name, and located by DNS.
    pub fn named_peer(&mut self, name: &str, wanted: Wanted) -> PeerId {
        let id = PeerId(self.directory.peers().len() as u32 + 200);
        self.directory.add_peer(Peer {
            id,
            account: self.office,
            name: name.to_owned(),
            host: wanted.host.to_string(),
            addresses: Vec::new(),
            transport: wanted.transport.unwrap_or(Transport::Udp),
            by_name: Some(wanted),
            from: None,
            trust: Trust::default(),
            srtp: Srtp::default(),
        });
        self.tell_directory();
        id
    }

    /// Whether a phone's media are to be encrypted from now on.
    pub fn srtp(&mut self, extension: &str, srtp: Srtp) {
        let found = self.directory.user_of(self.office, extension);
        let mut auth_user = String::new();
        self.directory.change_user(found, |user| {
            user.srtp = srtp;
            auth_user.clone_from(&user.auth_user);
        });
        let (account, extension) = (self.office, extension.to_owned());
        for need in [Need::AuthUser(auth_user), Need::Extension { account, extension }] {
            self.command(Command::Changed { need });
        }
    }

    /// A server at an address: a phone that does not register.
    pub fn server(&mut self, address: &str, transport: Transport) -> PhoneId {
        let address: SocketAddr = address.parse().expect("tests write addresses");
        let identity = Identity {
            number: address.ip().to_string(),
            auth_user: address.to_string(),
            password: None,
            host: exchange().to_string(),
        };
        self.put(identity, transport, address, None)
    }

    /// A peer was seen through a proxy until now, which does not record itself: from now on it is where its Contact says.
    pub fn step_out(&mut self, peer: PhoneId) {
        let phone = &mut self.phones[peer.0];
        phone.address = phone.habits.contact_at.take().expect("it said where it is");
        self.laws.know_host(phone.address.ip());
    }

    /// A router that translates addresses.
    pub fn nat(&mut self) -> NatKey {
        let n = self.net.nats.len();
        self.net.nats.push(Nat::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, n as u8 + 1))));
        NatKey(n)
    }

    /// Switches a router off and on: everybody behind it is seen at another port from now on.
    pub fn rebind(&mut self, nat: NatKey) {
        self.net.nats[nat.0].rebind();
    }

    /// A route of the office.
    pub fn route(&mut self, pattern: &str, target: RouteTarget) {
        self.directory.add_route(self.office, pattern, target);
        self.command(Command::AccountChanged { account: self.office });
    }

    /// A number of the office that rings several extensions.
    pub fn ring_list(&mut self, pattern: &str, extensions: &[&str], ring_for: Duration, in_order: bool) {
        let extensions = extensions.iter().map(|&extension| extension.to_owned()).collect();
        self.route(pattern, RouteTarget::Ring { extensions, ring_for, in_order });
    }

    /// How long extensions of the office ring.
    pub fn ring_for(&mut self, ring_for: Duration) {
        self.directory.change_account(self.office, |account| account.ring_for = ring_for);
        self.command(Command::AccountChanged { account: self.office });
    }

    /// A phone.
    pub fn at_phone(&self, phone: PhoneId) -> &Phone {
        &self.phones[phone.0]
    }

    /// A phone, to change its habits.
    pub fn phone_mut(&mut self, phone: PhoneId) -> &mut Phone {
        &mut self.phones[phone.0]
    }

    /// Whose phone it is.
    ///
    /// # Panics
    /// For a peer's.
    pub fn user_of(&self, phone: PhoneId) -> UserId {
        let auth_user = &self.phones[phone.0].identity.auth_user;
        let user = self.directory.users.iter().find(|user| user.auth_user == *auth_user);
        user.expect("it is a user's phone").id
    }

    /// Tells a phone to do something now, on its newest line where that matters.
    pub fn tell(&mut self, phone: PhoneId, what: Do) {
        self.tell_in(Duration::ZERO, phone, what);
        self.pass(Duration::ZERO);
    }

    /// Tells a phone to do something after a while, on the line that is its newest now.
    pub fn tell_in(&mut self, after: Duration, phone: PhoneId, what: Do) {
        let line = self.phones[phone.0].lines.len().saturating_sub(1);
        self.later(after, super::Due::Act { phone: phone.0, line, what });
    }

    /// Tells a phone to do something on one of its lines, counted from 0, now.
    pub fn tell_line(&mut self, phone: PhoneId, line: usize, what: Do) {
        self.later(Duration::ZERO, super::Due::Act { phone: phone.0, line, what });
        self.pass(Duration::ZERO);
    }

    /// The same after a while.
    pub fn tell_line_in(&mut self, after: Duration, phone: PhoneId, line: usize, what: Do) {
        self.later(after, super::Due::Act { phone: phone.0, line, what });
    }

    /// Registers phones and waits until all are bound.
    ///
    /// # Panics
    /// When one is not.
    pub fn register(&mut self, phones: &[PhoneId]) {
        for &phone in phones {
            self.tell(phone, Do::Register(3_600));
        }
        let bound = |world: &World| phones.iter().all(|&phone| world.at_phone(phone).registration.granted.is_some());
        assert!(self.until(Duration::from_secs(40), bound), "a phone could not register");
    }

    /// Takes a phone's power away: nothing comes from it any more, and nobody is told.
    pub fn unplug(&mut self, phone: PhoneId) {
        self.phones[phone.0].plugged = false;
    }

    /// Gives it back. The phone knows what it knew: its cable was out, not its memory.
    pub fn plug(&mut self, phone: PhoneId) {
        self.phones[phone.0].plugged = true;
    }

    /// Carries a phone to behind another router: from now on it is seen elsewhere.
    pub fn move_phone(&mut self, phone: PhoneId, nat: NatKey) {
        self.phones[phone.0].nat = Some(nat.0);
    }

    /// All phones, in the order in which they came.
    pub fn phones(&self) -> impl Iterator<Item = PhoneId> + use<> {
        (0..self.phones.len()).map(PhoneId)
    }

    fn put(&mut self, identity: Identity, transport: Transport, address: SocketAddr, nat: Option<NatKey>) -> PhoneId {
        let server = exchange_for(address);
        let mut phone = Phone::new(identity, transport, address, server, self.chance.fork(), self.now);
        phone.nat = nat.map(|nat| nat.0);
        self.phones.push(phone);
        PhoneId(self.phones.len() - 1)
    }
}

/// From where the exchange calls servers.
pub(crate) fn ways() -> Vec<Way> {
    let way = |(transport, listener)| Way { transport, listener, local: exchange() };
    [(Transport::Udp, 0), (Transport::Tcp, 1), (Transport::Tls, 1)].map(way).to_vec()
}

/// Where the exchange listens: UDP is its listener 0, streams are 1.
pub(crate) fn exchange() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(192, 0, 2, 10).into(), 5060)
}

/// Where it listens for those who have an address like this one.
pub(crate) fn exchange_for(address: SocketAddr) -> SocketAddr {
    if address.is_ipv4() {
        return exchange();
    }
    SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10).into(), 5060)
}

/// All addresses of the exchange.
pub(crate) fn own() -> Vec<SocketAddr> {
    let anywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    anywhere.map(|ip| exchange_for(SocketAddr::new(ip, 0))).to_vec()
}
