//! Over how many clusters, regions, zones, providers or values of a label.
//!
//! Constraints are met one after the other: groups beyond `maxGroups` are left out, what is placed already is kept
//! before anything else, and of the rest the better ones are taken. With one constraint on groups beside one on
//! clusters that finds a choice wherever there is one.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::propagation::SpreadConstraint;

use crate::fleet::{Fleet, Member};
use crate::problems::{Problems, advice};

const FIELDS: [&str; 4] = ["cluster", "region", "zone", "provider"];

/// A constraint as it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) by: GroupBy,
    min: usize,
    max: Option<usize>,
    path: String,
}

/// What makes a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupBy {
    Cluster,
    Region,
    Zone,
    Provider,
    Label(String),
}

/// A member that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) at: usize,
    /// It has the object already.
    pub(crate) current: bool,
    /// It can be written to.
    pub(crate) ready: bool,
    /// A taint asks that others be preferred.
    pub(crate) avoid: bool,
    /// How much it can take, where that counts.
    pub(crate) score: u64,
}

/// Why a constraint leaves a member out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpreadOut {
    /// It is in no group: the field or label is absent.
    Ungrouped(String),
    /// Others were taken, and there are no more groups to be.
    GroupsFull {
        /// What makes a group.
        by: String,
        /// Its group.
        group: String,
        /// How many there may be.
        max: usize,
    },
}

/// A constraint that can't be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooFewGroups {
    /// The constraint's place.
    pub path: String,
    /// What makes a group.
    pub by: String,
    /// How many groups there can be.
    pub have: usize,
    /// How many there must be.
    pub min: usize,
}

/// The chosen, by position, and those left out with the reason.
pub(crate) type Choice = (Vec<usize>, Vec<(usize, SpreadOut)>);

impl GroupBy {
    fn of(&self, member: &Member) -> Option<String> {
        let location = &member.location;
        match self {
            Self::Cluster => Some(member.name().to_owned()),
            Self::Region => location.region.clone(),
            Self::Provider => location.provider.clone(),
            // A member in several zones is a group with others in the same ones.
            Self::Zone if location.zones.is_empty() => None,
            Self::Zone => Some(location.zones.iter().map(String::as_str).collect::<Vec<_>>().join("+")),
            Self::Label(key) => member.cluster.labels.get(key).cloned(),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Cluster => "cluster".to_owned(),
            Self::Region => "region".to_owned(),
            Self::Zone => "zone".to_owned(),
            Self::Provider => "provider".to_owned(),
            Self::Label(key) => format!("label {key}"),
        }
    }
}

/// Reads constraints.
pub(crate) fn read(constraints: &[SpreadConstraint], path: &str, problems: &mut Problems) -> Vec<Spread> {
    let mut read: Vec<Spread> = Vec::new();
    for (index, constraint) in constraints.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let mut wrong = |field: &str, message: String| {
            problems.error(format!("{path}{field}"), "SpreadConstraintInvalid", message);
        };
        let by = match (constraint.spread_by_field.as_str(), constraint.spread_by_label.as_str()) {
            ("", "") => {
                wrong("", "it says neither spreadByField nor spreadByLabel; say one".to_owned());
                continue;
            }
            ("", label) => GroupBy::Label(label.to_owned()),
            ("cluster", "") => GroupBy::Cluster,
            ("region", "") => GroupBy::Region,
            ("zone", "") => GroupBy::Zone,
            ("provider", "") => GroupBy::Provider,
            (field, "") => {
                let known = advice(field, &FIELDS);
                wrong(".spreadByField", format!("{field:?} is no field of a cluster; {known}"));
                continue;
            }
            _ => {
                wrong("", "it says spreadByField and spreadByLabel; say one".to_owned());
                continue;
            }
        };
        let groups = |value: Option<i64>| value.map(|value| usize::try_from(value).unwrap_or(0));
        let (min, max) = (groups(constraint.min_groups), groups(constraint.max_groups));
        if constraint.min_groups.is_some_and(|min| min < 0) {
            wrong(".minGroups", "it is below 0; 1 is the least that says something".to_owned());
        } else if constraint.max_groups.is_some_and(|max| max < 0) {
            wrong(".maxGroups", "it is below 0; leave it out for any number".to_owned());
        } else if let (Some(min), Some(max)) = (min, max)
            && max > 0
            && min > max
        {
            wrong(".minGroups", format!("at least {min} and at most {max} groups can't be; raise maxGroups"));
        } else if read.iter().any(|other| other.by == by) {
            wrong("", format!("{} is constrained already; say it once", by.name()));
        } else {
            read.push(Spread { by, min: min.unwrap_or(1).max(1), max: max.filter(|max| *max > 0), path });
        }
    }
    contradictions(&read, problems);
    read
}

/// Fewer clusters than groups of them.
fn contradictions(read: &[Spread], problems: &mut Problems) {
    let clusters = read.iter().find(|spread| spread.by == GroupBy::Cluster);
    let Some((clusters, max)) = clusters.and_then(|clusters| Some((clusters, clusters.max?))) else { return };
    for other in read.iter().filter(|other| other.min > max) {
        problems.error(
            format!("{}.maxGroups", clusters.path),
            "SpreadConstraintInvalid",
            format!(
                "{max} clusters can't be in {} of {}; raise it, or lower {}.minGroups",
                other.min,
                other.by.name(),
                other.path
            ),
        );
    }
}

