//! When a run starts, what it is bound to, and what outlives an Application.

use fleet_api::{Application, ApplicationRevision, ManagedCluster, ResourceTracker, names};
use fleet_testkit::{Engine, Fleet};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};

use crate::small::{all_runs, annotate, app, config, deployment, gated, message, runs, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");
const APPLICATION: &str = "core.oam.dev/v1beta1";

fn trait_definition(namespace: &str, replicas: &str) -> Value {
    json!({"apiVersion": APPLICATION, "kind": "TraitDefinition", "metadata": {"name": "scaler", "namespace": namespace},
        "spec": {"appliesToWorkloads": ["deployments.apps"], "schematic": {"fleet": {
            "parameters": {"type": "object", "properties": {"replicas": {"type": "integer", "default": 1}}},
            "patchType": "merge", "patch": {"spec": {"replicas": replicas}}}}}})
}

async fn replicas(fleet: &Fleet) -> anyhow::Result<Option<Value>> {
    let found = fleet.get("m1", "apps/v1", "Deployment", "web").await?;
    Ok(found.and_then(|d| d.pointer("/spec/replicas").cloned()))
}

/// A definition that changes on the hub starts nothing, whatever else happens; a restart takes it up, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_are_pinned_until_a_restart() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let system = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vela-system"}});
    fleet.apply("hub", &system).await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let mut manifest = app(&[("apps/v1", "Deployment", "web")], &["m1"]);
    manifest["spec"]["components"][0]["traits"] = json!([{"type": "scaler", "properties": {"replicas": 3}}]);
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "running").await?;
    fleet.apply("hub", &trait_definition("vela-system", "${parameter.replicas + 4}")).await?;
    // Something that makes it look again, and renders the same.
    manifest["spec"]["policies"][0]["name"] = json!("renamed");
    manifest["spec"]["workflow"] = json!({"steps": [
        {"name": "deploy-where", "type": "deploy", "properties": {"policies": ["renamed"]}}], "mode": {"steps": "DAG"}});
    let generation = fleet.apply("hub", &manifest).await?.metadata.generation;
    let seen = |app: &Application| app.status.as_ref().map(|status| status.observed_generation) == generation;
    fleet.wait("web", seen).await?;
    assert_eq!((all_runs(&fleet).await?.len(), replicas(&fleet).await?), (1, Some(json!(3))));
    annotate(&fleet, json!({names::RESTART: "1"})).await?;
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(replicas(&fleet).await?, Some(json!(7)));
    // Another look finds nothing new.
    manifest["spec"]["workflow"]["steps"][0]["properties"]["policies"] = json!(["renamed", "renamed"]);
    fleet.apply("hub", &config("noise", "1")).await?;
    annotate(&fleet, json!({"note": "x"})).await?;
    let api: Api<ManagedCluster> = Api::all(fleet.client("hub"));
    let labels = kube::api::Patch::Merge(json!({"metadata": {"labels": {"looked": "again"}}}));
    api.patch("m1", &Default::default(), &labels).await?;
    let marker = {
        let mut second = app(&[("v1", "ConfigMap", "noise")], &["m1"]);
        second["metadata"]["name"] = json!("second");
        second
    };
    fleet.apply("hub", &marker).await?;
    fleet.wait_phase("second", "running").await?;
    assert_eq!(runs(&fleet, "web").await?.len(), 2, "the restart is answered once");
    engine.stop().await?;
    Ok(())
}

/// A definition that comes after the Application that uses it, or is mended after it, is taken up when it comes.
/// Broken: `kubectl apply -f` of a folder leaves an Application at "unknown" until somebody edits it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_comes_late_is_taken_up() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let mut manifest = app(&[("apps/v1", "Deployment", "web")], &["m1"]);
    manifest["spec"]["components"][0]["traits"] = json!([{"type": "wider", "properties": {"replicas": 3}}]);
    fleet.apply("hub", &manifest).await?;
    let conditions = |app: &Application| {
        let conditions = app.status.iter().flat_map(|status| &status.conditions);
        conditions.map(|condition| condition.message.clone()).collect::<String>()
    };
    fleet.wait("web", |app| conditions(app).contains("wider")).await?;
    let mut definition = trait_definition("demo", "${parameter.replicas + }");
    definition["metadata"]["name"] = json!("wider");
    fleet.apply("hub", &definition).await?;
    fleet.wait("web", |app| conditions(app).contains("its definition can't be used")).await?;
    definition["spec"]["schematic"]["fleet"]["patch"]["spec"]["replicas"] =
        json!("${parameter.replicas + 4}");
    fleet.apply("hub", &definition).await?;
    fleet.wait_phase("web", "running").await?;
    assert_eq!(replicas(&fleet).await?, Some(json!(7)));
    engine.stop().await
}

