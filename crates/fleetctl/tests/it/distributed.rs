//! `fleetctl why` of objects that policies distribute.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::adopt::{make, namespace};
use crate::support::{CommandLine, apply, eventually, fleet_with};

const GROUP: &str = "one.alibabacloud.com/v1alpha1";

fn policy(kind: &str, name: &str, spec: Value) -> Value {
    let mut metadata = json!({ "name": name });
    if !kind.starts_with("Cluster") {
        metadata["namespace"] = json!("demo");
    }
    json!({ "apiVersion": GROUP, "kind": kind, "metadata": metadata, "spec": spec })
}

/// Who has it, who doesn't and why, and what each override made of it. Broken: a person reads statuses of policies until
/// the pieces fit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_names_the_policies_and_what_they_made_of_it() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    let line = CommandLine::of(&fleet);
    namespace(&hub).await;
    for text in [
        include_str!("../../../../examples/propagation/nginx.yaml"),
        include_str!("../../../../examples/propagation/policies.yaml"),
    ] {
        for manifest in serde_saphyr::from_multiple::<Value>(text).unwrap() {
            apply(&hub, &manifest).await;
        }
    }
    let every = json!({ "resourceSelectors": [{ "apiVersion": "apps/v1", "kind": "Deployment" }],
        "priority": -1, "placement": { "clusterAffinity": { "clusterNames": ["mc-bj1"] } } });
    apply(&hub, &policy("ClusterPropagationPolicy", "every", every)).await;
    let there: Api<Deployment> = Api::namespaced(fleet.client("mc-bj1"), "demo");
    eventually("it is delivered", async || there.get_opt("nginx").await.unwrap().is_some()).await;

    let words = "fleetctl why deploy/nginx -n demo -m cluster1-beijing";
    let asked =
        async || -> Value { serde_json::from_str(&line.done(&format!("{words} -o json")).await).unwrap() };
    // The policy's status follows the delivery.
    eventually("its policy says so", async || asked().await["place"]["phase"] == "Delivered").await;
    let value = asked().await;
    assert_eq!(value["policy"], "ClusterPropagationPolicy example", "{value:#}");
    assert_eq!((&value["selectedBy"], &value["outdated"]), (&json!("name"), &json!(false)), "{value:#}");
    assert_eq!(value["lost"][0]["policy"], "ClusterPropagationPolicy every", "{value:#}");
    assert_eq!(value["lost"][0]["reason"], "LowerPriority", "{value:#}");
    let [image, replicas] = value["overrides"].as_array().unwrap().as_slice() else { panic!("{value:#}") };
    assert_eq!(image["changes"][0]["before"], "nginx");
    assert_eq!(image["changes"][0]["after"], "registry.cn-hangzhou.aliyuncs.com/nginx");
    assert_eq!(replicas["place"], "spec.overrideRules[0].overriders.plaintext");
    let by = |path: &str| {
        let fields = value["fields"].as_array().unwrap();
        let found = fields.iter().find(|field| field["path"] == path);
        found.unwrap_or_else(|| panic!("{path}: {value:#}"))["setBy"].clone()
    };
    assert_eq!(by(".spec.replicas")["policy"], "OverridePolicy demo/example");
    assert_eq!(by(".metadata.labels[\"fleetctl.dev/owner\"]"), json!({ "kind": "fleetctl" }));
    assert_eq!(by(".spec.selector.matchLabels.app"), json!({ "kind": "referenced" }));

    let text = line.done(words).await;
    for said in [
        "ClusterPropagationPolicy example has it, by name",
        "ClusterPropagationPolicy every doesn't have it (LowerPriority)",
        "nginx → registry.cn-hangzhou.aliyuncs.com/nginx",
        "OverridePolicy demo/example, spec.overrideRules[0].overriders.plaintext",
        "Deployment demo/nginx on the hub",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    // Where it doesn't go it can be asked, too.
    let words = words.replace("cluster1-beijing", "cluster1-hangzhou");
    let api: Api<Deployment> = Api::namespaced(fleet.client("mc-hz1"), "demo");
    let spec = json!({ "resourceSelectors": [{ "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "demo", "name": "nginx" }],
        "placement": { "clusterAffinity": { "clusterNames": ["mc-bj1"] } } });
    apply(&hub, &policy("ClusterPropagationPolicy", "example", spec)).await;
    eventually("it has left", async || api.get_opt("nginx").await.unwrap().is_none()).await;
    let why = "it isn't to be there: ";
    eventually("its status says so", async || line.done(&words).await.contains(why)).await;
    let on_hub: Api<Deployment> = Api::namespaced(hub.clone(), "demo");
    on_hub.delete("nginx", &DeleteParams::default()).await.unwrap();
    let said = line.fails(&words, 3).await;
    assert!(said.contains("there is no Deployment \"nginx\""), "{said}");
    fleet.shutdown().await;
}

/// A policy with a Workflow is looked at and approved as an Application is. Broken: its plan warns of itself, or what it
/// carries is told as somebody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_with_a_workflow_is_approved_by_hand() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    let line = CommandLine::of(&fleet);
    namespace(&hub).await;
    let flow = json!({ "apiVersion": "core.oam.dev/v1alpha1", "kind": "Workflow", "metadata": { "name": "careful", "namespace": "demo" },
        "steps": [{ "name": "everywhere", "type": "deploy", "properties": { "auto": false } }] });
    apply(&hub, &flow).await;
    let nginx = serde_saphyr::from_str(include_str!("../../../../examples/propagation/nginx.yaml")).unwrap();
    apply(&hub, &nginx).await;
    let spec = json!({ "workflow": { "ref": "careful" },
        "resourceSelectors": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "nginx" }],
        "placement": { "clusterAffinity": { "clusterNames": ["mc-bj1", "mc-bj2"] } } });
    apply(&hub, &policy("PropagationPolicy", "careful", spec)).await;
    let applications: Api<fleet_api::Application> = Api::namespaced(hub.clone(), "demo");
    let carriers = async || applications.list(&Default::default()).await.unwrap().items;
    let waits = async || {
        let carriers = carriers().await;
        let status = carriers.first().and_then(|app| app.status.as_ref());
        status.is_some_and(|status| status.status == fleet_api::Phase::WorkflowSuspending)
    };
    eventually("it waits at the gate", waits).await;
    let name = carriers().await[0].metadata.name.clone().unwrap();
    let plan = line.done(&format!("fleetctl plan {name} -n demo")).await;
    assert!(plan.contains("on 2 targets alike") && !plan.contains("ClaimedByAnother"), "{plan}");
    line.done(&format!("fleetctl workflow resume {name} -n demo")).await;
    let there: Api<Deployment> = Api::namespaced(fleet.client("mc-bj2"), "demo");
    eventually("it is delivered", async || there.get_opt("nginx").await.unwrap().is_some()).await;
    let why = "fleetctl why deploy/nginx -n demo -m mc-bj2 -o json";
    let said: Value = serde_json::from_str(&line.done(why).await).unwrap();
    assert_eq!(said["policy"], "PropagationPolicy demo/careful", "{said:#}");
    let fields = said["fields"].as_array().unwrap();
    let label = fields.iter().find(|field| field["path"] == ".metadata.labels[\"app.oam.dev/name\"]");
    assert_eq!(label.unwrap()["setBy"], json!({ "kind": "fleetctl" }), "{said:#}");
    // What members show on the hub's object is no controller of the hub.
    eventually("members show it on the hub", async || {
        let api: Api<Deployment> = Api::namespaced(hub.clone(), "demo");
        api.get("nginx").await.unwrap().status.is_some_and(|status| status.available_replicas == Some(6))
    })
    .await;
    let found = line.done("fleetctl diagnose").await;
    assert!(!found.contains("taken it up"), "{found}");
    fleet.shutdown().await;
}

