//! A SIP server behind TLS that answers every INVITE with 486, and shows the certificate that it was given.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// An authority of a test.
pub struct Authority {
    /// Its certificate, PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When no certificate can be made.
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// Starts a server that shows a certificate with these names: DNS names, and SIP URIs where they begin with `sip:`.
    ///
    /// # Panics
    /// When no certificate can be made or no port is free.
    pub fn serve(&self, names: &[&str]) -> SocketAddr {
        let name = |name: &&str| match name.strip_prefix("sip:") {
            Some(_) => SanType::URI((*name).try_into().expect("a URI")),
            None => SanType::DnsName((*name).try_into().expect("a name")),
        };
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(name).collect();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they fit");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                std::thread::spawn(move || {
                    let tls = ServerConnection::new(config).expect("a configuration that fits");
                    // Who does not trust us goes.
                    let _ = refuse(StreamOwned::new(tls, tcp));
                });
            }
        });
        address
    }
}

impl Default for Authority {
    fn default() -> Self {
        Authority::new()
    }
}

/// Answers each INVITE that comes.
fn refuse(stream: StreamOwned<ServerConnection, TcpStream>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.strip_prefix("Content-Length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        std::io::Read::read_exact(&mut reader, &mut body)?;
        if !head.starts_with("INVITE ") {
            continue;
        }
        let copied = ["Via:", "From:", "Call-ID:", "CSeq:"];
        let mut answer = "SIP/2.0 486 Busy Here\r\n".to_owned();
        for line in head.lines() {
            if copied.iter().any(|name| line.starts_with(name)) {
                answer.extend([line, "\r\n"]);
            } else if line.starts_with("To:") {
                answer.extend([line, ";tag=busy\r\n"]);
            }
        }
        answer.push_str("Content-Length: 0\r\n\r\n");
        reader.get_mut().write_all(answer.as_bytes())?;
        reader.get_mut().flush()?;
    }
}
