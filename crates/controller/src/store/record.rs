//! Events as bytes: short, because each call is written twice (journal and record) and held once in memory.
//!
//! A record is its length, a kind, where it stands (shard, sequence, account, clocks) and the fields of the fact in the
//! order of their declaration. Numbers are LEB128, signed ones zigzag; text and bytes have their length in front. A
//! reader passes over kinds that it does not know and over bytes behind the fields that it knows, so that the release
//! before reads what this one writes; a field is never removed and never changes its meaning.

use std::net::{IpAddr, SocketAddr};
use words::{
    AccountId, CallId, EndCause, Event, Fact, LegFigures, LegId, Party, PeerId, Pii, Seq, ShardId, StoredBinding,
    StoredSubscription, StreamFigures, Time, Transport, UserId, Wall,
};

/// Appends `event` to `out`. `scratch` is working space that keeps its memory between calls.
pub(crate) fn write(event: &Event, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    scratch.clear();
    scratch.push(kind(&event.fact));
    put(scratch, u64::from(event.shard.0));
    put(scratch, event.seq.0);
    put(scratch, u64::from(event.account.0));
    put(scratch, event.at.as_nanos());
    put_signed(scratch, event.wall.0);
    put_fact(scratch, &event.fact);
    put(out, scratch.len() as u64);
    out.extend_from_slice(scratch);
}

/// The records in `bytes`, in order, each with its length. Damaged bytes end it.
pub(crate) fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let mut reader = Reader(rest);
        reader.bytes().ok()?;
        let record = &rest[..rest.len() - reader.0.len()];
        rest = reader.0;
        Some(record)
    })
}

/// The event of one record; `None` when it is of a kind that is not known, or damaged.
pub(crate) fn parse(record: &[u8]) -> Option<Event> {
    let inside = Reader(record).bytes().ok()?;
    read_event(Reader(inside)).ok()?
}

/// The events in `bytes`, in order. What is not known is passed over.
pub(crate) fn read(bytes: &[u8]) -> impl Iterator<Item = Event> + '_ {
    split(bytes).filter_map(parse)
}

const fn kind(fact: &Fact) -> u8 {
    match fact {
        Fact::CallOpened { .. } => 1,
        Fact::LegOpened { .. } => 2,
        Fact::LegRang { .. } => 3,
        Fact::LegEnded { .. } => 4,
        Fact::CallAnswered { .. } => 5,
        Fact::CallEnded { .. } => 6,
        Fact::Bound { .. } => 7,
        Fact::Unbound { .. } => 8,
        Fact::CallTransferred { .. } => 9,
        Fact::Subscribed { .. } => 10,
        Fact::Unsubscribed { .. } => 11,
        Fact::LegMeasured { .. } => 12,
    }
}

fn put_fact(out: &mut Vec<u8>, fact: &Fact) {
    match fact {
        Fact::CallOpened { call, from, to, sip_call_id, source } => {
            put_call(out, *call);
            put_party(out, from);
            put_party(out, to);
            put_text(out, sip_call_id);
            put_address(out, *source);
        }
        Fact::LegOpened { leg, to } => {
            put_leg(out, *leg);
            put_party(out, to);
        }
        Fact::LegRang { leg } => put_leg(out, *leg),
        Fact::LegEnded { leg, cause } => {
            put_leg(out, *leg);
            put_cause(out, *cause);
        }
        Fact::LegMeasured { leg, figures } => {
            put_leg(out, *leg);
            put_stream(out, &figures.from);
            out.push(u8::from(figures.to.is_some()));
            put_stream(out, &figures.to.unwrap_or_default());
            put_option(out, figures.round_trip_us.map(u64::from));
        }
        Fact::CallAnswered { call, by, who } => {
            put_call(out, *call);
            put_option(out, by.map(|leg| u64::from(leg.n)));
            put_party(out, who);
        }
        Fact::CallEnded { call, cause, by } => {
            put_call(out, *call);
            put_cause(out, *cause);
            put_option(out, by.map(|leg| u64::from(leg.n)));
        }
        Fact::CallTransferred { call, by, to, who, with } => {
            put_call(out, *call);
            put(out, u64::from(by.n));
            put_option(out, to.map(|leg| u64::from(leg.n)));
            put_party(out, who);
            out.push(u8::from(with.is_some()));
            put_call(out, with.unwrap_or(*call));
        }
        Fact::Bound { user, binding } => {
            put(out, u64::from(user.0));
            put_binding(out, binding);
        }
        Fact::Subscribed { user, subscription } => {
            put(out, u64::from(user.0));
            put_subscription(out, subscription);
        }
        Fact::Unbound { user, key } | Fact::Unsubscribed { user, key } => {
            put(out, u64::from(user.0));
            put_text(out, key);
        }
    }
}

