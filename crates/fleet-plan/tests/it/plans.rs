//! One behaviour of plans and of drift at a time.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{Target, names};
use fleet_plan::{
    Action, ActionKind, Claim, PlanInput, ResourcePolicies, TargetInput, Wave, drift, namespace_object, plan,
    wave,
};
use serde_json::{Value, json};

use crate::site::{
    DELIVERY, Site, config, crd, deployment, here, id, plan_here, plan_of, policies, prepared, prepared_with,
    role, secret,
};

fn names_of(actions: &[Action]) -> Vec<(ActionKind, String)> {
    actions.iter().map(|action| (action.kind, action.id.to_string())).collect()
}

#[test]
fn objects_are_put_into_their_target() {
    let mut written = deployment("web-demo", "web:1");
    written["metadata"]["namespace"] = json!("elsewhere");
    let prepared = prepared(&[written, role("reader")], &here());
    let labels = &prepared[0].object["metadata"]["labels"];
    assert_eq!(prepared[0].object["metadata"]["namespace"], "demo");
    assert_eq!(prepared[0].id, id("apps/v1", "Deployment", "demo", "web-demo"));
    assert_eq!(labels[names::APP_NAME], "web-demo");
    assert_eq!(labels[names::OWNER], "0123456789");
    assert_eq!(labels[names::CONTENT], prepared[0].content.short());
    assert_eq!(prepared[1].id, id("rbac.authorization.k8s.io/v1", "ClusterRole", "", "reader"));
    assert!(prepared[1].object["metadata"].get("namespace").is_none());
}

// Broken: a label in the pod template would restart every pod whenever anything of the object changes.
#[test]
fn pod_templates_are_left_alone() {
    let prepared = prepared(&[deployment("web-demo", "web:1")], &here());
    assert_eq!(prepared[0].object["spec"], deployment("web-demo", "web:1")["spec"]);
    assert!(prepared[0].object["metadata"].get("annotations").is_none());
}

#[test]
fn a_missing_namespace_is_marked_as_ours() {
    let made = namespace_object(&here(), &DELIVERY);
    assert_eq!(made.id, id("v1", "Namespace", "", "demo"));
    assert_eq!(made.object["metadata"]["labels"][names::OWNER], "0123456789");
}

#[test]
fn new_changed_same_and_gone_are_told_apart() {
    let site = Site {
        rendered: vec![
            deployment("new", "web:1"),
            deployment("changed", "web:2"),
            deployment("same", "web:1"),
        ],
        delivered: vec![
            deployment("changed", "web:1"),
            deployment("same", "web:1"),
            deployment("gone", "web:1"),
        ],
        owned: ["new", "changed", "same", "gone"]
            .map(|name| id("apps/v1", "Deployment", "demo", name))
            .to_vec(),
        ..Site::default()
    };
    let plan = plan_here(site, &policies(&[]));
    let of = |kind, name: &str| (kind, format!("Deployment demo/{name}"));
    assert_eq!(
        names_of(&plan.targets[0].actions),
        [
            of(ActionKind::Create, "new"),
            of(ActionKind::Change, "changed"),
            of(ActionKind::Keep, "same"),
            of(ActionKind::Delete, "gone")
        ]
    );
    assert_eq!(plan.summary(), "1 to create, 1 to change, 1 to delete on mc-bj1/demo");
    let change = &plan.targets[0].actions[1].changes;
    assert_eq!(change.len(), 1, "our own content label is no change: {change:?}");
    assert_eq!(change[0].path.to_dotted(), "spec.template.spec.containers[name=\"web\"].image");
    assert_eq!((&change[0].from, &change[0].to), (&Some(json!("web:1")), &Some(json!("web:2"))));
}