/// What was lost with a watch of the hub is told as if it had come by it.
/// Broken: a policy goes while the watch is interrupted, and nobody who names it is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_while_a_watch_is_interrupted_is_told() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let policy = json!({"apiVersion": "core.oam.dev/v1alpha1", "kind": "Policy",
        "metadata": {"name": "there", "namespace": "demo"}, "type": "topology", "properties": {"clusters": ["m1"]}});
    fleet.apply("hub", &policy).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut manifest = app(&[("v1", "ConfigMap", "settings")], &["m1"]);
    manifest["spec"]["policies"] = json!([]);
    manifest["spec"]["workflow"] =
        json!({"steps": [{"name": "go", "type": "deploy", "properties": {"policies": ["there"]}}]});
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "running").await?;
    engine.hub.hush("policies");
    fleet.resource("hub", &policy).await?.delete("there", &Default::default()).await?;
    engine.hub.miss();
    let missed = |app: &Application| {
        let mut conditions = app.status.iter().flat_map(|status| &status.conditions);
        conditions.any(|condition| condition.message.contains("there is no policy \"there\""))
    };
    fleet.wait("web", missed).await?;
    engine.stop().await
}

/// Definitions are the administrators' in their namespaces, a tenant's own in its own, and nobody else's: whoever may
/// write one in some namespace doesn't decide what others deliver.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_counts_in_its_own_namespace() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    for namespace in ["elsewhere", "fleetctl-system"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        fleet.apply("hub", &namespace).await?;
    }
    fleet.apply("hub", &trait_definition("elsewhere", "${parameter.replicas + 100}")).await?;
    let mut engine = Engine::start(&fleet);
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let mut manifest = app(&[("apps/v1", "Deployment", "web")], &["m1"]);
    manifest["spec"]["components"][0]["traits"] = json!([{"type": "scaler", "properties": {"replicas": 1}}]);
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "running").await?;
    assert_eq!(replicas(&fleet).await?, Some(json!(1)), "a stranger's definition counts");
    for (number, namespace, more) in [(2, "fleetctl-system", 1), (3, "demo", 2)] {
        // Seen before the restart: two watches keep no order between them.
        engine.stop().await?;
        fleet
            .apply("hub", &trait_definition(namespace, &format!("${{parameter.replicas + {more}}}")))
            .await?;
        annotate(&fleet, json!({names::RESTART: number.to_string()})).await?;
        engine = Engine::start(&fleet);
        fleet.wait_run("web", number, "running").await?;
        assert_eq!(replicas(&fleet).await?, Some(json!(1 + more)), "{namespace}");
    }
    engine.stop().await?;
    Ok(())
}

/// publishVersion set back to an older value starts a run of what the spec says now; going back to older content
/// uses the revision of that content.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_version_set_back_starts_a_run() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut manifest = app(&[CONFIG], &["m1"]);
    manifest["metadata"]["annotations"] = json!({names::PUBLISH_VERSION: "v1"});
    fleet.apply("hub", &manifest).await?;
    fleet.wait_run("web", 1, "running").await?;
    for (number, content, version) in [(2, "2", "v2"), (3, "1", "v1")] {
        fleet.apply("hub", &config("settings", content)).await?;
        let held = fleet.wait("web", |app| message(app).contains("publishVersion")).await?;
        assert_eq!(held.status.as_ref().map(|s| s.status.as_str()), Some("running"));
        let conditions = held.status.iter().flat_map(|status| &status.conditions);
        assert!(conditions.into_iter().any(|c| c.type_ == "Current" && c.reason == "HeldByPublishVersion"));
        annotate(&fleet, json!({names::PUBLISH_VERSION: version})).await?;
        fleet.wait_run("web", number, "running").await?;
        assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!(content)));
    }
    let revisions: Vec<String> = all_runs(&fleet).await?.into_iter().map(|run| run.spec.revision).collect();
    assert_eq!(revisions[0], revisions[2]);
    assert_ne!(revisions[0], revisions[1]);
    engine.stop().await?;
    Ok(())
}

/// A run isn't ended by an edit that can't be placed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_can_not_be_placed_ends_no_run() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &gated(&[CONFIG], &["m1"])).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    fleet.apply("hub", &gated(&[CONFIG], &["m1", "nowhere"])).await?;
    let told = fleet.wait("web", |app| message(app).contains("nowhere")).await?;
    assert_eq!(told.status.as_ref().map(|status| status.status.as_str()), Some("workflowSuspending"));
    fleet.approve(&waiting).await?;
    fleet.wait_object("m1", "v1", "ConfigMap", "settings", |object| object.is_some()).await?;
    engine.stop().await?;
    Ok(())
}

