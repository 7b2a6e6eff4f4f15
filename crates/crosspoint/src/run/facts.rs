//! Facts on their way to the store: handed over in their order, and kept while its queue has no room.
//!
//! Limits: while more of them wait than the exchange lets wait ([`Switch`](switch::Switch) then takes no call and no
//! registration), they are those of calls and bindings that are there already.

use controller::QueueFull;
use words::Event;

/// What was said and is not handed over.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    said: Vec<Event>,
    /// Whether the queue had no room the last time.
    crowded: bool,
}

impl Facts {
    /// Takes one in.
    pub(crate) fn push(&mut self, event: Event) {
        self.said.push(event);
    }

    /// Whether all were handed over.
    pub(crate) fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// Hands over what waits, as far as `append` takes it. True when it is full for the first time since it was not.
    pub(crate) fn hand_over(&mut self, mut append: impl FnMut(Vec<Event>) -> Result<(), QueueFull>) -> bool {
        while !self.said.is_empty() {
            let rest = self.said.split_off(self.said.len().min(BATCH));
            if let Err(QueueFull(mut back)) = append(std::mem::replace(&mut self.said, rest)) {
                back.append(&mut self.said);
                self.said = back;
                return !std::mem::replace(&mut self.crowded, true);
            }
        }
        self.crowded = false;
        false
    }
}

/// The most facts that are handed over at a time: what gathered meanwhile must fit into a queue that has room again.
const BATCH: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use words::{AccountId, CallId, EndCause, Fact, Seq, ShardId, Time, Wall};

    fn ended(number: u64) -> Event {
        let fact = Fact::CallEnded { call: CallId(number.into()), cause: EndCause::Normal, by: None };
        Event { shard: ShardId(0), seq: Seq(number), account: AccountId(1), at: Time::ZERO, wall: Wall(0), fact }
    }

    /// The end of a call that could not be stored at once is stored when it can be: no call is without a record.
    #[test]
    fn a_full_queue_loses_nothing_and_keeps_the_order() {
        let (mut facts, mut stored, mut room) = (Facts::default(), Vec::new(), 0);
        let mut said = 0;
        let mut warnings = 0;
        for turn in 0..100 {
            for _ in 0..=turn * 3 {
                said += 1;
                facts.push(ended(said));
            }
            // It stalls twice, for thirty turns each.
            room += if turn / 30 % 2 == 0 { 0 } else { 20_000 };
            let full = facts.hand_over(|events| {
                assert!(events.len() <= BATCH);
                if events.len() > room {
                    return Err(QueueFull(events));
                }
                room -= events.len();
                stored.extend(events.iter().map(|event| event.seq.0));
                Ok(())
            });
            warnings += u32::from(full);
            room = 0;
        }
        facts.hand_over(|events| {
            stored.extend(events.iter().map(|event| event.seq.0));
            Ok(())
        });
        assert!(facts.is_empty() && stored == (1..=said).collect::<Vec<_>>());
        assert_eq!(warnings, 2);
    }
}
