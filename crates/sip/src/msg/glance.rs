//! A new request at a glance: what an answer without a memory is made of, found line by line.
//!
//! Under overload most of what comes is refused, and what a refusal costs is missing to the calls that are served. So
//! nothing is checked here: what does not look as nearly every client writes it is left to [`super::Message::parse`].

use super::header::Via;
use super::lex::find_near;
use super::method::Method;
use super::name::HeaderName;
use smallvec::SmallVec;
use words::limit::HEADER_LINES;

/// The parts of a request outside dialogs that its answer gives back (RFC 3261 §8.2.6.2).
#[derive(Debug)]
pub(crate) struct Glance<'a> {
    pub(crate) method: Method,
    /// The topmost Via, and as it is written.
    pub(crate) via: Via<'a>,
    pub(crate) top: &'a str,
    /// The values of all Via lines.
    pub(crate) vias: SmallVec<[&'a [u8]; 4]>,
    pub(crate) from: &'a [u8],
    pub(crate) to: &'a [u8],
    pub(crate) call_id: &'a [u8],
    pub(crate) cseq: &'a [u8],
}

impl<'a> Glance<'a> {
    /// Looks at a request that means work: INVITE, REGISTER, SUBSCRIBE, PUBLISH or MESSAGE with one plain line of
    /// each kind, a branch of RFC 3261 and no To tag. `None` for everything else.
    pub(crate) fn at(bytes: &'a [u8]) -> Option<Glance<'a>> {
        let method = WORK.into_iter().find_map(|(start, method)| bytes.starts_with(start).then_some(method))?;
        let mut vias = SmallVec::new();
        let mut found: [Option<&[u8]>; 4] = [None; 4];
        let mut at = memchr::memchr(b'\n', bytes)? + 1;
        for _ in 0..HEADER_LINES {
            let line = &bytes[at..at + memchr::memchr(b'\n', &bytes[at..])?];
            at += line.len() + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match line.first() {
                None => return Glance::of(method, vias, found),
                // A folded line.
                Some(b' ' | b'\t') => return None,
                Some(first) if !matches!(first | 0x20, b'v' | b'f' | b't' | b'c' | b'i') => continue,
                Some(_) => {}
            }
            let colon = find_near(line, b':')?;
            let value = line[colon + 1..].trim_ascii();
            let place = match HeaderName::from_bytes(line[..colon].trim_ascii_end()) {
                HeaderName::Via => {
                    vias.push(value);
                    continue;
                }
                HeaderName::From => 0,
                HeaderName::To => 1,
                HeaderName::CallId => 2,
                HeaderName::CSeq => 3,
                _ => continue,
            };
            if found[place].replace(value).is_some() {
                return None;
            }
        }
        None
    }

    fn of(method: Method, vias: SmallVec<[&'a [u8]; 4]>, found: [Option<&'a [u8]>; 4]) -> Option<Glance<'a>> {
        let [Some(from), Some(to), Some(call_id), Some(cseq)] = found else { return None };
        let top = std::str::from_utf8(vias.first()?).ok()?;
        let (via, end) = Via::parse_prefix(top).ok()?;
        let plain = end == top.len() && via.branch().is_some();
        let outside_dialogs = memchr::memmem::find(to, b"tag").is_none();
        (plain && outside_dialogs).then_some(Glance { method, via, top, vias, from, to, call_id, cseq })
    }
}

/// The beginnings of the requests that mean work.
const WORK: [(&[u8], Method); 5] = [
    (b"INVITE ", Method::Invite),
    (b"REGISTER ", Method::Register),
    (b"SUBSCRIBE ", Method::Subscribe),
    (b"PUBLISH ", Method::Publish),
    (b"MESSAGE ", Method::Message),
];

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h:5070;branch=z9hG4bK1\r\nv: SIP/2.0/UDP i\r\n\
                         From: <sip:a@h>;tag=1\r\nt: <sip:b@h>\r\nSubject: x\r\ni: c\r\nCSeq: 7 INVITE\r\n\r\nbody";

    #[test]
    fn what_an_answer_needs_is_found() {
        let seen = Glance::at(PLAIN.as_bytes()).unwrap();
        assert_eq!((seen.method, seen.via.branch(), seen.vias.len()), (Method::Invite, Some("z9hG4bK1"), 2));
        assert_eq!((seen.from, seen.to), (&b"<sip:a@h>;tag=1"[..], &b"<sip:b@h>"[..]));
        assert_eq!((seen.call_id, seen.cseq), (&b"c"[..], &b"7 INVITE"[..]));
    }

    #[test]
    fn whatever_is_unusual_is_left_to_the_parser() {
        for (usual, other) in [
            ("INVITE sip", "OPTIONS sip"),
            ("INVITE sip", "\r\nINVITE sip"),
            ("<sip:b@h>\r\n", "<sip:b@h>;tag=9\r\n"),
            ("<sip:b@h>\r\n", "<sip:b@h>\r\nTo: <sip:c@h>\r\n"),
            ("Subject: x", "Subject:\r\n x"),
            ("i: c\r\n", ""),
            (";branch=z9hG4bK1", ""),
            (";branch=z9hG4bK1", ";branch=z9hG4bK1, SIP/2.0/UDP j"),
            ("SIP/2.0/UDP h:5070", "SIP/2.0/UDP h:port"),
            ("\r\n\r\nbody", "\r\n"),
        ] {
            let changed = PLAIN.replacen(usual, other, 1);
            assert_ne!(changed, PLAIN, "{usual}");
            assert!(Glance::at(changed.as_bytes()).is_none(), "{changed}");
        }
    }
}
