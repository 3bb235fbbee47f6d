//! The right cluster: what answers under a member's name must be the cluster that joined under it.

use std::sync::Arc;

use fleet_api::{Application, ManagedCluster, conditions, names};
use fleet_apiserver::{ApiServer, ClusterProfile, Identity};
use fleet_members::{Transport, TransportError};
use fleet_testkit::{Engine, Fleet, Meter};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::Service as _;

use crate::small::{app, config, looked_at, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");
const GROUP: &str = "cluster.open-cluster-management.io/v1";

/// A member made anew, empty, under the same name and address.
async fn rebuild(fleet: &Fleet, member: &str) -> anyhow::Result<()> {
    fleet.api().remove_cluster(member).await?;
    fleet.api().create_cluster(member, ClusterProfile { workloads: true }).await?;
    Ok(())
}

async fn wait_member(
    fleet: &Fleet,
    name: &str,
    wanted: impl Fn(&ManagedCluster) -> bool,
) -> anyhow::Result<ManagedCluster> {
    let found = fleet
        .wait_object("hub", GROUP, "ManagedCluster", name, |object| {
            object
                .and_then(|object| serde_json::from_value(object.clone()).ok())
                .is_some_and(|cluster| wanted(&cluster))
        })
        .await?;
    Ok(serde_json::from_value(found.unwrap_or_default())?)
}

fn condition(cluster: &ManagedCluster, type_: &str) -> String {
    let all = cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions::find(all, type_).map(|c| format!("{} {}", c.status, c.reason)).unwrap_or_default()
}

/// What `fleetctl cluster rejoin` does: the identity on record is taken away.
async fn rejoin(fleet: &Fleet, member: &str) -> anyhow::Result<()> {
    let api: Api<ManagedCluster> = Api::all(fleet.client("hub"));
    let patch = json!({"status": {"clusterClaims": []}});
    api.patch_status(member, &Default::default(), &kube::api::Patch::Merge(&patch)).await?;
    Ok(())
}

async fn rebuilt_member_gets_nothing(fleet: &Fleet, engine: &Engine) -> anyhow::Result<()> {
    let changed = wait_member(fleet, "m1", |m| condition(m, "Available") == "False ClusterChanged").await?;
    assert_eq!(condition(&changed, "Joined"), "True ManagedClusterJoined");
    engine.members.reset();
    fleet.apply("hub", &config("settings", "2")).await?;
    let target = |app: &Application| {
        let steps = app.status.iter().flat_map(|s| &s.workflow).flat_map(|w| &w.steps);
        steps.flat_map(|step| &step.targets).find(|t| t.cluster == "m1").cloned()
    };
    let told =
        fleet.wait("web", |app| target(app).is_some_and(|target| target.reason == "ClusterChanged")).await?;
    let said = target(&told).map(|target| target.message).unwrap_or_default();
    assert!(said.contains("fleetctl cluster rejoin m1"), "{said}");
    assert!(message(&told).contains("fleetctl cluster rejoin m1"), "{}", message(&told));
    // The other member isn't held up.
    fleet
        .wait_object("m2", "v1", "ConfigMap", "settings", |object| {
            object.and_then(|object| object.pointer("/data/key")) == Some(&json!("2"))
        })
        .await?;
    assert_eq!(value(fleet, "m1", "settings").await?, None, "delivered to a cluster that nobody took in");
    let sent = engine.members.count().sum(|kind| kind.starts_with("PATCH"));
    assert_eq!(sent, 1, "one apply, to m2");

    rejoin(fleet, "m1").await?;
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(fleet, "m1", "settings").await?, Some(json!("2")));
    let there: Value = fleet.get("m1", "v1", "Namespace", "kube-system").await?.unwrap_or_default();
    let uid = there.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned);
    let again = wait_member(fleet, "m1", |m| m.recorded_uid().is_some()).await?;
    assert_eq!(again.recorded_uid().map(str::to_owned), uid);
    wait_member(fleet, "m1", |m| condition(m, "Available") == "True ManagedClusterAvailable").await?;
    Ok(())
}

