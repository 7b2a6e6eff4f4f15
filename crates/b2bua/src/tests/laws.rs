//! What must hold for everything that left the room.

use media::command::MediaCommand;
use std::collections::{BTreeMap, BTreeSet};
use words::{CallId, Fact, LegId};

/// Facts of a call come in order, and each end once.
pub(crate) fn facts(facts: &[Fact]) {
    let mut calls: BTreeMap<CallId, (bool, bool)> = BTreeMap::new();
    let mut legs: BTreeMap<LegId, bool> = BTreeMap::new();
    for fact in facts {
        let call = match fact {
            Fact::CallOpened { call, .. } => {
                assert!(calls.insert(*call, (false, false)).is_none(), "{call} opens twice");
                legs.insert(LegId { call: *call, n: 0 }, false);
                *call
            }
            Fact::CallAnswered { call, .. } => {
                let state = calls.get_mut(call).expect("opened before");
                assert!(!std::mem::replace(&mut state.0, true), "{call} is answered twice");
                *call
            }
            Fact::CallTransferred { call, by, .. } => {
                assert!(legs.contains_key(by), "{by} is transferred and was never there");
                *call
            }
            Fact::CallEnded { call, .. } => {
                let state = calls.get_mut(call).expect("opened before");
                assert!(!std::mem::replace(&mut state.1, true), "{call} ends twice");
                continue;
            }
            Fact::LegOpened { leg, .. } => {
                assert!(legs.insert(*leg, false).is_none(), "{leg} opens twice");
                leg.call
            }
            // Its ports are free a moment after it ended.
            Fact::LegMeasured { .. } => continue,
            Fact::LegRang { leg } => {
                assert_eq!(legs.get(leg), Some(&false), "{leg} rings while it is not there");
                leg.call
            }
            Fact::LegEnded { leg, .. } => {
                assert_eq!(legs.insert(*leg, true), Some(false), "{leg} ends once, after it opened");
                leg.call
            }
            Fact::Bound { .. } | Fact::Unbound { .. } | Fact::Subscribed { .. } | Fact::Unsubscribed { .. } => {
                panic!("{fact:?} is none of ours")
            }
        };
        assert!(!calls[&call].1, "{fact:?} after the end of its call");
    }
    assert!(calls.values().all(|(_, ended)| *ended), "each call ends");
}

/// Commands of an end come with rising generations, between its one opening and its one closing.
pub(crate) fn media(commands: &[MediaCommand]) {
    let mut open: BTreeMap<LegId, u32> = BTreeMap::new();
    let mut closed = BTreeSet::new();
    for command in commands {
        let (end, generation) = match command {
            MediaCommand::Open { end, generation, .. } => {
                assert!(!closed.contains(end) && open.insert(*end, 0).is_none(), "{end} opens twice");
                (end, generation)
            }
            MediaCommand::Link { from, to, generation } => {
                assert!(open.contains_key(to), "{to} is linked before it is open");
                (from, generation)
            }
            // Keys and ICE may come before the end that they are for.
            MediaCommand::Rekey { end, .. } | MediaCommand::Ice { end, .. } if !open.contains_key(end) => continue,
            MediaCommand::Latch { end, generation, .. }
            | MediaCommand::Rekey { end, generation, .. }
            | MediaCommand::Ice { end, generation, .. }
            | MediaCommand::Play { end, generation, .. }
            | MediaCommand::Stop { end, generation }
            | MediaCommand::Close { end, generation }
            | MediaCommand::Unlink { from: end, generation } => (end, generation),
            MediaCommand::Stock { .. } | MediaCommand::Unbind { .. } => continue,
        };
        let last = open.get_mut(end).unwrap_or_else(|| panic!("{command:?} while the end is not open"));
        assert!(generation.0 > *last, "{command:?} after generation {last}");
        *last = generation.0;
        if matches!(command, MediaCommand::Close { .. }) {
            open.remove(end);
            closed.insert(*end);
        }
    }
    assert!(open.is_empty(), "each end is closed");
}
