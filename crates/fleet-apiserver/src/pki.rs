//! Certificates: one authority, the listener's certificate, and one client certificate for each kubeconfig user.
//!
//! ```text
//! Authority (ca.crt, ca.key; 10 years) ─► server  (server.crt, server.key; 1 year; 127.0.0.1, ::1, localhost, …)
//!                                      └► clients (NAME.crt, NAME.key; 1 year; CN = user, one O per group)
//! ```
//!
//! All keys are ECDSA P-256. Files with keys are readable by their owner only. Certificates that have less than
//! 30 days left are issued anew when they are asked for, which is at start-up; clients keep working since the
//! authority stays. Time is an argument.

mod certificate;
mod files;
mod subject;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

pub use certificate::ClientFacts;
pub use certificate::KeyedCertificate;
pub use subject::identity_of;

use crate::authentication::TokenKey;
use crate::identity::Identity;

/// How long the authority's certificate is good.
const AUTHORITY_DAYS: u64 = 3650;
/// How long serving and client certificates are good.
const LEAF_DAYS: u64 = 365;
/// A certificate with less left than this is issued anew.
const RENEW_DAYS: u64 = 30;
/// Certificates begin this much before they are made, for clients whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(3600);

const COMMON_NAME: &str = "fleet-apiserver-ca";
/// What the listener's certificate always names.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why a certificate couldn't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A file couldn't be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The kept authority can't be used. Replacing it silently would lock every client out.
    #[error(
        "{path}: {why}; restore the file, or delete the directory to start with a new authority (every client then needs the new kubeconfig)",
        path = path.display()
    )]
    Authority {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The kept key for tokens can't be used.
    #[error(
        "{path}: this isn't a P-256 key in PEM form; restore the file, or delete it to start with a new key (tokens of ServiceAccounts must then be asked for anew)",
        path = path.display()
    )]
    TokenKey {
        /// Which file.
        path: PathBuf,
    },
    /// A name that a certificate can't carry.
    #[error(
        "{name:?} is neither a host name nor an address; give a name such as hub.example.org or 10.0.0.5"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A certificate couldn't be made.
    #[error("can't make the certificate for {subject}: {why}")]
    Issue {
        /// For whom or what.
        subject: String,
        /// What went wrong.
        why: String,
    },
    /// The TLS library refused the key or the certificate.
    #[error("TLS set-up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A certificate authority with its key; it issues the listener's and the clients' certificates.
pub struct Authority {
    directory: Option<PathBuf>,
    key: KeyPair,
    certificate_pem: String,
    certificate: CertificateDer<'static>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Authority {
    /// Loads the authority kept in a directory, or makes one there. The directory is made if it is absent.
    ///
    /// # Errors
    /// [`PkiError::File`] and [`PkiError::Authority`]; an authority that can't be read is never replaced.
    pub fn open(directory: &Path, now: Timestamp) -> Result<Self, PkiError> {
        files::make_directory(directory)?;
        let (key_path, certificate_path) = (directory.join("ca.key"), directory.join("ca.crt"));
        let (key, certificate) = (files::read(&key_path)?, files::read(&certificate_path)?);
        // The key is written first: a key without certificate is a first start that was cut short.
        let Some(pem) = certificate else {
            let authority = Self::generate(Some(directory.to_owned()), now)?;
            files::write_private(&key_path, &authority.key.serialize_pem())?;
            files::write_public(&certificate_path, &authority.certificate_pem)?;
            return Ok(authority);
        };
        let refused = |path: &Path, why| PkiError::Authority { path: path.to_owned(), why };
        let key = key.ok_or_else(|| refused(&key_path, "the authority's key is missing"))?;
        let key = KeyPair::from_pem(&key)
            .map_err(|_| refused(&key_path, "this isn't a private key in PEM form"))?;
        let certificate = certificate::der_of(&pem)
            .ok_or_else(|| refused(&certificate_path, "this isn't a certificate in PEM form"))?;
        let facts = certificate::facts_of(&certificate)
            .ok_or_else(|| refused(&certificate_path, "this isn't a certificate"))?;
        if facts.public_key != key.public_key_raw() {
            return Err(refused(&certificate_path, "certificate and key don't belong together"));
        }
        if facts.common_name.as_deref() != Some(COMMON_NAME) {
            return Err(refused(&certificate_path, "this authority was made by something else"));
        }
        let mut authority =
            Self { directory: Some(directory.to_owned()), key, certificate_pem: pem, certificate };
        if facts.not_after < seconds(now) + RENEW_DAYS * 86_400 {
            // Same name, same key: what it has signed stays valid.
            (authority.certificate_pem, authority.certificate) = self_signed(&authority.key, now)?;
            files::write_public(&certificate_path, &authority.certificate_pem)?;
        }
        Ok(authority)
    }

