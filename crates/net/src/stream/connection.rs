//! One connection: what waits to be written, which deadlines run, and how its task and the loop meet.

use super::carrier::{Carrier, Inbound};
use super::{CloseReason, Limits, Shared};
use crate::SendError;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use words::{ConnectionId, Flow, Time, TimerToken};

/// A connection, shared by its task, which waits and reads, and the table, by which the loop writes.
pub(super) struct Connection {
    id: ConnectionId,
    flow: Cell<Flow>,
    accepted: bool,
    /// `None` until it is open.
    carrier: RefCell<Option<Carrier>>,
    queue: RefCell<Queue>,
    ending: Cell<Option<CloseReason>>,
    /// Whether the loop has heard of it.
    announced: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    times: Cell<Times>,
    /// Whether the gate said yes to a piece that has not come yet.
    heard: Cell<bool>,
    timer: Cell<Option<(Time, TimerToken)>>,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    bytes: usize,
}

/// The moments from which deadlines count.
#[derive(Clone, Copy)]
struct Times {
    began: Time,
    /// Whether messages can go both ways.
    open: bool,
    /// When it was told to end.
    ending: Option<Time>,
    /// When the last complete message came.
    heard: Option<Time>,
    /// When the first message came since nothing was left to read.
    behind: Option<Time>,
    /// When the message began that is not complete.
    partial: Option<Time>,
    /// Since when the other side has taken nothing of what waits.
    stalled: Option<Time>,
    proven: bool,
}

/// What a connection's task woke up for.
pub(super) struct Ready {
    /// The socket may have bytes.
    pub(super) read: bool,
    /// The socket may take bytes.
    pub(super) write: bool,
}

impl Connection {
    /// A connection that is not open yet. `flow` names it already; an accepted one counts for its source.
    pub(super) fn new(flow: Flow, accepted: bool, now: Time) -> Self {
        Connection {
            id: flow.connection,
            flow: Cell::new(flow),
            accepted,
            carrier: RefCell::new(None),
            queue: RefCell::default(),
            ending: Cell::new(None),
            announced: Cell::new(false),
            waker: RefCell::new(None),
            times: Cell::new(Times {
                began: now,
                open: false,
                ending: None,
                heard: None,
                behind: None,
                partial: None,
                stalled: None,
                proven: !accepted,
            }),
            heard: Cell::new(false),
            timer: Cell::new(None),
        }
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(super) fn flow(&self) -> Flow {
        self.flow.get()
    }

    /// Whose limit it counts for.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.accepted.then(|| self.flow.get().remote.ip())
    }

    /// It is open: messages can go both ways.
    pub(super) fn open(&self, shared: &Shared, flow: Flow, carrier: Carrier) {
        self.flow.set(flow);
        *self.carrier.borrow_mut() = Some(carrier);
        self.note(|times| times.open = true);
        self.arm(shared);
    }

    /// Drops the socket and what waits. Answers whether the loop has heard of this connection.
    pub(super) fn finish(&self, why: CloseReason) -> bool {
        if let Some(mut carrier) = self.carrier.borrow_mut().take()
            && why != CloseReason::Cut
        {
            carrier.close();
        }
        *self.queue.borrow_mut() = Queue::default();
        self.announced.get()
    }

    pub(super) fn announce(&self) {
        self.announced.set(true);
    }

    pub(super) fn prove(&self) {
        self.note(|times| times.proven = true);
    }

    /// Whether one piece more may be read: who is no stranger is not asked about.
    pub(super) fn may_speak(&self, shared: &Shared) -> bool {
        if !self.times.get().proven && !self.heard.get() {
            self.heard.set(shared.hears(&self.flow.get()));
            return self.heard.get();
        }
        true
    }

    /// What the gate said yes to has come, or a part of it.
    pub(super) fn spoke(&self) {
        self.heard.set(false);
    }

