//! Whom we trust when we open a TLS connection.

use crate::stream::ConnectError;
use crate::tls::TlsFailure;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::cell::OnceCell;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// Whose certificate will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Anybody's: encrypted, not verified. For phones, whose certificates nobody can know.
    Anybody,
    /// One that the host's certificate authorities vouch for, with this name (RFC 5922 §7).
    Named(String),
    /// One that these authorities (DER) vouch for, with this name.
    NamedBy(String, Vec<CertificateDer<'static>>),
}

/// The configurations of outgoing TLS, each made when it is first used.
#[derive(Default)]
pub(crate) struct Connector {
    anybody: OnceCell<Arc<ClientConfig>>,
    host: OnceCell<Arc<ClientConfig>>,
}

impl Connector {
    /// The state of a connection to `remote` before its handshake.
    pub(crate) fn begin(&self, trust: &Trust, remote: IpAddr) -> Result<ClientConnection, ConnectError> {
        let (config, name) = match trust {
            Trust::Anybody => (Arc::clone(self.anybody.get_or_init(anybody)), ServerName::IpAddress(remote.into())),
            Trust::Named(name) => (Arc::clone(self.host.get_or_init(|| verifying(host_roots()))), parse(name)?),
            Trust::NamedBy(name, roots) => {
                let mut store = RootCertStore::empty();
                store.add_parsable_certificates(roots.iter().cloned());
                (verifying(store), parse(name)?)
            }
        };
        ClientConnection::new(config, name).map_err(|error| TlsFailure::of(&error).into())
    }
}

impl From<TlsFailure> for ConnectError {
    fn from(failure: TlsFailure) -> Self {
        ConnectError { kind: failure.kind, diagnosis: failure.diagnosis, detail: failure.detail }
    }
}

fn parse(name: &str) -> Result<ServerName<'static>, ConnectError> {
    let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(bare).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("'{name}' is no name that a certificate can have")).into()
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn anybody() -> Arc<ClientConfig> {
    let verifier = Arc::new(Anybody(provider()));
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .expect("the provider has suites of both versions");
    Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn verifying(roots: RootCertStore) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .expect("the provider has suites of both versions");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The certificate authorities that the host trusts; none when it has no list, so that nobody is trusted.
fn host_roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    let Some(file) = ROOT_FILES.iter().map(Path::new).find(|path| path.exists()) else {
        tracing::warn!("the host has no list of certificate authorities: install ca-certificates");
        return store;
    };
    match CertificateDer::pem_file_iter(file) {
        Ok(found) => {
            let _ = store.add_parsable_certificates(found.filter_map(Result::ok));
        }
        Err(error) => tracing::warn!(file = %file.display(), %error, "certificate authorities"),
    }
    store
}

/// Takes any certificate, yet checks that the other side holds its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const ROOT_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
