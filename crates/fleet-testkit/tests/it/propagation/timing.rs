//! Edits in any order, with restarts in between: what stands at the end is what was asked for last.

use std::collections::{BTreeMap, BTreeSet};

use fleet_testkit::{Engine, Fleet};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{CONFIG, GROUP, config, policy, value, wait_value};

const CLUSTERS: [&str; 3] = ["m1", "m2", "m3"];
const OBJECTS: [&str; 3] = ["a", "b", "c"];

/// The same numbers for the same seed (Marsaglia's xorshift).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn some(&mut self) -> BTreeSet<&'static str> {
        let chosen: BTreeSet<&str> = CLUSTERS.into_iter().filter(|_| self.roll(2) == 0).collect();
        if chosen.is_empty() { BTreeSet::from([CLUSTERS[0]]) } else { chosen }
    }
}

/// What is asked for of one object.
#[derive(Default)]
struct Asked {
    value: Option<String>,
    clusters: Option<BTreeSet<&'static str>>,
    mask: Option<BTreeSet<&'static str>>,
}

impl Asked {
    fn policy(&self, name: &str) -> Option<Value> {
        let clusters: Vec<&str> = self.clusters.as_ref()?.iter().copied().collect();
        let mut policy = policy(name, CONFIG, name, &clusters);
        if let Some(mask) = &self.mask {
            policy["spec"]["mask"] = json!(mask);
        }
        Some(policy)
    }
}

async fn gone(fleet: &Fleet, api_version: &str, kind: &str, name: &str) -> anyhow::Result<()> {
    let api = fleet.resource("hub", &json!({"apiVersion": api_version, "kind": kind})).await?;
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Broken: an edit that comes at the wrong moment is lost, or a restart brings back what was taken away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_timing_the_end_is_what_was_asked_for_last() -> anyhow::Result<()> {
    for seed in 1..=4 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (seed << 32));
        let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
        let mut engine = Engine::start(&fleet);
        let mut asked: BTreeMap<&str, Asked> = OBJECTS.map(|name| (name, Asked::default())).into();
        for turn in 0..60 {
            let name = OBJECTS[usize::try_from(dice.roll(3))?];
            let about = asked.get_mut(name).expect("known");
            match dice.roll(10) {
                0 => {
                    about.value = None;
                    gone(&fleet, "v1", "ConfigMap", name).await?;
                }
                1 => {
                    about.clusters = None;
                    gone(&fleet, GROUP, "PropagationPolicy", name).await?;
                }
                2 => about.mask = (dice.roll(2) == 0).then(|| dice.some()),
                3..=5 => about.clusters = Some(dice.some()),
                6 if dice.roll(3) == 0 => {
                    engine.kill().await;
                    engine = Engine::start(&fleet);
                }
                _ => about.value = Some(turn.to_string()),
            }
            if let Some(value) = &about.value {
                fleet.apply("hub", &config(name, value)).await?;
            }
            if let Some(policy) = about.policy(name) {
                // An apply leaves what others own, and a mask that is gone is to go.
                fleet.apply("hub", &policy).await?;
            }
            for _ in 0..dice.roll(200) {
                tokio::task::yield_now().await;
            }
        }
        for (name, about) in &mut asked {
            about.mask = None;
            if let Some(policy) = about.policy(name) {
                fleet.apply("hub", &policy).await?;
            }
        }
        for (name, about) in &asked {
            for cluster in CLUSTERS {
                let there = about.clusters.as_ref().is_some_and(|clusters| clusters.contains(cluster));
                let wanted = about.value.as_deref().filter(|_| there);
                wait_value(&fleet, cluster, name, wanted)
                    .await
                    .map_err(|error| error.context(format!("seed {seed}, {name} on {cluster}")))?;
            }
        }
        // And it stays so.
        let before: Vec<_> = values_of(&fleet).await?;
        engine.stop().await?;
        let engine = Engine::start(&fleet);
        fleet.apply("hub", &config("last", "1")).await?;
        fleet.apply("hub", &policy("last", CONFIG, "last", &["m1"])).await?;
        wait_value(&fleet, "m1", "last", Some("1")).await?;
        assert_eq!(before, values_of(&fleet).await?, "seed {seed}");
        engine.stop().await?;
        fleet.stop().await;
    }
    Ok(())
}

/// What a member shows of each object, in the order in which it showed it, until it shows one named `end`.
pub(super) fn follow(
    fleet: &Fleet,
    cluster: &'static str,
) -> impl Future<Output = (&'static str, Vec<(String, u64)>)> + use<> {
    let api: Api<ConfigMap> = Api::namespaced(fleet.client(cluster), "demo");
    async move {
        let mut shown = Vec::new();
        let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default()).touched_objects());
        while let Some(event) = events.next().await {
            let Ok(object) = event else { continue };
            let value = object.data.as_ref().and_then(|data| data.get("key")?.parse().ok());
            let name = object.name_any();
            if name == "end" {
                break;
            }
            shown.extend(value.map(|value| (name, value)));
        }
        (cluster, shown)
    }
}

