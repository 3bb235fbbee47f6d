use fleet_api::{
    Application, ApplicationStatus, Condition, ManagedCluster, ManagedClusterSpec, ManagedClusterStatus,
    Phase, StepStatus, TargetStatus, WorkflowStatus, crds, names,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::json;

use super::*;
use crate::diagnose::snapshot::{
    CredentialSecret, Definition, Holder, Leftovers, PolicyTold, Reference, Standing,
};

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

fn member(name: &str) -> ManagedCluster {
    let spec = ManagedClusterSpec { hub_accepts_client: true, ..ManagedClusterSpec::default() };
    let mut cluster = ManagedCluster::new(name, spec);
    let conditions = vec![Condition::new("Available", true, "ManagedClusterAvailable", "")];
    cluster.status = Some(ManagedClusterStatus { conditions, ..ManagedClusterStatus::default() });
    cluster
}

fn secret(name: &str) -> CredentialSecret {
    CredentialSecret { namespace: "fleetctl-system".to_owned(), name: name.to_owned(), problem: None }
}

fn app(conditions: Vec<Condition>) -> Application {
    let mut app: Application = serde_json::from_value(json!({
        "apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": {"name": "web", "namespace": "demo", "generation": 2, "creationTimestamp": ago(30).to_string()},
        "spec": {"components": []}
    }))
    .unwrap();
    app.status = Some(ApplicationStatus {
        status: Phase::Running,
        observed_generation: 2,
        conditions,
        ..ApplicationStatus::default()
    });
    app
}

/// A hub on which everything is as it should be.
fn well() -> Snapshot {
    let definition = |wanted: serde_json::Value| {
        let mut found = wanted.clone();
        found["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]});
        Definition { wanted, found: Some(found) }
    };
    Snapshot {
        called: "fleetctl".to_owned(),
        now: now(),
        hub_time: Some(now()),
        definitions: crds::all().unwrap().into_iter().map(definition).collect(),
        leases: vec![Holder { identity: "pod-1".to_owned(), renewed: Some(now()), seconds: 15 }],
        clusters: vec![member("m1")],
        secrets: vec![secret("m1")],
        applications: vec![app(vec![Condition::new("Rendered", true, "Rendered", "")])],
        ..Snapshot::default()
    }
}

/// What is found once something was made wrong: codes, and the one finding's way to mend it.
fn found(change: impl FnOnce(&mut Snapshot)) -> Vec<Finding> {
    let mut snapshot = well();
    change(&mut snapshot);
    findings(&snapshot)
}

#[track_caller]
fn one(change: impl FnOnce(&mut Snapshot), severity: Severity, code: &str, mend: &str) {
    let found = found(change);
    let [finding] = found.as_slice() else { panic!("not one finding: {found:#?}") };
    assert_eq!((finding.severity, finding.code), (severity, code), "{finding:#?}");
    assert!(finding.mend.contains(mend), "{finding:#?}");
    assert!(!finding.about.is_empty() && !finding.message.is_empty());
}

use Severity::{Error, Note, Warning};

/// A tool that cries wolf is switched off.
#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(findings(&well()), []);
}

#[test]
fn definitions() {
    let install = "fleetctl install --no-controller";
    one(|s| s.definitions[0].found = None, Error, "DefinitionMissing", install);
    let change = |pointer: &'static str, value: serde_json::Value| {
        move |s: &mut Snapshot| {
            *s.definitions[0].found.as_mut().unwrap().pointer_mut(pointer).unwrap() = value
        }
    };
    one(change("/spec/versions/0/name", json!("v0")), Error, "DefinitionVersion", install);
    one(change("/status/conditions", json!([])), Error, "DefinitionNotEstablished", "kubectl describe crd");
    let other = json!({"type": "object"});
    one(
        change("/spec/versions/0/schema/openAPIV3Schema", other.clone()),
        Warning,
        "DefinitionDiffers",
        install,
    );
    let theirs = |index: usize| {
        let other = other.clone();
        move |s: &mut Snapshot| {
            let found = s.definitions[index].found.as_mut().unwrap();
            found["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = other;
            found["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "kubevela"});
        }
    };
    one(theirs(0), Error, "DefinitionOfOthers", "docs/moving-over.md");
    let members = well().definitions.iter().position(|d| d.name().starts_with("managedclusters.")).unwrap();
    one(theirs(members), Note, "DefinitionShared", "nothing to do");
}

#[test]
fn the_controller() {
    let gone = |s: &mut Snapshot| s.leases[0].renewed = Some(ago(3));
    one(gone, Error, "ControllerNotRunning", "fleetctl controller");
    let never = |s: &mut Snapshot| {
        s.leases.clear();
        s.applications[0].status = None;
    };
    one(never, Error, "ControllerNotRunning", "fleetctl install");
    let behind = |s: &mut Snapshot| s.applications[0].status.as_mut().unwrap().observed_generation = 1;
    one(behind, Warning, "ControllerBehind", "/metrics");
    let rival = |s: &mut Snapshot| s.rivals.push("Deployment vela-system/kubevela-vela-core".to_owned());
    one(rival, Error, "AnotherController", "docs/moving-over.md");
    // An embedded hub has a controller without a Lease.
    assert_eq!(found(|s| s.leases.clear()), []);
    // One that was made a moment ago hasn't been missed yet.
    let new = |s: &mut Snapshot| {
        s.leases.clear();
        s.applications[0].status = None;
        s.applications[0].metadata.creation_timestamp = Some(Time(now()));
    };
    assert_eq!(found(new), []);
}

#[test]
fn clocks_and_what_may_not_be_read() {
    one(|s| s.hub_time = Some(ago(5)), Warning, "ClocksDiffer", "NTP");
    let refused = |s: &mut Snapshot| s.unread.push(("nodes".to_owned(), "forbidden".to_owned()));
    one(refused, Warning, "NotLookedAt", "right");
    let lost = |s: &mut Snapshot| s.lost_inventories.push(("web-1".to_owned(), "demo/web".to_owned()));
    one(lost, Warning, "InventoryWithoutApplication", "kubectl delete resourcetracker web-1");
}

fn reference(kind: &str, found: Option<Standing>) -> impl FnOnce(&mut Snapshot) {
    let api_version = if kind == "Deployment" { "apps/v1" } else { "v1" }.to_owned();
    let (kind, text) = (kind.to_owned(), |text: &str| text.to_owned());
    move |s: &mut Snapshot| {
        s.references.push(Reference {
            application: text("demo/web"),
            api_version,
            kind,
            namespace: text("demo"),
            name: text("front"),
            found,
        });
    }
}

/// Pods on the hub are the costliest surprise: the whole application runs where only its plan should be.
#[test]
fn a_hub_that_is_not_inert() {
    one(reference("Deployment", Some(Standing::Acted)), Warning, "WorkloadStartsOnHub", "docs/hub.md");
    let managed = |s: &mut Snapshot| {
        reference("Deployment", Some(Standing::Inert))(s);
        s.controller_manager = true;
    };
    one(managed, Warning, "WorkloadStartsOnHub", "k8s-objects");
    assert_eq!(found(reference("Deployment", Some(Standing::Inert))), []);
    assert_eq!(found(reference("ConfigMap", Some(Standing::Inert))), []);
    let idle = |s: &mut Snapshot| {
        reference("Deployment", Some(Standing::Idle))(s);
        s.controller_manager = true;
    };
    assert_eq!(found(idle), []);
    one(reference("ConfigMap", None), Error, "ReferenceMissing", "create it");
}

// Broken: a slip in a freeze stops the whole fleet, and whoever looks for the reason isn't told.
#[test]
fn windows_that_cant_be_read() {
    let window = |spec: serde_json::Value| {
        move |s: &mut Snapshot| {
            s.windows.push(fleet_api::RolloutWindow::new("freeze", serde_json::from_value(spec).unwrap()));
        }
    };
    let mend = "kubectl edit rolloutwindow freeze";
    let never = json!({"deny": [{"cron": "0 0 30 2 *", "duration": "1d"}]});
    one(window(never), Error, "InvalidRolloutWindow", mend);
    let selector = json!({"clusters": {"selector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}},
        "deny": [{"cron": "0 0 1 1 *", "duration": "1d"}]});
    one(window(selector), Error, "InvalidRolloutWindow", mend);
    assert_eq!(found(window(json!({"deny": [{"cron": "0 0 1 1 *", "duration": "1d"}]}))), []);
}

#[test]
fn members() {
    one(|s| s.secrets.clear(), Error, "NoCredentials", "fleetctl cluster rejoin m1");
    let embedded = |s: &mut Snapshot| {
        s.secrets.clear();
        s.clusters[0].labels_mut().insert("fleetctl.dev/embedded".to_owned(), "true".to_owned());
    };
    assert_eq!(found(embedded), []);
    let bad = |s: &mut Snapshot| s.secrets[0].problem = Some("key \"endpoint\" is missing".to_owned());
    one(bad, Error, "CredentialsInvalid", "fleetctl cluster rotate m1");
    one(|s| s.secrets.push(secret("m2")), Note, "CredentialsWithoutMember", "cluster join");
    one(
        |s| s.clusters[0].spec.hub_accepts_client = false,
        Warning,
        "NotAccepted",
        "kubectl patch managedcluster m1",
    );
    let held = |s: &mut Snapshot| {
        s.clusters[0].annotations_mut().insert(names::CORDONED.to_owned(), "an upgrade".to_owned());
    };
    one(held, Note, "Cordoned", "fleetctl cluster uncordon m1");
    // Uncordoning is refused then.
    let leaving = |s: &mut Snapshot| {
        let notes = s.clusters[0].annotations_mut();
        notes.insert(names::CORDONED.to_owned(), names::BEING_DETACHED.to_owned());
        notes.insert(names::DETACHING.to_owned(), "kept".to_owned());
    };
    one(leaving, Note, "Detaching", "fleetctl cluster detach m1");
    for (reason, code, mend) in [
        ("Unreachable", "MemberUnavailable", "fleetctl cluster probe m1"),
        ("ClusterChanged", "ClusterChanged", "fleetctl cluster rejoin m1"),
        ("DuplicateCluster", "DuplicateCluster", "detach"),
        ("HubItself", "HubItself", "detach m1"),
    ] {
        let away = |s: &mut Snapshot| {
            let status = s.clusters[0].status.as_mut().unwrap();
            status.conditions =
                ["Joined", "Available"].map(|type_| Condition::new(type_, false, reason, "why")).into();
        };
        one(away, Error, code, mend);
    }
    let doubled = |s: &mut Snapshot| {
        s.clusters.push(member("m2"));
        s.secrets.push(secret("m2"));
        for cluster in &mut s.clusters {
            let claim = json!({"name": names::CLUSTER_ID_CLAIM, "value": "same"});
            let claim = serde_json::from_value(claim).unwrap();
            cluster.status.as_mut().unwrap().cluster_claims = vec![claim];
        }
    };
    one(doubled, Error, "DuplicateCluster", "detach m2, or m1");
    let ambiguous = |s: &mut Snapshot| {
        s.clusters.push(member("m2"));
        s.secrets.push(secret("m2"));
        s.clusters[1].annotations_mut().insert(names::CLUSTER_ALIAS.to_owned(), "m1".to_owned());
    };
    one(ambiguous, Warning, "AliasTaken", "fleetctl cluster alias m2");
    let none = |s: &mut Snapshot| {
        s.clusters.clear();
        s.secrets.clear();
    };
    one(none, Warning, "NoMembers", "fleetctl cluster join");
    let forbidden = |s: &mut Snapshot| {
        s.clusters.clear();
        s.secrets.clear();
        s.unread.push(("members".to_owned(), "forbidden".to_owned()));
    };
    let mut snapshot = well();
    forbidden(&mut snapshot);
    assert!(findings(&snapshot).iter().all(|found| found.code != "NoMembers"));
}

fn with(condition: Condition, phase: Phase) -> impl FnOnce(&mut Snapshot) {
    move |s: &mut Snapshot| {
        let mut changed = app(vec![condition]);
        changed.status.as_mut().unwrap().status = phase;
        s.applications = vec![changed];
    }
}

#[test]
fn applications_that_are_wrong() {
    let condition = |type_: &str, reason: &str, message: &str| Condition::new(type_, false, reason, message);
    let matches_none = condition("Rendered", "NoClusterMatches", "policy \"where\" matches no cluster");
    one(with(matches_none, Phase::Rendering), Error, "NotRendered", "fleetctl status web -n demo");
    let held = condition("Current", "HeldByPublishVersion", "");
    one(with(held, Phase::Running), Warning, "HeldByPublishVersion", "kubectl annotate app web -n demo");
    let failed = condition("Workflow", "FieldConflict", "step one: a conflict");
    one(with(failed, Phase::WorkflowFailed), Error, "RunFailed", "fleetctl workflow restart web -n demo");
    let drift = Condition::new("Healthy", true, "Drift", "ConfigMap a on m1 differs and is left so");
    one(with(drift, Phase::Running), Warning, "Drift", "take it up");
    let fight =
        Condition::new("Healthy", true, "Drift", "Deployment a on m1: somebody keeps changing spec.replicas");
    one(with(fight, Phase::Running), Warning, "DriftFight", "managed-fields");
    let sick = condition("Healthy", "Unhealthy", "front on m1: 0 of 2 ready");
    one(with(sick, Phase::Unhealthy), Warning, "Unhealthy", "fleetctl status");
}

fn walking(step: StepStatus) -> impl FnOnce(&mut Snapshot) {
    move |s: &mut Snapshot| {
        let status = s.applications[0].status.as_mut().unwrap();
        let run = "web-1".to_owned();
        status.workflow = Some(WorkflowStatus { run, steps: vec![step], ..WorkflowStatus::default() });
    }
}

#[test]
fn applications_that_wait() {
    let step = StepStatus { name: "two".to_owned(), phase: "suspending".to_owned(), ..StepStatus::default() };
    one(walking(step.clone()), Note, "WaitingForApproval", "fleetctl workflow resume web -n demo");
    let demanding = StepStatus {
        reason: "ApprovalsNotProved".to_owned(),
        message: "step two waits for approval: who approves can't be proved; look with: x".to_owned(),
        ..step.clone()
    };
    one(walking(demanding), Warning, "ApprovalsNotProved", "fleetctl workflow resume web -n demo");
    let target = TargetStatus {
        cluster: "m1".to_owned(),
        reason: "Unreachable".to_owned(),
        ..TargetStatus::default()
    };
    let acts = StepStatus { phase: "running".to_owned(), targets: vec![target], ..step };
    one(walking(acts), Warning, "WaitsForMember", "fleetctl cluster probe m1");
    let suspended = |s: &mut Snapshot| {
        walking(StepStatus::default())(s);
        s.applications[0].annotations_mut().insert(names::SUSPEND.to_owned(), "web-1".to_owned());
    };
    one(suspended, Note, "Suspended", "fleetctl workflow resume web -n demo");
}

/// A policy that tells this of itself.
fn policy(ready: &str, status: serde_json::Value) -> PolicyTold {
    let mut status = status;
    let ready = Condition::new("Ready", ready == "Delivered", ready, "no");
    status["conditions"] = match status.get("conditions") {
        Some(more) => json!([ready, more[0]]),
        None => json!([ready]),
    };
    let read = json!({"metadata": {"name": "web", "namespace": "demo"}, "status": status});
    PolicyTold::read("propagationpolicies.one.alibabacloud.com", &serde_json::from_value(read).unwrap())
}

/// Broken: a policy delivers nothing, and nothing is wrong; or what waits for people is called wrong; or the cause has to be
/// looked for elsewhere.
#[test]
fn policies_that_are_not_ready() {
    let about = "kubectl describe propagationpolicies.one.alibabacloud.com web -n demo";
    one(|s| s.policies.push(policy("Failed", json!({}))), Error, "PolicyNotReady", about);
    one(|s| s.policies.push(policy("Lost", json!({}))), Warning, "PolicyNotReady", "preemption: Always");
    one(|s| s.policies.push(policy("Invalid", json!({}))), Error, "PolicyNotReady", "kubectl edit");
    let mut waits = well();
    waits.policies = ["Pending", "Held", "StagedWaiting", "Delivered"].map(|r| policy(r, json!({}))).into();
    assert!(findings(&waits).is_empty());

    let hindered = json!({"claimed": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "demo", "name": "a", "places": [
            {"cluster": "m1", "phase": "Delivered"},
            {"cluster": "m2", "phase": "Failed", "reason": "ExistsAlready", "message": "it is somebody else's"}]}]});
    let told = found(|s| s.policies.push(policy("Failed", hindered)));
    assert!(told[0].message.contains("Deployment demo/a on m2: ExistsAlready: it is"), "{told:#?}");
}

/// Broken: what crashes everywhere is called well, or what is on its way is called wrong.
#[test]
fn policies_whose_objects_are_not_well() {
    let healthy =
        |reason: &str| json!({"conditions": [Condition::new("Healthy", false, reason, "2 of 2 fail")]});
    let told = |reason| move |s: &mut Snapshot| s.policies.push(policy("Delivered", healthy(reason)));
    one(told("Degraded"), Error, "PolicyUnhealthy", "kubectl describe");
    one(told("Unknown"), Warning, "PolicyUnhealthy", "kubectl describe");
    assert!(found(told("Progressing")).is_empty());
}

/// Broken: a kind that isn't there is told twice, or a second one not at all.
#[test]
fn why_nothing_is_selected_is_told_once() {
    let unknown = |at: usize| {
        json!({"severity": "Warning", "reason": "UnknownKind", "path": format!("spec.resourceSelectors[{at}].kind"),
            "message": "did you mean Deployment?"})
    };
    let told = found(|s| {
        s.policies.push(policy("MatchesNothing", json!({"problems": [unknown(0), unknown(1)]})));
    });
    let paths = ["resourceSelectors[0]", "resourceSelectors[1]"];
    for path in paths {
        let with = told.iter().filter(|told| told.message.contains(path)).count();
        assert_eq!(with, 1, "{path}: {told:#?}");
    }
}

/// Broken: a misspelt cluster in a policy that is ready otherwise is told nowhere.
#[test]
fn warnings_of_policies_that_are_ready() {
    let unknown = json!({"problems": [{"severity": "Warning", "reason": "UnknownCluster",
        "path": "spec.placement.clusterAffinity.clusterNames[1]", "message": "did you mean m1?"}]});
    let told = found(|s| s.policies.push(policy("Delivered", unknown)));
    assert_eq!((told.len(), told[0].code, told[0].severity), (1, "PolicyWarning", Warning), "{told:#?}");
    assert!(told[0].message.contains("clusterNames[1]: did you mean m1?"), "{told:#?}");
}

/// Broken: what a deleted policy left on a cluster that is down can be read nowhere.
#[test]
fn what_policies_left_behind() {
    let left = |cluster: &str| Leftovers {
        cluster: cluster.to_owned(),
        objects: ["a", "b", "c", "d"].map(|name| format!("Deployment demo/{name}")).into(),
        orphaned: false,
    };
    // Nobody waits for what doesn't leave.
    let stays = Leftovers { orphaned: true, ..left("m1") };
    one(|s| s.leftovers.push(stays), Warning, "PolicyKindMissing", "install the definition again");
    one(|s| s.leftovers.push(left("m1")), Note, "LeavesMember", "fleetctl why");
    let down = |s: &mut Snapshot| {
        s.clusters[0].status = None;
        s.leftovers.push(left("m1"));
    };
    let told = found(down);
    let told = told.iter().find(|finding| finding.code == "LeavesMember").unwrap();
    assert!(told.message.contains("Deployment demo/c and 1 more"), "{told:#?}");
    assert!(told.mend.contains("fleetctl cluster detach m1"), "{told:#?}");
    // Probing and detaching a member of the hub's own process are refused.
    let stopped = found(|s| {
        down(s);
        s.clusters[0].labels_mut().insert("fleetctl.dev/embedded".to_owned(), "true".to_owned());
    });
    let stopped = stopped.iter().find(|finding| finding.code == "LeavesMember").unwrap();
    assert_eq!(stopped.mend, "fleetctl local start m1");
    // Nobody sees by himself that what waits for it is held.
    let held = found(|s| {
        s.clusters[0].annotations_mut().insert(names::CORDONED.to_owned(), "racks".to_owned());
        s.leftovers.push(left("m1"));
    });
    let held = held.iter().find(|finding| finding.code == "LeavesMember").unwrap();
    assert!(held.message.contains("is cordoned"), "{held:#?}");
    assert_eq!(held.mend, "fleetctl cluster uncordon m1");
}

/// Broken: a policy that lost its object to an Application is told to raise its priority, which changes nothing.
#[test]
fn what_an_application_delivers_is_won_by_no_priority() {
    let lost = json!({"problems": [{"severity": "Warning", "reason": "OwnedByApplication",
        "path": "spec.resourceSelectors", "message": "Application demo/web refers to it"}]});
    let told = found(|s| s.policies.push(policy("Lost", lost)));
    let told = told.iter().find(|finding| finding.code == "PolicyNotReady").unwrap();
    assert!(!told.mend.contains("priority") && told.mend.contains("Application"), "{told:#?}");
}

#[test]
fn rules_that_cannot_be_used() {
    let broken = ("ConfigMap fleetctl-system/ours, a.yaml".to_owned(), "[0].rules[0].when: no".to_owned());
    let keys = broken.clone();
    one(|s| s.broken_health_rules.push(broken), Error, "HealthRulesUnusable", "docs/health.md");
    one(|s| s.broken_key_rules.push(keys), Error, "KeyRulesUnusable", "docs/propagation.md");
}

#[test]
fn deletions_that_are_stuck() {
    let deleting = |minutes: i64, finalizer: &str| {
        let finalizer = finalizer.to_owned();
        move |s: &mut Snapshot| {
            s.applications[0].metadata.deletion_timestamp = Some(Time(ago(minutes)));
            s.applications[0].metadata.finalizers = Some(vec![finalizer]);
        }
    };
    one(deleting(2, names::FINALIZER), Note, "Deleting", "wait");
    one(deleting(20, names::FINALIZER), Error, "DeletionStuck", "fleetctl delete web -n demo --force");
    one(deleting(2, "example.com/theirs"), Warning, "FinalizerOfOthers", "whoever set them");
}

/// What must be mended first is read first.
#[test]
fn the_worst_comes_first() {
    let all = found(|s| {
        walking(StepStatus { phase: "suspending".to_owned(), ..StepStatus::default() })(s);
        s.hub_time = Some(ago(5));
        s.secrets.clear();
    });
    let codes: Vec<&str> = all.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["NoCredentials", "ClocksDiffer", "WaitingForApproval"]);
}
