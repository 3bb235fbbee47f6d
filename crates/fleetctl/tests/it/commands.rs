//! What is read: `get` over members, lists, refusals.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::support::{CommandLine, fleet};

fn map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "default", "labels": { "app": name } }, "data": { "k": value },
    }))
    .unwrap()
}

/// The listing of members is part of the manual, letter by letter, under every name of the program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_listed() {
    let fleet = fleet().await;
    let line = CommandLine::of(&fleet);
    let expected = "\
Name     Alias               HubAccepted
mc-hz1   cluster1-hangzhou   true
mc-bj2   cluster2-beijing    true
mc-bj1   cluster1-beijing    true
";
    for words in
        ["fleetctl get managedcluster", "fleetctl get mcl", "/usr/bin/kubectl-amc get managedclusters"]
    {
        assert_eq!(line.done(words).await, expected);
    }
    let one = line.done("fleetctl get mcl cluster2-beijing").await;
    assert_eq!(one.lines().nth(1), Some("mc-bj2   cluster2-beijing   true"));
    assert!(line.done("fleetctl cluster list").await.contains("mc-bj1"));
    assert!(line.done("fleetctl cluster status cluster1-hangzhou").await.contains("HubAccepted"));
    let list: Value = serde_json::from_str(&line.done("fleetctl get mcl -o json").await).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    fleet.shutdown().await;
}

/// Every form of `get` that reaches members.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_looks_across_members() {
    let fleet = fleet().await;
    let line = CommandLine::of(&fleet);
    for (cluster, name) in [("mc-bj1", "red"), ("mc-hz1", "red"), ("mc-hz1", "blue")] {
        let maps: Api<ConfigMap> = Api::namespaced(fleet.client(cluster), "default");
        maps.create(&PostParams::default(), &map(name, cluster)).await.unwrap();
    }
    let named = line.done("fleetctl get cm red -m all --no-headers").await;
    let rows: Vec<String> = named.lines().map(|row| row.split("   ").next().unwrap().to_owned()).collect();
    let expected = [
        "Run on ManagedCluster mc-hz1 (cluster1-hangzhou)",
        "red",
        "Run on ManagedCluster mc-bj2 (cluster2-beijing)",
        "No resources found in default namespace",
        "Run on ManagedCluster mc-bj1 (cluster1-beijing)",
        "red",
    ];
    assert_eq!(rows, expected);

    // Programs read stdout; where it comes from is told beside it.
    let selected = line.run("fleetctl get cm -l app=blue -m mc-hz1,mc-bj1 -o name").await;
    let expected = "\
Run on ManagedCluster mc-hz1 (cluster1-hangzhou)
Run on ManagedCluster mc-bj1 (cluster1-beijing)
No resources found in default namespace
";
    assert_eq!((selected.out.as_str(), selected.err.as_str()), ("configmap/blue\n", expected));
    let path = "fleetctl get cm/red -m cluster1-beijing -o jsonpath={.data.k}";
    assert_eq!(line.done(path).await, "mc-bj1");

    let list: Value =
        serde_json::from_str(&line.done("fleetctl get cm -l app -m all -o json").await).unwrap();
    let origin =
        |item: &Value| item["metadata"]["annotations"]["fleetctl.dev/cluster"].as_str().unwrap().to_owned();
    let origins: Vec<String> = list["items"].as_array().unwrap().iter().map(origin).collect();
    assert_eq!(origins, ["mc-hz1", "mc-hz1", "mc-bj1"]);
    let single: Value =
        serde_json::from_str(&line.done("fleetctl get cm red -m mc-bj1 -o json").await).unwrap();
    assert_eq!(single["kind"], "ConfigMap");

    let both = line.done("fleetctl get ns,cm -m mc-bj2").await;
    assert!(both.contains("namespace/default") && both.contains("\n\nNAME"), "{both}");
    let everywhere = line.done("fleetctl get cm -A -m mc-hz1").await;
    assert!(everywhere.lines().nth(1).unwrap().starts_with("NAMESPACE"), "{everywhere}");
    assert!(
        line.done("fleetctl get deploy -n demo -m mc-bj1")
            .await
            .ends_with("No resources found in demo namespace\n")
    );
    assert_eq!(line.run("fleetctl get cm -n demo").await.err, "No resources found in demo namespace.\n");
    // Named, and on none of them.
    let none = line.run("fleetctl get cm green -m all").await;
    assert_eq!(
        (none.code, none.err.as_str()),
        (3, "error: configmaps \"green\" not found on any asked member\n")
    );
    assert_eq!(none.out.matches("No resources found in default namespace\n").count(), 3, "{none:?}");
    // One of two names; what is found is shown all the same.
    let one = line.run("fleetctl get cm red green -m mc-bj1").await;
    assert_eq!((one.code, one.err.as_str()), (3, none.err.as_str()), "{one:?}");
    assert!(one.out.contains("\nred "), "{one:?}");
    assert_eq!(line.run("fleetctl get cm red blue -m all").await.code, 0);
    for (words, code) in [("cm green -m all", 3), ("cm green -m mc-bj1", 3), ("cm -l app=green -m all", 0)] {
        let none = line.run(&format!("fleetctl get {words} -o json")).await;
        let list: Value = serde_json::from_str(&none.out).unwrap();
        assert_eq!((none.code, &list["kind"], &list["items"]), (code, &json!("List"), &json!([])), "{words}");
    }
    fleet.shutdown().await;
}

