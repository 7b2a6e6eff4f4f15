//! TLS over loopback, and what is told when it fails.

use crate::kit::{Side, on_loop, short};
use bytes::Bytes;
use net::stream::{Limits, NetEvent};
use net::tls::{Acceptor, Authorities, Identity, Trust};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use words::Transport;
use words::diagnosis::Diagnosis;

/// A certificate made in a folder that is gone again, and the connections that show it.
pub(crate) fn side(limits: Limits, transport: Transport) -> (Side, Identity) {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_make(folder.path(), &["pbx.example.com".to_owned()]).unwrap();
    let side = Side::new(limits, transport, Some(Acceptor::new(&identity).unwrap()));
    (side, identity)
}

pub(crate) fn client(
    trusted: &[CertificateDer<'static>],
    versions: &[&'static SupportedProtocolVersion],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

pub(crate) async fn connect(side: &Side, client: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(side.address).await?;
    client.connect(ServerName::IpAddress(side.address.ip().into()), tcp).await
}

/// What the loop hears of a handshake that failed.
async fn failure(side: &mut Side) -> (Option<Diagnosis>, String) {
    match side.event().await {
        NetEvent::TlsFailed { remote, diagnosis, detail, .. } => {
            assert!(remote.ip().is_loopback() && remote.port() != 0, "the phone is named");
            (diagnosis, detail)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_that_has_our_certificate_speaks_with_both_versions() {
    on_loop(async {
        let (mut side, identity) = side(Limits::default(), Transport::Tls);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let client = client(identity.chain(), &[version]);
            let mut phone = connect(&side, &client).await.unwrap();
            phone.write_all(b"hello\nPING\n").await.unwrap();

            let (flow, bytes) = side.message().await;
            assert_eq!((&bytes[..], flow.transport), (&b"hello\n"[..], Transport::Tls));
            let long = Bytes::from(vec![b'y'; 200_000]);
            side.connections.send(flow.connection, long.clone()).unwrap();
            let mut answer = vec![0; 5 + long.len()];
            phone.read_exact(&mut answer).await.unwrap();
            assert!(answer.starts_with(b"PONG\ny") || answer.ends_with(b"PONG\n"));

            phone.shutdown().await.unwrap();
            assert!(matches!(side.event().await, NetEvent::Closed { .. }));
        }
    });
}

#[test]
fn the_certificate_is_rsa_and_names_the_host_and_its_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["pbx.example.com".to_owned(), "192.0.2.7".to_owned(), "[2001:db8::7]".to_owned()];

    let made = Identity::load_or_make(folder.path(), &names).unwrap();
    let loaded = Identity::load_or_make(folder.path(), &[]).unwrap();

    assert!(made.was_made() && !loaded.was_made());
    assert_eq!(made.chain(), loaded.chain());
    let certificate = ParsedCertificate::try_from(&loaded.chain()[0]).unwrap();
    let addresses = net::host::addresses().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
    let own = ["pbx.example.com", "192.0.2.7", "2001:db8::7", "localhost", "127.0.0.1"].map(str::to_owned);
    for name in own.into_iter().chain(addresses) {
        let name = ServerName::try_from(name).unwrap();
        rustls::client::verify_server_name(&certificate, &name).unwrap();
    }
    // The object identifier rsaEncryption, 1.2.840.113549.1.1.1.
    let rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    assert!(loaded.chain()[0].windows(rsa.len()).any(|window| window == rsa));
    let (_, key) = Identity::files(folder.path());
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_bad_file_and_a_foreign_key_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    Identity::load_or_make(folder.path(), &[]).unwrap();
    Identity::load_or_make(other.path(), &[]).unwrap();
    let (certificate, key) = Identity::files(folder.path());

    let foreign = Identity::load(&certificate, &Identity::files(other.path()).1).unwrap();
    assert!(Acceptor::new(&foreign).unwrap_err().to_string().contains("do not fit"));
    std::fs::write(&certificate, "nonsense").unwrap();
    let error = Identity::load(&certificate, &key).unwrap_err();
    assert!(error.to_string().contains("certificate.pem"));
    assert_eq!(error.diagnosis(), Diagnosis::BadCertificate);
    std::fs::remove_file(&certificate).unwrap();
    assert!(Identity::load_or_make(folder.path(), &[]).is_err(), "half a pair is not replaced behind one's back");
}

#[test]
fn a_client_that_does_not_trust_us_is_diagnosed() {
    on_loop(async {
        let (mut side, _) = side(Limits::default(), Transport::Tls);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            assert!(connect(&side, &client(&[], &[version])).await.is_err());
            let (diagnosis, detail) = failure(&mut side).await;
            assert_eq!(diagnosis, Some(Diagnosis::TlsUntrusted), "{detail}");
            assert!(detail.contains("UnknownCA"), "{detail}");
        }
        assert_eq!(side.connections.counters().tls_failed, 2);
    });
}

#[test]
fn a_client_that_hangs_up_at_our_certificate_is_diagnosed() {
    on_loop(async {
        let (mut side, _) = side(Limits::default(), Transport::Tls);
        let mut phone = TcpStream::connect(side.address).await.unwrap();
        phone.write_all(&hello(3, [0xc0, 0x2f])).await.unwrap();
        let mut flight = [0; 2_000];
        assert!(phone.read(&mut flight).await.unwrap() > 500);
        drop(phone);
        assert_eq!(failure(&mut side).await.0, Some(Diagnosis::TlsUntrusted));
    });
}

#[test]
fn old_versions_and_old_ciphers_are_diagnosed() {
    on_loop(async {
        let (mut side, _) = side(Limits::default(), Transport::Tls);
        let cbc = [0x00, 0x2f];
        let ssl2 = vec![0x80, 0x2e, 0x01, 0x03, 0x01, 0, 0x15, 0, 0, 0, 0x10];
        for (bytes, says) in [
            (hello(0, cbc), "SSL 3.0"),
            (hello(1, cbc), "TLS 1.0"),
            (hello(2, cbc), "TLS 1.1"),
            (hello(3, cbc), "NoCipherSuitesInCommon"),
            (ssl2, "SSL 2.0"),
        ] {
            let mut phone = TcpStream::connect(side.address).await.unwrap();
            phone.write_all(&bytes).await.unwrap();
            let (diagnosis, detail) = failure(&mut side).await;
            assert_eq!(diagnosis, Some(Diagnosis::TlsNoCommonCipher), "{says}: {detail}");
            assert!(detail.contains(says), "{says}: {detail}");
        }
    });
}

#[test]
fn plain_text_is_told_apart_and_a_stuck_handshake_ends() {
    on_loop(async {
        let (mut side, _) = side(short(), Transport::Tls);
        let mut phone = TcpStream::connect(side.address).await.unwrap();
        phone.write_all(b"REGISTER sip:pbx.example.com SIP/2.0\r\n").await.unwrap();
        let (diagnosis, detail) = failure(&mut side).await;
        assert_eq!((diagnosis, &detail[..]), (None, "plain text came where TLS was expected"));

        let mut stuck = TcpStream::connect(side.address).await.unwrap();
        stuck.write_all(&hello(3, [0xc0, 0x2f])[..20]).await.unwrap();
        let mut nothing = Vec::new();
        let _ = stuck.read_to_end(&mut nothing).await;
        assert_eq!(side.connections.counters().timed_out, 1);
        side.until_empty().await;
    });
}

#[test]
fn a_flood_of_keep_alives_over_tls_whose_answers_nobody_reads_ends() {
    on_loop(async {
        let (mut side, identity) = side(Limits { backlog_bytes: 16 * 1_024, ..Limits::default() }, Transport::Tls);
        let client = client(identity.chain(), &[&rustls::version::TLS13]);
        let mut flood = connect(&side, &client).await.unwrap();
        let pings = b"PING\n".repeat(2_000);
        while flood.write_all(&pings).await.is_ok() {}

        let mut honest = connect(&side, &client).await.unwrap();
        honest.write_all(b"hello\n").await.unwrap();
        assert_eq!(&side.message().await.1[..], b"hello\n");
        assert_eq!(side.connections.len(), 1);
    });
}

#[test]
fn a_connection_of_ours_verifies_whom_it_should() {
    on_loop(async {
        let (mut theirs, identity) = side(Limits::default(), Transport::Tls);
        let trusting = |authorities| Side::trusting(Limits::default(), Transport::Tcp, None, authorities);
        let given = Authorities::Given(identity.chain().to_vec());
        let (untrusted, other) = (Some(Diagnosis::TlsPeerUntrusted), Some(Diagnosis::TlsPeerOtherName));
        let named = |name: &str| Trust::Named(name.to_owned());
        for (authorities, trust, fails) in [
            (Authorities::OfHost, Trust::Anybody, None),
            (given.clone(), named("pbx.example.com"), None),
            (given.clone(), named("PBX.Example.com"), None),
            (given.clone(), named("127.0.0.1"), None),
            (given.clone(), named("other.example.com"), Some(other)),
            (given.clone(), named("192.0.2.77"), Some(other)),
            (Authorities::OfHost, named("pbx.example.com"), Some(untrusted)),
            (given.clone(), named("no name at all"), Some(None)),
            (given, Trust::Nobody, Some(None)),
        ] {
            let mut ours = trusting(authorities);
            let local = "127.0.0.1:0".parse().unwrap();
            ours.connections.connect(5, Transport::Tls, 0, local, theirs.address, trust.clone());
            match (ours.event().await, fails) {
                (NetEvent::Connected { result: Ok(flow), .. }, None) => {
                    ours.connections.send(flow.connection, Bytes::from_static(b"hello\n")).unwrap();
                    assert_eq!(&theirs.message().await.1[..], b"hello\n");
                    ours.connections.close(flow.connection);
                    assert!(matches!(ours.event().await, NetEvent::Closed { .. }));
                    assert!(matches!(theirs.event().await, NetEvent::Closed { .. }));
                }
                (NetEvent::Connected { result: Err(error), .. }, Some(diagnosis)) => {
                    assert_eq!(error.diagnosis, diagnosis, "{trust:?}: {error}");
                }
                other => panic!("{trust:?}: {other:?}"),
            }
        }
    });
}

#[test]
fn authorities_come_from_a_file() {
    on_loop(async {
        let (theirs, identity) = side(Limits::default(), Transport::Tls);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let check = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Authorities::File(file.clone()).check()
        };
        assert!(Authorities::File(folder.path().join("none.pem")).check().is_err());
        assert!(check("no certificate").is_err());
        let kept = folder.path().join("kept");
        let made = Identity::load_or_make(&kept, &["pbx.example.com".to_owned()]).unwrap();
        assert_ne!(made.chain(), identity.chain());
        check(&std::fs::read_to_string(Identity::files(&kept).0).unwrap()).unwrap();
        let local = "127.0.0.1:0".parse().unwrap();
        let trust = || Trust::Named("pbx.example.com".to_owned());
        let mut ours = Side::trusting(Limits::default(), Transport::Tcp, None, Authorities::File(file.clone()));
        ours.connections.connect(1, Transport::Tls, 0, local, theirs.address, trust());
        let NetEvent::Connected { result: Err(error), .. } = ours.event().await else { panic!() };
        assert_eq!(error.diagnosis, Some(Diagnosis::TlsPeerUntrusted), "another authority");
        let right = Side::new(Limits::default(), Transport::Tls, Some(Acceptor::new(&made).unwrap()));
        ours.connections.connect(2, Transport::Tls, 0, local, right.address, trust());
        assert!(matches!(ours.event().await, NetEvent::Connected { result: Ok(_), .. }));
    });
}

#[test]
fn a_new_certificate_is_shown_to_those_who_come_later() {
    on_loop(async {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::load_or_make(&folder.path().join("first"), &[]).unwrap();
        let second = Identity::load_or_make(&folder.path().join("second"), &[]).unwrap();
        let acceptor = Acceptor::new(&first).unwrap();
        let side = Side::new(Limits::default(), Transport::Tls, Some(acceptor.clone()));
        let both = &[&rustls::version::TLS12, &rustls::version::TLS13];
        let mut early = connect(&side, &client(first.chain(), both)).await.unwrap();

        acceptor.replace(&second).unwrap();

        connect(&side, &client(second.chain(), both)).await.unwrap();
        early.write_all(b"PING\n").await.unwrap();
        early.read_exact(&mut [0; 5]).await.unwrap();
    });
}

/// A ClientHello that offers version 3.`minor` at most and one cipher, with the extensions of its time.
fn hello(minor: u8, cipher: [u8; 2]) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 2, cipher[0], cipher[1], 1, 0]);
    if minor == 3 {
        // Signature algorithms, groups and point formats.
        let extensions = [0, 13, 0, 4, 0, 2, 4, 1, 0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0];
        body.extend_from_slice(&[0, extensions.len() as u8]);
        body.extend_from_slice(&extensions);
    }
    let mut record = vec![0x16, 3, minor.min(1), 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    record.extend_from_slice(&body);
    record
}
