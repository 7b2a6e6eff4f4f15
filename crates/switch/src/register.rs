//! REGISTER: who may, and the answer that waits until the binding is stored. Also the password check that INVITE uses.

use crate::account::Account;
use crate::answer::Stop;
use crate::need::Need;
use crate::stream::{Promise, Registration};
use crate::switch::{Incoming, Output, Switch};
use crate::whose::Whose;
use registrar::{Admission, AlgorithmPolicy, Claim, Outcome, Presented, Undo, User};
use sip::{HeaderName, Method, Outgoing, Scheme, Uri};
use std::sync::Arc;
use words::{ConnectionId, Time};

impl Switch {
    pub(crate) fn register(&mut self, incoming: &Incoming, now: Time) -> Result<(), Stop> {
        let presented = self.presented(incoming, now);
        let account = match self.whose(incoming, &presented, now).map_err(Stop::Need)? {
            Whose::Account(account) => Some(account),
            Whose::Peer(..) => return Err(self.plain(incoming, 403, "Forbidden: a static peer does not register")),
            Whose::Stranger => None,
        };
        let user = self.authenticate(incoming, &presented, account.as_deref(), now)?;
        if !names(incoming, &user) {
            return Err(self.plain(incoming, 403, "Forbidden: To names another user than the credentials"));
        }
        if self.stream.is_full() {
            return Err(Stop::Busy(self.answers.overloaded(&incoming.message, true)));
        }
        let outcome = self.registrar.register(&user, &incoming.message, incoming.flow, &self.clock, now);
        let (status, reason, headers, undo) = match outcome {
            Outcome::Accepted { mut headers, facts, undo, left } => {
                self.counters.registrations += 1;
                for fact in facts {
                    self.say(user.account, fact, now);
                }
                if !left.is_empty() {
                    self.calls.handle_moved(user.id, &left, incoming.flow);
                }
                self.follow_registration(user.id, incoming, now);
                headers.extend(self.service_route(incoming));
                (200, "OK", headers, undo)
            }
            Outcome::Refused { status, reason, headers } => (status, reason, headers, Undo::nothing(user.id)),
        };
        let mut builder = self.answers.builder(&incoming.message, status, reason);
        for (name, value) in &headers {
            builder = builder.header(*name, value);
        }
        let response = Outgoing { builder, body: None };
        let registration = Registration { request: incoming.message.clone(), account: user.account, undo };
        let promise = Promise::Registration(Box::new(registration));
        if let Some((txn, response)) = self.stream.hold(incoming.txn, response, promise, now) {
            self.respond(txn, response, now);
        }
        Ok(())
    }

    /// Where a device is to send what it asks for, when it is to be told: to where it registered. It is made anew for each
    /// 200, also to who only asks what is bound (RFC 3608 §6.3).
    fn service_route(&mut self, incoming: &Incoming) -> Option<(HeaderName, String)> {
        if !self.config.service_route {
            return None;
        }
        let asked = Uri::parse(incoming.message.request_uri());
        let secure = incoming.flow.transport.is_secure() && asked.is_ok_and(|uri| uri.scheme == Scheme::Sips);
        Some((HeaderName::ServiceRoute, self.calls.route_value(&incoming.flow, secure)))
    }