fn read_event(mut reader: Reader<'_>) -> Result<Option<Event>, Damaged> {
    let kind = reader.byte()?;
    let shard = ShardId(u16::try_from(reader.number()?)?);
    let seq = Seq(reader.number()?);
    let account = AccountId(reader.id()?);
    let at = Time::from_nanos(reader.number()?);
    let wall = Wall(reader.signed()?);
    Ok(read_fact(kind, &mut reader)?.map(|fact| Event { shard, seq, account, at, wall, fact }))
}

fn read_fact(kind: u8, reader: &mut Reader<'_>) -> Result<Option<Fact>, Damaged> {
    Ok(Some(match kind {
        1 => Fact::CallOpened {
            call: reader.call()?,
            from: reader.party()?,
            to: reader.party()?,
            sip_call_id: reader.text()?.to_owned(),
            source: reader.address()?,
        },
        2 => Fact::LegOpened { leg: reader.leg()?, to: reader.party()? },
        3 => Fact::LegRang { leg: reader.leg()? },
        4 => Fact::LegEnded { leg: reader.leg()?, cause: reader.cause()? },
        5 => {
            let call = reader.call()?;
            Fact::CallAnswered { call, by: reader.leg_of(call)?, who: reader.party()? }
        }
        6 => {
            let call = reader.call()?;
            Fact::CallEnded { call, cause: reader.cause()?, by: reader.leg_of(call)? }
        }
        7 => Fact::Bound { user: UserId(reader.id()?), binding: reader.binding()? },
        9 => {
            let call = reader.call()?;
            let by = LegId { call, n: u16::try_from(reader.number()?)? };
            let (to, who) = (reader.leg_of(call)?, reader.party()?);
            let joined = reader.byte()? != 0;
            Fact::CallTransferred { call, by, to, who, with: Some(reader.call()?).filter(|_| joined) }
        }
        8 => Fact::Unbound { user: UserId(reader.id()?), key: reader.text()?.to_owned() },
        10 => Fact::Subscribed { user: UserId(reader.id()?), subscription: Box::new(reader.subscription()?) },
        12 => {
            let (leg, from) = (reader.leg()?, reader.stream()?);
            let said = reader.byte()? != 0;
            let to = Some(reader.stream()?).filter(|_| said);
            let round_trip_us = reader.option()?.and_then(|us| u32::try_from(us).ok());
            Fact::LegMeasured { leg, figures: Box::new(LegFigures { from, to, round_trip_us }) }
        }
        11 => Fact::Unsubscribed { user: UserId(reader.id()?), key: reader.text()?.to_owned() },
        _ => return Ok(None),
    }))
}

