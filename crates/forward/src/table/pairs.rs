//! The pairs of ports that a table has rows for.

use super::Table;
use crate::row::Row;
use media::command::{Family, PortPair};

impl Table {
    /// Takes in a bound pair and gives its slot: one that was given up, if there is any.
    pub fn add(&mut self, worker: u16, rtp_port: u16, family: Family) -> u32 {
        let slot = self.vacant.pop().unwrap_or(self.rows.len() as u32);
        let pair = PortPair { worker, slot, rtp_port, family };
        match self.rows.get_mut(slot as usize) {
            Some(row) => row.pair = pair,
            None => self.rows.push(Row { pair, epoch: 0, end: None }),
        }
        slot
    }

    /// Gives up a pair; whether there is such a one, and free.
    pub fn remove(&mut self, ports: PortPair) -> bool {
        match self.rows.get_mut(ports.slot as usize) {
            Some(row) if row.pair == ports && row.end.is_none() => {
                // Whoever names it later means nothing that is here.
                row.pair.rtp_port = 0;
                self.vacant.push(ports.slot);
                true
            }
            _ => false,
        }
    }
}
