//! Holds: why nothing is written to a member for now, whoever asks.

use fleet_api::{ManagedCluster, names};

/// Why a member is held. What is on its way there ends; nothing is sent, repaired or deleted until the hold ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// An operator cordoned it (`fleet_api::names::CORDONED` on its ManagedCluster).
    Cordoned {
        /// Why, or `true`.
        reason: String,
    },
    /// The hub doesn't accept it, or no more (`spec.hubAcceptsClient` of its ManagedCluster).
    NotAccepted,
    /// Another cluster answers at its address: the UID of kube-system isn't the recorded one.
    ClusterChanged {
        /// The UID on record.
        recorded: String,
        /// The UID that answers.
        found: String,
    },
    /// Another member is the same cluster, and joined earlier.
    DuplicateCluster {
        /// That member.
        other: String,
    },
    /// It is the hub itself.
    HubItself,
}

impl Hold {
    /// Whether people hold the member: it is the cluster that it was.
    #[must_use]
    pub fn is_by_people(&self) -> bool {
        matches!(self, Self::Cordoned { .. } | Self::NotAccepted)
    }

    /// Why people hold a member.
    pub(crate) fn by_people(cluster: &ManagedCluster) -> Option<Self> {
        let cordoned = cluster.cordoned().map(|reason| Self::Cordoned { reason: reason.to_owned() });
        cordoned.or_else(|| (!cluster.spec.hub_accepts_client).then_some(Self::NotAccepted))
    }

    /// A code that a script can match.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Cordoned { .. } => "Cordoned",
            Self::NotAccepted => "NotAccepted",
            Self::ClusterChanged { .. } => "ClusterChanged",
            Self::DuplicateCluster { .. } => "DuplicateCluster",
            Self::HubItself => "HubItself",
        }
    }

    /// What holds the member, and which command ends it.
    pub fn message(&self, cluster: &str) -> String {
        match self {
            Self::Cordoned { reason } if reason.starts_with(names::BEING_DETACHED) => format!(
                "cluster {cluster} is {reason}, so nothing is sent there; complete that with: fleetctl cluster detach {cluster}"
            ),
            Self::Cordoned { reason } => {
                let why = if reason.is_empty() || reason == "true" {
                    String::new()
                } else {
                    format!(" ({reason})")
                };
                format!(
                    "cluster {cluster} is cordoned{why}, so nothing is sent there; go on with: fleetctl cluster uncordon {cluster}"
                )
            }
            Self::NotAccepted => format!(
                "the hub doesn't accept cluster {cluster} (spec.hubAcceptsClient is false), so nothing is sent or deleted there; accept it with: \
                 kubectl patch managedcluster {cluster} --type merge -p '{{\"spec\":{{\"hubAcceptsClient\":true}}}}', or take it out with: fleetctl cluster detach {cluster}"
            ),
            Self::ClusterChanged { recorded, found } => format!(
                "another cluster answers as {cluster} (its kube-system has UID {found}, on record is {recorded}), so nothing is sent there; \
                 if that is meant: fleetctl cluster rejoin {cluster}"
            ),
            Self::DuplicateCluster { other } => format!(
                "{cluster} is the same cluster as {other}, which joined earlier, so nothing is sent there; take it out with: fleetctl cluster detach {cluster}"
            ),
            Self::HubItself => format!(
                "{cluster} is the hub itself, so nothing is sent there; take it out with: fleetctl cluster detach {cluster}"
            ),
        }
    }

    /// Whether what is seen on the member says anything about what was delivered: another cluster's objects don't.
    pub fn is_about_identity(&self) -> bool {
        match self {
            Self::Cordoned { .. } | Self::NotAccepted => false,
            Self::ClusterChanged { .. } | Self::DuplicateCluster { .. } | Self::HubItself => true,
        }
    }
}