    /// An authority that lives in memory only.
    ///
    /// # Errors
    /// [`PkiError::Issue`] if there is no randomness to be had.
    pub fn in_memory(now: Timestamp) -> Result<Self, PkiError> {
        Self::generate(None, now)
    }

    /// An authority that is kept elsewhere, as its certificate and its key.
    ///
    /// # Errors
    /// [`PkiError::Tls`] where they aren't an authority of ours; [`PkiError::Issue`].
    pub fn from_pem(certificate_pem: &str, key_pem: &str, now: Timestamp) -> Result<Self, PkiError> {
        let refused = |why: &str| PkiError::Tls(rustls::Error::General(why.to_owned()));
        let key = KeyPair::from_pem(key_pem).map_err(|_| refused("this isn't a private key in PEM form"))?;
        let der = certificate::der_of(certificate_pem);
        let certificate = der.ok_or_else(|| refused("this isn't a certificate in PEM form"))?;
        let facts = certificate::facts_of(&certificate).ok_or_else(|| refused("this isn't a certificate"))?;
        if facts.public_key != key.public_key_raw() || facts.common_name.as_deref() != Some(COMMON_NAME) {
            return Err(refused("certificate and key aren't those of one authority of ours"));
        }
        let mut authority =
            Self { directory: None, key, certificate_pem: certificate_pem.to_owned(), certificate };
        if facts.not_after < seconds(now) + RENEW_DAYS * 86_400 {
            // Same name, same key: what it has signed stays valid.
            (authority.certificate_pem, authority.certificate) = self_signed(&authority.key, now)?;
        }
        Ok(authority)
    }

    /// The authority's private key in PEM form. Never log it.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Whether a certificate of this authority serves these names, and lasts.
    pub fn serves(&self, kept: &KeyedCertificate, names: &[String], now: Timestamp) -> bool {
        kept.belongs_together()
            && certificate::der_of(&kept.certificate_pem)
                .is_some_and(|der| self.server_lasts(&der, names, now))
    }

    fn generate(directory: Option<PathBuf>, now: Timestamp) -> Result<Self, PkiError> {
        let key = KeyPair::generate().map_err(|error| issue(COMMON_NAME, &error))?;
        let (certificate_pem, certificate) = self_signed(&key, now)?;
        Ok(Self { directory, key, certificate_pem, certificate })
    }

    /// The authority's certificate in PEM form: what a kubeconfig carries as `certificate-authority-data`.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A new client certificate for a user and groups. Nothing is kept.
    ///
    /// # Errors
    /// [`PkiError::Issue`].
    pub fn issue_client(
        &self,
        user: &str,
        groups: &[String],
        now: Timestamp,
    ) -> Result<KeyedCertificate, PkiError> {
        self.issue_client_for(user, groups, days(LEAF_DAYS), now)
    }

