//! The members of a fleet, as placement looks at them.

use std::collections::HashMap;

use fleet_api::{ManagedCluster, conditions};
use jiff::Timestamp;

use crate::location::Location;
use crate::nearest::nearest;
use crate::taints::Taint;
use crate::target::{Cluster, LOCAL};

/// A member with everything that decides what is placed there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Name, alias, labels, and whether it is accepted.
    pub cluster: Cluster,
    /// Where it is.
    pub location: Location,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Whether it can be written to.
    pub standing: Standing,
}

/// Whether a member can be written to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    #[default]
    Ready,
    /// It doesn't, since then; never yet, where no time is known.
    Unreachable(Option<Timestamp>),
    /// An operator holds it.
    Cordoned,
}

impl Member {
    /// The name of its `ManagedCluster`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.cluster.name
    }

    /// Reads a `ManagedCluster`.
    #[must_use]
    pub fn of(cluster: &ManagedCluster) -> Self {
        let empty = Default::default();
        let labels = cluster.metadata.labels.as_ref().unwrap_or(&empty);
        let annotations = cluster.metadata.annotations.as_ref().unwrap_or(&empty);
        let status = cluster.status.as_ref();
        let available = status.and_then(|status| conditions::find(&status.conditions, "Available").cloned());
        let standing = match available {
            _ if cluster.cordoned().is_some() => Standing::Cordoned,
            Some(condition) if condition.is_true() => Standing::Ready,
            Some(condition) => Standing::Unreachable(condition.last_transition_time),
            None => Standing::Unreachable(None),
        };
        let claims = status.map(|status| status.cluster_claims.as_slice()).unwrap_or_default();
        Self {
            cluster: Cluster {
                name: cluster.metadata.name.clone().unwrap_or_default(),
                alias: cluster.alias().map(str::to_owned),
                labels: labels.clone(),
                accepted: cluster.spec.hub_accepts_client,
            },
            location: Location::of(labels, annotations, claims),
            taints: cluster.spec.taints.iter().filter_map(Taint::read).collect(),
            standing,
        }
    }
}

/// The members, sorted by name, found by name or alias. The hub itself is none.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    members: Vec<Member>,
    named: HashMap<String, usize>,
    aliased: HashMap<String, Vec<usize>>,
}

/// Why a name means no member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameProblem {
    /// It is the hub's.
    Local,
    /// No member has it as name or alias. With the one that is most like it.
    Unknown(Option<String>),
    /// Several members have it as alias.
    Ambiguous(Vec<String>),
}

impl Fleet {
    /// The fleet of these members.
    #[must_use]
    pub fn new(mut members: Vec<Member>) -> Self {
        members.retain(|member| member.name() != LOCAL);
        members.sort_by(|a, b| a.name().cmp(b.name()));
        members.dedup_by(|a, b| a.name() == b.name());
        let named = members.iter().enumerate().map(|(at, member)| (member.name().to_owned(), at)).collect();
        let mut aliased: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, member) in members.iter().enumerate() {
            if let Some(alias) = &member.cluster.alias {
                aliased.entry(alias.clone()).or_default().push(at);
            }
        }
        Self { members, named, aliased }
    }

    /// The members, sorted by name.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Member> {
        self.members.get(*self.named.get(name)?)
    }

    /// The position of the member that a name or alias means; a name goes before another member's alias.
    ///
    /// # Errors
    /// Where it means none, or several.
    pub fn resolve(&self, name: &str) -> Result<usize, NameProblem> {
        if name == LOCAL {
            return Err(NameProblem::Local);
        }
        if let Some(at) = self.named.get(name) {
            return Ok(*at);
        }
        match self.aliased.get(name).map(Vec::as_slice) {
            Some([at]) => Ok(*at),
            None | Some([]) => {
                let known = self.named.keys().chain(self.aliased.keys());
                // Sorted, so that the same mistake gets the same answer.
                let mut known: Vec<&str> = known.map(String::as_str).collect();
                known.sort_unstable();
                Err(NameProblem::Unknown(nearest(name, known).map(str::to_owned)))
            }
            Some(several) => {
                let names = several.iter().filter_map(|at| self.members.get(*at));
                Err(NameProblem::Ambiguous(names.map(|member| member.name().to_owned()).collect()))
            }
        }
    }
}
