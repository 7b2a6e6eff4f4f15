//! What is logged while a test runs, line by line.

use std::fmt::Write;
use std::sync::{Mutex, Once, PoisonError};
use std::thread::ThreadId;

/// What is said at the level of information, and above, from here on.
///
/// The process has one listener for all tests: where each thread has its own, the first thread that comes to a place in the
/// code decides whether anybody hears it (`tracing` remembers that), and that may be another test's.
pub(crate) struct Log {
    from: usize,
    thread: Option<ThreadId>,
}

impl Log {
    /// What this thread says.
    pub(crate) fn of_this_thread() -> Self {
        Log { thread: Some(std::thread::current().id()), ..Log::of_all() }
    }

    /// What anybody says, the threads of other tests too.
    pub(crate) fn of_all() -> Self {
        static LISTENS: Once = Once::new();
        LISTENS.call_once(|| {
            tracing::subscriber::set_global_default(Listener).expect("nobody else listens in this process");
            tracing::callsite::rebuild_interest_cache();
        });
        Log { from: LINES.lock().unwrap_or_else(PoisonError::into_inner).len(), thread: None }
    }

    /// The lines so far: level, then fields with the message among them.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = lines.iter().skip(self.from).filter(|(by, _)| self.thread.is_none_or(|thread| thread == *by));
        ours.map(|(_, line)| line.clone()).collect()
    }
}

static LINES: Mutex<Vec<(ThreadId, String)>> = Mutex::new(Vec::new());

struct Listener;

struct Fields<'a>(&'a mut String);

impl tracing::field::Visit for Fields<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl tracing::Subscriber for Listener {
    fn enabled(&self, about: &tracing::Metadata<'_>) -> bool {
        *about.level() <= tracing::Level::INFO
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut Fields(&mut line));
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push((std::thread::current().id(), line));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
