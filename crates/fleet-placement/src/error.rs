//! What may be wrong with a placement.

use fleet_json::{FieldPath, LabelSelector, few};

use crate::nearest::nearest;
use crate::target::LOCAL;

/// Why an application has no targets. The text is one line: place, cause, next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// The policy's properties aren't what a topology takes.
    #[error("policy {policy:?}, {}: {problem}", path.to_dotted())]
    Properties {
        /// The policy.
        policy: String,
        /// Where, from the policy's root.
        path: FieldPath,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// The policy says neither names nor labels.
    #[error(
        "policy {policy:?}, properties: neither clusters nor clusterLabelSelector is given, so the topology \
         chooses no cluster; list names in clusters, or labels in clusterLabelSelector ({{}} for all)"
    )]
    NothingChosen {
        /// The policy.
        policy: String,
    },
    /// The policy names the hub.
    #[error(
        "policy {policy:?}, {}: {LOCAL:?} is reserved for the hub itself, where objects are only stored, \
         never run; name a member (fleetctl cluster list)", path.to_dotted()
    )]
    LocalReserved {
        /// The policy.
        policy: String,
        /// Where, from the policy's root.
        path: FieldPath,
    },
    /// No cluster has that name or alias.
    #[error(
        "policy {policy:?}, {}: no cluster is named {name:?}{}", path.to_dotted(), suggestion(nearest, known)
    )]
    UnknownCluster {
        /// The policy.
        policy: String,
        /// Where, from the policy's root.
        path: FieldPath,
        /// The name given.
        name: String,
        /// The names and aliases most like it, best first.
        nearest: Vec<String>,
        /// The names of all clusters, sorted.
        known: Vec<String>,
    },
    /// Several clusters have that alias.
    #[error(
        "policy {policy:?}, {}: {alias:?} is the alias of {}; use a name instead",
        path.to_dotted(), clusters.join(" and of ")
    )]
    AmbiguousAlias {
        /// The policy.
        policy: String,
        /// Where, from the policy's root.
        path: FieldPath,
        /// The alias.
        alias: String,
        /// The clusters that have it, sorted.
        clusters: Vec<String>,
    },
    /// The cluster is registered but not admitted.
    #[error(
        "policy {policy:?}, {}: cluster {cluster:?} isn't accepted yet: its spec.hubAcceptsClient is false; \
         accept it with kubectl patch managedcluster {cluster} --type merge \
         -p '{{\"spec\":{{\"hubAcceptsClient\":true}}}}'", path.to_dotted()
    )]
    NotAccepted {
        /// The policy.
        policy: String,
        /// Where, from the policy's root.
        path: FieldPath,
        /// The cluster's canonical name.
        cluster: String,
    },
    /// The selector chooses no accepted cluster.
    #[error(
        "policy {policy:?}, properties.clusterLabelSelector: {}{}; see fleetctl cluster list for the labels, \
         or set allowEmpty: true",
        no_match(selector),
        not_accepted_too(not_accepted)
    )]
    NoMatch {
        /// The policy.
        policy: String,
        /// The selector.
        selector: LabelSelector,
        /// Clusters that match but aren't accepted, sorted.
        not_accepted: Vec<String>,
    },
    /// There is no topology policy.
    #[error(
        "no topology policy says where the application goes; add a policy of type topology with \
         properties.clusters or properties.clusterLabelSelector"
    )]
    NoTopology,
}

impl PlacementError {
    /// A code that scripts can rely on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Properties { .. } => "TopologyInvalid",
            Self::NothingChosen { .. } => "TopologyChoosesNothing",
            Self::LocalReserved { .. } => "LocalReserved",
            Self::UnknownCluster { .. } => "UnknownCluster",
            Self::AmbiguousAlias { .. } => "AmbiguousAlias",
            Self::NotAccepted { .. } => "ClusterNotAccepted",
            Self::NoMatch { .. } => "NoClusterMatches",
            Self::NoTopology => "NoTopology",
        }
    }

    /// The policy that is to be mended; `None` where there is none.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        match self {
            Self::Properties { policy, .. }
            | Self::NothingChosen { policy }
            | Self::LocalReserved { policy, .. }
            | Self::UnknownCluster { policy, .. }
            | Self::AmbiguousAlias { policy, .. }
            | Self::NotAccepted { policy, .. }
            | Self::NoMatch { policy, .. } => Some(policy),
            Self::NoTopology => None,
        }
    }

    pub(crate) fn unknown_property(policy: &str, name: &str, known: &[&str]) -> Self {
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("expected one of {}", known.join(", ")),
        };
        Self::Properties {
            policy: policy.to_owned(),
            path: FieldPath::of_fields(["properties", name]),
            problem: format!("unknown property; {hint}"),
        }
    }
}

fn suggestion(nearest: &[String], known: &[String]) -> String {
    const SHOWN: usize = 10;
    let quoted = |names: &[String]| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>();
    if !nearest.is_empty() {
        return format!("; did you mean {}?", quoted(nearest).join(" or "));
    }
    if known.is_empty() {
        return "; no clusters are known: see fleetctl cluster list, or add ManagedClusters to what is read from files"
            .to_owned();
    }
    let more = if known.len() > SHOWN { ": fleetctl cluster list" } else { "" };
    format!("; known are {}{more}", few(quoted(known), SHOWN))
}

fn no_match(selector: &LabelSelector) -> String {
    if selector.is_everything() {
        "the empty selector takes every cluster, but there is none".to_owned()
    } else {
        format!("no cluster has the labels {selector}")
    }
}

fn not_accepted_too(not_accepted: &[String]) -> String {
    if not_accepted.is_empty() {
        return String::new();
    }
    format!(" and spec.hubAcceptsClient true (not accepted yet: {})", not_accepted.join(", "))
}
