//! `fleetctl diagnose` against a whole fleet.

use fleet_api::Phase;
use serde_json::{Value, json};

use crate::support::{CommandLine, apply, apply_example, fleet_with, in_phase};

fn codes(text: &str) -> Vec<String> {
    let whole: Value = serde_json::from_str(text).unwrap();
    let found = whole["findings"].as_array().unwrap();
    found.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

/// What `kubectl describe` says; nothing where there is no kubectl.
fn describe(line: &CommandLine) -> Option<String> {
    let described = std::process::Command::new("kubectl")
        .args(["describe", "application", "web-demo", "-n", "demo"])
        .env("KUBECONFIG", &line.kubeconfig)
        .env("KUBECACHEDIR", line.kubeconfig.with_file_name("cache"))
        .output();
    let required = std::env::var("FLEETCTL_REQUIRE_KUBECTL").is_ok();
    match described {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            assert!(!required, "kubectl can't be run: {error}");
            None
        }
    }
}

/// From a fresh fleet, where nothing is wrong, to one with three mistakes and a gate that waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_usual_mistakes_are_found() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    let line = CommandLine::of(&fleet);
    assert_eq!(line.done("fleetctl diagnose").await, "nothing is wrong\n");

    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    // The same for who looks with kubectl: Events, with the command to go on with.
    crate::support::eventually("described", async || {
        describe(&line).is_none_or(|said| said.contains("WaitingForApproval"))
    })
    .await;
    let described = describe(&line).unwrap_or_default();
    assert!(
        described.is_empty() || described.contains("fleetctl workflow resume web-demo -n demo"),
        "{described}"
    );
    let text = line.done("fleetctl diagnose web-demo -n demo").await;
    assert!(text.contains("note application demo/web-demo (WaitingForApproval)"), "{text}");
    assert!(text.contains("fleetctl workflow resume web-demo -n demo"), "{text}");

    let wrong = |name: &str, clusters: Value, object: Value| {
        json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application", "metadata": {"name": name, "namespace": "demo"},
        "spec": {
            "components": [{"name": "main", "type": "ref-objects", "properties": {"objects": [object]}}],
            "policies": [{"name": "where", "type": "topology", "properties": clusters}]}})
    };
    let here = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web-demo"});
    let gone = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "not-there"});
    apply(&hub, &wrong("gone", json!({"clusters": ["mc-bj1"]}), gone)).await;
    apply(&hub, &wrong("nowhere", json!({"clusterLabelSelector": {"region": "mars"}}), here)).await;
    for name in ["gone", "nowhere"] {
        crate::support::eventually(name, async || {
            let apps: kube::Api<fleet_api::Application> = kube::Api::namespaced(hub.clone(), "demo");
            apps.get(name).await.unwrap().status.is_some()
        })
        .await;
    }
    // As a kube-controller-manager would: the workload has been taken up on the hub.
    let deployments: kube::Api<k8s_openapi::api::apps::v1::Deployment> =
        kube::Api::namespaced(hub.clone(), "demo");
    let status = json!({"status": {"observedGeneration": 1, "replicas": 1}});
    let params = kube::api::PatchParams::default();
    deployments.patch_status("web-demo", &params, &kube::api::Patch::Merge(&status)).await.unwrap();
    let ran = line.run("fleetctl diagnose -o json").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let found = codes(&ran.out);
    for code in ["ReferenceMissing", "NotRendered", "WorkloadStartsOnHub", "WaitingForApproval"] {
        assert!(found.iter().any(|found| found == code), "{code} isn't in {}", ran.out);
    }
    assert!(ran.err.is_empty(), "{ran:?}");
    // The same at the gate, where somebody is about to approve.
    let plan = line.done("fleetctl plan web-demo -n demo").await;
    assert!(plan.contains("its pods run on the hub, too"), "{plan}");

    assert!(line.fails("fleetctl diagnose web-dmo -n demo", 3).await.contains("web-dmo"));
    fleet.shutdown().await;
    line.fails("fleetctl diagnose", 6).await;
}

/// A hub on which nothing was installed: said, not a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_without_our_kinds_is_diagnosed() {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    let fleet = fleet_with(false).await;
    let crds: kube::Api<CustomResourceDefinition> = kube::Api::all(fleet.client("hub"));
    crds.delete("applications.core.oam.dev", &Default::default()).await.unwrap();
    let line = CommandLine::of(&fleet);
    let ran = line.run("fleetctl diagnose -o json").await;
    assert_eq!((ran.code, codes(&ran.out)), (1, vec!["DefinitionMissing".to_owned()]), "{ran:?}");
    fleet.shutdown().await;
}
