//! libFuzzer around one of the functions of `tests::fuzz`: `FUZZ_TARGET` names it; `list` prints the names of all.

#![no_main]

use std::sync::LazyLock;
use tests::fuzz::{TARGETS, Target, target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    if name == "list" {
        for target in &TARGETS {
            println!("{}", target.name);
        }
        std::process::exit(0);
    }
    target(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name:?} is none of the targets"))
});

// An input that is longer than the target wants is not even tried: libFuzzer then keeps to shorter ones.
libfuzzer_sys::fuzz_target!(|input: &[u8]| -> libfuzzer_sys::Corpus {
    if input.len() > TARGET.longest {
        return libfuzzer_sys::Corpus::Reject;
    }
    TARGET.run(input);
    libfuzzer_sys::Corpus::Keep
});