/// Each refusal is one line with the place, the cause and the next step, and a code for scripts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_clear() {
    let fleet = fleet().await;
    let line = CommandLine::of(&fleet);
    let said = line.fails("fleetctl get pods -m mc-bj3", 3).await;
    assert!(said.contains("no member \"mc-bj3\"; did you mean \"mc-bj1\"?"), "{said}");
    let said = line.fails("fleetctl get deploymnet", 3).await;
    assert!(said.contains("did you mean \"deployment\"?"), "{said}");
    let said = line.fails("fleetctl get cm nothing", 3).await;
    assert!(said.contains("configmaps \"nothing\" not found"), "{said}");
    let said = line.fails("fleetctl get pods --context hubb", 3).await;
    assert!(said.contains("did you mean \"hub\"?"), "{said}");
    let said = line.fails("fleetctl workflow resume web -n demo", 3).await;
    assert!(said.contains("no Application \"web\" in namespace demo; there are no Applications"), "{said}");
    line.fails("fleetctl get pods x -l a=b", 2).await;
    line.fails("fleetctl get pods -o xml", 2).await;
    assert_eq!(line.run("fleetctl nonsense").await.code, 2);
    let said = line.fails("fleetctl get pods --kubeconfig /nowhere/kubeconfig", 3).await;
    assert!(said.contains("kubeconfig /nowhere/kubeconfig: there is no such file"), "{said}");
    for words in ["workflow list -A", "status web", "cluster list"] {
        let said = line.fails(&format!("fleetctl {words} --context mc-bj1"), 3).await;
        assert!(said.contains("is no hub of a fleet"), "{words}: {said}");
    }
    assert!(line.done("fleetctl --help").await.contains("Exit codes"));
    assert!(line.done("fleetctl completion bash").await.contains("_fleetctl"));

    // Without a context of their own people don't get to a member by somebody else's credentials.
    let whole = fleet.kubeconfig(None).unwrap().unwrap();
    let poor = CommandLine::with(&whole.replace("name: mc-hz1\n", "name: another\n"));
    let ran = poor.run("fleetctl get ns default -m all --no-headers").await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("no kubeconfig context named \"mc-hz1\" or \"cluster1-hangzhou\""), "{ran:?}");
    assert_eq!(ran.out.matches("Run on ManagedCluster").count(), 2, "{ran:?}");
    fleet.shutdown().await;
}

/// One member that hangs costs its deadline, and the others nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_member_does_not_stop_the_others() {
    let fleet = fleet().await;
    let line = CommandLine::of(&fleet);
    fleet.fleet().set_running("mc-hz1", false).await.unwrap();
    let ran = line.run("fleetctl get ns default -m all --timeout 300ms --no-headers").await;
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.err.starts_with("error: mc-hz1 (cluster1-hangzhou): "), "{ran:?}");
    assert!(ran.err.contains("no answer within 0.3 s"), "{ran:?}");
    assert_eq!(ran.out.matches("default").count(), 2, "{ran:?}");
    fleet.shutdown().await;
    let said = line.fails("fleetctl get mcl", 6).await;
    assert!(said.contains("is it running?"), "{said}");
}
