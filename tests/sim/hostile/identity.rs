//! Who calls is said by us: nothing that a customer writes about itself, or about money, goes any further.

use super::{Letter, final_status};
use crate::flows::{SEEDS, office, secs};
use sip::HeaderName;
use tests::sim::{Do, World, for_seeds};

/// The headers of an INVITE of ours.
const OURS: [&str; 17] = [
    "Via",
    "Max-Forwards",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "User-Agent",
    "Server",
    "Allow",
    "Supported",
    "Session-Expires",
    "Min-SE",
    "Content-Type",
    "Content-Length",
    "Accept",
    "Date",
];

/// How a name can be written so that a filter by name misses it (ES2020-01).
const SPELLINGS: [&str; 12] = [
    "P-Asserted-Identity: <sip:100@office.example>",
    "p-ASSERTED-identity: <sip:100@office.example>",
    "P-Asserted-Identity : <sip:100@office.example>",
    "P-Asserted-Identity\t: <sip:100@office.example>",
    "P-Asserted-Identity:\r\n <sip:100@office.example>",
    "P-Asserted-Identity:\r\n\t<sip:100@office.example>",
    "P-Asserted-Identity: <tel:+74950000000>, <sip:100@office.example>",
    "Remote-Party-ID: \"Boss\" <sip:100@office.example>;party=calling;screen=yes",
    "P-Preferred-Identity: <sip:100@office.example>",
    "Diversion: <sip:100@office.example>;reason=unconditional",
    "History-Info: <sip:100@office.example>;index=1",
    "b: <sip:100@office.example>",
];

/// Others that would mean something to somebody.
const OTHERS: [&str; 14] = [
    "P-Charging-Vector: icid-value=100@office.example",
    "P-Access-Network-Info: 3GPP-100",
    "X-Billing-Account: 100",
    "X-Anything\x01: 100",
    "Privacy: id",
    "Alert-Info: <http://100.example/ring>;info=alert-autoanswer",
    "Call-Info: <sip:office.example>;answer-after=0",
    "Answer-Mode: Auto",
    "s: 100",
    "Reason: Q.850;cause=100",
    "User-to-User: 100",
    "Identity: 100",
    "Refer-To: <sip:100@office.example>",
    "Record-Route: <sip:100.example;lr>",
];

#[test]
fn what_a_customer_says_of_itself_goes_no_further() {
    for_seeds(SEEDS, |seed| {
        for (n, line) in SPELLINGS.into_iter().chain(OTHERS).enumerate() {
            let (mut world, [ann, bob]) = office(seed);
            let source = world.at_phone(ann).address;
            let mut letter = Letter::new("INVITE", source, n as u32).describing("198.51.100.1");
            letter.from = "\"100\" <sip:100@office.example>;tag=x".to_owned();
            letter = letter.with("Contact", &format!("<sip:100@{source}>\r\n{line}"));
            let asked = letter.send(&mut world);
            if final_status(&asked) == 400 {
                // A name that no header has.
                assert!(line.contains('\x01'), "{line}");
                continue;
            }
            let invite = letter.proving(asked.last().unwrap(), "office-101");
            assert_eq!(final_status(&invite.send(&mut world)), 0, "{line}");
            let told = world.line(bob).invite.clone().expect("it rings");
            for (_, name, value) in told.all_headers() {
                assert!(OURS.contains(&name), "{line} brought {name}: {value}");
                let is_count =
                    matches!(name, "Session-Expires" | "Min-SE" | "Content-Length" | "CSeq" | "Via" | "Call-ID");
                assert!(
                    is_count || !value.contains("100@") && !value.contains("\"100\""),
                    "{line} brought {name}: {value}"
                );
            }
            let from = told.from().unwrap();
            let hidden = ("Anonymous", "sip:anonymous@anonymous.invalid");
            let shown = ("Phone 101", "sip:101@office.example");
            // To say less than it may is everybody's right (RFC 3323).
            let wanted = if line.starts_with("Privacy") { hidden } else { shown };
            assert_eq!((from.display_name().as_ref(), from.uri), wanted, "{line}");
            world.tell(bob, Do::Refuse(486));
            world.pass(secs(40));
            world.finish();
        }
    });
}

/// A header that may be there once is refused when it is there twice, however it is written.
#[test]
fn a_second_of_a_header_that_is_single_is_refused() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (_, bob) = (world.phone("101"), world.phone("102"));
        world.register(&[bob]);
        let twice = [
            "From: <sip:100@office.example>;tag=b",
            "f: <sip:100@office.example>;tag=b",
            "F : <sip:100@office.example>;tag=b",
            "f\r\n : <sip:100@office.example>;tag=b",
            "t: <sip:100@office.example>",
            "i: another",
            "CALL-ID: another",
            "cseq: 2 INVITE",
            "l: 0",
            "Max-Forwards: 70",
        ];
        for (n, line) in twice.into_iter().enumerate() {
            let mut letter = Letter::new("INVITE", super::stranger(), n as u32);
            letter.more = format!("{line}\r\n");
            let status = letter.status(&mut world);
            assert!(status == 400 || line.starts_with("l:") && status == 401, "{line}: {status}");
        }
        assert!(world.at_phone(bob).lines.is_empty());
        world.finish();
    });
}

/// A trunk is trusted with its own caller's number, and no further.
#[test]
fn a_trunks_caller_is_its_from() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let bob = world.phone("102");
        let (_, carrier) = world.peer("carrier");
        world.register(&[bob]);
        let source = world.at_phone(carrier).address;
        let mut letter = Letter::new("INVITE", source, 1).describing("198.18.0.2");
        letter.from = "\"A \\\"B\\\"\" <sip:+74951234567@carrier.example>;tag=x".to_owned();
        letter =
            letter.with("Contact", &format!("<sip:{source}>")).with("Alert-Info", "<http://x>;info=alert-autoanswer");
        assert_eq!(letter.status(&mut world), 0);
        let told = world.line(bob).invite.clone().expect("it rings");
        assert_eq!(told.from().unwrap().uri.split('@').next(), Some("sip:+74951234567"));
        assert!(told.raw_header("Alert-Info").is_none() && told.header(HeaderName::Route).is_none());
        world.tell(bob, Do::Refuse(486));
        world.pass(secs(40));
        world.finish();
    });
}