    /// Takes one message: writes it now or keeps it.
    pub(super) fn send(&self, shared: &Shared, bytes: Bytes) -> Result<(), SendError> {
        if self.ending.get().is_some() || self.carrier.borrow().is_none() {
            return Err(SendError::Gone);
        }
        let waited = {
            let mut queue = self.queue.borrow_mut();
            if queue.bytes + bytes.len() > shared.limits.backlog_bytes {
                drop(queue);
                self.end(shared, CloseReason::SlowReader);
                return Err(SendError::Full);
            }
            queue.bytes += bytes.len();
            queue.messages.push_back(bytes);
            queue.messages.len() > 1
        };
        if !waited && let Err(error) = self.flush(shared) {
            self.end(shared, CloseReason::Broken(error.kind()));
            return Err(SendError::Gone);
        }
        if self.times.get().stalled.is_some() {
            // The task must wait for the socket to take more.
            self.wake();
        }
        Ok(())
    }

    /// Writes what waits as far as the socket takes it.
    pub(super) fn flush(&self, shared: &Shared) -> io::Result<()> {
        let mut carrier = self.carrier.borrow_mut();
        let Some(carrier) = carrier.as_mut() else { return Ok(()) };
        let mut queue = self.queue.borrow_mut();
        let mut moved = false;
        let blocked = loop {
            match carrier.flush().and_then(|()| queue.write_front(carrier)) {
                Ok(true) => moved = true,
                Ok(false) => break false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(error) => return Err(error),
            }
        };
        drop(queue);
        if !blocked {
            self.note(|times| times.stalled = None);
        } else if moved || self.times.get().stalled.is_none() {
            let now = shared.clocks.now();
            self.note(|times| times.stalled = Some(now));
            self.arm(shared);
        }
        Ok(())
    }

    /// The next piece that came in.
    pub(super) fn next(&self, shared: &Shared) -> io::Result<Inbound> {
        let mut carrier = self.carrier.borrow_mut();
        let Some(carrier) = carrier.as_mut() else { return Ok(Inbound::End) };
        carrier.next(&mut shared.scratch.borrow_mut())
    }

    /// A complete message came. Answers since when more came than was taken.
    pub(super) fn heard(&self, now: Time) -> Time {
        let since = self.times.get().behind.unwrap_or(now);
        self.note(|times| (times.heard, times.behind, times.partial) = (Some(now), Some(since), None));
        since
    }

    /// Nothing waits that could have been taken.
    pub(super) fn caught_up(&self) {
        self.note(|times| times.behind = None);
    }

    /// No more bytes for now; `partial` when they end inside a message.
    pub(super) fn dry(&self, shared: &Shared, partial: bool) {
        self.caught_up();
        let before = self.times.get().partial;
        if partial && before.is_none() {
            let now = shared.clocks.now();
            self.note(|times| times.partial = Some(now));
            self.arm(shared);
        } else if !partial && before.is_some() {
            self.note(|times| times.partial = None);
        }
    }

    /// Asks the task to end. The first reason stays, except that [`CloseReason::Ours`] waits for the other side and any
    /// later one does not.
    pub(super) fn end(&self, shared: &Shared, why: CloseReason) {
        if !matches!(self.ending.get(), None | Some(CloseReason::Ours)) {
            return;
        }
        self.ending.set(Some(why));
        if self.times.get().ending.is_none() {
            let now = shared.clocks.now();
            self.note(|times| times.ending = Some(now));
            self.arm(shared);
        }
        self.wake();
    }

    /// Why it should end, once nothing keeps it: told by us, it first writes what waits.
    pub(super) fn ended(&self) -> Option<CloseReason> {
        self.ending.get().filter(|&why| why != CloseReason::Ours || !self.is_stalled())
    }

    /// Ready when it should end.
    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> Poll<CloseReason> {
        self.keep_waker(cx);
        self.ending.get().map_or(Poll::Pending, Poll::Ready)
    }

