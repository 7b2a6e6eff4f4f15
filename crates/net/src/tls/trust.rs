//! Whom we trust when we open a TLS connection.

use super::domain;
use crate::stream::ConnectError;
use crate::tls::TlsFailure;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use std::cell::OnceCell;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whose certificate will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Anybody's: encrypted, not verified. For phones, whose certificates nobody can know, and for peers of which
    /// somebody said so.
    Anybody,
    /// That of this SIP domain, or address, which our authorities vouch for (RFC 5922 §7).
    Named(String),
    /// Nobody's: the peer is not known any more.
    Nobody,
}

/// Who vouches for others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authorities {
    /// Those that the host trusts.
    #[default]
    OfHost,
    /// Those in this file (PEM).
    File(PathBuf),
    /// These (DER).
    Given(Vec<CertificateDer<'static>>),
}

impl Authorities {
    /// Reads a file of certificates.
    ///
    /// # Errors
    /// What cannot be read of it, or that it has no certificate.
    pub fn check(&self) -> io::Result<()> {
        let Authorities::File(path) = self else { return Ok(()) };
        if read(path)?.is_empty() {
            Err(io::Error::new(io::ErrorKind::InvalidData, "no certificate in it"))
        } else {
            Ok(())
        }
    }

    fn store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        let found = match self {
            Authorities::OfHost => match ROOT_FILES.iter().map(Path::new).find(|path| path.exists()) {
                Some(file) => read(file),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "the host has none: install ca-certificates")),
            },
            Authorities::File(path) => read(path),
            Authorities::Given(found) => Ok(found.clone()),
        };
        match found {
            Ok(found) => {
                let _ = store.add_parsable_certificates(found);
            }
            // Then nobody is trusted.
            Err(error) => tracing::warn!(%error, "the certificate authorities cannot be read"),
        }
        store
    }
}

/// The configurations of outgoing TLS, each made when it is first used.
#[derive(Default)]
pub(crate) struct Connector {
    authorities: Authorities,
    anybody: OnceCell<Arc<ClientConfig>>,
    named: OnceCell<Arc<ClientConfig>>,
}

impl Connector {
    pub(crate) fn new(authorities: Authorities) -> Self {
        Connector { authorities, ..Connector::default() }
    }

    /// The state of a connection to `remote` before its handshake.
    pub(crate) fn begin(&self, trust: &Trust, remote: IpAddr) -> Result<ClientConnection, ConnectError> {
        let (config, name) = match trust {
            Trust::Anybody => (self.anybody.get_or_init(|| config(None)), ServerName::IpAddress(remote.into())),
            Trust::Named(name) => (self.named.get_or_init(|| config(Some(self.authorities.store()))), parse(name)?),
            Trust::Nobody => {
                return Err(
                    io::Error::new(io::ErrorKind::NotFound, "nobody knows whose certificate it should be").into()
                );
            }
        };
        ClientConnection::new(Arc::clone(config), name).map_err(|error| TlsFailure::of(&error).into())
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

fn config(roots: Option<RootCertStore>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(VERSIONS)
        .expect("the provider has suites of both versions");
    Arc::new(
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { roots, provider }))
            .with_no_client_auth(),
    )
}

fn read(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let of_file = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", file.display()));
    let found = CertificateDer::pem_file_iter(file).map_err(|error| of_file(&error))?;
    Ok(found.filter_map(Result::ok).take(AUTHORITIES).collect())
}

/// Checks that the other side holds the key of its certificate, and whose that is.
#[derive(Debug)]
struct Verifier {
    /// Who vouches for the certificate of the SIP domain that was asked for; with `None` any certificate will do.
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        if domain::is_of(certificate, &name.to_str()) {
            return Ok(ServerCertVerified::assertion());
        }
        let (expected, presented) = (name.to_owned(), domain::domains(certificate));
        Err(CertificateError::NotValidForNameContext { expected, presented }.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const ROOT_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// The most authorities that are read.
const AUTHORITIES: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};

    /// What becomes of a server of `pbx.example.com` whose certificate its authority vouches for.
    fn verify(purposes: Vec<ExtendedKeyUsagePurpose>, until: i32) -> Result<ServerCertVerified, Error> {
        let mut params = CertificateParams::new(vec!["pbx.example.com".to_owned()]).unwrap();
        params.extended_key_usages = purposes;
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(until, 1, 1));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let name = ServerName::try_from("pbx.example.com").unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_hours(500_000));
        Verifier { roots: Some(roots), provider }.verify_server_cert(&certificate, &[], &name, &[], now)
    }

    #[test]
    fn a_certificate_is_good_for_what_it_says_only() {
        use ExtendedKeyUsagePurpose::{ClientAuth, EmailProtection, ServerAuth};
        for good in [vec![], vec![ServerAuth], vec![ClientAuth, ServerAuth]] {
            assert!(verify(good.clone(), 2040).is_ok(), "{good:?}");
        }
        for bad in [vec![ClientAuth], vec![EmailProtection]] {
            assert!(verify(bad.clone(), 2040).is_err(), "{bad:?}");
        }
        assert!(verify(vec![ServerAuth], 2021).is_err(), "its time is over");
    }
}
