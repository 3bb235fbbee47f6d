//! Who changed what a run delivers, and approvals in somebody else's name.

use std::time::Duration;

use fleet_api::{Approval, Policy, Run, names};
use fleet_controller::{AUTHORS_WEBHOOK, AuthorRecord, judge_authors_webhook};
use fleet_testkit::{Engine, Fleet};
use fleetctl::controller::authors::Webhook;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
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
    let expected = ["ada", "bob", "fleetctl-admin", "mia"];
    assert_eq!(run.spec.authors, expected, "eve's change was completed by the first run");
    assert_eq!(run.spec.changed_by.as_deref(), Some("mia"), "bob's Application is as it was");
    let runs: Api<Run> = Api::namespaced(fleet.client("hub"), "demo");
    assert_eq!(runs.list(&Default::default()).await?.items.len(), 2);
    engine.stop().await?;
    fleet.stop().await;
    Ok(())
}

/// Broken: somebody has a colleague, or an account of theirs, touch what they changed, and approves it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_touches_it_later_hides_nobody() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    apply_as(&fleet, "ada", &config("settings", "1")).await?;
    let mut web = app(&[CONFIG], &["m1"]);
    web["metadata"]["annotations"] = json!({names::PUBLISH_VERSION: "1"});
    apply_as(&fleet, "ada", &web).await?;
    fleet.wait_run("web", 1, "running").await?;
    // Edits that the annotation holds back start no run, so that no run has seen who made them.
    for (user, text) in [("rel", "evil"), ("bot", "evil"), ("bob", "evil")] {
        let mut settings = config("settings", text);
        settings["metadata"]["labels"] = json!({"touched-by": user});
        apply_as(&fleet, user, &settings).await?;
    }
    web["metadata"]["annotations"] = json!({names::PUBLISH_VERSION: "2"});
    web["spec"]["workflow"] = json!({"steps": [
        {"name": "go", "type": "deploy", "properties": {"policies": ["where"], "auto": false}}]});
    apply_as(&fleet, "bob", &web).await?;
    let waiting = fleet.wait_run("web", 2, "workflowSuspending").await?;
    let run = fleet.run_of(&waiting).await?;
    assert_eq!(run.spec.authors, ["bob", "bot", "rel"], "ada's were completed");
    // A run that ended otherwise has completed nothing.
    let mut settings = config("settings", "evil");
    settings["metadata"]["labels"] = json!({"touched-by": "mia"});
    apply_as(&fleet, "mia", &settings).await?;
    web["metadata"]["annotations"] = json!({names::PUBLISH_VERSION: "3"});
    apply_as(&fleet, "mia", &web).await?;
    let waiting = fleet.wait_run("web", 3, "workflowSuspending").await?;
    assert_eq!(fleet.run_of(&waiting).await?.spec.authors, ["bob", "bot", "mia", "rel"]);
    // Neither annotation reaches a member.
    fleet.approve(&waiting).await?;
    fleet.wait_run("web", 3, "running").await?;
    let there = fleet.get("m1", "v1", "ConfigMap", "settings").await?.unwrap_or_default();
    assert!(!there.to_string().contains(names::AUTHOR), "{there}");
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

/// A client that trusts what the configuration trusts, and nothing else.
fn asker(port: u16, trusted: &MutatingWebhookConfiguration) -> anyhow::Result<kube::Client> {
    let hook = trusted.webhooks.iter().flatten().next();
    let bundle = hook.and_then(|hook| hook.client_config.ca_bundle.clone()).unwrap_or_default();
    let mut config = kube::Config::new(format!("https://127.0.0.1:{port}").parse()?);
    let ders = CertificateDer::pem_slice_iter(&bundle.0).collect::<Result<Vec<_>, _>>()?;
    config.root_cert = Some(ders.iter().map(|der| der.to_vec()).collect());
    Ok(kube::Client::try_from(config)?)
}

/// What the API server would ask, and the patch that it is answered.
async fn asked(client: &kube::Client) -> anyhow::Result<Value> {
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": "CREATE", "userInfo": {"username": "mia"},
        "object": {"metadata": {"name": "web"}, "spec": {}},
    }});
    let request = http::Request::post("/authors").body(serde_json::to_vec(&review)?)?;
    Ok(client.request(request).await?)
}

/// The answer, once the replica has heard of its certificate.
async fn answered(client: &kube::Client) -> anyhow::Result<Value> {
    let answer = async {
        loop {
            match asked(client).await {
                Ok(answer) => return answer,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    Ok(tokio::time::timeout(Duration::from_secs(60), answer).await?)
}

/// API servers that can't reach a replica, or don't trust it, would let nobody change anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_answers_with_one_certificate() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[]).await?;
    let hub = fleet.client("hub");
    let text = include_str!("../../../../charts/fleetctl/files/webhook.yaml");
    let mut hooks = fleet_testkit::manifests::read(text)?;
    let mut hook = hooks.remove(0);
    hook["webhooks"][0]["clientConfig"] = json!({"url": "https://127.0.0.1:1/authors"});
    fleet.apply("hub", &hook).await?;
    let stop = tokio_util::sync::CancellationToken::new();
    let (mut ports, mut replicas) = (Vec::new(), tokio::task::JoinSet::new());
    for _ in 0..2 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        ports.push(listener.local_addr()?.port());
        let webhook = Webhook::new(hub.clone(), "demo", fleet.options().clock);
        replicas.spawn(webhook.serve(listener, stop.clone()));
    }
    let trusted = async |other_than: Option<&MutatingWebhookConfiguration>| {
        let bundle = |hook: &MutatingWebhookConfiguration| {
            hook.webhooks.iter().flatten().next().and_then(|hook| hook.client_config.ca_bundle.clone())
        };
        let before = other_than.and_then(bundle);
        let api: Api<MutatingWebhookConfiguration> = Api::all(hub.clone());
        let seen = kube::runtime::wait::await_condition(
            api,
            AUTHORS_WEBHOOK,
            |hook: Option<&MutatingWebhookConfiguration>| {
                hook.is_some_and(|hook| bundle(hook).is_some() && bundle(hook) != before)
            },
        );
        let seen = tokio::time::timeout(Duration::from_secs(60), seen).await??;
        anyhow::Ok(seen.unwrap_or_default())
    };
    let first = trusted(None).await?;
    assert_eq!(judge_authors_webhook(Some(&first)), AuthorRecord::Webhook);
    for port in &ports {
        let client = asker(*port, &first)?;
        let answer = answered(&client).await?;
        assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("u"), &json!(true)));
        assert!(answer["response"]["patch"].is_string(), "{answer}");
    }
    // Whoever takes the Secret away has everything made anew, for both.
    let secrets: Api<Secret> = Api::namespaced(hub.clone(), "demo");
    secrets.delete("fleetctl-webhook", &Default::default()).await?;
    let second = trusted(Some(&first)).await?;
    for port in &ports {
        let client = asker(*port, &second)?;
        answered(&client).await?;
    }
    assert!(asked(&asker(ports[0], &first)?).await.is_err(), "the first authority is trusted no more");
    stop.cancel();
    while let Some(ended) = replicas.join_next().await {
        ended?.map_err(anyhow::Error::msg)?;
    }
    fleet.stop().await;
    Ok(())
}
