//! When a run starts, and what it starts with. Below: whose turn it is, and what changes under a run.

pub(crate) mod joining;
pub(crate) mod leavers;
pub(crate) mod line;
pub(crate) mod queue;
pub(crate) mod requests;
pub(crate) mod rivals;

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_api::run::RunSpec;
use fleet_api::{
    Application, Inventory, ManagedCluster, ObjectId, Owned, Rollback, Run, RunPhase, RunStatus,
    StagedPlacement, StepPhase, StepState, Target, TargetPhase, TargetState, names,
};
use fleet_placement::{Cluster, PlacementError};
use fleet_plan::{Claim, Delivery, desired};
use fleet_workflow::{ClusterFact, Node, OrderError, StepKind, arrange, canaries, look};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::Problem;
use crate::context::AppKey;
use crate::measure;
use crate::people::authors::completed_until;
use crate::records::revision::Loaded;
use crate::resolve::Draft;

/// Whether a run starts now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// What runs or ran is what is asked for.
    Current,
    /// A run starts, for this reason.
    Start(&'static str),
    /// The spec differs from what runs, and waits.
    Behind(Behind),
}

/// Why a spec that differs from what runs isn't rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// publishVersion holds it back.
    PublishVersion,
    /// It was left for an earlier revision, and hasn't been changed since.
    Rollback,
}

/// Decides from what is asked for and what runs.
pub(crate) fn decide(app: &Application, run: Option<&Run>, running: Option<&str>, wanted: &str) -> Decision {
    let Some(run) = run else { return Decision::Start("Created") };
    let asked = app.annotations().get(names::PUBLISH_VERSION);
    let restart = app.annotations().get(names::RESTART);
    if restart.is_some() && restart != run.spec.restart.as_ref() {
        return Decision::Start("Restart");
    }
    let left = |rollback: &Rollback| rollback.from == names::derived_name(&run.spec.application, wanted);
    // It gave way to one that never began, and what that was to deliver was taken back.
    let gave_way = run.status.as_ref().is_some_and(|status| status.phase == RunPhase::Superseded);
    match asked {
        Some(_) if asked != run.spec.publish_version.as_ref() => Decision::Start("PublishVersion"),
        _ if running == Some(wanted) && gave_way => Decision::Start("RevisionChanged"),
        _ if running == Some(wanted) => Decision::Current,
        _ if run.spec.rollback.as_ref().is_some_and(left) => Decision::Behind(Behind::Rollback),
        Some(_) => Decision::Behind(Behind::PublishVersion),
        None => Decision::Start("RevisionChanged"),
    }
}

/// The members as placements see them.
pub(crate) fn placeable(clusters: &[ManagedCluster]) -> Vec<Cluster> {
    clusters
        .iter()
        .map(|cluster| Cluster {
            name: cluster.name_any(),
            alias: cluster.alias().map(str::to_owned),
            labels: cluster.labels().clone(),
            accepted: cluster.spec.hub_accepts_client,
        })
        .collect()
}

/// Whether the Application's namespace may deliver to a cluster, as the account that it names.
pub(crate) type Admit<'a> = &'a dyn Fn(&str, Option<&str>) -> Result<(), Problem>;

/// The revision that a draft becomes, with the targets of every step; or why it can't be placed.
pub(crate) fn place(
    (namespace, application): &AppKey,
    draft: Draft,
    clusters: &[ManagedCluster],
    admit: Admit<'_>,
) -> Result<(Loaded, Vec<Vec<Target>>), Problem> {
    let name = names::derived_name(application, &draft.hash);
    let revision = Loaded::new(&name, &draft.hash, draft.content)?;
    revision.graph.refuse_hopeless(namespace, application)?;
    measure::refuse_out_of_reach(&revision.graph)?;
    let placed = placed(&revision, &placeable(clusters), namespace)?;
    let placed = admitted(&revision, placed, clusters, admit)?;
    Ok((revision, placed))
}

