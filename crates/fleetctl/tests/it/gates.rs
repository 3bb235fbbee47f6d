//! A staged rollout by hand: look, approve, steer, delete.

use fleet_api::{Approval, Phase, Run};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams};
use serde_json::Value;

use crate::support::{CommandLine, ageless, apply_example, fleet_with, in_phase};

/// The transcript of the manual, as far as it is ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_by_hand() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    let line = CommandLine::of(&fleet);
    let seen = line.done("fleetctl get deployment web-demo -n demo -m all").await;
    let expected = "\
Run on ManagedCluster mc-hz1 (cluster1-hangzhou)
No resources found in demo namespace
Run on ManagedCluster mc-bj2 (cluster2-beijing)
No resources found in demo namespace
Run on ManagedCluster mc-bj1 (cluster1-beijing)
NAME       READY   UP-TO-DATE   AVAILABLE   AGE
web-demo   5/5     5            5           AGE
";
    assert_eq!(ageless(&seen), expected);

    let plan: Value =
        serde_json::from_str(&line.done("fleetctl plan web-demo -n demo -o json").await).unwrap();
    let hash = plan["planHash"].as_str().unwrap().to_owned();
    let actions = plan["plans"][0]["targets"][0]["actions"].as_array().unwrap();
    assert_eq!(actions.iter().filter(|action| action["kind"] == "create").count(), 4, "{plan}");
    let text = line.done("fleetctl plan web-demo -n demo").await;
    assert!(text.contains("+ Deployment web-demo (create)") && text.contains("cluster2-beijing"), "{text}");
    assert!(text.contains(&format!("fleetctl workflow resume web-demo -n demo --plan {hash}")), "{text}");
    let waiting = line.done("fleetctl workflow list -A --waiting").await;
    assert!(waiting.contains("approval of step deploy-cluster2-beijing"), "{waiting}");
    assert!(
        line.done("fleetctl status web-demo -n demo --tree").await.contains("└─ · mc-bj2 (cluster2-beijing)")
    );

    let said = line.fails("fleetctl workflow resume web-demo -n demo --plan 0000000000", 4).await;
    assert!(said.contains(&format!("is another one now: {hash}, not 0000000000")), "{said}");
    let said = line.fails("fleetctl workflow resume web-demo -n demo --step deploy-cluster2-bejing", 3).await;
    assert!(said.contains("did you mean \"deploy-cluster2-beijing\"?"), "{said}");
    let said =
        line.fails("fleetctl workflow resume web-demo -n demo --step deploy-cluster1-hangzhou", 4).await;
    assert!(said.contains("isn't suspended: it is pending"), "{said}");
    let said = line.fails("fleetctl workflow resume web-dem -n demo", 3).await;
    assert!(said.contains("did you mean \"web-demo\"?"), "{said}");

    let ran = line.run("kubectl-amc workflow resume web-demo -n demo").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "Successfully resume workflow: web-demo\n"), "{ran:?}");
    assert!(ran.err.contains(&hash), "{ran:?}");
    in_phase(&hub, Phase::Running).await;
    let ready =
        line.done("fleetctl get deploy/web-demo -n demo -m all -o jsonpath={.status.readyReplicas}").await;
    let ready: Vec<&str> = ready.lines().filter(|line| !line.starts_with("Run on")).collect();
    assert_eq!(ready, ["1", "5", "5"]);
    let said = line.fails("fleetctl workflow resume web-demo -n demo", 4).await;
    assert!(said.contains("workflow of web-demo isn't suspended"), "{said}");
    line.done("fleetctl status web-demo -n demo -w").await;
    fleet.shutdown().await;
}

/// Two people, or one with two windows: one of them opened the gate, the other is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_resumes_at_once_open_one_gate() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    let line = CommandLine::of(&fleet);
    let words = "fleetctl workflow resume web-demo -n demo";
    let (first, second) = tokio::join!(line.run(words), line.run(words));
    let mut codes = [first.code, second.code];
    codes.sort_unstable();
    assert_eq!(codes, [0, 4], "{first:?} {second:?}");
    in_phase(&hub, Phase::Running).await;
    fleet.shutdown().await;
}