/// Chooses among candidates.
///
/// # Errors
/// With the constraint that can't be met.
pub(crate) fn choose(
    constraints: &[Spread],
    fleet: &Fleet,
    mut candidates: Vec<Candidate>,
) -> Result<Choice, TooFewGroups> {
    let name = |at: usize| fleet.members().get(at).map(Member::name).unwrap_or_default();
    candidates.sort_by(|a, b| {
        let better = |c: &Candidate| (c.current, !c.avoid, c.ready, c.score);
        better(b).cmp(&better(a)).then_with(|| name(a.at).cmp(name(b.at)))
    });
    let group = |by: &GroupBy, at: usize| fleet.members().get(at).and_then(|member| by.of(member));
    let mut out = Vec::new();
    let of_groups = || constraints.iter().filter(|constraint| constraint.by != GroupBy::Cluster);
    for constraint in of_groups() {
        let taken = best_groups(constraint, &candidates, &group);
        candidates.retain(|candidate| match group(&constraint.by, candidate.at) {
            None => {
                out.push((candidate.at, SpreadOut::Ungrouped(constraint.by.name())));
                false
            }
            Some(own) if !taken.contains(&own) => {
                let max = constraint.max.unwrap_or(taken.len());
                out.push((candidate.at, SpreadOut::GroupsFull { by: constraint.by.name(), group: own, max }));
                false
            }
            Some(_) => true,
        });
    }
    let clusters = constraints.iter().find(|constraint| constraint.by == GroupBy::Cluster);
    if let Some((constraint, max)) = clusters.and_then(|clusters| Some((clusters, clusters.max?))) {
        let (taken, rest) = cover(of_groups().collect(), candidates, max, &group);
        out.extend(rest.into_iter().map(|candidate| {
            let group = name(candidate.at).to_owned();
            (candidate.at, SpreadOut::GroupsFull { by: constraint.by.name(), group, max })
        }));
        candidates = taken;
    }
    for constraint in constraints {
        let have: BTreeSet<String> =
            candidates.iter().filter_map(|candidate| group(&constraint.by, candidate.at)).collect();
        if have.len() < constraint.min {
            return Err(TooFewGroups {
                path: constraint.path.clone(),
                by: constraint.by.name(),
                have: have.len(),
                min: constraint.min,
            });
        }
    }
    let mut chosen: Vec<usize> = candidates.iter().map(|candidate| candidate.at).collect();
    chosen.sort_unstable();
    Ok((chosen, out))
}

/// The groups that are taken: those that hold something first, then those that can take most.
fn best_groups(
    constraint: &Spread,
    candidates: &[Candidate],
    group: &impl Fn(&GroupBy, usize) -> Option<String>,
) -> BTreeSet<String> {
    let mut groups: BTreeMap<String, (usize, usize, u64)> = BTreeMap::new();
    for candidate in candidates {
        let Some(own) = group(&constraint.by, candidate.at) else { continue };
        let sum = groups.entry(own).or_default();
        sum.0 += usize::from(candidate.current);
        sum.1 += usize::from(candidate.ready && !candidate.avoid);
        sum.2 = sum.2.saturating_add(candidate.score);
    }
    let mut groups: Vec<(String, (usize, usize, u64))> = groups.into_iter().collect();
    groups.sort_by(|a, b| {
        // Room counts before numbers: it is 0 for all where it doesn't matter.
        let better = |sum: &(usize, usize, u64)| (sum.0, sum.2, sum.1);
        better(&b.1).cmp(&better(&a.1)).then_with(|| a.0.cmp(&b.0))
    });
    groups.into_iter().map(|(name, _)| name).take(constraint.max.unwrap_or(usize::MAX)).collect()
}

/// At most `max` candidates, in their order, except that each constraint has its least number of groups first.
fn cover(
    constraints: Vec<&Spread>,
    candidates: Vec<Candidate>,
    max: usize,
    group: &impl Fn(&GroupBy, usize) -> Option<String>,
) -> (Vec<Candidate>, Vec<Candidate>) {
    let mut covered: Vec<BTreeSet<String>> = vec![BTreeSet::new(); constraints.len()];
    let (mut taken, mut rest) = (Vec::new(), candidates);
    while taken.len() < max {
        let news = |candidate: &Candidate| {
            let unmet =
                constraints.iter().zip(&covered).filter(|(constraint, have)| have.len() < constraint.min);
            unmet
                .filter(|(constraint, have)| {
                    group(&constraint.by, candidate.at).is_some_and(|own| !have.contains(&own))
                })
                .count()
        };
        // The first of those that help most: candidates are in order.
        let mut best: Option<(usize, usize)> = None;
        for (position, candidate) in rest.iter().enumerate() {
            let helps = news(candidate);
            if best.is_none_or(|(_, most)| helps > most) {
                best = Some((position, helps));
            }
        }
        let Some((position, helps)) = best else { break };
        if helps == 0 {
            // Nothing is to be covered any more: the order decides.
            let more = rest.len().min(max - taken.len());
            taken.extend(rest.drain(..more));
            break;
        }
        let candidate = rest.remove(position);
        for (constraint, have) in constraints.iter().zip(&mut covered) {
            have.extend(group(&constraint.by, candidate.at));
        }
        taken.push(candidate);
    }
    (taken, rest)
}
