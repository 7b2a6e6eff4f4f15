//! What people do: to the exchange, and to the model.

use super::reference::{At, Model, Stands, Temper};
use std::time::Duration;
use tests::sim::{Do, PhoneId, World};

/// One thing that somebody does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// Dials a number.
    Call { phone: usize, number: String, late_offer: bool },
    /// Lifts.
    Answer(At),
    /// Refuses with this status.
    Refuse(At, u16),
    /// Sends a call elsewhere.
    Forward(At, String),
    /// Cancels, refuses, or says goodbye.
    HangUp(At),
    /// Puts the other side on hold.
    Hold(At),
    /// Talks again.
    Resume(At),
    /// A change of media that nobody hears: a refresh, or another port.
    Change(At, Do),
    /// A blind transfer.
    Transfer(At, String),
    /// An attended one: the other side of the first line, to who is at the other side of the second.
    Connect(At, At),
    /// Picks up what rings at an extension.
    PickUp { phone: usize, number: String },
    /// The cable is out.
    Die(usize),
    /// Two at nearly the same time.
    Both(Box<Deed>, Box<Deed>, Duration),
}

impl Deed {
    /// Does it, in so long.
    pub(crate) fn tell(&self, world: &mut World, phones: &[PhoneId], after: Duration) {
        let mut tell = |at: &At, what: Do| world.tell_line_in(after, phones[at.0], at.1, what);
        match self {
            Deed::Call { phone, number, late_offer } => {
                let what = if *late_offer { Do::call_without_offer(number) } else { Do::call(number) };
                tell(&(*phone, 0), what);
            }
            Deed::Answer(at) => tell(at, Do::Answer),
            Deed::Refuse(at, status) => tell(at, Do::Refuse(*status)),
            Deed::Forward(at, number) => tell(at, Do::Redirect(vec![number.clone()])),
            Deed::HangUp(at) => tell(at, Do::HangUp),
            Deed::Hold(at) => tell(at, Do::Hold),
            Deed::Resume(at) => tell(at, Do::Resume),
            Deed::Change(at, what) => tell(at, what.clone()),
            Deed::Transfer(at, number) => tell(at, Do::transfer(number)),
            Deed::Connect(at, with) => tell(at, Do::transfer_to_line("101", with.1)),
            Deed::PickUp { phone, number } => tell(&(*phone, 0), Do::call(&format!("**{number}"))),
            Deed::Die(phone) => world.unplug(phones[*phone]),
            Deed::Both(one, two, apart) => {
                one.tell(world, phones, after);
                two.tell(world, phones, after + *apart);
            }
        }
    }

    /// Whether two can be done at the same time, and be told apart: only one of them may open lines, as nobody knows
    /// which phone is rung first for which call.
    pub(crate) fn goes_with(&self, other: &Deed, model: &Model) -> bool {
        let may_ring = |deed: &Deed| match deed {
            Deed::Call { .. } | Deed::PickUp { .. } | Deed::Transfer(..) | Deed::Forward(..) | Deed::Refuse(..) => true,
            Deed::Answer(_)
            | Deed::HangUp(_)
            | Deed::Hold(_)
            | Deed::Resume(_)
            | Deed::Change(..)
            | Deed::Connect(..)
            | Deed::Die(_)
            | Deed::Both(..) => false,
        };
        let dies = |deed: &Deed| matches!(deed, Deed::Die(_));
        let joins = |deed: &Deed| matches!(deed, Deed::Transfer(..) | Deed::Connect(..));
        // What is rung may ring others in its turn, and nobody knows how far that has got when the other thing happens.
        let in_turn = model.phones.iter().any(|phone| phone.dead || phone.temper != Temper::Rings);
        if in_turn && (may_ring(self) || may_ring(other)) || joins(self) && joins(other) {
            return false;
        }
        // Two requests of one dialog may overtake each other, and the first is refused then.
        let same_line = self.line().is_some() && self.line() == other.line();
        !(same_line || dies(self) || dies(other) || may_ring(self) && may_ring(other))
    }

    /// The line on which something is done.
    fn line(&self) -> Option<At> {
        match self {
            Deed::Answer(at)
            | Deed::Refuse(at, _)
            | Deed::Forward(at, _)
            | Deed::HangUp(at)
            | Deed::Hold(at)
            | Deed::Resume(at)
            | Deed::Change(at, _)
            | Deed::Transfer(at, _)
            | Deed::Connect(at, _) => Some(*at),
            Deed::Call { .. } | Deed::PickUp { .. } | Deed::Die(_) | Deed::Both(..) => None,
        }
    }

    /// What may come of it.
    pub(crate) fn think(&self, model: &Model) -> Vec<Model> {
        let mut then = model.clone();
        match self {
            Deed::Call { phone, number, late_offer: _ } => then.call(*phone, number),
            Deed::Answer(at) => then.answer(*at),
            Deed::Refuse(at, status) => then.refuse(*at, *status),
            Deed::Forward(at, number) => then.forward(*at, number),
            Deed::HangUp(at) => then.hang_up(*at),
            Deed::Hold(at) => then.hold(*at, true),
            Deed::Resume(at) => then.hold(*at, false),
            Deed::Change(..) => {}
            Deed::Transfer(at, number) => {
                then.transfer(*at, number);
                return parting(model, then, *at);
            }
            Deed::Connect(at, with) => {
                // Who names a call that is over is refused.
                if then.line(*with).is_some_and(|line| line.stands != Stands::Over) {
                    then.connect(*at, *with);
                    return parting(model, then, *at);
                }
            }
            Deed::PickUp { phone, number } => return model.pick_up(*phone, number),
            Deed::Die(phone) => then.die(*phone),
            Deed::Both(one, two, _) => {
                let (one, two): (&Deed, &Deed) = (one, two);
                let orders = [[one, two], [two, one]];
                let in_order = |[first, second]: [&Deed; 2]| {
                    first.think(model).iter().flat_map(|then| second.think(then)).collect::<Vec<_>>()
                };
                let mut models: Vec<Model> = orders.into_iter().flat_map(in_order).collect();
                // Who comes while something else is changed is told to try later.
                for (deed, other) in [(one, two), (two, one)] {
                    // Our own requests overtake each other, too, and a change is refused then.
                    if let (Deed::Hold(_) | Deed::Resume(_), Deed::Transfer(..) | Deed::Connect(..)) = (deed, other) {
                        models.extend(other.think(model));
                    }
                    if let Deed::PickUp { phone, .. } = deed {
                        models.extend(other.think(model).iter().map(|then| then.refused(*phone)));
                    }
                }
                return models;
            }
        }
        vec![then]
    }
}

/// Some phones hang up as soon as their transfer is taken on, perhaps before anybody knows what becomes of it.
fn parting(before: &Model, mut then: Model, at: At) -> Vec<Model> {
    if before.phones[at.0].leaves_at_once && before.other(at).is_some() && !before.is_sought(at) {
        let failed = then.other(at).is_some() && !then.is_sought(at);
        then.hang_up(at);
        if failed {
            // Its call ended as its transfer did, or with his goodbye.
            then.forget_causes(at);
        }
    }
    vec![then]
}
