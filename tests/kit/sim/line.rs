//! A line of a phone: its side of one call.

use crate::sim::phone::TimedSession;
use crate::sim::script::{Do, Rel};
use crate::sim::session::Session;
use bytes::Bytes;
use sip::{ClientTxn, Dialog, Message, MessageBuilder, ServerTxn};

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineState {
    /// It called; no final answer yet.
    Calling,
    /// It is called, and has not answered.
    Called,
    /// It answered; the ACK is missing.
    Accepted,
    /// The call is up.
    Talking,
    /// It said goodbye, or gave up; the answer is missing.
    Leaving,
    /// Over.
    Ended,
}

/// How a line ended, as its phone saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ended the call itself.
    Own,
    /// The other side said BYE.
    Bye {
        /// Its Reason.
        reason: Option<String>,
    },
    /// The caller gave up.
    Cancelled {
        /// The Reason of the CANCEL.
        reason: Option<String>,
    },
    /// Its call was refused.
    Refused {
        /// The status.
        status: u16,
        /// The Reason.
        reason: Option<String>,
    },
    /// It refused the call.
    Declined,
    /// Nobody answered it any more.
    Lost,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where it stands.
    pub state: LineState,
    /// What was dialled, or who called.
    pub number: String,
    /// The answers to its INVITE, provisional ones too, each as often as it was told.
    pub statuses: Vec<u16>,
    /// The reason phrase of the last final answer to its INVITE.
    pub phrase: String,
    /// The Warning of the last final answer that refused something.
    pub warning: Option<String>,
    /// The final answers to its PRACKs that had offers.
    pub pracks: Vec<u16>,
    /// The final answers to its changes of media.
    pub changes: Vec<u16>,
    /// How often the other side changed the media.
    pub asked: u32,
    /// How often it refreshed its session.
    pub refreshes: u32,
    /// How often the other side did, without a description.
    pub refreshed: u32,
    /// Its session timer.
    pub timer: Option<TimedSession>,
    /// The bodies of INFOs that came.
    pub digits: Vec<String>,
    /// The final answers to its own.
    pub typed: Vec<u16>,
    /// The final answers to its REFERs.
    pub refers: Vec<u16>,
    /// What it was told about them.
    pub notified: Vec<String>,
    /// The P-Asserted-Identity of the INVITEs in the middle of its call.
    pub shows: Vec<String>,
    /// How it ended.
    pub ending: Option<Ending>,
    /// Its media.
    pub session: Session,
    /// The INVITE that it was called with.
    pub invite: Option<Message>,
    pub(crate) sip: Side,
    pub(crate) without_offer: bool,
    /// The tag of who rings.
    pub(crate) early_tag: Option<String>,
    /// The Replaces of its INVITE.
    pub(crate) replaces: Option<String>,
    /// How often a session timer was set.
    pub(crate) timers_set: u32,
    /// The longest Min-SE that it was told.
    pub(crate) min_se: Option<u32>,
    /// Its change that is under way or waits to be tried again.
    pub(crate) change: Option<Do>,
    /// Its REFER that has no answer.
    pub(crate) refer: Option<Do>,
    /// A BYE is to follow the ACK.
    pub(crate) bye_owed: bool,
    /// A CANCEL was sent, or waits for a provisional answer.
    pub(crate) cancelled: bool,
}

/// A line's side of the dialog.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) call_id: String,
    pub(crate) tag: String,
    pub(crate) cseq: u32,
    pub(crate) dialog: Option<Box<Dialog>>,
    /// Its INVITE that has no final answer.
    pub(crate) asking: Option<ClientTxn>,
    /// Its UPDATE that has no final answer.
    pub(crate) updating: Option<ClientTxn>,
    /// What was said reliably before the answer.
    pub(crate) early: Early,
    /// The other side's INVITE whose ACK (or whose answer) is missing.
    pub(crate) theirs: Option<Theirs>,
    /// The last ACK that it sent: CSeq and body.
    pub(crate) acked: Option<(u32, Option<Bytes>)>,
}

/// What was said reliably before an answer (RFC 3262).
#[derive(Clone, Debug, Default)]
pub(crate) struct Early {
    /// What its INVITE said about it.
    pub(crate) rel: Rel,
    /// The number of the last provisional answer, heard or said.
    pub(crate) rseq: u32,
    /// The one of its own whose PRACK is missing.
    pub(crate) waits: Option<Waits>,
    /// Offer and answer are complete.
    pub(crate) settled: bool,
    /// It answers when that PRACK comes.
    pub(crate) answer_owed: bool,
}

/// A provisional answer whose PRACK is missing.
#[derive(Clone, Debug)]
pub(crate) struct Waits {
    pub(crate) rseq: u32,
    pub(crate) builder: MessageBuilder,
    pub(crate) body: Option<Bytes>,
    pub(crate) sent: u8,
}

/// An INVITE of the other side.
#[derive(Clone, Debug)]
pub(crate) struct Theirs {
    pub(crate) txn: ServerTxn,
    pub(crate) message: Message,
    /// Our 2xx had the offer.
    pub(crate) offered: bool,
    /// What we described already, before the answer or in it.
    pub(crate) described: Option<Bytes>,
    /// A final answer was given.
    pub(crate) answered: bool,
}

impl Side {
    /// Whether a change is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.asking.is_some() || self.updating.is_some() || self.theirs.is_some()
    }
}

impl Line {
    pub(crate) fn new(state: LineState, number: String, call_id: String, tag: String, session: Session) -> Self {
        Line {
            state,
            number,
            statuses: Vec::new(),
            phrase: String::new(),
            warning: None,
            pracks: Vec::new(),
            changes: Vec::new(),
            asked: 0,
            refreshes: 0,
            refreshed: 0,
            timer: None,
            digits: Vec::new(),
            typed: Vec::new(),
            refers: Vec::new(),
            notified: Vec::new(),
            shows: Vec::new(),
            ending: None,
            session,
            invite: None,
            sip: Side {
                call_id,
                tag,
                cseq: 1,
                dialog: None,
                asking: None,
                updating: None,
                early: Early::default(),
                theirs: None,
                acked: None,
            },
            without_offer: false,
            early_tag: None,
            replaces: None,
            timers_set: 0,
            min_se: None,
            change: None,
            refer: None,
            bye_owed: false,
            cancelled: false,
        }
    }

    /// Whether the call is up as its phone sees it.
    pub fn talks(&self) -> bool {
        self.state == LineState::Talking
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.state == LineState::Ended
    }

    /// Its dialog, once there is one.
    pub fn dialog(&self) -> Option<&Dialog> {
        self.sip.dialog.as_deref()
    }

    /// The last final answer to its INVITE.
    pub fn status(&self) -> Option<u16> {
        self.statuses.iter().rev().copied().find(|status| *status >= 200)
    }

    /// The Reason with which it was ended by the other side.
    pub fn reason(&self) -> Option<&str> {
        match self.ending.as_ref()? {
            Ending::Bye { reason } | Ending::Cancelled { reason } | Ending::Refused { reason, .. } => reason.as_deref(),
            Ending::Own | Ending::Declined | Ending::Lost => None,
        }
    }

    pub(crate) fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
        self.state = LineState::Ended;
        self.change = None;
    }
}