fn put_stream(out: &mut Vec<u8>, stream: &StreamFigures) {
    let StreamFigures { packets, lost, jitter_us, mos_x100, mos_min_x100 } = *stream;
    for number in [packets, lost, jitter_us.into(), mos_x100.into(), mos_min_x100.into()] {
        put(out, number);
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// Absent is 0, so present ones count from 1.
fn put_option(out: &mut Vec<u8>, number: Option<u64>) {
    put(out, number.map_or(0, |number| number + 1));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_call(out: &mut Vec<u8>, call: CallId) {
    out.extend_from_slice(&call.0.to_be_bytes());
}

fn put_leg(out: &mut Vec<u8>, leg: LegId) {
    put_call(out, leg.call);
    put(out, u64::from(leg.n));
}

fn put_party(out: &mut Vec<u8>, party: &Party) {
    put_text(out, party.number.as_str());
    put_text(out, party.name.as_str());
    put_option(out, party.user.map(|user| u64::from(user.0)));
    put_option(out, party.peer.map(|peer| u64::from(peer.0)));
}

fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    put(out, u64::from(address.port()));
}

fn put_transport(out: &mut Vec<u8>, transport: Transport) {
    out.push(match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
        Transport::Tls => 3,
        Transport::Ws => 4,
        Transport::Wss => 5,
    });
}

fn put_texts(out: &mut Vec<u8>, texts: &[String]) {
    put(out, texts.len() as u64);
    for text in texts {
        put_text(out, text);
    }
}

fn put_optional_text(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    put_text(out, text.unwrap_or_default());
}

fn put_subscription(out: &mut Vec<u8>, subscription: &StoredSubscription) {
    put_text(out, &subscription.key);
    put_text(out, &subscription.package);
    put_optional_text(out, subscription.id.as_deref());
    put(out, u64::from(subscription.subject.0));
    put_text(out, &subscription.entity);
    put_text(out, &subscription.call_id);
    put_text(out, &subscription.local);
    put_text(out, &subscription.remote);
    put_text(out, &subscription.remote_tag);
    put_text(out, &subscription.target);
    put_texts(out, &subscription.route);
    out.push(u8::from(subscription.secure));
    put(out, u64::from(subscription.cseq));
    put_transport(out, subscription.transport);
    put(out, u64::from(subscription.listener));
    put_address(out, subscription.local_address);
    put_address(out, subscription.source);
    put_signed(out, subscription.began.0);
    put_signed(out, subscription.expires.0);
}

fn put_binding(out: &mut Vec<u8>, binding: &StoredBinding) {
    put_text(out, &binding.key);
    put_text(out, &binding.contact);
    put_transport(out, binding.transport);
    put(out, u64::from(binding.listener));
    put_address(out, binding.local);
    put_address(out, binding.source);
    put_texts(out, &binding.path);
    put(out, u64::from(binding.q));
    put_text(out, &binding.call_id);
    put(out, u64::from(binding.cseq));
    put_optional_text(out, binding.instance.as_deref());
    put_option(out, binding.reg_id.map(u64::from));
    put_text(out, &binding.agent);
    out.push(u8::from(binding.nat));
    put_signed(out, binding.expires.0);
    out.push(u8::from(binding.ice));
}

fn put_cause(out: &mut Vec<u8>, cause: EndCause) {
    let code = match cause {
        EndCause::Normal => 1,
        EndCause::Cancelled => 2,
        EndCause::Busy => 3,
        EndCause::NoAnswer => 4,
        EndCause::Declined => 5,
        EndCause::AnsweredElsewhere => 6,
        EndCause::NotFound => 7,
        EndCause::Unavailable => 8,
        EndCause::MediaMismatch => 9,
        EndCause::MediaLost => 10,
        EndCause::SignallingLost => 11,
        EndCause::TooLong => 12,
        EndCause::Administrative => 13,
        EndCause::Overload => 14,
        EndCause::Interrupted => 15,
        EndCause::Internal => 16,
        EndCause::Transferred => 17,
        // A status has three digits, so the codes of all others lie below it.
        EndCause::Failed(status) => FAILED + u64::from(status),
    };
    put(out, code);
}

/// Bytes that end too early or do not fit their field.
struct Damaged;

impl From<std::num::TryFromIntError> for Damaged {
    fn from(_: std::num::TryFromIntError) -> Self {
        Damaged
    }
}

impl From<std::str::Utf8Error> for Damaged {
    fn from(_: std::str::Utf8Error) -> Self {
        Damaged
    }
}

/// Takes fields off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        self.array().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    fn signed(&mut self) -> Result<i64, Damaged> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn option(&mut self) -> Result<Option<u64>, Damaged> {
        self.number().map(|number| number.checked_sub(1))
    }

    fn id(&mut self) -> Result<u32, Damaged> {
        Ok(u32::try_from(self.number()?)?)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = usize::try_from(self.number()?)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, Damaged> {
        Ok(std::str::from_utf8(self.bytes()?)?)
    }

    fn call(&mut self) -> Result<CallId, Damaged> {
        Ok(CallId(u128::from_be_bytes(self.array()?)))
    }

    fn leg(&mut self) -> Result<LegId, Damaged> {
        let call = self.call()?;
        Ok(LegId { call, n: u16::try_from(self.number()?)? })
    }

    fn leg_of(&mut self, call: CallId) -> Result<Option<LegId>, Damaged> {
        let Some(n) = self.option()? else { return Ok(None) };
        Ok(Some(LegId { call, n: u16::try_from(n)? }))
    }

    fn stream(&mut self) -> Result<StreamFigures, Damaged> {
        Ok(StreamFigures {
            packets: self.number()?,
            lost: self.number()?,
            jitter_us: u32::try_from(self.number()?)?,
            mos_x100: u16::try_from(self.number()?)?,
            mos_min_x100: u16::try_from(self.number()?)?,
        })
    }

    fn party(&mut self) -> Result<Party, Damaged> {
        Ok(Party {
            number: Pii::new(self.text()?),
            name: Pii::new(self.text()?),
            user: self.option()?.map(|id| UserId(id as u32)),
            peer: self.option()?.map(|id| PeerId(id as u32)),
            // Whoever reads records may know who called.
            private: false,
        })
    }

    fn address(&mut self) -> Result<SocketAddr, Damaged> {
        let ip = match self.byte()? {
            4 => IpAddr::from(self.array::<4>()?),
            6 => IpAddr::from(self.array::<16>()?),
            _ => return Err(Damaged),
        };
        Ok(SocketAddr::new(ip, u16::try_from(self.number()?)?))
    }

    fn transport(&mut self) -> Result<Transport, Damaged> {
        Ok(match self.byte()? {
            1 => Transport::Udp,
            2 => Transport::Tcp,
            3 => Transport::Tls,
            4 => Transport::Ws,
            5 => Transport::Wss,
            _ => return Err(Damaged),
        })
    }

    fn owned(&mut self) -> Result<String, Damaged> {
        self.text().map(str::to_owned)
    }

    fn texts(&mut self) -> Result<Vec<String>, Damaged> {
        (0..self.number()?).map(|_| self.owned()).collect()
    }

    fn optional_text(&mut self) -> Result<Option<String>, Damaged> {
        let is_there = self.byte()? != 0;
        let text = self.owned()?;
        Ok(is_there.then_some(text))
    }

    fn subscription(&mut self) -> Result<StoredSubscription, Damaged> {
        Ok(StoredSubscription {
            key: self.owned()?,
            package: self.owned()?,
            id: self.optional_text()?,
            subject: UserId(self.id()?),
            entity: self.owned()?,
            call_id: self.owned()?,
            local: self.owned()?,
            remote: self.owned()?,
            remote_tag: self.owned()?,
            target: self.owned()?,
            route: self.texts()?,
            secure: self.byte()? != 0,
            cseq: self.id()?,
            transport: self.transport()?,
            listener: u16::try_from(self.number()?)?,
            local_address: self.address()?,
            source: self.address()?,
            began: Wall(self.signed()?),
            expires: Wall(self.signed()?),
        })
    }

    fn binding(&mut self) -> Result<StoredBinding, Damaged> {
        Ok(StoredBinding {
            key: self.text()?.to_owned(),
            contact: self.text()?.to_owned(),
            transport: self.transport()?,
            listener: u16::try_from(self.number()?)?,
            local: self.address()?,
            source: self.address()?,
            path: self.texts()?,
            q: u16::try_from(self.number()?)?,
            call_id: self.text()?.to_owned(),
            cseq: self.id()?,
            instance: self.optional_text()?,
            reg_id: self.option()?.map(|id| id as u32),
            agent: self.text()?.to_owned(),
            nat: self.byte()? != 0,
            expires: Wall(self.signed()?),
            // Records of the release before end here.
            ice: self.byte().is_ok_and(|byte| byte != 0),
        })
    }

    fn cause(&mut self) -> Result<EndCause, Damaged> {
        Ok(match self.number()? {
            1 => EndCause::Normal,
            2 => EndCause::Cancelled,
            3 => EndCause::Busy,
            4 => EndCause::NoAnswer,
            5 => EndCause::Declined,
            6 => EndCause::AnsweredElsewhere,
            7 => EndCause::NotFound,
            8 => EndCause::Unavailable,
            9 => EndCause::MediaMismatch,
            10 => EndCause::MediaLost,
            11 => EndCause::SignallingLost,
            12 => EndCause::TooLong,
            13 => EndCause::Administrative,
            14 => EndCause::Overload,
            15 => EndCause::Interrupted,
            17 => EndCause::Transferred,
            failed if failed >= FAILED => EndCause::Failed(u16::try_from(failed - FAILED)?),
            // A cause of a later release, and our own fault.
            _ => EndCause::Internal,
        })
    }
}

