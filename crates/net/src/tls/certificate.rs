//! Our certificate: loaded from files, or made once with all names and addresses of the host.

use crate::{clock, host};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use words::diagnosis::Diagnosis;

/// A certificate chain and its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    made: bool,
}

/// A certificate cannot be used. The operator's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {why}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong in it.
        why: String,
    },
    /// Certificate and key do not fit each other.
    #[error("the certificate and the key do not fit: {0}")]
    Unfit(String),
    /// None could be made.
    #[error("no certificate could be made: {0}")]
    NotMade(String),
}

impl CertificateError {
    /// The diagnosis that explains it.
    pub fn diagnosis(&self) -> Diagnosis {
        Diagnosis::BadCertificate
    }
}

impl Identity {
    /// Reads a chain (leaf first) and its key, both PEM.
    pub fn load(certificate: &Path, key_file: &Path) -> Result<Self, CertificateError> {
        let pem = read(certificate)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.map_err(|error| malformed(certificate, &error))?;
        if chain.is_empty() {
            return Err(malformed(certificate, &"no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(key_file)?).map_err(|error| malformed(key_file, &error))?;
        Ok(Identity { chain, key, made: false })
    }

    /// Reads `certificate.pem` and `key.pem` of `folder`; makes them when neither is there, for the host's name, all
    /// its addresses and `names` (names or addresses).
    pub fn load_or_make(folder: &Path, names: &[String]) -> Result<Self, CertificateError> {
        let (certificate, key) = Identity::files(folder);
        if certificate.exists() || key.exists() {
            return Identity::load(&certificate, &key);
        }
        let (certificate_pem, key_pem) = make(names)?;
        fs::create_dir_all(folder).map_err(|source| CertificateError::File { path: folder.to_owned(), source })?;
        // The key first: a certificate without a key would stop the next start.
        write(&key, 0o600, &key_pem)?;
        write(&certificate, 0o644, &certificate_pem)?;
        Ok(Identity { made: true, ..Identity::load(&certificate, &key)? })
    }

    /// Where [`Identity::load_or_make`] keeps the certificate and the key.
    pub fn files(folder: &Path) -> (PathBuf, PathBuf) {
        (folder.join("certificate.pem"), folder.join("key.pem"))
    }

    /// Whether it was made just now.
    pub fn was_made(&self) -> bool {
        self.made
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).field("made", &self.made).finish_non_exhaustive()
    }
}

/// A self-signed certificate and its key as PEM. RSA of 2048 bits: the phones of the last fifteen years all take it,
/// which cannot be said of elliptic curves.
fn make(names: &[String]) -> Result<(String, String), CertificateError> {
    let not_made = |error: rcgen::Error| CertificateError::NotMade(error.to_string());
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).map_err(not_made)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = subjects(names);
    params.distinguished_name = DistinguishedName::new();
    let common = names.first().cloned().unwrap_or_else(host::name);
    params.distinguished_name.push(DnType::CommonName, common);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    // Phones without the time yet live years in the past, and those that count seconds in 32 bits end in January 2038.
    // People load this certificate into each phone by hand, so it lives as long as that allows, at most ten years.
    let year = year_now();
    params.not_before = rcgen::date_time_ymd(FIRST_YEAR, 1, 1);
    params.not_after = rcgen::date_time_ymd((year + YEARS).min(LAST_YEAR).max(year + 2), 1, 1);
    let certificate = params.self_signed(&key).map_err(not_made)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// What the certificate is for, each once: `names`, the host's name, its addresses.
fn subjects(names: &[String]) -> Vec<SanType> {
    let mut subjects: Vec<SanType> = Vec::new();
    let mut add = |subject: Option<SanType>| {
        if let Some(subject) = subject
            && subjects.len() < NAMES
            && !subjects.contains(&subject)
        {
            subjects.push(subject);
        }
    };
    let host_name = host::name();
    for name in names.iter().map(String::as_str).chain([host_name.as_str(), "localhost"]) {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(ip) => add(Some(SanType::IpAddress(ip))),
            Err(_) if !name.is_empty() => add(name.try_into().ok().map(SanType::DnsName)),
            Err(_) => {}
        }
    }
    for ip in host::addresses().unwrap_or_default() {
        add(Some(SanType::IpAddress(ip)));
    }
    subjects
}

fn year_now() -> i32 {
    1970 + (clock::wall().0 / YEAR_MS) as i32
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), CertificateError> {
    let all = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    all().map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

fn malformed(path: &Path, why: &impl ToString) -> CertificateError {
    CertificateError::Malformed { path: path.to_owned(), why: why.to_string() }
}

/// The most names and addresses in a certificate that is made.
pub const NAMES: usize = 64;
const FIRST_YEAR: i32 = 2010;
const LAST_YEAR: i32 = 2038;
const YEARS: i32 = 10;
/// A mean Gregorian year. Units: milliseconds.
const YEAR_MS: i64 = 31_556_952_000;
