//! Which members an affinity takes.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::propagation::ClusterAffinity;
use fleet_json::LabelSelector;

use crate::fleet::{Fleet, Member, NameProblem};
use crate::problems::{Problems, advice};

const FIELDS: [&str; 3] = ["provider", "region", "zone"];
const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// An affinity as it is judged: read once, for any fleet.
#[derive(Debug, Clone, Default)]
pub struct Affinity {
    path: String,
    /// Every name given, with its place; `None` where no list has any.
    names: Option<Vec<(String, String)>>,
    exclude: Vec<(String, String)>,
    labels: LabelSelector,
    fields: Vec<FieldCondition>,
}

#[derive(Debug, Clone)]
struct FieldCondition {
    key: String,
    operator: String,
    values: BTreeSet<String>,
}

/// An affinity with its names looked up in a fleet.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    names: Option<BTreeSet<usize>>,
    exclude: BTreeSet<usize>,
}

/// Why an affinity passes over a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassedOver {
    /// It is excluded.
    Excluded,
    /// It isn't among the names.
    NotNamed,
    /// Its labels differ.
    Labels(String),
    /// Its provider, region or zone differs.
    Field(String),
}

impl Affinity {
    /// Reads an affinity that stands at `path`; nothing given takes every member.
    pub fn read(affinity: &ClusterAffinity, path: &str, problems: &mut Problems) -> Self {
        let listed = |list: &[String], field: &str| -> Vec<(String, String)> {
            let placed = list.iter().enumerate();
            placed.map(|(index, name)| (name.clone(), format!("{path}.{field}[{index}]"))).collect()
        };
        let mut names = listed(&affinity.cluster_ids, "clusterIds");
        names.extend(listed(&affinity.cluster_names, "clusterNames"));
        let labels = affinity.label_selector.as_ref().map(LabelSelector::from_json);
        let labels = labels.unwrap_or_else(|| Ok(LabelSelector::everything())).unwrap_or_else(|error| {
            problems.error(format!("{path}.labelSelector"), "LabelSelectorInvalid", error.to_string());
            LabelSelector::everything()
        });
        Self {
            path: path.to_owned(),
            names: (!names.is_empty()).then_some(names),
            exclude: listed(&affinity.exclude, "exclude"),
            labels,
            fields: fields(affinity, path, problems),
        }
    }

    /// Looks the names up. A name that means nothing is told and takes no member; an excluded alias of several
    /// members excludes them all.
    pub fn resolve(&self, fleet: &Fleet, problems: &mut Problems) -> Resolved {
        let exclude = resolve_all(&self.exclude, fleet, true, problems);
        let names = self.names.as_ref().map(|names| resolve_all(names, fleet, false, problems));
        for at in names.iter().flatten().filter(|at| exclude.contains(at)) {
            if let Some(member) = fleet.members().get(*at) {
                problems.warning(
                    format!("{}.exclude", self.path),
                    "NamedAndExcluded",
                    format!(
                        "cluster {:?} is named and excluded; exclude wins. Take it out of one",
                        member.name()
                    ),
                );
            }
        }
        Resolved { names, exclude }
    }

    /// Whether it takes the member at a position of the fleet that `resolved` belongs to.
    ///
    /// # Errors
    /// With why not.
    pub fn takes(&self, resolved: &Resolved, at: usize, member: &Member) -> Result<(), PassedOver> {
        if resolved.exclude.contains(&at) {
            return Err(PassedOver::Excluded);
        }
        if resolved.names.as_ref().is_some_and(|names| !names.contains(&at)) {
            return Err(PassedOver::NotNamed);
        }
        if !self.labels.matches(&member.cluster.labels) {
            return Err(PassedOver::Labels(self.labels.to_string()));
        }
        match self.fields.iter().find_map(|condition| condition.differs(member)) {
            Some(why) => Err(PassedOver::Field(why)),
            None => Ok(()),
        }
    }

    /// The positions of all members that it takes, accepted or not.
    #[must_use]
    pub fn members(&self, fleet: &Fleet) -> Vec<usize> {
        let resolved = self.resolve(fleet, &mut Problems::default());
        let members = fleet.members().iter().enumerate();
        members.filter(|(at, member)| self.takes(&resolved, *at, member).is_ok()).map(|(at, _)| at).collect()
    }
}

