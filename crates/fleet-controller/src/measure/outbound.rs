//! Requests to servers that steps name: one connection each, with a deadline, bounded answers, and no redirects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

pub use super::address::Addresses;
use super::address::{refused_as_written, resolve};
use super::dial::{Connection, Dial};

/// So many requests are under way at once, for all Applications together.
const AT_ONCE: usize = 32;
/// The longest answer that is read.
const LONGEST_ANSWER: usize = 1024 * 1024;
/// The longest body that is sent.
const LONGEST_BODY: usize = 1024 * 1024;
/// Who asks.
const AGENT: &str = concat!("fleetctl/", env!("CARGO_PKG_VERSION"));

/// Sends what steps say.
pub(crate) struct Outbound {
    addresses: Addresses,
    dial: Option<Arc<dyn Dial>>,
    permits: Semaphore,
}

/// A request, with values of Secrets in it: never shown.
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Certificates to trust instead of the system's.
    pub(super) ca_bundle: Option<String>,
    pub(super) timeout: Duration,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Outbound {
    pub(crate) fn new(addresses: Addresses, dial: Option<Arc<dyn Dial>>) -> Self {
        Self { addresses, dial, permits: Semaphore::new(AT_ONCE) }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// In words that name the server and never the address's path, which may be a secret.
    pub(super) async fn send(&self, sent: Sent) -> Result<Answer, String> {
        let place = Place::of(&sent.url)?;
        if sent.body.len() > LONGEST_BODY {
            return Err(format!("{}: the body is longer than {LONGEST_BODY} bytes", place.origin));
        }
        let _permit = self.permits.acquire().await.map_err(|error| error.to_string())?;
        let timeout = sent.timeout;
        let answer = tokio::time::timeout(timeout, self.exchange(&place, sent)).await;
        match answer {
            Ok(answer) => answer.map_err(|problem| format!("{}: {problem}", place.origin)),
            Err(_) => {
                Err(format!("{}: no whole answer within {} s (timeout)", place.origin, timeout.as_secs()))
            }
        }
    }

    async fn exchange(&self, place: &Place, sent: Sent) -> Result<Answer, String> {
        let stream: Box<dyn Connection> = match &self.dial {
            Some(dial) => dial.dial(&place.host, place.port).await?,
            None => Box::new(self.connect(&place.host, place.port).await?),
        };
        if place.tls {
            let config = tls(sent.ca_bundle.as_deref())?;
            let host = place.host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
            let stream = TlsConnector::from(config).connect(name, stream).await;
            exchange(place, sent, stream.map_err(|error| error.to_string())?).await
        } else {
            exchange(place, sent, stream).await
        }
    }

    /// The addresses of a server that may be sent to.
    ///
    /// # Errors
    /// In words.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<std::net::SocketAddr>, String> {
        resolve(host, port, self.addresses).await
    }

    /// Connects to a server, if it may be sent to.
    ///
    /// # Errors
    /// In words.
    pub(super) async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let addresses = self.addresses(host, port).await?;
        TcpStream::connect(addresses.as_slice()).await.map_err(|error| format!("can't connect: {error}"))
    }

    /// Waits for the right to send.
    pub(super) async fn permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, String> {
        self.permits.acquire().await.map_err(|error| error.to_string())
    }
}

/// Why nothing can ever be sent to a URL, wherever it is sent from.
pub(super) fn never_sent(url: &str) -> Option<String> {
    match Place::of(url) {
        Ok(place) => refused_as_written(&place.host),
        Err(why) => Some(why),
    }
}

struct Place {
    tls: bool,
    host: String,
    port: u16,
    path: String,
    origin: String,
}

impl Place {
    fn of(url: &str) -> Result<Self, String> {
        let refuse = |why: &str| format!("the address can't be read: {why}; write http://… or https://…");
        let uri: Uri = url.trim().parse().map_err(|_| refuse("it is no URL"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refuse("its scheme is neither http nor https")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("it holds a password; write basicAuth"));
        }
        let host = authority.host().to_owned();
        if host.is_empty() {
            return Err(refuse("it names no host"));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let scheme = if tls { "https" } else { "http" };
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host, port, path, origin: format!("{scheme}://{authority}") })
    }
}

async fn exchange<S>(place: &Place, sent: Sent, stream: S) -> Result<Answer, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let said = |error: hyper::Error| fleet_members::innermost(&error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    let authority = place.origin.split_once("://").map_or("", |(_, authority)| authority);
    let mut request = Request::builder()
        .method(sent.method.as_str())
        .uri(place.path.as_str())
        .header(http::header::HOST, authority)
        .header(http::header::USER_AGENT, AGENT)
        .body(Full::new(Bytes::from(sent.body)))
        .map_err(|error| error.to_string())?;
    for (name, value) in sent.headers {
        let known = HeaderName::try_from(&name).map_err(|_| format!("{name:?} is no name of a header"))?;
        // The value may be a secret: nothing of it is said.
        let value = HeaderValue::try_from(value)
            .map_err(|_| format!("header {name}: its value has characters that can't be sent"))?;
        request.headers_mut().insert(known, value);
    }
    let asked = async {
        let answer = sender.send_request(request).await.map_err(said)?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => said(*error),
            Err(_) => format!("the answer is longer than {LONGEST_ANSWER} bytes"),
        })?;
        let headers = parts
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: headers.collect(),
            body: body.to_bytes().to_vec(),
        })
    };
    // The connection is driven for as long as the answer is read, and dropped then.
    let connection = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = asked => answer,
        () = connection => Err("the connection ended".to_owned()),
    }
}

/// What is trusted: the given certificates, else the system's.
fn tls(ca_bundle: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let config = match ca_bundle {
        None => builder.with_platform_verifier().map_err(|error| error.to_string())?.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| format!("caBundle: {error}"))?;
                roots.add(certificate).map_err(|error| format!("caBundle: {error}"))?;
            }
            if roots.is_empty() {
                return Err("caBundle: it holds no certificate; write PEM".to_owned());
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Broken: a message names an address's path, which is the secret of a webhook, or a strange scheme is asked.
    #[test]
    fn only_origins_are_named() {
        let place = Place::of("https://hooks.slack.com/services/T0/B0/secret?x=y").unwrap();
        assert_eq!((place.origin.as_str(), place.port, place.tls), ("https://hooks.slack.com", 443, true));
        assert_eq!(place.path, "/services/T0/B0/secret?x=y");
        for url in
            ["ftp://x/secret", "x/secret", "file:///etc/passwd", "http://me:secret@x/", "http:///secret", ""]
        {
            let refused = Place::of(url).err().unwrap_or_default();
            assert!(
                refused.starts_with("the address can't be read") && !refused.contains("secret"),
                "{url}: {refused}"
            );
        }
    }
}
