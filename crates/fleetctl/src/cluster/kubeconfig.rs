//! A cluster by a kubeconfig that somebody hands over.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fleet_members::{Credentials, CredentialsError, Identity, innermost};
use jiff::Timestamp;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use x509_cert::der::DecodePem as _;

use super::trouble::Door;
use crate::access::Cluster;
use crate::exit::{Failure, Outcome};

/// The largest kubeconfig, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;

/// A way into a cluster.
pub(crate) struct Way {
    /// The file, as it is shown.
    pub(crate) file: String,
    /// The context.
    pub(crate) context: String,
    /// The cluster's address.
    pub(crate) server: String,
    /// The certificates of its authority, PEM; `None` where the platform's are trusted.
    pub(crate) authority: Option<String>,
    /// The proxy, where there is one.
    pub(crate) proxy: Option<String>,
    /// The name that its certificate is held to, where that isn't the address's.
    pub(crate) server_name: Option<String>,
    /// Who the kubeconfig says we are.
    pub(crate) user: AuthInfo,
    /// For asking.
    pub(crate) cluster: Cluster,
    who: String,
    authority_shown: String,
    expires: Option<Timestamp>,
}

impl Way {
    /// Reads a file, or stdin where it is `-`.
    ///
    /// # Errors
    /// Where it can't be read, has several contexts and none is named, or what it says can't be used.
    pub(crate) async fn read(path: &Path, context: Option<&str>, deadline: Duration) -> Outcome<Self> {
        let file = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
        let failed = |cause: String| Failure::failed(format!("kubeconfig {file}: {cause}"));
        let kubeconfig = if path == Path::new("-") {
            let text = tokio::task::spawn_blocking(|| {
                let mut text = String::new();
                std::io::stdin().take(LARGEST).read_to_string(&mut text).map(|_| text)
            });
            let text = text.await.map_err(|error| failed(error.to_string()))?;
            let text = text.map_err(|error| failed(error.to_string()))?;
            Kubeconfig::from_yaml(&text).map_err(|error| failed(innermost(&error)))?
        } else {
            if matches!(path.try_exists(), Ok(false)) {
                return Err(Failure::not_found(format!("kubeconfig {file}: there is no such file")));
            }
            Kubeconfig::read_from(path).map_err(|error| failed(innermost(&error)))?
        };
        Self::of(kubeconfig, file, context, deadline).await
    }

    async fn of(
        kubeconfig: Kubeconfig,
        file: String,
        context: Option<&str>,
        deadline: Duration,
    ) -> Outcome<Self> {
        let failed = |cause: String| Failure::failed(format!("kubeconfig {file}: {cause}"));
        let context = chosen(&kubeconfig, &file, context)?;
        let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
        let entry = kubeconfig.contexts.iter().find(|entry| entry.name == context);
        let entry = entry.and_then(|entry| entry.context.as_ref());
        let named = entry.map(|entry| entry.cluster.clone()).unwrap_or_default();
        let described = kubeconfig.clusters.iter().find(|entry| entry.name == named);
        let described = described.and_then(|entry| entry.cluster.clone()).unwrap_or_default();
        let user_name = entry.and_then(|entry| entry.user.clone()).unwrap_or_default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| failed(format!("context {context:?}: {}", innermost(&error))))?;
        if config.accept_invalid_certs {
            return Err(failed(format!(
                "context {context:?} says insecure-skip-tls-verify: a fleet delivers to nobody whom it can't recognise; give certificate-authority instead"
            )));
        }
        if config.cluster_url.scheme_str() != Some("https") {
            return Err(failed(format!(
                "context {context:?}: the server {} must begin with https://",
                config.cluster_url
            )));
        }
        config.connect_timeout = Some(deadline);
        config.default_retry = false;
        let authority = match (&described.certificate_authority_data, &described.certificate_authority) {
            (Some(data), _) => {
                let bytes = STANDARD
                    .decode(data)
                    .map_err(|_| failed("certificate-authority-data is no base64".to_owned()))?;
                Some(
                    String::from_utf8(bytes)
                        .map_err(|_| failed("certificate-authority-data is no PEM".to_owned()))?,
                )
            }
            (None, Some(path)) => Some(
                std::fs::read_to_string(path)
                    .map_err(|error| failed(format!("certificate-authority {path}: {error}")))?,
            ),
            (None, None) => None,
        };
        let user = config.auth_info.clone();
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let proxy = config.proxy_url.as_ref().map(ToString::to_string);
        let client = kube::Client::try_from(config).map_err(|error| failed(innermost(&error)))?;
        let cluster = Cluster::of_member(client, &context, &server, deadline);
        Ok(Self {
            who: format!("user {user_name:?} of {file}"),
            authority_shown: match authority {
                Some(_) => format!("certificate-authority of {file}"),
                None => {
                    format!("an authority that this machine trusts ({file} has no certificate-authority)")
                }
            },
            expires: expires(&user),
            file,
            context,
            server,
            authority,
            proxy,
            server_name: described.tls_server_name,
            user,
            cluster,
        })
    }

    /// Credentials for this cluster.
    ///
    /// # Errors
    /// Where the address is none.
    pub(crate) fn credentials(&self, endpoint: &str, shown: Identity) -> Outcome<Credentials> {
        let wrong = |error: CredentialsError| Failure::usage(format!("{endpoint}: {error}"));
        let made = Credentials::new(endpoint, self.authority.clone(), shown).map_err(wrong)?;
        let made = made.named(self.server_name.clone());
        match &self.proxy {
            Some(proxy) => made.through_proxy(proxy).map_err(wrong),
            None => Ok(made),
        }
    }

    /// For explaining what went wrong.
    pub(crate) fn door(&self) -> Door<'_> {
        Door {
            server: &self.server,
            who: &self.who,
            authority: &self.authority_shown,
            expires: self.expires,
            renew: "log in to that cluster again, and give the new kubeconfig",
        }
    }
}

