//! What the commit loop holds: facts that no commit has taken yet, and the calls that are open.

use crate::store::record;
use books::call_of;
use std::collections::BTreeMap;
use words::{AccountId, CallId, Event, Fact, Seq, ShardId, UserId, Wall};

/// Facts on their way to the disk, and the state that they lead to.
#[derive(Default)]
pub(crate) struct Pending {
    /// Records of the calls' facts for the next row of the journal.
    pub(crate) calls: Vec<u8>,
    /// Records of registrations for the next row.
    pub(crate) registrations: Vec<u8>,
    /// What those registrations lead to.
    pub(crate) bindings: Vec<((UserId, String), Option<Bound>)>,
    /// Calls that ended and have no record yet.
    pub(crate) ended: Vec<OpenCall>,
    /// Calls that are open, in the order of their beginning.
    pub(crate) open: BTreeMap<CallId, OpenCall>,
    /// The last fact of each shard that was taken in.
    pub(crate) seen: Vec<(ShardId, Seq)>,
    /// Facts taken in since the last commit.
    pub(crate) events: usize,
    scratch: Vec<u8>,
}

/// A call whose record is not written.
pub(crate) struct OpenCall {
    pub(crate) call: CallId,
    /// Its facts so far, as records.
    pub(crate) events: Vec<u8>,
    /// The row of the journal that has its beginning.
    pub(crate) first_row: i64,
    /// Whether the table of open calls has it.
    pub(crate) in_table: bool,
    /// Whether it has facts that the table lacks.
    pub(crate) changed: bool,
}

/// A registration as its table will have it.
pub(crate) struct Bound {
    pub(crate) account: AccountId,
    pub(crate) since: Wall,
    pub(crate) expires: Wall,
    pub(crate) body: String,
}

impl Pending {
    /// Takes a fact in; `row` is the row of the journal that it will stand in.
    pub(crate) fn take(&mut self, event: Event, row: i64) {
        self.events += 1;
        self.see(event.shard, event.seq);
        match call_of(&event.fact) {
            Some(call) => self.take_call_fact(call, &event, row),
            None => self.take_registration(event),
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.registrations.is_empty() && self.ended.is_empty()
    }

    /// The registrations that wait are refused: nothing of them is stored.
    pub(crate) fn drop_registrations(&mut self) {
        self.registrations.clear();
        self.bindings.clear();
    }

    /// All of it is stored.
    pub(crate) fn clear(&mut self) {
        self.calls.clear();
        self.calls.shrink_to(KEPT_BYTES);
        self.registrations.clear();
        self.registrations.shrink_to(KEPT_BYTES);
        self.ended.clear();
        self.events = 0;
    }

    fn see(&mut self, shard: ShardId, seq: Seq) {
        match self.seen.iter_mut().find(|(other, _)| *other == shard) {
            Some((_, last)) => *last = seq,
            None => self.seen.push((shard, seq)),
        }
    }

    fn take_call_fact(&mut self, call: CallId, event: &Event, row: i64) {
        let start = self.calls.len();
        record::write(event, &mut self.scratch, &mut self.calls);
        let bytes = &self.calls[start..];
        match &event.fact {
            Fact::CallOpened { .. } => {
                // Room for a usual call, so that it is moved once at most.
                let mut events = Vec::with_capacity(CALL_BYTES);
                events.extend_from_slice(bytes);
                self.open.insert(call, OpenCall { call, events, first_row: row, in_table: false, changed: true });
            }
            Fact::CallEnded { .. } => {
                if let Some(mut open) = self.open.remove(&call) {
                    open.events.extend_from_slice(bytes);
                    self.ended.push(open);
                }
            }
            Fact::LegOpened { .. } | Fact::LegRang { .. } | Fact::LegEnded { .. } | Fact::CallAnswered { .. } => {
                if let Some(open) = self.open.get_mut(&call) {
                    open.events.extend_from_slice(bytes);
                    open.changed = true;
                }
            }
            Fact::Bound { .. } | Fact::Unbound { .. } => {}
        }
    }

    fn take_registration(&mut self, event: Event) {
        record::write(&event, &mut self.scratch, &mut self.registrations);
        match event.fact {
            Fact::Bound { user, binding } => {
                let body = record::binding_json(&binding);
                let bound = Bound { account: event.account, since: event.wall, expires: binding.expires, body };
                self.bindings.push(((user, binding.key), Some(bound)));
            }
            Fact::Unbound { user, key } => self.bindings.push(((user, key), None)),
            Fact::CallOpened { .. }
            | Fact::LegOpened { .. }
            | Fact::LegRang { .. }
            | Fact::LegEnded { .. }
            | Fact::CallAnswered { .. }
            | Fact::CallEnded { .. } => {}
        }
    }
}

/// Units: bytes.
const CALL_BYTES: usize = 384;
/// What the buffers keep after a commit; more was a burst. Units: bytes.
const KEPT_BYTES: usize = 256 * 1024;