    /// The same for another time than a year, to the second. A certificate can't be taken back before its end.
    ///
    /// # Errors
    /// [`PkiError::Issue`].
    pub fn issue_client_for(
        &self,
        user: &str,
        groups: &[String],
        lasts: Duration,
        now: Timestamp,
    ) -> Result<KeyedCertificate, PkiError> {
        let mut params = leaf(now);
        valid_for(&mut params, now, lasts);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let issued = self.issue(params, user)?;
        // rcgen holds one value per attribute; Kubernetes wants one organisation per group.
        certificate::with_subject(issued, user, groups, &self.key)
            .map_err(|why| PkiError::Issue { subject: user.to_owned(), why })
    }

    /// A new certificate for a listener that answers to loopback and these names and addresses.
    ///
    /// # Errors
    /// [`PkiError::Name`] and [`PkiError::Issue`].
    pub fn issue_server(&self, names: &[String], now: Timestamp) -> Result<KeyedCertificate, PkiError> {
        let mut params = leaf(now);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name.push(DnType::CommonName, "fleet-apiserver");
        for name in all_names(names) {
            let bad = || PkiError::Name { name: name.to_owned() };
            ServerName::try_from(name).map_err(|_| bad())?;
            let one = CertificateParams::new(vec![name.to_owned()]).map_err(|_| bad())?;
            params.subject_alt_names.extend(one.subject_alt_names);
        }
        self.issue(params, "the listener")
    }

