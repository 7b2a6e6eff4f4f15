//! What phones do: when they are told, and by themselves.

use crate::sim::session::{CODECS, Keying};
use sip::{HeaderName, Refresher};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Something for a phone to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Do {
    /// Register, for so many seconds.
    Register(u32),
    /// Remove its binding.
    Unregister,
    /// Ask which bindings there are (RFC 3261 §10.2.3).
    AskBindings,
    /// Call a number on a new line.
    Call {
        /// What is dialled.
        number: String,
        /// Leave the offer to the callee.
        without_offer: bool,
    },
    /// Call in the place of a dialog (RFC 3891).
    CallInstead {
        /// What is dialled.
        number: String,
        /// The value of Replaces.
        replaces: String,
    },
    /// Send a message (RFC 3428).
    Message {
        /// To whom.
        number: String,
        /// What.
        text: String,
    },
    /// 180.
    Ring,
    /// 183 with a description.
    Early,
    /// 200 to a call.
    Answer,
    /// This status to a call.
    Refuse(u16),
    /// 302 to a call, with these Contacts.
    Redirect(Vec<String>),
    /// Cancel, refuse or end the call, whatever fits.
    HangUp,
    /// Put the other side on hold.
    Hold,
    /// Talk again; after a fax too.
    Resume,
    /// Switch to a fax (T.38).
    Fax,
    /// A re-INVITE that leaves the offer to the other side.
    Refresh,
    /// A re-INVITE that offers what was said last, word for word.
    Repeated,
    /// Refresh the session, or give it up, unless it was refreshed since it was set for that time.
    Keep(u32),
    /// Send a provisional answer again, unless its PRACK came.
    Repeat(u32),
    /// An INFO with a digit.
    Digit(char),
    /// Transfer the other side (RFC 3515).
    Refer {
        /// To whom: a number, or a whole URI.
        to: String,
        /// The line of this phone whose place is to be taken there: an attended transfer.
        instead_of: Option<usize>,
        /// It does not want to hear what becomes of it (RFC 4488).
        silently: bool,
    },
    /// Speak from another port of its media address from now on, and say so.
    Move,
    /// Watch a number.
    Watch {
        /// Whom.
        number: String,
        /// The event package, with parameters.
        event: &'static str,
        /// For so many seconds.
        expires: u32,
    },
    /// Go on watching a number, or stop with a time of zero.
    WatchOn {
        /// Whom.
        number: String,
        /// For so many seconds.
        expires: u32,
    },
    /// Publish that it is open, with a note; without a note only refresh what was published, or end it with a time of
    /// zero.
    Publish {
        /// What to say.
        note: String,
        /// For so many seconds.
        expires: u32,
    },
}

impl Do {
    /// A call with an offer.
    pub fn call(number: &str) -> Do {
        Do::Call { number: number.to_owned(), without_offer: false }
    }

    /// A blind transfer.
    pub fn transfer(to: &str) -> Do {
        Do::Refer { to: to.to_owned(), instead_of: None, silently: false }
    }

    /// An attended one, to who is at the other side of another line.
    pub fn transfer_to_line(to: &str, line: usize) -> Do {
        Do::Refer { to: to.to_owned(), instead_of: Some(line), silently: false }
    }

    /// Watch the calls of a number for ten minutes.
    pub fn watch(number: &str) -> Do {
        Do::Watch { number: number.to_owned(), event: "dialog", expires: 600 }
    }

    /// Watch something else of a number, or for another time.
    pub fn watch_event(number: &str, event: &'static str, expires: u32) -> Do {
        Do::Watch { number: number.to_owned(), event, expires }
    }

    /// Go on watching a number.
    pub fn watch_on(number: &str, expires: u32) -> Do {
        Do::WatchOn { number: number.to_owned(), expires }
    }

    /// Publish a note.
    pub fn publish(note: &str, expires: u32) -> Do {
        Do::Publish { note: note.to_owned(), expires }
    }

    /// A call without one.
    pub fn call_without_offer(number: &str) -> Do {
        Do::Call { number: number.to_owned(), without_offer: true }
    }
}

/// What a phone does about session timers (RFC 4028).
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// What it asks for when it calls; 0: nothing. Units: seconds.
    pub interval: u32,
    /// The shortest that it takes. Units: seconds.
    pub min: u32,
    /// Whom it wants to refresh, by their roles in the request.
    pub refresher: Option<Refresher>,
    /// It takes the part of refreshing and does not do it.
    pub forgets: bool,
    /// Whatever it is asked inside a call is a second too short.
    pub grows: bool,
}

impl Timers {
    /// A phone that asks for this interval and leaves the rest to the other side.
    pub const fn of(interval: u32) -> Timers {
        Timers { interval, min: 90, refresher: None, forgets: false, grows: false }
    }