/// The context that is meant: which cluster is joined is never left to what happens to be current.
fn chosen(kubeconfig: &Kubeconfig, file: &str, wanted: Option<&str>) -> Outcome<String> {
    let known: Vec<&str> = kubeconfig.contexts.iter().map(|entry| entry.name.as_str()).collect();
    match (wanted, known.as_slice()) {
        (Some(wanted), known) if known.contains(&wanted) => Ok(wanted.to_owned()),
        (Some(wanted), known) => {
            let advice = crate::nearest::advice(wanted, known, "contexts");
            Err(Failure::not_found(format!("kubeconfig {file} has no context {wanted:?}{advice}")))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => Err(Failure::failed(format!("kubeconfig {file} has no contexts; is it a kubeconfig?"))),
        (None, known) => {
            let current = kubeconfig.current_context.as_deref().filter(|current| !current.is_empty());
            let current = current.map(|current| format!("; current is {current}")).unwrap_or_default();
            Err(Failure::usage(format!(
                "kubeconfig {file} has several contexts: {}{current}; name one with --member-context",
                known.join(", ")
            )))
        }
    }
}

/// When a certificate or a token expires, where it can be read from it.
fn expires(user: &AuthInfo) -> Option<Timestamp> {
    let shown = serde_json::to_value(user).ok()?;
    let text = |key: &str| shown.get(key).and_then(Value::as_str).map(str::to_owned);
    if let Some(data) = text("client-certificate-data") {
        let pem = STANDARD.decode(data).ok()?;
        return certificate_end(&pem);
    }
    if let Some(path) = text("client-certificate") {
        return certificate_end(&std::fs::read(path).ok()?);
    }
    token_end(&text("token")?)
}

/// The end of the first certificate in PEM.
pub(crate) fn certificate_end(pem: &[u8]) -> Option<Timestamp> {
    let certificate = x509_cert::Certificate::from_pem(pem).ok()?;
    let end = certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs();
    Timestamp::from_second(i64::try_from(end).ok()?).ok()
}

/// The end of a token, where it is a JWT that says so (RFC 7519, `exp`).
pub(crate) fn token_end(token: &str) -> Option<Timestamp> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    Timestamp::from_second(claims.get("exp")?.as_i64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(contexts: &[&str], current: &str) -> Kubeconfig {
        let entry = |name: &&str| format!("- {{ name: {name}, context: {{ cluster: c, user: u }} }}");
        let list: Vec<String> = contexts.iter().map(entry).collect();
        Kubeconfig::from_yaml(&format!("current-context: '{current}'\ncontexts:\n{}\n", list.join("\n")))
            .unwrap()
    }

    /// The current context of a shared kubeconfig is whatever somebody looked at last.
    #[test]
    fn several_contexts_are_listed() {
        let several = kubeconfig(&["bj", "hz"], "hz");
        let failure = chosen(&several, "f", None).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "kubeconfig f has several contexts: bj, hz; current is hz; name one with --member-context"
        );
        assert_eq!(failure.exit.code(), 2);
        assert_eq!(chosen(&several, "f", Some("bj")), Ok("bj".to_owned()));
        assert_eq!(chosen(&kubeconfig(&["bj"], ""), "f", None), Ok("bj".to_owned()));
        let failure = chosen(&several, "f", Some("hx")).unwrap_err();
        assert!(failure.to_string().contains("did you mean"), "{failure}");
    }

    /// "Expired" and "revoked" need different cures.
    #[test]
    fn the_end_of_a_token_is_read() {
        let token = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(token_end(&token(r#"{"exp":60}"#)), Timestamp::from_second(60).ok());
        assert_eq!(token_end(&token("{}")), None);
        assert_eq!(token_end("opaque"), None);
    }
}