// Broken: an object is applied before what it needs, or a namespace is deleted before what stands in it.
#[test]
fn waves_go_forward_for_applies_and_back_for_deletes() {
    let all =
        || vec![deployment("web", "web:1"), config("settings", "x"), crd("apps.example.org"), role("reader")];
    let site = Site { rendered: all(), ..Site::default() };
    let kinds = |actions: &[Action]| actions.iter().map(|a| a.id.kind.clone()).collect::<Vec<_>>();
    let applied = kinds(&plan_here(site, &policies(&[])).targets[0].actions);
    assert_eq!(applied, ["Namespace", "CustomResourceDefinition", "ConfigMap", "ClusterRole", "Deployment"]);
    let owned = prepared(&all(), &here()).into_iter().map(|desired| desired.id).collect();
    let deleted = kinds(&plan_here(Site { owned, ..Site::default() }, &policies(&[])).targets[0].actions);
    assert_eq!(deleted, ["Deployment", "ClusterRole", "ConfigMap", "CustomResourceDefinition"]);
}

#[test]
fn the_wave_of_a_kind_follows_from_group_and_kind() {
    for (api_version, kind, expected) in [
        ("v1", "Namespace", Wave::Namespaces),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", Wave::Definitions),
        ("v1", "Secret", Wave::Configuration),
        ("v1", "PersistentVolumeClaim", Wave::Configuration),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", Wave::Configuration),
        ("networking.k8s.io/v1", "NetworkPolicy", Wave::Configuration),
        ("networking.k8s.io/v1", "Ingress", Wave::Rest),
        ("v1", "Service", Wave::Rest),
        ("example.org/v1", "Namespace", Wave::Rest),
        ("example.org/v1", "Secret", Wave::Rest),
    ] {
        assert_eq!(wave(&id(api_version, kind, "", "x")), expected, "{api_version} {kind}");
    }
}

#[test]
fn deletes_wait_for_the_last_step_of_a_target() {
    let owned = vec![id("v1", "ConfigMap", "demo", "old")];
    let site = Site { owned, not_last: true, ..Site::default() };
    assert_eq!(plan_here(site, &policies(&[])).count(ActionKind::Delete), 0);
}

#[test]
fn what_other_steps_deliver_stays() {
    let owned = vec![id("v1", "ConfigMap", "demo", "theirs"), id("v1", "ConfigMap", "demo", "old")];
    let site = Site { owned, kept: vec![id("v1", "ConfigMap", "demo", "theirs")], ..Site::default() };
    let plan = plan_here(site, &policies(&[]));
    let deleted: Vec<_> = plan.targets[0].deletes().map(|action| action.id.name.as_str()).collect();
    assert_eq!(deleted, ["old"]);
}

// Broken: an object that only moved to another version of its API is deleted.
#[test]
fn another_api_version_is_the_same_object() {
    let mut newer = deployment("web", "web:1");
    newer["apiVersion"] = json!("apps/v2");
    let site = Site {
        rendered: vec![newer],
        delivered: vec![deployment("web", "web:1")],
        owned: vec![id("apps/v1", "Deployment", "demo", "web")],
        ..Site::default()
    };
    let plan = plan_here(site, &policies(&[]));
    assert_eq!((plan.count(ActionKind::Delete), plan.count(ActionKind::Change)), (0, 1));
}

// Broken: an application that moves to another namespace deletes what has no namespace and was just delivered.
#[test]
fn a_cluster_wide_object_that_another_target_delivers_stays() {
    let left = Site {
        owned: vec![id("rbac.authorization.k8s.io/v1", "ClusterRole", "", "reader")],
        ..Site::default()
    };
    let new = Site { rendered: vec![role("reader")], ..Site::default() };
    let plan =
        plan_of(&[(Target::new("mc-bj1", "new"), new), (Target::new("mc-bj1", "old"), left)], &policies(&[]));
    assert_eq!(plan.count(ActionKind::Delete), 0);
    let left = Site {
        owned: vec![id("rbac.authorization.k8s.io/v1", "ClusterRole", "", "reader")],
        ..Site::default()
    };
    let new = Site { rendered: vec![role("reader")], ..Site::default() };
    let elsewhere =
        plan_of(&[(Target::new("mc-bj2", "new"), new), (Target::new("mc-bj1", "old"), left)], &policies(&[]));
    assert_eq!(elsewhere.count(ActionKind::Delete), 1, "another cluster's object is another object");
}

