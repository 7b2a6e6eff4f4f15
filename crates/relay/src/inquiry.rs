//! Questions of people about ends that are open: how well they are heard at this moment.
//!
//! They do not come by the way of commands, which belongs to the switch alone, and cost a worker nothing while nobody
//! asks but a look at a flag in each of its turns.

use net::batch::{Waker, monotonic_nanos};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use words::{LegId, LiveFigures};

/// How many ends are looked up in a worker's turn, so that packets do not wait.
pub const ENDS_PER_TURN: usize = 256;

/// How many questions wait for a worker; others are told nothing.
pub const INQUIRIES: usize = 1_024;

/// Asks the workers of a relay, from any thread. Copies are the same.
#[derive(Clone, Debug)]
pub struct Inquirer {
    desks: Arc<[Arc<Desk>]>,
}

/// Where the questions to one worker lie.
#[derive(Debug)]
pub(crate) struct Desk {
    waits: AtomicBool,
    inquiries: Mutex<VecDeque<Inquiry>>,
    waker: Waker,
}

/// A question: about whom, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Inquiry {
    ends: Arc<[LegId]>,
    answer: SyncSender<Vec<(LegId, LiveFigures)>>,
}

impl Inquirer {
    pub(crate) fn new(desks: impl Iterator<Item = Arc<Desk>>) -> Self {
        Inquirer { desks: desks.collect() }
    }

    /// How the ends go of which something is known; waits for that as long as `patience` lasts.
    pub fn ask(&self, ends: &[LegId], patience: Duration) -> Vec<(LegId, LiveFigures)> {
        let parts: Vec<Arc<[LegId]>> = ends.chunks(ENDS_PER_TURN).map(Arc::from).collect();
        // Whose end it is the workers know; each answers each part.
        let (answer, answers) = sync_channel((parts.len() * self.desks.len()).max(1));
        let asked: usize = self.desks.iter().map(|desk| desk.put(&parts, &answer)).sum();
        drop(answer);
        let until = monotonic_nanos() + patience.as_nanos() as u64;
        let mut found = Vec::new();
        for _ in 0..asked {
            match answers.recv_timeout(Duration::from_nanos(until.saturating_sub(monotonic_nanos()))) {
                Ok(part) => found.extend(part),
                // The worker is late, or gone: who is asked next may not be.
                Err(_) => break,
            }
        }
        found
    }
}

impl Desk {
    pub(crate) fn new(waker: Waker) -> Self {
        Desk { waits: AtomicBool::new(false), inquiries: Mutex::default(), waker }
    }

    /// Lays questions down and wakes the worker; gives how many there was room for.
    fn put(&self, parts: &[Arc<[LegId]>], answer: &SyncSender<Vec<(LegId, LiveFigures)>>) -> usize {
        let mut inquiries = self.inquiries.lock().unwrap_or_else(PoisonError::into_inner);
        let room = INQUIRIES.saturating_sub(inquiries.len()).min(parts.len());
        let next = parts.iter().take(room).map(|ends| Inquiry { ends: Arc::clone(ends), answer: answer.clone() });
        inquiries.extend(next);
        drop(inquiries);
        self.waits.store(true, Ordering::Release);
        self.waker.wake();
        room
    }

    /// Answers one question if there is one; true when more wait.
    #[inline]
    pub(crate) fn answer_one(&self, live: impl Fn(LegId) -> Option<LiveFigures>) -> bool {
        if !self.waits.load(Ordering::Acquire) {
            return false;
        }
        let (inquiry, more) = {
            let mut inquiries = self.inquiries.lock().unwrap_or_else(PoisonError::into_inner);
            let inquiry = inquiries.pop_front();
            let more = !inquiries.is_empty();
            self.waits.store(more, Ordering::Release);
            (inquiry, more)
        };
        if let Some(Inquiry { ends, answer }) = inquiry {
            let found = ends.iter().filter_map(|end| Some((*end, live(*end)?))).collect();
            // Who asked may have lost patience.
            let _ = answer.try_send(found);
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::batch::Poller;
    use words::CallId;

    fn leg(n: u16) -> LegId {
        LegId { call: CallId(1), n }
    }

    #[test]
    fn each_worker_answers_for_its_own_and_a_part_in_a_turn() {
        let pollers = [Poller::new().unwrap(), Poller::new().unwrap()];
        let desks = [0, 1].map(|n: usize| Arc::new(Desk::new(pollers[n].waker())));
        let inquirer = Inquirer::new(desks.iter().cloned());
        let ends: Vec<LegId> = (0..600).map(leg).collect();
        let asking = std::thread::spawn(move || inquirer.ask(&ends, Duration::from_secs(10)));
        for (worker, desk) in (0..).zip(&desks) {
            let mut turns = 0;
            while turns < 3 {
                if !desk.waits.load(Ordering::Acquire) {
                    std::thread::yield_now();
                    continue;
                }
                let own = |end: LegId| (end.n % 2 == worker && end.n != 4).then(LiveFigures::default);
                assert_eq!(desk.answer_one(own), turns < 2);
                turns += 1;
            }
            assert!(!desk.answer_one(|_| None));
        }
        assert_eq!(asking.join().unwrap().len(), 599);
    }

    #[test]
    fn who_gets_no_answer_goes_on_and_leaves_no_more_than_there_is_room_for() {
        let poller = Poller::new().unwrap();
        let desk = Arc::new(Desk::new(poller.waker()));
        let inquirer = Inquirer::new(std::iter::once(Arc::clone(&desk)));
        let ends: Vec<LegId> = (0..10).map(leg).collect();
        for _ in 0..INQUIRIES + 5 {
            assert_eq!(inquirer.ask(&ends, Duration::ZERO), []);
        }
        assert_eq!(desk.inquiries.lock().unwrap().len(), INQUIRIES);
        assert!(desk.answer_one(|_| Some(LiveFigures::default())));
        assert_eq!(inquirer.ask(&[], Duration::ZERO), []);
    }
}
