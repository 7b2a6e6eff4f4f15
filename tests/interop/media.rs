//! Calls whose two sides are sockets of the test, which say over SIP and RTP exactly what is to be tried.

use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tests::namespace::{alone, run};
use tests::program::{Program, wait_for};
use tests::skip;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all phones speak.
const AUDIO: &str = "0\na=rtpmap:0 PCMU/8000";

/// Who calls or is called, with a socket for SIP and one for its audio.
struct Side {
    sip: UdpSocket,
    rtp: UdpSocket,
    /// Where its audio goes.
    to: Option<SocketAddr>,
}

/// A call that is up, as who called knows it.
struct Call {
    invite: String,
    /// The 200.
    answer: String,
}

impl Side {
    fn at(sip: SocketAddr) -> Side {
        let [sip, rtp] = [sip, (Ipv4Addr::LOCALHOST, 0).into()].map(|at| UdpSocket::bind(at).expect("a free port"));
        for socket in [&sip, &rtp] {
            socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes it");
        }
        Side { sip, rtp, to: None }
    }

    fn new() -> Side {
        Side::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    fn place(&self) -> SocketAddr {
        self.sip.local_addr().expect("it is bound")
    }

    /// What it says of its audio: these payload types and what belongs to them.
    fn description(&self, audio: &str) -> String {
        let port = self.rtp.local_addr().expect("it is bound").port();
        let (types, lines) = audio.split_once('\n').unwrap_or((audio, ""));
        let lines: String = lines.lines().flat_map(|line| [line.trim(), "\r\n"]).collect();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP {types}\r\n{lines}"
        )
    }

    fn send(&self, to: SocketAddr, head: &str, body: &str) {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!("{head}{kind}Content-Length: {}\r\n\r\n{body}", body.len());
        self.sip.send_to(text.as_bytes(), to).expect("loopback takes it");
    }

    /// The next message that is no provisional answer.
    fn hear(&self) -> String {
        loop {
            let mut buffer = [0; 4_096];
            let length = self.sip.recv(&mut buffer).expect("a message in time");
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if !text.starts_with("SIP/2.0 1") {
                return text;
            }
        }
    }

    fn head(&self, method: &str, program: &Program, number: &str, call: &str) -> String {
        let (here, there) = (self.place(), program.sip);
        format!(
            "{method} sip:{number}@{there} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{method}{call};rport\r\n\
             From: <sip:101@{there}>;tag={call}\r\nTo: <sip:{number}@{there}>\r\nCall-ID: {call}\r\nMax-Forwards: 70\r\n\
             Contact: <sip:101@{here}>\r\n"
        )
    }

    /// Calls a number; gives what the exchange says in the end.
    fn invite(&self, program: &Program, number: &str, call: &str, body: &str) -> String {
        let head = self.head("INVITE", program, number, call) + "CSeq: 1 INVITE\r\n";
        self.send(program.sip, &head, body);
        loop {
            let answer = self.hear();
            if header(&answer, "Call-ID") == call && header(&answer, "CSeq") == "1 INVITE" {
                if !answer.starts_with("SIP/2.0 2") {
                    self.request(program, "ACK", call, &answer, 1, true);
                }
                return answer;
            }
        }
    }

