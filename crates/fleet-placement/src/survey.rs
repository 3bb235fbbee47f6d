//! What a policy's rules say about each member of a fleet: judged once for all its objects.

use std::collections::BTreeSet;

use fleet_api::propagation::PolicyProblem;

use crate::affinity::{PassedOver, Resolved};
use crate::fleet::{Fleet, Member};
use crate::left_out::LeftOutReason;
use crate::problems::Problems;
use crate::rules::PlacementRules;
use crate::shares::Rule;

/// The members of each group of a policy, and why the others aren't in it.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    pub(crate) groups: Vec<SurveyedGroup>,
    problems: Vec<PolicyProblem>,
}

/// One group.
#[derive(Debug, Clone, Default)]
pub(crate) struct SurveyedGroup {
    pub(crate) name: Option<String>,
    /// Positions with the weight of each, sorted.
    pub(crate) members: Vec<(usize, u64)>,
    pub(crate) left_out: Vec<(usize, LeftOutReason)>,
}

impl Survey {
    /// Judges a fleet.
    #[must_use]
    pub fn of(rules: &PlacementRules, fleet: &Fleet) -> Self {
        let mut problems = Problems::default();
        let weights: Vec<(Resolved, u64)> = rules
            .weights
            .iter()
            .map(|(affinity, weight)| (affinity.resolve(fleet, &mut problems), *weight))
            .collect();
        let weigh = |at: usize, member: &Member| -> u64 {
            if rules.weights.is_empty() {
                return 1;
            }
            let matching = rules.weights.iter().zip(&weights);
            let matching =
                matching.filter(|((affinity, _), (names, _))| affinity.takes(names, at, member).is_ok());
            matching.map(|(_, (_, weight))| *weight).max().unwrap_or(0)
        };
        let mut groups = Vec::new();
        for group in &rules.groups {
            let names = group.affinity.resolve(fleet, &mut problems);
            let mut surveyed = SurveyedGroup { name: group.name.clone(), ..SurveyedGroup::default() };
            for (at, member) in fleet.members().iter().enumerate() {
                match group.affinity.takes(&names, at, member) {
                    Err(why) => surveyed.left_out.push((at, why.into())),
                    Ok(()) if !member.cluster.accepted => {
                        surveyed.left_out.push((at, LeftOutReason::NotAccepted));
                    }
                    Ok(()) => surveyed.members.push((at, weigh(at, member))),
                }
            }
            weigh_all(rules, &mut surveyed, &mut problems);
            if surveyed.members.is_empty() {
                problems.warning(
                    path(group.name.as_deref()),
                    "NoClusterMatches",
                    "no accepted cluster of the fleet matches; what was delivered stays. See fleetctl cluster list",
                );
            }
            groups.push(surveyed);
        }
        let mut told = BTreeSet::new();
        let problems =
            problems.into_vec().into_iter().filter(|problem| told.insert(problem.clone())).collect();
        Self { groups, problems }
    }

    /// What is wrong with names, aliases and weights in this fleet.
    #[must_use]
    pub fn problems(&self) -> &[PolicyProblem] {
        &self.problems
    }

    /// The names of the members in any group, accepted or not left out otherwise, sorted.
    #[must_use]
    pub fn members<'f>(&self, fleet: &'f Fleet) -> Vec<&'f str> {
        let at: BTreeSet<usize> =
            self.groups.iter().flat_map(|group| group.members.iter().map(|(at, _)| *at)).collect();
        at.into_iter().filter_map(|at| fleet.members().get(at)).map(Member::name).collect()
    }
}

/// Members without a weight are left out, unless none has one.
fn weigh_all(rules: &PlacementRules, surveyed: &mut SurveyedGroup, problems: &mut Problems) {
    if rules.division != Some(Rule::Static) {
        return;
    }
    if surveyed.members.iter().any(|(_, weight)| *weight > 0) {
        let (with, without) = surveyed.members.drain(..).partition(|(_, weight)| *weight > 0);
        surveyed.members = with;
        surveyed
            .left_out
            .extend(without.into_iter().map(|(at, _): (usize, u64)| (at, LeftOutReason::NoWeight)));
    } else if !surveyed.members.is_empty() {
        for (_, weight) in &mut surveyed.members {
            *weight = 1;
        }
        problems.warning(
            "spec.placement.replicaScheduling.weightPreference.staticWeightList",
            "NoWeightMatches",
            "no weight is about a cluster that the policy places on, so all count the same; see fleetctl cluster list",
        );
    }
}

fn path(group: Option<&str>) -> String {
    match group {
        None => "spec.placement.clusterAffinity".to_owned(),
        Some(name) => format!("spec.placement.clusterAffinities[name={name}]"),
    }
}

impl From<PassedOver> for LeftOutReason {
    fn from(why: PassedOver) -> Self {
        match why {
            PassedOver::Excluded => Self::Excluded,
            PassedOver::NotNamed => Self::NotNamed,
            PassedOver::Labels(selector) => Self::Labels(selector),
            PassedOver::Field(why) => Self::Field(why),
        }
    }
}