impl FieldCondition {
    /// How a member differs from what is wanted. An absent field satisfies `NotIn`, as with labels.
    fn differs(&self, member: &Member) -> Option<String> {
        let location = &member.location;
        let has: BTreeSet<&String> = match self.key.as_str() {
            "provider" => location.provider.iter().collect(),
            "region" => location.region.iter().collect(),
            _ => location.zones.iter().collect(),
        };
        let overlap = has.iter().any(|value| self.values.contains(*value));
        let holds = match self.operator.as_str() {
            "In" => overlap,
            "NotIn" => !overlap,
            "Exists" => !has.is_empty(),
            _ => has.is_empty(),
        };
        let list = |values: Vec<&str>| {
            if values.is_empty() { "none".to_owned() } else { values.join(", ") }
        };
        (!holds).then(|| {
            let wanted = list(self.values.iter().map(String::as_str).collect());
            let wanted = if self.values.is_empty() { String::new() } else { format!(" {wanted}") };
            let has = list(has.into_iter().map(String::as_str).collect());
            format!("{} is {has}, asked for is {}{wanted}", self.key, self.operator)
        })
    }
}

fn fields(affinity: &ClusterAffinity, path: &str, problems: &mut Problems) -> Vec<FieldCondition> {
    let mut conditions = Vec::new();
    for (index, requirement) in
        affinity.field_selector.iter().flat_map(|selector| &selector.match_expressions).enumerate()
    {
        let mut wrong = |field: &str, message: String| {
            let place = format!("{path}.fieldSelector.matchExpressions[{index}].{field}");
            problems.error(place, "FieldSelectorInvalid", message);
        };
        let (key, operator) = (requirement.key.as_str(), requirement.operator.as_str());
        let compares = matches!(operator, "In" | "NotIn");
        if !FIELDS.contains(&key) {
            wrong("key", format!("{key:?} is no field of a cluster; {}", advice(key, &FIELDS)));
        } else if !OPERATORS.contains(&operator) {
            wrong("operator", format!("{operator:?} is no operator; {}", advice(operator, &OPERATORS)));
        } else if compares && requirement.values.is_empty() {
            wrong("values", format!("{operator} compares with values; list some"));
        } else if !compares && !requirement.values.is_empty() {
            wrong("values", format!("{operator} looks at no values; leave them out"));
        } else {
            conditions.push(FieldCondition {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: requirement.values.iter().cloned().collect(),
            });
        }
    }
    conditions
}

/// Looks names up, telling those that mean nothing and those that mean the same.
pub(crate) fn resolve_all(
    names: &[(String, String)],
    fleet: &Fleet,
    take_ambiguous: bool,
    problems: &mut Problems,
) -> BTreeSet<usize> {
    let mut found: BTreeMap<usize, &str> = BTreeMap::new();
    for (name, path) in names {
        match fleet.resolve(name) {
            Ok(at) => {
                if let Some(first) = found.get(&at) {
                    let cluster = fleet.members().get(at).map(Member::name).unwrap_or_default();
                    let message = format!("cluster {cluster:?} is named already at {first}; once is enough");
                    problems.warning(path, "SameClusterTwice", message);
                } else {
                    found.insert(at, path);
                }
            }
            Err(NameProblem::Local) => problems.warning(
                path,
                "LocalReserved",
                "\"local\" is reserved for the hub itself, where objects are only stored; name a member (fleetctl \
                 cluster list)",
            ),
            Err(NameProblem::Unknown(near)) => {
                let near = near.map_or_else(
                    || "see fleetctl cluster list".to_owned(),
                    |near| format!("did you mean {near:?}?"),
                );
                let message = format!("no cluster has the name or alias {name:?}; {near} The others are served");
                let message = message.replace("list The", "list. The");
                problems.warning(path, "UnknownCluster", message);
            }
            Err(NameProblem::Ambiguous(clusters)) => {
                if take_ambiguous {
                    found.extend(clusters.iter().filter_map(|name| Some((fleet.resolve(name).ok()?, path.as_str()))));
                }
                let several = clusters.join(" and of ");
                let message = format!("{name:?} is the alias of {several}; use a name instead");
                problems.warning(path, "AmbiguousAlias", message);
            }
        }
    }
    found.into_keys().collect()
}
