//! What an idle connection costs, alone in its process so that nothing else moves the figure.
#![expect(clippy::unwrap_used, reason = "tests; the lint knows functions marked as tests only")]

use net::clock::Clocks;
use net::stream::{Config, Connections, Framed, Frames, Limits};
use net::tls::{Acceptor, Authorities, Identity};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use words::Transport;

/// As many bytes as a framer of SIP has in itself.
struct Idle(#[expect(dead_code, reason = "only its size matters")] [u64; 10]);

impl Frames for Idle {
    fn push(&mut self, _: &[u8]) {}

    fn next(&mut self) -> Result<Option<Framed>, String> {
        Ok(None)
    }

    fn is_partial(&self) -> bool {
        false
    }
}

#[test]
fn idle_connections_are_cheap() {
    net::batch::raise_descriptor_limit();
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_make(folder.path(), &[]).unwrap();
    let client = client(&identity);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let frames = Box::new(|| Box::new(Idle([0; 10])) as Box<dyn Frames>);
        let acceptor = Some(Acceptor::new(&identity).unwrap());
        let config = Config {
            limits: Limits { per_source: 10_000, ..Limits::default() },
            clocks: Clocks::new(),
            frames,
            gate: None,
            acceptor,
            authorities: Authorities::default(),
        };
        let (connections, _events) = Connections::new(config);
        // All stay open: memory that one kind gave back would hide what the next one takes.
        let (mut all, mut held) = (Vec::new(), 0);
        for (transport, warm, count, limit) in [
            (Transport::Tcp, 50, 1_000, TCP_BYTES),
            (Transport::Ws, 50, 500, TCP_BYTES),
            (Transport::Tls, 50, 500, TLS_BYTES),
            (Transport::Wss, 50, 500, TLS_BYTES),
        ] {
            let address = connections.listen(0, transport, "127.0.0.1:0".parse().unwrap()).unwrap();
            let mut phones = Vec::with_capacity(warm + count);
            let mut before = 0;
            for n in 0..warm + count {
                if n == warm {
                    before = resident_bytes();
                }
                phones.push(open(transport, TcpStream::connect(address).await.unwrap(), &client).await);
            }
            while connections.len() < held + warm + count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let each = resident_bytes().saturating_sub(before) / count;
            println!("{transport}: {each} bytes per idle connection");
            assert!(each <= limit, "{transport}: {each} > {limit} bytes");
            held += phones.len();
            all.push(phones);
        }
    });
}

/// Opens the client's side and keeps only its socket: what the client remembers would count too.
async fn open(transport: Transport, tcp: TcpStream, client: &TlsConnector) -> TcpStream {
    let mut request = "ws://localhost/".into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("sip"));
    let name = || ServerName::try_from("localhost").unwrap();
    match transport {
        Transport::Udp | Transport::Tcp => tcp,
        Transport::Tls => client.connect(name(), tcp).await.unwrap().into_inner().0,
        Transport::Ws => client_async(request, tcp).await.unwrap().0.into_inner(),
        Transport::Wss => {
            let stream = client.connect(name(), tcp).await.unwrap();
            client_async(request, stream).await.unwrap().0.into_inner().into_inner().0
        }
    }
}

fn client(identity: &Identity) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(identity.chain().iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

const TCP_BYTES: usize = 8 * 1_024;
const TLS_BYTES: usize = 40 * 1_024;
