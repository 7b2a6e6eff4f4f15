//! The handle by which everything here reaches the running exchange.

use controller::Store;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use switch::{Command, Reply};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use words::{Chance, LegId, LiveFigures, Wall};

/// A command on its way to the loop, and where its reply goes.
pub type Asked = (Command, oneshot::Sender<Reply>);

/// The running exchange, as the interface sees it. Copies are the same.
#[derive(Clone)]
pub struct Exchange {
    /// Commands to the loop: bounded by [`COMMANDS_WAITING`]; a full one refuses.
    pub commands: mpsc::Sender<Asked>,
    /// The database. Its lock is held by one blocking task at a time, never across an await.
    pub store: Arc<Mutex<Store>>,
    /// Draws passwords.
    pub chance: Arc<Mutex<Chance>>,
    /// Tells the shell to read peers and realms again.
    pub reload: Arc<Notify>,
    /// SIP messages as they pass. A slow reader loses the oldest and is told so.
    pub trace: broadcast::Sender<Arc<str>>,
    /// Reads the wall clock.
    pub wall: fn() -> Wall,
    /// Tells how audio is forwarded on this host at the moment, and why so. It asks the kernel, so it is called where
    /// waiting disturbs nobody.
    pub media: Arc<dyn Fn() -> String + Send + Sync>,
    /// How the audio of legs goes right now. It waits, so it is called where waiting disturbs nobody.
    pub figures: Figures,
}

/// Looks how the audio of legs goes; those of which nothing is known are missing.
pub type Figures = Arc<dyn Fn(&[LegId]) -> Vec<(LegId, LiveFigures)> + Send + Sync>;

/// The most commands that wait for the loop.
pub const COMMANDS_WAITING: usize = 256;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Too many commands wait.
    #[error("the exchange is busy: ask again in a moment")]
    Busy,
    /// The exchange is stopping.
    #[error("the exchange is stopping")]
    Stopping,
    /// The database refused.
    #[error("{0}")]
    Refused(#[from] controller::AdminError),
    /// Something named does not exist or cannot be read.
    #[error("{0}")]
    Wrong(String),
}

impl Exchange {
    /// Sends a command and waits for its reply.
    pub async fn command(&self, command: Command) -> Result<Reply, AskError> {
        let (sender, receiver) = oneshot::channel();
        self.commands.try_send((command, sender)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Busy,
            mpsc::error::TrySendError::Closed(_) => AskError::Stopping,
        })?;
        receiver.await.map_err(|_| AskError::Stopping)
    }

    /// Works on the database, on a thread where waiting disturbs nobody.
    pub async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, AskError> + Send + 'static,
    ) -> Result<T, AskError> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || {
            // A panic while the lock was held left no half-made row: each change is one transaction.
            let store = store.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            work(&store)
        });
        done.await.map_err(|_| AskError::Stopping)?
    }

    /// How the audio of legs goes right now.
    pub(crate) async fn figures_of(&self, legs: Vec<LegId>) -> BTreeMap<LegId, LiveFigures> {
        if legs.is_empty() {
            return BTreeMap::new();
        }
        let figures = Arc::clone(&self.figures);
        let found = tokio::task::spawn_blocking(move || figures(&legs)).await;
        found.unwrap_or_default().into_iter().collect()
    }

    /// A generator for one password, forked from the one that all share.
    pub(crate) fn fork_chance(&self) -> Chance {
        self.chance.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fork()
    }
}
