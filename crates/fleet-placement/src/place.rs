//! Turning topologies into targets.

use std::collections::BTreeSet;

use fleet_json::{FieldPath, LabelSelector};

use crate::error::PlacementError;
use crate::nearest::nearest;
use crate::target::{Cluster, LOCAL};
use crate::topology::Topology;
use fleet_api::Target;

/// The targets of an application: what the topologies choose, in their order, each target once. What a
/// selector chooses is sorted by name; it passes over clusters that aren't accepted.
///
/// # Errors
/// When there is no topology, a named cluster is unknown, ambiguous or not accepted, or a selector
/// chooses nothing and its policy doesn't allow that.
pub fn place(
    topologies: &[Topology],
    clusters: &[Cluster],
    app_namespace: &str,
) -> Result<Vec<Target>, PlacementError> {
    if topologies.is_empty() {
        return Err(PlacementError::NoTopology);
    }
    let mut targets = Vec::new();
    let mut seen = BTreeSet::new();
    for topology in topologies {
        let namespace = topology.namespace.as_deref().unwrap_or(app_namespace);
        for cluster in choose(topology, clusters)? {
            let target = Target { cluster: cluster.name.clone(), namespace: namespace.to_owned() };
            if seen.insert(target.clone()) {
                targets.push(target);
            }
        }
    }
    Ok(targets)
}

fn choose<'c>(topology: &Topology, clusters: &'c [Cluster]) -> Result<Vec<&'c Cluster>, PlacementError> {
    match &topology.cluster_label_selector {
        Some(selector) if topology.clusters.is_empty() => by_labels(topology, selector, clusters),
        None if topology.clusters.is_empty() => {
            Err(PlacementError::NothingChosen { policy: topology.policy.clone() })
        }
        _ => topology
            .clusters
            .iter()
            .enumerate()
            .map(|(index, name)| by_name(topology, index, name, clusters))
            .collect(),
    }
}

fn by_labels<'c>(
    topology: &Topology,
    selector: &LabelSelector,
    clusters: &'c [Cluster],
) -> Result<Vec<&'c Cluster>, PlacementError> {
    let matching =
        clusters.iter().filter(|cluster| cluster.name != LOCAL && selector.matches(&cluster.labels));
    let (mut chosen, refused): (Vec<_>, Vec<_>) = matching.partition(|cluster| cluster.accepted);
    if chosen.is_empty() && !topology.allow_empty {
        let mut not_accepted: Vec<String> = refused.iter().map(|cluster| cluster.name.clone()).collect();
        not_accepted.sort_unstable();
        return Err(PlacementError::NoMatch {
            policy: topology.policy.clone(),
            selector: selector.clone(),
            not_accepted,
        });
    }
    chosen.sort_unstable_by_key(|cluster| cluster.name.as_str());
    Ok(chosen)
}

fn by_name<'c>(
    topology: &Topology,
    index: usize,
    name: &str,
    clusters: &'c [Cluster],
) -> Result<&'c Cluster, PlacementError> {
    let policy = || topology.policy.clone();
    let path = || FieldPath::of_fields(["properties", "clusters"]).child(index);
    if name == LOCAL {
        return Err(PlacementError::LocalReserved { policy: policy(), path: path() });
    }
    let named = clusters.iter().find(|cluster| cluster.name == name);
    let aliased: Vec<&Cluster> =
        clusters.iter().filter(|cluster| cluster.alias.as_deref() == Some(name)).collect();
    let cluster = match (named, aliased.as_slice()) {
        (Some(cluster), _) => cluster,
        (None, [cluster]) => *cluster,
        (None, []) => return Err(unknown(policy(), path(), name, clusters)),
        (None, several) => {
            let mut clusters: Vec<String> = several.iter().map(|cluster| cluster.name.clone()).collect();
            clusters.sort_unstable();
            return Err(PlacementError::AmbiguousAlias {
                policy: policy(),
                path: path(),
                alias: name.to_owned(),
                clusters,
            });
        }
    };
    if !cluster.accepted {
        return Err(PlacementError::NotAccepted {
            policy: policy(),
            path: path(),
            cluster: cluster.name.clone(),
        });
    }
    Ok(cluster)
}

fn unknown(policy: String, path: FieldPath, name: &str, clusters: &[Cluster]) -> PlacementError {
    let mut known: Vec<String> =
        clusters.iter().map(|cluster| cluster.name.clone()).filter(|name| name != LOCAL).collect();
    known.sort_unstable();
    let mut candidates: BTreeSet<&str> = clusters
        .iter()
        .flat_map(|cluster| [Some(cluster.name.as_str()), cluster.alias.as_deref()])
        .flatten()
        .collect();
    let mut near = Vec::new();
    while near.len() < 3
        && let Some(best) = nearest(name, candidates.iter().copied())
    {
        candidates.remove(best);
        near.push(best.to_owned());
    }
    PlacementError::UnknownCluster { policy, path, name: name.to_owned(), nearest: near, known }
}

#[cfg(test)]
mod tests;
