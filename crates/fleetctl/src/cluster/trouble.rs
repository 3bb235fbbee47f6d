//! Why a cluster can't be talked to, each cause with its own sentence and next step.

use std::error::Error;

use fleet_members::innermost;
use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError};

use crate::exit::{Exit, Failure};

/// Through which door it was tried.
pub(crate) struct Door<'a> {
    /// The address.
    pub(crate) server: &'a str,
    /// Who we are there, in words (`user "admin" of ./kubeconfig`).
    pub(crate) who: &'a str,
    /// What is mended where the authority is wrong, in words (`certificate-authority of ./kubeconfig`).
    pub(crate) authority: &'a str,
    /// When what we show there expires, where that can be read from it.
    pub(crate) expires: Option<Timestamp>,
    /// What gives new credentials, in words.
    pub(crate) renew: &'a str,
}

/// What an error of a request means.
pub(crate) fn explain(error: &kube::Error, door: &Door<'_>, now: Timestamp) -> Failure {
    if let kube::Error::Api(status) = error {
        return match status.code {
            401 => refused_identity(door, now),
            403 => Failure::refused(format!(
                "{} at {}: {}; ask its administrator for that right",
                door.who, door.server, status.message
            )),
            _ => Failure::kube(door.server, error),
        };
    }
    match tls(error) {
        Some(rustls::Error::InvalidCertificate(cause)) => untrusted(cause, door),
        Some(rustls::Error::AlertReceived(alert)) => alerted(*alert, door, now),
        Some(other) => Failure::failed(format!(
            "{} doesn't speak TLS as expected ({other}); is it the address of an API server?",
            door.server
        )),
        None if matches!(error, kube::Error::Auth(_)) => Failure::failed(format!(
            "{}: no credentials: {}; is its plugin installed, and are you logged in?",
            door.who,
            innermost(error)
        )),
        None => Failure::new(
            Exit::Unreachable,
            format!(
                "{} doesn't answer: {}; is the address right, and reachable from here?",
                door.server,
                innermost(error)
            ),
        ),
    }
}

/// It didn't answer in time.
pub(crate) fn silent(door: &Door<'_>, seconds: f64) -> Failure {
    Failure::new(
        Exit::Unreachable,
        format!(
            "{} doesn't answer within {seconds} s; is the address right, and reachable from here?",
            door.server
        ),
    )
}

fn refused_identity(door: &Door<'_>, now: Timestamp) -> Failure {
    let Door { server, who, renew, .. } = door;
    Failure::refused(match door.expires {
        Some(expired) if expired <= now => {
            format!("the credentials of {who} expired at {expired}; {renew}")
        }
        _ => format!(
            "{server} doesn't accept the credentials of {who} (401): they are revoked, expired or of another cluster; {renew}"
        ),
    })
}

fn untrusted(cause: &CertificateError, door: &Door<'_>) -> Failure {
    let Door { server, authority, .. } = door;
    Failure::failed(match cause {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!(
                "the certificate that {server} shows has expired; renew it there (kubeadm certs renew apiserver), and try again"
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate that {server} shows isn't valid yet; is a clock wrong?")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the certificate that {server} shows is for another name; give an address that it names with --endpoint"
            )
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate that {server} shows isn't signed by {authority}; that is another cluster's, or outdated: get the right one, and try again"
        ),
        other => format!("the certificate that {server} shows is refused ({other}); see {authority}"),
    })
}

fn alerted(alert: AlertDescription, door: &Door<'_>, now: Timestamp) -> Failure {
    match alert {
        AlertDescription::CertificateExpired
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::CertificateRequired => refused_identity(door, now),
        other => Failure::failed(format!(
            "{} ended the TLS handshake ({other:?}); is it the address of an API server?",
            door.server
        )),
    }
}

/// What TLS said, wherever in the chain it stands: `io::Error` hides what it wraps from `source`.
fn tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && let Some(found) = tls(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(inner: rustls::Error) -> kube::Error {
        kube::Error::Service(Box::new(std::io::Error::new(std::io::ErrorKind::InvalidData, inner)))
    }

    fn said(error: &kube::Error, expires: Option<i64>) -> Failure {
        let door = Door {
            server: "https://bj:6443",
            who: "user \"ann\" of ./bj",
            authority: "certificate-authority of ./bj",
            expires: expires.map(|second| Timestamp::from_second(second).unwrap()),
            renew: "log in again",
        };
        explain(error, &door, Timestamp::from_second(1_800_000_000).unwrap())
    }

    /// Each cause must be told from the others: what mends one doesn't mend another.
    #[test]
    fn every_cause_has_its_sentence() {
        let status = kube::core::Status { code: 401, ..kube::core::Status::default() };
        let unauthorized = kube::Error::Api(Box::new(status));
        let dead =
            kube::Error::Service(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
        for (error, expires, code, words) in [
            (
                &wrapped(CertificateError::UnknownIssuer.into()),
                None,
                1,
                "isn't signed by certificate-authority of ./bj",
            ),
            (&wrapped(CertificateError::Expired.into()), None, 1, "shows has expired"),
            (&wrapped(CertificateError::NotValidForName.into()), None, 1, "is for another name"),
            (
                &wrapped(rustls::Error::AlertReceived(AlertDescription::CertificateExpired)),
                Some(1),
                4,
                "expired at 1970-01-01T00:00:01Z; log in again",
            ),
            (&unauthorized, Some(1), 4, "expired at"),
            (&unauthorized, Some(1_900_000_000), 4, "doesn't accept the credentials of user \"ann\""),
            (&dead, None, 6, "doesn't answer"),
        ] {
            let failure = said(error, expires);
            assert_eq!(failure.exit.code(), code, "{failure}");
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }
}
