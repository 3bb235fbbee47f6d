//! What a policy says about where its objects go, read once.

use fleet_api::propagation::{
    Division, DivisionPreference, OnReturn, Placement, PropagationPolicySpec, Toleration,
};
use fleet_json::IntOrPercent;
use jiff::SignedDuration;

use crate::affinity::Affinity;
use crate::problems::{Problems, advice};
use crate::shares::Rule;
use crate::spread::{self, Spread};
use crate::taints;

/// For how long trouble is put up with where a policy doesn't say.
const PATIENCE: i64 = 300;

/// What a policy says about where its objects go.
#[derive(Debug, Clone, Default)]
pub struct PlacementRules {
    pub(crate) groups: Vec<Group>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) spread: Vec<Spread>,
    /// How replicas are divided; `None`: each cluster has all.
    pub(crate) division: Option<Rule>,
    pub(crate) weights: Vec<(Affinity, u64)>,
    pub(crate) failover: FailoverRules,
}

/// A group of clusters; one without a name where the policy has no groups.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub(crate) name: Option<String>,
    pub(crate) affinity: Affinity,
}

/// When things move by rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FailoverRules {
    /// For how long a cluster may be gone or full; `None`: for ever.
    pub cluster: Option<SignedDuration>,
    /// For how long a workload may be unhealthy on a cluster; `None`: for ever.
    pub application: Option<SignedDuration>,
    /// How many replicas of an object may be on the move at once; `None`: a quarter.
    pub max_moving: Option<IntOrPercent>,
    /// Whether things move back by themselves.
    pub moves_back: bool,
}

impl PlacementRules {
    /// Reads a policy. What can't be meant is told; the rules are to be acted on only if there is no error.
    pub fn read(spec: &PropagationPolicySpec, problems: &mut Problems) -> Self {
        let everywhere = Placement::default();
        let placement = spec.placement.as_ref().unwrap_or(&everywhere);
        let path = "spec.placement";
        taints::check(&placement.cluster_tolerations, &format!("{path}.clusterTolerations"), problems);
        let (division, weights) = division(placement, problems);
        let rules = Self {
            groups: groups(placement, problems),
            tolerations: placement.cluster_tolerations.clone(),
            spread: spread::read(
                &placement.spread_constraints,
                &format!("{path}.spreadConstraints"),
                problems,
            ),
            division,
            weights,
            failover: failover(spec, problems),
        };
        ignored(spec, placement, problems);
        rules
    }

    /// Whether replicas are divided by the room that clusters have, so that it has to be known.
    #[must_use]
    pub fn weighs_room(&self) -> bool {
        matches!(self.division, Some(Rule::Dynamic | Rule::Aggregated))
    }

    /// Whether replicas are divided.
    #[must_use]
    pub fn divides(&self) -> bool {
        self.division.is_some()
    }

    /// When things move by rule.
    #[must_use]
    pub fn failover(&self) -> &FailoverRules {
        &self.failover
    }
}

fn groups(placement: &Placement, problems: &mut Problems) -> Vec<Group> {
    const PATH: &str = "spec.placement.clusterAffinities";
    let alone = "spec.placement.clusterAffinity";
    if placement.cluster_affinities.is_empty() {
        let affinity = placement.cluster_affinity.clone().unwrap_or_default();
        return vec![Group { name: None, affinity: Affinity::read(&affinity, alone, problems) }];
    }
    if placement.cluster_affinity.is_some() {
        let message =
            "clusterAffinity and clusterAffinities exclude each other; make it the first of the groups";
        problems.error(alone, "AffinityInvalid", message);
    }
    let mut groups: Vec<Group> = Vec::new();
    for (index, group) in placement.cluster_affinities.iter().enumerate() {
        let path = format!("{PATH}[{index}]");
        let name = Some(group.affinity_name.clone());
        if group.affinity_name.is_empty() || groups.iter().any(|other| other.name == name) {
            let message = format!("{:?} isn't a name of its own; each group needs one", group.affinity_name);
            problems.error(format!("{path}.affinityName"), "AffinityInvalid", message);
        }
        groups.push(Group { name, affinity: Affinity::read(&group.affinity, &path, problems) });
    }
    groups
}