/// Where the codes of [`EndCause::Failed`] begin.
const FAILED: u64 = 1_000;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn binding(key: &str, expires: i64) -> StoredBinding {
        StoredBinding {
            key: key.into(),
            contact: "sip:101@192.0.2.1:5060".into(),
            transport: Transport::Udp,
            listener: 0,
            local: "192.0.2.9:5060".parse().unwrap(),
            source: "192.0.2.1:5060".parse().unwrap(),
            path: vec!["<sip:p;lr>".into()],
            q: 1000,
            call_id: "a@b".into(),
            cseq: 7,
            instance: Some("urn:uuid:1".into()),
            reg_id: None,
            agent: "phone".into(),
            nat: true,
            expires: Wall(expires),
            ice: true,
        }
    }

    pub(crate) fn subscription(key: &str, expires: i64) -> StoredSubscription {
        StoredSubscription {
            key: key.into(),
            package: "dialog".into(),
            id: Some("7".into()),
            subject: UserId(2),
            entity: "sip:102@office.example".into(),
            call_id: "c@d".into(),
            local: "<sip:102@office.example>;tag=w1".into(),
            remote: "<sip:101@office.example>;tag=a".into(),
            remote_tag: "a".into(),
            target: "sip:101@192.0.2.1:5060".into(),
            route: vec!["<sip:p;lr>".into(), "<sip:q;lr>".into()],
            secure: true,
            cseq: 3,
            transport: Transport::Wss,
            listener: 2,
            local_address: "[2001:db8::9]:443".parse().unwrap(),
            source: "192.0.2.1:5060".parse().unwrap(),
            began: Wall(-1),
            expires: Wall(expires),
        }
    }

    fn facts() -> Vec<Fact> {
        let call = CallId(u128::MAX / 3);
        let leg = LegId { call, n: 300 };
        let party = Party {
            number: "+7495".into(),
            name: "Анна".into(),
            user: Some(UserId(0)),
            peer: Some(PeerId(u32::MAX)),
            private: false,
        };
        let source = "[2001:db8::1]:65535".parse().unwrap();
        let mut facts = vec![
            Fact::CallOpened { call, from: party.clone(), to: Party::default(), sip_call_id: String::new(), source },
            Fact::LegOpened { leg, to: party.clone() },
            Fact::LegRang { leg },
            Fact::CallAnswered { call, by: None, who: party.clone() },
            Fact::CallAnswered { call, by: Some(leg), who: party.clone() },
            Fact::CallTransferred { call, by: leg, to: None, who: party.clone(), with: Some(CallId(1)) },
            Fact::CallTransferred { call, by: leg, to: Some(leg), who: party, with: None },
            Fact::CallEnded { call, cause: EndCause::Failed(606), by: Some(leg) },
            Fact::Bound { user: UserId(1), binding: binding("k", -5) },
            Fact::Unbound { user: UserId(u32::MAX), key: "k".into() },
            Fact::Subscribed { user: UserId(3), subscription: Box::new(subscription("w1", i64::MAX)) },
            Fact::Unsubscribed { user: UserId(3), key: "w1".into() },
            Fact::LegMeasured { leg, figures: Box::default() },
            Fact::LegMeasured { leg, figures: Box::new(measured()) },
        ];
        let names = ["normal", "cancelled", "busy", "no_answer", "declined", "answered_elsewhere", "not_found"];
        let more = ["unavailable", "media_mismatch", "media_lost", "signalling_lost", "too_long", "administrative"];
        for name in
            names.into_iter().chain(more).chain(["overload", "interrupted", "internal", "transferred", "failed_404"])
        {
            facts.push(Fact::LegEnded { leg, cause: books::cause_from_name(name).unwrap() });
        }
        facts
    }

    fn measured() -> LegFigures {
        let from =
            StreamFigures { packets: u64::MAX, lost: 7, jitter_us: u32::MAX, mos_x100: 441, mos_min_x100: u16::MAX };
        let to = Some(StreamFigures { packets: 1, ..from });
        LegFigures { from, to, round_trip_us: Some(u32::MAX) }
    }

    fn events() -> Vec<Event> {
        let event = |(n, fact)| {
            let (shard, seq, account) = (ShardId(u16::MAX), Seq(n as u64 * 1_000_000_007), AccountId(n as u32));
            Event { shard, seq, account, at: Time::from_nanos(u64::MAX - n as u64), wall: Wall(-(n as i64)), fact }
        };
        facts().into_iter().enumerate().map(event).collect()
    }

    fn print(events: &[Event]) -> Vec<u8> {
        let (mut scratch, mut out) = (Vec::new(), Vec::new());
        for event in events {
            write(event, &mut scratch, &mut out);
        }
        out
    }

    #[test]
    fn every_fact_is_read_back_as_it_was() {
        let events = events();
        assert_eq!(read(&print(&events)).collect::<Vec<_>>(), events);
    }

    #[test]
    fn unknown_kinds_and_longer_records_are_passed_over() {
        let events = events();
        let mut bytes = print(&events[..1]);
        let mut later = print(&events[2..3]);
        // One more field at the end of a known kind, then a kind of a later release.
        later[0] += 2;
        later.extend_from_slice(&[9, 9]);
        bytes.extend_from_slice(&later);
        bytes.extend_from_slice(&[3, 200, 1, 1]);
        bytes.extend_from_slice(&print(&events[3..4]));
        assert_eq!(read(&bytes).collect::<Vec<_>>(), [events[0].clone(), events[2].clone(), events[3].clone()]);
    }

    /// The release before wrote a binding without what it did not know of it.
    #[test]
    fn a_shorter_binding_is_read_as_far_as_it_goes() {
        let bound = |ice| {
            let binding = StoredBinding { ice, ..binding("k", 5) };
            Event { fact: Fact::Bound { user: UserId(1), binding }, ..events().remove(0) }
        };
        let bytes = print(&[bound(true)]);
        let inside = Reader(&bytes).bytes().ok().unwrap();
        let (mut shorter, before) = (Vec::new(), &inside[..inside.len() - 1]);
        put(&mut shorter, before.len() as u64);
        shorter.extend_from_slice(before);
        assert_eq!(read(&shorter).collect::<Vec<_>>(), [bound(false)]);
    }

    #[test]
    fn damaged_bytes_end_the_reading_without_a_panic() {
        let bytes = print(&events());
        for end in 0..bytes.len() {
            let _ = read(&bytes[..end]).count();
        }
        let mut chance = words::Chance::new(words::Seed::from_number(5));
        for _ in 0..20_000 {
            let mut damaged = bytes.clone();
            let at = chance.below(bytes.len() as u64) as usize;
            damaged[at] = chance.u32() as u8;
            let _ = read(&damaged).count();
        }
    }
}
