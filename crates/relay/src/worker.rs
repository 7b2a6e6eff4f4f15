//! One thread, its sockets, its rows.
//!
//! Order of a turn: sleep; carry out commands; forward packets; emit sounds; bind ports that are wanted or give up idle ones;
//! a few times a second look for silence and send reports.

mod single;
#[cfg(test)]
mod tests;

use crate::delay::{Delays, Sampler};
use crate::inquiry::Desk;
use crate::kernel::{self, InKernel};
use crate::orders::Orders;
use crate::pace::Pace;
use crate::ports::{PAIRS_PER_TURN, Pair, Stock};
use crate::report::Reports;
use crate::source::{PACKET_BYTES, Sounds};
use forward::{Output, Route, SocketId, Table, Totals, Verdict};
use media::command::{Family, MediaCommand, MediaReport, PortPair};
use media::srtp::TRAILER_BYTES;
use net::batch::{DatagramSocket, EVENTS, Events, Poller, monotonic_nanos, sleep_until};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use words::Time;

/// How often a worker with open ends looks for silence and sends reports that nobody waits for.
pub const HOUSEKEEPING: Duration = Duration::from_millis(250);

/// How many packets of one socket are read in a turn when strangers send to it.
pub const READS_PER_SOCKET: usize = 64;

/// How often a worker that has flows in the kernel looks at its commands: a phone's packets come so often.
pub const COMMANDS: Duration = Duration::from_millis(20);

/// The longest datagram that is forwarded; longer ones are dropped and counted as no RTP. Units: bytes.
pub const DATAGRAM_BYTES: usize = 2_048;

/// What a worker lets others see.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Published {
    pub(crate) totals: Totals,
    pub(crate) pairs: u64,
    pub(crate) carried: u64,
    pub(crate) kernel: kernel::Totals,
    pub(crate) delays: Delays,
    pub(crate) reports_dropped: u64,
    pub(crate) panics: u64,
}

/// A worker before its thread begins.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) number: u16,
    pub(crate) table: Table,
    pub(crate) stock: Stock,
    /// The port that many ends share, by family.
    pub(crate) single: [Option<Pair>; 2],
    pub(crate) orders: Orders,
    pub(crate) reports: Reports,
    pub(crate) sounds: Sounds,
    pub(crate) published: Arc<Mutex<Published>>,
    pub(crate) poller: Poller,
    /// What people ask.
    pub(crate) desk: Arc<Desk>,
    pub(crate) ticks: bool,
    /// In the tier `kernel`.
    pub(crate) kernel: Option<Box<InKernel>>,
}

impl Worker {
    /// Works until it is told to stop.
    pub(crate) fn run(self) {
        let now = monotonic_nanos();
        let mut turn = Turn {
            events: Events::new(),
            pace: Pace::new(self.ticks, now),
            waits_from: now,
            sampler: Sampler::new(now),
            pairs: Vec::new(),
            buffer: vec![0; DATAGRAM_BYTES + TRAILER_BYTES].into_boxed_slice(),
            next_housekeeping: Time::from_nanos(now) + HOUSEKEEPING,
            moved: 0,
            at_work: None,
            more_orders: false,
            panics: 0,
            worker: self,
        };
        turn.watch_single();
        while !turn.worker.orders.is_stopped() {
            // What breaks on one packet ends that packet's end; the others go on.
            if catch_unwind(AssertUnwindSafe(|| turn.take())).is_err() {
                turn.recover();
            }
        }
        let now = Time::from_nanos(monotonic_nanos());
        turn.carry_out_orders(now);
        turn.housekeep(now);
    }
}

