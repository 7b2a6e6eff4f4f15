//! The handshake: waits on the loop's thread, computes on another, and says what went wrong in words for people.

use crate::wire::Socket;
use rustls::{AlertDescription, CertificateError, Connection, Error};
use std::io::{self, Read};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use words::diagnosis::Diagnosis;

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFailure {
    /// The kind of error, for those who ask by kind.
    pub kind: io::ErrorKind,
    /// What people are told, when the cause is one that they can change.
    pub diagnosis: Option<Diagnosis>,
    /// What exactly went wrong.
    pub detail: String,
}

/// Brings `tls` through its handshake on `tcp`. The caller bounds how long that may take.
///
/// Signing takes about a millisecond, so each step computes on a thread of the runtime's pool; `jobs` bounds how many
/// do so at a time. Only a step that has its bytes takes a place there: slow clients hold up nobody.
pub(crate) async fn handshake(
    tcp: &TcpStream,
    mut tls: Connection,
    jobs: &Semaphore,
) -> Result<Connection, TlsFailure> {
    let mut first = First::default();
    let mut answered = false;
    loop {
        while tls.wants_write() {
            match tls.write_tls(&mut Socket(tcp)) {
                Ok(_) => answered = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.writable().await?,
                Err(error) => return Err(error.into()),
            }
        }
        if !tls.is_handshaking() {
            return Ok(tls);
        }
        match tls.read_tls(&mut Noted { socket: Socket(tcp), first: &mut first }) {
            Ok(0) => return Err(ended_early(&tls, answered)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tcp.readable().await?;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ended_early(&tls, answered)),
            Err(error) => return Err(error.into()),
        }
        let _place = jobs.acquire().await.expect("nobody closes it");
        let work = tokio::task::spawn_blocking(move || {
            let done = tls.process_new_packets().map(|_| ());
            (tls, done)
        });
        let done;
        (tls, done) = work.await.map_err(|error| TlsFailure::plain(io::ErrorKind::Other, error.to_string()))?;
        if let Err(error) = done {
            // The alert tells the other side; when it does not fit, the end of the connection does.
            while tls.wants_write() && tls.write_tls(&mut Socket(tcp)).is_ok() {}
            return Err(first.explain(TlsFailure::of(&error)));
        }
    }
}

impl TlsFailure {
    /// What an error of TLS means to people.
    pub(crate) fn of(error: &Error) -> Self {
        let diagnosis = match error {
            Error::PeerIncompatible(_) => Some(Diagnosis::TlsNoCommonCipher),
            Error::AlertReceived(alert) => of_alert(*alert),
            Error::InvalidCertificate(why) => Some(of_certificate(why)),
            _ => None,
        };
        TlsFailure { kind: io::ErrorKind::InvalidData, diagnosis, detail: error.to_string() }
    }

    /// A complaint that came after the handshake: some phones look at the certificate only then.
    pub(crate) fn late(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        matches!(error, Error::AlertReceived(_)).then(|| TlsFailure::of(error)).filter(|f| f.diagnosis.is_some())
    }

    fn plain(kind: io::ErrorKind, detail: impl Into<String>) -> Self {
        TlsFailure { kind, diagnosis: None, detail: detail.into() }
    }
}

/// What is wrong with the other side's certificate.
fn of_certificate(why: &CertificateError) -> Diagnosis {
    match why {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Diagnosis::TlsPeerOtherName
        }
        _ => Diagnosis::TlsPeerUntrusted,
    }
}

/// What the other side's complaint means (RFC 8446 §6.2).
fn of_alert(alert: AlertDescription) -> Option<Diagnosis> {
    match alert {
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => Some(Diagnosis::TlsUntrusted),
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity => Some(Diagnosis::TlsNoCommonCipher),
        _ => None,
    }
}

/// Many phones just hang up when they dislike a certificate.
fn ended_early(tls: &Connection, answered: bool) -> TlsFailure {
    match tls {
        Connection::Server(_) if answered => TlsFailure {
            kind: io::ErrorKind::UnexpectedEof,
            diagnosis: Some(Diagnosis::TlsUntrusted),
            detail: "the connection ended without a word after our certificate was shown".to_owned(),
        },
        Connection::Server(_) | Connection::Client(_) => {
            TlsFailure::plain(io::ErrorKind::UnexpectedEof, "the connection ended within the handshake")
        }
    }
}

impl From<io::Error> for TlsFailure {
    fn from(error: io::Error) -> Self {
        TlsFailure::plain(error.kind(), error.to_string())
    }
}

/// The first bytes of the other side: what a parser refuses can still be named.
#[derive(Default)]
struct First {
    bytes: [u8; 11],
    length: usize,
}

impl First {
    /// Adds to a failure what the first bytes tell.
    fn explain(&self, mut failure: TlsFailure) -> TlsFailure {
        let legacy = match self.bytes[..self.length] {
            // SSL 2.0: a two-byte length, then CLIENT-HELLO.
            [0x80..=0xff, _, 1, ..] => Some("SSL 2.0"),
            // A handshake record that holds a ClientHello: its last two bytes here are the highest version offered.
            [0x16, 3, _, _, _, 1, _, _, _, 3, 0] => Some("SSL 3.0"),
            [0x16, 3, _, _, _, 1, _, _, _, 3, 1] => Some("TLS 1.0"),
            [0x16, 3, _, _, _, 1, _, _, _, 3, 2] => Some("TLS 1.1"),
            [b'A'..=b'Z', ..] => {
                "plain text came where TLS was expected".clone_into(&mut failure.detail);
                None
            }
            _ => None,
        };
        if let Some(version) = legacy {
            failure.diagnosis = Some(Diagnosis::TlsNoCommonCipher);
            failure.detail =
                format!("the other side offers {version} at most; TLS 1.2 is the least ({})", failure.detail);
        }
        failure
    }
}

struct Noted<'a> {
    socket: Socket<'a>,
    first: &'a mut First,
}

impl Read for Noted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.socket.read(buf)?;
        let room = &mut self.first.bytes[self.first.length..];
        let noted = room.len().min(length);
        room[..noted].copy_from_slice(&buf[..noted]);
        self.first.length += noted;
        Ok(length)
    }
}
