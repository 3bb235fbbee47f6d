//! What can go wrong with a request to a member.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::core::Status;
use serde_json::Value;

use crate::Hold;

/// Why a member didn't do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MemberError {
    /// It doesn't answer, or not in time. Neither failed nor unhealthy.
    #[error("cluster {cluster} doesn't answer: {message}")]
    Unreachable {
        /// The member.
        cluster: String,
        /// What was tried and how it ended.
        message: String,
    },
    /// It asks to come back later (429, 503 with an answer, 500).
    #[error("cluster {cluster} asks to wait: {message}")]
    Busy {
        /// The member.
        cluster: String,
        /// What it says.
        message: String,
    },
    /// Other field managers own fields that the request would change.
    #[error("cluster {cluster}: {}", describe(.conflicts))]
    Conflicts {
        /// The member.
        cluster: String,
        /// Who owns what.
        conflicts: Vec<Conflict>,
    },
    /// It refuses.
    #[error("cluster {cluster} refuses: {message}")]
    Refused {
        /// The member.
        cluster: String,
        /// HTTP status.
        code: u16,
        /// The reason code of its Status.
        reason: String,
        /// What it says.
        message: String,
    },
    /// It is held: the request wasn't sent.
    #[error("{}", .hold.message(.cluster))]
    Held {
        /// The member.
        cluster: String,
        /// Why.
        hold: Hold,
    },
    /// It doesn't have the kind.
    #[error(
        "cluster {cluster} has no kind {kind} in {api_version}; install its CustomResourceDefinition there first"
    )]
    UnknownKind {
        /// The member.
        cluster: String,
        /// Group and version.
        api_version: String,
        /// The kind.
        kind: String,
    },
}

/// A field that another manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The other manager.
    pub manager: String,
    /// The field (`.spec.replicas`).
    pub field: String,
}

fn describe(conflicts: &[Conflict]) -> String {
    let all: Vec<String> =
        conflicts.iter().map(|c| format!("{} is owned by {:?}", c.field, c.manager)).collect();
    all.join("; ")
}

impl MemberError {
    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. })
    }

    /// Whether the object has changed, come or gone since it was looked at: look again, decide again.
    pub fn is_overtaken(&self) -> bool {
        matches!(self, Self::Conflicts { .. } | Self::Refused { code: 404 | 409, .. })
    }

    /// Whether a field that can't be changed was to be changed, as `ValidateImmutableField` of the API server says it.
    pub fn is_immutable_field(&self) -> bool {
        matches!(self, Self::Refused { message, .. } if message.contains("field is immutable"))
    }

    /// A code that a script can match.
    pub fn reason(&self) -> &str {
        match self {
            Self::Unreachable { .. } => "Unreachable",
            Self::Busy { .. } => "MemberBusy",
            Self::Conflicts { .. } => "FieldConflict",
            Self::Refused { reason, .. } if reason.is_empty() => "Refused",
            Self::Refused { reason, .. } => reason,
            Self::Held { hold, .. } => hold.reason(),
            Self::UnknownKind { .. } => "UnknownKind",
        }
    }

    /// The same without the values of a Secret that was sent: servers may repeat what they refuse (design invariant 11).
    pub(crate) fn without_values(mut self, sent: &Value) -> Self {
        let text = |at: &str| sent.get(at).and_then(Value::as_str);
        if (text("apiVersion"), text("kind")) == (Some("v1"), Some("Secret"))
            && let Self::Busy { message, .. } | Self::Refused { message, .. } = &mut self
        {
            for value in values(sent) {
                *message = message.replace(&value, "<hidden>");
            }
        }
        self
    }

    pub(crate) fn from_status(cluster: &str, status: &Status) -> Self {
        let cluster = cluster.to_owned();
        let message = status.message.clone();
        match status.code {
            // Not the object's fault, and mended by new credentials alone: what waits goes on then.
            401 => {
                let advice = format!("renew them: fleetctl cluster rotate {cluster}");
                Self::Unreachable {
                    cluster,
                    message: format!("it refuses our credentials ({message}); {advice}"),
                }
            }
            429 | 500 | 502 | 503 | 504 => Self::Busy { cluster, message },
            409 if status.details.as_ref().is_some_and(|d| !d.causes.is_empty()) => {
                Self::Conflicts { cluster, conflicts: conflicts(status) }
            }
            code => Self::Refused { cluster, code, reason: status.reason.clone(), message },
        }
    }

    pub(crate) fn from_kube(cluster: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from_status(cluster, status),
            kube::Error::Discovery(error) => Self::Refused {
                cluster: cluster.to_owned(),
                code: 404,
                reason: "NotFound".to_owned(),
                message: error.to_string(),
            },
            // Something answered that isn't a Kubernetes API, or not whole: a proxy's page, a server that is starting.
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self::Busy {
                cluster: cluster.to_owned(),
                message: "what answered isn't what a Kubernetes API says".to_owned(),
            },
            other => Self::Unreachable { cluster: cluster.to_owned(), message: innermost(other) },
        }
    }
}

/// The values of a Secret as they may be repeated, the longest first: as they stand there, quoted, and decoded.
fn values(secret: &Value) -> Vec<String> {
    let fields = ["data", "stringData"].into_iter().filter_map(|field| secret.get(field)?.as_object());
    let mut all: Vec<String> = Vec::new();
    for value in fields.flat_map(|field| field.values()) {
        let Some(text) = value.as_str() else {
            all.push(value.to_string());
            continue;
        };
        all.push(text.to_owned());
        all.push(text.escape_debug().to_string());
        if let Some(plain) = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
            all.push(plain.escape_debug().to_string());
            all.push(plain);
        }
    }
    all.retain(|value| !value.is_empty());
    all.sort_by_key(|value| std::cmp::Reverse(value.len()));
    all
}

/// The end of an error's chain, the cause that a person can act on: what is above says "client error" and no more.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Causes of a server-side-apply conflict: `conflict with "MANAGER"…` and the field.
fn conflicts(status: &Status) -> Vec<Conflict> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .map(|cause| Conflict {
            manager: cause.message.split('"').nth(1).unwrap_or("another manager").to_owned(),
            field: cause.field.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Broken: what only a Secret should hold stands in a status or a log, as the member's words about it.
    #[test]
    fn values_of_a_secret_are_not_repeated() {
        let refused = || MemberError::Refused {
            cluster: "m1".to_owned(),
            code: 422,
            reason: "Invalid".to_owned(),
            message: "data.password: \"hunter2!\" isn't base64; data.token: s3cret".to_owned(),
        };
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "data": { "password": "hunter2!", "token": "czNjcmV0" } });
        let said = refused().without_values(&secret).to_string();
        assert_eq!(
            said,
            "cluster m1 refuses: data.password: \"<hidden>\" isn't base64; data.token: <hidden>"
        );
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "password": "hunter2!" } });
        assert!(refused().without_values(&map).to_string().contains("hunter2!"));
    }
}