/// A member that was rebuilt while the controller was down gets nothing until it is said to be meant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_rebuilt_unseen_gets_nothing_until_it_rejoins() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    fleet.wait_phase("web", "running").await?;
    engine.stop().await?;
    rebuild(&fleet, "m1").await?;
    let engine = Engine::start(&fleet);
    rebuilt_member_gets_nothing(&fleet, &engine).await?;
    engine.stop().await
}

/// The same while the controller runs and watches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_rebuilt_under_watch_gets_nothing_until_it_rejoins() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    fleet.wait_phase("web", "running").await?;
    rebuild(&fleet, "m1").await?;
    rebuilt_member_gets_nothing(&fleet, &engine).await?;
    engine.stop().await
}

/// An Application that was rolled out by label to m1 alone; then m2, which is another cluster than the one that joined, is
/// selected as well.
async fn m2_joins_and_is_held(fleet: &Fleet) -> anyhow::Result<()> {
    wait_member(fleet, "m2", |m| condition(m, "Available") == "False ClusterChanged").await?;
    let north = json!({"metadata": {"labels": {"region": "north"}}});
    fleet.merge("hub", GROUP, "ManagedCluster", "m1", &north).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut by_label = app(&[CONFIG], &[]);
    by_label["spec"]["policies"][0]["properties"] = json!({"clusterLabelSelector": {"region": "north"}});
    fleet.apply("hub", &by_label).await?;
    fleet.wait_phase("web", "running").await?;
    fleet.merge("hub", GROUP, "ManagedCluster", "m2", &north).await?;
    looked_at(fleet, "marker").await?;
    assert_eq!(value(fleet, "m2", "settings").await?, None, "delivered to a cluster that nobody took in");
    Ok(())
}

/// Broken: a cluster that was selected while it was another one gets nothing once it rejoins, until somebody edits
/// the Application.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_selected_before_it_rejoins_is_served_then() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    wait_member(&fleet, "m2", |m| m.recorded_uid().is_some()).await?;
    // A member without a watch is asked who it is at a start, or after a long silence.
    engine.stop().await?;
    rebuild(&fleet, "m2").await?;
    let engine = Engine::start(&fleet);
    m2_joins_and_is_held(&fleet).await?;
    rejoin(&fleet, "m2").await?;
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await
}

/// Leads m2 to the cluster `spare` for as long as it is told to.
struct Astray(ApiServer, watch::Sender<bool>);

impl Transport for Astray {
    fn connect(&self, cluster: &ManagedCluster) -> Result<kube::Client, TransportError> {
        let (api, astray, name) = (self.0.clone(), self.1.subscribe(), cluster.name_any());
        let way = tower::service_fn(move |request| {
            let name = if name == "m2" && *astray.borrow() { "spare" } else { &name };
            api.service(name, Identity::admin("fleetctl-controller")).call(request)
        });
        Ok(kube::Client::new(way, "default"))
    }

    fn changes(&self) -> BoxStream<'static, String> {
        let turns = |mut turns: watch::Receiver<bool>| async move {
            turns.changed().await.ok()?;
            Some(("m2".to_owned(), turns))
        };
        futures::stream::unfold(self.1.subscribe(), turns).boxed()
    }
}

/// Broken: a cluster that was selected while its address led to another one gets nothing once that is put right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_selected_before_its_address_is_put_right_is_served_then() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    fleet.api().create_cluster("spare", ClusterProfile { workloads: true }).await?;
    let astray = watch::Sender::new(false);
    let transport = Arc::new(Astray(fleet.api().clone(), astray.clone()));
    let engine = Engine::through(&fleet, transport, Meter::new(), Meter::new(), fleet.options());
    wait_member(&fleet, "m2", |m| m.recorded_uid().is_some()).await?;
    astray.send_replace(true);
    m2_joins_and_is_held(&fleet).await?;
    astray.send_replace(false);
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await
}

/// Leads members to clusters of other names.
struct Elsewhere(ApiServer);