/// Broken: an alias is taken away from under policies about native objects: their clusters, masks and overrides name nobody
/// any more, unseen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_that_policies_name_is_asked_about() {
    let fleet = fleet_with(false).await;
    let hub = fleet.client("hub");
    let line = CommandLine::of(&fleet);
    namespace(&hub).await;
    let every = json!([{ "apiVersion": "v1", "kind": "ConfigMap" }]);
    let named = json!({ "clusterNames": ["cluster1-beijing"] });
    let spec = json!({ "resourceSelectors": every, "mask": ["cluster1-beijing"], "placement": {} });
    apply(&hub, &policy("PropagationPolicy", "masked", spec)).await;
    let rules = json!([{ "targetCluster": named, "overriders": { "labelsOverrider": [{ "operator": "add", "value": { "a": "b" } }] } }]);
    let spec = json!({ "resourceSelectors": every, "overrideRules": rules });
    apply(&hub, &policy("ClusterOverridePolicy", "labelled", spec)).await;
    let said = line.fails("fleetctl cluster alias mc-bj1 other", 7).await;
    assert!(
        said.contains("PropagationPolicy demo/masked") && said.contains("ClusterOverridePolicy labelled"),
        "{said}"
    );
    assert!(!line.done("fleetctl cluster alias mc-bj1 other --yes").await.is_empty());
    fleet.shutdown().await;
}

/// Broken: a program that reads the plan of policies alone finds words for people instead of JSON.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_alone_are_planned_as_nothing_for_programs() {
    let fleet = fleet_with(false).await;
    let line = CommandLine::of(&fleet);
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/propagation");
    for more in ["", " --offline"] {
        let said = line.done(&format!("fleetctl plan -f {files}{more} -o json")).await;
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), json!({ "applications": [] }));
        assert!(line.done(&format!("fleetctl plan -f {files}{more}")).await.contains("no mistakes"));
    }
    // A word that can't be read isn't told as one that is missing.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("misspelt.yaml");
    let rules = json!([{ "overriders": { "plaintext": [{ "operator": "repalce", "path": "/spec/replicas", "value": 1 }] } }]);
    let misspelt = policy("OverridePolicy", "misspelt", json!({ "overrideRules": rules }));
    std::fs::write(&path, misspelt.to_string()).unwrap();
    let said = line.fails(&format!("fleetctl plan -f {}", path.display()), 1).await;
    assert!(said.contains("repalce") && !said.contains("it changes nothing"), "{said}");
    fleet.shutdown().await;
}