    /// Ready when its task has something to do.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Ready> {
        self.keep_waker(cx);
        let carrier = self.carrier.borrow();
        let Some(carrier) = carrier.as_ref() else { return Poll::Ready(Ready { read: false, write: false }) };
        let read = self.ending.get().is_none() && carrier.tcp().poll_read_ready(cx).is_ready();
        let write = self.is_stalled() && carrier.tcp().poll_write_ready(cx).is_ready();
        if read || write || self.ended().is_some() { Poll::Ready(Ready { read, write }) } else { Poll::Pending }
    }

    /// Looks at the deadlines when the timer of this connection fired.
    pub(super) fn timer_fired(&self, shared: &Shared, now: Time) {
        self.timer.set(None);
        match self.due(&shared.limits) {
            Some((at, why)) if at <= now => self.end_at_deadline(shared, why),
            _ => self.arm(shared),
        }
    }

    /// The timer's token, to take it back.
    pub(super) fn take_timer(&self) -> Option<TimerToken> {
        self.timer.take().map(|(_, token)| token)
    }

    fn end_at_deadline(&self, shared: &Shared, why: CloseReason) {
        shared.count(|c| match why {
            CloseReason::SlowReader => c.slow_readers += 1,
            _ => c.timed_out += 1,
        });
        self.end(shared, why);
    }

    /// The earliest deadline and what it means.
    fn due(&self, limits: &Limits) -> Option<(Time, CloseReason)> {
        let times = self.times.get();
        if let Some(since) = times.ending {
            return Some((since + FAREWELL, CloseReason::Cut));
        }
        if !times.open {
            return Some((times.began + limits.open, CloseReason::SlowOpen));
        }
        let quiet = match times.heard {
            _ if times.proven => None,
            None => Some((times.began + limits.silent, CloseReason::Silent)),
            Some(heard) => Some((heard + limits.idle, CloseReason::Idle)),
        };
        let partial = times.partial.map(|since| (since + limits.frame, CloseReason::SlowFrame));
        let stalled = times.stalled.map(|since| (since + limits.stall, CloseReason::SlowReader));
        [quiet, partial, stalled].into_iter().flatten().min_by_key(|&(at, _)| at)
    }

    /// Sets the timer to the earliest deadline. A timer that is too early is left: it looks again when it fires.
    pub(super) fn arm(&self, shared: &Shared) {
        let Some((at, _)) = self.due(&shared.limits) else { return };
        if self.timer.get().is_some_and(|(set, _)| set <= at) {
            return;
        }
        let mut timers = shared.timers.borrow_mut();
        if let Some(token) = self.take_timer() {
            timers.cancel(token);
        }
        self.timer.set(Some((at, timers.insert(at, self.id))));
    }

    fn is_stalled(&self) -> bool {
        self.times.get().stalled.is_some()
    }

    fn note(&self, change: impl FnOnce(&mut Times)) {
        let mut times = self.times.get();
        change(&mut times);
        self.times.set(times);
    }

    fn keep_waker(&self, cx: &Context<'_>) {
        let mut kept = self.waker.borrow_mut();
        match &mut *kept {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Queue {
    /// Writes from the first message; false when none waits.
    fn write_front(&mut self, carrier: &mut Carrier) -> io::Result<bool> {
        let Some(front) = self.messages.front_mut() else {
            // A burst must not keep its room for the rest of the connection's life.
            self.messages.shrink_to(QUEUE_KEPT);
            return Ok(false);
        };
        let before = front.len();
        carrier.write(front)?;
        self.bytes -= before - front.len();
        if front.is_empty() {
            self.messages.pop_front();
        }
        Ok(true)
    }
}

/// How long a connection that we end may take to read what waits for it.
const FAREWELL: Duration = Duration::from_secs(5);
/// Places that an empty queue keeps.
const QUEUE_KEPT: usize = 4;