fn division(placement: &Placement, problems: &mut Problems) -> (Option<Rule>, Vec<(Affinity, u64)>) {
    const PATH: &str = "spec.placement.replicaScheduling";
    let Some(scheduling) = &placement.replica_scheduling else { return (None, Vec::new()) };
    let preference = scheduling.weight_preference.as_ref();
    if scheduling.replica_scheduling_type == Some(Division::Duplicated) {
        if scheduling.replica_division_preference.is_some() || preference.is_some() {
            let message =
                "each cluster has all replicas, so nothing is divided; set replicaSchedulingType: Divided";
            problems.warning(PATH, "DivisionIgnored", message);
        }
        return (None, Vec::new());
    }
    if scheduling.replica_division_preference == Some(DivisionPreference::Aggregated) {
        if preference.is_some() {
            let message =
                "Aggregated looks at no weights; set replicaDivisionPreference: Weighted, or take them out";
            problems.warning(format!("{PATH}.weightPreference"), "DivisionIgnored", message);
        }
        return (Some(Rule::Aggregated), Vec::new());
    }
    let Some(preference) = preference else { return (Some(Rule::Static), Vec::new()) };
    if let Some(dynamic) = &preference.dynamic_weight {
        let path = format!("{PATH}.weightPreference.dynamicWeight");
        if !dynamic.eq_ignore_ascii_case("AvailableReplicas") {
            let known = advice(dynamic, &["AvailableReplicas"]);
            problems.error(&path, "WeightInvalid", format!("{dynamic:?} is no dynamic weight; {known}"));
        }
        if !preference.static_weight_list.is_empty() {
            let message =
                "replicas are divided by the room that clusters have; staticWeightList isn't looked at";
            problems.warning(path, "DivisionIgnored", message);
        }
        return (Some(Rule::Dynamic), Vec::new());
    }
    let mut weights = Vec::new();
    for (index, weight) in preference.static_weight_list.iter().enumerate() {
        let path = format!("{PATH}.weightPreference.staticWeightList[{index}]");
        let number = u64::try_from(weight.weight).unwrap_or(0);
        if number == 0 {
            problems.error(
                format!("{path}.weight"),
                "WeightInvalid",
                format!(
                    "a weight is at least 1, this is {}; to give a cluster nothing, leave it out of the list",
                    weight.weight
                ),
            );
        }
        let affinity = Affinity::read(&weight.target_cluster, &format!("{path}.targetCluster"), problems);
        // Ratios matter, not sizes; what is multiplied by it stays exact.
        weights.push((affinity, number.min(u64::from(u32::MAX))));
    }
    (Some(Rule::Static), weights)
}

fn failover(spec: &PropagationPolicySpec, problems: &mut Problems) -> FailoverRules {
    let failover = spec.failover.as_ref();
    let cluster = failover.and_then(|failover| failover.cluster.as_ref());
    let application = failover.and_then(|failover| failover.application.as_ref());
    let mut patience = |seconds: Option<i64>, path: &str| {
        if seconds.is_some_and(|seconds| seconds < 0) {
            problems.error(path, "FailoverInvalid", "a time is at least 0 seconds");
        }
        SignedDuration::from_secs(seconds.unwrap_or(PATIENCE).max(0))
    };
    let cluster_patience =
        cluster.map(|rule| patience(rule.toleration_seconds, "spec.failover.cluster.tolerationSeconds"));
    let application_patience = application.map(|rule| {
        let seconds = rule.decision_conditions.as_ref().and_then(|conditions| conditions.toleration_seconds);
        patience(seconds, "spec.failover.application.decisionConditions.tolerationSeconds")
    });
    let max_moving = cluster.and_then(|rule| rule.max_moving.as_ref()).and_then(|value| {
        IntOrPercent::from_value(value)
            .map_err(|error| {
                problems.error("spec.failover.cluster.maxMoving", "FailoverInvalid", error.to_string());
            })
            .ok()
    });
    FailoverRules {
        cluster: cluster_patience,
        application: application_patience,
        max_moving,
        moves_back: cluster.and_then(|rule| rule.on_return) == Some(OnReturn::MoveBack),
    }
}

/// Fields of other systems' schema that nothing here acts on.
fn ignored(spec: &PropagationPolicySpec, placement: &Placement, problems: &mut Problems) {
    let scheduling = placement.replica_scheduling.as_ref();
    let overflow = placement.cluster_affinities.iter().any(|group| !group.overflow_affinities.is_empty());
    let preserved = spec.failover.as_ref().is_some_and(|failover| {
        let application = failover.application.as_ref().and_then(|rule| rule.state_preservation.as_ref());
        application.or(failover.cluster.as_ref().and_then(|rule| rule.state_preservation.as_ref())).is_some()
    });
    // Nothing goes before as many are ready elsewhere, however long that takes.
    let graced = spec.failover.as_ref().is_some_and(|failover| {
        failover.application.as_ref().is_some_and(|rule| rule.grace_period_seconds.is_some())
    });
    let other_scheduler =
        spec.scheduler_name.as_deref().is_some_and(|name| !["", "default-scheduler"].contains(&name));
    for (there, path) in [
        (placement.workload_affinity.is_some(), "spec.placement.workloadAffinity"),
        (overflow, "spec.placement.clusterAffinities[*].overflowAffinities"),
        (
            scheduling.is_some_and(|scheduling| scheduling.custom_scheduling_type.is_some()),
            "spec.placement.replicaScheduling.customSchedulingType",
        ),
        (preserved, "spec.failover.*.statePreservation"),
        (graced, "spec.failover.application.gracePeriodSeconds"),
        (other_scheduler, "spec.schedulerName"),
        (!spec.dependent_overrides.is_empty(), "spec.dependentOverrides"),
        (spec.activation_preference.is_some(), "spec.activationPreference"),
        (spec.schedule_priority.is_some(), "spec.schedulePriority"),
    ] {
        if there {
            problems.warning(
                path,
                "NotActedOn",
                "this field is read and not acted on; the policy does the rest",
            );
        }
    }
}