/// Requests that end or begin runs, in the words that scripts look for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_steered() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    let line = CommandLine::of(&fleet);
    let ended = line.done("fleetctl workflow terminate web-demo -n demo").await;
    assert_eq!(ended, "Successfully terminate workflow: web-demo\n");
    in_phase(&hub, Phase::WorkflowTerminated).await;
    let said = line.fails("fleetctl workflow suspend web-demo -n demo", 4).await;
    assert!(said.contains("is over (terminated)") && said.contains("fleetctl workflow restart"), "{said}");
    let watched = line.run("fleetctl status web-demo -n demo -w").await;
    assert_eq!((watched.code, watched.err.contains("workflowTerminated")), (1, true), "{watched:?}");
    let again = line.done("fleetctl workflow restart web-demo -n demo").await;
    assert_eq!(again, "Successfully restart workflow: web-demo\n");
    in_phase(&hub, Phase::WorkflowSuspending).await;
    let runs: Api<Run> = Api::namespaced(hub.clone(), "demo");
    assert_eq!(runs.list(&ListParams::default()).await.unwrap().items.len(), 2);

    // A person's own stop is lifted, and the gate that waits is opened, by one command.
    let stopped = line.done("fleetctl workflow suspend web-demo -n demo").await;
    assert_eq!(stopped, "Successfully suspend workflow: web-demo\n");
    let twice = line.fails("fleetctl workflow suspend web-demo -n demo", 4).await;
    assert!(twice.contains("already") && twice.contains("fleetctl workflow resume"), "{twice}");
    assert!(line.done("fleetctl status web-demo -n demo").await.contains("suspended by a person"));
    let list = line.done("fleetctl workflow list -n demo --waiting").await;
    assert!(list.contains("approval of step") && list.contains("suspended by a person"), "{list}");
    let watched = line.run("fleetctl status web-demo -n demo -w").await;
    assert_eq!((watched.code, watched.err.lines().count()), (5, 1), "{watched:?}");
    let plan: Value =
        serde_json::from_str(&line.done("fleetctl plan web-demo -n demo -o json").await).unwrap();
    let hash = plan["planHash"].as_str().unwrap();
    // What is refused lifts nothing.
    line.fails("fleetctl workflow resume web-demo -n demo --plan 0000000000", 4).await;
    assert!(line.done("fleetctl status web-demo -n demo").await.contains("suspended by a person"));
    for short in ["", &hash[..5]] {
        assert_eq!(
            line.run(&format!("fleetctl workflow resume web-demo -n demo --plan {short}")).await.code,
            2
        );
    }
    let six = &hash[..6];
    let words = format!("fleetctl workflow resume web-demo -n demo --plan {six} --reason CHG-1234");
    let lifted = line.run(&words).await;
    assert_eq!(lifted.code, 0, "{lifted:?}");
    assert!(lifted.err.contains("suspended by hand") && lifted.err.contains(hash), "{lifted:?}");
    in_phase(&hub, Phase::Running).await;
    let approvals: Api<Approval> = Api::namespaced(hub.clone(), "demo");
    let approvals = approvals.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(approvals.iter().map(|one| one.spec.reason.as_str()).collect::<Vec<_>>(), ["CHG-1234"]);
    assert!(!line.done("fleetctl status web-demo -n demo").await.contains("suspended by a person"));
    fleet.shutdown().await;
}

/// Deleting takes away what was delivered; with --orphan it stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_and_orphaning() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    let line = CommandLine::of(&fleet);
    let deployments: Api<Deployment> = Api::namespaced(fleet.client("mc-bj1"), "demo");
    for (flag, stays) in [(" --orphan", true), ("", false)] {
        apply_example(&hub).await;
        in_phase(&hub, Phase::WorkflowSuspending).await;
        let said = line.done(&format!("fleetctl delete web-demo -n demo --wait --timeout 30s{flag}")).await;
        assert!(said.starts_with("application.core.oam.dev \"web-demo\" deleted"), "{said}");
        assert_eq!(deployments.get_opt("web-demo").await.unwrap().is_some(), stays);
        if stays {
            // Now nobody's, it would stand in the way of the next Application.
            for path in ["api/v1", "apis/networking.k8s.io/v1", "apis/apps/v1"] {
                clear(&fleet.client("mc-bj1"), path).await;
            }
        }
    }
    fleet.shutdown().await;
}

/// A deletion that a member holds up says so; what is stuck can be orphaned by force.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_waits_says_what_for() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    let line = CommandLine::of(&fleet);
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    fleet.fleet().set_running("mc-bj1", false).await.unwrap();
    let said = line.fails("fleetctl delete web-demo -n demo --wait --timeout 2s", 5).await;
    assert!(said.contains("mc-bj1"), "{said}");
    assert_eq!(said.matches("fleetctl delete web-demo -n demo --force").count(), 1, "{said}");
    // Until then nothing about it can be decided, and whoever looks is told why.
    for words in ["workflow resume", "workflow restart", "workflow suspend"] {
        let said = line.fails(&format!("fleetctl {words} web-demo -n demo"), 4).await;
        assert!(said.contains("is being deleted since") && said.contains("mc-bj1"), "{words}: {said}");
    }
    line.fails("fleetctl drift hold web-demo -n demo -m all --for 1h --reason x", 4).await;
    for tree in ["", " --tree"] {
        let seen = line.done(&format!("fleetctl status web-demo -n demo{tree}")).await;
        assert!(seen.contains("being deleted since") && seen.contains("mc-bj1"), "{seen}");
        assert!(!seen.contains("workflow resume"), "{seen}");
    }
    let ran = line.run("fleetctl workflow list -n demo --waiting").await;
    assert!(ran.err.contains("nothing waits"), "{ran:?}");
    line.done("fleetctl delete web-demo -n demo --orphan --force --wait --timeout 30s").await;
    fleet.shutdown().await;
}

