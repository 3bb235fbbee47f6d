//! Members that join and leave, on fleets in process: the accounts that `join` makes need a real cluster, so here the
//! kubeconfig's own credentials are kept.

use std::path::PathBuf;
use std::sync::Arc;

use fleet_api::{ManagedCluster, names};
use fleet_controller::{Controller, Options};
use fleet_members::{Remote, RemoteOptions};
use fleetctl::embedded::Embedded;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{CommandLine, apply, eventually, fleet, fleet_of};

/// A hub, another fleet whose clusters can join it, and that one's kubeconfig.
struct Two {
    hub: Embedded,
    others: Embedded,
    line: CommandLine,
    folder: tempfile::TempDir,
}

impl Two {
    async fn start() -> Self {
        let (hub, others) = (fleet().await, fleet_of(false, 8).await);
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = others.kubeconfig(None).unwrap().unwrap();
        std::fs::write(folder.path().join("others"), kubeconfig).unwrap();
        Self { line: CommandLine::of(&hub), hub, others, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn members(&self) -> Api<ManagedCluster> {
        Api::all(self.hub.client("hub"))
    }

    /// The line that joins a cluster of the other fleet.
    fn join(&self, context: &str, more: &str) -> String {
        let file = self.path("others");
        format!(
            "fleetctl cluster join {} --member-context {context} --keep-credentials {more}",
            file.display()
        )
        .trim_end()
        .to_owned()
    }

    async fn secrets(&self) -> Vec<String> {
        let api: Api<Secret> = Api::namespaced(self.hub.client("hub"), names::SYSTEM_NAMESPACE);
        let listed = api.list(&ListParams::default().labels(names::CREDENTIAL_TYPE)).await.unwrap();
        listed.items.iter().map(|secret| secret.name_any()).collect()
    }

    async fn end(self) {
        self.hub.shutdown().await;
        self.others.shutdown().await;
    }
}

/// From joining to detaching: each command does what it says, and says it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_joins_is_looked_after_and_leaves() {
    let two = Two::start().await;
    let line = &two.line;
    let dry = line.done(&two.join("mc-hz1", "--name far --dry-run")).await;
    assert!(dry.contains("managedcluster far would join") && dry.contains("nothing was written"), "{dry}");
    assert!(two.members().get_opt("far").await.unwrap().is_none() && two.secrets().await.is_empty());

    let words = "--name far --alias far-away --labels region=cn-west,tier=gold -o json";
    let joined: Value = serde_json::from_str(&line.done(&two.join("mc-hz1", words)).await).unwrap();
    assert_eq!((&joined["name"], &joined["missing"]), (&json!("far"), &json!([])));
    assert!(joined["version"].as_str().unwrap().starts_with("v1.35."), "{joined}");
    let member = two.members().get("far").await.unwrap();
    assert!(member.spec.hub_accepts_client && !member.annotations().contains_key(names::JOINING));
    assert_eq!(member.recorded_uid(), joined["uid"].as_str());
    assert_eq!(member.labels()["tier"], "gold");
    assert_eq!(member.join_order(), 4);
    assert_eq!(two.secrets().await, ["far"]);
    // Again, as after a crash: nothing is lost, nothing is doubled.
    line.done(&two.join("mc-hz1", "--name far")).await;
    let again = two.members().get("far").await.unwrap();
    assert_eq!((again.alias(), again.join_order()), (Some("far-away"), 4));
    // A join that was cut short receives nothing, shows, and is completed by the same line.
    let unfinished = json!({ "metadata": { "annotations": { names::JOINING: "true" } }, "spec": { "hubAcceptsClient": false } });
    let patch = kube::api::Patch::Merge(&unfinished);
    two.members().patch("far", &kube::api::PatchParams::default(), &patch).await.unwrap();
    let listed = line.done("fleetctl cluster list").await;
    assert!(listed.lines().nth(1).unwrap().contains("joining"), "{listed}");
    line.done(&two.join("mc-hz1", "--name far")).await;
    assert!(two.members().get("far").await.unwrap().spec.hub_accepts_client);

    let listed = line.done("fleetctl cluster list -o wide -l region=cn-west").await;
    assert!(
        listed.contains("far-away")
            && listed.contains("region=cn-west,tier=gold")
            && !listed.contains("mc-bj1"),
        "{listed}"
    );
    assert_eq!(
        line.done("fleetctl cluster list -l tier=gold -o name").await,
        "managedcluster.cluster.open-cluster-management.io/far\n"
    );
    let probed = line.done("fleetctl cluster probe far-away").await;
    assert!(probed.contains("the one that joined") && probed.contains("all 7 that are needed"), "{probed}");

    line.done("fleetctl cluster label far tier- zone=b").await;
    let labels = two.members().get("far").await.unwrap().labels().clone();
    assert!(labels.contains_key("zone") && !labels.contains_key("tier"), "{labels:?}");
    line.done("fleetctl cluster alias far distant").await;
    line.fails("fleetctl cluster alias far cluster1-beijing", 4).await;
    let cordoned = line.done("fleetctl cluster cordon distant --reason racks").await;
    assert!(cordoned.contains("fleetctl cluster uncordon far"), "{cordoned}");
    let status = line.done("fleetctl cluster status far").await;
    assert!(status.contains("cordoned: nothing is delivered to it (racks)"), "{status}");
    line.done("fleetctl cluster uncordon far").await;

    line.done("fleetctl cluster rename far west").await;
    assert!(two.members().get_opt("far").await.unwrap().is_none());
    let west = two.members().get("west").await.unwrap();
    assert_eq!((west.alias(), west.recorded_uid()), (Some("distant"), joined["uid"].as_str()));
    assert!(west.spec.hub_accepts_client && !west.annotations().contains_key(names::JOINING));
    assert_eq!(two.secrets().await, ["west"]);
    line.done("fleetctl cluster probe west").await;

    // Nobody is there to ask.
    let said = line.fails("fleetctl cluster detach west", 7).await;
    assert!(said.contains("--keep-objects or --delete-objects"), "{said}");
    line.done("fleetctl cluster detach west --keep-objects").await;
    assert!(two.members().get_opt("west").await.unwrap().is_none() && two.secrets().await.is_empty());
    two.end().await;
}

/// Each thing that can be wrong is told apart, and leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_joins_change_nothing() {
    let two = Two::start().await;
    let line = &two.line;
    line.done(&two.join("mc-hz1", "--name far --alias far-away")).await;
    let text = std::fs::read_to_string(two.path("others")).unwrap();
    let several = format!("fleetctl cluster join {}", two.path("others").display());
    let said = line.fails(&several, 2).await;
    assert!(said.contains("several contexts: hub, mc-bj1, mc-bj2, mc-hz1"), "{said}");
    // Another fleet's authority: of the same shape, and of somebody else.
    let mut mine: Value = serde_saphyr::from_str(&two.hub.kubeconfig(None).unwrap().unwrap()).unwrap();
    let mut wrong: Value = serde_saphyr::from_str(&text).unwrap();
    let dead = text.replace(&two.others.address().unwrap().to_string(), "127.0.0.1:1");
    wrong["clusters"][1]["cluster"]["certificate-authority-data"] =
        mine["clusters"][0]["cluster"]["certificate-authority-data"].take();
    let mut insecure: Value = serde_saphyr::from_str(&text).unwrap();
    insecure["clusters"][1]["cluster"] = json!({
        "server": insecure["clusters"][1]["cluster"]["server"], "insecure-skip-tls-verify": true,
    });
    std::fs::write(two.path("dead"), dead).unwrap();
    std::fs::write(two.path("wrong"), wrong.to_string()).unwrap();
    std::fs::write(two.path("insecure"), insecure.to_string()).unwrap();
    std::fs::write(two.path("hub"), two.hub.kubeconfig(None).unwrap().unwrap()).unwrap();
    let from = |file: &str, context: &str, more: &str| {
        format!(
            "fleetctl cluster join {} --member-context {context} --keep-credentials {more}",
            two.path(file).display()
        )
    };
    for (words, code, said) in [
        (from("nowhere", "hub", "--name x"), 3, "there is no such file"),
        (from("others", "mc-bj9", "--name x"), 3, "has no context \"mc-bj9\"; did you mean"),
        (from("dead", "mc-bj1", "--name x"), 6, "doesn't answer"),
        (from("wrong", "mc-bj1", "--name x"), 1, "isn't signed by certificate-authority of"),
        (from("insecure", "mc-bj1", "--name x"), 1, "insecure-skip-tls-verify"),
        (from("hub", "hub", "--name x"), 4, "this cluster is the hub itself"),
        (from("others", "mc-hz1", "--name x"), 4, "is a member already: far (far-away)"),
        (from("others", "mc-bj1", "--name far"), 4, "the name far is taken by another cluster"),
        (from("others", "mc-bj1", "--name far-away"), 4, "the name \"far-away\" is taken"),
        (from("others", "mc-bj1", "--name x --alias mc-bj1"), 4, "the alias \"mc-bj1\" is taken"),
        (from("others", "mc-bj1", "--name local"), 2, "has a meaning of its own"),
        (from("others", "mc-bj1", "--name x --namespaces web"), 2, "goes with --profile namespaced only"),
        (from("others", "mc-bj1", "--name x --profile namespaced"), 2, "needs the namespaces"),
        (from("others", "mc-bj1", "--name x --endpoint http://a"), 2, "https://"),
    ] {
        let told = line.fails(&words, code).await;
        assert!(told.contains(said), "{words}: {told}");
    }
    // An address that the controller can't use is found before anything is made on the member.
    let words = from("others", "mc-bj1", "--name x --endpoint https://127.0.0.1:1");
    let told = line.run(&words.replace(" --keep-credentials", "")).await;
    assert_eq!(told.code, 6, "{told:?}");
    assert!(told.err.contains("nothing was made") && !told.err.contains("making account"), "{told:?}");
    // One that is leaving doesn't come back half gone.
    let leaving = json!({ "metadata": { "annotations": { names::DETACHING: "kept" } } });
    let staying = json!({ "metadata": { "annotations": { names::DETACHING: null } } });
    for (change, code) in [(leaving, Some(4)), (staying, None)] {
        let patch = kube::api::Patch::Merge(&change);
        two.members().patch("far", &kube::api::PatchParams::default(), &patch).await.unwrap();
        if let Some(code) = code {
            let told = line.fails(&two.join("mc-hz1", "--name far"), code).await;
            assert!(told.contains("is being detached") && told.contains("cluster detach far"), "{told}");
        }
    }
    assert_eq!(two.secrets().await, ["far"]);
    assert_eq!(two.members().list(&ListParams::default()).await.unwrap().items.len(), 4);
    // Members of the hub's own process are no strangers.
    for (words, said) in [
        ("fleetctl cluster detach mc-bj1 --keep-objects", "runs in the hub's process"),
        ("fleetctl cluster rename mc-bj1 x", "runs in the hub's process"),
        ("fleetctl cluster probe mc-bj1", "runs in the hub's process"),
    ] {
        let told = line.fails(words, 4).await;
        assert!(told.contains(said), "{words}: {told}");
    }
    // What answers is another cluster now.
    let claims =
        json!({ "status": { "clusterClaims": [{ "name": names::CLUSTER_ID_CLAIM, "value": "of-before" }] } });
    let patch = kube::api::Patch::Merge(&claims);
    two.members().patch_status("far", &kube::api::PatchParams::default(), &patch).await.unwrap();
    let told = line.fails("fleetctl cluster probe far", 4).await;
    assert!(told.contains("is another cluster than the one that joined"), "{told}");
    line.fails("fleetctl cluster rejoin far", 7).await;
    line.done("fleetctl cluster rejoin far --yes").await;
    line.done("fleetctl cluster probe far").await;
    two.end().await;
}

