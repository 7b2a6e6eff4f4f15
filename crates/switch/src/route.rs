//! Where a call leads: the fast path of the shipped default scenario.
//!
//! The order: feature codes, routes that name the dialled string exactly, extensions of the account, routes by prefix
//! (the longest wins).

use crate::account::{Account, Pattern, Route, RouteTarget, Service};
use crate::gruu::is_named as is_named_device;
use crate::need::Need;
use crate::sips::{secured, secured_targets};
use crate::switch::{Switch, Waiter};
use crate::whereabouts::Whereabouts;
use b2bua::{Asked, DialTarget, Step, Trust};
use media::command::Sound;
use registrar::Device;
use sip::{Scheme, Uri, push_user};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use words::dns::Question;
use words::{AccountId, CallId, EndCause, LegId, Party, PeerId, Pii, Time};

impl Switch {
    /// Answers a call that asks what to do.
    pub(crate) fn plan(&mut self, call: CallId, now: Time) {
        match self.steps(call, now) {
            Ok(steps) => {
                for step in steps {
                    // A call that ended meanwhile takes no steps, and needs none.
                    if self.calls.apply(call, step, now).is_err() {
                        break;
                    }
                }
            }
            Err(lack) => self.wait(lack, Waiter::Plan(call), now),
        }
    }

    /// Waits for what a route cannot do without.
    fn wait(&mut self, lack: Lack, waiter: Waiter, now: Time) {
        match lack {
            Lack::Need(need) => self.park(need, waiter, now),
            Lack::Names(questions) => {
                if let Err(waiter) = self.peers.names.ask(questions, waiter, now) {
                    self.send_away(vec![waiter], now);
                }
            }
        }
    }

    fn steps(&self, call: CallId, now: Time) -> Result<Vec<Step>, Lack> {
        let Some(asked) = self.calls.asked(call) else { return Ok(Vec::new()) };
        let steps = if let Some(steps) = self.by_code(call, &asked, now)? {
            steps
        } else {
            let uri = asked.uri.filter(|uri| !self.is_home(asked.by, uri));
            self.steps_to(asked.account, asked.number, uri, asked.gr, now)?
        };
        Ok(if asked.secure { secured(steps) } else { steps })
    }

    /// What a number means that begins with a code for users who call; `None`: it begins with none, or the account says
    /// itself what it means.
    fn by_code(&self, call: CallId, asked: &Asked<'_>, now: Time) -> Result<Option<Vec<Step>>, Lack> {
        let codes = &self.config.codes;
        let rest = |code: &str| asked.number.strip_prefix(code).filter(|rest| !code.is_empty() && !rest.is_empty());
        let (hide, hand_over, consult) = (rest(&codes.hide), rest(&codes.hand_over), rest(&codes.consult));
        // Who is sought for a transfer dials nothing himself.
        if asked.uri.is_some() || asked.by.user.is_none() || (hide, hand_over, consult) == (None, None, None) {
            return Ok(None);
        }
        let Some(account) = self.account(Need::Account(asked.account), now)? else { return Ok(None) };
        if account.routes.iter().any(|route| route.pattern == Pattern::Exact(asked.number.to_owned())) {
            return Ok(None);
        }
        if let Some(number) = hide {
            let mut steps = vec![Step::Hide];
            steps.extend(self.steps_to(asked.account, number, None, None, now)?);
            return Ok(Some(steps));
        }
        let Some(held) = self.calls.held_by(call) else {
            let why = "Forbidden: you have nobody on hold";
            return Ok(Some(vec![reject(403, why, EndCause::NotFound)]));
        };
        if let Some(number) = hand_over {
            let hand_over = Step::HandOver { held, number: number.to_owned() };
            return Ok(Some(vec![hand_over, Step::Answer, Step::Hangup { cause: EndCause::Normal }]));
        }
        let mut steps = vec![Step::Consult { held }];
        steps.extend(self.steps_to(asked.account, consult.unwrap_or_default(), None, None, now)?);
        Ok(Some(steps))
    }