    /// A request in the dialog of an answer.
    fn request(&self, program: &Program, method: &str, call: &str, answer: &str, number: u32, same_branch: bool) {
        let contact = header(answer, "Contact");
        let uri = contact.trim_start_matches('<').split('>').next().filter(|uri| !uri.is_empty());
        let uri = uri.map_or_else(|| format!("sip:{}", program.sip), str::to_owned);
        let branch = if same_branch { format!("INVITE{call}") } else { format!("{method}{number}{call}") };
        let head = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{branch};rport\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {call}\r\n\
             CSeq: {number} {method}\r\nMax-Forwards: 70\r\n",
            self.place(),
            header(answer, "From"),
            header(answer, "To"),
        );
        self.send(program.sip, &head, "");
    }

    /// Answers a request.
    fn answer(&self, program: &Program, request: &str, status: &str, body: &str) {
        let copied = ["Via", "From", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\r\n", header(request, name)));
        let to = header(request, "To");
        let tag = if to.contains("tag=") { "" } else { ";tag=callee" };
        let head =
            format!("SIP/2.0 {status}\r\n{}To: {to}{tag}\r\nContact: <sip:uas@{}>\r\n", copied.concat(), self.place());
        self.send(program.sip, &head, body);
    }

    /// Hangs up, and the other side hears of it.
    fn hang_up(&self, program: &Program, other: &Side, call: &str, up: &Call) {
        self.request(program, "BYE", call, &up.answer, 2, false);
        assert!(self.hear().starts_with("SIP/2.0 200"));
        let bye = other.hear();
        assert!(bye.starts_with("BYE "), "{bye}");
        other.answer(program, &bye, "200 OK", "");
    }

    fn speak(&self, payload_type: u8, number: u16, timestamp: u32) {
        let mut packet = vec![0x80, payload_type];
        packet.extend(number.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(u32::from(self.place().port()).to_be_bytes());
        packet.extend([0x55; 80]);
        self.rtp.send_to(&packet, self.to.expect("it knows where")).expect("loopback takes it");
    }

    fn hears(&self, number: u16) -> bool {
        let mut buffer = [0; 512];
        let length = self.rtp.recv(&mut buffer).unwrap_or(0);
        length > 12 && buffer[2..4] == number.to_be_bytes()
    }
}

/// The value of a header.
fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let found =
        message.lines().find_map(|line| line.split_once(": ").filter(|(known, _)| known.eq_ignore_ascii_case(name)));
    found.map_or("", |(_, value)| value)
}

/// Where a description wants audio.
fn audio_at(message: &str) -> SocketAddr {
    let line =
        |mark: &str| message.lines().find_map(|line| line.strip_prefix(mark)).expect("it is described").to_owned();
    let port = line("m=audio ").split(' ').next().and_then(|port| port.parse().ok()).expect("a port");
    SocketAddr::new(line("c=IN IP4 ").parse().expect("an address"), port)
}

/// A call between two sides, through a peer of the bench profile.
fn connect(program: &Program, [ann, bob]: [&mut Side; 2], call: &str, audio: &str) -> Call {
    let (ann_says, bob_says) = (ann.description(audio), bob.description(audio));
    let invite = std::thread::scope(|scope| {
        let called = scope.spawn(|| {
            let invite = bob.hear();
            bob.answer(program, &invite, "200 OK", &bob_says);
            assert!(bob.hear().starts_with("ACK "));
            invite
        });
        let answer = ann.invite(program, "9001", call, &ann_says);
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}\n{}", program.log());
        ann.request(program, "ACK", call, &answer, 1, false);
        Call { invite: called.join().expect("it was called"), answer }
    });
    (ann.to, bob.to) = (Some(audio_at(&invite.answer)), Some(audio_at(&invite.invite)));
    invite
}

/// Opus has a clock of 48,000 Hz, as its description says it: the record has the jitter of both legs, and it sounds as it does.
#[test]
fn the_record_of_a_call_in_opus_has_its_jitter() {
    let program = Program::bench();
    let (mut ann, mut bob) = (Side::new(), Side::at(program.uas));
    let opus = "111 110\na=rtpmap:111 opus/48000/2\na=rtpmap:110 telephone-event/48000\na=fmtp:110 0-15";
    let up = connect(&program, [&mut ann, &mut bob], "opus", opus);
    // Packets of 20 ms that come one after the other: each is 20 ms from where it belongs.
    for n in 0..200 {
        for (from, to) in [(&ann, &bob), (&bob, &ann)] {
            from.speak(111, n, u32::from(n) * 960);
            assert!(to.hears(n), "{n}: {}", program.log());
        }
    }
    ann.hang_up(&program, &bob, "opus", &up);
    let mut legs = Vec::new();
    let known = wait_for(PATIENCE, || {
        let records = program.json(&["cdr"]);
        let Some(id) = records[0]["call"].as_str() else { return false };
        legs = program.json(&["call", id])["cdr"]["media"].as_array().cloned().unwrap_or_default();
        legs.len() == 2
    });
    assert!(known, "{legs:?} {}\n{}", program.json(&["cdr"]), program.log());
    for leg in &legs {
        let jitter = leg["from"]["jitter_us"].as_u64();
        assert!(jitter.is_some_and(|us| (15_000..25_000).contains(&us)), "{leg}");
        assert!(leg["from"]["mos_x100"].as_u64() > Some(300), "{leg}");
    }
    // The tier is told where it is asked for, and in the line of the start.
    let status = program.json(&["status"]);
    let tier = status["media"].as_str().expect("the tier is told");
    let started = program.log().lines().find(|line| line.contains("media relay started")).map(str::to_owned);
    assert!(started.is_some_and(|line| line.contains(&format!("\"tier\":\"{tier}\""))), "{status}\n{}", program.log());
}

