//! The command line and the mistakes of operators.

use std::time::Duration;
use tests::program::{Program, free, run_to_end, wait_for};
use tests::sipp::{attempt, run};

fn csv(program: &Program, name: &str, row: &str) -> String {
    let path = program.data().join(name);
    std::fs::write(&path, format!("SEQUENTIAL\n{row}\n")).expect("the users are written");
    path.display().to_string()
}

#[test]
fn a_disabled_user_is_out_within_a_second() {
    let program = Program::office();
    program.people("office", &[("101", "secret101")]);
    let users = csv(&program, "u.csv", "office101;[authentication username=office101 password=secret101]");
    run(&program, "register", &["--rate", "10", "--calls", "1", "--users", &users]);
    let phones = program.json(&["phones"]);
    assert_eq!((phones.as_array().unwrap().len(), &phones[0]["extension"]), (1, &"101".into()), "{phones}");
    program.json(&["user", "disable", "office", "101"]);
    assert!(wait_for(Duration::from_secs(1), || program.json(&["phones"]).as_array().unwrap().is_empty()));
    let refused = attempt(&program, "register", &["--rate", "10", "--calls", "1", "--users", &users]);
    assert!(refused["errors"].as_str().unwrap().contains("403"), "{refused}");
    program.json(&["user", "enable", "office", "101"]);
    run(&program, "register", &["--rate", "10", "--calls", "1", "--users", &users]);
}

/// As somebody copies it from the screen into a phone.
#[test]
fn what_user_add_prints_registers() {
    let program = Program::office();
    program.json(&["account", "create", "office", "--domain", "office.example"]);
    let made = program.json(&["user", "add", "office", "101", "--name", "Ann"]);
    let text = |value: &serde_json::Value, field: &str| value[field].as_str().expect("it is printed").to_owned();
    let register = |made: &serde_json::Value, name: &str| {
        let (user, password) = (text(made, "user"), text(made, "password"));
        let row = format!("{user};[authentication username={user} password={password}]");
        attempt(&program, "register", &["--calls", "1", "--users", &csv(&program, name, &row)])
    };
    assert_eq!(register(&made, "u.csv")["successful"], 1, "{made}");
    let again = program.json(&["user", "reset", "office", "101"]);
    assert_eq!(register(&made, "old.csv")["successful"], 0, "the password before is void");
    assert_eq!(register(&again, "new.csv")["successful"], 1, "{again}");
    assert_eq!(program.json(&["phones"])[0]["extension"], "101");
}

#[test]
fn who_guesses_is_shown_and_forgiven() {
    let program = Program::office();
    program.people("office", &[("101", "secret101"), ("102", "secret102")]);
    let wrong = csv(&program, "wrong.csv", "office101;[authentication username=office101 password=old]");
    let lost = attempt(&program, "register", &["--rate", "50", "--calls", "25", "--users", &wrong]);
    assert_eq!(lost["successful"], 0, "{lost}");
    let bans = program.json(&["phones", "bans"]);
    let bans = bans.as_array().unwrap();
    assert!(bans.iter().all(|ban| ban["source"] == "127.0.0.1" && ban["failures"].as_u64() >= Some(10)), "{bans:?}");
    // All of that address, and those at the one user.
    assert_eq!(bans.iter().filter(|ban| ban["user"].is_null()).count(), 1, "{bans:?}");
    assert_eq!(bans.len(), 2, "{bans:?}");
    assert!(program.read_in("C", &["phones", "bans"]).contains("127.0.0.1"));
    // A colleague does not notice.
    let right = csv(&program, "right.csv", "office102;[authentication username=office102 password=secret102]");
    run(&program, "register", &["--calls", "1", "--users", &right]);
    assert!(program.cli(&["phones", "unban", "127.0.0.1"]).status.success());
    assert_eq!(program.json(&["phones", "bans"]).as_array().unwrap().len(), 0);
    let lost = attempt(&program, "register", &["--calls", "1", "--users", &wrong]);
    assert!(lost["errors"].as_str().unwrap().contains("401"), "it is asked again: {lost}");
}

#[test]
fn two_accounts_with_the_same_extension_never_meet() {
    let program = Program::office();
    program.people("red", &[("101", "red-secret"), ("102", "red-other")]);
    program.people("blue", &[("101", "blue-secret")]);
    let red = csv(&program, "red.csv", "red101;[authentication username=red101 password=red-secret]");
    let blue = csv(&program, "blue.csv", "blue101;[authentication username=blue101 password=blue-secret]");
    run(&program, "register", &["--calls", "1", "--users", &red]);
    assert_eq!(program.json(&["phones", "--account", "red"]).as_array().unwrap().len(), 1);
    assert_eq!(program.json(&["phones", "--account", "blue"]).as_array().unwrap().len(), 0);
    // 102 exists in the red account only.
    let lost = attempt(&program, "uac_auth", &["--calls", "1", "--service", "102", "--users", &blue]);
    assert!(lost["errors"].as_str().unwrap().contains("404"), "{lost}");
    assert_eq!(program.json(&["cdr", "--account", "red"]).as_array().unwrap().len(), 0);
    assert_eq!(program.json(&["cdr", "--account", "blue"]).as_array().unwrap().len(), 1);
}

