//! How a member is reached, as a Secret says it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_api::names;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::config::AuthInfo;
use kube::core::ObjectMeta;
use secrecy::{ExposeSecret as _, SecretString};

/// What a credential Secret holds: endpoint, authority, and who we are there.
#[derive(Debug, Clone)]
pub struct Credentials {
    endpoint: http::Uri,
    authority: Option<String>,
    identity: Identity,
}

/// Who we are at a member. Values never show in `Debug`.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A client certificate.
    Certificate {
        /// The chain, PEM.
        certificate: String,
        /// Its key, PEM.
        key: SecretString,
    },
    /// A bearer token.
    Token(SecretString),
}

/// Why a Secret can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A key is missing.
    #[error("key {0:?} is missing")]
    Missing(&'static str),
    /// A key's value makes no sense.
    #[error("key {key:?}: {why}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// Why.
        why: String,
    },
    /// All keys are readable, and still no connection can be set up with them.
    #[error("{0}")]
    Unusable(String),
}

impl Credentials {
    /// Credentials made by hand. `endpoint` is `https://HOST:PORT` with an optional path; `authority` is PEM, and
    /// without it the platform's own roots are trusted.
    ///
    /// # Errors
    /// [`CredentialsError::Invalid`] for an endpoint that is none.
    pub fn new(
        endpoint: &str,
        authority: Option<String>,
        identity: Identity,
    ) -> Result<Self, CredentialsError> {
        let invalid = |why: String| CredentialsError::Invalid { key: "endpoint", why };
        let endpoint: http::Uri = endpoint.trim().parse().map_err(|error: http::uri::InvalidUri| {
            invalid(format!("{error}; write it as https://HOST:PORT"))
        })?;
        if endpoint.scheme_str() != Some("https") {
            return Err(invalid("it must begin with https://".to_owned()));
        }
        Ok(Self { endpoint, authority, identity })
    }

