//! The Applications: what they wait for, what holds them back, what is wrong with them.

use fleet_api::{Application, ApplicationStatus, Condition, Phase, StepPhase, conditions, names};
use kube::ResourceExt as _;

use super::Severity::{Error, Note, Warning};
use super::{Finding, Snapshot};

/// How long a deletion may take before it is said to be stuck: a little over the controller's own deadline.
const DELETION: i64 = 15 * 60;

pub(super) fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let mut all: Vec<Finding> =
        snapshot.broken_records.iter().map(|(app, why)| of_record(snapshot, app, why)).collect();
    for app in &snapshot.applications {
        if app.metadata.deletion_timestamp.is_some() {
            all.extend(of_deletion(snapshot, app));
            continue;
        }
        all.extend(of_references(snapshot, app));
        if let Some(status) = &app.status {
            all.extend(of_status(snapshot, app, status));
        }
    }
    all
}

/// A record that somebody changed, or lost a part of.
fn of_record(snapshot: &Snapshot, app: &str, why: &str) -> Finding {
    let (namespace, name) = app.split_once('/').unwrap_or_default();
    let message = format!("its record isn't whole: {why}");
    let mend = format!(
        "find out who wrote there (auditlogs in {namespace}); what it said stands in an export: {} audit verify {name} -n {namespace} --against EXPORT",
        snapshot.called
    );
    Finding::new(Error, "RecordBroken", format!("application {app}"), message, mend)
}

struct Named<'a> {
    snapshot: &'a Snapshot,
    app: &'a Application,
}

impl Named<'_> {
    fn about(&self) -> String {
        format!("application {}/{}", self.app.namespace().unwrap_or_default(), self.app.name_any())
    }

    fn command(&self, verb: &str) -> String {
        let (name, namespace) = (self.app.name_any(), self.app.namespace().unwrap_or_default());
        format!("{} {verb} {name} -n {namespace}", self.snapshot.called)
    }
}

fn of_deletion(snapshot: &Snapshot, app: &Application) -> Option<Finding> {
    let named = Named { snapshot, app };
    let asked = app.metadata.deletion_timestamp.as_ref()?.0;
    let seconds = snapshot.now.duration_since(asked).as_secs();
    let said = app.status.as_ref().filter(|status| status.status == Phase::Deleting);
    let said = said.and_then(|status| status.services.first()).map(|service| service.message.clone());
    let others: Vec<&str> = app
        .finalizers()
        .iter()
        .map(String::as_str)
        .filter(|name| ![names::FINALIZER, names::ORPHAN_FINALIZER].contains(name))
        .collect();
    if !app.finalizers().iter().any(|name| name == names::FINALIZER) && !others.is_empty() {
        let message =
            format!("it is being deleted, and waits for finalizers that aren't ours: {}", others.join(", "));
        let mend = "whoever set them must take them away: kubectl get application -o yaml shows who";
        return Some(Finding::new(Warning, "FinalizerOfOthers", named.about(), message, mend));
    }
    let detail = said.map(|said| format!(": {said}")).unwrap_or_default();
    let message = format!("it is being deleted for {} min{detail}", seconds / 60);
    let mend = format!("{} (what can't be reached is left there)", named.command("delete") + " --force");
    Some(if seconds > DELETION {
        Finding::new(Error, "DeletionStuck", named.about(), message, mend)
    } else {
        Finding::new(Note, "Deleting", named.about(), message, "wait, or look again in some minutes")
    })
}

fn of_references(snapshot: &Snapshot, app: &Application) -> Vec<Finding> {
    let named = Named { snapshot, app };
    let mine = format!("{}/{}", app.namespace().unwrap_or_default(), app.name_any());
    let missing = snapshot.references.iter().filter(|r| r.application == mine && r.found.is_none());
    missing
        .map(|reference| {
            let object = format!("{} {}/{}", reference.kind, reference.namespace, reference.name);
            let message = format!("it refers to {object}, which isn't on the hub");
            let mend = "create it there, or mend the reference (name, namespace, apiVersion)";
            Finding::new(Error, "ReferenceMissing", named.about(), message, mend)
        })
        .collect()
}

