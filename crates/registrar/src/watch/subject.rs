//! Who is watched: what is known of them, what was printed of it, and who is told.

use super::dialog_info::{self, Line};
use super::document::Document;
use super::package::Package;
use super::pidf::{self, Known, Status};
use super::reginfo::{self, Departure, Registered};
use super::summary::{self, Messages};
use serde::{Deserialize, Serialize};
use words::{OwnMap, UserId};

/// Everybody who is watched. Of others nothing is kept here.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Subjects {
    of: OwnMap<UserId, Box<Subject>>,
    /// How many subscriptions ask about calls.
    about_calls: usize,
}

/// Somebody who is watched.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Subject {
    /// `sip:extension@domain`.
    pub(crate) entity: Box<str>,
    lines: Vec<Line>,
    bound: Vec<Registered>,
    /// How many subscriptions ask about its calls or presence.
    about_calls: usize,
    topics: [Topic; 4],
}

/// One package about somebody.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Topic {
    /// The slots of subscriptions, in no order that means anything.
    watchers: Vec<u32>,
    /// The state as printed last; `None` before anybody was told.
    document: Option<Document>,
}

impl Subjects {
    pub(crate) fn get(&self, user: UserId) -> Option<&Subject> {
        self.of.get(&user).map(|subject| &**subject)
    }

    pub(crate) fn get_mut(&mut self, user: UserId) -> Option<&mut Subject> {
        self.of.get_mut(&user).map(|subject| &mut **subject)
    }

    pub(crate) fn contains(&self, user: UserId) -> bool {
        self.of.contains_key(&user)
    }

    /// Whether anybody is watched whose calls matter.
    pub(crate) fn ask_about_calls(&self) -> bool {
        self.about_calls > 0
    }

    /// Somebody is watched by one more. Whether it is the first that asks about calls or presence.
    pub(crate) fn enter(&mut self, user: UserId, entity: &str, package: Package, slot: u32) -> bool {
        let about_calls = usize::from(is_about_calls(package));
        self.about_calls += about_calls;
        let subject = self.of.entry(user).or_insert_with(|| {
            Box::new(Subject {
                entity: entity.into(),
                lines: Vec::new(),
                bound: Vec::new(),
                about_calls: 0,
                topics: std::array::from_fn(|_| Topic::default()),
            })
        });
        subject.topics[package as usize].watchers.push(slot);
        subject.about_calls += about_calls;
        about_calls == 1 && subject.about_calls == 1
    }

    /// Somebody is watched by one less; whom nobody watches is forgotten. Whether it was the last that asked about calls
    /// or presence.
    pub(crate) fn leave(&mut self, user: UserId, package: Package, slot: u32) -> bool {
        let Some(subject) = self.of.get_mut(&user) else { return false };
        let topic = &mut subject.topics[package as usize];
        let Some(place) = topic.watchers.iter().position(|&other| other == slot) else { return false };
        topic.watchers.swap_remove(place);
        if topic.watchers.is_empty() {
            *topic = Topic::default();
        }
        let about_calls = usize::from(is_about_calls(package));
        self.about_calls -= about_calls;
        subject.about_calls -= about_calls;
        let last = about_calls == 1 && subject.about_calls == 0;
        if subject.topics.iter().all(|topic| topic.watchers.is_empty()) {
            self.of.remove(&user);
        }
        last
    }
}

impl Subject {
    /// Takes the calls of the user. Whether they differ from what was known.
    pub(crate) fn set_lines(&mut self, lines: Vec<Line>) -> bool {
        let differs = self.lines != lines;
        self.lines = lines;
        differs
    }

    /// Takes the Contacts of the user; gives those that went, and why, or `None` when nothing changed.
    pub(crate) fn set_bound(&mut self, bound: Vec<Registered>, why: Departure) -> Option<Vec<(Registered, Departure)>> {
        let same = self.bound.len() == bound.len() && self.bound.iter().zip(&bound).all(|(old, new)| old.is_like(new));
        let mut gone = std::mem::replace(&mut self.bound, bound);
        if same {
            return None;
        }
        gone.retain(|old| !self.bound.iter().any(|new| new.uri == old.uri));
        Some(gone.into_iter().map(|contact| (contact, why)).collect())
    }

    /// Takes a document that was printed just now. Whether the watchers of that package have to be told.
    pub(crate) fn take(&mut self, package: Package, document: Document) -> bool {
        let topic = &mut self.topics[package as usize];
        if topic.watchers.is_empty() || topic.document.as_ref() == Some(&document) {
            return false;
        }
        topic.document = Some(document);
        true
    }

    /// Whether somebody watches that package.
    pub(crate) fn is_watched(&self, package: Package) -> bool {
        !self.topics[package as usize].watchers.is_empty()
    }

    /// The watchers of a package, to be given back by [`Subject::put_watchers`]: nobody enters or leaves meanwhile.
    pub(crate) fn take_watchers(&mut self, package: Package) -> Vec<u32> {
        std::mem::take(&mut self.topics[package as usize].watchers)
    }

    pub(crate) fn put_watchers(&mut self, package: Package, watchers: Vec<u32>) {
        self.topics[package as usize].watchers = watchers;
    }

    /// The state as printed last.
    pub(crate) fn document(&self, package: Package) -> Option<&Document> {
        self.topics[package as usize].document.as_ref()
    }

    /// Prints the state. `gone` are Contacts that went since it was printed last.
    pub(crate) fn print<'a>(
        &self,
        package: Package,
        messages: Messages,
        published: impl Iterator<Item = &'a Status> + Clone,
        gone: &[(Registered, Departure)],
    ) -> Document {
        let reachable = self.bound.iter().any(|contact| contact.reachable);
        match package {
            Package::Dialog => dialog_info::print(&self.entity, &self.lines, reachable),
            Package::MessageSummary => summary::print(&self.entity, messages),
            Package::Presence => {
                let on_the_phone = self.lines.iter().any(|line| !line.rings());
                pidf::print(&self.entity, Known { reachable, on_the_phone }, published)
            }
            Package::Reg => reginfo::print(&self.entity, &self.bound, gone),
        }
    }
}

const fn is_about_calls(package: Package) -> bool {
    match package {
        Package::Dialog | Package::Presence => true,
        Package::MessageSummary | Package::Reg => false,
    }
}
