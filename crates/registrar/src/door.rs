//! Who comes in: the challenge and the count of wrong passwords, put together once so that no caller can forget a part.

use crate::challenge::{Challenger, Verdict};
use crate::directory::{AlgorithmPolicy, User};
use crate::throttle::{Ban, Throttle};
use sip::Message;
use std::net::{IpAddr, SocketAddr};
use words::{Chance, Time, UserId};

/// The one way in.
///
/// A source has ten wrong answers at once and one a minute from then on; see [`Throttle`] for who is spared.
pub struct Door {
    challenger: Challenger,
    throttle: Throttle,
    throttled: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It comes from the user.
    Admitted,
    /// Ask for the password: 401 or 407 with what [`Door::challenge`] gives.
    Challenge {
        /// The nonce was at fault, not the password.
        stale: bool,
        /// The password was wrong; for counters.
        wrong: bool,
    },
    /// Answer this.
    Refused {
        /// The status.
        status: u16,
        /// The reason phrase.
        reason: &'static str,
    },
}

impl Door {
    /// A door that counts wrong passwords when `throttled`. `secret` comes from the stream for secrets.
    pub fn new(secret: Chance, throttled: bool, now: Time) -> Self {
        Door { challenger: Challenger::new(secret, now), throttle: Throttle::new(), throttled }
    }

    /// Decides on a request from `source`. `user` is whom its credentials name, `None` when nobody is called so.
    /// `bound` says that the user has a binding from this source ([`crate::Registrar::is_bound_from`]), which counts as
    /// having been let in: after a restart that is all that is known.
    pub fn admit(
        &mut self,
        message: &Message,
        user: Option<&User>,
        source: SocketAddr,
        bound: bool,
        now: Time,
    ) -> Admission {
        let judged = user.filter(|user| self.is_heard(user.id, source, bound, now));
        // Whoever is out of tries is judged like a stranger: the same work, and no word on whether it was right.
        match self.challenger.check(message, judged, source.ip(), now) {
            Verdict::Ok => {
                let Some(user) = judged else { return OUT_OF_TRIES };
                if self.throttled {
                    self.throttle.succeeded(source, user.id, now);
                }
                if user.enabled { Admission::Admitted } else { DISABLED }
            }
            Verdict::NoCredentials => Admission::Challenge { stale: false, wrong: false },
            Verdict::Stale => Admission::Challenge { stale: true, wrong: false },
            Verdict::Wrong => self.wrong(source, user, judged.is_some(), now),
            Verdict::Malformed(reason) => Admission::Refused { status: 400, reason },
        }
    }

    /// The values of WWW-Authenticate (or Proxy-Authenticate) for a client at `source`, one header line each.
    pub fn challenge(
        &mut self,
        realm: &str,
        policy: AlgorithmPolicy,
        stale: bool,
        source: IpAddr,
        now: Time,
    ) -> Vec<String> {
        self.challenger.challenge(realm, policy, stale, source, now)
    }

    /// The user's password changed or the user is gone.
    pub fn forget_user(&mut self, user: UserId) {
        self.challenger.forget_user(user);
        self.throttle.forget_user(user);
    }

    /// Who is out of tries at the moment.
    pub fn bans(&self, now: Time) -> Vec<Ban> {
        self.throttle.bans(now)
    }

    /// Forgives a source everything; `false` when it had nothing to forgive.
    pub fn unban(&mut self, source: IpAddr) -> bool {
        self.throttle.unban(source)
    }

    fn is_heard(&mut self, user: UserId, source: SocketAddr, bound: bool, now: Time) -> bool {
        if !self.throttled {
            return true;
        }
        if bound && !self.throttle.is_proven(source.ip(), user) {
            self.throttle.succeeded(source, user, now);
        }
        self.throttle.may_try(source, user, now)
    }

    fn wrong(&mut self, source: SocketAddr, user: Option<&User>, judged: bool, now: Time) -> Admission {
        if !self.throttled {
            return Admission::Challenge { stale: false, wrong: true };
        }
        let unheard = user.is_some() && !judged;
        let out = self.throttle.is_out(source.ip(), now) || unheard;
        // A try that nobody looked at is no guess at the password; the source pays for it like for any other.
        self.throttle.failed(source.ip(), user.filter(|_| judged).map(|user| user.id), now);
        if out { OUT_OF_TRIES } else { Admission::Challenge { stale: false, wrong: true } }
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.throttle.entries()
    }
}

const DISABLED: Admission = Admission::Refused { status: 403, reason: "Forbidden: this user is disabled" };
const OUT_OF_TRIES: Admission = Admission::Refused { status: 403, reason: "Forbidden: too many wrong passwords" };