fn of_status(snapshot: &Snapshot, app: &Application, status: &ApplicationStatus) -> Vec<Finding> {
    let named = Named { snapshot, app };
    let mut all = Vec::new();
    let look = named.command("status");
    let told = |type_: &str| conditions::find(&status.conditions, type_);
    if let Some(rendered) = told("Rendered").filter(|condition| !condition.is_true()) {
        // A reference that is missing is said with more by what looked for it.
        let missing =
            snapshot.references.iter().any(|r| r.found.is_none() && rendered.message.contains(&r.name));
        if !missing {
            let message = said("it can't be rolled out as it is", rendered);
            all.push(Finding::new(Error, "NotRendered", named.about(), message, look.clone()));
        }
    }
    if let Some(current) = told("Current").filter(|c| !c.is_true() && c.reason == "HeldByPublishVersion") {
        let mend = format!(
            "kubectl annotate app {} -n {} {}=NEW --overwrite",
            app.name_any(),
            app.namespace().unwrap_or_default(),
            names::PUBLISH_VERSION
        );
        let message =
            "the spec differs from the revision that runs, and publishVersion holds it back".to_owned();
        let severity = if current.is_true() { Note } else { Warning };
        all.push(Finding::new(severity, "HeldByPublishVersion", named.about(), message, mend));
    }
    if let Some(workflow) =
        told("Workflow").filter(|c| status.status == Phase::WorkflowFailed && !c.is_true())
    {
        let message = said("its run failed", workflow);
        let mend = format!("mend the cause, then: {}", named.command("workflow restart"));
        all.push(Finding::new(Error, "RunFailed", named.about(), message, mend));
    }
    all.extend(waits(&named, status));
    if let Some(healthy) = told("Healthy") {
        if healthy.reason == "Drift" {
            let fought = healthy.message.contains("keeps changing");
            let (code, mend) = if fought {
                (
                    "DriftFight",
                    "find who else writes this field (kubectl get … --show-managed-fields) and let one of the two go",
                )
            } else {
                ("Drift", "put it back, take it up into the Application, or leave it as it is")
            };
            all.push(Finding::new(Warning, code, named.about(), healthy.message.clone(), mend));
        } else if !healthy.is_true() && status.status == Phase::Unhealthy {
            all.push(Finding::new(Warning, "Unhealthy", named.about(), healthy.message.clone(), look));
        }
    }
    all
}

/// A condition's message, or its reason where it has none.
fn said(what: &str, condition: &Condition) -> String {
    let message = if condition.message.is_empty() { &condition.reason } else { &condition.message };
    format!("{what}: {message}")
}

/// Gates, a person's suspension, and members that a step waits for.
fn waits(named: &Named<'_>, status: &ApplicationStatus) -> Vec<Finding> {
    let Some(workflow) = status.workflow.as_ref().filter(|workflow| !workflow.finished) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let gates = workflow.all_steps().filter(|step| step.sub_steps.is_empty());
    for step in gates.filter(|step| step.phase == StepPhase::Suspending.as_str()) {
        let since = step.first_execute_time.map(|since| format!(" since {since}")).unwrap_or_default();
        let look = named.command("plan");
        let mend = format!("look: {look}; approve: {}", named.command("workflow resume"));
        let gate = step.gate.clone().unwrap_or_default();
        let hindered = ["ApprovalsNotProved", "AuthorUnknown", "GroupMayNotApprove"];
        if let Some(code) = hindered.into_iter().find(|code| step.reason == *code) {
            // What hinders everybody says itself what mends it.
            let said = step.message.split("; look with").next().unwrap_or_default();
            all.push(Finding::new(Warning, code, named.about(), said.to_owned(), mend));
        } else if gate.required.is_some() {
            let said = step.message.split("; look with").next().unwrap_or_default();
            all.push(Finding::new(Note, "WaitingForApproval", named.about(), format!("{said}{since}"), mend));
        } else {
            let message = format!("step {} waits for approval{since}", step.name);
            all.push(Finding::new(Note, "WaitingForApproval", named.about(), message, mend));
        }
        for refusal in &gate.refused {
            let message = format!(
                "step {}: the decision of {} ({}) doesn't count: {}",
                step.name, refusal.approver, refusal.approval, refusal.message
            );
            all.push(Finding::new(Warning, "ApprovalRefused", named.about(), message, look.clone()));
        }
    }
    if named.app.annotations().get(names::SUSPEND) == Some(&workflow.run) {
        let mend = named.command("workflow resume");
        all.push(Finding::new(Note, "Suspended", named.about(), "a person has suspended its run", mend));
    }
    for step in workflow.all_steps() {
        let unreachable: Vec<&str> = step
            .targets
            .iter()
            .filter(|target| target.reason == "Unreachable")
            .map(|target| target.cluster.as_str())
            .collect();
        if !unreachable.is_empty() {
            let message =
                format!("step {} waits for members that don't answer: {}", step.name, unreachable.join(", "));
            let mend = format!("{} cluster probe {}", named.snapshot.called, unreachable.join(" "));
            all.push(Finding::new(Warning, "WaitsForMember", named.about(), message, mend));
        }
    }
    all
}
