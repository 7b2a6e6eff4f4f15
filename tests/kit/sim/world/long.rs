//! What keeps a world small that sees a great many calls: the doubles around the exchange forget what is over. The
//! exchange itself must do so by itself.

use super::World;
use super::people::PhoneId;
use crate::sim::line::Line;
use crate::sim::phone::Phone;
use books::Cdr;
use std::time::Duration;

impl World {
    /// Writes nothing down any more, and forgets what was written.
    pub fn hush(&mut self) {
        self.transcript.hush();
    }

    /// Takes out the records of calls that were over for a while, and forgets what those around the exchange knew of
    /// them.
    pub fn take_records(&mut self) -> Vec<Cdr> {
        self.relay.forget();
        self.store.take_records(self.now, LATE)
    }

    /// Switches a phone off and on: it knows nothing of before, and registers. Whether it could: its calls must be over.
    pub fn reboot(&mut self, phone: PhoneId) -> bool {
        let old = &self.phones[phone.0];
        if old.transactions() > 0 || !old.lines.iter().all(Line::is_over) {
            return false;
        }
        let chance = self.chance.fork();
        let old = &self.phones[phone.0];
        let (identity, habits) = (old.identity.clone(), old.habits.clone());
        let mut new = Phone::new(
            identity,
            old.transport,
            old.address,
            super::people::exchange_for(old.address),
            chance,
            self.now,
        );
        (new.nat, new.habits) = (old.nat, habits);
        self.phones[phone.0] = new;
        self.cut(phone);
        self.tell(phone, crate::sim::script::Do::Register(3_600));
        true
    }
}

/// How long after a call something may still be said about it.
const LATE: Duration = Duration::from_mins(2);
