//! What the state machine is told: gathered from the board, the members and the hub's caches.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::staged;
use fleet_api::{Application, Run, RunStatus, StepPhase, StepState, Target, TargetPhase, TargetState, names};
use fleet_health::HealthStatus;
use fleet_members::Reachability;
use fleet_plan::{Claim, Desired};
use fleet_workflow::{
    ApprovalFact, Authors, CONDITION_FALSE, Delivery, Facts, PlanFact, Problem, Prune, Sight, TargetFact,
};
use kube::ResourceExt as _;

use crate::context::{Context, lock};
use crate::deliver::looks;
use crate::hub::windows;
use crate::measure;
use crate::people::authors::AuthorRecord;
use crate::people::proof::Proof;
use crate::run::requests;
use crate::turn::held;
use crate::turn::walk::{StepPlans, Walk};

/// Gathers the facts for a turn.
pub(crate) fn gather(ctx: &Context, app: &Application, walk: &Walk, superseded: bool) -> Facts {
    let run_name = walk.run_name().to_owned();
    let asks = |annotation: &str| app.annotations().get(annotation) == Some(&run_name);
    let mut facts = Facts {
        application: walk.key.1.clone(),
        namespace: walk.key.0.clone(),
        suspended_by: names::who_asked(app, names::SUSPEND, &run_name).unwrap_or_default(),
        terminated_by: names::who_asked(app, names::TERMINATE, &run_name).unwrap_or_default(),
        suspend: asks(names::SUSPEND),
        terminate: asks(names::TERMINATE),
        superseded,
        removed: removed(ctx, walk),
        requests: requests::of_run(app, &run_name),
        ..Facts::default()
    };
    for (step, (_, plans)) in &walk.plans {
        let fact = PlanFact {
            hash: plans.hash.clone(),
            summary: plans.summary.clone(),
            guarded: guarded(plans, step),
        };
        facts.plans.insert(step.clone(), Ok(fact));
    }
    if let Some(run) = &walk.run {
        facts.context = context(run);
        facts.lost_revision = walk.revision.is_none().then(|| run.spec.revision.clone());
        // A restart would take up again what was left.
        facts.again = run.spec.rollback.as_ref().map(|_| {
            let (namespace, app) = &walk.key;
            format!("fleetctl workflow rollback {app} -n {namespace} --to {}", run.spec.revision)
        });
        let proof = lock(&ctx.proof).clone();
        facts.approvals = approvals(ctx, walk, run, &proof);
        facts.authors = match staged::policy_of(app) {
            None => authors(run, &ctx.author_record(&walk.key.0)),
            Some(policy) => Authors::Unrecorded(format!(
                "who changes {} {} and override policies isn't recorded; let the Workflow say by approval.groups who may approve, and leave excludeAuthor out",
                policy.kind, policy.name
            )),
        };
        facts.powerless = ctx.powers.powerless(walk);
        if let Proof::Weak(message) = proof {
            facts.unproved = Some(Problem { reason: "ApprovalsNotProved".to_owned(), message });
        }
        facts.settled_at =
            walk.taken_up.as_ref().filter(|(taken_up, _)| *taken_up == run_name).map(|(_, at)| *at);
        facts.cleared_by_hand = cleared_by_hand(app, walk);
        facts.targets = targets(ctx, walk);
        facts.held = held::targets(ctx, walk);
        facts.checks = measure::facts(ctx, walk);
        facts.windows = windows::facts(ctx, app, walk);
        facts.permits = ctx.line.permits(walk);
        facts.window_override = windows::overridden(app, &run_name);
    }
    facts
}

/// Where the deletes of a step take what nobody should lose unasked.
fn guarded(plans: &StepPlans, step: &str) -> BTreeMap<Target, String> {
    let own = plans.plans.iter().filter(|plan| plan.step == step).flat_map(|plan| &plan.targets);
    let losing = own.filter(|plan| !plan.loses.is_empty());
    losing.map(|plan| (plan.target.clone(), plan.loses.clone())).collect()
}

