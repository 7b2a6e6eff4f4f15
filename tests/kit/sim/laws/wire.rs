//! What is over by what was on the wire: transactions, dialogs and calls have nothing more to say then but what the RFCs
//! want to be said again.

use sip::{HeaderName, Message, Method};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use words::{ConnectionId, Flow, Time};

/// Transactions and dialogs, as somebody sees them who hears every message of the exchange.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Requests that came, by [`name`].
    servers: BTreeMap<String, Server>,
    /// Requests that left, by [`name`].
    clients: BTreeMap<String, Client>,
    /// Dialogs that are over, by Call-ID, our tag and theirs; subscriptions, by their event after that.
    over: BTreeMap<String, Over>,
}

/// A request that came.
#[derive(Debug)]
struct Server {
    from: SocketAddr,
    first: Time,
    last: Time,
    /// How often it came, and how often it had a final answer.
    came: u32,
    answers: u32,
    /// That answer: when it was given first, its status and our tag.
    said: Option<(Time, u16, String)>,
    /// How often it had come when its ACK came.
    acked: Option<u32>,
    /// It came inside a dialog, and into one that was over.
    inside: bool,
    late: bool,
}

/// A request that left.
#[derive(Debug)]
struct Client {
    to: SocketAddr,
    connection: ConnectionId,
    last: Time,
    /// Something came back, from wherever; and from there, and a final answer.
    spoke: bool,
    provisional: bool,
    answered: bool,
    /// How often a final answer came, from wherever, and how often it had an ACK.
    answers: u32,
    acks: u32,
    /// Who rings: the tags of provisional answers.
    rings: Vec<String>,
    /// What it is about.
    event: String,
}

/// How and when a dialog ended.
#[derive(Debug)]
struct Over {
    since: Time,
    how: &'static str,
}

impl Wire {
    /// The exchange was started anew, and remembers no transaction.
    pub(super) fn forget(&mut self) {
        self.servers.clear();
        self.clients.clear();
    }

    /// Passes over what was over long ago: nobody sends it again.
    pub(super) fn rest(&mut self, now: Time) {
        let keeps = |done: bool, last| now.since(last) < if done { MEMORY } else { OPEN };
        self.servers.retain(|_, server| keeps(server.said.is_some(), server.last));
        self.clients.retain(|_, client| keeps(client.answers > 0 || !client.provisional, client.last));
        self.over.retain(|_, over| keeps(true, over.since));
    }

    /// A message comes in.
    pub(super) fn hear(&mut self, flow: &Flow, message: &Message, now: Time) {
        let Some(name) = name(message) else { return };
        match (message.is_request(), message.method()) {
            (true, Method::Ack) => self.hear_ack(flow, message),
            (true, _) => {
                let (ours, theirs) = (message.to_tag().unwrap_or_default(), message.from_tag().unwrap_or_default());
                let late = self.is_over(message, &dialog(message, ours, theirs)).is_some();
                let new = || Server::new(flow.remote, !ours.is_empty(), late, now);
                let server = self.servers.entry(name).or_insert_with(new);
                (server.came, server.last) = (server.came + 1, now);
            }
            (false, _) => self.hear_answer(flow, message, &name, now),
        }
    }

    fn hear_ack(&mut self, flow: &Flow, ack: &Message) {
        let branch = branch(ack);
        let to_tag = ack.to_tag().unwrap_or_default();
        for (name, server) in within(&mut self.servers, &prefix(ack, "INVITE")) {
            let Some((_, status, tag)) = &server.said else { continue };
            // A forged one ends nothing.
            let fits = if *status < 300 { tag == to_tag } else { name.ends_with(&branch) };
            if fits && server.from == flow.remote {
                server.acked = Some(server.came);
            }
        }
    }