    /// Reads a Secret's `endpoint`, `ca.crt` (or `ca`), and `tls.crt` with `tls.key` or `token`.
    ///
    /// # Errors
    /// The first key that is missing or makes no sense; never its value.
    pub fn read(secret: &Secret) -> Result<Self, CredentialsError> {
        let nothing = BTreeMap::new();
        let data = secret.data.as_ref().unwrap_or(&nothing);
        let text = |key: &'static str| -> Result<Option<String>, CredentialsError> {
            let Some(bytes) = data.get(key) else { return Ok(None) };
            let invalid = |_| CredentialsError::Invalid { key, why: "it is no text".to_owned() };
            let text = String::from_utf8(bytes.0.clone()).map_err(invalid)?;
            Ok(Some(text).filter(|text| !text.trim().is_empty()))
        };
        if text("proxy-url")?.is_some() {
            let why = "proxies aren't supported yet; remove the key where the member can be reached directly";
            return Err(CredentialsError::Invalid { key: "proxy-url", why: why.to_owned() });
        }
        let endpoint = text("endpoint")?.ok_or(CredentialsError::Missing("endpoint"))?;
        let authority = match text("ca.crt")? {
            Some(authority) => Some(authority),
            None => text("ca")?,
        };
        let identity = match (text("tls.crt")?, text("tls.key")?, text("token")?) {
            (Some(certificate), Some(key), _) => Identity::Certificate { certificate, key: key.into() },
            (None, None, Some(token)) => Identity::Token(token.trim().to_owned().into()),
            (Some(_), None, _) => Err(CredentialsError::Missing("tls.key"))?,
            (None, Some(_), _) => Err(CredentialsError::Missing("tls.crt"))?,
            (None, None, None) => {
                // A wrong endpoint is said first: it is the first line that a person writes.
                Self::new(&endpoint, None, Identity::Token(String::new().into()))?;
                Err(CredentialsError::Missing("token"))?
            }
        };
        Self::new(&endpoint, authority, identity)
    }

    /// The Secret that [`Credentials::read`] reads: Opaque, named as the member, labelled as the cluster gateway
    /// does. It belongs into one of [`super::RemoteOptions::namespaces`].
    pub fn secret(&self, namespace: &str, member: &str) -> Secret {
        let mut data = BTreeMap::new();
        let mut put = |key: &str, value: &str| {
            data.insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
        };
        put("endpoint", &self.endpoint());
        if let Some(authority) = &self.authority {
            put("ca.crt", authority);
        }
        let kind = match &self.identity {
            Identity::Certificate { certificate, key } => {
                put("tls.crt", certificate);
                put("tls.key", key.expose_secret());
                "X509Certificate"
            }
            Identity::Token(token) => {
                put("token", token.expose_secret());
                "ServiceAccountToken"
            }
        };
        let labels = BTreeMap::from([(names::CREDENTIAL_TYPE.to_owned(), kind.to_owned())]);
        Secret {
            metadata: ObjectMeta {
                name: Some(member.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            data: Some(data),
            ..Secret::default()
        }
    }

    /// The member's address, without a slash at its end.
    pub fn endpoint(&self) -> String {
        self.endpoint.to_string().trim_end_matches('/').to_owned()
    }

    /// A client that uses them, for any purpose: it has no retries of its own.
    ///
    /// # Errors
    /// In words, where a certificate can't be read.
    pub fn client(&self) -> Result<kube::Client, CredentialsError> {
        let mut config = kube::Config::new(self.endpoint.clone());
        if let Some(authority) = &self.authority {
            config.root_cert = Some(certificates(authority)?);
        }
        let mut user = AuthInfo::default();
        match &self.identity {
            Identity::Certificate { certificate, key } => {
                user.client_certificate_data = Some(STANDARD.encode(certificate));
                user.client_key_data = Some(STANDARD.encode(key.expose_secret()).into());
            }
            Identity::Token(token) => user.token = Some(token.clone()),
        }
        config.auth_info = user;
        config.default_retry = false;
        kube::Client::try_from(config).map_err(|error| CredentialsError::Unusable(innermost(&error)))
    }
}

/// The cause at the bottom: what is above says "client error" and no more.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, CredentialsError> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    match all {
        Ok(all) if !all.is_empty() => Ok(all.into_iter().map(|one| one.as_ref().to_vec()).collect()),
        _ => Err(CredentialsError::Invalid {
            key: "ca.crt",
            why: "it holds no certificate in PEM form".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(pairs: &[(&str, &str)]) -> Secret {
        let data =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    /// A person must be told which key to mend, and no value may show.
    #[test]
    fn what_is_missing_is_named() {
        for (pairs, said) in [
            (&[][..], "key \"endpoint\" is missing"),
            (&[("endpoint", "https://a:1")], "key \"token\" is missing"),
            (&[("endpoint", "https://a:1"), ("tls.crt", "x")], "key \"tls.key\" is missing"),
            (&[("endpoint", "http://a"), ("token", "hush")], "key \"endpoint\": it must begin with https://"),
        ] {
            assert_eq!(Credentials::read(&secret(pairs)).err().unwrap().to_string(), said);
        }
        assert!(
            Credentials::read(&secret(&[("endpoint", "https://a:1/clusters/x"), ("token", "t")])).is_ok()
        );
    }

    /// What `cluster join` writes is what the controller reads.
    #[test]
    fn what_is_written_is_read() {
        for pairs in [
            &[("endpoint", "https://a:1/clusters/x"), ("ca.crt", "CA"), ("token", "hush")][..],
            &[("endpoint", "https://a:1"), ("tls.crt", "CERT"), ("tls.key", "hush")],
        ] {
            let read = Credentials::read(&secret(pairs)).unwrap();
            let written = read.secret("fleetctl-system", "m1");
            assert_eq!(written.data, secret(pairs).data);
            assert_eq!(Credentials::read(&written).unwrap().secret("fleetctl-system", "m1"), written);
            assert!(!format!("{read:?}").contains("hush"), "a value shows: {read:?}");
        }
    }
}
