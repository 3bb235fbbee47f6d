//! Who changed what a run delivers, and approvals in somebody else's name.

use fleet_api::{Approval, Policy, Run, names};
use fleet_testkit::{Engine, Fleet};
use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::small::{app, config};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");
const MASTERS: &[&str] = &["system:masters"];

/// Applies a manifest to the hub as somebody.
async fn apply_as(fleet: &Fleet, user: &str, manifest: &Value) -> anyhow::Result<()> {
    let text = |at: &str| manifest.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
    let client = fleet.client_of(user, MASTERS);
    let api: Api<DynamicObject> = Api::namespaced_with(client, "demo", &resource);
    let params = PatchParams::apply(user).force();
    api.patch(text("/metadata/name"), &params, &Patch::Apply(manifest)).await?;
    Ok(())
}

/// What the server said.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// A run that forgets one of those who wrote what it delivers would let that one approve it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_says_who_wrote_what_it_delivers() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let mut settings = config("settings", "1");
    settings["metadata"]["annotations"] = json!({names::AUTHOR: "nobody-of-that-name"});
    apply_as(&fleet, "eve", &settings).await?;
    let policy = json!({
        "apiVersion": "core.oam.dev/v1alpha1", "kind": "Policy",
        "metadata": {"name": "there", "namespace": "demo"},
        "type": "topology", "properties": {"clusters": ["m1"]},
    });
    apply_as(&fleet, "ada", &policy).await?;
    let mut web = app(&[CONFIG], &["m1"]);
    web["spec"]["policies"] = json!([]);
    web["spec"]["workflow"] =
        json!({"steps": [{"name": "go", "type": "deploy", "properties": {"policies": ["there"]}}]});
    apply_as(&fleet, "bob", &web).await?;
    let app = fleet.wait_run("web", 1, "running").await?;
    let run = fleet.run_of(&app).await?;
    assert_eq!(run.spec.author.as_deref(), Some("bob"));
    assert_eq!(
        (run.spec.authors.as_slice(), run.spec.unattributed.len()),
        (&["ada", "bob", "eve"].map(String::from)[..], 0)
    );

    // The author stays on the hub.
    let there = fleet.get("m1", "v1", "ConfigMap", "settings").await?.unwrap_or_default();
    assert!(!there.to_string().contains(names::AUTHOR), "{there}");

    // Another author of the same content starts nothing; the next run names the new one.
    let note =
        json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}});
    fleet.merge("hub", "v1", "ConfigMap", "settings", &note).await?;
    let policies: Api<Policy> = Api::namespaced(fleet.client("hub"), "demo");
    let author = policies.get("there").await?.annotations().get(names::AUTHOR).cloned();
    assert_eq!(author.as_deref(), Some("ada"));
    apply_as(&fleet, "mia", &config("settings", "2")).await?;
    let app = fleet.wait_run("web", 2, "running").await?;
    let run = fleet.run_of(&app).await?;
    assert_eq!(run.spec.authors, ["ada", "bob", "mia"]);
    let runs: Api<Run> = Api::namespaced(fleet.client("hub"), "demo");
    assert_eq!(runs.list(&Default::default()).await?.items.len(), 2);
    engine.stop().await?;
    fleet.stop().await;
    Ok(())
}

/// The chart's own policies stand on the embedded hub: approvals name who makes them, who may approve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_approvals_are_refused() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[]).await?;
    let role = |name: &str, rules: Value| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
    let write = json!({"apiGroups": ["fleetctl.dev"], "resources": ["approvals", "runs"], "verbs": ["create", "patch", "update", "get"]});
    let approve = json!({"apiGroups": ["core.oam.dev"], "resources": ["applications"], "resourceNames": ["web"], "verbs": ["approve"]});
    fleet.apply("hub", &role("writer", json!([write.clone()]))).await?;
    fleet.apply("hub", &role("approver", json!([write, approve]))).await?;
    for (user, role) in [("wendy", "writer"), ("ann", "approver")] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": user, "namespace": "demo"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        fleet.apply("hub", &binding).await?;
    }
    let approval = |name: &str, app: &str, approver: &str, groups: &[&str]| {
        json!({"metadata": {"name": name}, "spec": {
            "application": app, "run": "r", "step": "s", "planHash": "h", "approver": approver, "groups": groups,
        }})
    };
    // Who asks, with which groups; what they write; what they are told, or nothing.
    let cases: [(&str, &[&str], Value, &str); 9] = [
        ("ann", &[], approval("a1", "web", "ann", &[]), ""),
        ("ann", &["ops"], approval("a2", "web", "ann", &["ops", "system:authenticated"]), ""),
        ("ann", &[], approval("a3", "web", "bob", &[]), "nobody approves in the name of another"),
        ("ann", &[], approval("a4", "web", "", &[]), "spec.approver is ''"),
        (
            "ann",
            &["ops"],
            approval("a5", "web", "ann", &["ops", "security"]),
            "a group that the user who asks isn't in",
        ),
        (
            "ann",
            &[],
            approval("a6", "other", "ann", &[]),
            "ann may not approve Application other in namespace demo",
        ),
        ("wendy", &[], approval("a7", "web", "wendy", &[]), "wendy may not approve Application web"),
        (
            "fleetctl-controller",
            MASTERS,
            approval("a8", "web", "fleetctl-controller", &[]),
            "approves nothing itself",
        ),
        ("root", MASTERS, approval("a9", "web", "root", &["system:masters"]), ""),
    ];
    for (user, groups, manifest, told) in cases {
        let api: Api<Approval> = Api::namespaced(fleet.client_of(user, groups), "demo");
        let made = api.create(&PostParams::default(), &serde_json::from_value(manifest.clone())?).await;
        match (made, told) {
            (Ok(_), "") => {}
            (Err(error), told) if !told.is_empty() => {
                let told_is = said(&error);
                assert!(
                    told_is.contains(told) && told_is.contains("approvals.fleetctl.dev"),
                    "{user} {manifest}: {told_is}"
                );
            }
            (other, told) => panic!("{user} {manifest}: {other:?}, but expected {told:?}"),
        }
    }
    // What was decided stays as it was decided; and records are the controller's.
    let api: Api<Approval> = Api::namespaced(fleet.client_of("ann", &[]), "demo");
    let change = json!({"spec": {"planHash": "another"}});
    let changed = api.patch("a1", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap_err();
    assert!(said(&changed).contains("an approval can't be changed"), "{changed}");
    let runs: Api<Run> = Api::namespaced(fleet.client_of("ann", &[]), "demo");
    let run = serde_json::from_value(json!({"metadata": {"name": "r"}, "spec": {
        "application": "web", "applicationUid": "u", "revision": "v", "number": 1, "cause": "Created",
    }}))?;
    let refused = runs.create(&PostParams::default(), &run).await.unwrap_err();
    assert!(
        said(&refused).contains("runs are the controller's records; ann may not write them"),
        "{refused}"
    );
    // Dry runs are judged as well.
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let forged = serde_json::from_value(approval("d", "web", "bob", &[]))?;
    assert!(api.create(&dry, &forged).await.is_err());
    fleet.stop().await;
    Ok(())
}
