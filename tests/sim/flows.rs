//! What several flows begin with.

use std::time::Duration;
use tests::sim::{Do, PhoneId, World};

/// How many seeds a plain flow runs with: they differ in delays, order, tags and times.
pub(crate) const SEEDS: u64 = 20;

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A world with phones 101, 102 and so on, all registered.
pub(crate) fn office<const N: usize>(seed: u64) -> (World, [PhoneId; N]) {
    let mut world = World::new(seed);
    let phones = std::array::from_fn(|n| world.phone(&(101 + n).to_string()));
    world.register(&phones);
    (world, phones)
}

/// Two phones that talk.
pub(crate) fn talking(seed: u64) -> (World, PhoneId, PhoneId) {
    let (mut world, [ann, bob]) = office(seed);
    connect(&mut world, ann, bob, "102");
    (world, ann, bob)
}

/// The second has answered the call of the first, which says `how` it calls and acknowledges nothing.
pub(crate) fn unacknowledged(seed: u64, how: Do) -> (World, PhoneId, PhoneId) {
    let (mut world, [ann, bob]) = office(seed);
    world.phone_mut(ann).habits.acknowledges = false;
    world.tell(ann, how);
    wait(&mut world, 3, |world| world.rings(bob));
    world.tell(bob, Do::Answer);
    (world, ann, bob)
}

/// Lets `caller` call `number` and `callee` answer.
pub(crate) fn connect(world: &mut World, caller: PhoneId, callee: PhoneId, number: &str) {
    world.tell(caller, Do::call(number));
    wait(world, 3, |world| world.rings(callee));
    world.tell_in(millis(200), callee, Do::Answer);
    wait(world, 3, |world| world.talk(caller, callee));
    // Until the last ACK is there.
    world.pass(millis(100));
}

/// The body of the INVITE that called a phone.
pub(crate) fn invite_of(world: &World, phone: PhoneId) -> String {
    String::from_utf8_lossy(world.line(phone).invite.as_ref().expect("it was called").body()).into_owned()
}

/// Lets time pass until something is so.
pub(crate) fn wait(world: &mut World, seconds: u64, is_so: impl Fn(&World) -> bool) {
    assert!(world.until(secs(seconds), is_so), "it did not come to that within {seconds} s");
}
