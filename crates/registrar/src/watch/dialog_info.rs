//! The calls of an extension as lamps show them: `application/dialog-info+xml` (RFC 4235).
//!
//! Each document is whole (`state="full"`), so a lamp is right again after whatever was lost. What phones make of it was
//! read from their manuals:
//!
//! - **Idle** is one dialog that is `terminated`: what Yealink shows green and Snom shows off.
//! - **Unplugged** (no device can be called) is a document without any dialog. Phones that tell the two apart go dark;
//!   to all others it is idle, which is all that RFC 4235 lets them know. Presence says `closed` at the same time.
//! - **Ringing** is `early` with direction `recipient`; a device that has not said yet that it rings is not shown, as its
//!   dialog has no tag and could not be picked up. **Calling** is `early` with direction `initiator`.
//! - **Held** is `confirmed` with `+sip.rendering` `no` at the side that does not listen (RFC 4235 §4.4): at the local
//!   target when the extension holds the other, at the remote target when it is held.
//!
//! Call-ID and tags are those of our dialog with the phone as the phone sees it: `local-tag` is the phone's, `remote-tag`
//! ours. A watcher that picks up sends an INVITE with `Replaces: call-id;to-tag=<remote-tag>;from-tag=<local-tag>`
//! (RFC 3891), and `to-tag` is then a tag of ours.

use super::document::Document;
use super::xml;
use serde::{Deserialize, Serialize};
use words::{LegId, Party};

/// A call of an extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The leg, which names it.
    pub leg: LegId,
    /// Who called.
    pub direction: Direction,
    /// How far it is.
    pub stage: Stage,
    /// The Call-ID of the phone's dialog with us.
    pub call_id: String,
    /// The phone's tag.
    pub local_tag: String,
    /// Ours.
    pub remote_tag: String,
    /// Who is at the other end.
    pub remote: Party,
    /// Whether the extension does not listen: it holds the other.
    pub holds: bool,
    /// Whether the other does not listen.
    pub held: bool,
}

/// Who called (RFC 4235 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// The extension.
    Initiator,
    /// The other.
    Recipient,
}

/// How far a call is (RFC 4235 §3.7.1), as far as lamps tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It rings.
    Early,
    /// It is answered.
    Confirmed,
}

impl Line {
    /// Whether it is an incoming call that nobody answered.
    pub(crate) fn rings(&self) -> bool {
        self.direction == Direction::Recipient && self.stage == Stage::Early
    }
}

/// Prints the calls of `entity`, a `sip:user@domain`.
pub(crate) fn print(entity: &str, lines: &[Line], reachable: bool) -> Document {
    let head = String::from(concat!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n",
        "<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"",
    ));
    let mut tail = String::with_capacity(160 + 640 * lines.len());
    tail.push_str("\" state=\"full\" entity=\"");
    xml::push(&mut tail, entity);
    tail.push_str("\">\r\n");
    for line in lines {
        push_line(&mut tail, entity, line);
    }
    if lines.is_empty() && reachable {
        tail.push_str("<dialog id=\"idle\"><state>terminated</state></dialog>\r\n");
    }
    tail.push_str("</dialog-info>\r\n");
    Document::versioned(head, &tail)
}

fn push_line(out: &mut String, entity: &str, line: &Line) {
    out.push_str("<dialog id=\"");
    xml::push(out, &format!("{}-{}", line.leg.call, line.leg.n));
    for (name, value) in [("call-id", &line.call_id), ("local-tag", &line.local_tag), ("remote-tag", &line.remote_tag)]
    {
        if !value.is_empty() {
            out.push_str("\" ");
            out.push_str(name);
            out.push_str("=\"");
            xml::push(out, value);
        }
    }
    out.push_str("\" direction=\"");
    out.push_str(match line.direction {
        Direction::Initiator => "initiator",
        Direction::Recipient => "recipient",
    });
    out.push_str("\">\r\n<state>");
    out.push_str(match line.stage {
        Stage::Early => "early",
        Stage::Confirmed => "confirmed",
    });
    out.push_str("</state>\r\n<local><identity>");
    xml::push(out, entity);
    out.push_str("</identity>");
    push_target(out, |out| xml::push(out, entity), line.holds);
    out.push_str("</local>\r\n<remote><identity");
    if !line.remote.name.as_str().is_empty() {
        out.push_str(" display=\"");
        xml::push(out, line.remote.name.as_str());
        out.push('"');
    }
    out.push('>');
    let remote = |out: &mut String| push_remote(out, entity, line);
    remote(out);
    out.push_str("</identity>");
    push_target(out, remote, line.held);
    out.push_str("</remote>\r\n</dialog>\r\n");
}

