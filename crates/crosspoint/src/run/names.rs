//! Carries the exchange's questions to DNS, so many at a time.

use crate::setup::Setup;
use net::dns::Resolver;
use std::sync::Arc;
use std::time::Duration;
use switch::Input;
use tokio::sync::{Semaphore, mpsc};
use words::dns::{Answer, Question, Records};

/// What asks DNS.
pub(crate) struct Names {
    resolver: Resolver,
    places: Arc<Semaphore>,
    answers: mpsc::Sender<Input>,
}

impl Names {
    /// Asks the servers that the configuration names, else those of the system.
    pub(crate) fn new(setup: &Setup, answers: mpsc::Sender<Input>) -> std::io::Result<Self> {
        let servers = &setup.config.dns.servers;
        let resolver = if servers.is_empty() { Resolver::of_system() } else { Resolver::of_servers(servers) };
        let resolver = resolver.or_else(|error| {
            tracing::warn!(%error, "the system's DNS servers are not known: names of peers cannot be looked up");
            Resolver::of_servers(&[])
        })?;
        Ok(Names { resolver, places: Arc::new(Semaphore::new(AT_A_TIME)), answers })
    }

    /// Asks; what is too much is answered at once.
    pub(crate) fn ask(&self, question: Question) -> Option<Input> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::warn!(name = &*question.name, "too many questions to DNS at a time");
            let answer = Answer { records: Records::Silence, ttl: Duration::ZERO };
            return Some(Input::Resolved { question, answer });
        };
        let (resolver, answers) = (self.resolver.clone(), self.answers.clone());
        tokio::task::spawn_local(async move {
            let answer = resolver.ask(&question).await;
            // An error means that the loop is gone.
            let _ = answers.send(Input::Resolved { question, answer }).await;
            drop(place);
        });
        None
    }
}

/// The most questions at a time.
const AT_A_TIME: usize = 256;
