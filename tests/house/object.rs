//! The object that is checked in beside its source was made of that source: it carries the hash.

use crate::source::root;
use sha2::{Digest, Sha256};

fn carries(object: &[u8], source: &[u8]) -> bool {
    let hash = Sha256::digest(source).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    object.windows(hash.len()).any(|window| window == hash.as_bytes())
}

#[test]
fn the_object_belongs_to_its_source() {
    let bpf = root().join("crates/net/bpf");
    let read = |name| std::fs::read(bpf.join(name)).expect("it is checked in");
    let (object, mut source) = (read("relay.bpf.o"), read("relay.bpf.c"));
    assert!(carries(&object, &source), "make bpf has not been run since relay.bpf.c changed");
    source.push(b'\n');
    assert!(!carries(&object, &source));
}
