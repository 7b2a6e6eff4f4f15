//! Our addresses, and the interfaces by which packets leave them: many flows have the same, so their records say its number.
//!
//! Limits: [`SIDES`] of them. One that no flow has any more keeps its number until it is needed for another, which it rests for
//! as a record does: what was just being looked at leaves from no other address.

use super::record::Side;
use super::{OffloadError, REST};
use aya::maps::{Array, MapData};
use words::Time;

/// The most addresses and ways out of them, as in `relay.bpf.c`.
pub(super) const SIDES: usize = 256;

pub(super) struct Sides {
    map: Array<MapData, [u32; 2]>,
    known: Vec<Known>,
}

struct Known {
    side: Side,
    flows: u32,
    /// When its last flow was removed.
    since: Time,
}

impl Sides {
    pub(super) fn new(map: Array<MapData, [u32; 2]>) -> Self {
        Sides { map, known: Vec::new() }
    }

    /// The number of a side, for one more flow.
    ///
    /// # Errors
    /// [`OffloadError::Addresses`], or what the kernel says.
    pub(super) fn take(&mut self, side: Side, now: Time) -> Result<u8, OffloadError> {
        let number = self.number(side, now)?;
        self.known[usize::from(number)].flows += 1;
        Ok(number)
    }

    fn number(&mut self, side: Side, now: Time) -> Result<u8, OffloadError> {
        let at = |number: usize| u8::try_from(number).map_err(|_| OffloadError::Addresses(SIDES));
        if let Some(number) = self.known.iter().position(|known| known.side == side) {
            return at(number);
        }
        let fresh = Known { side, flows: 0, since: Time::ZERO };
        let mut place = self.known.len();
        if place == SIDES {
            let rested = |known: &Known| known.flows == 0 && now.since(known.since) >= REST;
            place = self.known.iter().position(rested).unwrap_or(SIDES);
        }
        let number = at(place)?;
        let words = [side.address, side.interface];
        let failed = |error| OffloadError::of("cannot install a flow", "", &error);
        self.map.set(u32::from(number), words, 0).map_err(failed)?;
        match self.known.get_mut(place) {
            Some(known) => *known = fresh,
            None => self.known.push(fresh),
        }
        Ok(number)
    }

    /// One flow less.
    pub(super) fn give_back(&mut self, number: u8, now: Time) {
        if let Some(known) = self.known.get_mut(usize::from(number)) {
            known.flows = known.flows.saturating_sub(1);
            known.since = now;
        }
    }
}