const APPLICATION: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: demo }
---
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: { name: web, namespace: demo }
spec:
  components:
    - name: web
      type: k8s-objects
      properties:
        objects:
          - apiVersion: apps/v1
            kind: Deployment
            metadata: { name: web }
            spec:
              replicas: 1
              selector: { matchLabels: { app: web } }
              template:
                metadata: { labels: { app: web } }
                spec: { containers: [{ name: web, image: 'nginx:1' }] }
  policies:
    - { name: where, type: topology, properties: { clusters: [far] } }
";

/// Broken: a cluster that is gone for good stays in the fleet, since whoever takes it out is waiting for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_gone_can_not_be_taken_out() {
    let two = Two::start().await;
    two.line.done(&two.join("mc-hz1", "--name far")).await;
    let Two { hub, others, line, folder: _folder } = two;
    others.shutdown().await;
    let said = line.fails("fleetctl cluster detach far --delete-objects", 6).await;
    assert!(said.contains("nothing was changed") && said.contains("--keep-objects"), "{said}");
    let ran = line.run("fleetctl cluster detach far --keep-objects").await;
    assert!(ran.code == 0 && ran.err.contains("what is there stays as it is"), "{ran:?}");
    let members: Api<ManagedCluster> = Api::all(hub.client("hub"));
    assert!(members.get_opt("far").await.unwrap().is_none());
    hub.shutdown().await;
}