/// The targets of a revision that was placed before, and those clusters among them that left the fleet since. Steps name
/// them, so that they are seen to be missing.
pub(crate) fn place_again(
    revision: &Loaded,
    namespace: &str,
    clusters: &[ManagedCluster],
    admit: Admit<'_>,
) -> Result<(Vec<Vec<Target>>, BTreeSet<String>), Problem> {
    let mut known = placeable(clusters);
    let mut missing = BTreeSet::new();
    let placed = loop {
        let wrong = match placed_by(revision, &known, namespace) {
            Ok(placed) => break placed,
            Err(wrong) => *wrong,
        };
        match wrong {
            (_, PlacementError::UnknownCluster { name, .. }) if missing.insert(name.clone()) => {
                known.push(Cluster { name, alias: None, labels: Default::default(), accepted: true });
            }
            (step, error) => return Err(in_step(&step, error.into())),
        }
    };
    let there = |cluster: &str, named: Option<&str>| match missing.contains(cluster) {
        true => Ok(()),
        false => admit(cluster, named),
    };
    Ok((admitted(revision, placed, clusters, &there)?, missing.clone()))
}

/// The targets of what a run delivers, as members are now. What went back may name clusters that left the fleet.
pub(crate) fn placed_now(
    run: Option<&Run>,
    revision: &Loaded,
    clusters: &[ManagedCluster],
    namespace: &str,
) -> Result<Vec<Vec<Target>>, Problem> {
    if run.is_none_or(|run| run.spec.rollback.is_none()) {
        return placed(revision, &placeable(clusters), namespace);
    }
    let (mut placed, missing) = place_again(revision, namespace, clusters, &|_, _| Ok(()))?;
    placed.iter_mut().for_each(|targets| targets.retain(|target| !missing.contains(&target.cluster)));
    Ok(placed)
}

/// Targets in the order of their turns, once all of them may be delivered to.
fn admitted(
    revision: &Loaded,
    placed: Vec<Vec<Target>>,
    clusters: &[ManagedCluster],
    admit: Admit<'_>,
) -> Result<Vec<Vec<Target>>, Problem> {
    let placed = ordered(revision, placed, clusters)?;
    let named = revision.content.service_account.as_deref();
    for (node, targets) in revision.graph.nodes.iter().zip(&placed) {
        for target in targets {
            admit(&target.cluster, named).map_err(|problem| in_step(&node.name, problem))?;
        }
    }
    rivals::refuse(revision, &placed)?;
    Ok(placed)
}

/// The targets of every step, in the order of the steps.
pub(crate) fn placed(
    revision: &Loaded,
    clusters: &[Cluster],
    namespace: &str,
) -> Result<Vec<Vec<Target>>, Problem> {
    placed_by(revision, clusters, namespace).map_err(|wrong| in_step(&wrong.0, wrong.1.into()))
}

/// The same; an error comes with its step.
fn placed_by(
    revision: &Loaded,
    clusters: &[Cluster],
    namespace: &str,
) -> Result<Vec<Vec<Target>>, Box<(String, PlacementError)>> {
    let mut all = Vec::with_capacity(revision.graph.nodes.len());
    for node in &revision.graph.nodes {
        let in_step = |error| Box::new((node.name.clone(), error));
        let targets = match &node.kind {
            StepKind::Suspend(_) | StepKind::Group | StepKind::Measure(_) => Vec::new(),
            StepKind::Deploy(_) => {
                let topologies = revision.topologies(&node.name).map_err(in_step)?;
                match &revision.staged {
                    None => fleet_placement::place(&topologies, clusters, namespace).map_err(in_step)?,
                    Some(staged) => {
                        let all = staged_targets(staged, clusters, namespace);
                        if topologies.is_empty() {
                            all
                        } else {
                            let chosen =
                                fleet_placement::place(&topologies, clusters, namespace).map_err(in_step)?;
                            chosen.into_iter().filter(|target| all.contains(target)).collect()
                        }
                    }
                }
            }
        };
        all.push(targets);
    }
    Ok(all)
}