#[test]
fn a_namespace_that_was_made_is_no_delete_of_the_plan() {
    let site = Site { made_namespace: true, ..Site::default() };
    assert_eq!(plan_here(site, &policies(&[])).count(ActionKind::Delete), 0);
}

fn recreates(fields: Value, before: Value, after: Value) -> bool {
    let rule = json!({ "rules": [{ "selector": { "resourceTypes": ["Deployment"] }, "strategy": { "recreateFields": fields } }] });
    let site = Site { rendered: vec![after], delivered: vec![before], ..Site::default() };
    plan_here(site, &policies(&[("resource-update", rule)])).targets[0].actions[0].recreate
}

// Broken: something is deleted and created anew that nobody allowed, or an allowed one fails as immutable.
#[test]
fn recreating_follows_the_fields_that_change() {
    let plain = || deployment("web", "web:1");
    let with = |pointer: &str, value: Value| {
        let mut object = plain();
        object["spec"][pointer] = value;
        object
    };
    let selector = || with("selector", json!({ "matchLabels": { "app": "web" } }));
    assert!(recreates(json!(["spec.selector"]), plain(), selector()), "the field comes");
    assert!(
        recreates(json!(["spec.selector.matchLabels"]), plain(), selector()),
        "it comes with what holds it"
    );
    assert!(recreates(json!(["spec"]), plain(), selector()), "something below it comes");
    assert!(recreates(json!(["*"]), plain(), deployment("web", "web:2")), "any field");
    assert!(!recreates(json!(["spec.selector"]), plain(), deployment("web", "web:2")));
    assert!(
        !recreates(json!(["spec.selector.matchExpressions"]), plain(), selector()),
        "its neighbour comes"
    );
    assert!(!recreates(json!(["*"]), plain(), plain()), "nothing changes");
}

#[test]
fn a_secret_shows_keys_only() {
    let mut before = secret("db", &json!({ "user": "c2VjcmV0LWE=", "gone": "c2VjcmV0LWI=" }));
    before["metadata"]["annotations"] =
        json!({ "kubectl.kubernetes.io/last-applied-configuration": "c2VjcmV0LWE=" });
    let after = secret("db", &json!({ "user": "c2VjcmV0LWM=", "new": "c2VjcmV0LWQ=" }));
    let site = Site { rendered: vec![after], delivered: vec![before], ..Site::default() };
    let text = serde_json::to_string(&plan_here(site, &policies(&[]))).unwrap();
    for key in ["data.user", "data.gone", "data.new", "<hidden>"] {
        assert!(text.contains(key), "{key} isn't in {text}");
    }
    assert!(!text.contains("c2VjcmV0"), "{text}");
}

#[test]
fn only_quantities_are_compared_as_quantities() {
    let object = |limit: &str, env: &str, note: &str| {
        json!({ "metadata": { "annotations": { "note": note } }, "spec": { "template": { "spec": { "containers": [
            { "name": "web", "resources": { "limits": { "cpu": limit } }, "env": [{ "name": "SIZE", "value": env }] }] } } } })
    };
    let deployment = id("apps/v1", "Deployment", "demo", "web");
    let found = |live: &Value| {
        let drift = drift(&deployment, &object("1000m", "1000m", "1000m"), live);
        drift.into_iter().map(|drift| drift.path.to_dotted()).collect::<Vec<_>>()
    };
    assert!(found(&object("1", "1000m", "1000m")).is_empty());
    assert_eq!(found(&object("2", "1000m", "1000m")).len(), 1);
    assert_eq!(found(&object("1", "1", "1000m")).len(), 1, "an environment variable is a text");
    assert_eq!(found(&object("1", "1000m", "1")).len(), 1, "an annotation is a text");
}

#[test]
fn a_field_that_is_gone_is_drift_unless_it_was_empty() {
    let deployment = id("apps/v1", "Deployment", "demo", "web");
    let delivered = json!({ "spec": { "paused": false, "args": [], "template": {} } });
    let found = drift(&deployment, &delivered, &json!({ "spec": { "replicas": 3 } }));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].path.to_dotted().as_str(), &found[0].live), ("spec.paused", &None));
}

