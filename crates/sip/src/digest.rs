//! Digest authentication (RFC 7616, RFC 8760): both sides of it, as values.
//!
//! Passwords are never kept: [`Ha1`] is what a server stores. Whose credentials they are, which nonces are ours and how
//! often one was used is the registrar's business.

use crate::msg::{HeaderError, HeaderName, quoted_end, unescape};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use sha2::{Sha256, Sha512_256};
use std::borrow::Cow;
use std::fmt::Write as _;
use subtle::ConstantTimeEq;

/// A digest algorithm (RFC 7616 §3.3, RFC 8760 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `MD5`.
    Md5,
    /// `SHA-256`.
    Sha256,
    /// `SHA-512-256`.
    Sha512_256,
}

impl Algorithm {
    /// The token.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512_256 => "SHA-512-256",
        }
    }

    /// The algorithm for its token (any case); `None` for `-sess` and unknown ones.
    pub fn parse(token: &str) -> Option<Algorithm> {
        [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256]
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(token))
    }

    /// How many hex digits its digests have.
    pub const fn hex_digits(self) -> usize {
        match self {
            Algorithm::Md5 => 32,
            Algorithm::Sha256 | Algorithm::Sha512_256 => 64,
        }
    }
}

/// Digests of `user:realm:password`, one for each algorithm: all that a server keeps of a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ha1 {
    /// For `MD5`.
    pub md5: [u8; 16],
    /// For `SHA-256`.
    pub sha256: [u8; 32],
    /// For `SHA-512-256`.
    pub sha512_256: [u8; 32],
}

impl Ha1 {
    /// RFC 7616 §3.4.2.
    pub fn new(user: &str, realm: &str, password: &str) -> Self {
        let parts = [user.as_bytes(), realm.as_bytes(), password.as_bytes()];
        Ha1 {
            md5: hash::<Md5>(&parts).into(),
            sha256: hash::<Sha256>(&parts).into(),
            sha512_256: hash::<Sha512_256>(&parts).into(),
        }
    }

    /// The bytes for one algorithm.
    pub const fn bytes(&self, algorithm: Algorithm) -> &[u8] {
        match algorithm {
            Algorithm::Md5 => &self.md5,
            Algorithm::Sha256 => &self.sha256,
            Algorithm::Sha512_256 => &self.sha512_256,
        }
    }
}

impl std::fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ha1(…)")
    }
}

impl Drop for Ha1 {
    fn drop(&mut self) {
        self.md5.fill(0);
        self.sha256.fill(0);
        self.sha512_256.fill(0);
        // Without this the compiler may drop the writes to memory that nobody reads again.
        std::hint::black_box(&*self);
    }
}

/// A hex digest on the stack: at most 64 digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hex {
    digits: [u8; 64],
    length: u8,
}

impl Hex {
    fn of(bytes: &[u8]) -> Self {
        let mut hex = Hex { digits: [0; 64], length: bytes.len() as u8 * 2 };
        for (pair, byte) in hex.digits.chunks_exact_mut(2).zip(bytes) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        hex
    }

    fn bytes(&self) -> &[u8] {
        &self.digits[..usize::from(self.length)]
    }

    /// The digits, lower case.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes()).expect("hex digits are ASCII")
    }
}

impl std::fmt::Debug for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The digest of the parts with colons between them.
fn hash<D: Digest>(parts: &[&[u8]]) -> md5::digest::Output<D> {
    let mut digest = D::new();
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            digest.update(b":");
        }
        digest.update(part);
    }
    digest.finalize()
}

fn hex_hash(algorithm: Algorithm, parts: &[&[u8]]) -> Hex {
    match algorithm {
        Algorithm::Md5 => Hex::of(&hash::<Md5>(parts)),
        Algorithm::Sha256 => Hex::of(&hash::<Sha256>(parts)),
        Algorithm::Sha512_256 => Hex::of(&hash::<Sha512_256>(parts)),
    }
}

/// What the nonce is used with: absent in the style of RFC 2069.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality<'a> {
    /// `auth` or `auth-int`.
    pub qop: &'a str,
    /// `nc`, 8 hex digits as written.
    pub nc: &'a str,
    /// `cnonce`.
    pub cnonce: &'a str,
}