/// The clusters that a policy chose, as far as they are in the fleet.
fn staged_targets(staged: &StagedPlacement, clusters: &[Cluster], namespace: &str) -> Vec<Target> {
    let there = |name: &&String| clusters.iter().any(|cluster| cluster.name == **name && cluster.accepted);
    staged.clusters.iter().filter(there).map(|name| Target::new(name.as_str(), namespace)).collect()
}

/// Marks what a run that goes back can't reach any more: its clusters left before it began. What would only be cleared on
/// a cluster that left isn't told beside it: nothing can be cleared there, and it may be one that the revision names by
/// its alias, which nobody knows any more.
pub(crate) fn mark_missing(
    missing: &BTreeSet<String>,
    there: &dyn Fn(&str) -> bool,
    state: &mut RunStatus,
    now: Timestamp,
) {
    if missing.is_empty() {
        return;
    }
    for step in &mut state.steps {
        step.targets.retain(|state| !state.cleared || there(&state.target.cluster));
    }
    let targets = state.steps.iter_mut().flat_map(|step| &mut step.targets);
    for target in targets.filter(|state| missing.contains(&state.target.cluster)) {
        target.phase = TargetPhase::Removed;
        target.reason = "Removed".to_owned();
        target.message = "the cluster left the fleet before this run began".to_owned();
        target.ended_at = Some(now);
    }
}

/// The same, with the targets of each step in the order in which they have their turns.
fn ordered(
    revision: &Loaded,
    placed: Vec<Vec<Target>>,
    clusters: &[ManagedCluster],
) -> Result<Vec<Vec<Target>>, Problem> {
    let known = ranked(clusters);
    let steps = revision.graph.nodes.iter().zip(placed);
    let each = steps.map(|(node, targets)| {
        let wrong = |error: OrderError| {
            in_step(&node.name, Problem::wrong(error.reason(), format!("properties: {error}")))
        };
        match &node.kind {
            StepKind::Deploy(deploy) => {
                let placed = arrange(deploy, targets, &known).map_err(wrong)?;
                Ok(placed.into_iter().map(|placed| placed.target).collect())
            }
            _ => look(node, &known).map(|()| targets).map_err(wrong),
        }
    });
    each.collect()
}

/// The members as orders see them.
fn ranked(clusters: &[ManagedCluster]) -> Vec<ClusterFact> {
    let fact = |cluster: &ManagedCluster| ClusterFact {
        name: cluster.name_any(),
        alias: cluster.alias().map(str::to_owned),
        labels: cluster.labels().clone(),
    };
    clusters.iter().map(fact).collect()
}

/// Marks the targets of each step that go before the others. They stand first.
pub(crate) fn mark_canaries(revision: &Loaded, clusters: &[ManagedCluster], state: &mut RunStatus) {
    let known = ranked(clusters);
    for (node, step) in revision.graph.nodes.iter().zip(&mut state.steps) {
        let StepKind::Deploy(deploy) = &node.kind else { continue };
        let group = canaries(deploy, &known).unwrap_or_default();
        for target in step.targets.iter_mut().filter(|state| !state.cleared) {
            target.canary = group.contains(target.target.cluster.as_str());
        }
    }
}

fn in_step(step: &str, problem: Problem) -> Problem {
    Problem { message: format!("step {step:?}: {}", problem.message), ..problem }
}

/// The name of the group that a step belongs to.
fn group_of(revision: &Loaded, node: &Node) -> String {
    let group = node.group.and_then(|group| revision.graph.nodes.get(group));
    group.map(|group| group.name.clone()).unwrap_or_default()
}