    /// The client certificate kept under `name` for this user and these groups; issued (again) where there is
    /// none that fits and lasts. In memory every call issues one.
    ///
    /// # Errors
    /// As [`Self::issue_client`], and [`PkiError::File`].
    pub fn client(
        &self,
        name: &str,
        user: &str,
        groups: &[String],
        now: Timestamp,
    ) -> Result<KeyedCertificate, PkiError> {
        let wanted = Identity::new(user, groups.iter().cloned());
        let fits = |kept: &CertificateDer<'static>| {
            identity_of(kept).as_ref() == Some(&wanted) && self.client_lasts(kept, now)
        };
        self.kept(name, fits, || self.issue_client(user, groups, now))
    }

    /// The listener's certificate for loopback and these names; issued (again) where there is none that fits
    /// and lasts. In memory every call issues one.
    ///
    /// # Errors
    /// As [`Self::issue_server`], and [`PkiError::File`].
    pub fn server(&self, names: &[String], now: Timestamp) -> Result<KeyedCertificate, PkiError> {
        self.kept("server", |kept| self.server_lasts(kept, names, now), || self.issue_server(names, now))
    }

    /// TLS for a listener: HTTP/2 and HTTP/1.1, client certificates of this authority accepted but not demanded.
    ///
    /// # Errors
    /// [`PkiError::Tls`] where certificate and key don't fit.
    pub fn server_config(&self, serving: &KeyedCertificate) -> Result<ServerConfig, PkiError> {
        let verifier = self.client_verifier()?;
        let (chain, key) = serving.der()?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// The key that signs the tokens of ServiceAccounts, kept as `sa.key` beside the authority's; in memory every call
    /// makes one.
    ///
    /// # Errors
    /// [`PkiError::File`], and [`PkiError::TokenKey`] for a file that holds no such key: it is never replaced.
    pub fn token_key(&self) -> Result<TokenKey, PkiError> {
        const SUBJECT: &str = "the tokens of ServiceAccounts";
        let failed = |why: &dyn std::fmt::Display| PkiError::Issue {
            subject: SUBJECT.to_owned(),
            why: why.to_string(),
        };
        let path = self.directory.as_ref().map(|directory| directory.join("sa.key"));
        if let Some(path) = &path
            && let Some(pem) = files::read(path)?
        {
            return TokenKey::from_pem(&pem).map_err(|_| PkiError::TokenKey { path: path.clone() });
        }
        let pair = KeyPair::generate().map_err(|error| failed(&error))?;
        let key = TokenKey::of(&pair).map_err(|error| failed(&error))?;
        if let Some(path) = &path {
            files::write_private(path, &pair.serialize_pem())?;
        }
        Ok(key)
    }

    fn issue(&self, params: CertificateParams, subject: &str) -> Result<KeyedCertificate, PkiError> {
        let failed = |error: &rcgen::Error| issue(subject, error);
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let issuer = Issuer::new(authority_params(), &self.key);
        let certificate = params.signed_by(&key, &issuer).map_err(|error| failed(&error))?;
        Ok(KeyedCertificate { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    fn kept(
        &self,
        name: &str,
        fits: impl Fn(&CertificateDer<'static>) -> bool,
        make: impl FnOnce() -> Result<KeyedCertificate, PkiError>,
    ) -> Result<KeyedCertificate, PkiError> {
        let Some(directory) = &self.directory else { return make() };
        let (key_path, path) = (directory.join(format!("{name}.key")), directory.join(format!("{name}.crt")));
        if let (Some(certificate_pem), Some(key_pem)) = (files::read(&path)?, files::read(&key_path)?) {
            let kept = KeyedCertificate { certificate_pem, key_pem };
            if kept.belongs_together()
                && certificate::der_of(&kept.certificate_pem).is_some_and(|der| fits(&der))
            {
                return Ok(kept);
            }
        }
        let made = make()?;
        files::write_private(&key_path, &made.key_pem)?;
        files::write_public(&path, &made.certificate_pem)?;
        Ok(made)
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, PkiError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        Ok(Arc::new(roots))
    }

    fn client_verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, PkiError> {
        WebPkiClientVerifier::builder_with_provider(self.roots()?, provider())
            .allow_unauthenticated()
            .build()
            .map_err(|error| PkiError::Tls(rustls::Error::General(error.to_string())))
    }

    /// Judged by the very check that the listener makes, now and at the end of the time that must remain.
    fn client_lasts(&self, kept: &CertificateDer<'_>, now: Timestamp) -> bool {
        let Ok(verifier) = self.client_verifier() else { return false };
        moments(now).iter().all(|moment| verifier.verify_client_cert(kept, &[], *moment).is_ok())
    }

    /// Judged by the very check that a client makes, for every name.
    fn server_lasts(&self, kept: &CertificateDer<'_>, names: &[String], now: Timestamp) -> bool {
        let Ok(roots) = self.roots() else { return false };
        let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(roots, provider()).build() else {
            return false;
        };
        all_names(names).all(|name| {
            ServerName::try_from(name).is_ok_and(|name| {
                moments(now)
                    .iter()
                    .all(|moment| verifier.verify_server_cert(kept, &[], &name, &[], *moment).is_ok())
            })
        })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn all_names(names: &[String]) -> impl Iterator<Item = &str> {
    LOOPBACK.into_iter().chain(names.iter().map(String::as_str))
}

fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or(0)
}

/// Now, and the moment until which a certificate must last to be kept.
fn moments(now: Timestamp) -> [UnixTime; 2] {
    [seconds(now), seconds(now) + RENEW_DAYS * 86_400]
        .map(|at| UnixTime::since_unix_epoch(Duration::from_secs(at)))
}

fn issue(subject: &str, error: &rcgen::Error) -> PkiError {
    PkiError::Issue { subject: subject.to_owned(), why: error.to_string() }
}

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

fn valid_for(params: &mut CertificateParams, now: Timestamp, lasts: Duration) {
    let moment = |at: u64| {
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        time::OffsetDateTime::from_unix_timestamp(at).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
    };
    params.not_before = moment(seconds(now).saturating_sub(BACKDATED.as_secs()));
    params.not_after = moment(seconds(now).saturating_add(lasts.as_secs()));
}

fn leaf(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    valid_for(&mut params, now, days(LEAF_DAYS));
    params.distinguished_name = DistinguishedName::new();
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn self_signed(key: &KeyPair, now: Timestamp) -> Result<(String, CertificateDer<'static>), PkiError> {
    let mut params = authority_params();
    valid_for(&mut params, now, days(AUTHORITY_DAYS));
    let certificate = params.self_signed(key).map_err(|error| issue(COMMON_NAME, &error))?;
    Ok((certificate.pem(), certificate.der().clone()))
}

#[cfg(test)]
mod tests;