/// What a member has when it leaves is deleted or kept as was said, and nobody else's objects are touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detach_does_with_the_objects_what_was_said() {
    let two = Two::start().await;
    let (line, hub) = (&two.line, two.hub.client("hub"));
    let there = two.others.client("mc-hz1");
    let stop = CancellationToken::new();
    line.done(&two.join("mc-hz1", "--name far")).await;
    let clock = Arc::new(jiff::Timestamp::now);
    let remote =
        Remote::open(hub.clone(), RemoteOptions::new(clock.clone()), stop.child_token()).await.unwrap();
    let controller = Controller::new(hub.clone(), Arc::new(remote.clone()), Options::new(clock));
    let mut running = tokio::task::JoinSet::new();
    running.spawn(controller.run(stop.clone()));
    for object in fleetctl::yaml::read_all(APPLICATION).unwrap() {
        apply(&hub, &object).await;
    }
    let deployments: Api<Deployment> = Api::namespaced(there.clone(), "demo");
    eventually("the delivery", async || deployments.get_opt("web").await.unwrap().is_some()).await;
    let done = |row: &str| row.starts_with("demo/web") && row.contains(" web-") && row.ends_with(" -");
    eventually("the revision on it", async || {
        let now = line.done("fleetctl cluster status far").await;
        now.lines().any(done)
    })
    .await;

    let said = line.fails("fleetctl cluster detach far", 7).await;
    assert!(said.contains("of demo/web: keep or delete them"), "{said}");
    let said = line.fails("fleetctl cluster rename far x", 4).await;
    assert!(said.contains("demo/web") && said.contains("cluster alias far"), "{said}");
    let ran = line.run("fleetctl cluster detach far --keep-objects").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.err.contains("these name it, and will find no such cluster: Application demo/web"),
        "{ran:?}"
    );
    let kept = deployments.get("web").await.unwrap();
    assert!(!kept.labels().contains_key(names::OWNER), "{:?}", kept.labels());
    // It comes back, and the application may take over what it had.
    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
    remote.finished().await;
    two.end().await;
}