/// What expressions of steps see as `context`: all of it is fixed when the run starts.
fn context(run: &Run) -> serde_json::Value {
    let spec = &run.spec;
    serde_json::json!({
        "name": spec.application,
        "appName": spec.application,
        "namespace": run.namespace(),
        "appRevision": spec.revision,
        "revision": spec.revision,
        "runNumber": spec.number,
        "publishVersion": spec.publish_version.as_deref().unwrap_or_default(),
        "cause": spec.cause,
        "appLabels": spec.labels,
    })
}

/// Members of this run that left the fleet.
pub(crate) fn removed(ctx: &Context, walk: &Walk) -> BTreeSet<String> {
    let steps = walk.run_status().map(|status| status.steps.as_slice()).unwrap_or_default();
    let clusters = steps.iter().flat_map(|step| step.targets.iter().map(|t| t.target.cluster.as_str()));
    clusters.filter(|cluster| !ctx.members.contains(cluster)).map(str::to_owned).collect()
}

/// Who changed what a run delivers. Objects of other kinds that it refers to count where they say who; nobody but us
/// holds them to it.
fn authors(run: &Run, record: &AuthorRecord) -> Authors {
    if let AuthorRecord::Missing(why) = record {
        return Authors::Unrecorded(why.clone());
    }
    let ours = ["Application ", "Policy ", "Workflow "];
    let silent = run.spec.unattributed.iter().find(|input| ours.iter().any(|kind| input.starts_with(kind)));
    match (silent, &run.spec.author) {
        (None, Some(author)) => Authors::Known(run.spec.authors.iter().chain([author]).cloned().collect()),
        (silent, _) => Authors::Unrecorded(format!(
            "{} doesn't say who last changed it; change it again, and start again with: fleetctl workflow restart {} -n {}",
            silent.map_or_else(|| format!("Application {}", run.spec.application), Clone::clone),
            run.spec.application,
            run.namespace().unwrap_or_default(),
        )),
    }
}

fn approvals(ctx: &Context, walk: &Walk, run: &Run, proof: &Proof) -> Vec<ApprovalFact> {
    let mine = ctx.hub.approvals.state_filter(|approval| {
        approval.metadata.namespace.as_deref() == Some(&walk.key.0)
            && approval.spec.application == walk.key.1
            && approval.spec.run == run.name_any()
    });
    let mut facts: Vec<_> = mine
        .iter()
        .map(|approval| {
            let at = approval.creation_timestamp().map(|time| time.0);
            let doubt = proof.doubt(approval, ctx.options.proof_margin);
            let fact = ApprovalFact {
                name: approval.name_any(),
                step: approval.spec.step.clone(),
                plan_hash: approval.spec.plan_hash.clone(),
                decision: approval.spec.decision,
                approver: approval.spec.approver.clone(),
                groups: approval.spec.groups.clone(),
                proven: doubt.is_none(),
                counts_from: doubt.as_ref().and_then(|doubt| doubt.counts_from),
                doubt: doubt.map(|doubt| doubt.message).unwrap_or_default(),
                reason: approval.spec.reason.clone(),
                made_at: at,
            };
            (at, fact)
        })
        .collect();
    facts.sort_by(|(a, x), (b, y)| (a, &x.name).cmp(&(b, &y.name)));
    facts.into_iter().map(|(_, fact)| fact).collect()
}

/// A person set `status.workflow.suspend` to false after we had announced the gate there.
fn cleared_by_hand(app: &Application, walk: &Walk) -> Option<String> {
    let shown = app.status.as_ref()?.workflow.as_ref()?;
    let gate = shown.gate.as_deref()?;
    let (run, step) = gate.rsplit_once('/')?;
    (run == walk.run_name() && !shown.suspend && !shown.finished).then(|| step.to_owned())
}

