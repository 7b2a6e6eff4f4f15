//! WebSocket over loopback, with and without TLS.

use crate::kit::{Side, on_loop};
use crate::tls;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use net::stream::{CloseReason, Limits, NetEvent};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};
use words::Transport;

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> WebSocketStream<S> {
    let mut request = "ws://pbx.example.com/ws".into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("xmpp, sip"));
    let (socket, response) = client_async(request, stream).await.unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "sip");
    socket
}

async fn round_trip<S: AsyncRead + AsyncWrite + Unpin>(side: &mut Side, transport: Transport, stream: S) {
    let mut browser = upgrade(stream).await;
    for (sent, answer) in [
        (Message::text("text"), Message::text("answer")),
        (Message::binary(&b"binary"[..]), Message::binary(&b"answer"[..])),
    ] {
        browser.send(sent.clone()).await.unwrap();
        let (flow, bytes) = side.message().await;
        assert_eq!((bytes, flow.transport), (sent.into_data(), transport));
        side.connections.send(flow.connection, Bytes::from_static(b"answer")).unwrap();
        assert_eq!(browser.next().await.unwrap().unwrap(), answer, "the same kind comes back");
    }
    browser.send(Message::Ping(Bytes::from_static(b"p"))).await.unwrap();
    assert_eq!(browser.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"p")));
    browser.send(Message::text("\r\n\r\n")).await.unwrap();
    assert_eq!(browser.next().await.unwrap().unwrap(), Message::text("\r\n"));

    let long = Bytes::from(vec![b'y'; 60_000]);
    browser.send(Message::binary(long.clone())).await.unwrap();
    let (flow, bytes) = side.message().await;
    assert_eq!(bytes, long);
    side.connections.send(flow.connection, long.clone()).unwrap();
    assert_eq!(browser.next().await.unwrap().unwrap().into_data(), long);

    browser.close(None).await.unwrap();
    match side.event().await {
        NetEvent::Closed { connection, why, .. } => {
            assert_eq!((connection, why), (flow.connection, CloseReason::Remote));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_go_both_ways_in_the_kind_that_the_client_uses() {
    on_loop(async {
        let mut side = Side::new(Limits::default(), Transport::Ws, None);
        let tcp = TcpStream::connect(side.address).await.unwrap();
        round_trip(&mut side, Transport::Ws, tcp).await;
    });
}

#[test]
fn the_same_over_tls() {
    on_loop(async {
        let (mut side, identity) = tls::side(Limits::default(), Transport::Wss);
        let client = tls::client(identity.chain(), &[&rustls::version::TLS13]);
        let stream = tls::connect(&side, &client).await.unwrap();
        round_trip(&mut side, Transport::Wss, stream).await;
    });
}

#[test]
fn requests_that_want_no_sip_get_an_http_answer() {
    on_loop(async {
        let side = Side::new(Limits::default(), Transport::Ws, None);
        let key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for (request, status, why) in [
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "400", "no WebSocket"),
            (format!("GET / HTTP/1.1\r\nHost: h\r\n{key}\r\n"), "400", "'sip' is not offered"),
            ("REGISTER sip:h SIP/2.0\r\n\r\n".to_owned(), "400", "no HTTP"),
            (format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(9_000)), "431", "too long"),
        ] {
            let mut client = TcpStream::connect(side.address).await.unwrap();
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = vec![0; 500];
            let length = client.read(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer[..length]);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(why), "{answer}");
        }
        side.until_empty().await;
        assert_eq!(side.connections.counters().ws_failed, 4);
    });
}

#[test]
fn a_message_beyond_the_limit_ends_the_connection() {
    on_loop(async {
        let mut side = Side::new(Limits::default(), Transport::Ws, None);
        let mut browser = upgrade(TcpStream::connect(side.address).await.unwrap()).await;
        browser.send(Message::text("hello")).await.unwrap();
        side.message().await;
        let _ = browser.send(Message::binary(vec![0; 70_000])).await;
        assert!(matches!(side.event().await, NetEvent::Closed { why: CloseReason::Malformed, .. }));
    });
}