/// The `response` (RFC 7616 §3.4.1). `entity` counts for `auth-int` only.
pub fn response_of(
    algorithm: Algorithm,
    ha1: &Ha1,
    nonce: &str,
    quality: Option<Quality<'_>>,
    method: &str,
    uri: &str,
    entity: &[u8],
) -> Hex {
    let ha1 = Hex::of(ha1.bytes(algorithm));
    let integrity = quality.is_some_and(|quality| quality.qop.eq_ignore_ascii_case("auth-int"));
    let ha2 = if integrity {
        let entity = hex_hash(algorithm, &[entity]);
        hex_hash(algorithm, &[method.as_bytes(), uri.as_bytes(), entity.bytes()])
    } else {
        hex_hash(algorithm, &[method.as_bytes(), uri.as_bytes()])
    };
    let nonce = nonce.as_bytes();
    match quality {
        None => hex_hash(algorithm, &[ha1.bytes(), nonce, ha2.bytes()]),
        Some(Quality { qop, nc, cnonce }) => {
            hex_hash(algorithm, &[ha1.bytes(), nonce, nc.as_bytes(), cnonce.as_bytes(), qop.as_bytes(), ha2.bytes()])
        }
    }
}

/// A client's Authorization or Proxy-Authorization (RFC 7616 §3.4). Values have their quotes taken off; escapes stay,
/// see [`unescaped`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Whose they are.
    pub username: &'a str,
    /// For which realm.
    pub realm: &'a str,
    /// The server's nonce.
    pub nonce: &'a str,
    /// The URI that was authorised; must agree with the Request-URI (RFC 3261 §22.4).
    pub uri: &'a str,
    /// The proof.
    pub response: &'a str,
    /// `None` when absent, which means MD5.
    pub algorithm: Option<&'a str>,
    /// `cnonce`.
    pub cnonce: Option<&'a str>,
    /// `opaque`.
    pub opaque: Option<&'a str>,
    /// `qop`.
    pub qop: Option<&'a str>,
    /// `nc` as written: 8 hex digits.
    pub nc: Option<&'a str>,
}

impl<'a> Credentials<'a> {
    /// Reads a header value that begins with `Digest`. Unknown parameters are skipped.
    ///
    /// # Errors
    /// Another scheme, a parameter twice, one that cannot be read, or `username`, `realm`, `nonce`, `uri` or
    /// `response` missing.
    pub fn parse(text: &'a str) -> Result<Credentials<'a>, HeaderError> {
        let mut found = Credentials::default();
        let mut seen: u16 = 0;
        for param in AuthParams::of(text)? {
            let (name, value) = param?;
            let Some(place) = CREDENTIALS.iter().position(|known| known.eq_ignore_ascii_case(name)) else { continue };
            if seen & (1 << place) != 0 {
                return Err(bad("a parameter twice"));
            }
            seen |= 1 << place;
            match place {
                0 => found.username = value,
                1 => found.realm = value,
                2 => found.nonce = value,
                3 => found.uri = value,
                4 => found.response = value,
                5 => found.algorithm = Some(value),
                6 => found.cnonce = Some(value),
                7 => found.opaque = Some(value),
                8 => found.qop = Some(value),
                _ => found.nc = Some(value),
            }
        }
        if seen & 0b1_1111 != 0b1_1111 {
            return Err(bad("no username, realm, nonce, uri or response"));
        }
        Ok(found)
    }

    /// The algorithm; `None` when it is one that we do not know.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm.map_or(Some(Algorithm::Md5), Algorithm::parse)
    }

    /// `nc` as a number; `None` when absent or not 8 hex digits.
    pub fn nonce_count(&self) -> Option<u32> {
        let nc = self.nc.filter(|nc| nc.len() == 8 && nc.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u32::from_str_radix(nc, 16).ok()
    }

    /// The header value, for a client.
    pub fn print(&self) -> String {
        let mut out = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{}\"",
            self.username, self.realm, self.nonce, self.uri, self.response
        );
        if let Some(algorithm) = self.algorithm {
            let _ = write!(out, ", algorithm={algorithm}");
        }
        for (name, value) in [("cnonce", self.cnonce), ("opaque", self.opaque)] {
            if let Some(value) = value {
                let _ = write!(out, ", {name}=\"{value}\"");
            }
        }
        for (name, value) in [("qop", self.qop), ("nc", self.nc)] {
            if let Some(value) = value {
                let _ = write!(out, ", {name}={value}");
            }
        }
        out
    }
}

