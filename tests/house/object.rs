//! The object that is checked in beside its source was made of that source: it carries the hash.

use crate::source::root;
use sha2::{Digest, Sha256};
use std::process::Command;

fn carries(object: &[u8], source: &[u8]) -> bool {
    let hash = Sha256::digest(source).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    object.windows(hash.len()).any(|window| window == hash.as_bytes())
}

/// Where clang is, it takes the source without a word; else the object that is checked in is all there is.
#[test]
fn clang_makes_the_object_of_its_source() {
    let Ok(clang) = Command::new("clang").arg("--version").output() else {
        return eprintln!("skipped: there is no clang");
    };
    assert!(clang.status.success());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("relay.bpf.o");
    let build =
        Command::new("sh").arg(root().join("crates/net/bpf/build.sh")).arg(&out).output().expect("there is a shell");
    let said = String::from_utf8_lossy(&build.stderr).into_owned();
    if said.contains("linux/bpf.h") && said.contains("not found") {
        return eprintln!("skipped: the headers of the kernel are missing (linux-libc-dev)");
    }
    assert!(build.status.success() && said.is_empty(), "{said}");
    let source = std::fs::read(root().join("crates/net/bpf/relay.bpf.c")).expect("it is checked in");
    assert!(carries(&std::fs::read(&out).expect("it was built"), &source));
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