#[test]
fn what_an_account_sets_is_kept_and_nonsense_refused() {
    let mut program = Program::office();
    program.people("office", &[("101", "secret101")]);
    let set = |program: &Program, code: &str| {
        program.json(&["account", "set", "office", "--typed-transfer", code])["settings"].clone()
    };
    assert_eq!(set(&program, "*2")["typed_transfer"], "*2");
    let refused = program.cli(&["account", "set", "office", "--typed-transfer", "2#"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("the code"));
    let both = program.json(&["account", "set", "office", "--ring-for", "20"])["settings"].clone();
    assert_eq!((&both["typed_transfer"], &both["ring_for_s"]), (&"*2".into(), &20.into()));
    program.kill();
    program.restart();
    assert_eq!(program.json(&["account", "list"])[0]["settings"], both);
    assert_eq!(set(&program, "off")["typed_transfer"], "");
    assert!(set(&program, "default")["typed_transfer"].is_null());
}

#[test]
fn a_call_is_seen_and_ended_from_the_command_line() {
    let program = Program::bench();
    std::thread::scope(|scope| {
        let calling =
            scope.spawn(|| attempt(&program, "uac", &["--calls", "1", "--service", "echo", "--hold-ms", "5000"]));
        assert!(wait_for(Duration::from_secs(5), || program.json(&["calls"])[0]["state"] == "answered"));
        let calls = program.json(&["calls"]);
        let id = calls[0]["call"].as_str().unwrap();
        assert_eq!(program.json(&["call", id])["state"], "answered");
        program.json(&["call", id, "hangup"]);
        assert!(wait_for(Duration::from_secs(2), || program.json(&["calls"]).as_array().unwrap().is_empty()));
        let record = program.json(&["call", id]);
        assert_eq!(record["cdr"]["ended"]["cause"], "administrative", "{record}");
        calling.join().unwrap();
    });
}

/// What somebody reads whose exchange does not start, beside its log: one line and one sentence, with exit code 2.
fn one_sentence(output: &std::process::Output) -> String {
    let all = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = all.lines().filter(|line| !line.starts_with("{\"timestamp\"")).collect();
    assert_eq!((output.status.code(), said.len()), (Some(2), 1), "{all}");
    assert!(said[0].starts_with("crosspoint: ") && !said[0].contains(". "), "{all}");
    said[0].to_owned()
}

#[test]
fn mistakes_are_told_in_one_sentence_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    let data = folder.path().join("data").display().to_string();
    let start = |text: &str, data: &str| {
        std::fs::write(&config, text).unwrap();
        one_sentence(&run_to_end(&["run", "--config", &config.display().to_string(), "--data", data]))
    };
    // A port that another program has: of UDP, TCP and HTTP.
    let (taken, http) = (free(), free());
    let (_datagrams, _stream) =
        (std::net::UdpSocket::bind(taken).unwrap(), std::net::TcpListener::bind(taken).unwrap());
    for (udp, tcp, http) in [(Some(taken), None, http), (None, Some(taken), http), (Some(free()), None, taken)] {
        let [udp, tcp] = [udp, tcp].map(|address| address.map_or(String::new(), |address| format!("\"{address}\"")));
        let text = format!("[sip]\nudp = [{udp}]\ntcp = [{tcp}]\ntls = []\nwss = []\n[http]\nlisten = \"{http}\"\n");
        let said = start(&text, &data);
        assert!(said.contains(&taken.to_string()) && said.contains("[port-in-use]"), "{said}");
    }

    // Folders in which nothing can be made, not even by root: behind a file, and where the kernel makes them.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for data in [file.join("x").display().to_string(), "/proc/crosspoint".to_owned()] {
        let sip = format!("[sip]\nudp = [\"{}\"]\ntcp = []\ntls = []\nwss = []\n", free());
        let said = start(&sip, &data);
        assert!(said.contains(&data) && said.contains("cannot be written"), "{said}");
    }

    std::fs::write(&config, "[sip]\nupd = []\n").unwrap();
    let output = run_to_end(&["check", "--config", &config.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains(":2:1:") && said.contains("did you mean `udp`"), "{said}");

    let tls =
        "udp = []\ntcp = []\nwss = []\ntls = [\"127.0.0.1:0\"]\n[tls]\ncertificate = \"no.pem\"\nkey = \"no.key\"\n";
    std::fs::write(&config, format!("[sip]\n{tls}")).unwrap();
    let output = run_to_end(&["run", "--config", &config.display().to_string(), "--data", &data]);
    let said = one_sentence(&output);
    assert!(said.contains("no.pem") && said.contains("[bad-certificate]"), "{said}");

    let output = run_to_end(&["calls", "--data", &data]);
    assert!(output.status.code() == Some(2) && String::from_utf8_lossy(&output.stderr).contains("--data"));
}

#[test]
fn everyone_is_told_what_they_asked_in_a_table_too() {
    let program = Program::bench();
    let output = program.cli(&["status"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.lines().any(|line| line.starts_with("calls ")), "{text}");
}
