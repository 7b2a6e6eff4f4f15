//! INVITE outside dialogs: who calls, for which account, and whether there is room.

use crate::account::{Account, Peer};
use crate::answer::Stop;
use crate::pickup::Entrance;
use crate::switch::{Incoming, Switch};
use crate::whereabouts::dial;
use crate::whose::Whose;
use b2bua::{Invite, Trust};
use registrar::Presented;
use sip::{Message, Outgoing, Target, Uri};
use std::sync::Arc;
use words::{Flow, Party, Pii, Srtp, Time, Transport};

impl Switch {
    pub(crate) fn invite(&mut self, incoming: &Incoming, now: Time) -> Result<(), Stop> {
        let listener = self.config.listeners.get(usize::from(incoming.flow.listener));
        let open = listener.is_some_and(|listener| listener.open);
        let mut back = None;
        let presented = self.presented(incoming, now);
        let (account, from, trust, srtp) = match self.whose(incoming, &presented, now).map_err(Stop::Need)? {
            Whose::Peer(account, peer) => {
                let from = Party { peer: Some(peer.id), ..caller(&incoming.message, peer.trust.believed) };
                back = way_back(&peer, &incoming.flow);
                (account, from, peer.trust, peer.srtp)
            }
            // Who says that he knows a password is to prove it where none is needed, too.
            Whose::Account(account) if open && !incoming.has_credentials() => {
                (account, caller(&incoming.message, false), Trust::default(), Srtp::default())
            }
            Whose::Account(account) => {
                let (account, from, srtp) = self.user_calls(incoming, &presented, Some(account), now)?;
                (account, from, Trust::default(), srtp)
            }
            Whose::Stranger => {
                let (account, from, srtp) = self.user_calls(incoming, &presented, None, now)?;
                (account, from, Trust::default(), srtp)
            }
        };
        if !self.has_room() {
            let to_phone = from.peer.is_none();
            self.counters.calls_refused += 1;
            return Err(Stop::Busy(self.answers.overloaded(&incoming.message, to_phone)));
        }
        let entrance = self.entrance(incoming, &account, &from, now)?;
        let invite = Invite {
            txn: incoming.txn,
            message: incoming.message.clone(),
            flow: incoming.flow,
            back,
            account: account.id,
            from,
            trust,
            srtp,
            silence: self.config.silence,
            typed_transfer: account.typed_transfer.as_deref().map(Box::from),
        };
        let entered = match entrance {
            Entrance::Call => self.calls.open(invite, &self.clock, now).inspect(|_| self.counters.calls += 1),
            Entrance::Replace(replaces) => self.calls.replace(invite, &replaces, now),
            Entrance::PickUp(leg) => self.calls.pick_up(invite, leg, now),
        };
        match entered {
            Ok(_) => Ok(()),
            Err(refusal) => {
                self.counters.calls_refused += 1;
                let mut builder = self.answers.builder(&incoming.message, refusal.status, refusal.reason);
                if let Some((name, value)) = refusal.header {
                    builder = builder.header(name, &value);
                }
                Err(Stop::Answer(Outgoing { builder, body: None }))
            }
        }
    }

    /// A user of the account calls: the digest says which, and the identity is ours, not what From claims.
    pub(crate) fn user_calls(
        &mut self,
        incoming: &Incoming,
        presented: &Presented<'_>,
        account: Option<Arc<Account>>,
        now: Time,
    ) -> Result<(Arc<Account>, Party, Srtp), Stop> {
        let user = self.authenticate(incoming, presented, account.as_deref(), now)?;
        let account = match account {
            Some(account) => Some(account),
            None => self.account(crate::need::Need::Account(user.account), now).map_err(Stop::Need)?,
        };
        let Some(account) = account else {
            return Err(self.plain(incoming, 403, "Forbidden: the account is gone"));
        };
        let from = Party {
            number: Pii::new(user.extension.as_str()),
            name: Pii::new(user.display_name.as_str()),
            user: Some(user.id),
            peer: None,
            private: wants_privacy(&incoming.message),
        };
        Ok((account, from, user.srtp))
    }

    fn has_room(&self) -> bool {
        !self.gate.draining && !self.stream.is_full() && self.calls.len() < self.config.calls
    }
}

/// Where a peer listens that called over a connection, which it may close when nothing was said there for a while: at the
/// address that we know of it.
fn way_back(peer: &Peer, flow: &Flow) -> Option<Target> {
    let fits = flow.transport == peer.transport || (flow.transport, peer.transport) == (Transport::Tcp, Transport::Udp);
    if !flow.transport.is_reliable() || !fits {
        return None;
    }
    let ip = flow.remote.ip().to_canonical();
    let remote = *peer.addresses.iter().find(|address| address.ip() == ip)?;
    Some(dial(peer.id, flow.transport, flow.listener, flow.local, remote))
}

/// Who calls as the message says it; used where the source itself is known. From alone counts unless the source is
/// believed (RFC 3325 §5): then what it asserts does, which is true also where From hides it.
fn caller(message: &Message, believed: bool) -> Party {
    let asserted = if believed { message.asserted() } else { None };
    let nobody = message.is_from_nobody();
    let (address, secret) = match (asserted, message.from()) {
        (Some(found), _) => found,
        (None, Ok(from)) if !nobody => (from, false),
        (None, _) => return Party { private: true, ..Party::default() },
    };
    let number = Uri::parse(address.uri).map(|uri| uri.dialled().into_owned()).unwrap_or_default();
    Party {
        number: Pii::new(number),
        name: Pii::new(address.display_name()),
        private: secret && !message.is_open() || wants_privacy(message),
        ..Party::default()
    }
}

/// Whether who sends a message wants to be seen by nobody: it says so (RFC 3323 §4.2), or From does.
fn wants_privacy(message: &Message) -> bool {
    message.privacy().identity || message.is_from_nobody() && !message.is_open()
}
