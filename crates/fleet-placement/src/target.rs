//! What is chosen from.

use std::collections::BTreeMap;

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