async fn clear(member: &kube::Client, group: &str) {
    let kinds: &[&str] = match group {
        "api/v1" => &["configmaps", "services"],
        "apis/apps/v1" => &["deployments"],
        _ => &["ingresses"],
    };
    for kind in kinds {
        let path = format!("/{group}/namespaces/demo/{kind}/web-demo");
        member.request::<Value>(http::Request::delete(path).body(Vec::new()).unwrap()).await.unwrap();
    }
}

/// Somebody says no: the run ends, and everybody is told who, why, and how to go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_rejected() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    let line = CommandLine::of(&fleet);
    assert_eq!(line.run("fleetctl workflow reject web-demo -n demo").await.code, 2, "a reason is asked for");
    line.fails("fleetctl workflow reject web-demo -n demo --plan 0000000000 --reason late", 4).await;
    let ran = line.run("fleetctl workflow reject web-demo -n demo --reason late").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "Successfully reject workflow: web-demo\n"), "{ran:?}");
    in_phase(&hub, Phase::WorkflowTerminated).await;
    let status = line.done("fleetctl status web-demo -n demo").await;
    assert!(status.contains("was rejected by") && status.contains(": late"), "{status}");
    assert!(status.contains("fleetctl workflow restart web-demo -n demo"), "{status}");
    let said = line.fails("fleetctl workflow resume web-demo -n demo", 4).await;
    assert!(said.contains("isn't suspended"), "{said}");
    fleet.shutdown().await;
}

/// Whoever agrees to a plan that isn't any more is told what differs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_changed_is_refused_with_the_difference() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    let line = CommandLine::of(&fleet);
    let plan = || async {
        let text = line.done("fleetctl plan web-demo -n demo -o json").await;
        let plan: Value = serde_json::from_str(&text).unwrap();
        plan["planHash"].as_str().unwrap().to_owned()
    };
    let before = plan().await;
    let deployments: Api<Deployment> = Api::namespaced(hub.clone(), "demo");
    let patch = serde_json::json!({"spec": {"minReadySeconds": 1}});
    deployments.patch("web-demo", &Default::default(), &kube::api::Patch::Merge(&patch)).await.unwrap();
    let runs: Api<Run> = Api::namespaced(hub.clone(), "demo");
    line.done("fleetctl workflow restart web-demo -n demo").await;
    let waits = |run: &Run| {
        let steps = run.status.iter().flat_map(|status| &status.steps);
        run.spec.number == 2 && steps.into_iter().any(|step| step.shut_gate().is_some())
    };
    let mut events = std::pin::pin!(kube::runtime::watcher(runs, kube::runtime::watcher::Config::default()));
    loop {
        use futures::StreamExt as _;
        use kube::runtime::watcher::Event::{Apply, InitApply};
        if let Some(Ok(Apply(run) | InitApply(run))) = events.next().await
            && waits(&run)
        {
            break;
        }
    }
    // The Application shows the run before a moment longer.
    crate::support::eventually("the Application shows the second run", async || {
        line.done("fleetctl status web-demo -n demo").await.contains("-2 suspending")
    })
    .await;
    let said = line.fails(&format!("fleetctl workflow resume web-demo -n demo --plan {before}"), 4).await;
    assert!(said.contains("is another one now") && said.contains("what differs:"), "{said}");
    assert!(said.contains("~ Deployment web-demo on"), "{said}");
    fleet.shutdown().await;
}

