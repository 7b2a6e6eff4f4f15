//! The tier `kernel` between interfaces: an exchange and two phones, each in a network namespace of its own, joined by
//! pairs of virtual cards. Needs root; where it is missing the test says so.

use crate::kit::{Exchange, Phone};
use net::offload::{Config, Entrance, Flow, Hook, InDriver, Offload, Reception};
use net::route::Routes;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use words::Time;

/// A network namespace that lives as long as this.
struct Namespace {
    keeper: Child,
    file: File,
}

impl Namespace {
    fn new() -> Option<Self> {
        let mut keeper = Command::new("unshare").args(["--net", "sleep", "300"]).stderr(Stdio::null()).spawn().ok()?;
        let (own, path) = (own_namespace(), format!("/proc/{}/ns/net", keeper.id()));
        // It is there once the process has left ours; a process without the right to ends.
        for _ in 0..500 {
            if keeper.try_wait().ok()?.is_some() {
                return None;
            }
            if std::fs::read_link(&path).is_ok_and(|link| Some(link) != own) {
                let namespace = Namespace { file: File::open(path).ok()?, keeper };
                namespace.ip("link set lo up");
                return Some(namespace);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = keeper.kill();
        None
    }

    /// Moves this thread, and what it starts, here.
    fn enter(&self) {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter");
    }

    fn ip(&self, words: &str) {
        let pid = self.keeper.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &pid, "ip"]).args(words.split(' '));
        assert!(command.status().expect("iproute2 is installed").success(), "ip {words}");
    }