/// `media.ports` with room for two calls of two legs: the third is told why it cannot be, the log and the command line tell
/// what to do, and once somebody hangs up there is room again.
#[test]
fn a_range_of_ports_that_is_used_up_is_told_and_filled_again() {
    let program = Program::bench_on("28990-28997");
    let (mut ann, mut bob) = (Side::new(), Side::at(program.uas));
    let finding = || {
        // It exits with 1 when something is not as it should be.
        let said = program.cli(&["doctor", "--json"]).stdout;
        let findings: Value = serde_json::from_slice(&said).expect("it says what it found");
        let all = findings.as_array().or_else(|| findings["findings"].as_array()).cloned().unwrap_or_default();
        all.into_iter().find(|one| one.to_string().contains("media-ports")).unwrap_or(Value::Null)
    };
    let up = ["first", "second"].map(|call| connect(&program, [&mut ann, &mut bob], call, AUDIO));
    assert_eq!(program.metric("crosspoint_media_ports_refused_total"), 0);
    for call in ["third", "fourth"] {
        let refused = ann.invite(&program, "9001", call, &ann.description(AUDIO));
        assert!(refused.starts_with("SIP/2.0 503 Service Unavailable: no media port is free\r\n"), "{refused}");
        assert!(header(&refused, "Retry-After").parse::<u32>().is_ok(), "{refused}");
    }
    let told = || program.log().lines().filter(|line| line.contains("ports-exhausted")).count();
    assert!(wait_for(PATIENCE, || told() == 1), "{}", program.log());
    assert_eq!(program.metric("crosspoint_media_ports_refused_total"), 2);
    let counters = program.json(&["status"])["counters"].to_string();
    assert!(counters.contains("[\"media_ports_refused\",2]"), "{counters}");
    let said = finding().to_string();
    assert!(said.contains("ports-exhausted") && said.contains("no media port 2 times"), "{said}");
    ann.hang_up(&program, &bob, "first", &up[0]);
    // The relay says within a second that they are free; then they rest for one, so that nothing late comes to the next call.
    std::thread::sleep(Duration::from_millis(2_500));
    let next = connect(&program, [&mut ann, &mut bob], "fifth", AUDIO);
    ann.speak(0, 1, 160);
    assert!(bob.hears(1), "{}", program.log());
    ann.hang_up(&program, &bob, "fifth", &next);
    assert_eq!(told(), 1, "once a minute: {}", program.log());
}

/// An interface that goes away while the exchange runs is no longer in `crosspoint status`, and the log says what that means.
#[test]
fn an_interface_that_goes_away_is_told_by_status_and_log() {
    let tried = alone(|| {
        run("ip link add card0 type veth peer name card1");
        for words in ["ip address add 10.78.1.1/24 dev card0", "ip link set card0 up", "ip link set card1 up"] {
            run(words);
        }
        let program = Program::office_at(Ipv4Addr::new(10, 78, 1, 1).into(), "", "");
        let media = || program.json(&["status"])["media"].as_str().unwrap_or_default().to_owned();
        let before = media();
        if !before.starts_with("kernel ") {
            return false;
        }
        assert!(before.contains("tc on card0"), "{before}");
        run("ip link delete card0");
        assert!(wait_for(PATIENCE, || !media().contains("card0")), "{}\n{}", media(), program.log());
        assert!(media().contains("tc on lo"), "{}", media());
        let told = |line: &str| line.contains("\"interface\":\"card0\"") && line.contains("it goes by sockets");
        let log = program.log();
        let lines: Vec<&str> = log.lines().filter(|line| told(line)).collect();
        assert!(lines.len() == 1 && lines[0].contains("WARN"), "{log}");
        true
    });
    if tried != Some(true) {
        skip("namespaces", "an_interface_that_goes_away_is_told_by_status_and_log");
    }
}
