//! Which targets of a step go first: settled when its membership is.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::Target;

use crate::graph::measure::What;
use crate::graph::{Amount, DeployProperties, Node, Order, StepKind};

/// A cluster as an order sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterFact {
    /// Its name.
    pub name: String,
    /// Its human name.
    pub alias: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A target with its place: the canary group stands before all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    /// Where.
    pub target: Target,
    /// Whether it is of the group that goes first.
    pub canary: bool,
}

/// Why the targets of a step can't be put in order. The text is one line: place, cause, next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No cluster has that name or alias.
    #[error("{field}: no cluster is named {name:?}{}; see fleetctl cluster list", did_you_mean(nearest))]
    UnknownCluster {
        /// Where it is written.
        field: &'static str,
        /// What is written.
        name: String,
        /// The known name most like it.
        nearest: Option<String>,
    },
    /// One cluster stands twice in a list, by its name or its alias.
    #[error("{field}: {first:?} and {second:?} are the same cluster; take one of them out")]
    Twice {
        /// Where it is written.
        field: &'static str,
        /// As it is written first.
        first: String,
        /// As it is written again.
        second: String,
    },
    /// The canary group chooses none of the step's targets.
    #[error(
        "canary: it chooses none of the step's {targets} targets, so nothing would go first; choose at least one of them, or take it out"
    )]
    NoCanary {
        /// How many targets the step has.
        targets: usize,
    },
    /// More may fail than there are.
    #[error(
        "maxFailures: {failures} targets may fail, but the step has only {targets}; write {targets} or less"
    )]
    MaxFailures {
        /// How many may fail.
        failures: u32,
        /// How many targets the step has.
        targets: usize,
    },
}

impl OrderError {
    /// A code that a script can match.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownCluster { .. } => "UnknownCluster",
            Self::Twice { .. } => "ClusterTwice",
            Self::NoCanary { .. } => "EmptyCanary",
            Self::MaxFailures { .. } => "TooManyFailures",
        }
    }
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |near| format!("; did you mean {near:?}?"))
}

/// Puts the targets of a step in the order in which they have their turns. Where nothing is said, that is the order in
/// which they were placed.
///
/// # Errors
/// What of the step's properties doesn't fit its targets.
pub fn arrange(
    deploy: &DeployProperties,
    targets: Vec<Target>,
    clusters: &[ClusterFact],
) -> Result<Vec<Placed>, OrderError> {
    if let Amount::Count(failures) = deploy.max_failures
        && usize::try_from(failures).unwrap_or(usize::MAX) > targets.len()
    {
        return Err(OrderError::MaxFailures { failures, targets: targets.len() });
    }
    let by_name: BTreeMap<&str, &ClusterFact> = clusters.iter().map(|c| (c.name.as_str(), c)).collect();
    let canaries = canaries(deploy, clusters)?;
    let mut ranked: Vec<(Rank, Placed)> = Vec::with_capacity(targets.len());
    let listed = match &deploy.order {
        Some(Order::Clusters(names)) => named("order", names, clusters)?,
        _ => Vec::new(),
    };
    let place: BTreeMap<&str, usize> = listed.iter().enumerate().map(|(at, name)| (*name, at)).collect();
    for (at, target) in targets.into_iter().enumerate() {
        let canary = canaries.contains(target.cluster.as_str());
        let rank = match &deploy.order {
            None => Rank { group: Group::Listed(at), name: String::new() },
            Some(Order::Clusters(_)) => {
                let group = place.get(target.cluster.as_str()).map_or(Group::Rest, |at| Group::Listed(*at));
                Rank { group, name: target.cluster.clone() }
            }
            Some(Order::Label(key)) => {
                let labels = by_name.get(target.cluster.as_str()).map(|cluster| &cluster.labels);
                let value = labels.and_then(|labels| labels.get(key)).filter(|value| !value.is_empty());
                let group = value.map_or(Group::Rest, |value| match value.parse::<i64>() {
                    Ok(number) => Group::Number(number),
                    Err(_) => Group::Text(value.clone()),
                });
                Rank { group, name: target.cluster.clone() }
            }
        };
        ranked.push((rank, Placed { target, canary }));
    }
    // Stable: targets of one cluster stay as they were placed.
    ranked.sort_by(|(a, x), (b, y)| (!x.canary, a).cmp(&(!y.canary, b)));
    let placed: Vec<Placed> = ranked.into_iter().map(|(_, placed)| placed).collect();
    if deploy.canary.is_some() && !placed.is_empty() && !placed.iter().any(|placed| placed.canary) {
        return Err(OrderError::NoCanary { targets: placed.len() });
    }
    Ok(placed)
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    group: Group,
    name: String,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Listed(usize),
    Number(i64),
    Text(String),
    Rest,
}

/// The clusters of the group that goes first.
///
/// # Errors
/// A name that no cluster has.
pub fn canaries<'c>(
    deploy: &DeployProperties,
    clusters: &'c [ClusterFact],
) -> Result<BTreeSet<&'c str>, OrderError> {
    let Some(canary) = &deploy.canary else { return Ok(BTreeSet::new()) };
    match &canary.cluster_label_selector {
        Some(selector) => {
            let chosen = clusters.iter().filter(|cluster| selector.matches(&cluster.labels));
            Ok(chosen.map(|cluster| cluster.name.as_str()).collect())
        }
        None => Ok(named("canary.clusters", &canary.clusters, clusters)?.into_iter().collect()),
    }
}

