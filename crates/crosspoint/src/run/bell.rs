//! A bell that other threads ring when they have left something for the loop.

use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Rings the bell. Copies ring the same.
#[derive(Clone, Debug)]
pub(crate) struct Ringer(mpsc::Sender<()>);

/// The bell, where it is heard.
#[derive(Debug)]
pub(crate) struct Bell(mpsc::Receiver<()>);

/// A bell and what rings it.
pub(crate) fn bell() -> (Ringer, Bell) {
    let (ringer, bell) = mpsc::channel(1);
    (Ringer(ringer), Bell(bell))
}

impl Ringer {
    /// Never waits: a bell that rings already is heard anyway.
    pub(crate) fn ring(&self) {
        let _ = self.0.try_send(());
    }
}

impl Bell {
    /// Ready once after it was rung, however often.
    pub(crate) fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(())) => Poll::Ready(()),
            // All who could ring are gone.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
