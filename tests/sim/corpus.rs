//! The inputs that fuzzing keeps, through the very functions that it runs (`make fuzz`).

use std::path::{Path, PathBuf};
use tests::fuzz::{TARGETS, Target};

/// Says which input it was, when it fails.
struct Named<'a>(&'a Path);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input is {}", self.0.display());
        }
    }
}

fn inputs(target: &Target) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
    let files = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("the directory can be read").path()).collect();
    files.sort();
    files
}

#[test]
fn every_stored_input_holds_its_properties_in_time() {
    for target in &TARGETS {
        let files = inputs(target);
        assert!(!files.is_empty(), "{} has no inputs", target.name);
        for file in &files {
            let input = std::fs::read(file).expect("an input can be read");
            let _named = Named(file);
            target.run(&input);
        }
    }
}

#[test]
fn every_directory_of_inputs_has_its_target() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for entry in std::fs::read_dir(dir).expect("the inputs are there") {
        let name = entry.expect("the directory can be read").file_name();
        assert!(tests::fuzz::target(&name.to_string_lossy()).is_some(), "{name:?} is no target");
    }
}
