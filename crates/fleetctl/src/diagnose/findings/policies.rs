//! Policies about native objects: what they tell is wrong, what isn't well, what they left behind.

use fleet_api::propagation::{PolicyProblem, Severity as Weight};
use fleet_api::{conditions, names};
use fleet_json::few;
use kube::ResourceExt as _;

use super::Severity::{Error, Note, Warning};
use super::members::lives_here;
use super::{Finding, Snapshot};
use crate::diagnose::snapshot::{Leftovers, PolicyTold};

/// How many warnings of one policy are told.
const WARNINGS: usize = 5;
/// How many objects are named.
const NAMED: usize = 3;

pub(super) fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let mut all = Vec::new();
    for policy in &snapshot.policies {
        all.extend(not_ready(snapshot, policy));
        all.extend(unhealthy(policy));
        all.extend(warnings(policy));
    }
    all.extend(snapshot.leftovers.iter().map(|left| leftovers(snapshot, left)));
    all
}

impl PolicyTold {
    fn inside(&self) -> String {
        if self.namespace.is_empty() { String::new() } else { format!(" -n {}", self.namespace) }
    }

    fn called(&self) -> String {
        format!("{} {}{}", self.kind, self.name, self.inside())
    }

    /// The first reason for which nothing is selected, where that is so.
    fn nothing_since(&self) -> Option<&PolicyProblem> {
        conditions::find(&self.conditions, "Ready").filter(|ready| ready.reason == "MatchesNothing")?;
        self.problems.iter().find(|problem| !problem.message.is_empty())
    }
}

/// What is on its way, held or waits for people isn't wrong.
fn not_ready(snapshot: &Snapshot, policy: &PolicyTold) -> Option<Finding> {
    let ready = conditions::find(&policy.conditions, "Ready").filter(|ready| !ready.is_true())?;
    let about = policy.called();
    let edit = format!("kubectl edit {about}");
    let (severity, mend) = match ready.reason.as_str() {
        "Invalid" => (Error, format!("mend the field: {edit}")),
        "Failed" => (
            Error,
            format!(
                "do what the message says; {} why KIND/NAME -n NAMESPACE -m CLUSTER tells of one",
                snapshot.called
            ),
        ),
        "CannotList" | "CannotListOverrides" => (
            Error,
            "give the controller's account list and watch of it (referenced.resources of the chart)"
                .to_owned(),
        ),
        "StagedRefused" | "StagedFailed" => (Error, "do what the message says".to_owned()),
        "StagedTerminated" | "StagedBehind" => (Warning, "do what the message says".to_owned()),
        // No priority takes what an Application delivers.
        "Lost" if policy.problems.iter().any(|problem| problem.reason == "OwnedByApplication") => {
            (Warning, format!("do what the message says: {edit}, or the Application"))
        }
        "Lost" => (
            Warning,
            format!(
                "give it a higher priority and preemption: Always ({edit}), or take the objects out of what the other selects"
            ),
        ),
        "MatchesNothing" => (
            Warning,
            format!("compare spec.resourceSelectors with kubectl get KIND -A --show-labels: {edit}"),
        ),
        "NotAsWritten" => (Warning, format!("mend the rule: {edit}")),
        _ => return None,
    };
    // The first object says more than how many there are.
    let mut message = format!("{}: {}", ready.reason, ready.message);
    let more = match ready.reason.as_str() {
        "Failed" | "Lost" | "NotAsWritten" => policy.first.clone(),
        _ => policy.nothing_since().map(|problem| format!("{}: {}", problem.path, problem.message)),
    };
    if let Some(more) = more {
        message = format!("{message}. {more}");
    }
    let mend = format!("{mend}; its whole status: kubectl describe {about}");
    Some(Finding::new(severity, "PolicyNotReady", about, message, mend))
}

/// It is where it is to be, and isn't well there.
fn unhealthy(policy: &PolicyTold) -> Option<Finding> {
    let healthy = conditions::find(&policy.conditions, "Healthy").filter(|healthy| !healthy.is_true())?;
    let severity = match healthy.reason.as_str() {
        "Degraded" => Error,
        "Unknown" => Warning,
        // On its way.
        _ => return None,
    };
    let about = policy.called();
    let mend =
        format!("look at the object on that cluster; every one that isn't well: kubectl describe {about}");
    let message = format!("{}: {}", healthy.reason, healthy.message);
    Some(Finding::new(severity, "PolicyUnhealthy", about, message, mend))
}

