//! Presence: `application/pidf+xml` (RFC 3863) with activities (RFC 4480), read from those who publish and printed for
//! those who watch.
//!
//! What is published is read and written anew: an availability, a note and activities of the list of RFC 4480 get
//! through, whatever else a document has does not.

use super::document::Document;
use super::xml::{self, Piece, Pieces, Unreadable};
use crate::limit;
use serde::{Deserialize, Serialize};

/// What somebody publishes of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Whether it takes calls, when it says so.
    pub(crate) open: Option<bool>,
    /// What it writes beside.
    pub(crate) note: String,
    /// What it does: places in [`ACTIVITIES`].
    pub(crate) activities: Vec<u8>,
}

impl Status {
    /// Reads a published document.
    pub(crate) fn read(body: &[u8]) -> Result<Status, Unreadable> {
        let mut pieces = Pieces::new(std::str::from_utf8(body).map_err(|_| Unreadable)?);
        let mut status = Status::default();
        let (mut path, mut any) = (Vec::new(), false);
        while let Some(piece) = pieces.next()? {
            match piece {
                Piece::Start(name) => {
                    if path.len() >= DEPTH || (path.is_empty() && name != "presence") {
                        return Err(Unreadable);
                    }
                    if path.last() == Some(&"activities") {
                        status.does(name);
                    }
                    path.push(name);
                    any = true;
                }
                Piece::End(name) => {
                    if path.pop() != Some(name) {
                        return Err(Unreadable);
                    }
                }
                Piece::Text(text) => status.take(path.last().copied().unwrap_or_default(), text.trim()),
            }
        }
        if any && path.is_empty() { Ok(status) } else { Err(Unreadable) }
    }

    fn take(&mut self, element: &str, text: &str) {
        match element {
            // One device that is open makes the user open (RFC 3863 §4.1.4).
            "basic" if text == "open" => self.open = Some(true),
            "basic" if text == "closed" => self.open = Some(self.open.unwrap_or(false)),
            "note" if self.note.is_empty() => {
                text[..text.floor_char_boundary(limit::PRESENCE_NOTE_BYTES)].clone_into(&mut self.note);
            }
            _ => {}
        }
    }

    fn does(&mut self, activity: &str) {
        if let Some(place) = ACTIVITIES.iter().position(|known| *known == activity)
            && !self.activities.contains(&(place as u8))
        {
            self.activities.push(place as u8);
        }
    }
}

/// What the exchange itself knows of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Whether a device can be called.
    pub(crate) reachable: bool,
    /// Whether it talks or calls.
    pub(crate) on_the_phone: bool,
}

/// Prints the presence of `entity`, a `sip:user@domain`. Somebody whose devices cannot be called is closed, whatever was
/// published: the calls of whoever looks at it would not get through.
pub(crate) fn print<'a>(entity: &str, known: Known, published: impl Iterator<Item = &'a Status> + Clone) -> Document {
    let said = published.clone().filter_map(|status| status.open);
    let open = known.reachable && said.reduce(|one, other| one || other).unwrap_or(true);
    let mut text = String::with_capacity(768);
    text.push_str(concat!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n",
        "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" ",
        "xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"",
    ));
    xml::push(&mut text, entity);
    text.push_str("\">\r\n<tuple id=\"phone\"><status><basic>");
    text.push_str(if open { "open" } else { "closed" });
    text.push_str("</basic></status><contact>");
    xml::push(&mut text, entity);
    text.push_str("</contact>");
    let note = published.clone().map(|status| status.note.as_str()).find(|note| !note.is_empty());
    let note = note.or(known.on_the_phone.then_some("On the phone"));
    push_note(&mut text, "note", note);
    text.push_str("</tuple>\r\n");
    let mut activities: Vec<u8> = known.on_the_phone.then_some(ON_THE_PHONE).into_iter().collect();
    for activity in published.flat_map(|status| &status.activities) {
        if !activities.contains(activity) {
            activities.push(*activity);
        }
    }
    if !activities.is_empty() {
        text.push_str("<dm:person id=\"person\"><rpid:activities>");
        for activity in activities {
            text.push_str("<rpid:");
            text.push_str(ACTIVITIES[usize::from(activity)]);
            text.push_str("/>");
        }
        text.push_str("</rpid:activities>");
        push_note(&mut text, "dm:note", note);
        text.push_str("</dm:person>\r\n");
    }
    text.push_str("</presence>\r\n");
    Document::plain(text)
}

