//! An SRTP leg: what a packet of 20 ms of G.711 (172 bytes) costs to encrypt and to decrypt, with each suite.
//!
//! Times are CPU times of the thread: what else the machine does is not counted.

mod cpu_time;

use cpu_time::CpuTime;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use media::rtp::RtpHeader;
use media::srtp::{Inbound, MasterKey, Outbound, Suite, TRAILER_BYTES};

const PACKET_BYTES: usize = 172;
/// So many packets are made before they are closed or opened, as none may be opened twice.
const BATCH: u32 = 1_000;

type Buffer = [u8; PACKET_BYTES + TRAILER_BYTES];

fn packet(n: u32) -> Buffer {
    let mut buffer = [0xd5; PACKET_BYTES + TRAILER_BYTES];
    let header = RtpHeader { marker: false, payload_type: 8, sequence: n as u16, timestamp: n * 160, ssrc: 5 };
    buffer[..12].copy_from_slice(&header.print());
    buffer
}

fn suites(c: &mut Criterion<CpuTime>) {
    for suite in Suite::ALL {
        let key = MasterKey::new(suite, &vec![7; suite.key_bytes() + suite.salt_bytes()]).expect("the suite's length");
        c.bench_function(&format!("{} encrypt, per {BATCH}", suite.name()), |b| {
            let plain = || (Outbound::new(&key), (0..BATCH).map(packet).collect::<Vec<_>>());
            b.iter_batched_ref(
                plain,
                |(sender, plain)| {
                    for buffer in plain {
                        sender.protect_rtp(buffer, PACKET_BYTES).expect("each is new");
                    }
                },
                BatchSize::LargeInput,
            );
        });
        c.bench_function(&format!("{} decrypt, per {BATCH}", suite.name()), |b| {
            let sealed = || {
                let mut sender = Outbound::new(&key);
                let sealed = (0..BATCH).map(|n| {
                    let mut buffer = packet(n);
                    let length = sender.protect_rtp(&mut buffer, PACKET_BYTES).expect("each is new");
                    (buffer, length)
                });
                (Inbound::new(&key), sealed.collect::<Vec<_>>())
            };
            b.iter_batched_ref(
                sealed,
                |(receiver, sealed)| {
                    for (buffer, length) in sealed {
                        receiver.unprotect_rtp(&mut buffer[..*length]).expect("each is new and genuine");
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = suites
}
criterion_main!(benches);
