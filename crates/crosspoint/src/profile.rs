//! Ready set-ups: the demo account of a first start, the account that load tests drive.

use controller::{AdminError, NewAccount, NewPassword, NewUser, Store};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use words::diagnosis::Language;
use words::{Chance, Wall};

/// The demo account's credentials: made once, kept in a file that only its owner reads, since the database keeps no
/// password. Delete the file when they are in the phones.
pub(crate) fn demo(store: &Store, data: &Path, chance: &mut Chance, now: Wall) -> Result<String, String> {
    let file = data.join(DEMO_FILE);
    let told = |error: &dyn std::fmt::Display| format!("the demo account cannot be made: {error}");
    if store.account_named(DEMO).map_err(|e| told(&e))?.is_some() {
        return Ok(std::fs::read_to_string(&file).unwrap_or_default());
    }
    if !store.accounts().map_err(|e| told(&e))?.is_empty() {
        return Ok(String::new());
    }
    let text = make_demo(store, chance, now).map_err(|e| told(&e))?;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&file);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| told(&e))?;
    Ok(text)
}

fn make_demo(store: &Store, chance: &mut Chance, now: Wall) -> Result<String, AdminError> {
    let account = store.create_account(&NewAccount::named(DEMO, DEMO), now)?;
    let mut text = String::new();
    for extension in ["101", "102"] {
        let made = store.add_user(NewUser::new(account.id, extension, NewPassword::Generated(chance)), now)?;
        // Writing to a String does not fail.
        let _ = writeln!(text, "{} {} {}", extension, made.user.auth_user, made.password.reveal());
    }
    Ok(text)
}

/// What is printed about the demo account.
pub(crate) fn tell(credentials: &str, address: &str, language: Language) -> Vec<String> {
    if credentials.is_empty() {
        return Vec::new();
    }
    let russian = language == Language::Ru;
    let mut lines = vec![if russian {
        format!("Пробная компания: введите в два телефона (сервер {address}) и наберите 101, 102 или *43 (эхо)")
    } else {
        format!("Demo account: type this into two phones (server {address}), then dial 101, 102 or *43 (echo)")
    }];
    for row in credentials.lines() {
        let mut parts = row.split(' ');
        let (extension, user, password) =
            (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        lines.push(if russian {
            format!("  номер {extension}   пользователь {user}   пароль {password}")
        } else {
            format!("  extension {extension}   user {user}   password {password}")
        });
    }
    lines
}

const DEMO: &str = "demo";
const DEMO_FILE: &str = "demo-credentials.txt";