/// In the order of the bits of what must be there.
const CREDENTIALS: [&str; 10] =
    ["username", "realm", "nonce", "uri", "response", "algorithm", "cnonce", "opaque", "qop", "nc"];

/// Whether the credentials prove knowledge of the password. Takes the same time wherever the proof differs. Which nonce,
/// realm, `qop` and algorithm are acceptable is for the caller to check.
pub fn verify(credentials: &Credentials<'_>, ha1: &Ha1, method: &str, entity: &[u8]) -> bool {
    let Some(algorithm) = credentials.algorithm() else { return false };
    let quality = match (credentials.qop, credentials.nc, credentials.cnonce) {
        (None, _, _) => None,
        (Some(qop), Some(nc), Some(cnonce)) => Some(Quality { qop, nc, cnonce }),
        (Some(_), _, _) => return false,
    };
    let uri = unescaped(credentials.uri);
    let expected = response_of(algorithm, ha1, credentials.nonce, quality, method, &uri, entity);
    let mut given = [0; 64];
    let response = credentials.response.as_bytes();
    if response.len() != algorithm.hex_digits() {
        return false;
    }
    given[..response.len()].copy_from_slice(response);
    given.make_ascii_lowercase();
    expected.bytes().ct_eq(&given[..response.len()]).into()
}

/// A quoted value with its backslashes taken off.
pub fn unescaped(value: &str) -> Cow<'_, str> {
    unescape(value)
}

/// A server's challenge (RFC 7616 §3.3): one per algorithm, each its own header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// The realm.
    pub realm: &'a str,
    /// The nonce.
    pub nonce: &'a str,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// `qop` as a list, such as `auth`; `None` in the style of RFC 2069.
    pub qop: Option<&'a str>,
    /// `opaque`.
    pub opaque: Option<&'a str>,
    /// The nonce was ours but is too old; the password was not judged.
    pub stale: bool,
}

impl<'a> Challenge<'a> {
    /// The header value.
    pub fn print(&self) -> String {
        let mut out = String::with_capacity(128);
        // Writing to a String cannot fail.
        let _ = write!(out, "Digest realm=\"{}\", nonce=\"{}\"", self.realm, self.nonce);
        if let Some(opaque) = self.opaque {
            let _ = write!(out, ", opaque=\"{opaque}\"");
        }
        if self.stale {
            out.push_str(", stale=true");
        }
        let _ = write!(out, ", algorithm={}", self.algorithm.as_str());
        if let Some(qop) = self.qop {
            let _ = write!(out, ", qop=\"{qop}\"");
        }
        out
    }

    /// Reads a challenge.
    ///
    /// # Errors
    /// Another scheme, no realm or nonce, or an algorithm that we do not know: try the next line.
    pub fn parse(text: &'a str) -> Result<Challenge<'a>, HeaderError> {
        let (mut realm, mut nonce, mut qop, mut opaque, mut stale) = (None, None, None, None, false);
        let mut algorithm = Some(Algorithm::Md5);
        for param in AuthParams::of(text)? {
            let (name, value) = param?;
            if name.eq_ignore_ascii_case("realm") {
                realm = Some(value);
            } else if name.eq_ignore_ascii_case("nonce") {
                nonce = Some(value);
            } else if name.eq_ignore_ascii_case("qop") {
                qop = Some(value);
            } else if name.eq_ignore_ascii_case("opaque") {
                opaque = Some(value);
            } else if name.eq_ignore_ascii_case("stale") {
                stale = value.eq_ignore_ascii_case("true");
            } else if name.eq_ignore_ascii_case("algorithm") {
                algorithm = Algorithm::parse(value);
            }
        }
        let (Some(realm), Some(nonce)) = (realm, nonce) else { return Err(bad("no realm or nonce")) };
        let algorithm = algorithm.ok_or(bad("an algorithm that we do not know"))?;
        Ok(Challenge { realm, nonce, algorithm, qop, opaque, stale })
    }

    /// What a client answers: the value of Authorization or Proxy-Authorization. Uses `qop=auth` where it is offered.
    pub fn answer(&self, account: &Account<'_>, method: &str, uri: &str, nc: u32, cnonce: &str) -> String {
        let realm = unescaped(self.realm);
        let ha1 = Ha1::new(account.user, &realm, account.password);
        let offers_auth =
            self.qop.is_some_and(|list| list.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth")));
        let nc = format!("{nc:08x}");
        let quality = offers_auth.then_some(Quality { qop: "auth", nc: &nc, cnonce });
        let response = response_of(self.algorithm, &ha1, self.nonce, quality, method, uri, b"");
        Credentials {
            username: account.user,
            realm: self.realm,
            nonce: self.nonce,
            uri,
            response: response.as_str(),
            algorithm: Some(self.algorithm.as_str()),
            cnonce: offers_auth.then_some(cnonce),
            opaque: self.opaque,
            qop: offers_auth.then_some("auth"),
            nc: offers_auth.then_some(&nc),
        }
        .print()
    }
}

/// Whom a client says it is.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    /// The user name.
    pub user: &'a str,
    /// The password.
    pub password: &'a str,
}

const fn bad(what: &'static str) -> HeaderError {
    HeaderError { name: HeaderName::Authorization, what }
}

/// `name=value` pairs with commas between them, after the scheme.
struct AuthParams<'a> {
    rest: &'a str,
    left: usize,
}

