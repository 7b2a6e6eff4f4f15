//! Peers that are known by name: a DNS server of our own, SIPp callees, and servers behind TLS with right and wrong names.

#![expect(clippy::unwrap_used, reason = "tests; the lint knows functions marked as tests only")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tests::dns::{Dns, Record};
use tests::impostor::Authority;
use tests::program::{Program, free, wait_for};
use tests::sipp::{attempt_at, run};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn office(dns: &Dns, more: &str) -> Program {
    let program = Program::office_with(&format!("[dns]\nservers = [\"{}\"]\n{more}", dns.address));
    program.people("office", &[("101", "secret101")]);
    program
}

/// One call after another as user 101; SIPp's callee listens at `callee`.
fn call(program: &Program, callee: SocketAddr, calls: &str) -> Value {
    let users = program.data().join("users.csv");
    std::fs::write(&users, "SEQUENTIAL\noffice101;[authentication username=office101 password=secret101]\n").unwrap();
    let users = users.display().to_string();
    let options = ["--service", "9100", "--rate", "20", "--calls", calls, "--users", &users];
    attempt_at(&program.sip.to_string(), &callee.to_string(), "uac_auth", &options)
}

/// The peer `carrier` as `peer list` shows it, once it is located.
fn located(program: &Program) -> Value {
    let peer = || program.json(&["peer", "list", "office"])[0].clone();
    let is_there = || peer()["servers"].as_array().is_some_and(|servers| !servers.is_empty());
    assert!(wait_for(Duration::from_secs(8), is_there), "{}\n{}", peer(), program.log());
    peer()
}

#[test]
fn a_dead_first_server_is_passed_over() {
    let (first, second) = (UdpSocket::bind("127.0.0.1:0").unwrap(), free());
    let silent = first.local_addr().unwrap();
    let dns = Dns::start(&[
        ("carrier.test", Record::Naptr(20, 10, "s", "SIP+D2T", "_sip._tcp.carrier.test")),
        ("carrier.test", Record::Naptr(10, 10, "s", "SIP+D2U", "_sip._udp.carrier.test")),
        ("_sip._udp.carrier.test", Record::Srv(20, 0, second.port(), "b.carrier.test")),
        ("_sip._udp.carrier.test", Record::Srv(10, 0, silent.port(), "a.carrier.test")),
        ("a.carrier.test", Record::A(HERE)),
        ("b.carrier.test", Record::A(HERE)),
    ]);
    let program = office(&dns, "");
    program.json(&["peer", "add", "office", "carrier", "carrier.test", "--prefix", "9"]);
    let servers = |peer: &Value| peer["servers"].as_array().unwrap().clone();
    assert_eq!(servers(&located(&program)), [format!("udp:{silent}"), format!("udp:{second}")]);

    let first_call = call(&program, second, "1");
    assert_eq!(first_call["successful"], 1, "{first_call}\n{}", program.log());
    let seen = servers(&located(&program));
    assert!(seen[0].as_str().unwrap().contains("down (silent"), "{seen:?}");
    let asked = dns.asked();
    let others = call(&program, second, "10");
    assert_eq!(others["successful"], 10, "{others}");
    assert_eq!(dns.asked(), asked, "what DNS said is kept");
    assert_eq!(call_ids(&first).len(), 1, "only the first call asked the dead server");
}

/// The calls whose requests lie unread at a socket.
fn call_ids(socket: &UdpSocket) -> BTreeSet<String> {
    socket.set_nonblocking(true).unwrap();
    let (mut buffer, mut found) = ([0; 4_096], BTreeSet::new());
    while let Ok(length) = socket.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        found.extend(text.lines().find(|line| line.starts_with("Call-ID:")).map(str::to_owned));
    }
    found
}

#[test]
fn a_name_that_dns_does_not_know_is_told() {
    let dns = Dns::start(&[]);
    let program = office(&dns, "");
    program.json(&["peer", "add", "office", "carrier", "nowhere.test", "--prefix", "9"]);
    let refused = call(&program, free(), "1");
    assert!(refused["errors"].as_str().unwrap().contains("502"), "{refused}");
    assert!(refused["errors"].as_str().unwrap().contains("DNS has no address of nowhere.test"), "{refused}");
    assert_eq!(program.json(&["peer", "list", "office"])[0]["trouble"], "no-address");
}

#[test]
fn names_of_the_hosts_file_are_known() {
    let dns = Dns::start(&[]);
    let program = office(&dns, "");
    let callee = free();
    let host = format!("localhost:{}", callee.port());
    program.json(&["peer", "add", "office", "carrier", &host, "--prefix", "9"]);
    run(
        &program,
        "register",
        &["--calls", "1", "--users", &{
            let users = program.data().join("u.csv");
            std::fs::write(&users, "SEQUENTIAL\noffice101;[authentication username=office101 password=secret101]\n")
                .unwrap();
            users.display().to_string()
        }],
    );
    let called = call(&program, callee, "3");
    assert_eq!(called["successful"], 3, "{called}\n{}", program.log());
}

/// A server that shows a certificate with these names, and what a call to `carrier.test` there comes to.
fn behind_tls(names: &[&str], options: &[&str]) -> (Program, String) {
    let authority = Authority::new();
    let server = authority.serve(names);
    let dns = Dns::start(&[
        ("_sips._tcp.carrier.test", Record::Srv(10, 0, server.port(), "a.carrier.test")),
        ("a.carrier.test", Record::A(HERE)),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &authority.pem).unwrap();
    let program = office(&dns, &format!("[tls]\nauthorities = \"{}\"\n", file.display()));
    let arguments = ["peer", "add", "office", "carrier", "carrier.test", "--transport", "tls", "--prefix", "9"];
    program.json(&[&arguments, options].concat());
    let result = call(&program, free(), "1");
    let errors = result["errors"].as_str().unwrap_or_default().to_owned();
    (program, errors)
}

#[test]
fn a_peer_behind_tls_shows_the_name_that_was_asked_for() {
    // RFC 5922 §7.1: a SIP URI before DNS names, and neither the host of the SRV record.
    for names in [&["sip:carrier.test", "other.test"][..], &["carrier.test"]] {
        let (program, errors) = behind_tls(names, &[]);
        assert!(errors.contains("486"), "{names:?}: {errors}\n{}", program.log());
        assert_eq!(located(&program)["tls"], "verified");
    }
}

#[test]
fn a_peer_behind_tls_with_another_name_gets_no_call() {
    for names in [&["a.carrier.test"][..], &["*.test", "sip:other.test", "carrier.test"]] {
        let (program, errors) = behind_tls(names, &[]);
        assert!(errors.contains("502") && errors.contains("the certificate of carrier is not trusted"), "{errors}");
        assert!(program.log().contains("tls-peer-other-name"), "{}", program.log());
        let servers = located(&program)["servers"].clone();
        assert!(servers[0].as_str().unwrap().contains("untrusted"), "{servers}");
    }
}

#[test]
fn verification_off_is_shown_for_as_long_as_it_is() {
    let (program, errors) = behind_tls(&["other.test"], &["--insecure"]);
    assert!(errors.contains("486"), "{errors}\n{}", program.log());
    assert_eq!(located(&program)["tls"], "NOT VERIFIED");
    assert!(program.log().contains("tls-unverified"), "{}", program.log());
}