fn push_note(out: &mut String, element: &str, note: Option<&str>) {
    if let Some(note) = note {
        out.push('<');
        out.push_str(element);
        out.push('>');
        xml::push(out, note);
        out.push_str("</");
        out.push_str(element);
        out.push('>');
    }
}

/// How deep the elements of a published document may lie in each other.
const DEPTH: usize = 16;

/// What somebody may do (RFC 4480 §3.2).
const ACTIVITIES: [&str; 26] = [
    "on-the-phone",
    "appointment",
    "away",
    "breakfast",
    "busy",
    "dinner",
    "holiday",
    "in-transit",
    "looking-for-work",
    "lunch",
    "meal",
    "meeting",
    "performance",
    "permanent-absence",
    "playing",
    "presentation",
    "shopping",
    "sleeping",
    "spectator",
    "steering",
    "travel",
    "tv",
    "unknown",
    "vacation",
    "working",
    "worship",
];

const ON_THE_PHONE: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = "<?xml version='1.0'?>
        <presence xmlns='urn:ietf:params:xml:ns:pidf' xmlns:r='urn:ietf:params:xml:ns:pidf:rpid'
                  xmlns:d='urn:ietf:params:xml:ns:pidf:data-model' entity='sip:1@a.example'>
        <tuple id='a'><status><basic>closed</basic></status></tuple>
        <tuple id='b'><status><basic> open </basic></status><note>Back at &lt;3&gt;</note></tuple>
        <d:person id='p'><r:activities><r:meeting/><r:away/><r:meeting/><evil/></r:activities></d:person></presence>";

    fn known(reachable: bool, on_the_phone: bool) -> Known {
        Known { reachable, on_the_phone }
    }

    fn text(known: Known, published: &[Status]) -> String {
        String::from_utf8(print("sip:1@a.example", known, published.iter()).body(0).to_vec()).unwrap()
    }

    #[test]
    fn what_is_published_is_read_and_written_anew() {
        let status = Status::read(PUBLISHED.as_bytes()).unwrap();
        assert_eq!((status.open, status.note.as_str(), status.activities.len()), (Some(true), "Back at <3>", 2));
        let text = text(known(true, false), std::slice::from_ref(&status));
        assert!(text.contains("<basic>open</basic>") && text.contains("<note>Back at &lt;3&gt;</note>"));
        assert!(text.contains("<rpid:activities><rpid:meeting/><rpid:away/></rpid:activities>"));
        assert!(!text.contains("evil"));
        assert_eq!(Status::read(text.as_bytes()).unwrap(), status);
    }

    #[test]
    fn without_anything_published_the_devices_tell() {
        assert!(text(known(true, false), &[]).contains("<basic>open</basic>"));
        assert!(!text(known(true, false), &[]).contains("person"));
        assert!(text(known(false, false), &[]).contains("<basic>closed</basic>"));
        let busy = text(known(true, true), &[]);
        assert!(busy.contains("<rpid:on-the-phone/>") && busy.contains("<dm:note>On the phone</dm:note>"));
    }

    #[test]
    fn nobody_is_open_whose_devices_are_gone_or_who_says_closed() {
        let says = |open| Status { open: Some(open), ..Status::default() };
        assert!(text(known(false, false), &[says(true)]).contains("closed"));
        assert!(text(known(true, false), &[says(false)]).contains("closed"));
        assert!(text(known(true, false), &[says(false), says(true)]).contains("<basic>open"));
    }

    #[test]
    fn what_is_no_presence_is_refused() {
        let deep = format!("<presence>{}{}</presence>", "<a>".repeat(20), "</a>".repeat(20));
        let shapes = ["", "x", "<a/>", "<presence>", "<presence></a></presence>", "<presence/></presence>", &deep];
        for body in shapes {
            assert_eq!(Status::read(body.as_bytes()), Err(Unreadable), "{body}");
        }
        assert_eq!(Status::read(&[0xff, 0xfe]), Err(Unreadable));
    }

    #[test]
    fn a_note_has_an_end() {
        let body = format!("<presence><note>{}</note></presence>", "я".repeat(1_000));
        let note = Status::read(body.as_bytes()).unwrap().note;
        assert!(note.len() <= limit::PRESENCE_NOTE_BYTES && note.len() > limit::PRESENCE_NOTE_BYTES - 2);
    }
}
