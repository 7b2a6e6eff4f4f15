//! TLS: our certificate, made at the first start or loaded, and whom we trust when we connect.

mod certificate;
mod domain;
mod handshake;
mod trust;

pub use certificate::{CertificateError, Identity, NAMES};
pub use handshake::TlsFailure;
pub(crate) use handshake::handshake;
pub(crate) use trust::Connector;
pub use trust::{Authorities, Trust};

use rustls::{ServerConfig, ServerConnection};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// What listeners show to those who connect. Copies are the same, so that one reload reaches all listeners.
#[derive(Clone, Debug)]
pub struct Acceptor(Rc<RefCell<Arc<ServerConfig>>>);

impl Acceptor {
    /// TLS 1.2 and 1.3 with `identity`; session tickets spare returning phones the expensive part.
    ///
    /// # Errors
    /// The certificate and the key do not fit.
    pub fn new(identity: &Identity) -> Result<Self, CertificateError> {
        Ok(Acceptor(Rc::new(RefCell::new(server_config(identity)?))))
    }

    /// Shows `identity` to those who connect from now on.
    ///
    /// # Errors
    /// As of [`Acceptor::new`]; the one before then stays.
    pub fn replace(&self, identity: &Identity) -> Result<(), CertificateError> {
        *self.0.borrow_mut() = server_config(identity)?;
        Ok(())
    }

    /// The same configuration for others who speak TLS with this certificate, such as an HTTPS listener.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.borrow())
    }

    pub(crate) fn begin(&self) -> Result<ServerConnection, TlsFailure> {
        ServerConnection::new(self.server_config()).map_err(|error| TlsFailure::of(&error))
    }
}

fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, CertificateError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let unfit = |error: rustls::Error| CertificateError::Unfit(error.to_string());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(identity.chain().to_vec(), identity.key().clone_key())
        .map_err(unfit)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(unfit)?;
    // Tickets carry the state, so nothing is kept here per session.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
