//! Looking at drift and leaving it for a time.

use fleet_api::Phase;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{CommandLine, apply_example, eventually, fleet_with, in_phase};

/// Broken: whoever looks into an incident doesn't see who changed what, or can't keep it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_at_three_in_the_morning() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    let line = CommandLine::of(&fleet);
    let told = line.run("fleetctl drift list -n demo").await;
    assert_eq!((told.code, told.err.as_str()), (0, "nothing differs in namespace demo\n"));
    let said =
        line.fails("fleetctl drift hold web-demo -n demo -m cluster1-bejing --for 1h --reason x", 3).await;
    assert!(said.contains("did you mean \"cluster1-beijing\"?"), "{said}");
    let said = line.fails("fleetctl drift hold web-demo -n demo -m all --for 900h --reason x", 2).await;
    assert!(said.contains("31 days"), "{said}");
    let said = line.run("fleetctl drift hold web-demo -n demo -m all --for 0s --reason x").await;
    assert_eq!((said.code, said.err.contains("is no time at all")), (2, true), "{said:?}");
    let said = line.fails("fleetctl drift release web-dem -n demo", 3).await;
    assert!(said.contains("did you mean \"web-demo\"?"), "{said}");
    let said = line
        .done("fleetctl drift hold web-demo -n demo -m cluster1-beijing --for 2h --reason INC-4711")
        .await;
    assert!(said.contains("web-demo is held on mc-bj1 (cluster1-beijing) until"), "{said}");
    let holds = line.done("fleetctl drift holds -n demo").await;
    assert!(holds.contains("mc-bj1") && holds.contains("INC-4711"), "{holds}");
    let member: Api<Deployment> = Api::namespaced(fleet.client("mc-bj1"), "demo");
    let params = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web-demo", "image": "debug:1"}]}}}});
    member.patch("web-demo", &params, &Patch::Strategic(image)).await.unwrap();
    eventually("the edit shows", async || {
        line.run("fleetctl drift list web-demo -n demo").await.out.contains("kubectl-edit")
    })
    .await;
    let told: Value =
        serde_json::from_str(&line.done("fleetctl drift list -n demo -m mc-bj1 -o json").await).unwrap();
    let item = &told["items"][0];
    assert_eq!((item["state"].as_str(), item["cluster"].as_str()), (Some("Held"), Some("mc-bj1")), "{told}");
    assert_eq!(item["object"], "Deployment demo/web-demo");
    let status = line.done("fleetctl status web-demo -n demo").await;
    let drifted = status.lines().any(|row| row.starts_with("Drifted") && row.contains("mc-bj1"));
    assert!(drifted, "{status}");
    let other = line.run("fleetctl drift release web-demo -n demo -m cluster1-hangzhou").await;
    assert!(other.err.contains("nobody holds web-demo on mc-hz1"), "{other:?}");
    line.done("fleetctl drift release web-demo -n demo -m cluster1-beijing").await;
    eventually("the repair shows", async || {
        line.run("fleetctl drift list web-demo -n demo").await.out.contains("Repaired")
    })
    .await;
    let image = member.get("web-demo").await.unwrap().spec.unwrap().template.spec.unwrap().containers[0]
        .image
        .clone();
    assert_ne!(image.as_deref(), Some("debug:1"));
    let none = line.run("fleetctl drift holds -n demo").await;
    assert_eq!(none.err, "nothing is held\n");
    fleet.shutdown().await;
}
