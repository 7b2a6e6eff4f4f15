//! Digest: what is asked of a client, and whether its answer proves the password (RFC 3261 §22, RFC 7616, RFC 8760).

use crate::directory::{AlgorithmPolicy, User};
use crate::nonce::{Mint, NonceId, Spent};
use serde::{Deserialize, Serialize};
use sip::digest::{Challenge, Credentials, Ha1, unescaped, verify};
use sip::{HeaderName, Message, Scheme, Uri};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::net::IpAddr;
use words::{Chance, Time, UserId};

/// Asks for passwords and checks what comes back.
///
/// Until a right answer comes, nothing is kept: strangers may ask for challenges as often as they like.
/// Limits: [`crate::limit::NONCES_PER_USER`] nonces are remembered as used; a nonce lives for 300 s and is good at one address only.
#[derive(Serialize, Deserialize)]
pub struct Challenger {
    mint: Mint,
    spent: Spent,
    decoy: Ha1,
}

/// What an answer to a challenge is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It proves the password.
    Ok,
    /// There is none for this realm: challenge. What is for other realms is theirs (RFC 3261 §22.3).
    NoCredentials,
    /// Its nonce is not ours, too old, given to another address, or used with this count before: challenge with
    /// `stale=true`. Says nothing about the password unless it was right.
    Stale,
    /// It does not prove the password of an existing user.
    Wrong,
    /// It breaks a rule that has nothing to do with who sends it; 400 with this reason phrase.
    Malformed(&'static str),
}

/// The credentials that a request presents, read once.
#[derive(Clone, Debug)]
pub struct Presented<'m> {
    message: &'m Message,
    claims: SmallVec<[Claim<'m>; 1]>,
    /// What is wrong with the first that cannot be read.
    broken: Option<&'static str>,
}

impl<'m> Presented<'m> {
    /// The request.
    pub fn message(&self) -> &'m Message {
        self.message
    }

    /// Those that can be read: what answers a challenge of ours first.
    pub fn claims(&self) -> &[Claim<'m>] {
        &self.claims
    }
}

/// Credentials, and whose they are as they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<'m> {
    /// The user name.
    pub name: Cow<'m, str>,
    /// The realm that they are for.
    pub realm: Cow<'m, str>,
    credentials: Credentials<'m>,
    nonce: Option<NonceId>,
}

impl Claim<'_> {
    /// Whether they answer a challenge of ours. Others were made up, or are old, or another server's.
    pub fn answers(&self) -> bool {
        self.nonce.is_some()
    }

    /// Whether they are for this user at all: name, realm and an algorithm that it was offered.
    fn fits(&self, user: &User) -> bool {
        self.name == user.auth_user
            && self.realm == user.realm
            && self.credentials.algorithm().is_some_and(|algorithm| user.algorithms.offered().contains(&algorithm))
    }
}

impl Challenger {
    /// A challenger whose nonces only it can make. `secret` comes from the stream for secrets.
    pub fn new(mut secret: Chance, now: Time) -> Self {
        let mut decoy = Ha1 { md5: [0; 16], sha256: [0; 32], sha512_256: [0; 32] };
        secret.fill(&mut decoy.md5);
        secret.fill(&mut decoy.sha256);
        secret.fill(&mut decoy.sha512_256);
        Challenger { mint: Mint::new(secret), spent: Spent::new(now), decoy }
    }

    /// The values of WWW-Authenticate (or Proxy-Authenticate), one header line each, in this order.
    pub fn challenge(
        &mut self,
        realm: &str,
        policy: AlgorithmPolicy,
        stale: bool,
        source: IpAddr,
        now: Time,
    ) -> Vec<String> {
        let nonce = self.mint.make(source, now);
        let print =
            |&algorithm| Challenge { realm, nonce: &nonce, algorithm, qop: Some("auth"), opaque: None, stale }.print();
        policy.offered().iter().map(print).collect()
    }

