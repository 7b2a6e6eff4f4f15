//! Whose a certificate is (RFC 5922 §7): the SIP domains that it names, read from its DER.
//!
//! Only what the identity needs is read, from a certificate whose chain was verified before. Whatever does not look like
//! DER is no name.

use std::net::IpAddr;

/// Whether a certificate is that of a domain, or of an address where a peer is known by that alone.
pub(super) fn is_of(certificate: &[u8], domain: &str) -> bool {
    let domain = domain.trim_start_matches('[').trim_end_matches(']');
    let Some(names) = Names::read(certificate) else { return false };
    if let Ok(ip) = domain.parse::<IpAddr>() {
        return names.addresses.contains(&ip.to_canonical());
    }
    names.domains().any(|name| same(name, domain))
}

/// The identities that a certificate has, for those who wonder which.
pub(super) fn domains(certificate: &[u8]) -> Vec<String> {
    let Some(names) = Names::read(certificate) else { return Vec::new() };
    names.domains().take(NAMES).map(str::to_owned).collect()
}

/// What names a certificate has.
#[derive(Debug, Default)]
struct Names<'a> {
    /// The hosts of SIP URIs without a user.
    uris: Vec<&'a str>,
    hosts: Vec<&'a str>,
    addresses: Vec<IpAddr>,
    /// Whether it has a subjectAltName at all.
    alternative: bool,
    common: Option<&'a str>,
}

impl<'a> Names<'a> {
    /// RFC 5922 §7.1: SIP URIs count first; DNS names when there is none; the common name when the certificate has no
    /// subjectAltName whatsoever.
    fn domains(&self) -> impl Iterator<Item = &'a str> {
        let hosts = if self.uris.is_empty() { &self.hosts[..] } else { &[] };
        let common = self.common.filter(|_| !self.alternative);
        self.uris.iter().copied().chain(hosts.iter().copied()).chain(common)
    }

    /// RFC 5280 §4.1: Certificate, its tbsCertificate, and in that the subject and the extensions.
    fn read(certificate: &'a [u8]) -> Option<Names<'a>> {
        let certificate = Der(certificate).take(SEQUENCE)?;
        let mut body = Der(Der(certificate).take(SEQUENCE)?);
        body.skip_if(VERSION);
        // Serial number, signature algorithm, issuer, validity.
        for _ in 0..4 {
            body.next()?;
        }
        let mut names = Names { common: common_name(body.take(SEQUENCE)?), ..Names::default() };
        // The public key; two identifiers that nobody uses.
        body.next()?;
        body.skip_if(ISSUER_ID);
        body.skip_if(SUBJECT_ID);
        let extensions = body.take(EXTENSIONS).and_then(|extensions| Der(extensions).take(SEQUENCE));
        let mut extensions = Der(extensions.unwrap_or_default());
        while let Some((SEQUENCE, extension)) = extensions.next() {
            let mut extension = Der(extension);
            if extension.take(OBJECT_ID)? != ALTERNATIVE_NAME {
                continue;
            }
            extension.skip_if(BOOLEAN);
            names.alternative = true;
            names.read_alternative(Der(extension.take(OCTETS)?).take(SEQUENCE)?);
        }
        Some(names)
    }

    /// RFC 5280 §4.2.1.6.
    fn read_alternative(&mut self, general: &'a [u8]) {
        let mut general = Der(general);
        for _ in 0..NAMES {
            let Some((tag, value)) = general.next() else { return };
            match tag {
                DNS_NAME => self.hosts.extend(std::str::from_utf8(value)),
                URI => self.uris.extend(std::str::from_utf8(value).ok().and_then(sip_domain)),
                ADDRESS => {
                    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
                    let v6 = <[u8; 16]>::try_from(value).map(IpAddr::from);
                    self.addresses.extend(v4.or(v6).map(|ip| ip.to_canonical()));
                }
                _ => {}
            }
        }
    }
}

/// RFC 5922 §7.1: the host of a SIP URI that has no user part. Other schemes, `sips` among them, name no domain.
fn sip_domain(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") || rest.contains('@') {
        return None;
    }
    let end = rest.find([':', ';', '?']).unwrap_or(rest.len());
    Some(&rest[..end]).filter(|host| !host.is_empty())
}

