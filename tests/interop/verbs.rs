//! Each verb of the command line, typed as people type it: none is there that nothing here runs, and what `doctor` says.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::program::{Program, binary, run_to_end, wait_for};
use tests::sipp::run;

/// What comes of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// A table, or JSON.
    Table,
    /// JSON, where nothing is asked twice.
    Json,
    /// Words.
    Words,
    /// A sentence, and exit code 1: here is nothing to be done.
    Refusal,
    /// Findings.
    Findings,
    /// Messages as they pass.
    Messages,
    /// The exchange that all others ask.
    Exchange,
}

/// Every verb, in an order in which they make sense. `CALL` and `CONFIG` stand for a call that was, and a file.
const VERBS: [(&str, &str, Comes); 30] = [
    ("run", "", Comes::Exchange),
    ("help", "help", Comes::Words),
    ("check", "check --config CONFIG", Comes::Words),
    ("doctor", "doctor --config CONFIG", Comes::Findings),
    ("account create", "account create red --domain red.example", Comes::Json),
    ("account set", "account set red --ring-for 20", Comes::Json),
    ("account list", "account list", Comes::Table),
    ("user add", "user add red 101 --name Ann", Comes::Json),
    ("user reset", "user reset red 101", Comes::Json),
    ("user disable", "user disable red 101", Comes::Json),
    ("user enable", "user enable red 101", Comes::Json),
    ("user list", "user list red", Comes::Table),
    ("peer add", "peer add red carrier 192.0.2.9:5060 --prefix 9", Comes::Json),
    ("peer list", "peer list red", Comes::Table),
    ("peer remove", "peer remove red carrier", Comes::Json),
    ("route add", "route add red 600 --ring 101", Comes::Json),
    ("route list", "route list red", Comes::Table),
    ("route remove", "route remove red 600", Comes::Json),
    ("phones", "phones --account red", Comes::Table),
    ("phones bans", "phones bans", Comes::Table),
    ("phones unban", "phones unban 192.0.2.9", Comes::Refusal),
    ("phones check-sync", "phones check-sync 101 --account red", Comes::Refusal),
    ("status", "status", Comes::Table),
    ("calls", "calls", Comes::Table),
    ("cdr", "cdr --limit 5", Comes::Table),
    ("call", "call CALL", Comes::Table),
    ("call", "call CALL hangup", Comes::Refusal),
    ("trace", "trace OPTIONS", Comes::Messages),
    ("drain", "drain", Comes::Json),
    ("drain", "drain --off", Comes::Json),
];

/// The verbs that help lists below these.
fn listed(above: &[&str]) -> Vec<String> {
    let output = run_to_end(&[above, &["--help"]].concat());
    let text = words(&output.stdout);
    let list = text.split_once("\nCommands:\n").map_or("", |(_, list)| list);
    let lines = list.lines().take_while(|line| !line.is_empty());
    // What goes on in the next line stands further in.
    let names = lines.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    names.filter_map(|rest| rest.split(' ').next()).map(str::to_owned).collect()
}

/// Whether help says that something must follow.
fn needs_more(verb: &str) -> bool {
    words(&run_to_end(&[verb, "--help"]).stdout).contains("<COMMAND>")
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it says words")
}

/// That a verb ended as it should, and not with a panic.
fn ended(verb: &str, output: &Output, code: i32) {
    let said = words(&output.stderr);
    assert!(output.status.code() == Some(code) && !said.contains("panicked"), "{verb}: {:?} {said}", output.status);
}

fn json(verb: &str, output: &Output) -> serde_json::Value {
    ended(verb, output, 0);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{verb}: {error}: {}", words(&output.stdout)))
}

/// The first message that a trace shows while somebody asks what the exchange can do.
fn traced(program: &Program, arguments: &[&str]) -> serde_json::Value {
    let mut command = Command::new(binary());
    let command = command.args(arguments).arg("--json").arg("--data").arg(program.data());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the program runs");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let from = socket.local_addr().expect("it is bound");
    let question = format!(
        "OPTIONS sip:{0} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKtrace\r\nFrom: <sip:a@{0}>;tag=1\r\nTo: <sip:{0}>\r\n\
         Call-ID: trace\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        program.sip
    );
    let mut line = String::new();
    let seen = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for(Duration::from_secs(10), || {
                socket.send_to(question.as_bytes(), program.sip).expect("loopback takes it");
                seen.load(Ordering::Relaxed)
            })
        });
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("it says words");
        seen.store(true, Ordering::Relaxed);
    });
    child.kill().expect("our own child can be killed");
    child.wait().expect("our own child can be awaited");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("trace: {error}: {line}"))
}