/// A worker at work.
struct Turn {
    worker: Worker,
    events: Events,
    pace: Pace,
    /// When it began to wait for packets. Units: nanoseconds of the monotonic clock.
    waits_from: u64,
    /// How long some packets took.
    sampler: Sampler,
    /// By slot, as the rows of the table; `None` where a pair was given up.
    pairs: Vec<Option<Pair>>,
    buffer: Box<[u8]>,
    next_housekeeping: Time,
    /// Packets in this turn.
    moved: u32,
    /// The socket whose packet is being looked at.
    at_work: Option<SocketId>,
    more_orders: bool,
    panics: u64,
}

impl Turn {
    fn take(&mut self) {
        let ticks = self.pace.is_ticking();
        let ready = match self.sleep() {
            Ok(ready) => ready,
            Err(error) => {
                tracing::error!(worker = self.worker.number, %error, "cannot wait for media packets");
                sleep_until(monotonic_nanos() + HOUSEKEEPING.as_nanos() as u64);
                return;
            }
        };
        let nanos = monotonic_nanos();
        let now = Time::from_nanos(nanos);
        self.sampler.turn(ticks, self.waits_from, nanos);
        self.carry_out_orders(now);
        self.moved = 0;
        self.forward(ready, now);
        // What breaks from here on is no packet's fault.
        self.at_work = None;
        self.pace.count(self.moved, nanos);
        self.emit_sounds(now);
        let Worker { desk, table, .. } = &self.worker;
        self.more_orders |= desk.answer_one(|end| table.live(end, now));
        if self.worker.stock.is_due() {
            self.unbind_some();
            self.bind_some();
        }
        if now >= self.next_housekeeping {
            self.housekeep(now);
        } else if self.worker.reports.is_urgent() || self.worker.table.open_ends() == 0 {
            // With the last end closed nothing more will come that could be sent along.
            self.worker.reports.flush();
        }
    }

    /// Sleeps as long as there is nothing to do; gives how many sockets are ready.
    fn sleep(&mut self) -> io::Result<usize> {
        let nanos = monotonic_nanos();
        self.waits_from = nanos;
        if let Some(tick) = self.pace.tick(nanos) {
            if tick > nanos {
                sleep_until(tick);
            }
            return self.worker.poller.wait(&mut self.events, Some(Duration::ZERO));
        }
        let now = Time::from_nanos(nanos);
        if std::mem::take(&mut self.more_orders) || self.worker.stock.is_due() {
            return self.worker.poller.wait(&mut self.events, Some(Duration::ZERO));
        }
        let busy = self.worker.table.open_ends() > 0 || !self.worker.reports.is_empty();
        let housekeeping = busy.then_some(self.next_housekeeping);
        // Packets that the kernel forwards do not bring the worker to its commands, as others do.
        let commands = (self.carried() > 0).then(|| now + COMMANDS);
        let wake = [housekeeping, self.worker.sounds.next_at(), commands].into_iter().flatten().min();
        if let Some(at) = wake {
            return self.worker.poller.wait(&mut self.events, Some(at.since(now)));
        }
        self.publish();
        if !self.worker.orders.may_sleep() {
            return self.worker.poller.wait(&mut self.events, Some(Duration::ZERO));
        }
        let ready = self.worker.poller.wait(&mut self.events, None);
        self.worker.orders.awake();
        self.next_housekeeping = Time::from_nanos(monotonic_nanos()) + HOUSEKEEPING;
        ready
    }

    fn carried(&self) -> usize {
        self.worker.kernel.as_ref().map_or(0, |kernel| kernel.carried())
    }

    fn carry_out_orders(&mut self, now: Time) {
        let Worker { orders, table, stock, kernel, .. } = &mut self.worker;
        let taken = orders.take(|command| match command {
            MediaCommand::Stock { pairs, family } => stock.want(pairs, family),
            MediaCommand::Unbind { ports, .. } => stock.give_up(ports),
            MediaCommand::Open { .. }
            | MediaCommand::Latch { .. }
            | MediaCommand::Rekey { .. }
            | MediaCommand::Ice { .. }
            | MediaCommand::Link { .. }
            | MediaCommand::Unlink { .. }
            | MediaCommand::Play { .. }
            | MediaCommand::Stop { .. }
            | MediaCommand::Close { .. } => {
                if let Some(kernel) = kernel {
                    kernel.before_command(&command, table, now);
                }
                table.apply(command, now);
            }
        });
        self.do_outputs(now);
        if taken > 0 {
            // First seen, then done: whoever waits for all to be closed must not miss what was opened.
            self.publish();
            self.more_orders = self.worker.orders.done(taken);
        }
    }

