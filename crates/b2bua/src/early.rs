//! Early media and provisional answers of several legs towards one caller: the first leg that sends a description is
//! heard until one answers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Which leg is heard before an answer, and what the caller was told last.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ear {
    heard: Option<Heard>,
    told: u16,
}

/// A description that was carried to the caller.
#[derive(Debug, Serialize, Deserialize)]
struct Heard {
    leg: u16,
    /// The leg's own body, to know it again in its 200.
    body: Bytes,
    /// What the caller got for it.
    carried: Bytes,
}

/// What to do with a provisional answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    /// Nothing: the caller knows enough.
    Nothing,
    /// Pass the status on.
    Status,
    /// Pass the status and the description on.
    Description,
}

impl Ear {
    /// Decides about a provisional answer of a leg; `body` is its description, if it has one.
    pub(crate) fn decide(&self, leg: u16, status: u16, body: Option<&Bytes>) -> Tell {
        match (&self.heard, body) {
            (Some(heard), _) if heard.leg != leg => Tell::Nothing,
            (Some(heard), Some(body)) if heard.body != *body => Tell::Description,
            (None, Some(_)) => Tell::Description,
            (_, _) if status == self.told => Tell::Nothing,
            // After ringing, progress without a description says nothing new.
            (_, _) if self.told != 0 && status == 183 => Tell::Nothing,
            (_, _) => Tell::Status,
        }
    }

    /// The caller was told a status.
    pub(crate) fn tell(&mut self, status: u16) {
        self.told = status;
    }

    /// The caller was sent `carried` for the `body` of a leg.
    pub(crate) fn hear(&mut self, leg: u16, body: Bytes, carried: Bytes) {
        self.heard = Some(Heard { leg, body, carried });
    }

    /// The leg that the caller hears before the answer; its own number: the exchange itself.
    pub(crate) fn heard(&self) -> Option<u16> {
        self.heard.as_ref().map(|heard| heard.leg)
    }

    /// Whether the caller was told nothing yet.
    pub(crate) fn is_silent(&self) -> bool {
        self.told == 0
    }

    /// The status told last, 0 when none, and the description that goes with it.
    pub(crate) fn last(&self) -> (u16, Option<Bytes>) {
        (self.told, self.heard.as_ref().map(|heard| heard.carried.clone()))
    }

    /// What the caller got for this very body of this leg, or for its last when it has none now: a 200 often repeats
    /// what its 183 said, or leaves it out.
    pub(crate) fn carried(&self, leg: u16, body: &Bytes) -> Option<Bytes> {
        let heard = self.heard.as_ref()?;
        (heard.leg == leg && (body.is_empty() || heard.body == *body)).then(|| heard.carried.clone())
    }

    /// The leg ended: the next one that sends a description is heard.
    pub(crate) fn forget(&mut self, leg: u16) {
        self.heard.take_if(|heard| heard.leg == leg);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Bytes = Bytes::from_static(b"v=0 a");
    const B: Bytes = Bytes::from_static(b"v=0 b");

    #[test]
    fn each_status_is_told_once() {
        let mut ear = Ear::default();
        assert_eq!(ear.decide(1, 180, None), Tell::Status);
        ear.tell(180);
        assert_eq!(ear.decide(2, 180, None), Tell::Nothing);
        assert_eq!(ear.decide(2, 183, None), Tell::Nothing);
        assert_eq!(ear.decide(2, 182, None), Tell::Status);
    }

    #[test]
    fn the_first_description_is_heard_until_its_leg_ends() {
        let mut ear = Ear::default();
        assert_eq!(ear.decide(1, 183, Some(&A)), Tell::Description);
        ear.hear(1, A, A);
        ear.tell(183);
        assert_eq!(ear.decide(2, 183, Some(&B)), Tell::Nothing);
        assert_eq!(ear.decide(2, 180, None), Tell::Nothing);
        assert_eq!(ear.decide(1, 183, Some(&A)), Tell::Nothing);
        assert_eq!(ear.decide(1, 183, Some(&B)), Tell::Description);
        assert_eq!(ear.decide(1, 180, None), Tell::Status);
        ear.forget(1);
        assert_eq!(ear.decide(2, 183, Some(&B)), Tell::Description);
    }
}