fn targets(ctx: &Context, walk: &Walk) -> BTreeMap<(String, Target), TargetFact> {
    let mut facts = BTreeMap::new();
    let Some((revision, status)) = walk.revision.as_ref().zip(walk.run_status()) else { return facts };
    for step in &status.steps {
        // A step may begin in this very turn, and what it only clears may have nothing to wait for.
        let running = step.phase == StepPhase::Running;
        for state in &step.targets {
            let key = (step.name.clone(), state.target.clone());
            let fact = match state.phase {
                // Once it answers, it catches up.
                TargetPhase::Skipped => reach(ctx, &state.target).unwrap_or_default(),
                phase if phase.is_over() || step.phase.is_over() && !state.late => continue,
                _ if state.cleared => cleared(ctx, walk, step, state, others_done(status, step)),
                // What is known of an earlier try says nothing about the next one.
                TargetPhase::Pending => match reach(ctx, &state.target) {
                    Some(silent) => silent,
                    None if running => TargetFact::default(),
                    None => continue,
                },
                _ => {
                    let desired = revision.desired(&step.name, &state.target, &walk.delivery());
                    let seen = observe(ctx, walk, &state.target, desired.iter());
                    let delivery = walk.board.delivery(&key);
                    TargetFact { delivery, prune: prune(walk, step, state), ..seen }
                }
            };
            facts.insert(key, fact);
        }
    }
    facts
}

/// Whether every other target is as done as it will be: what is cleared waits for that. A target that is passed over
/// delays only itself; of this step's own failures the state machine knows how many may be.
fn others_done(status: &RunStatus, own: &StepState) -> bool {
    status.steps.iter().filter(|step| step.type_ == "deploy").all(|step| {
        // What its `if` passes over delivers nothing in this run.
        let passed_over = step.phase == StepPhase::Skipped && step.reason == CONDITION_FALSE;
        let tolerated = step.name == own.name || step.phase == StepPhase::Succeeded;
        passed_over
            || step.targets.iter().all(|state| {
                let failed = state.phase == TargetPhase::Failed;
                state.cleared || state.phase.is_over() && (!failed || tolerated)
            })
    })
}

/// Whether something that is only cleared waited for others that are all done now: facts are gathered before a turn, so
/// a turn that ends the others must be followed by one that knows.
pub(crate) fn others_are_done_now(before: Option<&RunStatus>, now: &RunStatus) -> bool {
    let free = |status: &RunStatus, name: &str| {
        status.steps.iter().any(|step| {
            let waits = step.targets.iter().any(|state| state.cleared && !state.phase.is_over());
            step.name == name && waits && others_done(status, step)
        })
    };
    now.steps
        .iter()
        .any(|step| free(now, &step.name) && !before.is_some_and(|before| free(before, &step.name)))
}

/// What is known of a target that only loses what it has.
fn cleared(ctx: &Context, walk: &Walk, step: &StepState, state: &TargetState, done: bool) -> TargetFact {
    let silent = reach(ctx, &state.target).unwrap_or_default();
    let message = "what is owned here goes once the other targets are done".to_owned();
    let waiting = Problem { reason: "WaitingForOthers".to_owned(), message };
    TargetFact {
        delivery: Delivery::Applied,
        done,
        waiting_for: if done { silent.waiting_for } else { Some(waiting) },
        prune: prune(walk, step, state),
        sight: silent.sight,
    }
}

/// What is known of a target whose member doesn't answer; nothing where it does.
fn reach(ctx: &Context, target: &Target) -> Option<TargetFact> {
    let silent = |message: String| TargetFact {
        sight: Sight::Silent,
        waiting_for: Some(Problem { reason: "Unreachable".to_owned(), message }),
        ..TargetFact::default()
    };
    match ctx.members.get(&target.cluster) {
        Err(error) => Some(silent(error.to_string())),
        Ok(member) => match member.reachability() {
            Reachability::Unreachable { message, .. } => {
                Some(silent(format!("cluster {} doesn't answer: {message}", target.cluster)))
            }
            Reachability::Reachable => None,
        },
    }
}

fn prune(walk: &Walk, step: &StepState, state: &TargetState) -> Prune {
    let key = (step.name.clone(), state.target.clone());
    if let Some(known) = walk.board.prune(&key) {
        return known;
    }
    let plans = walk.plans.get(&step.name).map(|(_, plans)| plans.plans.as_slice()).unwrap_or_default();
    let plan = plans.iter().find(|plan| plan.step == step.name).and_then(|plan| plan.target(&state.target));
    match plan {
        Some(plan) if plan.leaves().next().is_some() => Prune::Idle,
        _ => Prune::NotNeeded,
    }
}