    fn hear_answer(&mut self, flow: &Flow, answer: &Message, name: &str, now: Time) {
        let Some(client) = self.clients.get_mut(name) else { return };
        let (status, tag) = (answer.status(), answer.to_tag().unwrap_or_default());
        let from_there = client.to == flow.remote;
        client.last = now;
        client.spoke = true;
        client.provisional |= from_there;
        if status < 200 {
            if status > 100 && !client.rings.iter().any(|known| known == tag) {
                client.rings.push(tag.to_owned());
            }
            return;
        }
        client.answered |= from_there;
        client.answers += 1;
        if status == 481 && answer.method() == Method::Notify {
            let ours = dialog(answer, answer.from_tag().unwrap_or_default(), tag);
            let over = Over { since: now, how: "its subscriber knows nothing of it" };
            self.over.insert(format!("{ours} {}", client.event), over);
        }
        // A refusal ends whoever rang; one that comes after a 2xx is nobody's.
        if status >= 300 && client.answers == 1 && answer.method() == Method::Invite {
            for tag in std::mem::take(&mut client.rings) {
                let over = Over { since: now, how: "its INVITE was refused" };
                self.over.insert(dialog(answer, answer.from_tag().unwrap_or_default(), &tag), over);
            }
        }
    }

    /// A message leaves. Says what is wrong with it.
    pub(super) fn judge(&mut self, flow: &Flow, message: &Message, now: Time) -> Result<(), String> {
        let Some(name) = name(message) else { return Ok(()) };
        let broken = match (message.is_request(), message.method()) {
            (true, Method::Ack) => self.acknowledges(message),
            (true, _) => self.asks(flow, message, &name, now),
            (false, _) => self.answers(flow, message, &name, now),
        };
        broken.map_err(|why| format!("says {} to {name}: {why}", what(message)))
    }

    /// An ACK answers an answer, and each one once (§13.2.2.4, §17.1.1.3).
    fn acknowledges(&mut self, ack: &Message) -> Result<(), String> {
        let invite = prefix(ack, "INVITE");
        let owed = within(&mut self.clients, &invite).find(|(_, client)| client.acks < client.answers);
        let Some((_, client)) = owed else { return Err("no answer came that this acknowledges".to_owned()) };
        client.acks += 1;
        Ok(())
    }

    fn asks(&mut self, flow: &Flow, request: &Message, name: &str, now: Time) -> Result<(), String> {
        if let Some(before) = self.clients.get_mut(name) {
            let silent = !before.answered && (request.method() != Method::Invite || !before.provisional);
            before.last = now;
            // One that was heard goes out once more where its connection was closed: its answer finds another.
            let anew = std::mem::replace(&mut before.connection, flow.connection) != flow.connection;
            return match () {
                () if anew && !before.answered => Ok(()),
                () if !silent => Err("it was heard, and needs no repetition (§17.1.1.2, §17.1.2.2)".to_owned()),
                () if flow.transport.is_reliable() => Err("streams lose nothing (§17.1.1.2)".to_owned()),
                () => Ok(()),
            };
        }
        if request.method() == Method::Cancel {
            let invite = self.clients.get(&name.replace(" CANCEL ", " INVITE "));
            let rings = invite.is_some_and(|invite| invite.spoke && !invite.answered);
            if !rings {
                return Err("its INVITE has no provisional answer, or a final one (§9.1)".to_owned());
            }
        }
        let ours = dialog(request, request.from_tag().unwrap_or_default(), request.to_tag().unwrap_or_default());
        if let Some(how) = self.is_over(request, &ours) {
            return Err(format!("that is over: {how}"));
        }
        // With a connection its transaction may be gone, too.
        if request.method() == Method::Bye && !flow.transport.is_reliable() && self.waits_for_ack(request, now) {
            return Err("the ACK to its 2xx has not come (§15)".to_owned());
        }
        if is_last_word(request) {
            let over = Over { since: now, how: "its last NOTIFY was sent" };
            self.over.insert(format!("{ours} {}", event(request)), over);
        }
        let new = Client::new(request, flow, now);
        self.clients.insert(name.to_owned(), new);
        Ok(())
    }

