//! Who shares an interface with the programme, each test in a network namespace of its own. They need root and say so
//! where it is missing.

use super::tests::another;
use super::*;
use crate::route::Routes;
use aya::programs::links::LinkOrder;
use aya::programs::tc::TcAttachOptions;
use aya::programs::{SchedClassifier, TcAttachType};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

#[expect(unreachable_pub, reason = "it is part of the kit of the tests, too")]
#[path = "../../../../tests/kit/namespace.rs"]
mod namespace;
use namespace::run;

/// Runs a test in a namespace that lives as long as it.
fn alone(test: fn()) {
    if namespace::alone(test).is_none() {
        eprintln!("skipped: no right to make network namespaces");
    }
}

fn config(entrance: Entrance) -> Config {
    let addresses = [Some(Ipv4Addr::UNSPECIFIED.into()), None];
    Config { flows: 1, addresses, in_driver: InDriver::No, entrance }
}

fn open(config: Config) -> Option<Arc<Offload>> {
    match Offload::open(config) {
        Ok(offload) => Some(offload),
        Err(why @ (OffloadError::NotPermitted | OffloadError::NoBpf | OffloadError::Refused(_))) => {
            eprintln!("skipped: {why}");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

/// The kernel's numbers of the programmes on loopback, by filters.
fn on_loopback() -> Vec<u32> {
    let routes = Routes::open().unwrap();
    let lo = routes.interfaces().unwrap().into_iter().find(|interface| interface.name == "lo").unwrap();
    routes.filters(lo.index).unwrap().into_iter().filter_map(|filter| filter.programme).collect()
}

#[test]
fn a_second_exchange_and_a_look_of_the_doctor_leave_the_first_where_it_is() {
    alone(|| {
        for entrance in [Entrance::Clsact, Entrance::Tcx] {
            let Some(first) = open(config(entrance)) else { return };
            let looked = trial(&config(entrance)).unwrap();
            assert_eq!((looked.interfaces, looked.refused), (vec![("lo".to_owned(), Hook::Tc)], vec![]));
            let second = open(config(entrance)).unwrap();
            if entrance == Entrance::Clsact {
                let seats = on_loopback();
                assert!(seats.contains(&first.programme()) && seats.contains(&second.programme()), "{seats:?}");
            }
            for offload in [&first, &second] {
                assert_eq!((offload.refresh().unwrap(), offload.standing().refused), (vec![], vec![]));
            }
            let last = first.programme();
            drop(second);
            assert_eq!(first.refresh().unwrap(), []);
            if entrance == Entrance::Clsact {
                assert_eq!(on_loopback(), [last]);
            }
        }
        assert_eq!(on_loopback(), []);
    });
}

#[test]
fn what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not() {
    const HOLDS: &str = "CROSSPOINT_TEST_HOLDS_CLSACT";
    if std::env::var_os(HOLDS).is_some() {
        if let Some(offload) = open(config(Entrance::Clsact)) {
            println!("programme {}", offload.programme());
            std::thread::sleep(Duration::from_mins(1));
        }
        return;
    }
    alone(|| {
        let Some(living) = open(config(Entrance::Clsact)) else { return };
        let name = "offload::entrances::what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not";
        let (mut other, dead) = another(name, HOLDS);
        assert!(on_loopback().contains(&dead));
        let next = open(config(Entrance::Clsact)).unwrap();
        assert!(on_loopback().contains(&dead), "it is alive");
        drop(next);
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(on_loopback().contains(&dead), "before 6.6 the kernel keeps it");
        let next = open(config(Entrance::Clsact)).unwrap();
        let seats = on_loopback();
        assert!(!seats.contains(&dead) && seats.contains(&living.programme()), "{seats:?}");
        assert!(seats.contains(&next.programme()));
    });
}

#[test]
fn a_programme_that_was_taken_off_is_put_there_again() {
    alone(|| {
        let Some(offload) = open(config(Entrance::Clsact)) else { return };
        run("tc filter del dev lo ingress");
        assert_eq!(on_loopback(), []);
        assert_eq!(offload.refresh().unwrap(), [Change::Lost("lo".into())]);
        assert_eq!((on_loopback(), offload.refresh().unwrap()), (vec![offload.programme()], vec![]));
    });
}

#[test]
fn whoever_sees_packets_before_ours_is_named() {
    alone(|| {
        let Some(offload) = open(config(Entrance::Clsact)) else { return };
        // A classic programme that lets all pass.
        let all = Command::new("tc")
            .args(["filter", "add", "dev", "lo", "ingress", "prio", "1", "bpf", "da", "bytecode", "1,6 0 0 0,"])
            .status();
        assert!(all.unwrap().success());
        let ahead = OffloadError::Ahead { interface: "lo".into(), programme: "bpf".into() };
        assert_eq!(offload.refresh().unwrap(), [Change::Refused(ahead.clone())]);
        assert_eq!(ahead.diagnosis(), Some(Diagnosis::KernelTierOccupied));
        assert_eq!(OffloadError::Full(1).diagnosis(), Some(Diagnosis::KernelTierFull));
        assert_eq!(trial(&config(Entrance::Clsact)).unwrap().refused, std::slice::from_ref(&ahead));
        run("tc filter del dev lo ingress prio 1");
        assert_eq!(offload.refresh().unwrap(), [Change::Cleared(ahead)]);
    });
}

/// An object with a programme `foreign` that lets all packets pass to the sockets.
fn foreign() -> Option<Vec<u8>> {
    const SOURCE: &str = "__attribute__((section(\"classifier\"), used)) int foreign(void *skb) { return 0; }\n\
        __attribute__((section(\"license\"), used)) const char terms[] = \"GPL\";\n";
    let at = |ending: &str| -> PathBuf {
        std::env::temp_dir().join(format!("crosspoint-foreign-{}.{ending}", std::process::id()))
    };
    std::fs::write(at("c"), SOURCE).ok()?;
    let made =
        Command::new("clang").args(["-O2", "-target", "bpfel", "-c"]).arg(at("c")).arg("-o").arg(at("o")).status();
    let read = std::fs::read(at("o"));
    for file in [at("c"), at("o")] {
        _ = std::fs::remove_file(file);
    }
    made.is_ok_and(|status| status.success()).then_some(read.ok()).flatten()
}

#[test]
fn ours_comes_first_and_who_comes_before_it_later_is_named() {
    if Entrance::best() != Entrance::Tcx {
        return eprintln!("skipped: kernels before 6.6 have no tcx");
    }
    alone(|| {
        let Some(object) = foreign() else { return eprintln!("skipped: clang is not installed") };
        let mut other = aya::Ebpf::load(&object).unwrap();
        let foreign: &mut SchedClassifier = other.program_mut("foreign").unwrap().try_into().unwrap();
        foreign.load().unwrap();
        let mut attach = |order| {
            let id =
                foreign.attach_with_options("lo", TcAttachType::Ingress, TcAttachOptions::TcxOrder(order)).unwrap();
            foreign.take_link(id).unwrap()
        };
        let link = attach(LinkOrder::last());
        let Some(offload) = open(config(Entrance::Tcx)) else { return };
        assert_eq!(offload.standing().refused, []);
        drop(link);
        let link = attach(LinkOrder::first());
        let ahead = OffloadError::Ahead { interface: "lo".into(), programme: "foreign".into() };
        assert_eq!(offload.refresh().unwrap(), [Change::Refused(ahead.clone())]);
        assert_eq!(trial(&config(Entrance::Tcx)).unwrap().refused, std::slice::from_ref(&ahead));
        drop(link);
        assert_eq!(offload.refresh().unwrap(), [Change::Cleared(ahead)]);
    });
}

#[test]
fn interfaces_that_cannot_be_served_are_named_with_the_reason() {
    alone(|| {
        run("ip tuntap add dev tun0 mode tun");
        run("ip address add 10.79.1.1/24 dev tun0");
        run("ip link set tun0 up");
        run("ip link add card0 type veth peer name card1");
        run("ip address add 10.79.2.1/24 dev card0");
        run("ip link set card0 up");
        let config = Config { in_driver: InDriver::Cards, ..config(Entrance::best()) };
        let Some(offload) = open(config) else { return };
        let standing = offload.standing();
        let served = [("lo".to_owned(), Hook::Tc), ("card0".to_owned(), Hook::Tc)];
        assert!(served.iter().all(|place| standing.interfaces.contains(place)), "{standing:?}");
        assert_eq!(standing.interfaces.len(), 2);
        let mut refused = standing.refused.clone();
        refused.sort_by_key(ToString::to_string);
        assert_eq!(refused, [OffloadError::NoCard("card0".into()), OffloadError::NoFrames("tun0".into())]);
        assert_eq!(trial(&config).unwrap(), standing);
        run("ip link delete card0");
        let gone = Change::Went("card0".into(), Hook::Tc);
        assert_eq!(offload.refresh().unwrap(), [gone, Change::Cleared(OffloadError::NoCard("card0".into()))]);
    });
}
