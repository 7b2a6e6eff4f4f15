//! baresip registers over UDP and TLS, and what goes in at one end is what comes out at the other.

use std::time::Duration;
use tests::baresip::{Baresip, Phone};
use tests::program::{Program, wait_for};
use tests::tone::share;

fn registered(program: &Program, count: usize) -> bool {
    wait_for(Duration::from_secs(10), || {
        program.json(&["phones"]).as_array().is_some_and(|phones| phones.len() == count)
    })
}

#[test]
fn two_phones_hear_each_other() {
    let program = Program::office();
    program.people("office", &[("101", "one-secret"), ("102", "other-secret")]);
    let certificate = program.data().join("certificate.pem");
    let mut answering = Baresip::start(&Phone {
        user: "101",
        auth_user: "office101",
        password: "one-secret",
        server: program.tls.unwrap(),
        transport: "tls",
        trust: Some(&certificate),
        tone: 440.0,
        dial: None,
        seconds: 12,
    });
    assert!(registered(&program, 1), "{}\n{}", answering.log(), program.log());
    let uri = format!("sip:101@{}", program.sip);
    let mut calling = Baresip::start(&Phone {
        user: "102",
        auth_user: "office102",
        password: "other-secret",
        server: program.sip,
        transport: "udp",
        trust: None,
        tone: 1_000.0,
        dial: Some(&uri),
        seconds: 7,
    });
    calling.wait();
    answering.wait();
    for (phone, theirs, own) in [(&answering, 1_000.0, 440.0), (&calling, 440.0, 1_000.0)] {
        let heard = phone.heard().unwrap_or_else(|| panic!("nothing was heard: {}\n{}", phone.log(), program.log()));
        let ((right, seconds), (wrong, _)) = (share(&heard, theirs), share(&heard, own));
        assert!(
            right > 0.95 && wrong < 0.01 && seconds > 1.0,
            "{right} of {theirs} Hz, {wrong} of {own} Hz, {seconds} s\n{}",
            phone.log()
        );
    }
    let records = program.json(&["cdr"]);
    assert_eq!(records.as_array().unwrap().len(), 1, "{records}");
}

#[test]
fn echo_gives_back_the_same_tone() {
    let program = Program::office();
    program.people("office", &[("101", "one-secret")]);
    let uri = format!("sip:*43@{}", program.sip);
    let mut phone = Baresip::start(&Phone {
        user: "101",
        auth_user: "office101",
        password: "one-secret",
        server: program.sip,
        transport: "udp",
        trust: None,
        tone: 440.0,
        dial: Some(&uri),
        seconds: 6,
    });
    phone.wait();
    let heard = phone.heard().unwrap_or_else(|| panic!("nothing was heard: {}\n{}", phone.log(), program.log()));
    let (right, seconds) = share(&heard, 440.0);
    assert!(right > 0.95 && seconds > 1.0, "{right} {seconds}\n{}", phone.log());
}