    /// Where a number of an account leads; `uri` is what named it, where that may be somewhere else, `gr` which device is
    /// meant.
    fn steps_to(
        &self,
        account: AccountId,
        dialled: &str,
        uri: Option<&str>,
        gr: Option<&str>,
        now: Time,
    ) -> Result<Vec<Step>, Lack> {
        let Some(account) = self.account(Need::Account(account), now)? else {
            return Ok(vec![reject(404, "Not Found: the account is gone", EndCause::NotFound)]);
        };
        if let Some(uri) = uri.filter(|uri| !self.is_ours(uri, &account)) {
            return self.steps_elsewhere(&account, dialled, uri, now);
        }
        if let Some(gr) = gr {
            return self.steps_to_device(&account, dialled, gr, now);
        }
        if dialled == self.config.codes.echo && !dialled.is_empty() {
            return Ok(service(Service::Echo, ""));
        }
        let exact = account
            .routes
            .iter()
            .find(|route| matches!(route.pattern, Pattern::Exact(_)) && route.pattern.fit(dialled).is_some());
        if let Some(route) = exact {
            return self.lead(&account, route, dialled, now);
        }
        let extension = Need::Extension { account: account.id, extension: dialled.to_owned() };
        if let Some(user) = self.user(extension, now)? {
            return Ok(self.ring(&account, &[user], account.ring_for, false, None, now));
        }
        match account
            .routes
            .iter()
            .filter_map(|route| Some((route.pattern.fit(dialled)?, route)))
            .max_by_key(|(fit, _)| *fit)
        {
            Some((_, route)) => self.lead(&account, route, dialled, now),
            None => Ok(vec![reject(404, "Not Found: no extension or route has this number", EndCause::NotFound)]),
        }
    }

    /// Where a URI leads that names another server: to a peer of the account, as far as a route of the account leads there
    /// with what the URI's user part dials. A call that must be paid for goes nowhere that could not be dialled.
    fn steps_elsewhere(&self, account: &Arc<Account>, dialled: &str, uri: &str, now: Time) -> Result<Vec<Step>, Lack> {
        let named: Vec<PeerId> =
            account.peers.iter().filter(|peer| is_named(uri, &peer.host)).map(|peer| peer.id).collect();
        if named.is_empty() {
            return Ok(vec![reject(403, "Forbidden: the URI names another server", EndCause::NotFound)]);
        }
        let leads = |route: &&Route| matches!(route.target, RouteTarget::Peer { peer, .. } if named.contains(&peer));
        let fitting =
            account.routes.iter().filter(leads).filter_map(|route| Some((route.pattern.fit(dialled)?, route)));
        match fitting.max_by_key(|(fit, _)| *fit) {
            Some((_, route)) => self.lead(account, route, dialled, now),
            None => Ok(vec![reject(403, "Forbidden: no route leads to that server so", EndCause::NotFound)]),
        }
    }

    /// One device of a user (RFC 5627 §5.5, §6.1): named by its instance, or without one by a temporary name.
    fn steps_to_device(&self, account: &Account, dialled: &str, gr: &str, now: Time) -> Result<Vec<Step>, Lack> {
        let nobody = || vec![reject(404, "Not Found: no device has this GRUU", EndCause::NotFound)];
        let Some(meant) = self.meant(account.id, dialled, Some(gr), now) else { return Ok(nobody()) };
        let need = Need::Extension { account: account.id, extension: meant.extension.clone() };
        let Some(user) = self.user(need, now)?.filter(|user| meant.is(user)) else { return Ok(nobody()) };
        Ok(self.ring(account, &[user], account.ring_for, false, meant.gr.as_deref(), now))
    }

    /// Answers a call that somebody who was rung sends elsewhere: by the routes of his account, and to nobody else.
    pub(crate) fn redirect(&mut self, leg: LegId, now: Time) {
        match self.redirected(leg, now) {
            Ok((targets, refusal)) => {
                // A call that ended or was answered meanwhile needs nobody.
                let _ = self.calls.redirect(leg, targets, &refusal, now);
            }
            Err(lack) => self.wait(lack, Waiter::Redirect(leg), now),
        }
    }

