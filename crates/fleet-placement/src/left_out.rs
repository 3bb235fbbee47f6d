//! Why a member gets nothing, and why an object goes nowhere: each with a code and a way out.

use std::fmt;

use crate::spread::{SpreadOut, TooFewGroups};
use crate::taints::Taint;

/// A member that gets nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub cluster: String,
    /// Why.
    pub reason: LeftOutReason,
}

/// Why a member gets nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOutReason {
    /// The hub doesn't accept it.
    NotAccepted,
    /// The policy excludes it.
    Excluded,
    /// The policy names others.
    NotNamed,
    /// Its labels differ from the selector.
    Labels(String),
    /// Its provider, region or zone differs.
    Field(String),
    /// It has a taint that isn't tolerated.
    Tainted(Taint),
    /// It doesn't answer for longer than the policy puts up with, and others have taken over.
    Gone,
    /// The workload was unhealthy there for longer than the policy puts up with.
    Unhealthy,
    /// Replicas found no room there for longer than the policy puts up with.
    Full,
    /// The object left it by rule, and nobody has said that it may return.
    Displaced,
    /// No fixed weight is about it.
    NoWeight,
    /// A spread constraint.
    Spread(SpreadOut),
    /// The division gave it nothing: it has no room, or there are fewer replicas than clusters.
    NoShare,
}

impl LeftOutReason {
    /// A code that a script can match.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAccepted => "ClusterNotAccepted",
            Self::Excluded => "Excluded",
            Self::NotNamed => "NotNamed",
            Self::Labels(_) => "LabelsDiffer",
            Self::Field(_) => "FieldsDiffer",
            Self::Tainted(_) => "Tainted",
            Self::Gone => "ClusterGone",
            Self::Unhealthy => "UnhealthyThere",
            Self::Full => "ClusterFull",
            Self::Displaced => "MovedAway",
            Self::NoWeight => "NoWeight",
            Self::Spread(SpreadOut::Ungrouped(_)) => "Ungrouped",
            Self::Spread(SpreadOut::GroupsFull { .. }) => "EnoughGroups",
            Self::NoShare => "NoShare",
        }
    }
}

impl fmt::Display for LeftOutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAccepted => f.write_str(
                "the hub doesn't accept it: its spec.hubAcceptsClient is false; kubectl patch managedcluster accepts it",
            ),
            Self::Excluded => f.write_str("the policy excludes it; see exclude"),
            Self::NotNamed => f.write_str("the policy names other clusters; add it to clusterNames"),
            Self::Labels(selector) => write!(f, "it hasn't the labels {selector}; label it, or change labelSelector"),
            Self::Field(why) => write!(f, "{why}; see fieldSelector"),
            Self::Tainted(taint) => write!(f, "it has the taint {taint}; add a clusterToleration, or take the taint away"),
            Self::Gone => f.write_str(
                "it doesn't answer for longer than failover.cluster.tolerationSeconds, and others have taken over",
            ),
            Self::Unhealthy => f.write_str(
                "the workload was unhealthy there for longer than failover.application puts up with, and others have \
                 taken over",
            ),
            Self::Full => f.write_str(
                "replicas found no room there for longer than failover.cluster.tolerationSeconds, and others have taken over",
            ),
            Self::Displaced => f.write_str(
                "the object left it by rule and stays where it is until it is placed afresh, or onReturn is MoveBack",
            ),
            Self::NoWeight => f.write_str("no item of staticWeightList is about it; add one"),
            Self::Spread(SpreadOut::Ungrouped(by)) => write!(f, "it has no {by}, by which clusters are spread; give it one"),
            Self::Spread(SpreadOut::GroupsFull { by, group, max }) => {
                write!(f, "{max} of {by} are taken already, {group} isn't among them; raise maxGroups")
            }
            Self::NoShare => f.write_str("there is no replica for it: others have more room, or more weight"),
        }
    }
}

/// Why an object goes nowhere new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortfall {
    /// No cluster is left.
    NoCluster,
    /// A spread constraint can't be met.
    TooFewGroups(TooFewGroups),
    /// Replicas find no room.
    NoRoom {
        /// How many.
        missing: u64,
        /// Of how many.
        asked: u64,
    },
}

impl Shortfall {
    /// A code that a script can match.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCluster => "NoClusterFits",
            Self::TooFewGroups(_) => "SpreadUnmet",
            Self::NoRoom { .. } => "NoRoom",
        }
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCluster => f.write_str("no cluster fits; fleetctl why says of each what is in the way"),
            Self::TooFewGroups(TooFewGroups { path, by, have, min }) => {
                write!(
                    f,
                    "{path}: {have} of {by} fit and {min} are asked for; add clusters, or lower minGroups"
                )
            }
            Self::NoRoom { missing, asked } => {
                write!(
                    f,
                    "{missing} of {asked} replicas find no room; add clusters or nodes, or ask for fewer"
                )
            }
        }
    }
}
