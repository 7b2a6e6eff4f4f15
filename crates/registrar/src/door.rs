//! Who comes in: the challenge and the count of wrong passwords, put together once so that no caller can forget a part.

use crate::challenge::{Challenger, Presented, Verdict};
use crate::directory::{AlgorithmPolicy, User};
use crate::throttle::{Ban, Sender, Throttle};
use serde::{Deserialize, Serialize};
use sip::Message;
use std::net::{IpAddr, SocketAddr};
use words::{Chance, Time, UserId};

/// The one way in.
///
/// A source has ten wrong answers at once and one a minute from then on; see [`Throttle`] for who is spared, and for what
/// somebody who guesses can do at most.
#[derive(Serialize, Deserialize)]
pub struct Door {
    challenger: Challenger,
    throttle: Throttle,
    #[serde(skip)]
    throttled: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It comes from the user.
    Admitted,
    /// Ask for the password: 401 or 407 with what [`Door::challenge`] gives.
    Challenge {
        /// The nonce was at fault, not the password.
        stale: bool,
        /// The password was wrong; for counters.
        wrong: bool,
    },
    /// Its credentials prove nothing. It counts, and gets its answer, with [`Door::count`]: after whoever asks has made
    /// sure that this takes as long for users who exist.
    Wrong(Miss),
    /// Answer this.
    Refused {
        /// The status.
        status: u16,
        /// The reason phrase.
        reason: &'static str,
    },
}

/// A wrong answer that was not counted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    sender: Sender,
    user: Option<UserId>,
    /// Whether a password was looked at.
    judged: bool,
}

impl Door {
    /// A door that counts wrong passwords when `throttled`. `secret` comes from the stream for secrets.
    pub fn new(secret: Chance, throttled: bool, now: Time) -> Self {
        Door { challenger: Challenger::new(secret, now), throttle: Throttle::new(), throttled }
    }

    /// Takes the configuration of this start: a snapshot has none.
    pub fn configure(&mut self, throttled: bool) {
        self.throttled = throttled;
    }

    /// Reads the credentials in `message`, which came from `source`.
    pub fn read<'m>(&self, message: &'m Message, source: IpAddr, now: Time) -> Presented<'m> {
        self.challenger.read(message, source, now)
    }

    /// Decides on a request from `source` to `realm`. `user` is whom its credentials name, `None` when nobody is called so.
    /// `bound` says that the user has a binding from this source ([`crate::Registrar::is_bound_from`]), which counts as
    /// having been let in: after a restart that is all that is known.
    pub fn admit(
        &mut self,
        presented: &Presented<'_>,
        realm: &str,
        user: Option<&User>,
        source: SocketAddr,
        bound: bool,
        now: Time,
    ) -> Admission {
        let sender = Sender::of(presented.message(), source);
        let judged = user.filter(|user| self.is_heard(user.id, sender, bound, now));
        // Whoever is out of tries is judged like a stranger: the same work, and no word on whether it was right.
        match self.challenger.check(presented, realm, judged, now) {
            Verdict::Ok => {
                let Some(user) = judged else { return OUT_OF_TRIES };
                if self.throttled {
                    self.throttle.succeeded(source, user.id, now);
                }
                if user.enabled { Admission::Admitted } else { DISABLED }
            }
            Verdict::NoCredentials => Admission::Challenge { stale: false, wrong: false },
            Verdict::Stale => Admission::Challenge { stale: true, wrong: false },
            Verdict::Wrong => {
                Admission::Wrong(Miss { sender, user: user.map(|user| user.id), judged: judged.is_some() })
            }
            Verdict::Malformed(reason) => Admission::Refused { status: 400, reason },
        }
    }

    /// Counts a wrong answer: it is challenged again, or refused.
    pub fn count(&mut self, miss: Miss, now: Time) -> Admission {
        if !self.throttled {
            return Admission::Challenge { stale: false, wrong: true };
        }
        let Miss { sender, user, judged } = miss;
        let unheard = user.is_some() && !judged;
        let out = self.throttle.is_out(sender.source().ip(), now) || unheard;
        // A try that nobody looked at is no guess at the password; the source pays for it like for any other.
        self.throttle.failed(sender, user.filter(|_| judged), now);
        if out { OUT_OF_TRIES } else { Admission::Challenge { stale: false, wrong: true } }
    }

    /// The values of WWW-Authenticate (or Proxy-Authenticate) for a client at `source`, one header line each.
    pub fn challenge(
        &mut self,
        realm: &str,
        policy: AlgorithmPolicy,
        stale: bool,
        source: IpAddr,
        now: Time,
    ) -> Vec<String> {
        self.challenger.challenge(realm, policy, stale, source, now)
    }

    /// The user's password changed or the user is gone.
    pub fn forget_user(&mut self, user: UserId) {
        self.challenger.forget_user(user);
        self.throttle.forget_user(user);
    }

    /// Who is out of tries at the moment.
    pub fn bans(&self, now: Time) -> Vec<Ban> {
        self.throttle.bans(now)
    }

    /// Forgives a source everything; `false` when it had nothing to forgive.
    pub fn unban(&mut self, source: IpAddr) -> bool {
        self.throttle.unban(source)
    }

    fn is_heard(&mut self, user: UserId, sender: Sender, bound: bool, now: Time) -> bool {
        if !self.throttled {
            return true;
        }
        let ip = sender.source().ip();
        if bound && !self.throttle.is_proven(ip, user) {
            // From which port is not known, and it must not be whichever asks now.
            self.throttle.succeeded(SocketAddr::new(ip, 0), user, now);
        }
        self.throttle.may_try(sender, user, now)
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.throttle.entries()
    }
}