    /// Whether nothing may be said there any more, by either side.
    fn is_over(&self, request: &Message, dialog: &str) -> Option<&'static str> {
        let subscription = matches!(request.method(), Method::Notify | Method::Subscribe);
        let subscription = subscription.then(|| self.over.get(&format!("{dialog} {}", event(request)))).flatten();
        // How the transfer of a call went is told even when the call is over (RFC 5057 §4.1), but then for the last time.
        let call = self.over.get(dialog).filter(|_| request.method() != Method::Cancel && !is_last_word(request));
        subscription.or(call).map(|over| over.how)
    }

    /// Whether a call that the other side began has our 2xx, and no ACK.
    fn waits_for_ack(&mut self, bye: &Message, now: Time) -> bool {
        let (ours, theirs) = (bye.from_tag().unwrap_or_default(), bye.to_tag().unwrap_or_default());
        let dialog = format!("{} {theirs} ", bye.call_id().unwrap_or_default());
        within(&mut self.servers, &dialog).any(|(name, server)| {
            let said = server
                .said
                .as_ref()
                .is_some_and(|(first, status, tag)| *status < 300 && tag == ours && now.since(*first) < TXN);
            said && name.contains(" INVITE ") && !server.inside && server.acked.is_none()
        })
    }

    fn answers(&mut self, flow: &Flow, answer: &Message, name: &str, now: Time) -> Result<(), String> {
        let Some(server) = self.servers.get_mut(name) else { return Err("nobody asked".to_owned()) };
        let (status, tag) = (answer.status(), answer.to_tag().unwrap_or_default());
        server.last = now;
        server.may_say(flow, answer, now)?;
        if status < 200 {
            return Ok(());
        }
        if server.said.is_none() || server.is_judged_anew(answer) {
            server.said = Some((now, status, tag.to_owned()));
            server.acked = None;
        }
        server.answers += 1;
        let ends = match answer.method() {
            Method::Bye if status < 300 => "its BYE was answered",
            Method::Invite if status >= 300 => "its INVITE was refused",
            _ => return Ok(()),
        };
        // A change that is refused ends nothing.
        if answer.method() == Method::Bye || !server.inside {
            let theirs = answer.from_tag().unwrap_or_default();
            self.over.entry(dialog(answer, tag, theirs)).or_insert(Over { since: now, how: ends });
        }
        Ok(())
    }
}

impl Client {
    fn new(request: &Message, flow: &Flow, now: Time) -> Client {
        Client {
            to: flow.remote,
            connection: flow.connection,
            last: now,
            spoke: false,
            provisional: false,
            answered: false,
            answers: 0,
            acks: 0,
            rings: Vec::new(),
            event: event(request).to_owned(),
        }
    }
}

impl Server {
    /// Who asks again is judged anew where the refusal left no memory (§8.2.7): a stranger's, one for want of a dialog or of
    /// room, and each CANCEL, whose INVITE may be gone meanwhile.
    fn is_judged_anew(&self, answer: &Message) -> bool {
        let Some((_, before, _)) = &self.said else { return false };
        let forgets = matches!(before, 401 | 481) || !self.inside && matches!(before, 403 | 503);
        self.came > self.answers && (forgets || answer.method() == Method::Cancel)
    }

    fn new(from: SocketAddr, inside: bool, late: bool, now: Time) -> Server {
        Server { from, first: now, last: now, came: 0, answers: 0, said: None, acked: None, inside, late }
    }