/// Whether a target shows the desired content, observed and healthy; else what is waited for.
pub(crate) fn observe<'a>(
    ctx: &Context,
    walk: &Walk,
    target: &Target,
    desired: impl IntoIterator<Item = &'a Desired>,
) -> TargetFact {
    if let Some(silent) = reach(ctx, target) {
        return silent;
    }
    let Ok(member) = ctx.members.get(&target.cluster) else { return TargetFact::default() };
    // What can't be seen is neither well nor ill.
    let unseen = ["NotListed", "CannotWatch", "ClusterChanged", "DuplicateCluster", "HubItself"];
    let waits = |reason: &str, message: String| TargetFact {
        sight: if unseen.contains(&reason) { Sight::NotListed } else { Sight::Seen },
        waiting_for: Some(Problem { reason: reason.to_owned(), message }),
        ..TargetFact::default()
    };
    if let Some(hold) = member.hold().filter(fleet_members::Hold::is_about_identity) {
        return waits(hold.reason(), hold.message(&target.cluster));
    }
    for object in desired {
        if object.claim == Claim::Observe {
            match looks::judge(&member, &object.id) {
                None => continue,
                Some((reason, message)) => return waits(reason, message),
            }
        }
        let blind = || member.blind(&object.id).map(|why| format!("{}: {why}", object.id));
        let Some(seen) = member.observed(&object.id) else {
            if let Some(why) = blind() {
                return waits("CannotWatch", why);
            }
            if !member.observes([&object.id].into_iter()) {
                return waits("NotListed", format!("{} isn't listed on the member yet", object.id));
            }
            return waits("NotObserved", format!("{} isn't seen on the member yet", object.id));
        };
        let shared = object.claim == Claim::Share;
        let entered = !shared || seen.sharers.contains(&walk.owner);
        // What another owns shows what that one delivered.
        let shows = seen.owner == walk.owner && seen.content == object.content.short()
            || shared && !seen.owner.is_empty() && seen.owner != walk.owner;
        if !entered || !shows || seen.deleting {
            return waits("NotObserved", format!("{} doesn't show this revision yet", object.id));
        }
        let why = || format!("{}: {}", object.id, seen.health.message);
        match seen.health.status {
            HealthStatus::Healthy | HealthStatus::Suspended => {}
            HealthStatus::Unknown => return waits("Unknown", why()),
            HealthStatus::Progressing => match blind() {
                Some(why) => return waits("CannotWatch", why),
                None => return waits("Progressing", why()),
            },
            HealthStatus::Degraded => return waits("Degraded", why()),
        }
    }
    TargetFact { done: true, ..TargetFact::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deploy(name: &str, targets: Vec<TargetState>) -> StepState {
        StepState {
            name: name.to_owned(),
            type_: "deploy".to_owned(),
            phase: StepPhase::Running,
            targets,
            ..StepState::default()
        }
    }

    fn target(cluster: &str, phase: TargetPhase, cleared: bool) -> TargetState {
        TargetState { phase, cleared, ..TargetState::pending(Target::new(cluster, "demo")) }
    }

    /// Broken: what a revision no longer reaches keeps its objects, and the run never ends, where the others become done
    /// in a turn after which nothing happens: at the end of their soak.
    #[test]
    fn the_end_of_the_others_asks_for_another_turn() {
        let status = |phase| {
            let cleared = target("m0", TargetPhase::Waiting, true);
            let first = deploy("first", vec![target("m1", TargetPhase::Succeeded, false)]);
            let steps = vec![first, deploy("last", vec![target("m2", phase, false), cleared])];
            RunStatus { steps, ..RunStatus::default() }
        };
        let (waits, done) = (status(TargetPhase::Waiting), status(TargetPhase::Succeeded));
        assert!(others_are_done_now(Some(&waits), &done));
        assert!(!others_are_done_now(Some(&done), &done), "nothing new asks for nothing");
        assert!(!others_are_done_now(Some(&waits), &waits));
    }
}