    /// Whom the Contacts of a 3xx lead to, and what the caller is told when that is nobody.
    fn redirected(&self, leg: LegId, now: Time) -> Result<(Vec<DialTarget>, String), Lack> {
        let Some(redirection) = self.calls.redirection(leg) else { return Ok((Vec::new(), String::new())) };
        let (mut targets, mut refusal) = (Vec::new(), None);
        for contact in &redirection.contacts {
            let uri = Some(contact.uri.as_str()).filter(|uri| !self.is_home(&redirection.by, uri));
            let steps = self.steps_to(redirection.account, &contact.number, uri, contact.gr(), now)?;
            for step in steps {
                match step {
                    Step::Dial { targets: found, .. } => targets.extend(found.into_iter().map(|target| DialTarget {
                        order: contact.order * ORDERS_PER_CONTACT + target.order.min(ORDERS_PER_CONTACT - 1),
                        ..target
                    })),
                    Step::Reject { reason, .. } => drop(refusal.get_or_insert(reason)),
                    Step::Hide => {}
                    Step::Ring
                    | Step::HandOver { .. }
                    | Step::Consult { .. }
                    | Step::Progress { .. }
                    | Step::Answer
                    | Step::Echo
                    | Step::Play { .. }
                    | Step::AnswerAfter { .. }
                    | Step::Hangup { .. } => {
                        refusal.get_or_insert_with(|| "Forbidden: redirected to a service".to_owned());
                    }
                }
            }
        }
        if self.calls.asked(leg.call).is_some_and(|asked| asked.secure) {
            targets = secured_targets(targets);
        }
        let refusal = refusal.unwrap_or_default();
        let why = refusal.split_once(": ").map_or("redirected to nobody", |(_, why)| why);
        Ok((targets, format!("Temporarily Unavailable: redirected, and {why}")))
    }

    /// Whether a URI that somebody named leads to us: only there do the account's routes say what may be called.
    fn is_ours(&self, uri: &str, account: &Account) -> bool {
        let Ok(uri) = Uri::parse(uri) else { return false };
        let own = || self.config.own.iter().map(SocketAddr::ip).chain(self.config.advertised);
        match uri.scheme {
            Scheme::Tel => true,
            Scheme::Other => false,
            Scheme::Sip | Scheme::Sips => match uri.host_ip() {
                Some(ip) => own().any(|ours| ours.to_canonical() == ip.to_canonical()),
                None => uri.host.eq_ignore_ascii_case(&account.domain),
            },
        }
    }

    /// Whether a user's own devices call us by the host of a URI, which need not be the account's domain: any name that leads
    /// here will do to register.
    fn is_home(&self, user: &Party, uri: &str) -> bool {
        let (Some(user), Ok(uri)) = (user.user, Uri::parse(uri)) else { return false };
        matches!(uri.scheme, Scheme::Sip | Scheme::Sips) && self.registrar.is_home(user, uri.host)
    }

    fn lead(&self, account: &Arc<Account>, route: &Route, dialled: &str, now: Time) -> Result<Vec<Step>, Lack> {
        match &route.target {
            RouteTarget::Service(which) => Ok(service(*which, &rest(&route.pattern, dialled))),
            RouteTarget::Ring { extensions, ring_for, in_order } => {
                let mut users = Vec::with_capacity(extensions.len());
                for extension in extensions {
                    let need = Need::Extension { account: account.id, extension: extension.clone() };
                    users.extend(self.user(need, now)?);
                }
                Ok(self.ring(account, &users, *ring_for, *in_order, None, now))
            }
            RouteTarget::Peer { peer, strip, prepend } => {
                let rest: String = dialled.chars().skip(usize::from(*strip)).collect();
                self.to_peer(account, *peer, format!("{prepend}{rest}"), now)
            }
        }
    }

    /// Rings the devices of users, as far as they are reachable; with `gr` the one of that instance alone.
    fn ring(
        &self,
        account: &Account,
        users: &[Arc<registrar::User>],
        ring_for: Duration,
        in_order: bool,
        gr: Option<&str>,
        now: Time,
    ) -> Vec<Step> {
        let mut targets = Vec::new();
        for (place, user) in users.iter().filter(|user| user.enabled).enumerate() {
            // In order: each user's devices come after all devices of the one before.
            let place = if in_order { place as u32 * 1001 } else { 0 };
            for device in self.registrar.lookup(user.id, now).filter(|device| is_named_device(gr, device)) {
                let Some(mut target) = device_target(account, user, &device, place) else { continue };
                let other = self.registrar.other_flow(&device, now);
                target.instead = other.and_then(|other| device_target(account, user, &other, place)).map(Box::new);
                targets.push(target);
            }
        }
        if targets.is_empty() {
            return vec![reject(480, "Temporarily Unavailable: no device is registered", EndCause::Unavailable)];
        }
        targets.truncate(words::limit::FORK_WIDTH);
        vec![Step::Dial { targets, ring_for }]
    }

