//! Whether the exchange's users see what the model says.

use super::reference::{Model, NO_CALL, Stands};
use books::Cdr;
use tests::sim::{LineState, PhoneId, World};
use words::EndCause;

/// What is not as the model has it.
pub(crate) fn differs(world: &World, phones: &[PhoneId], model: &Model) -> Result<(), String> {
    for (n, &phone) in phones.iter().enumerate().filter(|(n, _)| !model.phones[*n].dead) {
        let (lines, ours) = (&world.at_phone(phone).lines, &model.phones[n].lines);
        if lines.len() != ours.len() {
            return Err(format!("phone {n} has {} lines instead of {}", lines.len(), ours.len()));
        }
        for (at, (line, model_line)) in lines.iter().zip(ours).enumerate() {
            let fits = match model_line.stands {
                Stands::Calling => line.state == LineState::Calling,
                Stands::Rings => line.state == LineState::Called,
                Stands::Talks => line.state == LineState::Talking,
                Stands::Over => line.state == LineState::Ended,
            };
            if !fits {
                return Err(format!("line {at} of phone {n} is {:?}, not {:?}", line.state, model_line.stands));
            }
            if !model_line.told.is_empty() && !line.status().is_some_and(|told| model_line.told.contains(&told)) {
                return Err(format!("line {at} of phone {n} was told {:?}, not {:?}", line.status(), model_line.told));
            }
        }
    }
    hearing(world, phones, model)
}

/// Who hears whom: everybody the other side, unless he holds it.
fn hearing(world: &World, phones: &[PhoneId], model: &Model) -> Result<(), String> {
    for (n, &phone) in phones.iter().enumerate().filter(|(n, _)| !model.phones[*n].dead) {
        for (at, line) in model.phones[n].lines.iter().enumerate() {
            if line.stands != Stands::Talks || line.call == NO_CALL {
                continue;
            }
            let other = if model.is_echo((n, at)) { Some((n, at)) } else { model.other((n, at)) };
            let Some(other) = other else { continue };
            let hears = world.hears_on((phone, at), (phones[other.0], other.1));
            if hears == line.holds {
                return Err(format!("whether {:?} hears {other:?}: {hears}, and it holds: {}", (n, at), line.holds));
            }
        }
    }
    Ok(())
}

/// Whether the records are those of the model's calls.
pub(crate) fn records(cdrs: &[Cdr], model: &Model, lossy: bool) -> Result<(), String> {
    if cdrs.len() != model.calls.len() {
        return Err(format!("{} records of {} calls", cdrs.len(), model.calls.len()));
    }
    for (n, (cdr, call)) in cdrs.iter().zip(&model.calls).enumerate() {
        let wrong = |what: String| Err(format!("record {n}: {what}; {call:?}"));
        let (from, to) = (cdr.from.number.as_str(), cdr.to.number.as_str());
        if (from, to) != (call.from.as_str(), call.to.as_str()) {
            return wrong(format!("{from} called {to}"));
        }
        let answered =
            cdr.answered.as_ref().map(|answer| if answer.by.is_some() { answer.who.number.as_str() } else { "" });
        if answered != call.answered.as_deref() {
            return wrong(format!("answered by {answered:?}"));
        }
        let transfers: Vec<&str> = cdr.transfers.iter().map(|transfer| transfer.who.number.as_str()).collect();
        if transfers != call.transfers {
            return wrong(format!("transferred to {transfers:?}"));
        }
        let cause = cdr.ended.map(|end| end.cause);
        // Whoever said goodbye is silent until that has come.
        let silent = lossy && cause == Some(EndCause::MediaLost) && call.causes.contains(&EndCause::Normal);
        // And who has left may have been a while on the way.
        let left = lossy && cause == Some(EndCause::Normal) && call.answered.is_some();
        if !call.causes.is_empty() && !silent && !left && !cause.is_some_and(|cause| call.causes.contains(&cause)) {
            return wrong(format!("ended as {cause:?}"));
        }
    }
    Ok(())
}