    fn may_say(&self, flow: &Flow, answer: &Message, now: Time) -> Result<(), String> {
        let (status, invite) = (answer.status(), answer.method() == Method::Invite);
        let ends = matches!(answer.method(), Method::Bye | Method::Cancel);
        if self.late && (200..300).contains(&status) && !ends {
            return Err("it came into a dialog that was over (§12.2.2)".to_owned());
        }
        let Some((first, before, _)) = &self.said else {
            return match status {
                101..200 if !invite => Err("only an INVITE has such answers (RFC 4320 §4.1)".to_owned()),
                200.. if !invite && now.since(self.first) > TXN => {
                    Err("nobody waits for it any more (RFC 4320 §4.2)".to_owned())
                }
                _ => Ok(()),
            };
        };
        if self.is_judged_anew(answer) {
            return Ok(());
        }
        let again = self.came > self.answers;
        // A success is sent again over each transport until its ACK is there (§13.3.1.4).
        let repeats = invite && (status < 300 || !flow.transport.is_reliable()) && now.since(*first) <= TXN;
        match self.acked {
            _ if *before != status => Err(format!("it had {before} (§17.2.1, §17.2.2)")),
            // So does who refuses without a memory.
            Some(came) if status < 300 || came == self.came => Err("it was acknowledged".to_owned()),
            None if !again && !repeats => Err("nobody asked again".to_owned()),
            Some(_) | None => Ok(()),
        }
    }
}

/// What a transaction is known by: Call-ID, tag of who asks, CSeq, method and branch. `None` with a branch of RFC 2543.
fn name(message: &Message) -> Option<String> {
    let branch = branch(message);
    let cookie = branch.split(' ').any(|word| word.starts_with(COOKIE));
    cookie.then(|| format!("{}{branch}", prefix(message, method(message))))
}

/// The same without the branch.
fn prefix(message: &Message, method: &str) -> String {
    let number = message.cseq().map(|cseq| cseq.number).unwrap_or_default();
    let (call_id, tag) = (message.call_id().unwrap_or_default(), message.from_tag().unwrap_or_default());
    format!("{call_id} {tag} {number} {method} ")
}

fn method(message: &Message) -> &str {
    message.header(HeaderName::CSeq).and_then(|cseq| cseq.split_whitespace().nth(1)).unwrap_or_default()
}

/// Who made the Via, and the branch in it.
fn branch(message: &Message) -> String {
    let Ok(via) = message.via() else { return String::new() };
    format!("{} {:?} {}", via.host, via.port, via.branch().unwrap_or_default())
}

/// What a dialog is known by.
fn dialog(message: &Message, ours: &str, theirs: &str) -> String {
    format!("{} {ours} {theirs}", message.call_id().unwrap_or_default())
}

/// Those whose names begin so.
fn within<'a, T>(map: &'a mut BTreeMap<String, T>, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a mut T)> {
    map.range_mut(prefix.to_owned()..).take_while(move |(name, _)| name.starts_with(prefix))
}

fn event(request: &Message) -> &str {
    request.header(HeaderName::Event).unwrap_or_default()
}

/// Whether it ends its subscription.
fn is_last_word(request: &Message) -> bool {
    let state = request.header(HeaderName::SubscriptionState).unwrap_or_default();
    request.method() == Method::Notify && state.starts_with("terminated")
}

fn what(message: &Message) -> String {
    if message.is_request() { message.method_token().to_owned() } else { message.status().to_string() }
}