impl<'a> AuthParams<'a> {
    fn of(text: &'a str) -> Result<Self, HeaderError> {
        let text = text.trim_start();
        match text.get(..7) {
            Some(scheme) if scheme.trim_end().eq_ignore_ascii_case("digest") => {
                Ok(AuthParams { rest: &text[7..], left: PARAMS })
            }
            Some(_) | None => Err(bad("not Digest")),
        }
    }
}

impl<'a> Iterator for AuthParams<'a> {
    type Item = Result<(&'a str, &'a str), HeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.trim_start_matches([' ', '\t', ',']);
        self.rest = "";
        if rest.is_empty() {
            return None;
        }
        if self.left == 0 {
            return Some(Err(bad("too many parameters")));
        }
        self.left -= 1;
        let Some(equals) = memchr::memchr(b'=', rest.as_bytes()) else {
            return Some(Err(bad("a parameter without =")));
        };
        let name = rest[..equals].trim_end();
        let after = rest[equals + 1..].trim_start_matches([' ', '\t']);
        let (value, rest) = if after.starts_with('"') {
            let Some(end) = quoted_end(after.as_bytes(), 0) else { return Some(Err(bad("quote without an end"))) };
            (&after[1..end - 1], &after[end..])
        } else {
            let end = memchr::memchr(b',', after.as_bytes()).unwrap_or(after.len());
            (after[..end].trim_end(), &after[end..])
        };
        self.rest = rest;
        let rest_ok = rest.trim_start_matches([' ', '\t']).bytes().next().is_none_or(|b| b == b',');
        let name_ok = !name.is_empty() && name.bytes().all(crate::msg::lex::is_token);
        Some(if rest_ok && name_ok { Ok((name, value)) } else { Err(bad("a parameter that cannot be read")) })
    }
}

