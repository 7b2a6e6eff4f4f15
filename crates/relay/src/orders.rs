//! The way of commands to a worker: a bounded ring without a lock, and as few wake-ups as possible.
//!
//! A worker reads the ring after each of its own wake-ups and before it looks at packets, so a command is always
//! carried out before the packets that it is about. Therefore most commands wake nobody: a call without media costs no
//! switch of threads. Woken it is for a sound, for stock, when a quarter of the ring waits, and when it sleeps for good
//! though silence is to be noticed.

use media::command::MediaCommand;
use net::batch::Waker;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// How many commands wait for a worker before all but `Open`, `Rekey` and `Close` are refused.
pub const ORDERS: usize = 2_048;

/// A queue of commands is full: the call that needed it cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue of a media worker is full")]
pub struct Full;

/// The sending side, owned by the handle.
#[derive(Debug)]
pub(crate) struct Sender {
    ring: SyncSender<MediaCommand>,
    shared: Arc<Shared>,
    waker: Waker,
}

/// The worker's side.
#[derive(Debug)]
pub(crate) struct Orders {
    ring: Receiver<MediaCommand>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Pushed minus taken; below zero while a push is being counted.
    queued: AtomicIsize,
    /// A wake-up is on its way.
    woken: AtomicBool,
    /// The worker sleeps without a time to wake.
    sleeps: AtomicBool,
    stopped: AtomicBool,
    wakeups: AtomicU64,
    /// `Open`s, `Rekey`s and `Close`s that found the ring full: no more than there are ports and changes of their calls.
    overflow: Mutex<Vec<MediaCommand>>,
    overflows: AtomicBool,
}

/// A queue for a worker that is woken by `waker`.
pub(crate) fn orders(waker: Waker) -> (Sender, Orders) {
    let (sender, receiver) = sync_channel(ORDERS);
    let shared = Arc::new(Shared::default());
    (Sender { ring: sender, shared: shared.clone(), waker }, Orders { ring: receiver, shared })
}

impl Sender {
    /// Queues a command; takes `&mut` because the order of commands is that of one thread.
    pub(crate) fn push(&mut self, command: MediaCommand) -> Result<(), Full> {
        let urgency = Urgency::of(&command);
        // What stands in the overflow is older than what would go into the ring.
        let left = if self.shared.overflows.load(Ordering::Acquire) {
            Some(command)
        } else {
            match self.ring.try_send(command) {
                Ok(()) => None,
                Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) => Some(command),
            }
        };
        let waits = left.is_some();
        if let Some(command) = left {
            self.wake();
            if !is_needed(&command) {
                return Err(Full);
            }
            let mut overflow = self.shared.overflow.lock().unwrap_or_else(PoisonError::into_inner);
            overflow.push(command);
            self.shared.overflows.store(true, Ordering::Release);
        }
        let queued = self.shared.queued.fetch_add(1, Ordering::SeqCst) + 1;
        let wake = match urgency {
            Urgency::Now => true,
            Urgency::BeforeSleep => self.shared.sleeps.load(Ordering::SeqCst),
            Urgency::None => false,
        };
        if wake || waits || queued > (ORDERS / 4) as isize {
            self.wake();
        }
        Ok(())
    }

    /// Wakes the worker if commands wait.
    pub(crate) fn settle(&self) {
        if !self.is_settled() {
            self.wake();
        }
    }

    /// Whether all that was queued is carried out.
    pub(crate) fn is_settled(&self) -> bool {
        self.shared.queued.load(Ordering::SeqCst) <= 0
    }

    /// Tells the worker to end.
    pub(crate) fn stop(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    /// How often the worker was woken from here.
    pub(crate) fn wakeups(&self) -> u64 {
        self.shared.wakeups.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        if !self.shared.woken.swap(true, Ordering::SeqCst) {
            self.shared.wakeups.fetch_add(1, Ordering::Relaxed);
            self.waker.wake();
        }
    }
}

impl Orders {
    /// Hands out what waits, at most a ring full or what overflowed it, and tells how much that was. Until that is said
    /// to be [`Orders::done`] it counts as waiting.
    pub(crate) fn take(&self, mut carry_out: impl FnMut(MediaCommand)) -> usize {
        // From here on a new command wakes again, should it not be seen below. Also when nothing seems to wait: the
        // command that woke may have been taken before it was counted, and the next one must not sleep on its account.
        self.shared.woken.store(false, Ordering::SeqCst);
        if self.shared.queued.load(Ordering::SeqCst) == 0 {
            return 0;
        }
        let mut taken = 0;
        while taken < ORDERS
            && let Ok(command) = self.ring.try_recv()
        {
            carry_out(command);
            taken += 1;
        }
        if taken < ORDERS && self.shared.overflows.load(Ordering::Acquire) {
            let commands = {
                let mut overflow = self.shared.overflow.lock().unwrap_or_else(PoisonError::into_inner);
                self.shared.overflows.store(false, Ordering::Release);
                std::mem::take(&mut *overflow)
            };
            taken += commands.len();
            commands.into_iter().for_each(carry_out);
        }
        taken
    }

