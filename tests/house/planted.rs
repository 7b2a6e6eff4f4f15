//! The tests are tested: a bug is planted in each machine, and the test that is there for it must fail.
//!
//! The sources are copied below the build directory, all bugs of `tests/planted/bugs.toml` are planted there at once, each
//! asleep, and everything is built once; then each test runs with its bug awake (`make planted`). Nothing of this is in
//! the sources themselves, so nothing of it can be in the program: what is built has a directory of its own, too, as cargo
//! takes a crate of the copy for that of the workspace. That the list still fits the sources is looked at each time.

use crate::source::{metadata, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The machines that have a bug beside those with a graph below `tests/golden/graphs`.
const MACHINES: [&str; 18] = [
    "Dialog",
    "Door",
    "Down",
    "Fork",
    "Framer",
    "Latch",
    "Names",
    "Nonce",
    "Pickup",
    "Port pool",
    "Publication",
    "Redirection",
    "Referral",
    "Registrar binding",
    "Reliable provisional answers",
    "Session timer",
    "Strangers",
    "Stream of facts",
];

/// What is copied: what the simulator is made of.
const PARTS: [&str; 11] = [
    "crates/words",
    "crates/sip",
    "crates/media",
    "crates/net",
    "crates/registrar",
    "crates/b2bua",
    "crates/books",
    "crates/forward",
    "crates/switch",
    "tests/kit",
    "tests/sim",
];

/// How long a test may take: one that does not come to its end has failed, too.
const PATIENCE: Duration = Duration::from_mins(2);

struct Bug {
    name: String,
    machine: String,
    file: String,
    old: String,
    new: String,
    /// The executable, and the test in it.
    test: (String, String),
}

fn bugs() -> Vec<Bug> {
    let text = std::fs::read_to_string(root().join("tests/planted/bugs.toml")).expect("it is part of the repository");
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("bugs.toml: {error}"));
    let rows = table["bug"].as_array().expect("it has bugs");
    let one = |row: &toml::Value| {
        let field = |name: &str| row[name].as_str().expect("each field is a text").to_owned();
        let test = field("test");
        let (executable, test) = test.split_once(' ').expect("<executable> <test>");
        Bug {
            name: field("name"),
            machine: field("machine"),
            file: field("file"),
            old: field("old"),
            new: field("new"),
            test: (executable.to_owned(), test.to_owned()),
        }
    };
    rows.iter().map(one).collect()
}

/// Writes a file unless it has this text already: what is not new is not built again.
fn write(path: &Path, text: &[u8]) {
    if std::fs::read(path).is_ok_and(|before| before == text) {
        return;
    }
    let dir = path.parent().expect("each file lies somewhere");
    std::fs::create_dir_all(dir).expect("the build directory can be written");
    std::fs::write(path, text).expect("the build directory can be written");
}

fn copy(from: &Path, to: &Path, change: &mut impl FnMut(&Path, String) -> String) {
    for entry in std::fs::read_dir(from).expect("it is part of the repository").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target, change);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            write(&target, change(&path, text).as_bytes());
        } else {
            write(&target, &std::fs::read(&path).expect("it is part of the repository"));
        }
    }
}

