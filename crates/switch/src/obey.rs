//! What people and programs ask of the running exchange, and what they get.

use crate::account::Peer;
use crate::command::{Command, Reply};
use crate::need::Need;
use crate::switch::{Counters, Switch};
use crate::view;
use words::{AccountId, Time};

impl Switch {
    /// Answers a question or carries out an order.
    pub(crate) fn obey(&mut self, command: Command, now: Time) -> Reply {
        match command {
            Command::Calls { account } => Reply::Calls(view::calls(&self.calls, &self.clock, account)),
            Command::Call { call } => Reply::Calls(view::call(&self.calls, &self.clock, call)),
            Command::HangUp { call, cause } => Reply::Done(self.calls.hang_up(call, cause, now)),
            Command::Phones { account } => Reply::Phones(view::phones(&self.registrar, &self.clock, account)),
            Command::Bans => Reply::Bans(view::bans(&self.gate.door, now)),
            Command::Unban { source } => Reply::Done(self.gate.door.unban(source)),
            Command::Changed { need } => {
                self.directory.forget(&need, now);
                Reply::Done(true)
            }
            Command::AccountChanged { account } => {
                self.directory.forget_account(account, now);
                Reply::Done(true)
            }
            Command::UserRevoked { account, user, auth_user } => {
                self.directory.forget_account(account, now);
                self.directory.forget(&Need::AuthUser(auth_user), now);
                self.gate.door.forget_user(user);
                let facts = self.registrar.drop_user(user);
                self.stream.revoke(user);
                let any = !facts.is_empty();
                for fact in facts {
                    self.say(account, fact, now);
                }
                self.lamps.room.drop_user(user, now);
                self.tell_departed(user, registrar::watch::Departure::Deactivated, now);
                Reply::Done(any)
            }
            Command::CheckSync { user, reboot } => Reply::Done(self.check_sync(user, reboot, now)),
            Command::Messages { user, messages } => Reply::Done(self.lamps.room.set_messages(user, messages, now)),
            Command::Peers { peers } => Reply::Done(self.set_peers(peers, now)),
            Command::PeersSeen => Reply::Peers(self.view_peers(now)),
            Command::Realms { realms, sole } => {
                self.peers.set_realms(realms, sole);
                Reply::Done(true)
            }
            Command::Status => Reply::Status(self.status()),
            Command::Drain { on } => {
                self.gate.draining = on;
                Reply::Done(true)
            }
        }
    }

    fn set_peers(&mut self, peers: Vec<Peer>, now: Time) -> bool {
        let accounts: Vec<AccountId> = peers.iter().map(|peer| peer.account).collect();
        let unknown = self.peers.set(peers);
        self.tell_sources();
        for account in accounts {
            self.directory.forget_account(account, now);
        }
        for id in unknown {
            self.follow_peer(id, now);
        }
        true
    }

    fn status(&self) -> view::Status {
        let Counters { messages, refused_messages, registrations, auth_failures, calls, calls_refused, .. } =
            self.counters;
        let Counters { strays, acks_forgotten, strangers_unheard, strangers_crowded_out, .. } = self.counters;
        view::Status {
            calls: self.calls.len(),
            transactions: self.endpoint.transactions(),
            registrations: self.registrar.len(),
            subscriptions: self.lamps.room.len(),
            publications: self.lamps.room.published(),
            needs: self.directory.waiting() + self.peers.names.waiting(),
            held: self.stream.held(),
            store_failing: self.stream.is_failing(),
            draining: self.gate.draining,
            counters: vec![
                ("messages", messages),
                ("messages_refused", refused_messages),
                ("registrations", registrations),
                ("auth_failures", auth_failures),
                ("calls", calls),
                ("calls_refused", calls_refused),
                ("media_ports_refused", self.calls.ports_refused()),
                ("strays", strays),
                ("acks_forgotten", acks_forgotten),
                ("acks_unsent", self.endpoint.unsent()),
                ("answers_late", self.endpoint.late()),
                ("strangers_unheard", strangers_unheard),
                ("strangers_crowded_out", strangers_crowded_out),
            ],
        }
    }
}
