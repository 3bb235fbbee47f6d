//! Deployments: a ReplicaSet per template, and the way from the old ones to the new one.
//!
//! The rules follow the Kubernetes documentation of Deployments (rolling update, proportional scaling, progress) and
//! what its API promises: never more than `replicas + maxSurge` wanted, never fewer available than
//! `replicas - maxUnavailable` by our doing.

mod replica_sets;
mod rollout;
mod scale;
mod status;

use replica_sets::{Sets, Strategy};

use crate::object::{deleting, flag};
use crate::settings::{Moment, Pods};
use crate::world::Held;
use crate::{Decision, Kind};

/// What a Deployment does next. `pods` are those of all its ReplicaSets.
#[must_use]
pub fn next(deployment: &Held, replica_sets: &[&Held], pods: &[&Held], moment: Moment<'_>) -> Decision {
    let mut decision = Decision::default();
    let value = &deployment.value;
    let mut sets = Sets::of(value, replica_sets);
    if deleting(value) {
        return decision;
    }
    if flag(value, "/spec/paused") {
        sets.revise();
        scale::proportionally(&mut sets);
    } else {
        sets.revise();
        if sets.is_scaling() {
            scale::proportionally(&mut sets);
        } else {
            match sets.strategy {
                Strategy::Recreate => {
                    let counted = moment.settings.pods == Pods::Counted;
                    rollout::recreate(&mut sets, if counted { None } else { Some(pods) });
                }
                Strategy::Rolling { .. } => rollout::roll(&mut sets),
            }
        }
    }
    let status = status::of(value, &sets, moment, &mut decision);
    sets.write(value, &mut decision);
    if status::complete(value, &status) {
        sets.clean_up(&mut decision);
    }
    decision.status(Kind::Deployment, value, &status);
    decision
}

#[cfg(test)]
mod tests;