    /// The same, and wants this one to refresh.
    #[must_use]
    pub const fn by(mut self, refresher: Refresher) -> Timers {
        self.refresher = Some(refresher);
        self
    }
}

/// When a phone hangs up by itself after a REFER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Once that was accepted.
    AtOnce,
    /// When it hears that it worked.
    AtSuccess,
    /// Never: it waits for a BYE.
    Never,
}

/// What a phone does about reliable provisional answers (RFC 3262).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rel {
    /// Nothing.
    #[default]
    No,
    /// It knows them.
    Supports,
    /// It takes no others when it calls.
    Requires,
}

/// How a phone behaves by itself.
#[expect(clippy::struct_excessive_bools, reason = "each is a habit of its own")]
#[derive(Clone, Debug)]
pub struct Habits {
    /// What it does when it is called, each so long after the INVITE.
    pub when_called: Vec<(Duration, Do)>,
    /// What it does when its call is answered, each so long after the 200.
    pub when_answered: Vec<(Duration, Do)>,
    /// Acknowledges answers. A phone that does not is broken, or its ACKs are eaten.
    pub acknowledges: bool,
    /// Answers 200 although the caller has cancelled.
    pub stubborn: bool,
    /// Refuses changes of media with this status.
    pub refuses_changes: Option<u16>,
    /// Reliable provisional answers.
    pub rel: Rel,
    /// Its session timers; `None`: it knows of none.
    pub timers: Option<Timers>,
    /// Takes UPDATE, and refreshes by it.
    pub takes_update: bool,
    /// Holds and resumes by UPDATE.
    pub changes_by_update: bool,
    /// Its INFOs have the key alone, as `application/dtmf`.
    pub bare_digits: bool,
    /// Sends media while it talks.
    pub speaks: bool,
    /// When it hangs up after a REFER.
    pub parts: Parts,
    /// Registers and subscribes again when half of the time is over.
    pub refreshes: bool,
    /// The value of Accept in its SUBSCRIBEs.
    pub accepts: Option<&'static str>,
    /// Refuses NOTIFYs with this status.
    pub refuses_notifies: Option<u16>,
    /// And asks for patience. Units: seconds.
    pub retry_after_s: Option<u32>,
    /// How it asks for encrypted media.
    pub keying: Keying,
    /// The payload types that it has, in its order, out of 8, 0 and 101.
    pub codecs: &'static [u8],
    /// It has one port for RTP and RTCP where the other side does too (RFC 5761).
    pub rtcp_mux: bool,
    /// What it wants of extended reports, if it knows them: offered, and answered where they are (RFC 3611 §5).
    pub reports: Option<&'static str>,
    /// It does ICE where the other side does too (RFC 8445).
    pub ice: bool,
    /// The address of its media, where that is another than its own.
    pub media_ip: Option<IpAddr>,
    /// Once the first provisional answer told it where to send, its PRACK offers to hear at this address.
    pub moves_by_prack: Option<IpAddr>,
    /// Calls as nobody: From is anonymous (RFC 3323 §4.1.1.3).
    pub anonymous: bool,
    /// The instance that it registers as, and which of its flows; then it knows GRUUs and outbound.
    pub instance: Option<(&'static str, u32)>,
    /// The Path of its REGISTERs: a proxy at its side stands between.
    pub path: Option<&'static str>,
    /// The address in its Contact, where that is another than its own: a proxy that stays in no dialog stands before it.
    pub contact_at: Option<SocketAddr>,
    /// What rings goes on ringing when its connection ends.
    pub rings_on: bool,
    /// It knows Service-Route (RFC 3608 §6.1): its calls have what the last 200 said as their Route.
    pub knows_service_route: bool,
    /// The preference of its Contact, such as `0.5`.
    pub q: Option<&'static str>,
    /// Header lines of its INVITEs that begin calls, and of its answers to such.
    pub says: Vec<(HeaderName, String)>,
    /// Header lines of its INVITEs and UPDATEs in the middle of calls.
    pub says_later: Vec<(HeaderName, String)>,
}

impl Default for Habits {
    fn default() -> Self {
        Habits {
            when_called: vec![(Duration::from_millis(50), Do::Ring)],
            when_answered: Vec::new(),
            acknowledges: true,
            stubborn: false,
            refuses_changes: None,
            rel: Rel::No,
            timers: None,
            takes_update: false,
            changes_by_update: false,
            bare_digits: false,
            speaks: true,
            parts: Parts::AtSuccess,
            refreshes: false,
            accepts: None,
            refuses_notifies: None,
            retry_after_s: None,
            keying: Keying::Never,
            codecs: CODECS,
            rtcp_mux: false,
            reports: None,
            ice: false,
            media_ip: None,
            moves_by_prack: None,
            anonymous: false,
            instance: None,
            path: None,
            contact_at: None,
            rings_on: false,
            knows_service_route: false,
            q: None,
            says: Vec::new(),
            says_later: Vec::new(),
        }
    }
}