    /// Says that what was taken is carried out; true when more waits.
    pub(crate) fn done(&self, taken: usize) -> bool {
        self.shared.queued.fetch_sub(taken as isize, Ordering::SeqCst) > taken as isize
    }

    /// Says that the worker is about to sleep without a time to wake; false when it must look at its commands first.
    pub(crate) fn may_sleep(&self) -> bool {
        self.shared.sleeps.store(true, Ordering::SeqCst);
        // Whoever queues something urgent after this look sees `sleeps` and wakes; commands that are not urgent wait.
        let seen = self.shared.queued.load(Ordering::SeqCst) == 0;
        if !seen {
            self.awake();
        }
        seen
    }

    /// Says that the worker is awake.
    pub(crate) fn awake(&self) {
        self.shared.sleeps.store(false, Ordering::SeqCst);
    }

    /// Whether the worker shall end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Relaxed)
    }
}

/// Whether a command is never refused: ports would be lost, or an end would speak without the keys it needs.
fn is_needed(command: &MediaCommand) -> bool {
    match command {
        MediaCommand::Open { .. }
        | MediaCommand::Rekey { .. }
        | MediaCommand::Ice { .. }
        | MediaCommand::Close { .. }
        | MediaCommand::Unbind { .. } => true,
        MediaCommand::Latch { .. }
        | MediaCommand::Link { .. }
        | MediaCommand::Unlink { .. }
        | MediaCommand::Play { .. }
        | MediaCommand::Stop { .. }
        | MediaCommand::Stock { .. } => false,
    }
}

/// How soon a command must be seen.
enum Urgency {
    Now,
    /// Before the worker sleeps for good: it shall notice a time that passes.
    BeforeSleep,
    None,
}

impl Urgency {
    fn of(command: &MediaCommand) -> Self {
        match command {
            MediaCommand::Play { .. } | MediaCommand::Stock { .. } => Urgency::Now,
            MediaCommand::Open { terms, .. } | MediaCommand::Latch { terms, .. } if terms.silence.counts() => {
                Urgency::BeforeSleep
            }
            MediaCommand::Open { .. }
            | MediaCommand::Latch { .. }
            | MediaCommand::Rekey { .. }
            | MediaCommand::Ice { .. }
            | MediaCommand::Link { .. }
            | MediaCommand::Unlink { .. }
            | MediaCommand::Stop { .. }
            | MediaCommand::Close { .. }
            | MediaCommand::Unbind { .. } => Urgency::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::command::{Family, Generation};
    use net::batch::Poller;
    use words::{CallId, LegId};

    fn close(n: u16) -> MediaCommand {
        MediaCommand::Close { end: LegId { call: CallId(1), n }, generation: Generation(1) }
    }

    fn unlink(n: u16) -> MediaCommand {
        MediaCommand::Unlink { from: LegId { call: CallId(1), n }, generation: Generation(1) }
    }

    fn queue() -> (Sender, Orders) {
        orders(Poller::new().unwrap().waker())
    }

    fn taken(orders: &Orders) -> Vec<MediaCommand> {
        let mut all = Vec::new();
        while orders.done(orders.take(|command| all.push(command))) {}
        all
    }

    #[test]
    fn commands_wake_nobody_until_a_quarter_waits_and_then_once() {
        let (mut sender, orders) = queue();
        (0..ORDERS / 4).for_each(|n| sender.push(close(n as u16)).unwrap());
        assert_eq!(sender.wakeups(), 0);
        (0..100).for_each(|n| sender.push(close(n)).unwrap());
        assert_eq!(sender.wakeups(), 1);
        assert_eq!(taken(&orders).len(), ORDERS / 4 + 100);
        sender.push(MediaCommand::Stock { pairs: 1, family: Family::V4 }).unwrap();
        assert_eq!(sender.wakeups(), 2);
    }

    #[test]
    fn a_full_ring_refuses_all_but_open_and_close_and_keeps_their_order() {
        let (mut sender, orders) = queue();
        (0..ORDERS).for_each(|n| sender.push(unlink(n as u16)).unwrap());
        assert_eq!(sender.push(unlink(9_999)), Err(Full));
        sender.push(close(9_000)).unwrap();
        sender.push(close(9_001)).unwrap();
        assert_eq!(sender.push(unlink(9_999)), Err(Full));
        let all = taken(&orders);
        assert_eq!((all.len(), &all[0], &all[ORDERS..]), (ORDERS + 2, &unlink(0), &[close(9_000), close(9_001)][..]));
        sender.push(unlink(1)).unwrap();
        assert_eq!(taken(&orders), [unlink(1)]);
    }

    #[test]
    fn a_worker_that_sleeps_for_good_is_woken_when_settled() {
        let (mut sender, orders) = queue();
        assert!(orders.may_sleep());
        sender.settle();
        sender.push(close(1)).unwrap();
        assert_eq!(sender.wakeups(), 0);
        sender.settle();
        assert_eq!(sender.wakeups(), 1);
        assert!(!orders.may_sleep());
    }
}