    /// A pair of virtual cards to another namespace.
    fn cable(&self, name: &str, [ours, theirs]: [&str; 2], to: &Namespace) {
        self.ip(&format!("link add {name} type veth peer name {name} netns {}", to.keeper.id()));
        for (side, addresses) in [(self, ours), (to, theirs)] {
            side.ip(&format!("link set {name} up"));
            for address in addresses.split(' ') {
                let nodad = if address.contains(':') { " nodad" } else { "" };
                side.ip(&format!("address add {address} dev {name}{nodad}"));
            }
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn own_namespace() -> Option<std::path::PathBuf> {
    std::fs::read_link("/proc/self/ns/net").ok()
}

/// An exchange between two networks with a phone in each.
struct Office {
    exchange: Exchange,
    middle: Namespace,
    sides: [Namespace; 2],
}

impl Office {
    fn open(address: &str) -> Option<Self> {
        Self::open_with(address, |_| ())
    }

    fn open_with(address: &str, change: impl FnOnce(&mut relay::Config)) -> Option<Self> {
        let (Some(middle), Some(left), Some(right)) = (Namespace::new(), Namespace::new(), Namespace::new()) else {
            eprintln!("skipped: no right to make network namespaces");
            return None;
        };
        middle.cable("left", ["10.77.1.1/24 fd77:1::1/64", "10.77.1.2/24 fd77:1::2/64"], &left);
        middle.cable("right", ["10.77.2.1/24 fd77:2::1/64", "10.77.2.2/24 fd77:2::2/64"], &right);
        // The exchange has one address in its descriptions: the network on the right knows the way to it.
        right.ip("route add 10.77.1.0/24 via 10.77.2.1");
        right.ip("route add fd77:1::/64 via fd77:2::1");
        middle.enter();
        let exchange = Exchange::start_in_kernel_with(address.parse().unwrap(), change)?;
        Some(Office { exchange, middle, sides: [left, right] })
    }

    fn phone(&mut self, n: u16, address: &str) -> Phone {
        let address: IpAddr = address.parse().unwrap();
        self.sides[usize::from(n)].enter();
        let phone = self.exchange.phone_at(n, address);
        self.middle.enter();
        phone
    }
}

fn speak_both(exchange: &Exchange, a: &mut Phone, b: &mut Phone, n: &mut u16) {
    a.speak(*n);
    assert_eq!(b.hear(), *n, "{:?}", exchange.relay.counters());
    b.speak(*n);
    assert_eq!(a.hear(), *n, "{:?}", exchange.relay.counters());
    *n += 1;
}

fn in_thread(test: fn()) {
    // A thread that went into another namespace is not given back to the harness.
    std::thread::spawn(test).join().unwrap();
}

fn carries_between_networks(ours: &str, [left, right]: [&str; 2]) {
    let Some(mut office) = Office::open(ours) else { return };
    let (mut a, mut b) = (office.phone(0, left), office.phone(1, right));
    let exchange = &mut office.exchange;
    exchange.call(&mut a, &mut b);
    let mut n = 0;
    while exchange.relay.counters().packets_carried < 100 {
        assert!(n < 3_000, "nothing is carried: {:?}", exchange.relay.counters());
        speak_both(exchange, &mut a, &mut b, &mut n);
        std::thread::sleep(Duration::from_millis(1));
    }
    let [of_a, of_b] = exchange.close([&a, &b]);
    let n = u64::from(n);
    assert_eq!((of_a.packets_in, of_a.packets_out, of_a.lost), (n, n, 0));
    assert_eq!((of_b.packets_in, of_b.packets_out, of_b.lost), (n, n, 0));
}

#[test]
fn packets_go_from_one_network_to_the_other_without_the_worker() {
    in_thread(|| carries_between_networks("10.77.1.1", ["10.77.1.2", "10.77.2.2"]));
}

#[test]
fn packets_of_ipv6_go_from_one_network_to_the_other_without_the_worker() {
    in_thread(|| carries_between_networks("fd77:1::1", ["fd77:1::2", "fd77:2::2"]));
}

#[test]
fn an_interface_that_goes_away_and_comes_back_is_found_again() {
    in_thread(|| {
        let Some(mut office) = Office::open("10.77.1.1") else { return };
        let (mut a, mut b) = (office.phone(0, "10.77.1.2"), office.phone(1, "10.77.2.2"));
        office.exchange.call(&mut a, &mut b);
        let mut n = 0;
        let carried = |office: &Office| office.exchange.relay.counters().packets_carried;
        while carried(&office) < 50 {
            assert!(n < 3_000, "nothing is carried");
            speak_both(&office.exchange, &mut a, &mut b, &mut n);
            std::thread::sleep(Duration::from_millis(1));
        }
        office.middle.ip("link delete right");
        let [_, right] = &office.sides;
        office.middle.cable("right", ["10.77.2.1/24", "10.77.2.2/24"], right);
        right.ip("route add 10.77.1.0/24 via 10.77.2.1");
        // What was under way is gone; then the worker forwards, and later the kernel again.
        let counters = office.exchange.counters_when(|counters| counters.carried == 0);
        assert_eq!(counters.carried, 0);
        let before = carried(&office);
        while carried(&office) < before + 50 {
            assert!(n < 6_000, "nothing is carried after the change: {:?}", office.exchange.relay.counters());
            speak_both(&office.exchange, &mut a, &mut b, &mut n);
            std::thread::sleep(Duration::from_millis(1));
        }
        office.exchange.close([&a, &b]);
    });
}

/// An IPv4 datagram of 172 bytes of RTP, without a checksum of UDP.
fn frame(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let (IpAddr::V4(a), IpAddr::V4(b)) = (from.ip(), to.ip()) else { panic!("IPv4") };
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0, 0, 200, 0, 7, 0x40, 0, 17, 17, 0, 0]);
    frame.extend([a.octets(), b.octets()].concat());
    frame.extend([from.port().to_be_bytes(), to.port().to_be_bytes(), [0, 180], [0, 0]].concat());
    frame.extend([0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 9]);
    frame.resize(214, 0xd5);
    frame
}

#[test]
fn in_the_driver_a_packet_goes_to_a_known_neighbour_and_up_the_stack_to_an_unknown_one() {
    in_thread(|| {
        let (Some(middle), Some(left), Some(right)) = (Namespace::new(), Namespace::new(), Namespace::new()) else {
            return eprintln!("skipped: no right to make network namespaces");
        };
        middle.cable("left", ["10.77.1.1/24", "10.77.1.2/24"], &left);
        middle.cable("right", ["10.77.2.1/24", "10.77.2.2/24"], &right);
        middle.ip("neighbour add 10.77.2.2 lladdr 02:00:00:00:00:22 dev right nud permanent");
        middle.enter();
        // The lookup of neighbours in the driver wants a host that forwards.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("root may");
        let (entrance, in_driver) = (Entrance::best(), InDriver::Any);
        let of = |address: &str| Some(address.parse().unwrap());
        let config = Config { flows: 4, addresses: [of("0.0.0.0"), None], in_driver, entrance };
        let offload = match Offload::open(config) {
            Ok(offload) => offload,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        let names: BTreeSet<(String, Hook)> = offload.interfaces().into_iter().collect();
        let expected =
            [("left", Hook::Tc), ("left", Hook::Xdp), ("lo", Hook::Tc), ("right", Hook::Tc), ("right", Hook::Xdp)];
        assert_eq!(names, expected.map(|(name, hook)| (name.to_owned(), hook)).into_iter().collect());
        assert_eq!(offload.standing().refused, []);
        let interfaces = Routes::open().and_then(|routes| routes.interfaces()).unwrap();
        let number = |name: &str| interfaces.iter().find(|interface| interface.name == name).unwrap().index;
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let flow = |target: &str| Flow {
            local: at("10.77.1.1:4000"),
            remote: at("10.77.1.2:5000"),
            source: at("10.77.2.1:4002"),
            target: at(target),
            payload_types: 1,
            paced: 1,
            clock_hz: 8_000,
            interface: Some(number("right")),
            header: None,
            dscp: 46,
        };
        let mut flows = offload.flows(0, 1);
        let sent = frame(flow("10.77.2.2:6000").remote, flow("10.77.2.2:6000").local);

        let mut id = flows.install(&flow("10.77.2.2:6000"), &Reception::default(), Time::ZERO).unwrap();
        let (said, out) = offload.try_frame_at(number("left"), &sent).unwrap();
        assert_eq!((said, &out[..6]), (XDP_REDIRECT, &[2, 0, 0, 0, 0, 0x22][..]));
        assert_eq!((&out[26..34], &out[34..38]), (&[10, 77, 2, 1, 10, 77, 2, 2][..], &[0x0f, 0xa2, 0x17, 0x70][..]));
        let sum: u32 = out[14..34].chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the checksum of IPv4");
        assert_eq!((&out[40..42], &out[42..]), (&[0, 0][..], &sent[42..]));
        assert_eq!(flows.pause(&mut id).0.packets, 1);
        flows.remove(id, Time::ZERO);

        let mut id = flows.install(&flow("10.77.2.9:6000"), &Reception::default(), Time::ZERO).unwrap();
        let (said, out) = offload.try_frame_at(number("left"), &sent).unwrap();
        assert_eq!((said, out == sent, flows.pause(&mut id).0.packets), (XDP_PASS, true, 0));

        // A card whose driver has no programme of ours may not take frames: what leaves there is sent from tc.
        drop((flows, offload));
        let offload = Offload::open(Config { addresses: [of("10.77.1.1"), None], ..config }).unwrap();
        assert_eq!(offload.interfaces().iter().filter(|(_, hook)| *hook == Hook::Xdp).count(), 1);
        let mut flows = offload.flows(0, 1);
        let mut id = flows.install(&flow("10.77.2.2:6000"), &Reception::default(), Time::ZERO).unwrap();
        let (said, out) = offload.try_frame_at(number("left"), &sent).unwrap();
        assert_eq!((said, out == sent, flows.pause(&mut id).0.packets), (XDP_PASS, true, 0));
    });
}

/// A phone whose packets come by a virtual card is heard although `media.xdp` is on: frames sent from the driver of
/// such a card lie in the ring of the other.
#[test]
fn between_virtual_cards_xdp_is_not_used_and_calls_go_on_at_tc() {
    in_thread(|| {
        let Some(mut office) = Office::open_with("10.77.1.1", |config| config.xdp = true) else { return };
        let why = office.exchange.relay.tier_now().look();
        assert_eq!(why.to_string().matches("is no network card of its own").count(), 1, "{why}");
        let (mut a, mut b) = (office.phone(0, "10.77.1.2"), office.phone(1, "10.77.2.2"));
        office.exchange.call(&mut a, &mut b);
        let mut n = 0;
        while office.exchange.relay.counters().packets_carried < 50 {
            assert!(n < 3_000, "nothing is carried: {:?}", office.exchange.relay.counters());
            speak_both(&office.exchange, &mut a, &mut b, &mut n);
            std::thread::sleep(Duration::from_millis(1));
        }
        // The present state is told, not that of the start.
        office.middle.ip("link delete left");
        let now = office.exchange.relay.tier_now().look();
        assert_eq!(now.to_string(), "kernel (tc on lo)");
        assert_ne!(office.exchange.relay.tier(), &now);
        office.exchange.close([&a, &b]);
    });
}

const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;