    /// Reads the credentials in `message`, which came from `source`.
    pub fn read<'m>(&self, message: &'m Message, source: IpAddr, now: Time) -> Presented<'m> {
        let mut presented = Presented { message, claims: SmallVec::new(), broken: None };
        for line in lines(message) {
            match Credentials::parse(line) {
                Ok(credentials) => presented.claims.push(Claim {
                    name: unescaped(credentials.username),
                    realm: unescaped(credentials.realm),
                    credentials,
                    nonce: self.mint.read(credentials.nonce, source, now),
                }),
                Err(error) => presented.broken = presented.broken.or(Some(error.reason())),
            }
        }
        presented.claims.sort_by_key(|claim| !claim.answers());
        presented
    }

    /// Judges the credentials for `realm`: those that answer a challenge of ours, else the first. What cannot be read counts
    /// where there is nothing else. Which of several is chosen must not depend on whether the user exists. `user` is whom
    /// they name, `None` when nobody is called so: the same work is done and the same verdicts come out, so that names
    /// cannot be sounded out.
    pub fn check(&mut self, presented: &Presented<'_>, realm: &str, user: Option<&User>, now: Time) -> Verdict {
        let Presented { message, claims, broken } = presented;
        let Some(claim) = claims.iter().find(|claim| claim.realm == realm) else {
            return broken.filter(|_| claims.is_empty()).map_or(Verdict::NoCredentials, Verdict::Malformed);
        };
        let count = match formalities(&claim.credentials, message) {
            Ok(count) => count,
            Err(reason) => return Verdict::Malformed(reason),
        };
        let Some(nonce) = claim.nonce else { return Verdict::Stale };
        let fitting = user.filter(|user| claim.fits(user));
        let ha1 = fitting.map_or(&self.decoy, |user| &user.ha1);
        let proven = verify(&claim.credentials, ha1, message.method_token(), message.body());
        match fitting {
            Some(user) if proven => {
                if self.spent.spend(user.id, nonce, count, now) {
                    Verdict::Ok
                } else {
                    Verdict::Stale
                }
            }
            Some(_) | None => Verdict::Wrong,
        }
    }

    /// The user's password changed or the user is gone: its nonces need no remembering.
    pub fn forget_user(&mut self, user: UserId) {
        self.spent.forget(user);
    }
}

/// The lines with digest credentials.
fn lines(message: &Message) -> impl Iterator<Item = &str> {
    let lines = message.headers(HeaderName::Authorization).chain(message.headers(HeaderName::ProxyAuthorization));
    lines.filter(|line| is_digest(line)).take(CREDENTIALS)
}

fn is_digest(line: &str) -> bool {
    line.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("digest"))
}

/// What must hold whoever sends it. Gives the nonce count.
fn formalities(credentials: &Credentials<'_>, message: &Message) -> Result<u32, &'static str> {
    match credentials.qop {
        Some(qop) if qop.eq_ignore_ascii_case("auth") => {}
        // Without qop there is no count, and the answer could be used again (RFC 7616 §3.4: it must be sent).
        None => return Err("Bad Authorization: qop missing"),
        Some(_) => return Err("Bad Authorization: qop was not offered"),
    }
    if credentials.cnonce.is_none_or(str::is_empty) {
        return Err("Bad Authorization: cnonce missing");
    }
    let count = credentials.nonce_count().filter(|&count| count > 0);
    let count = count.ok_or("Bad Authorization: nc is not a count")?;
    if credentials.algorithm().is_none() {
        return Err("Bad Authorization: algorithm was not offered");
    }
    if !authorises(&unescaped(credentials.uri), message.request_uri()) {
        return Err("Bad Authorization: uri is not the Request-URI");
    }
    Ok(count)
}

/// Whether `uri` authorises a request to `request_uri` (RFC 3261 §22.4, RFC 7616 §3.4.6). Parameters may differ, as
/// devices drop them. A `uri` without a user part stands for all of that host: SIPp and some phones send it so.
fn authorises(uri: &str, request_uri: &str) -> bool {
    if uri == request_uri {
        return true;
    }
    let (Ok(uri), Ok(request)) = (Uri::parse(uri), Uri::parse(request_uri)) else { return false };
    let sip = |uri: &Uri<'_>| matches!(uri.scheme, Scheme::Sip | Scheme::Sips);
    let port = |uri: &Uri<'_>| uri.port.unwrap_or(if uri.scheme == Scheme::Sips { 5061 } else { 5060 });
    let same_host = match (uri.host_ip(), request.host_ip()) {
        (Some(a), Some(b)) => a == b,
        (None, None) => uri.host.eq_ignore_ascii_case(request.host),
        (Some(_), None) | (None, Some(_)) => false,
    };
    let same_user = uri.user.is_empty() || uri.user_unescaped() == request.user_unescaped();
    sip(&uri) && uri.scheme == request.scheme && same_host && port(&uri) == port(&request) && same_user
}

/// The most credentials in one request that are looked at.
const CREDENTIALS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_must_name_what_the_request_is_for() {
        let request = "sip:900@pbx.example:5060;transport=tcp";
        for uri in
            [request, "sip:900@pbx.example", "sip:900@PBX.example:5060", "sip:%39%30%30@pbx.example", "sip:pbx.example"]
        {
            assert!(authorises(uri, request), "{uri}");
        }
        for uri in [
            "sip:901@pbx.example",
            "sip:900@other.example",
            "sip:900@pbx.example:5080",
            "sips:900@pbx.example",
            "tel:900",
            "/index.html",
            "",
            "*",
        ] {
            assert!(!authorises(uri, request), "{uri}");
        }
        assert!(authorises("tel:900", "tel:900") && !authorises("sip:900@pbx.example", "sip:pbx.example"));
        assert!(authorises("sip:[2001:db8::1]", "sip:7@[2001:DB8:0::1]:5060"));
    }
}
