//! What no peer should send: nothing breaks, nothing stays.

use super::super::*;
use super::kit::*;
use words::Seed;

#[test]
fn spoiled_messages_break_nothing() {
    let mut chance = Chance::new(Seed::from_number(6));
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    let answer = MessageBuilder::response(&bed.sent[0].2, 180, "", Some("x")).finish();
    let mut seeds: Vec<Bytes> = ["INVITE", "ACK", "CANCEL", "BYE", "FOO"]
        .map(|method| bytes(&text(method, "z9hG4bK1", "Contact: <sip:a@h>\nRoute: <sip:p;lr>\n")))
        .into();
    seeds.push(answer);
    for n in 0..20_000_u64 {
        let mut message = seeds[chance.below(seeds.len() as u64) as usize].to_vec();
        for _ in 0..chance.below(4) {
            let at = chance.below(message.len() as u64) as usize;
            match chance.below(4) {
                0 => message[at] = chance.u32() as u8,
                1 => drop(message.remove(at)),
                2 => message.truncate(at + 1),
                _ => message.insert(at, b" \r\n:;<>,\"@\0"[chance.below(11) as usize]),
            }
        }
        // Refusals are expected; what must not happen is a panic or a broken table.
        let _ = bed.endpoint.handle_message(if n % 2 == 0 { udp() } else { tcp(1) }, message.into(), bed.now);
        while !matches!(bed.endpoint.poll(), Output::Timeout(_)) {}
        if n % 1_000 == 0 {
            bed.endpoint.handle_flow_closed(tcp(1).connection, bed.now);
            bed.now += std::time::Duration::from_secs(1);
            bed.endpoint.handle_timeout(bed.now);
            bed.endpoint.check().unwrap();
        }
    }
}