/// The state that a run begins with. Targets that no step reaches any more are cleared by the last deploy step.
pub(crate) fn first_state(revision: &Loaded, placed: &[Vec<Target>], inventory: &Inventory) -> RunStatus {
    let mut steps: Vec<StepState> = revision
        .graph
        .nodes
        .iter()
        .zip(placed)
        .map(|(node, targets)| StepState {
            name: node.name.clone(),
            type_: node.kind.as_str().to_owned(),
            group: group_of(revision, node),
            targets: targets.iter().cloned().map(TargetState::pending).collect(),
            ..StepState::default()
        })
        .collect();
    let reached: BTreeSet<&Target> = placed.iter().flatten().collect();
    let left = inventory.targets.iter().map(|entry| &entry.target).filter(|target| !reached.contains(target));
    let left: Vec<TargetState> =
        left.map(|target| TargetState { cleared: true, ..TargetState::pending(target.clone()) }).collect();
    if let Some(last) = revision.graph.clearing_step().and_then(|last| steps.get_mut(last)) {
        last.targets.extend(left);
    }
    RunStatus { steps, ..RunStatus::default() }
}

/// The state of a run that serves only clusters that joined: steps without one are done, and a step behind a
/// gate asks.
pub(crate) fn joiners_state(
    revision: &Loaded,
    placed: &[Vec<Target>],
    joined: &BTreeSet<Target>,
    before: Option<&RunStatus>,
) -> RunStatus {
    let nodes = &revision.graph.nodes;
    let targets: Vec<Vec<TargetState>> = placed
        .iter()
        .map(|placed| {
            placed.iter().filter(|t| joined.contains(t)).cloned().map(TargetState::pending).collect()
        })
        .collect();
    let serves = |at: usize| targets.get(at).is_some_and(|targets| !targets.is_empty());
    let mut behind_gate = false;
    let mut steps = Vec::with_capacity(nodes.len());
    for (at, node) in nodes.iter().enumerate() {
        behind_gate |= node.kind.is_gated();
        let is_group = node.kind == StepKind::Group;
        let idle = !(serves(at) || is_group && revision.graph.members(at).any(|(member, _)| serves(member)));
        // What the run before made, and what it passed over, is so for whoever comes after.
        let before = before.and_then(|before| before.steps.get(at)).filter(|before| before.name == node.name);
        let passed = before.filter(|before| before.phase == StepPhase::Skipped && idle);
        let (phase, reason) = match (passed, idle) {
            (Some(before), _) => (StepPhase::Skipped, before.reason.clone()),
            (None, true) => (StepPhase::Succeeded, "NoClusterJoined".to_owned()),
            (None, false) => (StepPhase::Pending, String::new()),
        };
        steps.push(StepState {
            name: node.name.clone(),
            type_: node.kind.as_str().to_owned(),
            group: group_of(revision, node),
            phase,
            reason,
            ask: !idle && behind_gate && !is_group,
            outputs: before.filter(|_| idle).map(|before| before.outputs.clone()).unwrap_or_default(),
            targets: targets.get(at).cloned().unwrap_or_default(),
            ..StepState::default()
        });
    }
    RunStatus { steps, ..RunStatus::default() }
}

/// Lists in the inventory what the distribution had and the run takes away. `may` says of an object whether it is this
/// Application's to take away.
pub(crate) fn list_leaving(
    inventory: &mut Inventory,
    revision: &Loaded,
    namespace: &str,
    clusters: &[ManagedCluster],
    may: &dyn Fn(&ObjectId) -> bool,
) {
    let leaves = revision.staged.iter().flat_map(|staged| &staged.leaves);
    let known = |name: &str| clusters.iter().any(|cluster| cluster.name_any() == name);
    for (cluster, ids) in leaves.filter(|(cluster, _)| known(cluster)) {
        for id in ids.iter().filter(|id| id.namespace == namespace && may(id)) {
            let objects = &mut inventory.target_mut(&Target::new(cluster, namespace)).objects;
            objects.entry(id.clone()).or_default();
        }
    }
}