impl Transport for Elsewhere {
    fn connect(&self, cluster: &ManagedCluster) -> Result<kube::Client, TransportError> {
        let name = match cluster.name_any().as_str() {
            "twin" => "m1".to_owned(),
            "mirror" => ApiServer::HUB.to_owned(),
            other => other.to_owned(),
        };
        Ok(kube::Client::new(self.0.service(&name, Identity::admin("fleetctl-controller")), "default"))
    }
}

/// Two names for one cluster would make two targets of it; the later joined is refused, and so is the hub.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_name_for_a_cluster_and_the_hub_itself_are_refused() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    for (order, name) in [(7, "twin"), (8, "mirror")] {
        let member = json!({"apiVersion": GROUP, "kind": "ManagedCluster",
            "metadata": {"name": name, "annotations": {names::JOIN_ORDER: order.to_string()}},
            "spec": {"hubAcceptsClient": true}});
        fleet.apply("hub", &member).await?;
    }
    let transport = Arc::new(Elsewhere(fleet.api().clone()));
    let engine = Engine::through(&fleet, transport, Meter::new(), Meter::new(), fleet.options());
    let twin = wait_member(&fleet, "twin", |m| condition(m, "Available") == "False DuplicateCluster").await?;
    assert_eq!(condition(&twin, "Joined"), "False DuplicateCluster");
    wait_member(&fleet, "mirror", |m| condition(m, "Available") == "False HubItself").await?;
    wait_member(&fleet, "m1", |m| condition(m, "Available").starts_with("True")).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["twin"])).await?;
    let told = fleet.wait("web", |app| message(app).contains("fleetctl cluster detach twin")).await?;
    assert!(message(&told).contains("the same cluster as m1"), "{}", message(&told));
    assert_eq!(value(&fleet, "m1", "settings").await?, None, "delivered under a second name");
    engine.stop().await
}

/// `cluster list` shows what is known of a member, kept by the controller, with few writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_a_member_is_kept_with_few_writes() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let mut options = fleet.options();
    options.members.request_timeout = std::time::Duration::from_millis(300);
    let engine = Engine::with(&fleet, Meter::new(), Meter::new(), options);
    let known = wait_member(&fleet, "m1", |m| {
        m.status.as_ref().is_some_and(|s| s.last_seen.is_some() && !s.allocatable.is_empty())
    })
    .await?;
    assert_eq!(condition(&known, "HubAccepted"), "True HubClusterAdminAccepted");
    assert_eq!(condition(&known, "Joined"), "True ManagedClusterJoined");
    assert_eq!(condition(&known, "Available"), "True ManagedClusterAvailable");
    let status = known.status.clone().unwrap_or_default();
    assert!(status.version.is_some_and(|version| version.kubernetes.starts_with("v1.")));
    assert!(
        status.capacity.contains_key("cpu") && status.capacity.contains_key("memory"),
        "{:?}",
        status.capacity
    );
    let writes = engine.hub.count().sum(|kind| kind == "PATCH managedclusters/status");
    // That it is accepted, which cluster it is, what it has.
    assert!(writes <= 3, "{writes} writes for one member");
    // Requests to members change nothing that is shown.
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    let after = engine.hub.count().sum(|kind| kind == "PATCH managedclusters/status");
    assert_eq!(after, writes);
    // Down, and told so with when it was last heard.
    fleet.api().set_reachable("m1", false);
    fleet.apply("hub", &config("settings", "2")).await?;
    wait_member(&fleet, "m1", |m| condition(m, "Available") == "Unknown Unreachable").await?;
    fleet.api().set_reachable("m1", true);
    wait_member(&fleet, "m1", |m| condition(m, "Available") == "True ManagedClusterAvailable").await?;
    let api: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(fleet.client("hub"), "default");
    let told: Vec<_> = api.list(&ListParams::default()).await?.items;
    assert!(
        told.iter()
            .any(|e| e.involved_object.name.as_deref() == Some("m1")
                && e.reason.as_deref() == Some("Unreachable")),
        "{told:?}"
    );
    engine.stop().await
}