/// Who the other is, as a URI of the account: what is called when somebody calls back.
fn push_remote(out: &mut String, entity: &str, line: &Line) {
    let number = line.remote.number.as_str();
    if number.is_empty() {
        // RFC 3323 §4.1.1.3.
        return out.push_str("sip:anonymous@anonymous.invalid");
    }
    xml::push_uri(out, number, entity.rsplit_once('@').map_or("", |(_, host)| host));
}

fn push_target(out: &mut String, uri: impl Fn(&mut String), silent: bool) {
    out.push_str("<target uri=\"");
    uri(out);
    if silent {
        out.push_str("\"><param pname=\"+sip.rendering\" pval=\"no\"/></target>");
    } else {
        out.push_str("\"/>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::xml::{Piece, Pieces};
    use words::CallId;

    pub(crate) fn line(n: u16) -> Line {
        Line {
            leg: LegId { call: CallId(0xabc), n },
            direction: Direction::Recipient,
            stage: Stage::Early,
            call_id: "c1".into(),
            local_tag: "theirs".into(),
            remote_tag: "ours".into(),
            remote: Party { number: "+7 495".into(), name: "Ann <\"&".into(), ..Party::default() },
            holds: false,
            held: false,
        }
    }

    fn text(lines: &[Line], reachable: bool) -> String {
        let body = print("sip:102@office.example", lines, reachable).body(7);
        let text = String::from_utf8(body.to_vec()).unwrap();
        let (mut pieces, mut depth) = (Pieces::new(&text), 0);
        while let Some(piece) = pieces.next().expect("it is XML") {
            depth += match piece {
                Piece::Start(_) => 1,
                Piece::End(_) => -1,
                Piece::Text(_) => 0,
            };
        }
        assert_eq!(depth, 0);
        text
    }

    #[test]
    fn idle_and_unplugged_differ() {
        let idle = text(&[], true);
        assert!(idle.contains("version=\"7\" state=\"full\" entity=\"sip:102@office.example\""));
        assert!(idle.contains("<dialog id=\"idle\"><state>terminated</state></dialog>"));
        assert!(!text(&[], false).contains("<dialog "));
    }

    #[test]
    fn a_ringing_phone_can_be_picked_up() {
        let ringing = text(&[line(1)], true);
        let id = format!("{}-1", CallId(0xabc));
        assert!(ringing.contains(&format!(
            "<dialog id=\"{id}\" call-id=\"c1\" local-tag=\"theirs\" remote-tag=\"ours\" direction=\"recipient\">"
        )));
        assert!(ringing.contains("<state>early</state>"));
        assert!(ringing.contains("<identity display=\"Ann &lt;&quot;&amp;\">sip:+7%20495@office.example</identity>"));
        assert!(ringing.contains("<target uri=\"sip:+7%20495@office.example\"/></remote>"));
        assert!(!ringing.contains("rendering"));
    }

    #[test]
    fn hold_is_at_the_side_that_does_not_listen() {
        let holding = text(&[Line { stage: Stage::Confirmed, holds: true, ..line(0) }], true);
        let param = "<param pname=\"+sip.rendering\" pval=\"no\"/></target>";
        assert!(holding.contains(&format!("{param}</local>")) && !holding.contains(&format!("{param}</remote>")));
        let held =
            text(&[Line { stage: Stage::Confirmed, held: true, direction: Direction::Initiator, ..line(0) }], true);
        assert!(held.contains(&format!("{param}</remote>")) && held.contains("direction=\"initiator\""));
        assert!(held.contains("<state>confirmed</state>"));
    }

    #[test]
    fn a_caller_without_a_number_is_anonymous() {
        let anonymous = text(&[Line { remote: Party::default(), local_tag: String::new(), ..line(1) }], true);
        assert!(anonymous.contains("<identity>sip:anonymous@anonymous.invalid</identity>"));
        assert!(!anonymous.contains("local-tag"));
    }
}