// Broken: a policy keeps an object from being deleted with a new revision, and it is deleted all the same.
#[test]
fn garbage_collection_policies_hold_deletes_back() {
    for (strategy, expected) in [("onAppUpdate", 1), ("onAppDelete", 0), ("never", 0)] {
        let rule = json!({ "selector": { "resourceTypes": ["ConfigMap"] }, "strategy": strategy });
        let site = Site { owned: vec![id("v1", "ConfigMap", "demo", "old")], ..Site::default() };
        let plan = plan_here(site, &policies(&[("garbage-collect", json!({ "rules": [rule] }))]));
        assert_eq!(plan.count(ActionKind::Delete), expected, "{strategy}");
    }
}

fn read_only(selector: Value) -> ResourcePolicies {
    policies(&[("read-only", json!({ "rules": [{ "selector": selector }] }))])
}

// Broken: what somebody else owns is sent, or makes a namespace.
#[test]
fn what_is_read_only_is_looked_at() {
    let site = Site { rendered: vec![config("theirs", "x")], ..Site::default() };
    let plan = plan_here(site, &read_only(json!({ "resourceNames": ["theirs"] })));
    let looked_at = (ActionKind::Observe, "ConfigMap demo/theirs".to_owned());
    assert_eq!(names_of(&plan.targets[0].actions), [looked_at]);
    assert_eq!(plan.summary(), "nothing to change on mc-bj1/demo");
    let desired =
        prepared_with(&[config("theirs", "x")], &here(), &read_only(json!({ "resourceNames": ["theirs"] })));
    let identity = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "theirs", "namespace": "demo" } });
    assert_eq!((desired[0].claim, &*desired[0].object), (Claim::Observe, &identity));
}

// Broken: an object is deleted that somebody just said is to be left alone.
#[test]
fn what_becomes_read_only_is_released() {
    for rendered in [vec![config("theirs", "x")], vec![]] {
        let owned = vec![id("v1", "ConfigMap", "demo", "theirs"), id("v1", "ConfigMap", "demo", "old")];
        let delivered = vec![config("theirs", "x"), config("old", "x")];
        let still_there = rendered.len();
        let site = Site { rendered, delivered, owned, ..Site::default() };
        let plan = plan_here(site, &read_only(json!({ "resourceNames": ["theirs"] })));
        let leaves: Vec<_> = plan.targets[0].leaves().cloned().collect();
        assert_eq!(
            names_of(&leaves),
            [
                (ActionKind::Delete, "ConfigMap demo/old".to_owned()),
                (ActionKind::Release, "ConfigMap demo/theirs".to_owned())
            ]
        );
        assert_eq!(plan.count(ActionKind::Observe), still_there);
        assert_eq!(plan.summary(), "1 to delete, 1 to release on mc-bj1/demo");
    }
}

// Broken: an object of somebody else's counts as delivered before, and its first delivery as a change.
#[test]
fn what_was_read_only_is_created() {
    let rendered = vec![config("mine", "x")];
    let site = Site { rendered: rendered.clone(), delivered: rendered, ..Site::default() };
    let before = read_only(json!({ "resourceNames": ["mine"] }));
    let previous = prepared_with(&site.delivered, &here(), &before);
    assert_eq!(previous[0].claim, Claim::Observe);
    let desired = prepared(&site.rendered, &here());
    let input = TargetInput {
        target: here(),
        desired: &desired,
        previous: &previous,
        inventory: None,
        last: true,
        kept: &BTreeSet::new(),
    };
    let policies = ResourcePolicies::default();
    let made = plan(&PlanInput {
        step: "ship",
        targets: vec![input],
        policies: &policies,
        component_types: &BTreeMap::new(),
        keeps_deleted: false,
    });
    assert_eq!((made.count(ActionKind::Create), made.count(ActionKind::Ensure)), (1, 1));
}