    fn forward(&mut self, mut ready: usize, now: Time) {
        for _ in 0..ROUNDS {
            for n in 0..ready {
                match self.events.token(n).map(SocketId::from_u32) {
                    Some(socket) if socket.is_single() => self.read_single(socket, now),
                    Some(socket) => self.read(socket, now),
                    None => {}
                }
            }
            if ready < EVENTS {
                return;
            }
            ready = self.worker.poller.wait(&mut self.events, Some(Duration::ZERO)).unwrap_or(0);
        }
    }

    /// Reads a socket that is ready: one packet where all is well, for a leg rarely has two within a tick.
    #[inline]
    fn read(&mut self, socket: SocketId, now: Time) {
        let slot = socket.slot();
        self.at_work = Some(socket);
        for _ in 0..READS_PER_SOCKET {
            let Some(input) = socket_of(&self.pairs, &[], socket) else { return };
            let connected = !socket.is_rtcp() && self.worker.table.is_connected(slot);
            let room = &mut self.buffer[..DATAGRAM_BYTES];
            let received = if connected {
                input.receive(room).map(|length| (length, None))
            } else {
                input.receive_from(room).map(|(length, from)| (length, Some(from)))
            };
            match received {
                Ok((length, from)) => {
                    // What does not fit is empty to the table, so it drops and counts it.
                    let length = if length > DATAGRAM_BYTES { 0 } else { length };
                    #[cfg(test)]
                    tests::break_on(&self.buffer[..length]);
                    if let Some(kernel) = &mut self.worker.kernel
                        && !socket.is_rtcp()
                    {
                        kernel.before_packet(slot, from, &self.buffer[..length], &mut self.worker.table, now);
                    }
                    let (verdict, length) = self.worker.table.relay(socket, from, &mut self.buffer, length, now);
                    let settled = self.obey(verdict, length);
                    let Worker { kernel, table, .. } = &mut self.worker;
                    if let Some(kernel) = kernel {
                        kernel.after_packet(table, now);
                    }
                    self.moved += 1;
                    self.do_outputs(now);
                    let empties = !socket.is_rtcp() && self.empties(slot);
                    if settled && !empties {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !socket.is_rtcp() {
                        self.worker.table.drained(slot);
                        self.do_outputs(now);
                    }
                    return;
                }
                // The peer's host refused a packet of ours; that was told now, and packets may lie behind it.
                Err(_) => {}
            }
        }
    }

    /// Whether a socket is to be read until it is empty.
    #[inline]
    fn empties(&self, slot: u32) -> bool {
        let Worker { table, kernel, .. } = &self.worker;
        table.is_draining(slot) || kernel.as_ref().is_some_and(|kernel| kernel.is_held(slot))
    }

    /// Sends what lies in the buffer, if it is to be sent; whether what waits behind it has time.
    #[inline]
    fn obey(&mut self, verdict: Verdict, length: usize) -> bool {
        let Worker { table, single, .. } = &mut self.worker;
        match verdict {
            Verdict::Send(route) => {
                send(&self.pairs, single, table, route, &self.buffer[..length]);
                if self.sampler.is_due() {
                    self.sampler.sent(monotonic_nanos());
                }
                true
            }
            Verdict::Answer(route) => {
                answer(&self.pairs, single, table, route, &self.buffer[..length]);
                false
            }
            Verdict::Dropped => true,
            Verdict::Refused => false,
        }
    }

    #[inline]
    fn do_outputs(&mut self, now: Time) {
        while let Some(output) = self.worker.table.poll() {
            self.do_output(output, now);
        }
    }

    fn do_output(&mut self, output: Output, now: Time) {
        let Worker { table, sounds, reports, kernel, single, .. } = &mut self.worker;
        match output {
            Output::Carry { slot } => {
                if let Some(kernel) = kernel {
                    kernel.carry(slot, table, &self.pairs, now);
                }
            }
            Output::Moved { slot } => {
                if let Some(kernel) = kernel {
                    kernel.take_back_around(slot, table, now);
                }
            }
            Output::Connect { slot, to } => {
                if pair_of(&self.pairs, slot).is_none_or(|pair| pair.rtp.connect(to).is_err()) {
                    table.connect_failed(slot);
                }
            }
            Output::Disconnect { slot } => {
                if let Some(pair) = pair_of(&self.pairs, slot)
                    && let Err(error) = pair.rtp.disconnect()
                {
                    tracing::warn!(slot, %error, "cannot disconnect a media socket");
                }
            }
            Output::Discard { slot } => {
                if let Some(pair) = pair_of(&self.pairs, slot) {
                    discard(&pair.rtp, &mut self.buffer);
                    discard(&pair.rtcp, &mut self.buffer);
                }
            }
            Output::Play { slot, sound, payload_type } => sounds.play(slot, sound, payload_type, now),
            Output::Quiet { slot } => sounds.quiet(slot),
            Output::Inform { slot } => {
                if let Some((route, length)) = table.own_report(slot, &mut self.buffer, now)
                    && let Some(length) = table.seal(route.socket, &mut self.buffer, length)
                {
                    send(&self.pairs, single, table, route, &self.buffer[..length]);
                }
            }
            Output::Report(report) => reports.push(report),
        }
    }

    fn emit_sounds(&mut self, now: Time) {
        let Worker { sounds, table, single, .. } = &mut self.worker;
        let pairs = &self.pairs;
        let mut buffer = [0; PACKET_BYTES + TRAILER_BYTES];
        sounds.packets(now, |slot, packet| {
            if let Some(route) = table.emit(slot, packet, now) {
                buffer[..PACKET_BYTES].copy_from_slice(packet);
                if let Some(length) = table.seal(route.socket, &mut buffer, PACKET_BYTES) {
                    send(pairs, single, table, route, &buffer[..length]);
                }
            }
        });
    }

    /// Closes the sockets of pairs that nobody needs.
    fn unbind_some(&mut self) {
        for _ in 0..PAIRS_PER_TURN {
            let Some(ports) = self.worker.stock.unbind_next() else { return };
            if !self.worker.table.remove(ports) {
                tracing::error!(?ports, "media ports are given up that are not free");
            } else if let Some(pair) = self.pairs.get_mut(ports.slot as usize) {
                *pair = None;
            }
        }
    }

    fn bind_some(&mut self) {
        let mut ports = Vec::with_capacity(PAIRS_PER_TURN);
        while ports.len() < PAIRS_PER_TURN
            && let Some((rtp_port, family, pair)) = self.worker.stock.bind_next()
        {
            // The table numbers its rows as this list does; a pair that cannot be watched still takes its place in both,
            // and is never handed out.
            let slot = self.worker.table.add(self.worker.number, rtp_port, family);
            let watched = self.worker.poller.add(&pair.rtp, SocketId::rtp(slot).as_u32()).is_ok()
                && self.worker.poller.add(&pair.rtcp, SocketId::rtcp(slot).as_u32()).is_ok();
            match self.pairs.get_mut(slot as usize) {
                Some(vacant) => *vacant = Some(pair),
                None => self.pairs.push(Some(pair)),
            }
            if watched {
                ports.push(PortPair { worker: self.worker.number, slot, rtp_port, family });
            }
        }
        if !ports.is_empty() {
            self.worker.reports.push(MediaReport::Ready { ports });
        }
    }

    fn housekeep(&mut self, now: Time) {
        if let Some(kernel) = &mut self.worker.kernel {
            kernel.look(&mut self.worker.table, now);
        }
        self.worker.table.handle_timeout(now);
        self.do_outputs(now);
        self.worker.reports.flush();
        self.publish();
        self.next_housekeeping = now + HOUSEKEEPING;
    }

    fn publish(&self) {
        let published = Published {
            totals: self.worker.table.totals(),
            pairs: self.worker.stock.bound() as u64,
            carried: self.carried() as u64,
            kernel: self.worker.kernel.as_ref().map(|kernel| kernel.totals()).unwrap_or_default(),
            delays: self.sampler.delays(),
            reports_dropped: self.worker.reports.dropped(),
            panics: self.panics,
        };
        *self.worker.published.lock().unwrap_or_else(PoisonError::into_inner) = published;
    }

    /// Goes on after a panic.
    fn recover(&mut self) {
        self.panics += 1;
        let socket = self.at_work.take();
        tracing::error!(
            worker = self.worker.number,
            ?socket,
            "a media worker panicked; the end it worked at is given up"
        );
        if let Some(socket) = socket {
            if let Some(kernel) = &mut self.worker.kernel {
                let now = Time::from_nanos(monotonic_nanos());
                kernel.take_back_around(socket.slot(), &mut self.worker.table, now);
            }
            self.worker.table.give_up(socket.slot());
        }
        // Should it happen in each turn, the host is left to others.
        sleep_until(monotonic_nanos() + PANIC_REST_NANOS);
    }
}

#[inline]
pub(crate) fn pair_of(pairs: &[Option<Pair>], slot: u32) -> Option<&Pair> {
    pairs.get(slot as usize)?.as_ref()
}

#[inline]
fn socket_of<'a>(
    pairs: &'a [Option<Pair>],
    single: &'a [Option<Pair>],
    socket: SocketId,
) -> Option<&'a DatagramSocket> {
    let pair = match pair_of(pairs, socket.slot()) {
        Some(pair) => pair,
        None => {
            single.get(socket.slot().checked_sub(SocketId::single(Family::V4, false).slot())? as usize)?.as_ref()?
        }
    };
    Some(if socket.is_rtcp() { &pair.rtcp } else { &pair.rtp })
}

