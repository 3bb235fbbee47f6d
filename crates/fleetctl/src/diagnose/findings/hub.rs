//! The hub itself: definitions, controller, clocks, whether it is inert.

use fleet_api::{ManagedCluster, RolloutWindow};
use fleet_workflow::windows::Windows;
use kube::{CustomResourceExt as _, ResourceExt as _};
use serde_json::Value;

use super::Severity::{Error, Note, Warning};
use super::{Finding, Snapshot};
use crate::diagnose::snapshot::Definition;

/// How far clocks may be apart: approvals and deadlines are judged by the controller's.
const CLOCKS: i64 = 30;
/// How long a controller may take to look at something before it is missed.
const PATIENCE: i64 = 60;

pub(super) fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let mut all: Vec<Finding> =
        snapshot.definitions.iter().filter_map(|definition| of_definition(snapshot, definition)).collect();
    all.extend(of_controller(snapshot));
    all.extend(of_clocks(snapshot));
    all.extend(of_workloads(snapshot));
    all.extend(snapshot.broken_health_rules.iter().map(|(source, why)| of_health_rules(source, why)));
    all.extend(snapshot.broken_key_rules.iter().map(|(source, why)| of_key_rules(source, why)));
    for rival in &snapshot.rivals {
        all.push(Finding::new(
            Error,
            "AnotherController",
            "the hub",
            format!(
                "another controller of the same kinds is there, and each would undo the other's work: {rival}"
            ),
            "let one of them go; docs/moving-over.md has the way to move over",
        ));
    }
    all.extend(snapshot.windows.iter().filter_map(of_window));
    for (tracker, application) in &snapshot.lost_inventories {
        all.push(Finding::new(
            Warning,
            "InventoryWithoutApplication",
            format!("resourcetracker {tracker}"),
            format!("the Application {application} is gone, and what it delivered may still be on the members"),
            format!(
                "delete what it lists, then: kubectl delete resourcetracker {tracker}; or create the Application anew \
                 and delete it with: {} delete",
                snapshot.called
            ),
        ));
    }
    all
}

/// Health rules that nobody can be judged by.
fn of_health_rules(source: &str, why: &str) -> Finding {
    let message = format!("these health rules aren't used: {why}");
    let mend = "mend the entry; until then objects of its kind are Unknown, and steps wait for them (docs/health.md)";
    Finding::new(Error, "HealthRulesUnusable", source.to_owned(), message, mend.to_owned())
}

fn of_key_rules(source: &str, why: &str) -> Finding {
    let message = format!("these rules of labels and annotations aren't used: {why}");
    let mend = "mend the entry; until then the hub sends what it names, as if nothing had been said (docs/propagation.md)";
    Finding::new(Error, "KeyRulesUnusable", source.to_owned(), message, mend.to_owned())
}

/// One that can't be read holds everything that it may be about.
fn of_window(window: &RolloutWindow) -> Option<Finding> {
    let why = Windows::of_fleet(&window.spec).err()?;
    let name = window.name_any();
    let message = format!("it can't be read, and until it can nothing begins that it may be about: {why}");
    let mend = format!("kubectl edit rolloutwindow {name}");
    Some(Finding::new(Error, "InvalidRolloutWindow", format!("rolloutwindow {name}"), message, mend))
}

fn of_definition(snapshot: &Snapshot, definition: &Definition) -> Option<Finding> {
    let about = format!("customresourcedefinition {}", definition.name());
    let install = format!("{} install --no-controller", snapshot.called);
    let Some(found) = &definition.found else {
        let message = "it isn't there, so no object of the kind can be";
        return Some(Finding::new(Error, "DefinitionMissing", about, message, install));
    };
    let version =
        |crd: &Value| crd.pointer("/spec/versions/0/name").and_then(Value::as_str).map(str::to_owned);
    let served = |name: &str| {
        let versions = found.pointer("/spec/versions").and_then(Value::as_array);
        versions.into_iter().flatten().find(|v| v["name"] == name && v["served"] == true).cloned()
    };
    let wanted = version(&definition.wanted)?;
    let Some(there) = served(&wanted) else {
        let message = format!("it doesn't serve {wanted}, the version that this program speaks");
        return Some(Finding::new(Error, "DefinitionVersion", about, message, install));
    };
    if !is_established(found) {
        let message = "the hub hasn't established it; another definition may have taken its names";
        let mend = format!("kubectl describe crd {}", definition.name());
        return Some(Finding::new(Error, "DefinitionNotEstablished", about, message, mend));
    }
    let schema =
        |version: Option<&Value>| version.and_then(|v| v.pointer("/schema/openAPIV3Schema")).cloned();
    if schema(Some(&there)) == schema(definition.wanted.pointer("/spec/versions/0")) {
        return None;
    }
    let shared = definition.name() == ManagedCluster::crd().name_any();
    Some(match owner(found) {
        // Open Cluster Management has the same kind; what is missing there is left out.
        Some(owner) if shared => Finding::new(
            Note,
            "DefinitionShared",
            about,
            format!("it belongs to {owner} and is used as it is"),
            "nothing to do",
        ),
        Some(owner) => Finding::new(
            Error,
            "DefinitionOfOthers",
            about,
            format!(
                "it belongs to {owner} and differs from ours: another controller of the same kinds may run here"
            ),
            "use another hub, or move over: docs/moving-over.md",
        ),
        None => Finding::new(
            Warning,
            "DefinitionDiffers",
            about,
            "it was made by another version of this program: fields that it doesn't know are dropped",
            format!("use the same version here and there, or bring the hub up to date: {install}"),
        ),
    })
}

