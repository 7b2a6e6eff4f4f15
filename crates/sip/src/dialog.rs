//! One side of a dialog: who talks to whom, where requests go and in which order they count (RFC 3261 §12).
//!
//! ```
//! use bytes::Bytes;
//! use sip::dialog::Dialog;
//! use sip::{Message, Method};
//!
//! let invite = Message::parse(Bytes::from_static(
//!     b"INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
//!       Call-ID: c\r\nCSeq: 7 INVITE\r\nContact: <sip:a@192.0.2.9>\r\n\r\n",
//! ))?;
//! let mut dialog = Dialog::uas(&invite, "2")?;
//! let bye = Message::parse(dialog.request(Method::Bye).finish_with_via("SIP/2.0/UDP us;branch=z9hG4bK2", None))?;
//! assert_eq!((bye.request_uri(), bye.from_tag(), bye.to_tag()), ("sip:a@192.0.2.9", Some("2"), Some("1")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Limits: [`ROUTES`].

use crate::error::{DialogError, OutOfOrder};
use crate::msg::{HeaderName, Message, MessageBuilder, Method, NameAddr, Scheme, Uri};
use serde::{Deserialize, Serialize};

/// The most entries of a route set.
pub const ROUTES: usize = 32;

/// One side of a dialog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's tag; empty for a peer of RFC 2543, which sends none.
    pub remote_tag: String,
    /// We, as From of our requests: the value with its tag.
    pub local: String,
    /// The peer, as To of our requests: the value with its tag.
    pub remote: String,
    /// The peer's Contact: the Request-URI of our requests.
    pub remote_target: String,
    /// The proxies that want to see our requests, nearest first, as written.
    pub route_set: Vec<String>,
    /// The CSeq of our last request; 0 before the first.
    pub local_cseq: u32,
    /// The highest CSeq of the peer.
    pub remote_cseq: Option<u32>,
    /// Whether the dialog was made with a SIPS URI (RFC 3261 §12.1.1).
    pub secure: bool,
}

impl Dialog {
    /// The dialog that our answer with `local_tag` makes of a request (RFC 3261 §12.1.1).
    ///
    /// # Errors
    /// [`DialogError`]; its status answers the request.
    pub fn uas(request: &Message, local_tag: &str) -> Result<Dialog, DialogError> {
        let contact = request.contact()?.ok_or(DialogError::NoContact)?;
        request.to()?;
        let to = request.header(HeaderName::To).unwrap_or("");
        let local_tag = request.to_tag().unwrap_or(local_tag);
        let mut local = String::with_capacity(to.len() + local_tag.len() + 5);
        local.push_str(to);
        if request.to_tag().is_none() {
            local.push_str(";tag=");
            local.push_str(local_tag);
        }
        Ok(Dialog {
            call_id: request.call_id()?.to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag: request.from()?.tag().unwrap_or("").to_owned(),
            local,
            remote: request.header(HeaderName::From).unwrap_or("").to_owned(),
            remote_target: contact.uri.to_owned(),
            route_set: record_route(request)?,
            local_cseq: 0,
            remote_cseq: Some(request.cseq()?.number),
            secure: is_sips(request.request_uri()),
        })
    }

    /// The dialog that an answer with a To tag makes of our request (RFC 3261 §12.1.2). `local` is the value of our
    /// From. An answer without a Contact leaves the URI of To to send to, as RFC 2543 had it.
    ///
    /// # Errors
    /// [`DialogError`]: the answer makes no dialog.
    pub fn uac(local: &str, call_id: &str, local_cseq: u32, response: &Message) -> Result<Dialog, DialogError> {
        let to = response.to()?;
        let remote_target = response.contact()?.unwrap_or(to).uri;
        let mut route_set = record_route(response)?;
        route_set.reverse();
        Ok(Dialog {
            call_id: call_id.to_owned(),
            local_tag: NameAddr::parse(HeaderName::From, local)?.tag().unwrap_or("").to_owned(),
            remote_tag: to.tag().ok_or(DialogError::NoTag)?.to_owned(),
            local: local.to_owned(),
            remote: response.header(HeaderName::To).unwrap_or("").to_owned(),
            remote_target: remote_target.to_owned(),
            route_set,
            local_cseq,
            remote_cseq: None,
            secure: is_sips(remote_target),
        })
    }

    /// An early dialog is confirmed by a 2xx with its To tag: the route set is read anew (RFC 3261 §13.2.2.4).
    ///
    /// # Errors
    /// [`DialogError`]; the dialog stays as it was.
    pub fn confirm(&mut self, response: &Message) -> Result<(), DialogError> {
        let mut route_set = record_route(response)?;
        route_set.reverse();
        let contact = response.contact()?;
        self.route_set = route_set;
        if let Some(contact) = contact {
            self.set_target(contact.uri);
        }
        Ok(())
    }

