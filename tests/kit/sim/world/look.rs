//! What can be seen of the world: who rings, who talks, who hears whom.

use super::World;
use super::people::{PhoneId, exchange_for};
use crate::sim::line::{Line, LineState};
use crate::sim::relay::End;
use media::command::{Family, SourceRule};
use media::own::Extended;
use switch::view::{CallView, PhoneView, Status};
use switch::{Command, Reply};

impl World {
    /// The newest line of a phone.
    pub fn line(&self, phone: PhoneId) -> &Line {
        self.at_phone(phone).line()
    }

    /// Whether a phone is called and has not answered.
    pub fn rings(&self, phone: PhoneId) -> bool {
        self.at_phone(phone).lines.last().is_some_and(|line| line.state == LineState::Called)
    }

    /// Whether the newest call of a phone is over as the phone sees it.
    pub fn is_over(&self, phone: PhoneId) -> bool {
        self.at_phone(phone).lines.last().is_some_and(Line::is_over)
    }

    /// Whether two phones talk, and what each says reaches the other.
    pub fn talk(&self, a: PhoneId, b: PhoneId) -> bool {
        let up = |phone| self.at_phone(phone).lines.last().is_some_and(Line::talks);
        up(a) && up(b) && self.hears(a, b) && self.hears(b, a)
    }

    /// Whether what `speaker` sends arrives at `listener`: by what both were told, and by the relay's table.
    pub fn hears(&self, listener: PhoneId, speaker: PhoneId) -> bool {
        let newest = |phone: PhoneId| (phone, self.at_phone(phone).lines.len().wrapping_sub(1));
        self.hears_on(newest(listener), newest(speaker))
    }

    /// The same for lines of phones, counted from 0.
    pub fn hears_on(&self, listener: (PhoneId, usize), speaker: (PhoneId, usize)) -> bool {
        let of = |(phone, line): (PhoneId, usize)| self.at_phone(phone).lines.get(line).map(|line| &line.session);
        let (Some(from), Some(to)) = (of(speaker), of(listener)) else { return false };
        let end_of = |session: &crate::sim::session::Session| {
            let port = session.remote().filter(|remote| remote.ip() == exchange_for(*remote).ip())?.port();
            self.relay.at_port(port, session.address, session.checks().as_ref())
        };
        let (Some((_, source)), Some((name, sink))) = (end_of(from), end_of(to)) else { return false };
        // A device behind NAT may be heard at another address than it named.
        let fits = |end: &End, session: &crate::sim::session::Session| {
            end.terms.source == SourceRule::LearnOnce
                || end.terms.remote.is_some_and(|remote| remote.rtp == session.address)
        };
        from.sends()
            && to.hears()
            && source.terms.direction.receives()
            && self.relay.leads(source, name)
            && fits(source, from)
            && fits(sink, to)
            && sink.terms.direction.sends()
            && sink.sound.is_none()
            && source.checks.as_deref() == from.checks().as_ref()
            && sink.checks.as_deref() == to.checks().as_ref()
            && source.keys.as_ref().map(|keys| &keys.inbound) == from.speaks_with()
            && sink.keys.as_ref().map(|keys| &keys.outbound) == to.hears_with()
    }

    fn end_of(&self, phone: PhoneId) -> Option<(words::LegId, &End)> {
        let session = &self.at_phone(phone).lines.last()?.session;
        self.relay.at_port(session.remote()?.port(), session.address, session.checks().as_ref())
    }

    /// The worker of the relay that has a phone's media.
    pub fn worker(&self, phone: PhoneId) -> Option<u16> {
        self.end_of(phone).map(|(_, end)| end.ports.worker)
    }

    /// Whether the relay was told that a phone has RTP and RTCP on one port.
    pub fn is_muxed(&self, phone: PhoneId) -> bool {
        let end = self.end_of(phone);
        end.is_some_and(|(_, end)| end.terms.remote.is_some_and(|remote| remote.is_muxed()))
    }

    /// Which extended reports the relay was told to make for a phone, in the place of who knows none.
    pub fn extended(&self, phone: PhoneId) -> Extended {
        self.end_of(phone).map_or(Extended::default(), |(_, end)| end.terms.extended)
    }

    /// Whether a phone is played a sound by the exchange.
    pub fn hears_sound(&self, phone: PhoneId) -> bool {
        let end = self.end_of(phone);
        end.is_some_and(|(_, end)| end.sound.is_some() && end.terms.direction.sends())
    }

    /// What the newest lamp of a phone for that number shows.
    ///
    /// # Panics
    /// When it has none.
    pub fn lamp(&self, phone: PhoneId, number: &str) -> &'static str {
        let found = self.at_phone(phone).watchings.iter().rev().find(|watching| watching.number == number);
        found.expect("the phone watches that number").lamp()
    }

    /// Counts of the exchange.
    pub fn status(&mut self) -> Status {
        match self.command(Command::Status) {
            Reply::Status(status) => status,
            other => panic!("asked for counts, got {other:?}"),
        }
    }

    /// A counter of the exchange.
    pub fn counter(&mut self, name: &str) -> u64 {
        let status = self.status();
        let found = status.counters.iter().find(|(counter, _)| *counter == name);
        found.unwrap_or_else(|| panic!("no counter is called {name}")).1
    }

    /// The calls that are up.
    pub fn calls(&mut self) -> Vec<CallView> {
        match self.command(Command::Calls { account: None }) {
            Reply::Calls(calls) => calls,
            other => panic!("asked for calls, got {other:?}"),
        }
    }

    /// Pairs of media ports in use, and those that rest after their use.
    pub fn ports_taken(&self) -> u32 {
        [Family::V4, Family::V6].into_iter().map(|family| self.switch.ports_taken(family)).sum()
    }

    /// The devices that are bound.
    pub fn bound(&mut self) -> Vec<PhoneView> {
        match self.command(Command::Phones { account: None }) {
            Reply::Phones(phones) => phones,
            other => panic!("asked for phones, got {other:?}"),
        }
    }
}
