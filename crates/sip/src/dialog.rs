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

/// The most entries of a route set.
pub const ROUTES: usize = 32;

/// One side of a dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        builder.header_fmt(HeaderName::CSeq, format_args!("{cseq} {method}"))
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