    /// A number at a peer.
    fn to_peer(&self, account: &Account, peer: PeerId, number: String, now: Time) -> Result<Vec<Step>, Lack> {
        let Some(peer) = account.peers.iter().find(|candidate| candidate.id == peer) else {
            return Ok(vec![reject(480, "Temporarily Unavailable: the peer is gone", EndCause::Unavailable)]);
        };
        let (target, servers) = match self.whereabouts(peer, now) {
            Whereabouts::At(target, servers) => (target, servers),
            Whereabouts::Ask(questions) => return Err(Lack::Names(questions)),
            Whereabouts::Nowhere(status, reason) => return Ok(vec![reject(status, &reason, EndCause::Unavailable)]),
        };
        let mut uri = "sip:".to_owned();
        push_user(&mut uri, &number);
        uri.push('@');
        uri.push_str(&peer.host);
        let target = DialTarget {
            to: Party { number: Pii::new(number), peer: Some(peer.id), ..Party::default() },
            request_uri: uri.clone(),
            to_uri: uri,
            target,
            route: Vec::new(),
            order: 0,
            nat: false,
            ice: false,
            diverted: None,
            trust: peer.trust,
            srtp: peer.srtp,
            servers,
            instead: None,
        };
        Ok(vec![Step::Dial { targets: vec![target], ring_for: account.ring_for }])
    }
}

/// A device of a user, when it can be called.
fn device_target(account: &Account, user: &registrar::User, device: &Device<'_>, place: u32) -> Option<DialTarget> {
    Some(DialTarget {
        to: Party {
            number: Pii::new(user.extension.as_str()),
            name: Pii::new(user.display_name.as_str()),
            user: Some(user.id),
            ..Party::default()
        },
        request_uri: device.contact.to_owned(),
        to_uri: format!("sip:{}@{}", user.extension, account.domain),
        target: device.reach.target()?,
        route: device.path.to_vec(),
        order: place + u32::from(1000 - device.q.min(1000)),
        nat: device.nat,
        ice: device.ice,
        diverted: None,
        trust: Trust::default(),
        srtp: user.srtp,
        servers: None,
        instead: None,
    })
}

/// What a route has to wait for.
enum Lack {
    /// The directory.
    Need(Need),
    /// DNS.
    Names(Vec<Question>),
}

impl From<Need> for Lack {
    fn from(need: Need) -> Self {
        Lack::Need(need)
    }
}

/// Whether a URI names a host as a peer is configured: the name, and the port where either says one.
fn is_named(uri: &str, host: &str) -> bool {
    let own = format!("sip:{host}");
    let (Ok(uri), Ok(own)) = (Uri::parse(uri), Uri::parse(&own)) else { return false };
    let same_host = match (uri.host_ip(), own.host_ip()) {
        (Some(a), Some(b)) => a.to_canonical() == b.to_canonical(),
        (None, None) => uri.host.eq_ignore_ascii_case(own.host),
        (Some(_), None) | (None, Some(_)) => false,
    };
    same_host && uri.port == own.port
}

/// What stands in the place of a pattern's `*`.
fn rest(pattern: &Pattern, dialled: &str) -> String {
    match pattern {
        Pattern::Exact(_) => String::new(),
        Pattern::Prefix(prefix) => dialled.strip_prefix(prefix.as_str()).unwrap_or_default().to_owned(),
    }
}

fn service(which: Service, rest: &str) -> Vec<Step> {
    match which {
        Service::Echo => vec![Step::Answer, Step::Echo],
        Service::Tone440 => vec![Step::Answer, Step::Play { sound: TONE_440 }],
        Service::Busy => vec![reject(486, "Busy Here", EndCause::Busy)],
        Service::NoAnswer => vec![Step::Ring],
        Service::Early183 => vec![Step::Progress { sound: Some(TONE_440) }],
        Service::AnswerAfter(delay) => {
            let delay = delay.or_else(|| rest.parse().ok().map(Duration::from_secs)).unwrap_or_default();
            vec![Step::Ring, Step::AnswerAfter { delay: delay.min(LONGEST_DELAY) }, Step::Echo]
        }
    }
}

fn reject(status: u16, reason: &str, cause: EndCause) -> Step {
    Step::Reject { status, reason: reason.to_owned(), cause }
}

/// The orders of one Contact of a 3xx lie within so many.
const ORDERS_PER_CONTACT: u32 = 1_000_000;
/// The longest that [`Service::AnswerAfter`] lets a caller wait.
const LONGEST_DELAY: Duration = Duration::from_mins(3);
const TONE_440: Sound = Sound::Tone { hz: 440, level_dbm0: -10 };
