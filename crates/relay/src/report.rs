//! The way of reports to the switch: gathered, so that its loop is woken seldom.

use media::command::MediaReport;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

/// How many reports wait for the switch; a worker keeps what does not fit.
pub const REPORTS: usize = 1_024;

/// How many reports a worker keeps. Past it digits and first packets are dropped and counted: what ends calls and
/// frees ports is not.
pub const KEPT: usize = 16_384;

/// Wakes whoever reads the reports.
pub(crate) type Notify = Arc<dyn Fn() + Send + Sync>;

/// The reports of one worker.
pub(crate) struct Reports {
    sender: SyncSender<MediaReport>,
    notify: Notify,
    kept: VecDeque<MediaReport>,
    urgent: bool,
    dropped: u64,
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports").field("kept", &self.kept.len()).finish_non_exhaustive()
    }
}

impl Reports {
    /// Sends into `sender` and then calls `notify`.
    pub(crate) fn new(sender: SyncSender<MediaReport>, notify: Notify) -> Self {
        Reports { sender, notify, kept: VecDeque::new(), urgent: false, dropped: 0 }
    }

    /// Keeps a report until it is time to send.
    pub(crate) fn push(&mut self, report: MediaReport) {
        let (urgent, needed) = match report {
            MediaReport::Ready { .. } => (true, true),
            MediaReport::Silent { .. } | MediaReport::Closed { .. } => (false, true),
            MediaReport::Dtmf { .. } | MediaReport::Refused { .. } => (true, false),
            MediaReport::FirstPacket { .. } => (false, false),
        };
        if !needed && self.kept.len() >= KEPT {
            self.dropped += 1;
            return;
        }
        self.urgent |= urgent;
        self.kept.push_back(report);
    }

    /// Whether somebody waits for what is kept.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Reports that were dropped because the switch did not read.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Sends as much as fits; the rest stays.
    pub(crate) fn flush(&mut self) {
        self.urgent = false;
        let mut sent = false;
        while let Some(report) = self.kept.pop_front() {
            match self.sender.try_send(report) {
                Ok(()) => sent = true,
                Err(TrySendError::Full(report)) => {
                    self.kept.push_front(report);
                    break;
                }
                // Nobody is left to tell.
                Err(TrySendError::Disconnected(_)) => self.kept.clear(),
            }
        }
        if sent {
            (self.notify)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::sync_channel;
    use words::{CallId, LegId};

    #[test]
    fn many_reports_wake_once_and_none_that_matters_is_lost() {
        let woken = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = sync_channel(10);
        let count = woken.clone();
        let mut reports = Reports::new(sender, Arc::new(move || _ = count.fetch_add(1, Ordering::Relaxed)));
        let end = LegId { call: CallId(1), n: 0 };
        (0..25).for_each(|_| reports.push(MediaReport::Silent { end }));
        assert!(!reports.is_urgent());
        let mut read = 0;
        while !reports.is_empty() {
            reports.flush();
            read += receiver.try_iter().count();
        }
        assert_eq!((read, woken.load(Ordering::Relaxed)), (25, 3));
    }

    #[test]
    fn past_the_limit_digits_are_dropped_and_silence_is_not() {
        let (sender, _receiver) = sync_channel(1);
        let mut reports = Reports::new(sender, Arc::new(|| ()));
        let end = LegId { call: CallId(1), n: 0 };
        let digit = MediaReport::Dtmf { end, digit: '1', duration_ms: 100 };
        (0..KEPT + 5).for_each(|_| reports.push(digit.clone()));
        reports.push(MediaReport::Silent { end });
        assert_eq!((reports.kept.len(), reports.dropped()), (KEPT + 1, 5));
        assert!(reports.is_urgent());
    }
}