/// The last common name of a subject: the most specific one (RFC 6125 §2.3).
fn common_name(subject: &[u8]) -> Option<&str> {
    let (mut sets, mut found) = (Der(subject), None);
    while let Some((SET, set)) = sets.next() {
        let mut pairs = Der(set);
        while let Some((SEQUENCE, pair)) = pairs.next() {
            let mut pair = Der(pair);
            if pair.take(OBJECT_ID)? == COMMON_NAME
                && let Some((UTF8 | PRINTABLE | IA5, value)) = pair.next()
            {
                found = std::str::from_utf8(value).ok();
            }
        }
    }
    found
}

/// RFC 5922 §7.2: by DNS's rules, without regard to case, whole, and without wildcards.
fn same(name: &str, domain: &str) -> bool {
    let bare = |text: &'_ str| text.strip_suffix('.').map_or(text.len(), str::len);
    name[..bare(name)].eq_ignore_ascii_case(&domain[..bare(domain)])
}

/// A row of DER values (X.690), as far as certificates have them: tags of one byte, lengths below 64 KB.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value with its tag.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
            0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?),
            _ => return None,
        };
        let value = rest.get(..length)?;
        self.0 = &rest[length..];
        Some((tag, value))
    }

    /// The next value, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }

    /// Passes over the next value if it has this tag.
    fn skip_if(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            self.next();
        }
    }
}

const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;
/// Of a GeneralName.
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const ADDRESS: u8 = 0x87;
/// 2.5.29.17
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// The most names of a certificate that are looked at.
const NAMES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn certificate(common: &str, names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "example.org");
        params.distinguished_name.push(DnType::CommonName, common);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn host(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn a_sip_uri_counts_and_dns_names_beside_it_do_not() {
        let both = certificate("cn.example", vec![host("dns.example"), uri("sip:Uri.Example"), uri("sip:two.example")]);
        assert!(is_of(&both, "uri.example") && is_of(&both, "TWO.example."));
        assert!(!is_of(&both, "dns.example") && !is_of(&both, "cn.example"));
        assert_eq!(domains(&both), ["Uri.Example", "two.example"]);
    }

    #[test]
    fn a_uri_of_a_user_or_of_another_scheme_is_no_domain() {
        let names = ["sip:ann@user.example", "sips:sips.example", "https://web.example", "sip:", "urn:x"];
        let mut all: Vec<SanType> = names.into_iter().map(uri).collect();
        let none = certificate("cn.example", all.clone());
        for domain in ["user.example", "sips.example", "web.example", "x", "cn.example", ""] {
            assert!(!is_of(&none, domain), "{domain}");
        }
        all.push(host("dns.example"));
        assert!(is_of(&certificate("", all), "dns.example"), "DNS names count where no SIP URI does");
        let port = certificate("", vec![uri("sip:port.example:5061;transport=tls")]);
        assert!(is_of(&port, "port.example"));
    }

    #[test]
    fn names_are_compared_whole() {
        let wild = certificate("", vec![host("*.example.com"), host("example.org")]);
        for domain in ["sip.example.com", "example.com", "sip.example.org", "ample.org", "example.org.evil"] {
            assert!(!is_of(&wild, domain), "{domain}");
        }
        assert!(is_of(&wild, "example.org"));
    }

    #[test]
    fn the_common_name_counts_only_where_there_is_nothing_else() {
        assert!(is_of(&certificate("cn.example", Vec::new()), "CN.example"));
        let address = SanType::IpAddress([192, 0, 2, 1].into());
        assert!(!is_of(&certificate("cn.example", vec![address]), "cn.example"));
        assert!(!is_of(&certificate("*.example", Vec::new()), "cn.example"));
    }

    #[test]
    fn an_address_is_one_that_the_certificate_names() {
        let v4 = SanType::IpAddress([192, 0, 2, 1].into());
        let v6 = SanType::IpAddress("2001:db8::1".parse().unwrap());
        let both = certificate("192.0.2.9", vec![v4, v6, host("192.0.2.8")]);
        assert!(is_of(&both, "192.0.2.1") && is_of(&both, "[2001:db8::1]"));
        assert!(!is_of(&both, "192.0.2.8") && !is_of(&both, "192.0.2.9"));
    }

    #[test]
    fn what_is_no_certificate_has_no_name() {
        let good = certificate("cn.example", vec![host("dns.example"), uri("sip:uri.example")]);
        for end in 0..good.len() {
            assert!(!is_of(&good[..end], "uri.example"), "cut at {end}");
        }
        for at in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                // It may still be a certificate; it must not panic.
                let _ = domains(&bad);
            }
        }
    }
}