/// The most parameters that are read.
const PARAMS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
    const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

    /// RFC 7616 §3.9.1.
    #[test]
    fn the_rfc_s_own_example() {
        let ha1 = Ha1::new("Mufasa", "http-auth@example.org", "Circle of Life");
        let quality = Some(Quality { qop: "auth", nc: "00000001", cnonce: CNONCE });
        let of = |algorithm| response_of(algorithm, &ha1, NONCE, quality, "GET", "/dir/index.html", b"");
        assert_eq!(of(Algorithm::Md5).as_str(), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(of(Algorithm::Sha256).as_str(), "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    }

    /// RFC 7616 §3.9.2, whose user name needs no hashing for this part.
    #[test]
    fn sha_512_256_is_the_truncated_one_with_its_own_start() {
        let digest = hex_hash(Algorithm::Sha512_256, &[b"abc"]);
        assert_eq!(digest.as_str(), "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23");
    }

    fn answered(algorithm: Algorithm, qop: Option<&str>) -> String {
        let challenge = Challenge { realm: "r", nonce: "n", algorithm, qop, opaque: Some("o"), stale: false }.print();
        let account = Account { user: "ann", password: "secret" };
        Challenge::parse(&challenge).unwrap().answer(&account, "REGISTER", "sip:r", 1, "c")
    }

    #[test]
    fn what_a_client_answers_a_server_accepts() {
        let ha1 = Ha1::new("ann", "r", "secret");
        for algorithm in [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256] {
            for qop in [None, Some("auth"), Some("auth-int, auth")] {
                let text = answered(algorithm, qop);
                let credentials = Credentials::parse(&text).unwrap();
                assert!(verify(&credentials, &ha1, "REGISTER", b""), "{text}");
                assert!(!verify(&credentials, &ha1, "INVITE", b""));
                assert!(!verify(&credentials, &Ha1::new("ann", "r", "wrong"), "REGISTER", b""));
                assert_eq!(credentials.nonce_count(), qop.map(|_| 1));
                assert_eq!(credentials.algorithm(), Some(algorithm));
            }
        }
    }

    #[test]
    fn auth_int_covers_the_body() {
        let ha1 = Ha1::new("a", "r", "p");
        let quality = Quality { qop: "auth-int", nc: "00000001", cnonce: "c" };
        let response = response_of(Algorithm::Md5, &ha1, "n", Some(quality), "INVITE", "sip:b", b"body");
        let credentials = Credentials {
            username: "a",
            realm: "r",
            nonce: "n",
            uri: "sip:b",
            response: response.as_str(),
            qop: Some("auth-int"),
            nc: Some("00000001"),
            cnonce: Some("c"),
            ..Credentials::default()
        };
        assert!(verify(&credentials, &ha1, "INVITE", b"body"));
        assert!(!verify(&credentials, &ha1, "INVITE", b"other"));
    }

    #[test]
    fn upper_case_proofs_and_odd_spacing_are_read() {
        let ha1 = Ha1::new("ann", "r", "secret");
        let text = answered(Algorithm::Md5, Some("auth"));
        let response = Credentials::parse(&text).unwrap().response.to_owned();
        let shouted =
            text.replace(&response, &response.to_uppercase()).replace(", ", " ,\t").replace("Digest", "DIGEST");
        assert!(verify(&Credentials::parse(&shouted).unwrap(), &ha1, "REGISTER", b""), "{shouted}");
    }

    #[test]
    fn quotes_escapes_and_unknown_parameters_are_read() {
        let text = r#"Digest username="a\"b,c", x-new="1,2", realm="r", nonce="n=", uri="sip:x;y=1,2", response="00", foo=bar"#;
        let credentials = Credentials::parse(text).unwrap();
        assert_eq!(unescaped(credentials.username), "a\"b,c");
        assert_eq!((credentials.nonce, credentials.uri), ("n=", "sip:x;y=1,2"));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let good = r#"Digest username="a", realm="r", nonce="n", uri="u", response="00""#;
        assert!(Credentials::parse(good).is_ok());
        for bad in [
            "",
            "Digest",
            "Digest ",
            "Basic YTpi",
            r#"Digest username="a""#,
            &format!("{good}, nonce=\"m\""),
            &format!("{good}, NC=1, nc=2"),
            &format!("{good}, x"),
            &format!("{good}, x=\"y"),
            &format!("{good} x=\"y\" z"),
            &format!("{good}, =1"),
            &format!("{good}{}", ", a=b".repeat(40)),
            "Digest algorithm=SHA\u{e9}",
            "Digesté",
        ] {
            assert!(Credentials::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn wrong_lengths_and_unknown_algorithms_prove_nothing() {
        let ha1 = Ha1::new("ann", "r", "secret");
        let text = answered(Algorithm::Sha256, Some("auth"));
        for bad in
            [text.replace("SHA-256", "MD5"), text.replace("SHA-256", "MD5-sess"), text.replace(", nc=00000001", "")]
        {
            assert!(!verify(&Credentials::parse(&bad).unwrap(), &ha1, "REGISTER", b""), "{bad}");
        }
    }

    #[test]
    fn a_challenge_says_what_it_should() {
        let challenge = Challenge {
            realm: "example.com",
            nonce: "n1",
            algorithm: Algorithm::Sha256,
            qop: Some("auth"),
            opaque: None,
            stale: true,
        };
        let text = challenge.print();
        assert_eq!(text, r#"Digest realm="example.com", nonce="n1", stale=true, algorithm=SHA-256, qop="auth""#);
        assert_eq!(Challenge::parse(&text), Ok(challenge));
    }

    #[test]
    fn debug_shows_no_digest() {
        assert_eq!(format!("{:?}", Ha1::new("a", "b", "c")), "Ha1(…)");
    }
}
