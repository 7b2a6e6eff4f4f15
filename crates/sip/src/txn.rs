//! The four transaction machines of RFC 3261 §17 with the Accepted state of RFC 6026, each as one table.
//!
//! A machine is data: in state *from*, *event* leads to *to* and has *effects*. What is not in its table is an
//! [`Illegal`] move and changes nothing. Who keeps a transaction's memory and carries effects out are the tables of
//! the [`crate::endpoint`]; how a message finds its transaction is [`key`].

pub mod client;
pub(crate) mod index;
pub mod invite_client;
pub mod invite_server;
pub(crate) mod key;
pub mod server;
pub(crate) mod slots;

pub use key::{Tags, shard_of_branch};

use crate::timer::Timer;

/// What a transition does. The verbs are those of the figures in RFC 3261 §17.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the request.
    SendRequest,
    /// Send the request again.
    ResendRequest,
    /// Build the ACK to a 300–699 answer and send it (§17.1.1.3).
    SendAck,
    /// Send that ACK again.
    ResendAck,
    /// Send the CANCEL, when one is wanted (§9.1).
    SendWantedCancel,
    /// Remember that a CANCEL is wanted.
    WantCancel,
    /// Send the user's answer and keep it.
    SendResponse,
    /// Send the last answer again, if there was one.
    ResendResponse,
    /// Build a 100 and send it.
    SendTrying,
    /// Hand the message to the user.
    PassUp,
    /// Tell the user that no answer came.
    TellTimeout,
    /// Tell the user that the request could not be sent.
    TellTransportFailed,
    /// Tell the user that nobody acknowledged.
    TellNoAck,
    /// Tell the user that the answer could not be sent.
    TellServerFailed,
    /// Set a timer.
    Start(Timer),
    /// Set a repeating timer again with its next interval.
    Again(Timer),
    /// Set Timer E again at T2 (§17.1.2.2).
    AgainAtT2,
    /// Stop the timer that repeats.
    StopRepeat,
    /// Stop the timer that ends the state.
    StopGuard,
    /// Let go of the kept request: nothing will need it again.
    DropRequest,
    /// Let go of the kept answer.
    DropResponse,
}

/// One line of a machine's table.
#[derive(Debug)]
pub struct Row<S: 'static, E: 'static> {
    /// The state before.
    pub from: S,
    /// What happens.
    pub event: E,
    /// The state after.
    pub to: S,
    /// What is done, in this order.
    pub effects: &'static [Effect],
}

/// A move that the machine does not know; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Illegal;

impl std::fmt::Display for Illegal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this event has no meaning in this state")
    }
}

impl std::error::Error for Illegal {}

/// Finds the move; the tables have twenty rows of a few bytes to compare, so a walk is the fastest search.
pub(crate) fn step<S: Copy + PartialEq, E: Copy + PartialEq>(
    table: &'static [Row<S, E>],
    from: S,
    event: E,
) -> Result<(S, &'static [Effect]), Illegal> {
    let row = table.iter().find(|row| row.from == from && row.event == event).ok_or(Illegal)?;
    Ok((row.to, row.effects))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::{Debug, Write};

    fn graph<S: Debug + PartialEq, E: Debug + PartialEq>(title: &str, table: &[Row<S, E>]) -> String {
        let mut text = format!("{title}\n\n");
        for (n, row) in table.iter().enumerate() {
            let again = table[..n].iter().any(|other| other.from == row.from && other.event == row.event);
            assert!(!again, "two rows for {:?} in {:?}", row.event, row.from);
            writeln!(text, "{:?} --{:?}--> {:?}", row.from, row.event, row.to).unwrap();
            for effect in row.effects {
                writeln!(text, "    {effect:?}").unwrap();
            }
        }
        text
    }

    fn compare(name: &str, text: &str) {
        let path = format!("{}/../../tests/golden/graphs/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(golden == text, "{path} differs from the table; UPDATE_GOLDEN=1 rewrites it:\n{text}");
    }

    #[test]
    fn the_graphs_are_those_on_file() {
        compare("invite_client", &graph("INVITE client transaction", invite_client::TABLE));
        compare("client", &graph("Client transaction other than INVITE", client::TABLE));
        compare("invite_server", &graph("INVITE server transaction", invite_server::TABLE));
        compare("server", &graph("Server transaction other than INVITE", server::TABLE));
    }
}