/// A workspace beside ours in which all bugs are planted.
fn plant(bugs: &[Bug]) -> PathBuf {
    let (root, garden) = (root(), ground().join("source"));
    let mut left: BTreeMap<PathBuf, Vec<&Bug>> = BTreeMap::new();
    for bug in bugs {
        left.entry(root.join(&bug.file)).or_default().push(bug);
    }
    let mut change = |path: &Path, mut text: String| {
        for bug in left.remove(path).into_iter().flatten() {
            let awake = format!("words::planted({:?})", bug.name);
            text = text.replacen(&bug.old, &bug.new.replace("BUG", &awake), 1);
        }
        if path.ends_with("crates/words/src/lib.rs") {
            text.push_str(AWAKE);
        }
        text
    };
    for part in PARTS {
        copy(&root.join(part), &garden.join(part), &mut change);
    }
    assert!(left.is_empty(), "bugs in files that are not there: {:?}", left.keys());
    let read = |file: &str| std::fs::read_to_string(root.join(file)).expect("it is part of the repository");
    let workspace = read("Cargo.toml");
    let (before, rest) = workspace.split_once("members = [").expect("the workspace has members");
    let (_, after) = rest.split_once(']').expect("its members end");
    let crates: Vec<String> =
        PARTS.iter().filter(|part| part.starts_with("crates")).map(|part| format!("{part:?}")).collect();
    let members = format!("{before}members = [{}, \"tests\"]{after}", crates.join(", "));
    write(&garden.join("Cargo.toml"), members.as_bytes());
    write(&garden.join("Cargo.lock"), read("Cargo.lock").as_bytes());
    let tests = read("tests/Cargo.toml");
    let others = |section: &&str| {
        !section.contains("path = ") || section.contains("sim/main.rs") || section.contains("[package]")
    };
    let tests: Vec<&str> = tests.split("[[test]]").filter(others).collect();
    write(&garden.join("tests/Cargo.toml"), tests.join("[[test]]").as_bytes());
    garden
}

/// What is added to `words`, which all others know.
const AWAKE: &str = r#"
/// Whether a planted bug is awake.
pub fn planted(name: &str) -> bool {
    static AWAKE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    AWAKE.get_or_init(|| std::env::var("PLANTED").ok()).as_deref() == Some(name)
}
"#;

/// Where all of this lies: the copy, and what is built of it.
fn ground() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target").join("planted")
}

/// Takes over what was built already of what others wrote, the first time. None of it is written to again: libraries are
/// replaced when they change, so they may be the same files; all else is copied.
fn take_over() {
    let own = std::env::current_exe().expect("a test has a path");
    let from = own.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let to = ground().join("build").join(from.file_name().expect("a profile has a name"));
    if to.exists() {
        return;
    }
    let metadata = metadata(false);
    let packages = metadata["packages"].as_array().expect("the workspace has packages").iter();
    let targets = packages.flat_map(|package| {
        let targets = package["targets"].as_array().expect("a package has targets").iter();
        targets.map(|target| &target["name"]).chain([&package["name"]])
    });
    let ours: BTreeSet<String> =
        targets.filter_map(serde_json::Value::as_str).map(|name| name.replace('-', "_")).collect();
    // Packages and libraries are named alike: `NAME-HASH`, `libNAME-HASH.rlib`.
    let is_ours = |file: &str| {
        let name = file.rsplit_once('-').map_or(file, |(name, _)| name).replace('-', "_");
        ours.contains(&name) || name.strip_prefix("lib").is_some_and(|name| ours.contains(name))
    };
    for part in [".fingerprint", "build", "deps"] {
        let Ok(entries) = std::fs::read_dir(from.join(part)) else { continue };
        for entry in entries.flatten().filter(|entry| !is_ours(&entry.file_name().to_string_lossy())) {
            take_one(&entry.path(), &to.join(part).join(entry.file_name()));
        }
    }
}

/// Cargo looks at the times of files, which stay.
fn take_one(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("each file lies somewhere"))
        .expect("the build directory can be written");
    if from.is_dir() {
        std::fs::create_dir_all(to).expect("the build directory can be written");
        for entry in std::fs::read_dir(from).expect("it was there a moment ago").flatten() {
            take_one(&entry.path(), &to.join(entry.file_name()));
        }
        return;
    }
    let is_library = from.extension().is_some_and(|ending| ["rlib", "rmeta", "so"].iter().any(|of| ending == *of));
    if is_library && std::fs::hard_link(from, to).is_ok() {
        return;
    }
    let time = std::fs::metadata(from).and_then(|file| file.modified());
    let copied = std::fs::copy(from, to).and(time).and_then(|time| std::fs::File::open(to)?.set_modified(time));
    copied.expect("the build directory can be written");
}

/// Builds the copy; gives its test executables by name.
fn build(garden: &Path) -> BTreeMap<String, PathBuf> {
    take_over();
    // One after the other: `--lib` would mean both.
    let what = [&["--workspace", "--test", "sim"][..], &["-p", "forward", "--lib"], &["-p", "sip", "--lib"]];
    what.into_iter().flat_map(|what| build_one(garden, what)).collect()
}

