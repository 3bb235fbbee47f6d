//! What is chosen from, and what is chosen.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The reserved name of the hub itself, which no application is delivered to.
pub const LOCAL: &str = "local";

/// A member, as far as placement looks at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The name of its `ManagedCluster`.
    pub name: String,
    /// A second name, under which policies may address it.
    pub alias: Option<String>,
    /// The labels of its `ManagedCluster`.
    pub labels: BTreeMap<String, String>,
    /// Whether the hub accepts it (`spec.hubAcceptsClient`).
    pub accepted: bool,
}

/// A place that an application lands in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The cluster's canonical name, never its alias.
    pub cluster: String,
    /// The namespace for objects that name none.
    pub namespace: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.namespace)
    }
}