    /// Proves who sends a request, or says how it must be proven. Known and unknown users get equal answers in equal
    /// time: nobody is looked up for a challenge, and before credentials that prove nothing are answered the directory was
    /// asked for their user, once, whether we know it already or not. A disabled user hears 403 only after the right
    /// digest.
    pub(crate) fn authenticate(
        &mut self,
        incoming: &Incoming,
        presented: &Presented<'_>,
        account: Option<&Account>,
        now: Time,
    ) -> Result<Arc<User>, Stop> {
        if let Some(user) = self.proven_before(incoming, now)? {
            return Ok(user);
        }
        let source = incoming.flow.remote;
        let realm = account.map(|account| account.realm.as_str());
        let name = self.name(presented, realm).unwrap_or_default();
        let answers = self.claim(presented, realm).is_some_and(Claim::answers);
        let user = if answers { self.user(Need::AuthUser(name.to_string()), now).map_err(Stop::Need)? } else { None };
        // A user of another account is a stranger to this domain.
        let user = user.filter(|user| account.is_none_or(|account| account.id == user.account));
        let realm = match (&user, realm) {
            (Some(user), _) => user.realm.as_str(),
            (None, Some(realm)) => realm,
            (None, None) => self.peers.realm_for_stranger(&name),
        };
        let bound = user.as_ref().is_some_and(|user| self.registrar.is_bound_from(user.id, source.ip()));
        let mut admission = self.gate.door.admit(presented, realm, user.as_deref(), source, bound, now);
        let proves = matches!(admission, Admission::Admitted | Admission::Refused { status: 403, .. });
        let answering = self.claim(presented, None).filter(|claim| claim.answers() && !proves && !incoming.asked);
        if let Some(claim) = answering {
            return Err(Stop::Need(Need::AuthUser(claim.name.to_string())));
        }
        if let Admission::Wrong(miss) = admission {
            admission = self.gate.door.count(miss, now);
        }
        match (admission, &user) {
            (Admission::Admitted, Some(user)) => {
                self.admitted(incoming, user, now);
                Ok(Arc::clone(user))
            }
            (Admission::Challenge { stale, wrong }, user) => {
                self.counters.auth_failures += u64::from(wrong);
                let policy = match (user, account) {
                    (Some(user), _) => user.algorithms,
                    (None, Some(account)) => account.algorithms.get(&*name).copied().unwrap_or_default(),
                    (None, None) => AlgorithmPolicy::default(),
                };
                let challenges = self.gate.door.challenge(realm, policy, stale, source.ip(), now);
                Err(self.challenge(incoming, &challenges))
            }
            (Admission::Refused { status, reason }, _) => {
                self.counters.auth_failures += 1;
                Err(self.plain(incoming, status, reason))
            }
            (Admission::Admitted | Admission::Wrong(_), _) => Err(self.plain(incoming, 403, "Forbidden")),
        }
    }

    /// Its password was right.
    fn admitted(&mut self, incoming: &Incoming, user: &Arc<User>, now: Time) {
        match incoming.flow.connection {
            ConnectionId::NONE if self.config.throttle => self.strangers.prove(incoming.flow.remote, now),
            ConnectionId::NONE => {}
            connection => self.outputs.push_back(Output::Proven { connection }),
        }
        incoming.proven.replace(Some(Arc::clone(user)));
    }

    /// Who proved to have sent a request that had to wait for something after that; `None` also where the user is another
    /// one since.
    fn proven_before(&self, incoming: &Incoming, now: Time) -> Result<Option<Arc<User>>, Stop> {
        let Some(user) = incoming.proven.borrow().clone() else { return Ok(None) };
        let known = self.user(Need::AuthUser(user.auth_user.clone()), now).map_err(Stop::Need)?;
        Ok(known.filter(|known| *known == user))
    }

    /// 401 with our challenges, the one that old phones understand first.
    fn challenge(&self, incoming: &Incoming, challenges: &[String]) -> Stop {
        let mut builder = self.answers.builder(&incoming.message, 401, "Unauthorized");
        for (n, challenge) in challenges.iter().enumerate() {
            // A short request gets those that fit, the first in any case.
            let most = if n == 0 { usize::MAX } else { incoming.answer_bytes() };
            builder = builder.header_within(most, HeaderName::WwwAuthenticate, challenge);
        }
        Stop::Answer(Outgoing { builder, body: None })
    }
}

/// Whether the To of a REGISTER names this user: by extension or by the name of the credentials (RFC 3261 §10.3 item 5).
fn names(incoming: &Incoming, user: &User) -> bool {
    if incoming.message.method() != Method::Register {
        return true;
    }
    let Ok(to) = incoming.message.to() else { return false };
    let Ok(uri) = Uri::parse(to.uri) else { return false };
    let name = uri.user_unescaped();
    *name == *user.extension || *name == *user.auth_user
}