    /// A request of ours, without Via and Contact (RFC 3261 §12.2.1.1). ACK and CANCEL count no further: see
    /// [`Dialog::ack`].
    pub fn request(&mut self, method: Method) -> MessageBuilder {
        // RFC 3261 §8.1.1.5: below 2³¹. After so many requests it begins anew, which no dialog lives to see.
        self.local_cseq = (self.local_cseq + 1) & (i32::MAX as u32);
        self.build(method, self.local_cseq)
    }

    /// The ACK to the 2xx of our INVITE with that CSeq (RFC 3261 §13.2.2.4).
    pub fn ack(&self, cseq: u32) -> MessageBuilder {
        self.build(Method::Ack, cseq)
    }

    /// The URI that names the next hop of our requests: the first route, else the target (RFC 3261 §12.2.1.1).
    pub fn next_hop_uri(&self) -> &str {
        self.route_set.first().map_or(&self.remote_target, |route| route_uri(route))
    }

    /// Whether a request or an answer belongs to this dialog (RFC 3261 §12).
    pub fn matches(&self, message: &Message) -> bool {
        let (local, remote) = if message.is_request() {
            (message.to_tag(), message.from_tag())
        } else {
            (message.from_tag(), message.to_tag())
        };
        local == Some(self.local_tag.as_str())
            && remote.unwrap_or("") == self.remote_tag
            && message.header(HeaderName::CallId) == Some(self.call_id.as_str())
    }

    /// Takes a request of the peer into its order (RFC 3261 §12.2.2). Not for ACK, which repeats its INVITE's number.
    ///
    /// # Errors
    /// [`OutOfOrder`] for a number lower than one before: 500.
    pub fn accept(&mut self, request: &Message) -> Result<(), OutOfOrder> {
        let found = request.cseq().map_or(0, |cseq| cseq.number);
        match self.remote_cseq {
            Some(last) if found < last => return Err(OutOfOrder { last, found }),
            Some(_) | None => self.remote_cseq = Some(found),
        }
        Ok(())
    }

    /// Takes the Contact of a target refresh: an INVITE, UPDATE, SUBSCRIBE, NOTIFY or REFER, or a 2xx to one (RFC 3261
    /// §12.2.1.2, §12.2.2; RFC 3311; RFC 6665). Anything else changes nothing.
    pub fn refresh_target(&mut self, message: &Message) {
        let refreshes = match message.method() {
            Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer => true,
            Method::Ack
            | Method::Options
            | Method::Bye
            | Method::Cancel
            | Method::Register
            | Method::Prack
            | Method::Publish
            | Method::Info
            | Method::Message
            | Method::Other => false,
        };
        let counts = message.is_request() || (200..300).contains(&message.status());
        if let (true, Ok(Some(contact))) = (refreshes && counts, message.contact()) {
            self.set_target(contact.uri);
        }
    }

    fn set_target(&mut self, uri: &str) {
        if self.remote_target != uri {
            uri.clone_into(&mut self.remote_target);
        }
    }

    fn build(&self, method: Method, cseq: u32) -> MessageBuilder {
        let method = method.as_str();
        let strict = self.route_set.first().map(|route| route_uri(route)).filter(|uri| !is_loose(uri));
        let mut builder = match strict {
            None => {
                let mut builder = MessageBuilder::request(method, &self.remote_target);
                for route in &self.route_set {
                    builder.push_header(HeaderName::Route, route);
                }
                builder
            }
            // A strict router takes itself out of the Request-URI and puts the last route there.
            Some(first) => {
                let mut builder = MessageBuilder::request(method, without_headers(first));
                for route in &self.route_set[1..] {
                    builder.push_header(HeaderName::Route, route);
                }
                builder.push_header_fmt(HeaderName::Route, format_args!("<{}>", self.remote_target));
                builder
            }
        };
        builder.push_header(HeaderName::MaxForwards, "70");
        builder.push_header(HeaderName::From, &self.local);
        builder.push_header(HeaderName::To, &self.remote);
        builder.push_header(HeaderName::CallId, &self.call_id);
        builder.cseq(cseq, method)
    }
}

/// The Record-Route entries in their order.
fn record_route(message: &Message) -> Result<Vec<String>, DialogError> {
    let mut routes = Vec::new();
    for route in message.values(HeaderName::RecordRoute) {
        if routes.len() == ROUTES {
            return Err(DialogError::TooManyRoutes);
        }
        NameAddr::parse(HeaderName::RecordRoute, route)?;
        routes.push(route.to_owned());
    }
    Ok(routes)
}

fn route_uri(route: &str) -> &str {
    NameAddr::parse(HeaderName::Route, route).map_or("", |route| route.uri)
}

fn is_loose(uri: &str) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.param("lr").is_some())
}

