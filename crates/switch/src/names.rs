//! What DNS said, kept for its time, and those who wait for what it says.

use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use words::dns::{Answer, Question, Records};
use words::{Time, TimerQueue, TimerToken};

/// Answers kept, and those who wait for answers.
///
/// Limits: [`NAMES`] answers (the oldest go first), [`QUESTIONS`] open questions, [`WAITING`] waiting for each.
#[derive(Serialize, Deserialize)]
pub(crate) struct Names<W> {
    known: HashMap<Question, Known>,
    /// Questions in the order in which they were answered first, to forget the oldest when there are too many.
    order: VecDeque<Question>,
    asked: HashMap<Question, Asked<W>>,
    timers: TimerQueue<Question>,
    unasked: VecDeque<Question>,
}

#[derive(Serialize, Deserialize)]
struct Known {
    answer: Answer,
    /// Until when it is believed.
    until: Time,
    /// When DNS said so.
    said: Time,
}

#[derive(Serialize, Deserialize)]
struct Asked<W> {
    waiting: Vec<W>,
    timer: TimerToken,
}

impl<W> Names<W> {
    pub(crate) fn new(now: Time) -> Self {
        Names {
            known: HashMap::new(),
            order: VecDeque::new(),
            asked: HashMap::new(),
            timers: TimerQueue::new(now),
            unasked: VecDeque::new(),
        }
    }

    /// What DNS says, as far as it said it lately.
    pub(crate) fn look(&self, question: &Question, now: Time) -> Option<&Answer> {
        self.known.get(question).filter(|known| now < known.until).map(|known| &known.answer)
    }

    /// Asks what nobody asks already. `waiter` waits for the first of the answers; it comes back when too much is asked.
    pub(crate) fn ask(&mut self, questions: Vec<Question>, waiter: W, now: Time) -> Result<(), W> {
        let Some(first) = questions.first().cloned() else { return Err(waiter) };
        for question in questions {
            if self.asked.contains_key(&question) || self.asked.len() >= QUESTIONS {
                continue;
            }
            let timer = self.timers.insert(now + PATIENCE, question.clone());
            self.unasked.push_back(question.clone());
            self.asked.insert(question, Asked { waiting: Vec::new(), timer });
        }
        match self.asked.get_mut(&first).filter(|asked| asked.waiting.len() < WAITING) {
            Some(asked) => {
                asked.waiting.push(waiter);
                Ok(())
            }
            None => Err(waiter),
        }
    }

    /// Takes in what DNS says and gives back those who waited for it.
    pub(crate) fn answer(&mut self, question: &Question, answer: Answer, now: Time) -> Vec<W> {
        let Some(asked) = self.asked.remove(question) else { return Vec::new() };
        self.timers.cancel(asked.timer);
        self.keep(question, answer, now);
        asked.waiting
    }