const DISABLED: Admission = Admission::Refused { status: 403, reason: "Forbidden: this user is disabled" };
const OUT_OF_TRIES: Admission = Admission::Refused { status: 403, reason: "Forbidden: too many wrong passwords" };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::{Register, address, answer, at, user};
    use words::Seed;

    const CONTACT: &str = "<sip:101@10.0.0.4:5060>";
    const AGAIN: Admission = Admission::Challenge { stale: false, wrong: true };
    const STALE: Admission = Admission::Challenge { stale: true, wrong: false };
    const NOT_ASKED: Admission = Admission::Challenge { stale: false, wrong: false };

    struct Office {
        door: Door,
        now: Time,
    }

    impl Office {
        fn new() -> Self {
            Office { door: Door::new(Chance::new(Seed::from_number(1)), true, at(0)), now: at(1_000) }
        }

        fn ask(&mut self, source: &str) -> String {
            let realm = crate::kit::REALM;
            self.door.challenge(realm, AlgorithmPolicy::All, false, address(source).ip(), self.now).swap_remove(0)
        }

        fn send(&mut self, message: &Message, user: Option<&User>, source: &str) -> Admission {
            self.send_bound(message, user, source, false)
        }

        fn send_bound(&mut self, message: &Message, user: Option<&User>, source: &str, bound: bool) -> Admission {
            let realm = crate::kit::REALM;
            let presented = self.door.read(message, address(source).ip(), self.now);
            match self.door.admit(&presented, realm, user, address(source), bound, self.now) {
                Admission::Wrong(miss) => self.door.count(miss, self.now),
                admission => admission,
            }
        }

        /// Asks for a challenge and answers it.
        fn try_password(&mut self, user: Option<&User>, name: &str, password: &str, source: &str) -> Admission {
            self.try_as("call-1", user, name, password, source)
        }

        /// The same under another Call-ID.
        fn try_as(
            &mut self,
            call_id: &str,
            user: Option<&User>,
            name: &str,
            password: &str,
            source: &str,
        ) -> Admission {
            let challenge = self.ask(source);
            let message = Register::new(&[CONTACT]).call_id(call_id).answering(&challenge, name, password, 1);
            self.send(&message, user, source)
        }
    }

    const HERE: &str = "198.51.100.4:5060";

    /// A REGISTER whose Authorization was changed by `change` after it was made.
    fn changed(office: &mut Office, change: impl Fn(String) -> String) -> Admission {
        let challenge = office.ask(HERE);
        let line = change(answer(&challenge, "101", "secret101", 1));
        office.send(&Register::new(&[CONTACT]).header("Authorization", &line).build(), Some(&user(101)), HERE)
    }

    #[test]
    fn the_right_password_comes_in_with_each_algorithm_offered() {
        let mut office = Office::new();
        let realm = crate::kit::REALM;
        let source = address(HERE);
        for (policy, offered) in [
            (AlgorithmPolicy::All, vec!["MD5", "SHA-256", "SHA-512-256"]),
            (AlgorithmPolicy::Md5Only, vec!["MD5"]),
            (AlgorithmPolicy::Sha256Only, vec!["SHA-256"]),
        ] {
            let ann = User { algorithms: policy, ..user(101) };
            let challenges = office.door.challenge(realm, policy, false, source.ip(), office.now);
            let names = challenges.iter().map(|text| sip::digest::Challenge::parse(text).unwrap().algorithm.as_str());
            assert_eq!(names.collect::<Vec<_>>(), offered);
            for (n, challenge) in (1..).zip(&challenges) {
                let message = Register::new(&[CONTACT]).answering(challenge, "101", "secret101", n);
                assert_eq!(office.send(&message, Some(&ann), HERE), Admission::Admitted);
            }
        }
    }

    #[test]
    fn an_algorithm_that_was_not_offered_is_wrong() {
        let mut office = Office::new();
        let ann = User { algorithms: AlgorithmPolicy::Sha256Only, ..user(101) };
        assert_eq!(office.try_password(Some(&ann), "101", "secret101", HERE), AGAIN);
        for algorithm in ["none", "MD5-sess", "SHA-512", "token", "\"\""] {
            let admission =
                changed(&mut office, |line| line.replace("algorithm=MD5", &format!("algorithm={algorithm}")));
            assert!(matches!(admission, Admission::Refused { status: 400, .. }), "{algorithm}: {admission:?}");
        }
        let admission = changed(&mut office, |line| line.replace("algorithm=MD5", "algorithm=SHA-256"));
        assert_eq!(admission, AGAIN);
        // Without the parameter it is MD5.
        assert_eq!(changed(&mut office, |line| line.replace(", algorithm=MD5", "")), Admission::Admitted);
    }

    #[test]
    fn an_answer_that_could_be_used_again_is_refused() {
        let mut office = Office::new();
        for (from, to) in [
            (", qop=auth", ""),
            ("qop=auth", "qop=auth-int"),
            ("qop=auth", "qop=none"),
            (", nc=00000001", ""),
            ("nc=00000001", "nc=00000000"),
            ("nc=00000001", "nc=1"),
            ("nc=00000001", "nc=100000001"),
            ("nc=00000001", "nc=-0000001"),
            ("nc=00000001", "nc=0000000g"),
            (", cnonce=\"0a4f113b\"", ""),
            ("0a4f113b", ""),
            ("uri=\"sip:office.example\"", "uri=\"sip:other.example\""),
            ("uri=\"sip:office.example\"", "uri=\"\""),
            ("Digest ", "Digest nc=00000002, "),
            ("Digest ", "Digest username=\"102\", "),
            (", nonce=", ", nonsense="),
        ] {
            let admission = changed(&mut office, |line| {
                assert!(line.contains(from), "{line} has no {from}");
                line.replacen(from, to, 1)
            });
            assert!(matches!(admission, Admission::Refused { status: 400, .. }), "{from} -> {to}: {admission:?}");
        }
    }

    #[test]
    fn what_was_signed_cannot_be_changed() {
        let mut office = Office::new();
        for (from, to) in [
            ("nc=00000001", "nc=00000002"),
            ("0a4f113b", "0a4f113c"),
            ("username=\"101\"", "username=\"102\""),
            ("uri=\"sip:office.example\"", "uri=\"sip:office.example:5060\""),
            ("response=\"", "response=\"0"),
        ] {
            assert_eq!(changed(&mut office, |line| line.replacen(from, to, 1)), AGAIN, "{from} -> {to}");
        }
        assert_eq!(changed(&mut office, |line| line), Admission::Admitted);
        // Credentials for another realm are another server's: they prove nothing here, and are no guess.
        let realm = |line: String| line.replacen("realm=\"office.example\"", "realm=\"other.example\"", 1);
        assert_eq!(changed(&mut office, realm), NOT_ASKED);
        // The method is signed too.
        let challenge = office.ask(HERE);
        let line = answer(&challenge, "101", "secret101", 1);
        let invite = Register::new(&[]).header("Authorization", &line).build();
        let invite = String::from_utf8(invite.bytes().to_vec()).unwrap().replace("REGISTER", "INVITE");
        let invite = Message::parse(bytes::Bytes::from(invite)).unwrap();
        assert_eq!(office.send(&invite, Some(&user(101)), HERE), AGAIN);
    }

    #[test]
    fn a_captured_answer_is_worth_nothing() {
        let mut office = Office::new();
        let ann = user(101);
        let challenge = office.ask(HERE);
        let first = Register::new(&[CONTACT]).answering(&challenge, "101", "secret101", 1);
        assert_eq!(office.send(&first, Some(&ann), HERE), Admission::Admitted);
        assert_eq!(office.send(&first, Some(&ann), HERE), STALE);
        // Counts may leave gaps, up to the last there is, and none comes twice.
        for count in [2, 5, u32::MAX] {
            let next = Register::new(&[CONTACT]).answering(&challenge, "101", "secret101", count);
            assert_eq!(office.send(&next, Some(&ann), HERE), Admission::Admitted);
            assert_eq!(office.send(&next, Some(&ann), HERE), STALE);
        }
        assert_eq!(office.send(&first, Some(&ann), HERE), STALE);
        assert!(office.door.bans(office.now).is_empty());
        // From another address not even an unused one is.
        let unused = Register::new(&[CONTACT]).answering(&office.ask(HERE), "101", "secret101", 1);
        assert_eq!(office.send(&unused, Some(&ann), "203.0.113.9:5060"), STALE);
        assert_eq!(office.send(&unused, Some(&ann), "198.51.100.4:777"), Admission::Admitted);
    }

    #[test]
    fn an_old_nonce_is_stale_whatever_the_password_and_costs_no_try() {
        let mut office = Office::new();
        let ann = user(101);
        let challenge = office.ask(HERE);
        office.now += std::time::Duration::from_mins(6);
        for _ in 0..50 {
            for password in ["secret101", "wrong"] {
                let message = Register::new(&[CONTACT]).answering(&challenge, "101", password, 1);
                assert_eq!(office.send(&message, Some(&ann), HERE), STALE);
                assert_eq!(office.send(&message, None, HERE), STALE);
            }
        }
        assert_eq!(office.try_password(Some(&ann), "101", "secret101", HERE), Admission::Admitted);
    }

    #[test]
    fn a_restart_makes_nonces_stale_and_the_next_answer_right() {
        let mut before = Office::new();
        let challenge = before.ask(HERE);
        let mut office = Office::new();
        office.door = Door::new(Chance::new(Seed::from_number(2)), true, at(0));
        let message = Register::new(&[CONTACT]).answering(&challenge, "101", "secret101", 1);
        assert_eq!(office.send(&message, Some(&user(101)), HERE), STALE);
        assert_eq!(office.try_password(Some(&user(101)), "101", "secret101", HERE), Admission::Admitted);
    }

    #[test]
    fn a_disabled_user_hears_so_only_with_the_right_password() {
        let mut office = Office::new();
        let ann = User { enabled: false, ..user(101) };
        assert_eq!(office.try_password(Some(&ann), "101", "wrong", HERE), AGAIN);
        assert_eq!(office.try_password(Some(&ann), "101", "secret101", HERE), DISABLED);
    }

    #[test]
    fn basic_is_neither_taken_nor_asked_for() {
        let mut office = Office::new();
        let ann = user(101);
        // 101:secret101
        let basic = Register::new(&[CONTACT]).header("Authorization", "Basic MTAxOnNlY3JldDEwMQ==").build();
        assert!(matches!(office.send(&basic, Some(&ann), HERE), Admission::Challenge { stale: false, .. }));
        assert!(office.ask(HERE).starts_with("Digest "));
    }

    #[test]
    fn credentials_for_another_realm_or_scheme_are_passed_over() {
        let mut office = Office::new();
        let ann = user(101);
        let line = answer(&office.ask(HERE), "101", "secret101", 1);
        let foreign = "Digest username=\"101\", realm=\"x\", nonce=\"y\", uri=\"sip:x\", response=\"z\"";
        let message = Register::new(&[CONTACT])
            .header("Authorization", "Basic MTAxOnNlY3JldA==")
            .header("Authorization", "Digest broken")
            .header("Authorization", foreign)
            .header("Proxy-Authorization", &line)
            .build();
        assert_eq!(office.send(&message, Some(&ann), HERE), Admission::Admitted);
        let basic = Register::new(&[CONTACT]).header("Authorization", "Basic MTAxOnNlY3JldA==").build();
        assert_eq!(office.send(&basic, Some(&ann), HERE), Admission::Challenge { stale: false, wrong: false });
        let broken = Register::new(&[CONTACT]).header("Authorization", "Digest username=\"101").build();
        assert!(matches!(office.send(&broken, Some(&ann), HERE), Admission::Refused { status: 400, .. }));
    }

    #[test]
    fn several_credentials_do_not_tell_who_exists() {
        for extra in [
            "Digest broken",
            "Digest username=\"101\", realm=\"office.example\", nonce=\"y\", uri=\"sip:x\", response=\"z\"",
        ] {
            for wrong_realm in [false, true] {
                let mut heard = Vec::new();
                for known in [Some(user(101)), None] {
                    let mut office = Office::new();
                    let mut line = answer(&office.ask(HERE), "101", "wrong", 1);
                    if wrong_realm {
                        line = line.replace("realm=\"office", "realm=\"other");
                    }
                    for lines in [[extra, &line], [&line, extra], [extra, extra], [&line, &line]] {
                        let message = Register::new(&[CONTACT]).header("Authorization", lines[0]);
                        let message = message.header("Proxy-Authorization", lines[1]).build();
                        heard.push(office.send(&message, known.as_ref(), HERE));
                    }
                }
                assert_eq!(heard[..4], heard[4..]);
            }
        }
    }

    #[test]
    fn known_and_unknown_names_hear_the_same_for_ever() {
        let (mut known, mut unknown) = (Office::new(), Office::new());
        let ann = user(101);
        // Under one Call-ID, and under a new one and from a new port each time.
        for n in 0..800 {
            let step = std::time::Duration::from_secs([0, 1, 7, 60, 200][n % 5]);
            known.now += step;
            unknown.now += step;
            let fresh = n % 400 > 200;
            let (call_id, source) = if fresh {
                (format!("c{n}"), format!("198.51.100.4:{}", 10_000 + n))
            } else {
                ("c".into(), HERE.into())
            };
            let a = known.try_as(&call_id, Some(&ann), "101", "wrong", &source);
            let b = unknown.try_as(&call_id, None, "101", "wrong", &source);
            assert_eq!(a, b, "attempt {n}");
        }
    }

    #[test]
    fn guessing_ends_after_ten_and_the_right_password_elsewhere_still_comes_in() {
        let mut office = Office::new();
        let ann = user(101);
        for _ in 0..10 {
            assert_eq!(office.try_password(Some(&ann), "101", "wrong", HERE), AGAIN);
        }
        for password in ["wrong", "secret101"] {
            assert_eq!(office.try_password(Some(&ann), "101", password, HERE), OUT_OF_TRIES);
        }
        assert_eq!(office.try_password(Some(&ann), "101", "secret101", "203.0.113.9:5060"), Admission::Admitted);
        office.now += std::time::Duration::from_mins(1);
        assert_eq!(office.try_password(Some(&ann), "101", "secret101", HERE), Admission::Admitted);
    }

    /// After `user reset`, or after a restart that outlived the binding: nobody was let in from there with this password.
    #[test]
    fn the_owner_comes_in_beside_phones_that_repeat_an_old_password() {
        let mut office = Office::new();
        let ann = user(101);
        assert_eq!(office.try_password(Some(&ann), "101", "secret101", HERE), Admission::Admitted);
        office.door.forget_user(ann.id);
        // One keeps its port, another its Call-ID; each tries every ten seconds for two hours.
        for n in 0..720 {
            office.try_as(&format!("desk-{n}"), Some(&ann), "101", "old", HERE);
            office.try_as("conference", Some(&ann), "101", "old", &format!("198.51.100.4:{}", 20_000 + n));
            office.now += std::time::Duration::from_secs(10);
        }
        let fresh = office.try_as("fresh", Some(&ann), "101", "secret101", "198.51.100.4:5062");
        assert_eq!(fresh, Admission::Admitted);
        // From now on it never waits, whatever the others do.
        for n in 0..720 {
            office.try_as(&format!("desk-{n}"), Some(&ann), "101", "old", HERE);
            office.now += std::time::Duration::from_secs(10);
            let again = office.try_as("fresh", Some(&ann), "101", "secret101", "198.51.100.4:5062");
            assert_eq!(again, Admission::Admitted);
        }
    }

    /// The same phone, at the same port and under the same Call-ID, was given the right password.
    #[test]
    fn a_phone_that_was_put_right_waits_a_minute_at_most() {
        let mut office = Office::new();
        let ann = user(101);
        for _ in 0..720 {
            office.try_password(Some(&ann), "101", "old", HERE);
            office.now += std::time::Duration::from_secs(10);
        }
        let mut waits = 0;
        while office.try_password(Some(&ann), "101", "secret101", HERE) != Admission::Admitted {
            office.now += std::time::Duration::from_secs(10);
            waits += 1;
            assert!(waits <= 6, "it waits for longer than a minute");
        }
    }

    /// However a guesser changes its ports and Call-IDs.
    #[test]
    fn no_more_than_twenty_passwords_are_looked_at_at_once() {
        let mut office = Office::new();
        let ann = user(101);
        let mut guess = |n: u32, password: &str| {
            let (call_id, source) = (format!("guess-{n}"), format!("198.51.100.4:{}", 10_000 + n));
            office.try_as(&call_id, Some(&ann), "101", password, &source)
        };
        for n in 0..20 {
            guess(n, "wrong");
        }
        assert_eq!(guess(20, "secret101"), OUT_OF_TRIES);
        for n in 0..20 {
            guess(n, "wrong");
        }
        office.now += std::time::Duration::from_mins(1);
        let one = office.try_as("a", Some(&ann), "101", "wrong", "198.51.100.4:1");
        let two = office.try_as("b", Some(&ann), "101", "secret101", "198.51.100.4:2");
        assert_eq!((one, two), (OUT_OF_TRIES, OUT_OF_TRIES));
        // Elsewhere nobody waits.
        assert_eq!(office.try_password(Some(&ann), "101", "secret101", "203.0.113.9:5060"), Admission::Admitted);
    }

    #[test]
    fn an_office_is_not_shut_out_by_the_phone_with_the_old_password() {
        let mut office = Office::new();
        let colleagues: Vec<User> = (102..150).map(user).collect();
        for _ in 0..1_000 {
            office.try_password(Some(&user(101)), "101", "old", HERE);
        }
        for user in &colleagues {
            let name = user.auth_user.as_str();
            assert_eq!(office.try_password(Some(user), name, &format!("secret{name}"), HERE), Admission::Admitted);
        }
        assert!(office.door.unban(address(HERE).ip()));
        assert_eq!(office.try_password(Some(&user(101)), "101", "secret101", HERE), Admission::Admitted);
    }

    #[test]
    fn the_owner_registers_on_while_its_office_is_used_to_spray_and_to_guess() {
        let mut office = Office::new();
        let ann = user(101);
        assert_eq!(office.try_password(Some(&ann), "101", "secret101", HERE), Admission::Admitted);
        for n in 0..5_000u32 {
            let guesser = format!("198.51.100.4:{}", 10_000 + n);
            office.try_password(None, &format!("stranger{n}"), "1234", &guesser);
            office.try_password(Some(&user(200 + n % 100)), &(200 + n % 100).to_string(), "1234", &guesser);
            office.try_password(Some(&ann), "101", "1234", &guesser);
            if n % 100 == 0 {
                office.now += std::time::Duration::from_secs(1);
                assert_eq!(office.try_password(Some(&ann), "101", "secret101", HERE), Admission::Admitted);
            }
        }
        let guesser = "198.51.100.4:9999";
        assert_eq!(office.try_password(Some(&ann), "101", "1234", guesser), OUT_OF_TRIES);
    }

    #[test]
    fn after_a_restart_a_binding_speaks_for_its_owner() {
        let mut office = Office::new();
        let ann = user(101);
        for _ in 0..20 {
            office.try_password(Some(&ann), "101", "wrong", "198.51.100.4:40000");
        }
        let challenge = office.ask(HERE);
        let message = Register::new(&[CONTACT]).answering(&challenge, "101", "secret101", 1);
        assert_eq!(office.send_bound(&message, Some(&ann), HERE, true), Admission::Admitted);
    }

    #[test]
    fn nobody_fails_in_the_name_of_an_address_that_it_cannot_read_from() {
        let mut office = Office::new();
        let ann = user(101);
        let challenge = office.ask("203.0.113.9:5060");
        for n in 0..100 {
            let message = Register::new(&[CONTACT]).answering(&challenge, "101", "wrong", n + 1);
            assert_eq!(office.send(&message, Some(&ann), HERE), STALE);
        }
        assert_eq!(office.try_password(Some(&ann), "101", "secret101", HERE), Admission::Admitted);
    }

    #[test]
    fn a_hundred_thousand_strangers_leave_nothing_behind() {
        let mut office = Office::new();
        for n in 0..100_000 {
            office.try_password(None, &format!("stranger{n}"), "1234", HERE);
        }
        assert_eq!(office.door.entries(), 1);
        assert_eq!(office.door.bans(office.now).len(), 1);
    }

    #[test]
    fn without_limits_everybody_may_guess() {
        let mut office = Office::new();
        office.door = Door::new(Chance::new(Seed::from_number(1)), false, at(0));
        for _ in 0..100 {
            assert_eq!(office.try_password(Some(&user(101)), "101", "wrong", HERE), AGAIN);
        }
        assert_eq!(office.try_password(Some(&user(101)), "101", "secret101", HERE), Admission::Admitted);
        assert_eq!(office.door.entries(), 0);
    }
}
