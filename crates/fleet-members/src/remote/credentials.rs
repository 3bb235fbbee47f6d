//! How a member is reached, as a Secret says it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_api::names;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::config::{ExecAuthCluster, ExecConfig, Kubeconfig};
use kube::core::ObjectMeta;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::RemoteOptions;
use super::bearer::Bearer;
use super::greeting::Greeting;
use super::link::{Link, Way};
use super::plugin::{Plugin, Plugins};
use super::wire::{Timing, Wire};

/// Keys under which a Secret may hold a whole kubeconfig: the plain one, and those of Cluster API and others.
const KUBECONFIG_KEYS: [&str; 3] = ["kubeconfig", "value", "config"];

/// What a credential Secret holds: endpoint, authority, and who we are there.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub(super) endpoint: http::Uri,
    pub(super) authority: Option<String>,
    pub(super) identity: Identity,
    pub(super) proxy: Option<http::Uri>,
    pub(super) server_name: Option<String>,
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
    /// A credential plugin that gives a token when it is needed.
    Plugin(Box<ExecConfig>),
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
        Ok(Self { endpoint, authority, identity, proxy: None, server_name: None })
    }

    /// The same through a proxy: `http://` or `socks5://`, with `USER:PASSWORD@` where it asks for that.
    ///
    /// # Errors
    /// [`CredentialsError::Invalid`] for an address that is none.
    pub fn through_proxy(mut self, proxy: &str) -> Result<Self, CredentialsError> {
        let proxy = proxy.trim().parse::<http::Uri>().ok().filter(|proxy| {
            matches!(proxy.scheme_str(), Some("http" | "socks5" | "socks5h")) && proxy.host().is_some()
        });
        self.proxy = Some(proxy.ok_or_else(|| {
            CredentialsError::Invalid {
                key: "proxy-url",
                why: "write it as http://[USER:PASSWORD@]HOST:PORT or socks5://[USER:PASSWORD@]HOST:PORT"
                    .to_owned(),
            }
        })?);
        Ok(self)
    }

    /// The same, with the server's certificate held to another name than the endpoint's.
    #[must_use]
    pub fn named(mut self, server_name: Option<String>) -> Self {
        self.server_name = server_name.filter(|name| !name.is_empty());
        self
    }

    /// Reads a Secret: `endpoint`, `ca.crt` (or `ca`), `proxy-url`, `tls-server-name`, and who we are: `tls.crt` with
    /// `tls.key`, `token`, or `exec` (a credential plugin as kubeconfigs have it, in JSON). Or a whole kubeconfig under
    /// `kubeconfig`, `value` or `config`, whose current context counts.
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
        if text("endpoint")?.is_none() {
            for key in KUBECONFIG_KEYS {
                let Some(written) = text(key)? else { continue };
                let invalid = |why: &str| CredentialsError::Invalid { key, why: why.to_owned() };
                let config = Kubeconfig::from_yaml(&written).map_err(|_| invalid("it is no kubeconfig"))?;
                return super::kubeconfig::read(&config, None).map_err(|why| invalid(&why));
            }
        }
        let endpoint = text("endpoint")?.ok_or(CredentialsError::Missing("endpoint"))?;
        let authority = match text("ca.crt")? {
            Some(authority) => Some(authority),
            None => text("ca")?,
        };
        let identity = match (text("tls.crt")?, text("tls.key")?, text("token")?, text("exec")?) {
            (Some(certificate), Some(key), ..) => Identity::Certificate { certificate, key: key.into() },
            (None, None, Some(token), _) => Identity::Token(token.trim().to_owned().into()),
            (None, None, None, Some(exec)) => {
                let invalid = |_| CredentialsError::Invalid {
                    key: "exec",
                    why: "it is no exec plugin of a kubeconfig in JSON".to_owned(),
                };
                Identity::Plugin(Box::new(serde_json::from_str(&exec).map_err(invalid)?))
            }
            (Some(_), None, ..) => Err(CredentialsError::Missing("tls.key"))?,
            (None, Some(_), ..) => Err(CredentialsError::Missing("tls.crt"))?,
            (None, None, None, None) => {
                // A wrong endpoint is said first: it is the first line that a person writes.
                Self::new(&endpoint, None, Identity::Token(String::new().into()))?;
                Err(CredentialsError::Missing("token"))?
            }
        };
        let read = Self::new(&endpoint, authority, identity)?.named(text("tls-server-name")?);
        match text("proxy-url")? {
            Some(proxy) => read.through_proxy(&proxy),
            None => Ok(read),
        }
    }

    /// Reads a context of a kubeconfig; without a name the current one, or the only one. What it refers to by file isn't
    /// read: a Secret has no files.
    ///
    /// # Errors
    /// [`CredentialsError::Unusable`] in words.
    pub fn from_kubeconfig(config: &Kubeconfig, context: Option<&str>) -> Result<Self, CredentialsError> {
        super::kubeconfig::read(config, context).map_err(CredentialsError::Unusable)
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
            Identity::Plugin(exec) => {
                put("exec", &serde_json::to_string(exec).unwrap_or_default());
                "Dynamic"
            }
        };
        if let Some(proxy) = &self.proxy {
            put("proxy-url", proxy.to_string().trim_end_matches('/'));
        }
        if let Some(name) = &self.server_name {
            put("tls-server-name", name);
        }
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

    /// A client for one use, by a person's hand: it has deadlines, and neither retries nor credential plugins.
    ///
    /// # Errors
    /// In words, where a certificate can't be read, or they name a plugin.
    pub fn client(&self) -> Result<kube::Client, CredentialsError> {
        if let Identity::Plugin(exec) = &self.identity {
            Plugins::default().judge(exec).map_err(CredentialsError::Unusable)?;
        }
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Ok(Link::new(Ok(self.way(Timing::default(), Bearer::None, None, tasks, stop)?)).client())
    }

    /// A client that goes by the same rules as the controller's, credential plugins included.
    ///
    /// # Errors
    /// In words, where a certificate can't be read, or they name a plugin that isn't allowed.
    pub fn client_with(&self, options: &RemoteOptions) -> Result<kube::Client, CredentialsError> {
        let way = self.allowed_way(options, &TaskTracker::new(), &CancellationToken::new())?;
        Ok(Link::new(Ok(way)).client())
    }

    /// The way to the member, made at its first use.
    pub(super) fn allowed_way(
        &self,
        options: &RemoteOptions,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Way, CredentialsError> {
        let bearer = match &self.identity {
            Identity::Plugin(exec) => {
                options.plugins.judge(exec).map_err(CredentialsError::Unusable)?;
                let (clock, stop) = (options.clock.clone(), stop.child_token());
                Bearer::Plugin(Plugin::new((**exec).clone(), self.described(), clock, tasks.clone(), stop))
            }
            _ => Bearer::None,
        };
        let greeting = Some(Arc::default());
        self.way(options.timing.clone(), bearer, greeting, tasks.clone(), stop.child_token())
    }

    fn way(
        &self,
        timing: Timing,
        mut bearer: Bearer,
        greeting: Option<Arc<Greeting>>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Way, CredentialsError> {
        if let Identity::Token(token) = &self.identity {
            let invalid = || CredentialsError::Invalid { key: "token", why: "it can't be sent".to_owned() };
            bearer = Bearer::Fixed(super::bearer::header(token).ok_or_else(invalid)?);
        }
        let (answer, connectors) = (timing.answer, super::connect::connectors(self)?);
        let wire = Wire::new(self.endpoint.clone(), connectors, timing, greeting, tasks, stop);
        Ok(Way::new(self.endpoint.clone(), wire, bearer, answer))
    }

    /// What a credential plugin may ask about the cluster.
    fn described(&self) -> ExecAuthCluster {
        ExecAuthCluster {
            server: Some(self.endpoint()),
            insecure_skip_tls_verify: None,
            certificate_authority_data: self.authority.as_ref().map(|pem| pem.as_bytes().to_vec()),
            proxy_url: self.proxy.as_ref().map(ToString::to_string),
            tls_server_name: self.server_name.clone(),
            config: None,
        }
    }
}

pub(super) fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, CredentialsError> {
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