/// Whether the cluster that a step looks at is in the fleet, as far as that is known before other steps put something in.
///
/// # Errors
/// A name that no cluster has.
pub fn look(node: &Node, clusters: &[ClusterFact]) -> Result<(), OrderError> {
    let StepKind::Measure(measure) = &node.kind else { return Ok(()) };
    let What::WaitFor(wanted) = &measure.what else { return Ok(()) };
    let fixed = node.inputs.iter().all(|input| input.at.is_none()) && !wanted.cluster.contains("${");
    if !fixed || wanted.cluster.is_empty() {
        return Ok(());
    }
    named("cluster", std::slice::from_ref(&wanted.cluster), clusters).map(|_| ())
}

/// The clusters of names or aliases, each once.
fn named<'c>(
    field: &'static str,
    names: &[String],
    clusters: &'c [ClusterFact],
) -> Result<Vec<&'c str>, OrderError> {
    let mut known: BTreeMap<&str, &'c str> = BTreeMap::new();
    for cluster in clusters {
        if let Some(alias) = &cluster.alias {
            known.insert(alias.as_str(), cluster.name.as_str());
        }
    }
    // A name goes before an alias.
    known.extend(clusters.iter().map(|cluster| (cluster.name.as_str(), cluster.name.as_str())));
    let mut written: BTreeMap<&str, &String> = BTreeMap::new();
    names
        .iter()
        .map(|name| {
            let cluster = known.get(name.as_str()).copied().ok_or_else(|| {
                let near = known.keys().map(|known| (strsim::osa_distance(name, known), *known)).min();
                let near = near.filter(|(distance, _)| *distance <= 3).map(|(_, near)| near.to_owned());
                OrderError::UnknownCluster { field, name: name.clone(), nearest: near }
            })?;
            match written.insert(cluster, name) {
                Some(first) => Err(OrderError::Twice { field, first: first.clone(), second: name.clone() }),
                None => Ok(cluster),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Graph;
    use serde_json::json;

    fn fleet() -> Vec<ClusterFact> {
        [("m1", "10"), ("m2", "9"), ("m3", "late"), ("m4", ""), ("m5", "early"), ("m6", "-1")]
            .into_iter()
            .map(|(name, ring)| ClusterFact {
                name: name.to_owned(),
                alias: Some(format!("site-{name}")),
                labels: BTreeMap::from([("ring".to_owned(), ring.to_owned())]),
            })
            .collect()
    }

    fn order(properties: serde_json::Value) -> Result<Vec<String>, OrderError> {
        let targets = fleet().into_iter().rev().map(|cluster| Target::new(&cluster.name, "demo")).collect();
        let deploy: DeployProperties = serde_json::from_value(properties).unwrap();
        let placed = arrange(&deploy, targets, &fleet())?;
        let shown = |p: Placed| if p.canary { format!("{}!", p.target.cluster) } else { p.target.cluster };
        Ok(placed.into_iter().map(shown).collect())
    }

    // Broken: ring 10 goes before ring 9, or what has no ring at all goes first.
    #[test]
    fn numbers_then_text_then_the_rest_by_name() {
        assert_eq!(order(json!({"order": {"label": "ring"}})).unwrap(), ["m6", "m2", "m1", "m5", "m3", "m4"]);
        assert_eq!(order(json!({"order": {"label": "none"}})).unwrap(), ["m1", "m2", "m3", "m4", "m5", "m6"]);
        assert_eq!(order(json!({"order": ["site-m4", "m2"]})).unwrap(), ["m4", "m2", "m1", "m3", "m5", "m6"]);
        assert_eq!(order(json!({})).unwrap(), ["m6", "m5", "m4", "m3", "m2", "m1"]);
    }

    #[test]
    fn the_canary_group_goes_first_in_the_same_order() {
        let canary = json!({"clusterLabelSelector": {"matchExpressions": [{"key": "ring", "operator": "In", "values": ["late", "9"]}]}});
        let both = json!({"order": {"label": "ring"}, "canary": canary});
        assert_eq!(order(both).unwrap(), ["m2!", "m3!", "m6", "m1", "m5", "m4"]);
        let named = json!({"canary": {"clusters": ["site-m4"]}});
        assert_eq!(order(named).unwrap(), ["m4!", "m6", "m5", "m3", "m2", "m1"]);
    }

    // Broken: a step whose turn comes after hours fails for a cluster that was misspelt from the beginning.
    #[test]
    fn a_step_looks_at_a_cluster_of_the_fleet() {
        let of = |cluster: &str| {
            let properties = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "condition": "true", "cluster": cluster});
            let step = json!({"name": "a", "type": "wait-for", "properties": properties});
            let graph = Graph::read(&[serde_json::from_value(step).unwrap()], false).unwrap();
            look(&graph.nodes[0], &fleet()).map_err(|error| error.to_string())
        };
        assert!(["m1", "site-m1", "", "${context.name}"].iter().all(|cluster| of(cluster).is_ok()));
        let said = of("m11").unwrap_err();
        assert!(said.contains("cluster: no cluster is named \"m11\"; did you mean \"m1\""), "{said}");
    }

    #[test]
    fn what_doesnt_fit_the_targets_is_said() {
        for (properties, words) in [
            (json!({"order": ["m11"]}), &["order", "\"m11\"", "did you mean \"m1\""][..]),
            (json!({"order": ["m1", "m2", "site-m1"]}), &["order", "\"m1\" and \"site-m1\" are the same"]),
            (json!({"canary": {"clusters": ["site-m9"]}}), &["canary.clusters", "site-m9", "cluster list"]),
            (json!({"canary": {"clusterLabelSelector": {"ring": "none"}}}), &["canary", "6 targets"]),
            (json!({"maxFailures": 7}), &["maxFailures", "7 targets", "only 6"]),
        ] {
            let said = order(properties).unwrap_err().to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
        assert!(order(json!({"maxFailures": "100%"})).is_ok());
    }
}