/// A Request-URI has no headers (RFC 3261 §19.1.1).
fn without_headers(uri: &str) -> &str {
    uri.split_once('?').map_or(uri, |(uri, _)| uri)
}

fn is_sips(uri: &str) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.scheme == Scheme::Sips)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(text: &str) -> Message {
        Message::parse(Bytes::from(text.replace('\n', "\r\n"))).unwrap()
    }

    fn invite(extra: &str) -> Message {
        message(&format!(
            "INVITE sip:b@h SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nFrom: \"Ann\" <sip:a@h>;tag=a\n\
             To: <sip:b@h>\nCall-ID: c\nCSeq: 7 INVITE\n{extra}\n"
        ))
    }

    fn answer(status: u16, extra: &str) -> Message {
        message(&format!(
            "SIP/2.0 {status} OK\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nFrom: <sip:a@h>;tag=a\n\
             To: <sip:b@h>;tag=b\nCall-ID: c\nCSeq: 1 INVITE\n{extra}\n"
        ))
    }

    fn uac(extra: &str) -> Dialog {
        Dialog::uac("<sip:a@h>;tag=a", "c", 1, &answer(180, extra)).unwrap()
    }

    fn print(builder: MessageBuilder) -> Message {
        Message::parse(builder.finish_with_via("SIP/2.0/UDP us;branch=z9hG4bK9", None)).unwrap()
    }

    fn routes(message: &Message) -> Vec<&str> {
        message.values(HeaderName::Route).collect()
    }

    const CONTACT: &str = "Contact: <sip:peer@192.0.2.9;ob>\n";

    #[test]
    fn the_called_side_keeps_the_route_in_order_and_the_calling_side_turns_it() {
        let recorded = format!("{CONTACT}Record-Route: <sip:p1;lr>, <sip:p2;lr>;x=y\nRecord-Route: <sip:p3;lr>\n");
        let mut uas = Dialog::uas(&invite(&recorded), "b").unwrap();
        let bye = print(uas.request(Method::Bye));
        assert_eq!(routes(&bye), ["<sip:p1;lr>", "<sip:p2;lr>;x=y", "<sip:p3;lr>"]);
        assert_eq!((bye.request_uri(), uas.next_hop_uri()), ("sip:peer@192.0.2.9;ob", "sip:p1;lr"));
        assert_eq!(
            (bye.header(HeaderName::From), bye.header(HeaderName::To)),
            (Some("<sip:b@h>;tag=b"), Some("\"Ann\" <sip:a@h>;tag=a"))
        );
        let mut uac = uac(&recorded);
        assert_eq!(routes(&print(uac.request(Method::Bye))), ["<sip:p3;lr>", "<sip:p2;lr>;x=y", "<sip:p1;lr>"]);
    }

    #[test]
    fn without_a_route_the_contact_is_next() {
        let mut dialog = uac(CONTACT);
        assert_eq!(dialog.next_hop_uri(), "sip:peer@192.0.2.9;ob");
        assert_eq!(routes(&print(dialog.request(Method::Info))), [""; 0]);
    }

    #[test]
    fn a_strict_router_gets_the_request_uri() {
        let recorded = format!("{CONTACT}Record-Route: <sip:loose;lr>, <sip:strict?Subject=x>\n");
        let mut dialog = uac(&recorded);
        let info = print(dialog.request(Method::Info));
        assert_eq!((info.request_uri(), dialog.next_hop_uri()), ("sip:strict", "sip:strict?Subject=x"));
        assert_eq!(routes(&info), ["<sip:loose;lr>", "<sip:peer@192.0.2.9;ob>"]);
    }

    #[test]
    fn our_requests_count_up_and_an_ack_repeats() {
        let mut dialog = uac(CONTACT);
        let cseq = |message: Message| message.header(HeaderName::CSeq).unwrap().to_owned();
        assert_eq!(cseq(print(dialog.request(Method::Invite))), "2 INVITE");
        let ack = print(dialog.ack(2));
        assert!(ack.header(HeaderName::Require).is_none() && ack.header(HeaderName::ProxyRequire).is_none());
        assert_eq!(cseq(ack), "2 ACK");
        assert_eq!(cseq(print(dialog.request(Method::Bye))), "3 BYE");
        dialog.local_cseq = i32::MAX as u32;
        assert_eq!(cseq(print(dialog.request(Method::Bye))), "0 BYE");
    }

    #[test]
    fn the_peers_requests_must_not_count_down() {
        let mut dialog = Dialog::uas(&invite(CONTACT), "b").unwrap();
        let request = |cseq: u32| {
            message(&format!(
                "INFO sip:b@h SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nFrom: <sip:a@h>;tag=a\nTo: <sip:b@h>;tag=b\n\
             Call-ID: c\nCSeq: {cseq} INFO\n\n"
            ))
        };
        assert_eq!(dialog.accept(&request(9)), Ok(()));
        assert_eq!(dialog.accept(&request(8)), Err(OutOfOrder { last: 9, found: 8 }));
        assert_eq!((dialog.accept(&request(9)), dialog.remote_cseq), (Ok(()), Some(9)));
        let mut fresh = uac(CONTACT);
        assert_eq!((fresh.accept(&request(0)), fresh.remote_cseq), (Ok(()), Some(0)));
    }

    #[test]
    fn only_target_refreshes_move_the_target() {
        let mut dialog = Dialog::uas(&invite(CONTACT), "b").unwrap();
        dialog.refresh_target(&answer(180, "Contact: <sip:x@h>\n"));
        let info = "INFO sip:b@h SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nFrom: <sip:a@h>;tag=a\n\
                    To: <sip:b@h>;tag=b\nCall-ID: c\nCSeq: 8 INFO\nContact: <sip:x@h>\n\n";
        dialog.refresh_target(&message(info));
        dialog.refresh_target(&invite(""));
        assert_eq!(dialog.remote_target, "sip:peer@192.0.2.9;ob");
        dialog.refresh_target(&invite("Contact: <sip:y@h>\n"));
        assert_eq!(dialog.remote_target, "sip:y@h");
        dialog.refresh_target(&answer(200, "Contact: <sip:z@h>\n"));
        assert_eq!(dialog.remote_target, "sip:z@h");
    }

    #[test]
    fn an_early_dialog_is_confirmed_with_a_new_route() {
        let mut dialog = uac("Contact: <sip:early@h>\nRecord-Route: <sip:p1;lr>\n");
        let ok = answer(200, "Contact: <sip:late@h>\nRecord-Route: <sip:p1;lr>, <sip:p2;lr>\n");
        assert!(dialog.matches(&ok));
        dialog.confirm(&ok).unwrap();
        assert_eq!(dialog.route_set, ["<sip:p2;lr>", "<sip:p1;lr>"]);
        assert_eq!(dialog.remote_target, "sip:late@h");
        assert!(!dialog.matches(&message(
            "SIP/2.0 200 OK\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nFrom: <sip:a@h>;tag=a\nTo: <sip:b@h>;tag=other\n\
             Call-ID: c\nCSeq: 1 INVITE\n\n"
        )));
    }

    #[test]
    fn both_sides_of_a_dialog_begin_as_they_should() {
        let mut uas = Dialog::uas(&invite(CONTACT), "b").unwrap();
        assert_eq!((uas.call_id.as_str(), uas.local_tag.as_str(), uas.remote_tag.as_str()), ("c", "b", "a"));
        assert_eq!((uas.local_cseq, uas.remote_cseq), (0, Some(invite(CONTACT).cseq().unwrap().number)));
        assert_eq!(print(uas.request(Method::Bye)).cseq().unwrap().number, 1);
        let mut uac = uac(CONTACT);
        assert_eq!((uac.call_id.as_str(), uac.local_tag.as_str(), uac.remote_tag.as_str()), ("c", "a", "b"));
        assert_eq!((uac.local.as_str(), uac.remote.as_str()), ("<sip:a@h>;tag=a", "<sip:b@h>;tag=b"));
        assert_eq!((uac.local_cseq, uac.remote_cseq), (1, None));
        let info = print(uac.request(Method::Info));
        assert_eq!((info.call_id(), info.from_tag(), info.to_tag()), (Ok("c"), Some("a"), Some("b")));
        // A peer of RFC 2543 has no tag, and gets none.
        let old = invite(CONTACT).bytes().clone();
        let old = String::from_utf8(old.to_vec()).unwrap().replace("<sip:a@h>;tag=a", "<sip:a@h>");
        let mut old = Dialog::uas(&Message::parse(Bytes::from(old)).unwrap(), "b").unwrap();
        assert_eq!(old.remote_tag, "");
        assert_eq!(print(old.request(Method::Bye)).to_tag(), None);
    }

    #[test]
    fn what_makes_no_dialog_says_why() {
        assert_eq!(Dialog::uas(&invite(""), "b"), Err(DialogError::NoContact));
        let many = format!("{CONTACT}Record-Route: {}<sip:p;lr>\n", "<sip:p;lr>,".repeat(ROUTES));
        assert_eq!(Dialog::uas(&invite(&many), "b").map_err(DialogError::status), Err(513));
        let no_tag = message(
            "SIP/2.0 180 Ringing\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nFrom: <sip:a@h>;tag=a\nTo: <sip:b@h>\n\
             Call-ID: c\nCSeq: 1 INVITE\n\n",
        );
        assert_eq!(Dialog::uac("<sip:a@h>;tag=a", "c", 1, &no_tag), Err(DialogError::NoTag));
        assert_eq!(uac("").remote_target, "sip:b@h");
    }
}