/// How branches begin since RFC 3261 (§8.1.1.7).
const COOKIE: &str = "z9hG4bK";
/// How long a transaction lives: 64*T1.
const TXN: Duration = Duration::from_secs(32);
/// How long is remembered what is over: nobody sends it again.
const MEMORY: Duration = Duration::from_secs(64);
/// How long a request may wait for its answer.
const OPEN: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use words::Transport;

    /// What was on the wire: lines from `<` whoever is outside and from `>` the exchange. The last one is judged.
    fn judged(transport: Transport, wire: &[(&str, u64, String)]) -> Result<(), String> {
        let (mut laws, mut last) = (Wire::default(), Ok(()));
        let remote = "192.0.2.9:5060".parse().unwrap();
        let flow = Flow { transport, listener: 0, connection: ConnectionId::NONE, local: remote, remote };
        for (n, (side, seconds, text)) in wire.iter().enumerate() {
            let message = Message::parse(Bytes::from(text.clone())).unwrap();
            let now = Time::from_millis(seconds * 1_000);
            if *side == "<" {
                laws.hear(&flow, &message, now);
            } else {
                last = laws.judge(&flow, &message, now);
                assert!(n + 1 == wire.len() || last.is_ok(), "{last:?}");
            }
        }
        last
    }

    /// A message: its first line, its branch, From and To tag, CSeq, and a line more.
    fn say(first: &str, branch: &str, tags: (&str, &str), cseq: &str, more: &str) -> String {
        let first = if first.starts_with(char::is_numeric) {
            format!("SIP/2.0 {first} x")
        } else {
            format!("{first} sip:a@h SIP/2.0")
        };
        let to = if tags.1.is_empty() { String::new() } else { format!(";tag={}", tags.1) };
        format!(
            "{first}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{branch}\r\nFrom: <sip:a@h>;tag={}\r\nTo: <sip:b@h>{to}\r\n\
             Call-ID: c\r\nCSeq: {cseq}\r\n{more}\r\n",
            tags.0
        )
    }

    fn broken(wire: &[(&str, u64, String)], why: &str) {
        let said = judged(Transport::Udp, wire).unwrap_err();
        assert!(said.contains(why), "{said}");
    }

    fn fine(wire: &[(&str, u64, String)]) {
        assert_eq!(judged(Transport::Udp, wire), Ok(()));
    }

    #[test]
    fn a_transaction_that_was_answered_says_that_alone() {
        let bye = ("<", 0, say("BYE", "1", ("a", "b"), "2 BYE", ""));
        let answer = |seconds, status| (">", seconds, say(status, "1", ("a", "b"), "2 BYE", ""));
        fine(&[bye.clone(), answer(31, "200")]);
        fine(&[bye.clone(), answer(0, "200"), bye.clone(), answer(1, "200")]);
        broken(&[answer(0, "200")], "nobody asked");
        broken(&[bye.clone(), answer(0, "200"), answer(1, "200")], "nobody asked again");
        broken(&[bye.clone(), answer(0, "200"), bye.clone(), answer(1, "481")], "it had 200");
        broken(&[bye.clone(), answer(33, "200")], "nobody waits for it");
        broken(&[bye.clone(), answer(4, "180")], "only an INVITE");
        let invite = ("<", 0, say("INVITE", "1", ("a", ""), "1 INVITE", ""));
        let answer = |seconds, status| (">", seconds, say(status, "1", ("a", "b"), "1 INVITE", ""));
        let ack = |branch| ("<", 2, say("ACK", branch, ("a", "b"), "1 ACK", ""));
        fine(&[invite.clone(), answer(0, "180"), answer(0, "200"), answer(1, "200")]);
        fine(&[invite.clone(), answer(0, "486"), answer(1, "486")]);
        broken(&[invite.clone(), answer(0, "486"), ack("1"), answer(3, "486")], "it was acknowledged");
        broken(&[invite.clone(), answer(0, "200"), ack("2"), answer(3, "200")], "it was acknowledged");
        broken(&[invite.clone(), answer(0, "486"), answer(33, "486")], "nobody asked again");
        broken(&[invite.clone(), answer(0, "486"), answer(1, "180")], "it had 486");
        assert!(judged(Transport::Tcp, &[invite.clone(), answer(0, "486"), answer(1, "486")]).is_err());
        fine(&[invite.clone(), answer(0, "503"), invite, answer(1, "200")]);
    }

    #[test]
    fn a_request_that_was_heard_is_not_repeated() {
        let ask = |seconds| (">", seconds, say("INVITE", "1", ("a", ""), "1 INVITE", ""));
        let hear = |status| ("<", 2, say(status, "1", ("a", "b"), "1 INVITE", ""));
        let ack = |branch| (">", 3, say("ACK", branch, ("a", "b"), "1 ACK", ""));
        let cancel = (">", 3, say("CANCEL", "1", ("a", ""), "1 CANCEL", ""));
        fine(&[ask(0), ask(1)]);
        assert!(judged(Transport::Tcp, &[ask(0), ask(1)]).is_err());
        broken(&[ask(0), hear("100"), ask(3)], "it was heard");
        fine(&[ask(0), hear("100"), cancel.clone()]);
        broken(&[ask(0), cancel.clone()], "no provisional answer");
        broken(&[ask(0), hear("180"), hear("486"), cancel], "no provisional answer");
        fine(&[ask(0), hear("200"), ack("2"), hear("200"), ack("3")]);
        broken(&[ask(0), hear("200"), ack("2"), ack("3")], "no answer came");
        broken(&[ask(0), hear("180"), ack("2")], "no answer came");
    }

    #[test]
    fn nothing_follows_in_a_dialog_that_is_over() {
        let ours = |method: &str, cseq: u32| {
            let more = "Event: refer\r\nSubscription-State: active\r\n";
            (">", 5, say(method, &format!("o{cseq}"), ("b", "a"), &format!("{cseq} {method}"), more))
        };
        // Its goodbye was answered.
        let bye = ("<", 0, say("BYE", "1", ("a", "b"), "2 BYE", ""));
        let over = [bye, (">", 0, say("200", "1", ("a", "b"), "2 BYE", ""))];
        broken(&[&over[..], &[ours("INVITE", 1)]].concat(), "its BYE was answered");
        broken(&[&over[..], &[ours("NOTIFY", 1)]].concat(), "its BYE was answered");
        let info = |status| {
            let info = ("<", 1, say("INFO", "2", ("a", "b"), "3 INFO", ""));
            [info, (">", 1, say(status, "2", ("a", "b"), "3 INFO", ""))]
        };
        broken(&[&over[..], &info("200")[..]].concat(), "a dialog that was over");
        fine(&[&over[..], &info("481")[..]].concat());
        let last = |cseq| {
            let more = "Event: refer\r\nSubscription-State: terminated;reason=noresource\r\n";
            (">", 5, say("NOTIFY", &format!("l{cseq}"), ("b", "a"), &format!("{cseq} NOTIFY"), more))
        };
        fine(&[&over[..], &[last(1)]].concat());
        broken(&[last(1), last(2)], "its last NOTIFY was sent");
        broken(
            &[ours("NOTIFY", 1), ("<", 5, say("481", "o1", ("b", "a"), "1 NOTIFY", "")), ours("NOTIFY", 2)],
            "knows nothing",
        );
        // Its INVITE was refused, or ours.
        let invite = ("<", 0, say("INVITE", "1", ("a", ""), "1 INVITE", ""));
        let refused = (">", 0, say("486", "1", ("a", "b"), "1 INVITE", ""));
        broken(&[invite.clone(), refused, ours("UPDATE", 1)], "its INVITE was refused");
        let asked = [
            (">", 0, say("INVITE", "1", ("b", ""), "1 INVITE", "")),
            ("<", 0, say("180", "1", ("b", "a"), "1 INVITE", "")),
            ("<", 0, say("486", "1", ("b", "a"), "1 INVITE", "")),
        ];
        broken(&[&asked[..], &[ours("PRACK", 2)]].concat(), "its INVITE was refused");
        // Who was called says no goodbye before the ACK.
        let granted = [invite, (">", 0, say("200", "1", ("a", "b"), "1 INVITE", ""))];
        broken(&[&granted[..], &[ours("BYE", 1)]].concat(), "the ACK to its 2xx");
        fine(&[&granted[..], &[("<", 1, say("ACK", "2", ("a", "b"), "1 ACK", "")), ours("BYE", 1)]].concat());
    }
}