/// Broken: where a policy can't bring its object since somebody else's stands there, `why` knows no policy and advises to adopt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_tells_of_the_policy_whatever_stands_on_the_member() {
    let fleet = fleet_with(true).await;
    let (hub, one) = (fleet.client("hub"), fleet.client("mc-bj1"));
    let line = CommandLine::of(&fleet);
    namespace(&hub).await;
    namespace(&one).await;
    make::<ConfigMap>(&one, json!({ "metadata": { "name": "taken" }, "data": { "key": "theirs" } })).await;
    let application = json!({ "apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": { "name": "shop", "namespace": "demo" }, "spec": {
            "components": [{ "name": "shop", "type": "webservice", "properties": { "image": "nginx:1" } }],
            "policies": [{ "name": "one", "type": "topology", "properties": { "clusters": ["mc-bj1"] } }] } });
    apply(&hub, &application).await;
    let deployments: Api<Deployment> = Api::namespaced(one.clone(), "demo");
    eventually("the Application has delivered", async || {
        deployments.get_opt("shop").await.unwrap().is_some()
    })
    .await;

    let taken = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "taken", "namespace": "demo" },
        "data": { "key": "ours" } });
    let mut shop: Value =
        serde_saphyr::from_str(include_str!("../../../../examples/propagation/nginx.yaml")).unwrap();
    shop["metadata"]["name"] = json!("shop");
    let placement = json!({ "clusterAffinity": { "clusterNames": ["mc-bj1"] } });
    let spec = json!({ "placement": placement, "resourceSelectors": [
        { "apiVersion": "v1", "kind": "ConfigMap", "name": "taken" },
        { "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" }] });
    for object in [&taken, &shop, &policy("PropagationPolicy", "late", spec)] {
        apply(&hub, object).await;
    }
    let asked = async |object: &str| -> Value {
        let words = format!("fleetctl why {object} -n demo -m mc-bj1 -o json");
        let ran = line.run(&words).await;
        serde_json::from_str(&ran.out).unwrap_or_default()
    };
    for (object, reason) in [("cm/taken", "ExistsAlready"), ("deploy/shop", "OwnedByAnother")] {
        eventually(reason, async || asked(object).await["place"]["reason"] == reason).await;
        assert_eq!(asked(object).await["policy"], "PropagationPolicy demo/late");
    }
    let text = line.done("fleetctl why cm/taken -n demo -m mc-bj1").await;
    for said in [
        "PropagationPolicy demo/late has it, by name",
        "Failed (ExistsAlready): ConfigMap demo/taken is on mc-bj1 already",
        "what is there isn't from it: it was written by kubectl-create",
        "kubectl-create on the member",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("was delivered") && !text.contains("adopt"), "{text}");
    let text = line.done("fleetctl why deploy/shop -n demo -m mc-bj1").await;
    assert!(text.contains("Application demo/shop, component shop"), "{text}");
    assert!(
        text.contains("PropagationPolicy demo/late has it on the hub: Failed (OwnedByAnother)"),
        "{text}"
    );

    // A label of another hub's, and none any more where it was delivered.
    let maps: Api<ConfigMap> = Api::namespaced(one.clone(), "demo");
    let labelled =
        |value: Value| Patch::Merge(json!({ "metadata": { "labels": { "fleetctl.dev/owner": value } } }));
    let params = PatchParams { field_manager: Some("kubectl-label".to_owned()), ..PatchParams::default() };
    maps.patch("taken", &params, &labelled(json!("0123456789"))).await.unwrap();
    let text = line.done("fleetctl why cm/taken -n demo -m mc-bj1").await;
    assert!(text.contains("demo/late has it") && text.contains("names \"0123456789\""), "{text}");
    maps.delete("taken", &DeleteParams::default()).await.unwrap();
    // What changes on the hub is tried at once.
    let mut taken = taken;
    taken["data"]["key"] = json!("ours, again");
    apply(&hub, &taken).await;
    eventually("it is delivered", async || asked("cm/taken").await["place"]["phase"] == "Delivered").await;
    line.done("fleetctl cluster cordon mc-bj1").await;
    maps.patch("taken", &params, &labelled(Value::Null)).await.unwrap();
    let value = asked("cm/taken").await;
    assert_eq!((&value["policy"], &value["instead"]), (&json!("PropagationPolicy demo/late"), &Value::Null));

    // Words that mean something else than they are given for.
    for (words, code, want) in [
        ("why cm/taken -m all", 2, "why is about one cluster at a time; name one of fleetctl cluster list"),
        ("status late", 3, "late is a PropagationPolicy; see kubectl get propagation -A"),
        (
            "status taken",
            3,
            "policies distribute ConfigMap demo/taken; ask about it: fleetctl why configmap/taken -n demo",
        ),
        ("status nowhere", 3, "Applications in namespace demo: shop"),
    ] {
        let said = line.fails(&format!("fleetctl {words} -n demo"), code).await;
        assert!(said.contains(want), "{words}: {said}");
    }
    fleet.shutdown().await;
}
