//! Why a request didn't get through, in words.

use std::error::Error;

/// What went wrong between us and a member's API server. No source below it: the words say the cause.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is no way to it: no credentials, or credentials that make no sense.
    #[error("{0}")]
    Unaddressed(String),
    /// No connection could be made.
    #[error("no connection to {endpoint}: {why}")]
    Connect {
        /// The member's address.
        endpoint: String,
        /// Why.
        why: String,
    },
    /// The connection broke before the answer was there.
    #[error("the connection to {endpoint} broke: {why}")]
    Broken {
        /// The member's address.
        endpoint: String,
        /// Why.
        why: String,
    },
    /// A new connection leads to another cluster than the one before; nothing was sent to it.
    #[error("another cluster than before answers at {endpoint}; which one is asked next")]
    Replaced {
        /// The member's address.
        endpoint: String,
    },
    /// On a new connection it refuses our credentials; nothing else was sent.
    #[error("{endpoint} refuses our credentials on a new connection; they are tried anew")]
    Refused {
        /// The member's address.
        endpoint: String,
    },
    /// It took the request and didn't answer.
    #[error("no answer from {endpoint} within {seconds} s")]
    Silent {
        /// The member's address.
        endpoint: String,
        /// The deadline.
        seconds: u64,
    },
    /// The credential plugin gave no token.
    #[error("the credential plugin {command:?}: {why}")]
    Plugin {
        /// Its command.
        command: String,
        /// Why.
        why: String,
    },
}

impl LinkError {
    pub(super) fn connect(endpoint: &http::Uri, error: &(dyn Error + 'static)) -> Self {
        Self::Connect { endpoint: address(endpoint), why: cause(error) }
    }

    pub(super) fn broken(endpoint: &http::Uri, error: &(dyn Error + 'static)) -> Self {
        Self::Broken { endpoint: address(endpoint), why: cause(error) }
    }
}

pub(super) fn address(endpoint: &http::Uri) -> String {
    endpoint.to_string().trim_end_matches('/').to_owned()
}

/// The cause at the bottom, and what to do about the ones that people meet.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    loop {
        if let Some(tls) = deepest.downcast_ref::<rustls::Error>() {
            return tls_cause(tls);
        }
        // An error inside an io::Error isn't its source, but what it wraps.
        let wrapped = deepest.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| deepest.source()) {
            Some(inner) => deepest = inner,
            None => return said(deepest.to_string()),
        }
    }
}

fn tls_cause(error: &rustls::Error) -> String {
    use rustls::{CertificateError as Certificate, Error as Tls};
    let advice = match error {
        // Authorities of one name and different keys: every kubeadm cluster calls its own "kubernetes".
        Tls::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => {
            "its certificate isn't signed by the authority in the credentials; put the right one into key ca.crt"
        }
        Tls::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "its certificate has expired; renew it there"
        }
        Tls::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => "its certificate is for another name; use an endpoint that stands in the certificate",
        _ => return said(error.to_string()),
    };
    advice.to_owned()
}

/// Adds what to do about an alert: with TLS 1.3 the member judges our certificate after the handshake, and HTTP/2 keeps
/// only the words of that.
fn said(text: String) -> String {
    let advice = match text.rsplit_once("received fatal alert: ").map(|(_, alert)| alert) {
        Some("CertificateExpired") => "it refuses our client certificate as expired",
        Some("UnknownCA" | "BadCertificate" | "CertificateUnknown" | "DecryptError") => {
            "it doesn't know who signed our client certificate"
        }
        _ => return text,
    };
    format!("{advice}; put a new one into keys tls.crt and tls.key")
}