/// Lists in the inventory everything that a run may create (design invariant 8).
pub(crate) fn list_in_inventory(
    inventory: &mut Inventory,
    revision: &Loaded,
    state: &RunStatus,
    by: &Delivery<'_>,
) {
    for step in &state.steps {
        let reached = |state: &&TargetState| !state.cleared && state.phase != TargetPhase::Removed;
        for target in step.targets.iter().filter(reached) {
            let target = &target.target;
            let entry = inventory.target_mut(target);
            let mut namespaced = false;
            let desired = revision.desired(&step.name, target, by);
            for desired in desired.iter().filter(|desired| desired.claim != Claim::Observe) {
                namespaced |= !desired.id.namespace.is_empty();
                let owned = Owned { component: desired.component.clone(), made_namespace: false };
                entry.objects.insert(desired.id.clone(), owned);
            }
            if namespaced {
                let id = desired::namespace_object(target, by).id;
                let made = Owned { component: String::new(), made_namespace: true };
                entry.objects.entry(id).or_insert(made);
            }
        }
    }
}

/// The number of the last run that there was: somebody may have deleted it, and no number is given twice.
fn last_number(app: &Application, before: Option<&Run>) -> i64 {
    let shown = app.status.as_ref().and_then(|status| status.latest_revision.as_ref());
    let shown = shown.map_or(0, |latest| latest.revision);
    before.map_or(0, |run| run.spec.number).max(shown)
}

/// Who asked for a restart, as they say.
fn restart_by(app: &Application, cause: &str) -> String {
    let asked = app.annotations().get(names::RESTART).filter(|_| cause == "Restart");
    asked.and_then(|value| names::who_asked(app, names::RESTART, value)).unwrap_or_default()
}

/// The spec of the next run.
pub(crate) fn next_spec(
    app: &Application,
    before: Option<&Run>,
    revision: &Arc<Loaded>,
    cause: &str,
) -> RunSpec {
    RunSpec {
        application: app.name_any(),
        application_uid: app.uid().unwrap_or_default(),
        revision: revision.name.clone(),
        number: last_number(app, before) + 1,
        publish_version: app.annotations().get(names::PUBLISH_VERSION).cloned(),
        restart: app.annotations().get(names::RESTART).cloned(),
        restart_by: restart_by(app, cause),
        cause: cause.to_owned(),
        generation: app.metadata.generation.unwrap_or_default(),
        labels: app.labels().clone(),
        authors_since: completed_until(before),
        ..RunSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Broken: a cluster that left and that a revision names by its alias counts as two: one of that name, and the one
    /// whose objects are on record.
    #[test]
    fn a_cluster_that_left_is_counted_once() {
        let target = |cluster: &str| TargetState::pending(Target::new(cluster, "demo"));
        let cleared = |cluster: &str| TargetState { cleared: true, ..target(cluster) };
        let targets = vec![target("beta"), target("gamma"), cleared("m3"), cleared("m4")];
        let mut state =
            RunStatus { steps: vec![StepState { targets, ..StepState::default() }], ..RunStatus::default() };
        let whole = state.clone();
        let there = |cluster: &str| cluster != "m3" && cluster != "gamma";
        mark_missing(&BTreeSet::new(), &there, &mut state, Timestamp::UNIX_EPOCH);
        assert_eq!(state, whole, "where nobody is missing, nothing is marked");
        mark_missing(&BTreeSet::from(["gamma".to_owned()]), &there, &mut state, Timestamp::UNIX_EPOCH);
        let told: Vec<_> =
            state.steps[0].targets.iter().map(|one| (one.target.cluster.as_str(), one.phase)).collect();
        let pending = TargetPhase::Pending;
        assert_eq!(told, [("beta", pending), ("gamma", TargetPhase::Removed), ("m4", pending)]);
    }
}