/// Labels of clusters change, clusters are accepted and no longer accepted, while objects are edited and the controller is
/// killed. Broken: an edit overtakes a later one, what a label took away comes back, or a cluster that isn't accepted loses
/// or gets something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_and_who_is_accepted_are_followed_in_order() -> anyhow::Result<()> {
    const FLEET: &str = "cluster.open-cluster-management.io/v1";
    for seed in 1..=3 {
        let mut dice = Dice(0x2545_f491_4f6c_dd1d ^ (seed << 32));
        let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
        let mut engine = Engine::start(&fleet);
        let watched: JoinSet<_> = CLUSTERS.into_iter().map(|cluster| follow(&fleet, cluster)).collect();
        for name in OBJECTS {
            let mut by_label = policy(name, CONFIG, name, &[]);
            by_label["spec"]["placement"] =
                json!({"clusterAffinity": {"labelSelector": {"matchLabels": {name: "yes"}}}});
            fleet.apply("hub", &by_label).await?;
        }
        let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut values: BTreeMap<&str, u64> = BTreeMap::new();
        for turn in 1..60 {
            let name = OBJECTS[usize::try_from(dice.roll(3))?];
            match dice.roll(10) {
                0..=4 => {
                    values.insert(name, turn);
                    fleet.apply("hub", &config(name, &turn.to_string())).await?;
                }
                5..=7 => {
                    let clusters = dice.some();
                    for cluster in CLUSTERS {
                        let label = clusters.contains(cluster).then_some("yes");
                        let patch = json!({"metadata": {"labels": {name: label}}});
                        fleet.merge("hub", FLEET, "ManagedCluster", cluster, &patch).await?;
                    }
                    labels.insert(name, clusters);
                }
                8 => {
                    let cluster = CLUSTERS[usize::try_from(dice.roll(3))?];
                    let patch = json!({"spec": {"hubAcceptsClient": dice.roll(2) == 0}});
                    fleet.merge("hub", FLEET, "ManagedCluster", cluster, &patch).await?;
                }
                _ => {
                    engine.kill().await;
                    engine = Engine::start(&fleet);
                }
            }
            for _ in 0..dice.roll(200) {
                tokio::task::yield_now().await;
            }
        }
        for cluster in CLUSTERS {
            let patch = json!({"spec": {"hubAcceptsClient": true}});
            fleet.merge("hub", FLEET, "ManagedCluster", cluster, &patch).await?;
        }
        for (name, clusters) in &labels {
            for cluster in CLUSTERS {
                let wanted = values.get(name).filter(|_| clusters.contains(cluster)).map(u64::to_string);
                wait_value(&fleet, cluster, name, wanted.as_deref())
                    .await
                    .map_err(|error| error.context(format!("seed {seed}, {name} on {cluster}")))?;
            }
        }
        engine.stop().await?;
        for cluster in CLUSTERS {
            end(&fleet, cluster).await?;
        }
        in_order(watched, seed).await?;
        fleet.stop().await;
    }
    Ok(())
}

/// Ends what is followed on a member; where its namespace is on its way out, when it is gone.
pub(super) async fn end(fleet: &Fleet, cluster: &str) -> anyhow::Result<()> {
    let stays = |object: Option<&Value>| {
        object.is_none_or(|object| object.pointer("/metadata/deletionTimestamp").is_none())
    };
    fleet.wait_object(cluster, "v1", "Namespace", "demo", stays).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply(cluster, &namespace).await?;
    fleet.apply(cluster, &config("end", "0")).await?;
    Ok(())
}

/// What members showed went forward, whatever was seen of it.
pub(super) async fn in_order(
    mut followed: JoinSet<(&'static str, Vec<(String, u64)>)>,
    seed: u64,
) -> anyhow::Result<()> {
    while let Some(done) = followed.join_next().await {
        let (cluster, shown) = done?;
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        for (name, value) in shown {
            let before = newest.insert(name.clone(), value).unwrap_or(0);
            assert!(before <= value, "seed {seed}, {name} on {cluster}: {value} after {before}");
        }
    }
    Ok(())
}

/// The values everywhere.
async fn values_of(fleet: &Fleet) -> anyhow::Result<Vec<Option<Value>>> {
    let mut all = Vec::new();
    for cluster in CLUSTERS {
        for name in OBJECTS {
            all.push(value(fleet, cluster, name).await?);
        }
    }
    Ok(all)
}