fn is_established(crd: &Value) -> bool {
    let conditions = crd.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|c| c["type"] == "Established" && c["status"] == "True")
}

/// The helm release or the label that says whose it is, where it isn't ours.
fn owner(crd: &Value) -> Option<String> {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str);
    let release = text("/metadata/annotations/meta.helm.sh~1release-name")
        .map(|name| format!("the helm release {name}"));
    let label = text("/metadata/labels/app.kubernetes.io~1name");
    if label == Some("fleetctl") {
        return None;
    }
    release.or_else(|| label.map(str::to_owned)).or_else(|| {
        let managers = crd.pointer("/metadata/managedFields").and_then(Value::as_array)?;
        let names: Vec<&str> = managers.iter().filter_map(|entry| entry["manager"].as_str()).collect();
        let ours = |name: &&&str| {
            ["fleetctl", "kube-apiserver", "kubectl", "helm"].iter().any(|o| name.starts_with(o))
        };
        (!names.is_empty() && !names.iter().any(|name| ours(&name)))
            .then(|| format!("whoever writes as {:?}", names.first().copied().unwrap_or_default()))
    })
}

fn of_controller(snapshot: &Snapshot) -> Option<Finding> {
    let alive: Vec<&str> = snapshot
        .leases
        .iter()
        .filter(|holder| holder.is_alive(snapshot.now))
        .map(|holder| holder.identity.as_str())
        .collect();
    let waits = |seconds: i64| {
        let unseen = snapshot.applications.iter().filter(|app| {
            let seen = app.status.as_ref().map_or(0, |status| status.observed_generation);
            let made = app.creation_timestamp().map_or(snapshot.now, |time| time.0);
            seen < app.metadata.generation.unwrap_or_default()
                && snapshot.now.duration_since(made).as_secs() > seconds
        });
        unseen.count()
    };
    let (unseen, all) = (waits(PATIENCE), snapshot.applications.len());
    let start = format!(
        "kubectl get pods -n {} shows one that was installed; else: {} install, or in a terminal: {} controller",
        fleet_api::names::SYSTEM_NAMESPACE,
        snapshot.called,
        snapshot.called
    );
    if let Some(last) = snapshot.leases.first().filter(|_| alive.is_empty()) {
        let renewed = last.renewed.map_or_else(|| "never".to_owned(), |renewed| renewed.to_string());
        let message =
            format!("no controller runs: {} was the last, its Lease was renewed {renewed}", last.identity);
        return Some(Finding::new(Error, "ControllerNotRunning", "the controller", message, start));
    }
    if alive.is_empty() && all > 0 && unseen == all {
        let message =
            format!("no controller runs: no Lease is held, and none of {all} Applications was looked at");
        return Some(Finding::new(Error, "ControllerNotRunning", "the controller", message, start));
    }
    (unseen > 0).then(|| {
        let message = format!(
            "{unseen} of {all} Applications weren't looked at since their last edit; it may be busy, or watch other namespaces"
        );
        let mend = "see fleetctl_queue_length and fleetctl_turns_total at its /metrics, and its log (--watch-namespaces?)";
        Finding::new(Warning, "ControllerBehind", "the controller", message, mend)
    })
}

fn of_clocks(snapshot: &Snapshot) -> Option<Finding> {
    let apart = snapshot.hub_time?.duration_since(snapshot.now).as_secs();
    (apart.abs() > CLOCKS).then(|| {
        let which = if apart > 0 { "ahead of" } else { "behind" };
        let message = format!("the hub's clock is {} s {which} this machine's", apart.abs());
        let mend = "set both by NTP: times in status, deadlines and certificates are read by these clocks";
        Finding::new(Warning, "ClocksDiffer", "clocks", message, mend)
    })
}

/// What to do about a hub that isn't inert.
const WAYS_OUT: &str = "use a hub without workload controllers, the stand-alone API server (fleetctl local up), \
    or write the objects into the Application (type k8s-objects): docs/hub.md";

pub(crate) fn of_workloads(snapshot: &Snapshot) -> Vec<Finding> {
    use crate::diagnose::snapshot::Standing;
    let mut all = Vec::new();
    for reference in snapshot.references.iter().filter(|reference| reference.is_workload()) {
        let about = format!("{} {}/{}", reference.kind.to_lowercase(), reference.namespace, reference.name);
        let app = &reference.application;
        let found = match (reference.found, snapshot.controller_manager) {
            (Some(Standing::Acted), _) => Some((
                Warning,
                format!(
                    "the Application {app} refers to it, and a controller on the hub has taken it up: its pods run on the hub, too"
                ),
            )),
            (Some(Standing::Inert), true) => Some((
                Warning,
                format!(
                    "the Application {app} refers to it, and a kube-controller-manager runs on the hub: it will start pods there"
                ),
            )),
            _ => None,
        };
        all.extend(found.map(|(severity, message)| {
            Finding::new(severity, "WorkloadStartsOnHub", about, message, WAYS_OUT)
        }));
    }
    all
}
