//! INVITEs that come into a call which is there already: in the place of a dialog they name (RFC 3891), or as a pickup
//! by feature code (RFC 5359 §2.16).

use crate::account::Account;
use crate::answer::Stop;
use crate::need::Need;
use crate::switch::{Incoming, Switch};
use sip::{Message, Replaces, Uri};
use words::{LegId, Party, Time};

/// Where an INVITE outside dialogs leads.
pub(crate) enum Entrance {
    /// To a call of its own.
    Call,
    /// In the place of this dialog.
    Replace(Replaces),
    /// To the call that rings on this leg.
    PickUp(LegId),
}

impl Switch {
    /// Where an INVITE of `from` leads.
    pub(crate) fn entrance(
        &mut self,
        incoming: &Incoming,
        account: &Account,
        from: &Party,
        now: Time,
    ) -> Result<Entrance, Stop> {
        match Replaces::of(&incoming.message) {
            Ok(Some(replaces)) => return Ok(Entrance::Replace(replaces)),
            Ok(None) => {}
            Err(error) => return Err(self.plain(incoming, 400, error.reason())),
        }
        // A peer's people are not of the account.
        let extension = picked_up(&incoming.message, &self.config.codes.pickup);
        let Some(extension) = extension.filter(|_| from.peer.is_none()) else {
            return Ok(Entrance::Call);
        };
        let need = Need::Extension { account: account.id, extension };
        let user = self.user(need, now).map_err(Stop::Need)?;
        match user.and_then(|user| self.calls.ringing_at(account.id, user.id)) {
            Some(leg) => Ok(Entrance::PickUp(leg)),
            None => Err(self.plain(incoming, 404, "Not Found: no call rings at this extension")),
        }
    }
}

/// The extension whose ringing call an INVITE is to answer, by the code for it.
fn picked_up(invite: &Message, code: &str) -> Option<String> {
    let dialled = Uri::parse(invite.request_uri()).ok()?;
    let dialled = dialled.dialled();
    let extension = dialled.strip_prefix(code).filter(|_| !code.is_empty())?;
    (!extension.is_empty()).then(|| extension.to_owned())
}
