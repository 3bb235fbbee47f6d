//! How a member is reached, as a Secret says it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::config::AuthInfo;

/// What a credential Secret holds: endpoint, authority, and a certificate or a token.
#[derive(Clone)]
pub struct Credentials {
    endpoint: http::Uri,
    authority: Option<String>,
    user: AuthInfo,
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
}

impl Credentials {
    /// Reads a Secret's `endpoint`, `ca.crt`, and `tls.crt` with `tls.key` or `token`.
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
        let endpoint: http::Uri =
            endpoint.trim().parse().map_err(|error: http::uri::InvalidUri| CredentialsError::Invalid {
                key: "endpoint",
                why: format!("{error}; write it as https://HOST:PORT"),
            })?;
        if endpoint.scheme_str() != Some("https") {
            let why = "it must begin with https://".to_owned();
            return Err(CredentialsError::Invalid { key: "endpoint", why });
        }
        let mut user = AuthInfo::default();
        match (text("tls.crt")?, text("tls.key")?, text("token")?) {
            (Some(certificate), Some(key), _) => {
                user.client_certificate_data = Some(STANDARD.encode(certificate));
                user.client_key_data = Some(STANDARD.encode(key).into());
            }
            (None, None, Some(token)) => user.token = Some(token.trim().to_owned().into()),
            (Some(_), None, _) => return Err(CredentialsError::Missing("tls.key")),
            (None, Some(_), _) => return Err(CredentialsError::Missing("tls.crt")),
            (None, None, None) => return Err(CredentialsError::Missing("token")),
        }
        Ok(Self { endpoint, authority: text("ca.crt")?, user })
    }

    /// A client that uses them.
    ///
    /// # Errors
    /// In words, where a certificate can't be read.
    pub fn client(&self) -> Result<kube::Client, String> {
        let mut config = kube::Config::new(self.endpoint.clone());
        if let Some(authority) = &self.authority {
            config.root_cert = Some(certificates(authority)?);
        }
        config.auth_info = self.user.clone();
        // The controller has deadlines and retries of its own.
        config.default_retry = false;
        kube::Client::try_from(config).map_err(|error| crate::exit::innermost(&error))
    }
}

fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, String> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    match all {
        Ok(all) if !all.is_empty() => Ok(all.into_iter().map(|one| one.as_ref().to_vec()).collect()),
        _ => Err("key \"ca.crt\" holds no certificate in PEM form".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

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
}
