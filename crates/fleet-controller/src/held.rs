//! Which targets of an Application are held: nothing is sent there until the hold ends.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{Target, TargetState};
use fleet_workflow::Problem;

use crate::context::Context;
use crate::walk::Walk;

/// Why nothing of an Application is sent to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// The member as a whole is held.
    Member(fleet_members::Hold),
}

impl Held {
    pub(crate) fn problem(&self, cluster: &str) -> Problem {
        match self {
            Self::Member(hold) => {
                Problem { reason: hold.reason().to_owned(), message: hold.message(cluster) }
            }
        }
    }
}

/// Why nothing of an Application is sent to a cluster, where that is so.
pub(crate) fn hold(ctx: &Context, cluster: &str) -> Option<Held> {
    ctx.members.hold(cluster).map(Held::Member)
}

/// Every target of the run that is held, by step.
pub(crate) fn targets(ctx: &Context, walk: &Walk) -> BTreeMap<(String, Target), Problem> {
    let mut held = BTreeMap::new();
    let Some(status) = walk.run_status() else { return held };
    for step in status.steps.iter().filter(|step| !step.phase.is_over()) {
        for TargetState { target, .. } in step.targets.iter().filter(|state| !state.phase.is_over()) {
            if let Some(hold) = hold(ctx, &target.cluster) {
                held.insert((step.name.clone(), target.clone()), hold.problem(&target.cluster));
            }
        }
    }
    held
}

/// What holds clusters of an Application, for its status.
pub(crate) fn shown(ctx: &Context, walk: &Walk) -> Vec<Problem> {
    walk.held.iter().filter_map(|cluster| Some(hold(ctx, cluster)?.problem(cluster))).collect()
}

/// Takes note of which clusters are held now; those that no longer are get everything compared, since whatever
/// happened there meanwhile was left.
pub(crate) fn note(ctx: &Context, walk: &mut Walk) {
    let clusters = walk.clusters();
    let now: BTreeSet<String> = clusters.into_iter().filter(|name| hold(ctx, name).is_some()).collect();
    let ended = walk.held.difference(&now).cloned();
    walk.postponed.clusters.extend(ended);
    walk.held = now;
}