    fn keep(&mut self, question: &Question, answer: Answer, now: Time) {
        let silent = answer.records == Records::Silence;
        // While DNS is silent, what it said before is better than nothing (RFC 8767).
        if silent && let Some(known) = self.known.get_mut(question).filter(|known| is_worth_keeping(known, now)) {
            known.until = now + SILENCE_KEPT;
            return;
        }
        let (least, most) = match answer.records {
            Records::Silence => (SILENCE_KEPT, SILENCE_KEPT),
            Records::Nothing => (SHORTEST, NOTHING_KEPT),
            Records::Addresses(_) | Records::Naptr(_) | Records::Srv(_) => (SHORTEST, LONGEST),
        };
        let ttl = answer.ttl.clamp(least, most);
        let known = Known { answer: Answer { ttl, ..answer }, until: now + ttl, said: now };
        if self.known.insert(question.clone(), known).is_none() {
            self.order.push_back(question.clone());
        }
        while self.order.len() > NAMES {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// The next question for the resolver.
    pub(crate) fn poll(&mut self) -> Option<Question> {
        self.unasked.pop_front()
    }

    /// A question that nobody answered in time.
    pub(crate) fn overdue(&mut self, now: Time) -> Option<Question> {
        self.timers.pop(now)
    }

    pub(crate) fn next_at(&self) -> Option<Time> {
        self.timers.next_at()
    }

    /// How many questions are open.
    pub(crate) fn waiting(&self) -> usize {
        self.asked.len()
    }
}

impl<W> Default for Names<W> {
    fn default() -> Self {
        Names::new(Time::ZERO)
    }
}

fn is_worth_keeping(known: &Known, now: Time) -> bool {
    known.answer.records != Records::Silence && now.since(known.said) < STALE
}

/// The most answers kept.
const NAMES: usize = 20_000;
/// The most open questions.
const QUESTIONS: usize = 1_000;
/// The most that wait for one answer.
const WAITING: usize = 1_000;
/// How long the resolver has. It gives up by itself after two seconds.
const PATIENCE: Duration = Duration::from_millis(2_400);
/// The shortest that an answer is believed: a TTL of 0 would ask for each call, and again within it.
const SHORTEST: Duration = Duration::from_secs(5);
/// The longest that an answer is believed.
const LONGEST: Duration = Duration::from_hours(24);
/// The longest that "there is no such thing" is believed: whoever sets DNS right should not wait long.
const NOTHING_KEPT: Duration = Duration::from_mins(1);
/// How long it is believed that DNS is silent.
const SILENCE_KEPT: Duration = Duration::from_secs(10);
/// How old an answer may be that is used while DNS is silent.
const STALE: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;
    use words::dns::{Address, Kind};

    fn question(name: &str) -> Question {
        Question::new(Kind::A, name)
    }

    fn address(ttl_s: u64) -> Answer {
        let ip = "192.0.2.1".parse().unwrap();
        Answer { records: Records::Addresses(vec![Address { ip, from: None }]), ttl: Duration::from_secs(ttl_s) }
    }

    fn of(records: Records) -> Answer {
        Answer { records, ttl: Duration::from_hours(9) }
    }

    fn asked(names: &mut Names<u8>, name: &str, now: Time) {
        names.ask(vec![question(name)], 1, now).unwrap();
        while names.poll().is_some() {}
    }

    #[test]
    fn many_wait_for_one_question() {
        let mut names = Names::new(Time::ZERO);
        names.ask(vec![question("a"), question("b")], 1, Time::ZERO).unwrap();
        names.ask(vec![question("a")], 2, Time::ZERO).unwrap();
        assert_eq!((names.poll(), names.poll(), names.poll()), (Some(question("a")), Some(question("b")), None));
        assert_eq!(names.answer(&question("b"), address(60), Time::ZERO), Vec::<u8>::new());
        assert_eq!(names.answer(&question("a"), address(60), Time::ZERO), [1, 2]);
        assert_eq!((names.waiting(), names.next_at()), (0, None));
        assert!(names.answer(&question("a"), address(60), Time::ZERO).is_empty(), "nobody asked");
    }

    #[test]
    fn answers_live_for_their_ttl_within_bounds() {
        for (answer, lives_ms) in [
            (address(60), 60_000),
            (address(0), 5_000),
            (address(1_000_000), 86_400_000),
            (of(Records::Nothing), 60_000),
            (of(Records::Silence), 10_000),
        ] {
            let mut names = Names::new(Time::ZERO);
            asked(&mut names, "a", Time::ZERO);
            names.answer(&question("a"), answer.clone(), Time::ZERO);
            let known = |ms| names.look(&question("a"), Time::from_millis(ms)).is_some();
            assert_eq!((known(lives_ms - 1), known(lives_ms)), (true, false), "{answer:?}");
        }
    }

    #[test]
    fn what_dns_said_before_helps_while_it_is_silent() {
        let mut names = Names::new(Time::ZERO);
        asked(&mut names, "a", Time::ZERO);
        names.answer(&question("a"), address(60), Time::ZERO);
        let later = Time::from_millis(100_000);
        asked(&mut names, "a", later);
        names.answer(&question("a"), of(Records::Silence), later);
        assert_eq!(names.look(&question("a"), later).unwrap().records, address(60).records);
        let days = Time::from_millis(90_000_000);
        asked(&mut names, "a", days);
        names.answer(&question("a"), of(Records::Silence), days);
        assert_eq!(names.look(&question("a"), days).unwrap().records, Records::Silence);
    }

    #[test]
    fn an_unanswered_question_comes_back() {
        let mut names = Names::new(Time::ZERO);
        asked(&mut names, "a", Time::ZERO);
        assert_eq!(names.overdue(Time::from_millis(2_399)), None);
        assert_eq!(names.overdue(Time::from_millis(2_400)), Some(question("a")));
        assert_eq!(names.answer(&question("a"), of(Records::Silence), Time::from_millis(2_400)), [1]);
    }

    #[test]
    fn too_much_is_sent_away() {
        let mut names = Names::new(Time::ZERO);
        for n in 0..WAITING {
            names.ask(vec![question("a")], n, Time::ZERO).unwrap();
        }
        assert_eq!(names.ask(vec![question("a")], 7, Time::ZERO), Err(7));
        for n in 1..QUESTIONS {
            names.ask(vec![question(&n.to_string())], n, Time::ZERO).unwrap();
        }
        assert_eq!(names.ask(vec![question("b")], 7, Time::ZERO), Err(7));
        assert_eq!(names.waiting(), QUESTIONS);
    }

    #[test]
    fn the_oldest_answer_is_forgotten_when_there_are_too_many() {
        let mut names = Names::new(Time::ZERO);
        for n in 0..=NAMES {
            asked(&mut names, &n.to_string(), Time::ZERO);
            names.answer(&question(&n.to_string()), address(60), Time::ZERO);
        }
        let known = |name: &str| names.look(&question(name), Time::ZERO).is_some();
        assert!(!known("0") && known("1"));
    }
}
