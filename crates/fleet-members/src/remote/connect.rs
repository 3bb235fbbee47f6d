//! From credentials to a TLS connection: direct, or through a proxy.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use kube::client::ConfigExt as _;
use kube::config::AuthInfo;
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret as _;
use tokio::net::TcpStream;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt as _};

use super::credentials::{Credentials, CredentialsError, Identity, certificates};

/// Makes a TCP connection to the host of an address, or the proxy's tunnel to it.
type Dial = BoxCloneSyncService<Uri, TokioIo<TcpStream>, BoxError>;

/// The two ways to speak: HTTP/2 where the server offers it, and HTTP/1.1 only.
pub(super) struct Connectors {
    pub(super) negotiated: Connect,
    pub(super) http1: Connect,
}

/// Makes a TLS connection to the host of an address.
pub(super) type Connect = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, BoxError>;

/// Dead peers of HTTP/1.1 connections are noticed by TCP; HTTP/2 has its own pings.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How many unanswered keep-alive probes end a connection.
const KEEPALIVE_RETRIES: u32 = 3;

/// The connectors for a member.
///
/// # Errors
/// Where the authority, the certificate or the proxy makes no sense.
pub(super) fn connectors(credentials: &Credentials) -> Result<Connectors, CredentialsError> {
    let dial = dial(credentials.proxy.as_ref())?;
    let tls = tls(credentials)?;
    let builder = || HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_only();
    let (mut negotiated, mut http1) = (builder(), builder());
    if let Some(name) = &credentials.server_name {
        let resolver = || {
            let name = name.clone().try_into().map_err(|_| CredentialsError::Invalid {
                key: "tls-server-name",
                why: format!("{name:?} is no host name"),
            })?;
            Ok::<_, CredentialsError>(FixedServerNameResolver::new(name))
        };
        negotiated = negotiated.with_server_name_resolver(resolver()?);
        http1 = http1.with_server_name_resolver(resolver()?);
    }
    Ok(Connectors {
        negotiated: Connect::new(negotiated.enable_all_versions().wrap_connector(dial.clone())),
        http1: Connect::new(http1.enable_http1().wrap_connector(dial)),
    })
}

fn tls(credentials: &Credentials) -> Result<rustls::ClientConfig, CredentialsError> {
    // kube reads PEM, falls back to the platform's roots and takes any kind of key.
    let mut config = kube::Config::new(credentials.endpoint.clone());
    if let Some(authority) = &credentials.authority {
        config.root_cert = Some(certificates(authority)?);
    }
    if let Identity::Certificate { certificate, key } = &credentials.identity {
        config.auth_info = AuthInfo {
            client_certificate_data: Some(STANDARD.encode(certificate)),
            client_key_data: Some(STANDARD.encode(key.expose_secret()).into()),
            ..AuthInfo::default()
        };
    }
    let mut tls = config
        .rustls_client_config()
        .map_err(|error| CredentialsError::Unusable(super::error::cause(&error)))?;
    // One server, so one ticket is enough: the default keeps room for 256.
    tls.resumption = rustls::client::Resumption::in_memory_sessions(2);
    Ok(tls)
}

fn dial(proxy: Option<&Uri>) -> Result<Dial, CredentialsError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    let Some(proxy) = proxy else {
        return Ok(BoxCloneSyncService::new(tcp.map_err(BoxError::from)));
    };
    let refused = |why: &str| CredentialsError::Invalid { key: "proxy-url", why: why.to_owned() };
    let user = user(proxy);
    match proxy.scheme_str() {
        Some("http") => {
            let mut tunnel = Tunnel::new(without_user(proxy), tcp);
            if let Some((name, password)) = user {
                let value = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
                let value = HeaderValue::try_from(value)
                    .map_err(|_| refused("its user and password can't be sent"))?;
                tunnel = tunnel.with_auth(value);
            }
            Ok(BoxCloneSyncService::new(tunnel.map_err(BoxError::from)))
        }
        Some("socks5" | "socks5h") => {
            let mut socks = SocksV5::new(without_user(proxy), tcp);
            if let Some((name, password)) = user {
                socks = socks.with_auth(name, password);
            }
            Ok(BoxCloneSyncService::new(socks.map_err(BoxError::from)))
        }
        _ => {
            Err(refused("write it as http://[USER:PASSWORD@]HOST:PORT or socks5://[USER:PASSWORD@]HOST:PORT"))
        }
    }
}

/// User and password of an address, decoded.
fn user(uri: &Uri) -> Option<(String, String)> {
    let (user, _) = uri.authority()?.as_str().rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some((decoded(name), decoded(password)))
}

/// The same address without user and password: what is dialled may show in an error.
fn without_user(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    let bare = uri.authority().and_then(|all| all.as_str().rsplit_once('@')?.1.parse().ok());
    if let Some(bare) = bare {
        parts.authority = Some(bare);
    }
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_proxies_are_decoded_and_taken_out() {
        let proxy: Uri = "http://me:p%40ss@proxy:3128".parse().unwrap();
        assert_eq!(user(&proxy), Some(("me".to_owned(), "p@ss".to_owned())));
        assert_eq!(without_user(&proxy).to_string(), "http://proxy:3128/");
        assert_eq!(user(&"http://proxy:3128".parse().unwrap()), None);
    }

    #[test]
    fn other_proxies_are_refused_in_words() {
        let error = dial(Some(&"ftp://proxy:3128".parse().unwrap())).err().unwrap().to_string();
        assert!(error.contains("socks5://"), "{error}");
    }
}
