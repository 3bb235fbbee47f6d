//! Clusters that a placement no longer selects though they are in the fleet: membership is frozen when a run starts, so
//! that they stay is said, and what takes them out.

use std::collections::BTreeSet;

use fleet_api::{RunStatus, Target, TargetPhase};
use fleet_json::few;

use crate::context::Context;
use crate::run;
use crate::turn::walk::Walk;

/// How many are named.
const NAMED: usize = 3;

/// What is said of clusters that the newest run reaches, or would reach, and that would be left out if it began now.
pub(crate) fn said(ctx: &Context, walk: &Walk) -> Option<String> {
    let (revision, status) = walk.revision.as_ref().zip(walk.run_status())?;
    let clusters = ctx.members.clusters();
    let selected = match run::place_again(revision, &walk.key.0, &clusters, &|_, _| Ok(())) {
        Ok((placed, _)) => placed.into_iter().flatten().collect(),
        Err(problem) if problem.reason == "NoClusterMatches" => BTreeSet::new(),
        // What else is wrong with it isn't about who left.
        Err(_) => return None,
    };
    let left = left(status, &selected, &|cluster| ctx.members.contains(cluster));
    (!left.is_empty()).then(|| message(&left, &walk.key))
}

fn left(status: &RunStatus, selected: &BTreeSet<Target>, there: &dyn Fn(&str) -> bool) -> BTreeSet<String> {
    let states = status.steps.iter().flat_map(|step| &step.targets);
    let reached = states.filter(|state| !state.cleared && state.phase != TargetPhase::Removed);
    let gone = reached.filter(|state| !selected.contains(&state.target) && there(&state.target.cluster));
    gone.map(|state| state.target.cluster.clone()).collect()
}

fn message(left: &BTreeSet<String>, (namespace, app): &(String, String)) -> String {
    format!(
        "its policies no longer select {}; what goes there stays until another run starts, which leaves them out and deletes it: fleetctl workflow restart {app} -n {namespace}",
        few(left, NAMED)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_api::{StepState, TargetState};

    // Broken: what a run only clears, or a cluster that left the fleet, is told as no longer selected for ever.
    #[test]
    fn only_clusters_that_would_be_left_out_are_told() {
        let target = |cluster: &str| TargetState::pending(Target::new(cluster, "demo"));
        let cleared = TargetState { cleared: true, ..target("m2") };
        let removed = TargetState { phase: TargetPhase::Removed, ..target("m3") };
        let targets = vec![target("m1"), cleared, removed, target("m4"), target("m5")];
        let step = StepState { name: "go".to_owned(), targets, ..StepState::default() };
        let status = RunStatus { steps: vec![step], ..RunStatus::default() };
        let selected = BTreeSet::from([Target::new("m1", "demo")]);
        let left = left(&status, &selected, &|cluster| cluster != "m5");
        assert_eq!(left, BTreeSet::from(["m4".to_owned()]));
    }
}
