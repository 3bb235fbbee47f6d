//! Which targets of an Application are held: nothing is sent there until the hold ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::{DriftHold, Target, names};
use fleet_workflow::Problem;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams};
use kube::runtime::reflector::ObjectRef;

use crate::context::{AppKey, Context};
use crate::hub::tenancy;
use crate::turn::walk::Walk;

/// So long after its end a hold is kept: other replicas' clocks may be behind.
const KEPT_AFTER_END: SignedDuration = SignedDuration::from_mins(10);

/// Why nothing of an Application is sent to a cluster.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    /// The member as a whole is held.
    Member(fleet_members::Hold),
    /// Somebody works there by hand: what they change is reported, and nothing overwrites it.
    Drift(Arc<DriftHold>),
    /// The policy that the Application carries holds it: drift is put right, nothing new is sent.
    Policy(fleet_placement::Hold),
    /// Its namespace may not deliver there any more: what is there stays, until it is deleted on purpose.
    Access(crate::Problem),
}

impl Held {
    pub(crate) fn problem(&self, app: &AppKey, cluster: &str) -> Problem {
        match self {
            Self::Member(hold) => {
                Problem { reason: hold.reason().to_owned(), message: hold.message(cluster) }
            }
            Self::Drift(hold) => {
                let spec = &hold.spec;
                let by = if spec.by.is_empty() { "somebody" } else { &spec.by };
                let message = format!(
                    "{by} holds {} on {cluster} until {} ({}): drift is left and nothing new is sent there; go on now with: fleetctl drift release {} -n {} -m {cluster}",
                    app.1, spec.until, spec.reason, app.1, app.0
                );
                Problem { reason: "DriftHeld".to_owned(), message }
            }
            Self::Policy(hold) => {
                Problem { reason: hold.reason().to_owned(), message: hold.message(cluster) }
            }
            Self::Access(problem) => Problem {
                reason: problem.reason.clone(),
                message: format!("{}; what is there is left as it is", problem.message),
            },
        }
    }
}

/// Why nothing of an Application is sent to a cluster, where that is so; `named` is the account that its revision names.
pub(crate) fn hold(ctx: &Context, app: &AppKey, named: Option<&str>, cluster: &str) -> Option<Held> {
    let access = || tenancy::admit(ctx, &app.0, cluster, named).err().map(Held::Access);
    member_hold(ctx, cluster)
        .or_else(access)
        .or_else(|| drift_hold(ctx, app, cluster).map(Held::Drift))
        .or_else(|| policy_hold(ctx, app, cluster).map(Held::Policy))
}

/// Why nothing of an Application is deleted on a cluster that it left: it may take away what is its own wherever it is.
fn clearing_hold(ctx: &Context, app: &AppKey, cluster: &str) -> Option<Held> {
    member_hold(ctx, cluster)
        .or_else(|| drift_hold(ctx, app, cluster).map(Held::Drift))
        .or_else(|| policy_hold(ctx, app, cluster).map(Held::Policy))
}

/// Why the policy that an Application carries holds a cluster, where it does.
fn policy_hold(ctx: &Context, app: &AppKey, cluster: &str) -> Option<fleet_placement::Hold> {
    let app = ctx.hub.applications.get(&ObjectRef::new(&app.1).within(&app.0))?;
    let held = app.annotations().get(names::HELD_CLUSTERS)?;
    let held: BTreeMap<String, String> = serde_json::from_str(held).ok()?;
    fleet_placement::Hold::of_reason(held.get(cluster)?)
}

/// Why nothing is sent to a cluster, whatever it is about.
pub(crate) fn member_hold(ctx: &Context, cluster: &str) -> Option<Held> {
    ctx.members.hold(cluster).map(Held::Member)
}

/// The hold of an Application on a cluster that lasts longest.
pub(crate) fn drift_hold(ctx: &Context, app: &AppKey, cluster: &str) -> Option<Arc<DriftHold>> {
    let now = ctx.now();
    let holds = holds_of(ctx, app).into_iter();
    holds
        .filter(|hold| hold.spec.until > now && hold.spec.covers(&app.1, cluster))
        .max_by_key(|hold| hold.spec.until)
}

fn holds_of(ctx: &Context, app: &AppKey) -> Vec<Arc<DriftHold>> {
    ctx.hub.drift_holds.state_filter(|hold| {
        hold.metadata.namespace.as_deref() == Some(&app.0) && hold.spec.application == app.1
    })
}

/// Every target of the run that is held, by step.
pub(crate) fn targets(ctx: &Context, walk: &Walk) -> BTreeMap<(String, Target), Problem> {
    let mut held = BTreeMap::new();
    let Some(status) = walk.run_status() else { return held };
    for step in status.steps.iter().filter(|step| !step.phase.is_over()) {
        for state in step.targets.iter().filter(|state| !state.phase.is_over()) {
            let target = &state.target;
            let hold = if state.cleared {
                clearing_hold(ctx, &walk.key, &target.cluster)
            } else {
                hold(ctx, &walk.key, tenancy::named(walk), &target.cluster)
            };
            if let Some(hold) = hold {
                let key = (step.name.clone(), target.clone());
                held.insert(key, hold.problem(&walk.key, &target.cluster));
            }
        }
    }
    held
}

/// What holds clusters of an Application, for its status.
pub(crate) fn shown(ctx: &Context, walk: &Walk) -> Vec<Problem> {
    let named = tenancy::named(walk);
    let problem = |cluster: &String| Some(hold(ctx, &walk.key, named, cluster)?.problem(&walk.key, cluster));
    walk.held.iter().filter_map(problem).collect()
}

/// Takes note of which clusters are held now, and says when the next hold ends by its time. Where one ended everything
/// is compared: whatever happened there meanwhile was left.
pub(crate) fn note(ctx: &Arc<Context>, walk: &mut Walk) -> Timestamp {
    let clusters = walk.clusters();
    let named = tenancy::named(walk);
    let held: BTreeSet<String> =
        clusters.into_iter().filter(|name| hold(ctx, &walk.key, named, name).is_some()).collect();
    let ended = walk.held.symmetric_difference(&held).cloned();
    walk.postponed.clusters.extend(ended);
    walk.held = held;
    let now = ctx.now();
    let holds = holds_of(ctx, &walk.key);
    for hold in &holds {
        let forgotten = hold.spec.until.checked_add(KEPT_AFTER_END).is_ok_and(|at| at <= now);
        if forgotten {
            forget(ctx, hold);
        }
    }
    let ends = holds.iter().map(|hold| hold.spec.until).filter(|until| *until > now);
    ends.min().unwrap_or(Timestamp::MAX)
}

/// Takes away a hold that ended long ago, in the background: nothing depends on it.
fn forget(ctx: &Arc<Context>, hold: &DriftHold) {
    let api: Api<DriftHold> = Api::namespaced(ctx.hub.client.clone(), &hold.namespace().unwrap_or_default());
    let (name, stop) = (hold.name_any(), ctx.stop.clone());
    ctx.tasks.spawn(async move {
        let params = DeleteParams::default();
        tokio::select! {
            () = stop.cancelled() => {}
            outcome = api.delete(&name, &params) => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, hold = name, "a hold that ended stays");
                }
            }
        }
    });
}
