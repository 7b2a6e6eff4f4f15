//! Single values: URIs, addresses, Via, parameters, credentials and challenges.

use sip::digest::{Account, Algorithm, Challenge, Credentials, Ha1, unescaped, verify};
use sip::{HeaderName, NameAddr, Params, Replaces, Uri, Via};

/// A URI; after a line end another to compare it with.
pub(super) fn uri(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, text));
    let Ok(uri) = Uri::parse(first) else { return };
    assert_eq!(uri.raw(), first);
    assert!(Uri::equivalent(&uri, &uri), "{first} equals itself");
    let _ = (uri.host_ip(), uri.is_secure(), uri.user_unescaped(), uri.header("Replaces"), uri.param("transport"));
    let _ = (uri.params().iter().count(), Replaces::of_uri(&uri));
    if uri.host.is_empty() {
        return;
    }
    let printed = print_uri(&uri);
    let again = Uri::parse(&printed).expect("what was read and printed is a URI");
    assert_eq!((again.user, again.password, again.host, again.port), (uri.user, uri.password, uri.host, uri.port));
    assert_eq!((again.params_raw, again.headers_raw), (uri.params_raw, uri.headers_raw));
    if let Ok(other) = Uri::parse(second) {
        assert_eq!(Uri::equivalent(&uri, &other), Uri::equivalent(&other, &uri), "{first} and {second}");
    }
}

fn print_uri(uri: &Uri<'_>) -> String {
    let scheme = if uri.is_secure() { "sips:" } else { "sip:" };
    let password = uri.password.map(|password| format!(":{password}")).unwrap_or_default();
    let at = if uri.user.is_empty() { "" } else { "@" };
    let port = uri.port.map(|port| format!(":{port}")).unwrap_or_default();
    let question = if uri.headers_raw.is_empty() { "" } else { "?" };
    [scheme, uri.user, &password, at, uri.host, &port, uri.params_raw, question, uri.headers_raw].concat()
}

/// A value read as everything that it might be.
pub(super) fn header(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let params = Params::new(text);
    for (name, _) in params {
        assert!(!name.is_empty() && params.get(name).is_some());
    }
    let _ = Replaces::parse(text);
    if let Ok(address) = NameAddr::parse(HeaderName::From, text) {
        let _ = (address.display_name(), address.tag());
        assert_eq!(address.tag(), address.param("tag").filter(|tag| !tag.is_empty()));
        if !address.uri.contains('>') {
            let printed = format!("{} <{}>{}", address.display, address.uri, address.params.raw());
            let again = NameAddr::parse(HeaderName::From, &printed).expect("what was read and printed is an address");
            assert_eq!(again, address);
        }
    }
    if let Ok(via) = Via::parse(text) {
        let _ = (via.rport(), via.received(), via.host_ip());
        assert_eq!(via.branch(), via.params.get("branch").filter(|branch| !branch.is_empty()));
        let port = via.port.map(|port| format!(":{port}")).unwrap_or_default();
        let printed = format!("SIP/2.0/{} {}{port}{}", via.transport, via.host, via.params.raw());
        assert_eq!(Via::parse(&printed), Ok(via));
    }
}

/// What a client says of itself, held against a password.
pub(super) fn credentials(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(credentials) = Credentials::parse(text) else { return };
    let _ = (credentials.algorithm(), credentials.nonce_count(), unescaped(credentials.username));
    let ha1 = Ha1::new("ann", "example.com", "a password that no input knows");
    assert!(!verify(&credentials, &ha1, "REGISTER", b""), "{text} proves a password that it does not know");
    // Tokens are printed without quotes.
    let is_token =
        |value: Option<&str>| value.is_none_or(|value| !value.is_empty() && !value.contains([',', '"', ' ']));
    if [credentials.algorithm, credentials.qop, credentials.nc].into_iter().all(is_token) && is_quotable(&credentials) {
        assert_eq!(Credentials::parse(&credentials.print()), Ok(credentials));
    }
}

/// Whether no value breaks out of its quotes: one that was a token may have a quote or end with a backslash.
fn is_quotable(credentials: &Credentials<'_>) -> bool {
    let Credentials { username, realm, nonce, uri, response, cnonce, opaque, .. } = credentials;
    [username, realm, nonce, uri, response, &cnonce.unwrap_or(""), &opaque.unwrap_or("")].into_iter().all(|v| quotes(v))
        && [credentials.algorithm, credentials.qop, credentials.nc].into_iter().flatten().all(|v| v.trim() == v)
}

fn quotes(value: &str) -> bool {
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        if character == '"' || character == '\\' && characters.next().is_none() {
            return false;
        }
    }
    true
}

/// What a server asks, answered and held against the same password.
pub(super) fn challenge(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(challenge) = Challenge::parse(text) else { return };
    let values = [Some(challenge.realm), Some(challenge.nonce), challenge.qop, challenge.opaque];
    if !values.into_iter().flatten().all(quotes) {
        return;
    }
    assert_eq!(Challenge::parse(&challenge.print()), Ok(challenge));
    let answer = challenge.answer(&Account { user: "ann", password: "secret" }, "INVITE", "sip:h", 1, "c");
    let credentials = Credentials::parse(&answer).expect("an answer can be read");
    let ha1 = Ha1::new("ann", &unescaped(challenge.realm), "secret");
    assert!(verify(&credentials, &ha1, "INVITE", b""), "{answer} to {text}");
    assert!(!verify(&credentials, &ha1, "BYE", b""));
    let known = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256];
    assert!(credentials.algorithm().is_some_and(|algorithm| known.contains(&algorithm)));
}