/// What isn't as it seems to say. What nothing is selected by is told above.
fn warnings(policy: &PolicyTold) -> Vec<Finding> {
    let ready = conditions::find(&policy.conditions, "Ready");
    let told_above = |reason: &str| ready.is_some_and(|ready| !ready.is_true() && ready.reason == reason);
    let warnings = policy.problems.iter().filter(|problem| {
        problem.severity == Weight::Warning
            && !told_above(&problem.reason)
            && policy.nothing_since() != Some(*problem)
    });
    let one = |problem: &PolicyProblem| {
        let at = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
        let message = format!("{}: {at}{}", problem.reason, problem.message);
        let about = policy.called();
        let mend = format!("kubectl edit {about}, or do what the message says (docs/propagation.md)");
        Finding::new(Warning, "PolicyWarning", about, message, mend)
    };
    warnings.take(WARNINGS).map(one).collect()
}

/// It goes once the member answers; whoever knows that it never will has to say so.
fn leftovers(snapshot: &Snapshot, left: &Leftovers) -> Finding {
    let Leftovers { cluster, objects, orphaned } = left;
    let one = objects.len() == 1;
    let what = format!("{} {}", few(objects, NAMED), if one { "is" } else { "are" });
    let it_goes = if one { "it goes" } else { "they go" };
    let called = &snapshot.called;
    let member = snapshot.clusters.iter().find(|member| member.metadata.name.as_ref() == Some(cluster));
    let status = member.and_then(|member| member.status.as_ref());
    let answers = status
        .and_then(|status| conditions::find(&status.conditions, "Available"))
        .is_some_and(fleet_api::Condition::is_true);
    let about = format!("managedcluster {cluster}");
    if *orphaned {
        let (stays, them) = if one { ("stays", "it") } else { ("stay", "them") };
        let message = format!(
            "{what} still on {cluster} and {stays} there: the policy went with the definition of its kind, and no other takes {them}"
        );
        let mend = format!(
            "install the definition again, then the policy; to take {them} away, delete the policy after that"
        );
        return Finding::new(Warning, "PolicyKindMissing", about, message, mend);
    }
    let cordoned = member.is_some_and(|member| {
        member.annotations().contains_key(names::CORDONED)
            && !member.annotations().contains_key(names::DETACHING)
    });
    if cordoned {
        let message = format!(
            "{what} still on {cluster}, though the policy isn't there any more: {cluster} is cordoned, and {it_goes} when that ends"
        );
        return Finding::new(
            Note,
            "LeavesMember",
            about,
            message,
            format!("{called} cluster uncordon {cluster}"),
        );
    }
    if member.is_some_and(|member| !member.spec.hub_accepts_client) {
        let message = format!(
            "{what} still on {cluster}, though the policy isn't there any more: the hub doesn't accept {cluster}, and {it_goes} when it does"
        );
        let mend = format!("{called} cluster detach {cluster}, or accept it again");
        return Finding::new(Note, "LeavesMember", about, message, mend);
    }
    if answers {
        let message = format!("{what} about to leave {cluster}, since the policy isn't there any more");
        let mend = format!("wait a moment; where it stays: {called} why KIND/NAME -n NAMESPACE -m {cluster}");
        return Finding::new(Note, "LeavesMember", about, message, mend);
    }
    let message = format!(
        "{what} still on {cluster}, though the policy isn't there any more: {cluster} doesn't answer, and {it_goes} when it does"
    );
    let mend = if member.is_some_and(lives_here) {
        // What lives in the hub's process isn't probed, and isn't taken out.
        format!("{called} local start {cluster}")
    } else {
        format!(
            "{called} cluster probe {cluster}; where it never returns: {called} cluster detach {cluster} --keep-objects"
        )
    };
    Finding::new(Warning, "LeavesMember", about, message, mend)
}
