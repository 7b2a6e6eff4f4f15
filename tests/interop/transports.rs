//! A phone of our own making (`tests/sipp/phone.py`) over every transport and both families, what keeps connections open, and what too
//! much of all that comes to.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tests::program::{Program, host_address, wait_for};
use tests::sipp::folder;
use tests::skip;

/// Units: seconds.
const TALKS_S: f64 = 1.0;
/// Packets in that time; a few come too late.
const PACKETS: u64 = 50;

/// The phone, to be told what to do.
fn phone(transport: &str, at: SocketAddr, auth_user: &str, password: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(folder().join("phone.py"));
    command.args([transport, &at.ip().to_string(), &at.port().to_string()]);
    command.args(["--auth-user", auth_user, "--password", password]);
    command
}

/// What it says in the end.
fn said(mut phone: Command) -> Value {
    let output = phone.output().expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)))
}

/// Where an office listens, by transport.
fn places(program: &Program) -> [(&'static str, SocketAddr); 5] {
    let [tls, ws, wss] = [program.tls, program.ws, program.wss].map(|at| at.expect("an office listens on all of them"));
    [("udp", program.sip), ("tcp", program.sip), ("tls", tls), ("ws", ws), ("wss", wss)]
}

/// Has a phone of each transport register and call the echo, all at the same time.
fn all_hear_themselves(program: &Program) {
    program.people("office", &[("101", "secret101")]);
    let certificate = program.data().join("certificate.pem");
    let calls = |(transport, at): (&'static str, SocketAddr)| {
        let mut phone = phone(transport, at, "office101", "secret101");
        phone.args(["--user", "101", "--dial", "*43", "--seconds", &TALKS_S.to_string(), "--trust"]).arg(&certificate);
        (transport, at, said(phone))
    };
    let told = std::thread::scope(|scope| {
        let running = places(program).map(|place| scope.spawn(move || calls(place)));
        running.map(|one| one.join().expect("the phone says something"))
    });
    for (transport, at, said) in told {
        let statuses = ["registered", "called", "ended"].map(|what| said[what].as_u64());
        assert_eq!(statuses, [Some(200); 3], "{transport}: {said}\n{}", program.log());
        assert_eq!(said["sent"], PACKETS, "{transport}: {said}");
        assert!(said["heard"].as_u64().is_some_and(|heard| heard >= PACKETS * 9 / 10), "{transport}: {said}");
        if transport.starts_with("ws") {
            assert_eq!(said["agreed"], "sip");
        }
        if matches!(transport, "tls" | "wss") {
            let issued = said["issued"].as_array().expect("a list of names");
            assert!(issued.iter().any(|name| name.as_str().and_then(address) == Some(at.ip())), "{said}");
        }
    }
    let records = program.json(&["cdr"]);
    assert!(records.as_array().is_some_and(|all| all.iter().filter(|one| one["cause"] == "normal").count() == 5));
}

/// An address as a certificate has it: those of IPv6 are written out there.
fn address(name: &str) -> Option<IpAddr> {
    name.trim().parse().ok()
}

#[test]
fn a_phone_of_each_transport_registers_and_hears_itself() {
    all_hear_themselves(&Program::office());
}

#[test]
fn the_same_over_ipv6() {
    let host = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if UdpSocket::bind((host, 0)).is_err() {
        return skip("ipv6", "the_same_over_ipv6");
    }
    all_hear_themselves(&Program::office_at(host, "", ""));
}

/// `phones` says of every device where it is, what it is, how far away, and whether it is there.
#[test]
fn phones_are_shown_with_how_far_away_they_are() {
    let program = Program::office();
    let extensions = ["101", "102", "103", "104", "105"];
    program.people("office", &extensions.map(|extension| (extension, "secret-word")));
    let certificate = program.data().join("certificate.pem");
    let rows = || program.json(&["phones"]).as_array().cloned().unwrap_or_default();
    std::thread::scope(|scope| {
        for (extension, (transport, at)) in extensions.into_iter().zip(places(&program)) {
            let mut phone = phone(transport, at, &format!("office{extension}"), "secret-word");
            phone.args(["--user", extension, "--seconds", "6", "--trust"]).arg(&certificate);
            scope.spawn(move || {
                let said = said(phone);
                // A tool on the exchange's own machine that can be dialled is left alone.
                let asked = !matches!(transport, "udp" | "tcp");
                let was_asked = said["asked"].as_u64() > Some(0);
                assert!(said["registered"] == 200 && was_asked == asked, "{transport}: {said}");
            });
        }
        let known = |row: &Value| row["round_trip_ms"].as_f64().is_some_and(|ms| ms > 0.0 && ms < 1_000.0);
        let asked = |row: &&Value| !matches!(row["transport"].as_str(), Some("udp" | "tcp"));
        let all = || rows().len() == extensions.len() && rows().iter().filter(asked).all(known);
        assert!(wait_for(Duration::from_secs(6), all), "{:#?}\n{}", rows(), program.log());
        for row in rows() {
            assert!(row["unreachable"] == false && row["agent"] == "phone.py", "{row}");
            let place = row["address"].as_str().and_then(|text| text.parse::<SocketAddr>().ok());
            assert!(place.is_some_and(|place| place.ip().is_loopback()), "{row}");
        }
        let mut transports: Vec<String> =
            rows().iter().filter_map(|row| row["transport"].as_str().map(str::to_owned)).collect();
        transports.sort();
        assert_eq!(transports, ["tcp", "tls", "udp", "ws", "wss"]);
    });
    // Their connections are gone with them; who can neither be dialled nor written to cannot be reached.
    let gone = |row: &&Value| matches!(row["transport"].as_str(), Some("tls" | "ws" | "wss"));
    let away = || rows().iter().filter(gone).all(|row| row["unreachable"] == true);
    assert!(wait_for(Duration::from_secs(2), away), "{:#?}", rows());
}

/// A binding request of RFC 8489, and what is left when nothing more is said in it.
fn stun_request() -> [u8; 20] {
    let mut request = [7; 20];
    request[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
    request
}

/// The address in a binding success response to it (RFC 8489 §14.2).
fn mapped(answer: &[u8]) -> SocketAddr {
    assert_eq!(answer.get(..2), Some(&[1, 1][..]), "a success");
    assert_eq!(answer.get(8..20), Some(&[7; 12][..]), "to this request");
    let place = answer.windows(4).position(|window| window == [0, 0x20, 0, 8]).expect("XOR-MAPPED-ADDRESS");
    let value = answer.get(place + 4..place + 12).expect("the whole of it");
    let port = u16::from_be_bytes([value[2] ^ 0x21, value[3] ^ 0x12]);
    SocketAddr::from(([value[4] ^ 0x21, value[5] ^ 0x12, value[6] ^ 0xa4, value[7] ^ 0x42], port))
}

fn options(transport: &str, number: usize) -> String {
    format!(
        "OPTIONS sip:office SIP/2.0\r\nVia: SIP/2.0/{transport} a.invalid;branch=z9hG4bKo{number};rport\r\n\
         From: <sip:a@a.invalid>;tag=1\r\nTo: <sip:office>\r\nCall-ID: o{number}\r\nCSeq: 1 OPTIONS\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

/// CRLF, zero bytes, empty datagrams, a word, NOTIFY and STUN: what phones send to keep a way open is answered where it wants
/// that, and is no fault.
#[test]
fn keep_alives_of_every_make_are_welcome() {
    let program = Program::office();
    let mut stream = TcpStream::connect(program.sip).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let read = |stream: &mut TcpStream| {
        let mut buffer = [0; 2_048];
        let length = stream.read(&mut buffer).expect("an answer");
        buffer[..length].to_vec()
    };
    for zeros in 1..=4 {
        stream.write_all(&[0; 4][..zeros]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    // The two halves of a ping in two segments (RFC 5626 §4.4.1).
    for half in [b"\r\n", b"\r\n"] {
        stream.write_all(half).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(read(&mut stream), b"\r\n");
    stream.write_all(&[&[0; 4][..], &stun_request()].concat()).unwrap();
    assert_eq!(mapped(&read(&mut stream)), stream.local_addr().unwrap());
    stream.write_all(&[&[0; 4][..], options("TCP", 1).as_bytes()].concat()).unwrap();
    assert!(read(&mut stream).starts_with(b"SIP/2.0 200 "));

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(program.sip).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for keep_alive in [&b""[..], b"\r\n", b"\r\n\r\n", &[0], &[0; 4], b"jaK"] {
        socket.send(keep_alive).unwrap();
    }
    let answer = |sent: &[u8]| {
        let mut buffer = [0; 2_048];
        socket.send(sent).unwrap();
        let length = socket.recv(&mut buffer).expect("an answer");
        buffer[..length].to_vec()
    };
    assert_eq!(mapped(&answer(&stun_request())), socket.local_addr().unwrap());
    let notify = options("UDP", 2).replace("OPTIONS", "NOTIFY").replace("Content-", "Event: keep-alive\r\nContent-");
    assert!(answer(notify.as_bytes()).starts_with(b"SIP/2.0 200 "));

    let status = program.json(&["status"]);
    let count = |name: &str| {
        let counters = status["counters"].as_array().expect("a list");
        counters.iter().find(|one| one[0] == name).and_then(|one| one[1].as_u64())
    };
    let faults = ["sip_garbage", "connections_malformed", "connections_timed_out"].map(count);
    assert_eq!((faults, count("sip_keep_alives")), ([Some(0); 3], Some(6)), "{status}");
    assert_eq!(program.json(&["phones", "bans"]), Value::Array(Vec::new()));
}

/// Whatever is dropped at the edge raises a counter, and each counter is a metric.
#[test]
fn what_is_dropped_is_counted_and_every_counter_is_a_metric() {
    let program = Program::bench();
    let send = |from: &UdpSocket, text: &str| from.send_to(text.as_bytes(), program.sip).map(drop).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    send(&socket, "\u{7f}no SIP at all");
    let answer = options("UDP", 1).replacen("OPTIONS sip:office", "SIP/2.0 200 OK sip:office", 1);
    send(&socket, &answer);
    let ack = options("UDP", 2).replace("OPTIONS", "ACK");
    send(&socket, &ack.replacen("\r\nCall-ID", ";tag=none\r\nCall-ID", 1));
    let mut expected = vec![("sip_garbage", 1), ("messages_refused", 1), ("strays", 1)];
    // The bench profile serves this host alone.
    if let Some(host) = host_address() {
        send(&UdpSocket::bind((host, 0)).unwrap(), &options("UDP", 3));
        expected.push(("sip_foreign", 1));
    } else {
        skip("foreign", "transports");
    }
    let metric = |name: &str| program.metric(&format!("crosspoint_{name}_total"));
    for (name, count) in expected {
        assert!(wait_for(Duration::from_secs(5), || metric(name) == count), "{name} {}", metric(name));
    }
    for counter in program.json(&["status"])["counters"].as_array().unwrap() {
        let name = counter[0].as_str().unwrap();
        assert!(metric(name) >= counter[1].as_u64().unwrap(), "{name}");
    }
}

/// New calls that come too late are refused whatever they come over, so that those under way go on.
#[test]
fn a_flood_of_calls_over_one_connection_is_shed() {
    // A second of work on the fastest of machines.
    const CALLS: usize = 40_000;
    let program = Program::bench();
    let invite = |number: usize| {
        let text = options("TCP", number).replace("OPTIONS sip:office", "INVITE sip:busy@127.0.0.1");
        text.replace("OPTIONS", "INVITE").replace("Content-", "Contact: <sip:a@127.0.0.1;transport=tcp>\r\nContent-")
    };
    let mut stream = TcpStream::connect(program.sip).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut pouring = stream.try_clone().unwrap();
    let (mut shed, mut busy, mut told) = (0, 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let flood: String = (0..CALLS).map(invite).collect();
            pouring.write_all(flood.as_bytes()).unwrap();
        });
        let (mut text, mut buffer) = (String::new(), vec![0; 1 << 16]);
        while shed + busy < CALLS {
            let length = stream.read(&mut buffer).expect("each call is answered");
            assert!(length > 0, "the connection lives");
            text.push_str(&String::from_utf8_lossy(&buffer[..length]));
            while let Some(end) = text.find("\r\n\r\n") {
                let head: String = text.drain(..end + 4).collect();
                shed += usize::from(head.starts_with("SIP/2.0 503 "));
                told += usize::from(head.starts_with("SIP/2.0 503 ") && head.contains("\r\nRetry-After: "));
                busy += usize::from(head.starts_with("SIP/2.0 486 "));
            }
        }
    });
    assert!(shed > 0 && told == shed && busy > 0, "{shed} shed, {told} of them told when to come back, {busy} not");
    assert!(program.log().contains("the loop is at its limit"));
    // Who comes later is served.
    let mut late = TcpStream::connect(program.sip).unwrap();
    late.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    late.write_all(invite(CALLS).as_bytes()).unwrap();
    let mut text = String::new();
    while !text.contains("SIP/2.0 486 ") {
        let mut buffer = [0; 2_048];
        let length = late.read(&mut buffer).expect("an answer");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        assert!(length > 0 && !text.contains("SIP/2.0 503 "), "{text}");
    }
}

/// A phone with the TLS of its time is named in the log, with what to change in it.
#[test]
fn a_phone_without_a_common_cipher_is_diagnosed_in_the_log() {
    let program = Program::office();
    let mut stream = TcpStream::connect(program.tls.unwrap()).unwrap();
    // TLS 1.0 at most and one cipher, TLS_RSA_WITH_AES_128_CBC_SHA.
    let hello = [&[3, 1][..], &[9; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
    let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
    let message = [&[1, 0][..], &length(hello.len()), &hello].concat();
    stream.write_all(&[&[22, 3, 1][..], &length(message.len()), &message].concat()).unwrap();
    let remote = stream.local_addr().unwrap().to_string();
    let is_told = |line: &str| line.contains("tls-no-common-cipher") && line.contains(&remote);
    assert!(wait_for(Duration::from_secs(5), || program.log().lines().any(is_told)), "{}", program.log());
}

/// What `make run` starts, in a network of its own, where its ports are free: both families, and a demo account whose printed
/// words are all that a phone needs.
#[test]
fn what_the_demo_prints_registers_and_hears_itself() {
    let work = tempfile::tempdir().unwrap();
    let script = work.path().join("first_start.sh");
    std::fs::write(&script, FIRST_START).unwrap();
    let namespace = ["--net", "--map-root-user"];
    let able = |options: &[&str]| {
        Command::new("unshare").args(options).arg("true").output().is_ok_and(|output| output.status.success())
    };
    let Some(options) = [&namespace[..1], &namespace].into_iter().find(|options| able(options)) else {
        return skip("demo", "what_the_demo_prints_registers_and_hears_itself");
    };
    let phone = folder().join("phone.py");
    let output = Command::new("unshare")
        .args(options)
        .arg("bash")
        .arg(&script)
        .args([tests::program::binary(), phone, work.path().to_owned()].map(PathBuf::into_os_string))
        .output()
        .expect("bash runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let printed = |what: &str| text.lines().any(|line| line.trim() == what);
    for listener in ["UDP  0.0.0.0:5060", "UDP  [::]:5060", "TCP  [::]:5060", "TLS  [::]:5061", "WSS  [::]:8443"] {
        assert!(printed(listener), "{listener}: {all}");
    }
    assert!(printed("SIP address 192.0.2.1:5060, [2001:db8::1]:5060"), "{all}");
    let said: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(said.len(), 4, "two extensions over two families: {all}");
    for one in said {
        assert!(one["called"] == 200 && one["heard"].as_u64() > Some(10), "{one}: {all}");
    }
    // The passwords are printed again at the next start, from a file that nobody else reads.
    assert!(printed("mode 600") && printed("printed again: 2"), "{all}");
}

/// Given the program, the phone and a folder.
const FIRST_START: &str = r#"
set -e
program=$1 phone=$2 folder=$3
ip link set lo up
ip link add office type veth peer name cable
ip address add 192.0.2.1/24 dev office
ip address add 2001:db8::1/64 dev office nodad
ip link set cable up
ip link set office up
start() {
    "$program" run --profile demo --data "$folder/data" > "$folder/printed" 2> "$folder/log" &
    running=$!
    for _ in $(seq 200); do grep -q '^Ready' "$folder/printed" && return; sleep 0.05; done
    cat "$folder/log" >&2
}
start
cat "$folder/printed"
address=$(sed -n 's/^SIP address \([0-9.]*\):5060.*/\1/p' "$folder/printed")
sed -n 's/^  extension \(.*\)   user \(.*\)   password \(.*\)$/\1 \2 \3/p' "$folder/printed" > "$folder/people"
while read -r extension user password; do
    for host in "$address" 2001:db8::1; do
        "$phone" udp "$host" 5060 --user "$extension" --auth-user "$user" --password "$password" --dial '*43' --seconds 0.4
    done
done < "$folder/people"
echo "mode $(stat -c %a "$folder/data/demo-credentials.txt")"
kill $running; wait $running
start
echo "printed again: $(grep -c -f <(awk '{ print $3 }' "$folder/people") "$folder/printed")"
kill $running; wait $running
"#;

/// What the exchange sends is marked as `media.dscp` says (RFC 2474), on its own ports and on the one that many share, in each
/// tier and both families: as the phone sees it.
#[test]
fn audio_is_marked_as_configured() {
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let has_v6 = UdpSocket::bind((v6, 0)).is_ok();
    let v4 = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    std::thread::scope(|scope| {
        for (host, media, mark, shares) in [
            (v4, "", 46, false),
            (v4, "dscp = 24\ntier = \"basic\"\n", 24, false),
            (v4, "dscp = 34\nsingle_port = 9500\n", 34, true),
            (v6, "dscp = 10\n", 10, false),
        ] {
            if host == v6 && !has_v6 {
                skip("ipv6", "audio_is_marked_as_configured");
                continue;
            }
            let program = Program::office_at(host, media, "");
            program.people("office", &[("101", "secret101")]);
            scope.spawn(move || {
                let mut phone = phone("udp", program.sip, "office101", "secret101");
                phone.args(["--user", "101", "--dial", "*43", "--seconds", "1"]);
                let said = said(phone);
                assert_eq!(said["marks"], serde_json::json!([mark]), "{media}: {said}\n{}", program.log());
                assert_eq!(said["port"] == 9_500, shares, "{media}: {said}\n{}", program.log());
            });
        }
    });
}

/// What a connection takes no more, as nobody reads at its other end, is counted, and the connection ends.
#[test]
fn what_nobody_reads_is_left_unsent_and_counted() {
    let program = Program::bench();
    let unsent = || program.metric("crosspoint_sip_unsent_total");
    assert_eq!(unsent(), 0);
    let mut stream = TcpStream::connect(program.sip).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    // Each answer repeats the Via; the kernel keeps some megabytes of them.
    let long = format!(";rport;x={}", "x".repeat(4_000));
    let some =
        |turn: usize| (0..200).map(|n| options("TCP", turn * 200 + n).replace(";rport", &long)).collect::<String>();
    let ended = (0..100).any(|turn| stream.write_all(some(turn).as_bytes()).is_err());
    assert!(ended, "the connection of who reads nothing ends");
    assert!(wait_for(Duration::from_secs(5), || unsent() > 0), "{}", program.json(&["status"]));
    assert_eq!(program.metric("crosspoint_connections_active"), 0);
}