#[test]
fn each_verb_that_help_lists_does_what_it_says() {
    let mut all = BTreeSet::new();
    for verb in listed(&[]) {
        let below: Vec<String> = listed(&[&verb]).into_iter().filter(|name| name != "help").collect();
        all.extend(below.iter().map(|name| format!("{verb} {name}")));
        if !needs_more(&verb) {
            all.insert(verb);
        }
    }
    let tried: BTreeSet<String> = VERBS.iter().map(|(verb, ..)| (*verb).to_owned()).collect();
    assert_eq!(tried, all, "a verb that nobody tries here, or one that is no more");

    let program = Program::bench();
    run(&program, "uac", &["--calls", "1", "--service", "echo", "--hold-ms", "100"]);
    let call = program.json(&["cdr"])[0]["call"].as_str().expect("a record has the call's id").to_owned();
    let config = program.data().join("check.toml");
    std::fs::write(&config, "[media]\ntier = \"batch\"\n").unwrap();
    let config = config.display().to_string();
    for (verb, typed, comes) in VERBS {
        let arguments: Vec<&str> = typed
            .split_whitespace()
            .map(|word| match word {
                "CALL" => &call,
                "CONFIG" => &config,
                other => other,
            })
            .collect();
        let as_json = [&arguments[..], &["--json"]].concat();
        match comes {
            Comes::Exchange => assert!(program.get("/readyz").contains("200")),
            Comes::Words => {
                let output = run_to_end(&arguments);
                ended(verb, &output, 0);
                assert!(!output.stdout.is_empty(), "{verb}");
            }
            Comes::Json => assert!(!json(verb, &program.cli(&as_json)).is_null(), "{verb}"),
            Comes::Table => {
                let value = json(verb, &program.cli(&as_json));
                assert!(value.is_array() || value.is_object(), "{verb}: {value}");
                let output = program.cli(&arguments);
                ended(verb, &output, 0);
                let table = words(&output.stdout);
                assert!(!table.trim().is_empty() && !table.starts_with(['[', '{']), "{verb}: {table}");
            }
            Comes::Refusal => {
                let output = program.cli(&as_json);
                ended(verb, &output, 1);
                assert!(words(&output.stderr).starts_with("crosspoint: "), "{verb}");
            }
            Comes::Findings => {
                examine(&config, "en");
            }
            Comes::Messages => {
                let shown = traced(&program, &arguments);
                assert!(shown.as_str().is_some_and(|shown| shown.contains("\r\nCSeq: 1 OPTIONS\r\n")), "{shown}");
            }
        }
    }
}

/// Lets `doctor` look at a configuration: what was looked at, whether it is good, and the name of what is wrong.
fn examine(config: &str, language: &str) -> Vec<(String, bool, Option<String>)> {
    let ask = |more: &[&str]| {
        let output = run_to_end(&[&["doctor", "--config", config], more].concat());
        assert!(output.stderr.is_empty(), "{config}: {}", words(&output.stderr));
        output
    };
    let output = ask(&["--json"]);
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let rows: Vec<_> = rows
        .as_array()
        .expect("a list of findings")
        .iter()
        .map(|row| {
            assert!(row["found"].as_str().is_some_and(|found| !found.is_empty()), "{row}");
            let what = row["what"].as_str().expect("it says what it looked at").to_owned();
            let good = row["good"].as_bool().expect("it is good or is not");
            let diagnosis = row["diagnosis"].as_str().map(str::to_owned);
            assert!(if good { diagnosis.is_none() } else { diagnosis.is_some() || what == "media" }, "{row}");
            (what, good, diagnosis)
        })
        .collect();
    assert_eq!(output.status.code(), Some(i32::from(rows.iter().any(|(_, good, _)| !good))), "{rows:?}");

    let output = ask(&[]);
    let text = words(&output.stdout);
    let russian = |line: &str| line.chars().any(|c| ('а'..='я').contains(&c));
    let (mut verdicts, mut bad) = (0, false);
    for line in text.lines() {
        match line.get(..6) {
            Some("ok    ") => (verdicts, bad) = (verdicts + 1, false),
            Some("!     ") => (verdicts, bad) = (verdicts + 1, true),
            // What it means and what is to be done follows what is wrong.
            Some("      ") if bad => bad = false,
            _ => panic!("{line:?} in {text}"),
        }
        assert!(line.len() > 10 && russian(line) == (language == "ru"), "{language}: {line}");
    }
    assert_eq!(verdicts, rows.len(), "{text}");
    assert_eq!(output.status.code(), Some(i32::from(text.lines().any(|line| line.starts_with('!')))), "{text}");
    rows
}

#[test]
fn doctor_tells_what_it_finds_in_both_languages_with_and_without_an_exchange() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let names = |rows: &[(String, bool, Option<String>)]| -> Vec<String> {
        rows.iter().map(|(what, ..)| what.clone()).collect()
    };
    let all = ["addresses", "calls", "receive-buffer", "media"];
    let office = Program::office();
    let text = std::fs::read_to_string(office.data().with_file_name("crosspoint.toml")).unwrap();
    for language in ["en", "ru"] {
        let head = format!("language = \"{language}\"\n");
        assert_eq!(names(&examine(&file("running.toml", &format!("{head}{text}")), language)), all);
        let single = format!("{head}[media]\nsingle_port = 9000\ntier = \"batch\"\n");
        let rows = examine(&file("alone.toml", &single), language);
        assert_eq!(names(&rows), [&all[..], &["single-port"]].concat());
        assert!(rows[3].1 && rows[4].1, "{rows:?}");
        let foreign = format!("{head}[sip]\nudp = [\"203.0.113.77:5060\"]\n");
        let rows = examine(&file("foreign.toml", &foreign), language);
        assert_eq!(rows[0], ("addresses".to_owned(), false, Some("address-not-owned".to_owned())));
    }
    // Who names no configuration is told of the one that holds then.
    let output = run_to_end(&["doctor"]);
    assert!(output.stderr.is_empty() && matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    for more in [&[][..], &["--json"]] {
        let bad = file("bad.toml", "[sip]\nupd = []\n");
        let output = run_to_end(&[&["doctor", "--config", &bad], more].concat());
        ended("doctor", &output, 2);
        assert!(output.stdout.is_empty() && words(&output.stderr).contains("did you mean `udp`"));
    }
}
