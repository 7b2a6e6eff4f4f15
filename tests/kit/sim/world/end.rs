//! Moods of the world around a flow, and its end: nothing may be left.

use super::people::PhoneId;
use super::{Inside, Mood, World};
use crate::sim::line::Line;
use crate::sim::net::Weather;
use crate::sim::script::Do;
use books::Cdr;
use media::command::Family;
use std::time::Duration;
use switch::Command;
use words::ConnectionId;

impl World {
    /// Lets commits fail, or work again. As the real store, it says so by itself when it works again.
    pub fn fail_store(&mut self, fails: bool) {
        let was = std::mem::replace(&mut self.store.failing, fails);
        self.transcript.note(self.now, format_args!("the store fails: {fails}"));
        if was && !fails {
            self.inside(Duration::from_secs(1), Inside::Commits);
        }
    }

    /// Ends a phone's connections; both sides hear of it.
    pub fn cut(&mut self, phone: PhoneId) {
        let of_phone = |c: &&crate::sim::net::Connection| c.phone == phone.0;
        let open: Vec<ConnectionId> = self.net.connections.values().filter(of_phone).map(|c| c.id).collect();
        for connection in open {
            self.close(connection, true);
        }
    }

    /// Everybody hangs up, in fair weather; then nothing may be left: no call, no leg, no port, no transaction, no
    /// timer. Gives the records of all calls.
    ///
    /// # Panics
    /// When something is left.
    pub fn finish(&mut self) -> Vec<Cdr> {
        let fair = self.net.lost() == 0 && self.phones.iter().all(|phone| phone.plugged);
        self.net.weather = Weather::FAIR;
        self.net.lose = None;
        self.directory.mood = Mood::After(Duration::from_millis(1));
        self.fail_store(false);
        self.queue.closing = true;
        self.hang_up_all();
        self.pass(Duration::from_secs(5));
        let users: Vec<_> = self.directory.users.clone();
        for user in users {
            let (account, user, auth_user) = (user.account, user.id, user.auth_user.clone());
            self.command(Command::UserRevoked { account, user, auth_user });
        }
        // Names of peers are looked up again for as long as there are peers.
        if self.directory.peers().iter().any(|peer| peer.by_name.is_some()) {
            self.command(Command::Peers { peers: Vec::new() });
        }
        // A transaction lives for 64*T1, and T4 longer. Where messages were lost it may have begun by repeating what a
        // transaction before it waited for.
        let rest = Duration::from_secs(32 + 5);
        self.pass(if fair { rest } else { 4 * rest });
        // A phone may ring although nobody calls it any more: the CANCEL went where it was before. Somebody lifts.
        self.hang_up_all();
        self.pass(if fair { Duration::ZERO } else { rest });
        self.check_quiet();
        self.store.cdrs().cloned().collect()
    }

    fn hang_up_all(&mut self) {
        for phone in 0..self.phones.len() {
            let now = self.now;
            for line in 0..self.phones[phone].lines.len() {
                self.phones[phone].tell(line, Do::HangUp, now);
            }
            self.settle_phone(phone);
        }
    }

    fn check_quiet(&mut self) {
        let status = self.status();
        assert_eq!(status.calls, 0, "calls are left: {:?}", self.calls());
        assert_eq!(status.held, 0, "answers wait for the store");
        assert_eq!(status.needs, 0, "questions wait for the directory");
        assert_eq!(status.transactions, 0, "transactions of the exchange are left");
        assert_eq!(status.registrations, 0, "bindings are left");
        assert_eq!(status.subscriptions, 0, "subscriptions are left");
        assert_eq!(status.publications, 0, "published documents are left");
        for family in [Family::V4, Family::V6] {
            assert_eq!(self.switch.ports_taken(family), 0, "media ports are left in use");
        }
        assert_eq!(self.process.wake, None, "the exchange does not sleep");
        self.relay.check_quiet();
        self.store.check_quiet();
        for phone in self.phones.iter().filter(|phone| phone.plugged) {
            let name = &phone.identity.auth_user;
            assert_eq!(phone.transactions(), 0, "transactions of {name} are left");
            let up: Vec<&Line> = phone.lines.iter().filter(|line| !line.is_over()).collect();
            assert!(up.is_empty(), "{name} still has calls: {up:#?}");
        }
    }
}
