//! A network of its own for a test: interfaces come and go there, and nobody else's do.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Runs a test in a network namespace that lives as long as it, with nothing but a loopback; `None`: there is no right to that.
pub fn alone<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let mut keeper = keeper()?;
    let file = File::open(format!("/proc/{}/ns/net", keeper.id())).expect("it is there");
    // A thread that went into another namespace is not given back to the harness.
    let done = std::thread::spawn(move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("who made it may enter");
        run("ip link set lo up");
        test()
    });
    let done = done.join();
    keeper.kill().expect("our own child can be killed");
    keeper.wait().expect("our own child can be awaited");
    Some(done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

/// Runs a program there.
pub fn run(words: &str) {
    let mut parts = words.split(' ');
    let status = Command::new(parts.next().unwrap_or_default()).args(parts).status();
    assert!(status.expect("iproute2 is installed").success(), "{words}");
}

fn keeper() -> Option<Child> {
    let own = std::fs::read_link("/proc/self/ns/net").ok()?;
    let mut keeper = Command::new("unshare").args(["--net", "sleep", "60"]).stderr(Stdio::null()).spawn().ok()?;
    // It is there once the process has left ours; a process without the right to ends.
    for _ in 0..500 {
        if keeper.try_wait().ok()?.is_some() {
            return None;
        }
        if std::fs::read_link(format!("/proc/{}/ns/net", keeper.id())).is_ok_and(|link| link != own) {
            return Some(keeper);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = keeper.kill();
    let _ = keeper.wait();
    None
}