/// Broken: a cluster that is down holds everybody up, or one that was passed over on purpose gets the revision all the same,
/// or never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_targets_are_passed_over_and_tried_again() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    let line = CommandLine::of(&fleet);
    fleet.fleet().set_running("mc-bj1", false).await.unwrap();
    apply_example(&hub).await;
    in_phase(&hub, Phase::RunningWorkflow).await;
    let skip = "fleetctl workflow skip web-demo -n demo --target";
    assert_eq!(line.run(&format!("{skip} mc-bj1")).await.code, 2, "a reason is asked for");
    let said = line.fails(&format!("{skip} mc-bj9 --reason down"), 3).await;
    assert!(said.contains("is no target of run"), "{said}");
    let said = line.done(&format!("{skip} cluster1-beijing --reason maintenance")).await;
    assert!(said.starts_with("Successfully skip target mc-bj1 of run web-demo-"), "{said}");
    in_phase(&hub, Phase::WorkflowSuspending).await;
    let tree = line.done("fleetctl status web-demo -n demo --tree").await;
    assert!(tree.contains("skipped by") && tree.contains("maintenance"), "{tree}");
    // It is there again, and left alone until somebody asks for it.
    fleet.fleet().set_running("mc-bj1", true).await.unwrap();
    line.done("fleetctl workflow resume web-demo -n demo").await;
    let deployments: Api<Deployment> = Api::namespaced(fleet.client("mc-bj2"), "demo");
    crate::support::eventually("delivered elsewhere", async || {
        deployments.get_opt("web-demo").await.unwrap().is_some()
    })
    .await;
    let passed: Api<Deployment> = Api::namespaced(fleet.client("mc-bj1"), "demo");
    assert!(passed.get_opt("web-demo").await.unwrap().is_none());
    let said = line.done("fleetctl workflow retry web-demo -n demo --target mc-bj1").await;
    assert!(said.starts_with("Successfully retry target mc-bj1 of run web-demo-"), "{said}");
    in_phase(&hub, Phase::Running).await;
    assert!(passed.get_opt("web-demo").await.unwrap().is_some());
    let said = line.fails("fleetctl workflow retry web-demo -n demo --target mc-bj1", 4).await;
    assert!(said.contains("there is nothing to retry"), "{said}");
    fleet.shutdown().await;
}

/// The fleet's kubeconfig for an account of the hub that nothing but a token belongs to.
async fn as_account(fleet: &fleetctl::embedded::Embedded, name: &str) -> CommandLine {
    use k8s_openapi::api::authentication::v1::TokenRequest;
    use k8s_openapi::api::core::v1::ServiceAccount;
    let account = serde_json::json!({ "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": name, "namespace": "demo" } });
    crate::support::apply(&fleet.client("hub"), &account).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(fleet.client("hub"), "demo");
    let request: TokenRequest =
        serde_json::from_value(serde_json::json!({ "spec": { "audiences": [] } })).unwrap();
    let token = accounts.create_token_request(name, &Default::default(), &request).await.unwrap();
    let token = token.status.unwrap().token;
    let kubeconfig = fleet.kubeconfig(None).unwrap().unwrap();
    let mut kubeconfig = fleetctl::yaml::read_all(&kubeconfig).unwrap().remove(0);
    for user in kubeconfig["users"].as_array_mut().unwrap() {
        user["user"] = serde_json::json!({ "token": token });
    }
    CommandLine::with(&kubeconfig.to_string())
}

/// Broken: whoever may approve, and nothing else, can't; or whoever may not, can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approver_who_is_no_administrator_opens_a_gate() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    let line = as_account(&fleet, "ann").await;
    let resume = "fleetctl workflow resume web-demo -n demo";
    assert_eq!(line.run(resume).await.code, 4, "without a right");
    let bind = async |role: &str, kind: &str| {
        let name = format!("ann-{role}");
        let mut binding = serde_json::json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": "ann", "namespace": "demo" }],
        });
        if kind == "RoleBinding" {
            binding["metadata"]["namespace"] = serde_json::json!("demo");
        }
        crate::support::apply(&hub, &binding).await;
    };
    // Who looks doesn't decide.
    bind("view", "RoleBinding").await;
    bind("fleetctl-fleet-viewer", "ClusterRoleBinding").await;
    let said = line.run(resume).await;
    assert_eq!(said.code, 4, "{said:?}");
    in_phase(&hub, Phase::WorkflowSuspending).await;
    bind("fleetctl-approver", "RoleBinding").await;
    let ran = line.run(&format!("{resume} --reason CHG-7")).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    in_phase(&hub, Phase::Running).await;
    let approvals: Api<Approval> = Api::namespaced(hub.clone(), "demo");
    let made = approvals.list(&ListParams::default()).await.unwrap().items;
    let approvers: Vec<&str> = made.iter().map(|one| one.spec.approver.as_str()).collect();
    assert_eq!(approvers, ["system:serviceaccount:demo:ann"]);
    // It decides about plans, and changes nothing.
    assert_eq!(line.run("fleetctl workflow restart web-demo -n demo").await.code, 4);
    fleet.shutdown().await;
}