#[inline]
fn send(pairs: &[Option<Pair>], single: &[Option<Pair>], table: &mut Table, route: Route, packet: &[u8]) {
    let sent = socket_of(pairs, single, table.leaves_by(route.socket)).is_some_and(|socket| match route.to {
        None => socket.send(packet).is_ok(),
        Some(to) => socket.send_to(packet, to).is_ok(),
    });
    if !sent {
        table.unsent(route.socket, packet.len());
    }
}

/// Sends back to where it came from: what is lost is asked for again.
#[cold]
fn answer(pairs: &[Option<Pair>], single: &[Option<Pair>], table: &Table, route: Route, packet: &[u8]) {
    if let (Some(socket), Some(to)) = (socket_of(pairs, single, table.leaves_by(route.socket)), route.to) {
        let _ = socket.send_to(packet, to);
    }
}

/// Throws away what waits in a socket, within reason: a flood goes on after it anyway.
fn discard(socket: &DatagramSocket, buffer: &mut [u8]) {
    for _ in 0..DISCARD_MAX {
        if let Err(error) = socket.receive(buffer)
            && error.kind() == io::ErrorKind::WouldBlock
        {
            return;
        }
    }
}

/// How many times in a turn the sockets are looked at when they are all ready.
const ROUNDS: usize = 8;
const DISCARD_MAX: usize = 1_024;
const PANIC_REST_NANOS: u64 = 10_000_000;