fn build_one(garden: &Path, what: &[&str]) -> Vec<(String, PathBuf)> {
    let run = Command::new(env!("CARGO"))
        .args(["test", "--offline", "--no-run", "--message-format=json"])
        .args(what)
        .current_dir(garden)
        .env("CARGO_TARGET_DIR", ground().join("build"))
        .env("CARGO_BUILD_BUILD_DIR", ground().join("build"))
        .stderr(Stdio::piped())
        .output()
        .expect("cargo can be started");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8_lossy(&run.stdout);
    let read = |line: &str| -> Option<(String, PathBuf)> {
        let said: serde_json::Value = serde_json::from_str(line).ok()?;
        Some((said["target"]["name"].as_str()?.to_owned(), PathBuf::from(said["executable"].as_str()?)))
    };
    text.lines().filter_map(read).collect()
}

/// Whether a test passes with this bug awake, or with none.
#[expect(clippy::disallowed_methods, reason = "tests of processes wait in real time")]
fn passes(executable: &Path, test: &str, bug: Option<&str>) -> bool {
    let mut command = Command::new(executable);
    command.args(["--exact", test]).env_remove("PLANTED").env_remove("SEED").env("TAIL", "0");
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(bug) = bug {
        command.env("PLANTED", bug);
    }
    let mut run = command.spawn().expect("what was built can be started");
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = run.try_wait().expect("it is ours") {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    run.kill().expect("it is ours");
    run.wait().expect("it is ours");
    false
}

/// The first lines of the graphs on file.
fn graphs() -> BTreeSet<String> {
    let files = crate::source::files(&root().join("tests/golden/graphs"), "txt");
    let title =
        |file: &PathBuf| std::fs::read_to_string(file).expect("a graph is text").lines().next().map(str::to_owned);
    files.iter().filter_map(title).collect()
}

#[test]
fn each_machine_has_a_bug() {
    let bugs = bugs();
    let have: BTreeSet<String> = bugs.iter().map(|bug| bug.machine.clone()).collect();
    let wanted: BTreeSet<String> = MACHINES.iter().map(|&name| name.to_owned()).chain(graphs()).collect();
    assert_eq!(have, wanted);
    let names: BTreeSet<&str> = bugs.iter().map(|bug| bug.name.as_str()).collect();
    assert_eq!(names.len(), bugs.len(), "two bugs have one name");
}

#[test]
fn each_bug_has_its_place_and_its_test() {
    for bug in bugs() {
        let text = std::fs::read_to_string(root().join(&bug.file)).expect("each bug has a file");
        assert_eq!(text.matches(&bug.old).count(), 1, "{}: `old` must stand in {} once", bug.name, bug.file);
        assert!(bug.new.contains("BUG"), "{} is always awake", bug.name);
        let (executable, path) = &bug.test;
        let mut parts: Vec<&str> = path.split("::").filter(|part| *part != "tests").collect();
        let name = parts.pop().expect("a test has a name");
        let dir = if executable == "sim" { "tests/sim".to_owned() } else { format!("crates/{executable}/src") };
        let file = root().join(dir).join(parts.join("/")).with_extension("rs");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(text.contains(&format!("fn {name}()")), "{}: {path} is not in {}", bug.name, file.display());
    }
}

#[test]
#[ignore = "make planted: it builds the exchange and its simulator a second time"]
fn each_planted_bug_is_caught() {
    let bugs = bugs();
    let executables = build(&plant(&bugs));
    let tests: BTreeSet<&(String, String)> = bugs.iter().map(|bug| &bug.test).collect();
    for (executable, test) in tests {
        assert!(passes(&executables[executable], test, None), "{test} fails without a bug");
    }
    let mut alive = Vec::new();
    for bug in &bugs {
        let survives = passes(&executables[&bug.test.0], &bug.test.1, Some(&bug.name));
        let fate = if survives { "NOT caught" } else { "caught" };
        eprintln!("{}: {} is {fate} by {}", bug.machine, bug.name, bug.test.1);
        alive.extend(survives.then_some(&bug.name));
    }
    assert!(alive.is_empty(), "bugs that nobody notices: {alive:#?}");
}
