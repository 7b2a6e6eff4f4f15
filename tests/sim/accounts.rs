//! Two accounts on one exchange never meet.

use crate::flows::{SEEDS, connect, secs, wait};
use switch::Command;
use tests::sim::{Do, PhoneId, Site, World, for_seeds};

/// Two accounts with the same two extensions.
fn neighbours(seed: u64) -> (World, [PhoneId; 2], [PhoneId; 2]) {
    let mut world = World::new(seed);
    let shop = world.account("shop");
    let office = [world.phone("101"), world.phone("102")];
    let theirs = ["101", "102"].map(|extension| world.add(Site::new(extension).of(shop)));
    world.register(&office);
    world.register(&theirs);
    (world, office, theirs)
}

#[test]
fn the_same_extension_of_two_accounts_is_two_phones() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ours, theirs) = neighbours(seed);
        connect(&mut world, ours[0], ours[1], "102");
        assert!(theirs.iter().all(|&phone| world.at_phone(phone).lines.is_empty()));
        connect(&mut world, theirs[1], theirs[0], "101");
        assert!(world.talk(ours[0], ours[1]));
        assert!(!world.hears(ours[0], theirs[0]));
        let cdrs = world.finish();
        assert_eq!(cdrs.len(), 2);
        assert_ne!(cdrs[0].account, cdrs[1].account);
    });
}

#[test]
fn nobody_sees_the_calls_or_phones_of_the_other() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ours, _) = neighbours(seed);
        connect(&mut world, ours[0], ours[1], "102");
        let office = world.office;
        let shop = words::AccountId(office.0 + 1);
        let count = |world: &mut World, account| match (
            world.command(Command::Calls { account: Some(account) }),
            world.command(Command::Phones { account: Some(account) }),
        ) {
            (switch::Reply::Calls(calls), switch::Reply::Phones(phones)) => (calls.len(), phones.len()),
            other => panic!("{other:?}"),
        };
        assert_eq!((count(&mut world, office), count(&mut world, shop)), ((1, 2), (0, 2)));
        world.finish();
    });
}

#[test]
fn a_user_of_one_account_is_a_stranger_to_the_other() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ours, theirs) = neighbours(seed);
        world.phone_mut(ours[0]).identity.host = "shop.example".into();
        world.tell(ours[0], Do::call("102"));
        world.tell(ours[0], Do::Register(600));
        world.pass(secs(3));
        wait(&mut world, 1, |world| world.is_over(ours[0]));
        assert_eq!(world.line(ours[0]).status(), Some(401));
        assert_eq!(world.at_phone(ours[0]).registration.statuses().last(), Some(&401));
        assert!(theirs.iter().all(|&phone| world.at_phone(phone).lines.is_empty()));
        assert!(world.finish().is_empty());
    });
}
