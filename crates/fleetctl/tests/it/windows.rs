//! A freeze of the fleet, and a step that a person lets begin all the same.

use fleet_api::{Phase, RolloutWindow, Run};
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;

use crate::support::{CommandLine, apply_example, fleet_with, in_phase};

/// Broken: the command that the wait names doesn't end it, or takes a step that isn't there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_begins_outside_its_windows_when_a_person_says_why() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    // Shut but for one minute each leap day.
    let spec = json!({"allow": [{"cron": "0 3 29 2 *", "duration": "1m"}], "message": "ask #platform"});
    let freeze = RolloutWindow::new("freeze", serde_json::from_value(spec).unwrap());
    Api::<RolloutWindow>::all(hub.clone()).create(&PostParams::default(), &freeze).await.unwrap();
    apply_example(&hub).await;
    in_phase(&hub, Phase::RunningWorkflow).await;
    let line = CommandLine::of(&fleet);
    let resume = "fleetctl workflow resume web-demo -n demo --override-window --reason CHG-7";
    let said = line.fails(&format!("{resume} --step deploy-cluster1-bejing"), 3).await;
    assert!(said.contains("did you mean \"deploy-cluster1-beijing\"?"), "{said}");
    let said = line.done(&format!("{resume} --step deploy-cluster1-beijing")).await;
    assert_eq!(said, "Successfully resume workflow: web-demo\n");
    // The first step is done, and the second waits for a person as ever.
    in_phase(&hub, Phase::WorkflowSuspending).await;
    let said = line.fails(&format!("{resume} --step deploy-cluster1-beijing"), 4).await;
    assert!(said.contains("nothing of it waits to begin"), "{said}");
    let runs = Api::<Run>::namespaced(hub, "demo").list(&ListParams::default()).await.unwrap();
    let step = &runs.items[0].status.as_ref().unwrap().steps[0];
    let noted = step.window_override.as_ref().unwrap();
    assert_eq!((noted.by.as_str(), noted.reason.as_str()), ("fleetctl-admin", "CHG-7"));
    // Breaking a freeze is what an auditor asks about first.
    crate::support::eventually("who broke the freeze is on record", async || {
        let ran = line.run("fleetctl audit show web-demo -n demo").await;
        ran.out.lines().any(|line| line.contains("WindowOverridden") && line.contains("fleetctl-admin"))
    })
    .await;
    fleet.shutdown().await;
}
