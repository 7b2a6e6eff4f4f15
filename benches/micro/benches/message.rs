//! Reading a 1.2 KB INVITE and building the other leg's, beside what rsip 0.4 does with the same bytes.
//!
//! Times are CPU times of the thread: what else the machine does is not counted.

mod cpu_time;

use benches_micro::{b_leg, invite, typed_access};
use cpu_time::CpuTime;
use criterion::{Criterion, criterion_group, criterion_main};
use rsip::headers::ToTypedHeader as _;
use rsip::headers::UntypedHeader as _;
use rsip::message::HeadersExt as _;
use rsip::typed;
use sip::{Message, MessageBuilder, peek};
use std::hint::black_box;

fn ours(c: &mut Criterion<CpuTime>) {
    let bytes = invite();
    let message = Message::parse(bytes.clone()).expect("it is valid");
    c.bench_function("parse", |b| b.iter(|| Message::parse(black_box(&bytes).clone()).expect("it is valid")));
    c.bench_function("parse with typed access", |b| {
        b.iter(|| typed_access(&Message::parse(black_box(&bytes).clone()).expect("it is valid")));
    });
    c.bench_function("check", |b| b.iter(|| black_box(&message).check()));
    c.bench_function("peek", |b| b.iter(|| peek(black_box(&bytes))));
    c.bench_function("build the other leg", |b| b.iter(|| b_leg(black_box(&message))));
    c.bench_function("build a 180", |b| {
        b.iter(|| MessageBuilder::response(black_box(&message), 180, "", Some("5a8f03c2")).finish());
    });
}

/// Contact is left out: rsip 0.4 cannot read this one's `+sip.instance`.
fn rsip_typed_access(request: &rsip::Request) -> usize {
    let via: typed::Via = request.via_header().expect("via").typed().expect("via");
    let from: typed::From = request.from_header().expect("from").typed().expect("from");
    let to: typed::To = request.to_header().expect("to").typed().expect("to");
    let cseq: typed::CSeq = request.cseq_header().expect("cseq").typed().expect("cseq");
    via.branch().map_or(0, |branch| branch.value().len())
        + from.tag().map_or(0, |tag| tag.value().len())
        + to.uri.to_string().len()
        + cseq.seq as usize
        + request.call_id_header().expect("call id").value().len()
        + request.uri.host().to_string().len()
}

fn theirs(c: &mut Criterion<CpuTime>) {
    let bytes = invite();
    c.bench_function("rsip: parse", |b| {
        b.iter(|| rsip::Request::try_from(&black_box(&bytes)[..]).expect("it is valid"));
    });
    c.bench_function("rsip: parse with typed access", |b| {
        b.iter(|| rsip_typed_access(&rsip::Request::try_from(&black_box(&bytes)[..]).expect("it is valid")));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = ours, theirs
}
criterion_main!(benches);