/// An Application made anew under an old name is another one: with records of its own that nobody takes away later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_application_of_the_same_name_has_its_own_records() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    for _ in 0..3 {
        fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
        let running = fleet.wait_run("web", 1, "running").await?;
        let revisions: Api<ApplicationRevision> = Api::namespaced(fleet.client("hub"), "demo");
        let run = fleet.run_of(&running).await?;
        assert_eq!(Some(&run.spec.application_uid), running.uid().as_ref());
        let revision = revisions.get(&run.spec.revision).await?;
        let owners: Vec<_> = revision.owner_references().iter().map(|owner| owner.uid.clone()).collect();
        assert_eq!(owners, [running.uid().unwrap_or_default()], "the collector would take it away");
        api.delete("web", &DeleteParams::default()).await?;
        fleet.wait_object("hub", APPLICATION, "Application", "web", |app| app.is_none()).await?;
        assert_eq!(value(&fleet, "m1", "settings").await?, None);
        // As a restored backup would, or a collector that is slow.
        fleet
            .wait_object("hub", APPLICATION, "ApplicationRevision", &run.spec.revision, |r| r.is_none())
            .await?;
        let mut left = ApplicationRevision::new(&run.spec.revision, revision.spec.clone());
        left.metadata.labels = revision.metadata.labels.clone();
        revisions.create(&Default::default(), &left).await?;
    }
    engine.stop().await?;
    Ok(())
}

/// `a-b` in `c` and `a` in `b-c` have inventories of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applications_whose_names_join_alike_have_their_own_inventories() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x-demo"}});
    fleet.apply("hub", &namespace).await?;
    fleet.apply("hub", &config("one", "1")).await?;
    let mut other = config("two", "2");
    other["metadata"]["namespace"] = json!("x-demo");
    fleet.apply("hub", &other).await?;
    let mut first = app(&[("v1", "ConfigMap", "one")], &["m1"]);
    first["metadata"]["name"] = json!("web-x");
    fleet.apply("hub", &first).await?;
    fleet.wait_phase("web-x", "running").await?;
    let mut second = app(&[("v1", "ConfigMap", "two")], &["m1"]);
    second["metadata"]["namespace"] = json!("x-demo");
    fleet.apply("hub", &second).await?;
    fleet.wait_object("m1", "v1", "Namespace", "x-demo", |namespace| namespace.is_some()).await?;
    let trackers: Api<ResourceTracker> = Api::all(fleet.client("hub"));
    assert_eq!(trackers.list(&ListParams::default()).await?.items.len(), 2);
    assert_eq!(value(&fleet, "m1", "one").await?, Some(json!("1")), "taken for the other's");
    engine.stop().await?;
    Ok(())
}

/// A revision that somebody deleted: the run says that it can't go on, and the Application can still be deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_revision_is_said_and_blocks_no_deletion() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut manifest = gated(&[CONFIG], &["m1"]);
    manifest["metadata"]["annotations"] = json!({names::PUBLISH_VERSION: "v1"});
    fleet.apply("hub", &manifest).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    engine.stop().await?;
    let revisions: Api<ApplicationRevision> = Api::namespaced(fleet.client("hub"), "demo");
    let revision = fleet.run_of(&waiting).await?.spec.revision;
    revisions.delete(&revision, &DeleteParams::default()).await?;
    let engine = Engine::start(&fleet);
    let failed = fleet.wait_phase("web", "workflowFailed").await?;
    let said = message(&failed);
    assert!(
        said.contains("workflow restart") && said.contains(&format!("ApplicationRevision {revision} was")),
        "{said}"
    );
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    api.delete("web", &DeleteParams::default()).await?;
    fleet.wait_object("hub", APPLICATION, "Application", "web", |app| app.is_none()).await?;
    engine.stop().await?;
    Ok(())
}

/// What hub controllers and people leave on an object that nobody decided starts nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_on_the_hub_starts_no_run() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    fleet.apply("hub", &app(&[("apps/v1", "Deployment", "web")], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    let manifest = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    let api = fleet.resource("hub", &manifest).await?;
    let status = json!({"status": {"observedGeneration": 1, "replicas": 2, "readyReplicas": 2}});
    api.patch_status("web", &Default::default(), &kube::api::Patch::Merge(&status)).await?;
    let revision = json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "7"}}});
    fleet.merge("hub", "apps/v1", "Deployment", "web", &revision).await?;
    // A real edit after the noise: if the noise had started a run, this would be the third.
    fleet.apply("hub", &deployment("web", "web:2")).await?;
    fleet
        .wait_object("m1", "apps/v1", "Deployment", "web", |object| {
            object.and_then(|o| o.pointer("/spec/template/spec/containers/0/image")) == Some(&json!("web:2"))
        })
        .await?;
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(all_runs(&fleet).await?.len(), 2);
    engine.stop().await?;
    Ok(())
}
