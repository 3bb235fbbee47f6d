//! Fifty embedded members, and what black holes among them cost the others.

use std::sync::Arc;
use std::time::Duration;

use fleet_api::{ManagedCluster, ObjectId, names};
use fleet_apiserver::{ApiServer, ClusterProfile, Identity as Caller};
use fleet_members::{Member, Members, Options, Reachability, Transport, TransportError};
use kube::ResourceExt as _;
use serde_json::json;
use tokio::time::Instant;

use crate::support::api_server;

const MEMBERS: usize = 50;
const HOLES: usize = 15;
const ROUNDS: usize = 20;

struct InProcess(ApiServer);

impl Transport for InProcess {
    fn connect(&self, cluster: &ManagedCluster) -> Result<kube::Client, TransportError> {
        Ok(kube::Client::new(self.0.service(&cluster.name_any(), Caller::admin("test")), "default"))
    }
}

fn settings() -> ObjectId {
    ObjectId::new("v1", "ConfigMap", "default", "settings")
}

/// Applies to every member, all members at once. Answers how long the requests that succeeded took, in order.
async fn applied(members: &[Arc<Member>], value: &str) -> Vec<Duration> {
    let asks = members.iter().map(|member| async move {
        let mut took = Vec::new();
        for round in 0..ROUNDS {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings",
                "namespace": "default", "labels": {names::OWNER: "us"}}, "data": {"n": format!("{value} {round}")}});
            let began = Instant::now();
            if member.apply(&settings(), &object, "fleetctl:us", false).await.is_ok() {
                took.push(began.elapsed());
            }
        }
        took
    });
    let mut all: Vec<Duration> = futures::future::join_all(asks).await.into_iter().flatten().collect();
    all.sort();
    all
}

fn shown(took: &[Duration]) -> String {
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    format!("p50 {:?}, p99 {:?}, longest {:?} of {}", at(50), at(99), at(100), took.len())
}

/// One cluster that hangs costs the others nothing: no request of theirs fails or waits for a deadline of the black
/// holes, and those are asked a bounded number of times.
#[tokio::test]
async fn black_holes_among_embedded_members() {
    let fleet = api_server();
    for n in 0..MEMBERS {
        fleet.create_cluster(&format!("m{n}"), ClusterProfile { workloads: true }).await.unwrap();
    }
    let deadline = Duration::from_secs(5);
    let members = Members::new(
        Arc::new(InProcess(fleet.clone())),
        Arc::new(|_: &str, _: &str, _: &str| Some(("configmaps".to_owned(), true))),
        Options { request_timeout: deadline, ..Options::default() },
        Default::default(),
        Box::new(|_| {}),
    );
    let all: Vec<Arc<Member>> = (0..MEMBERS)
        .map(|n| {
            members.upsert(ManagedCluster::new(&format!("m{n}"), crate::support::accepted()));
            members.get(&format!("m{n}")).unwrap()
        })
        .collect();
    let (holes, healthy) = all.split_at(HOLES);
    let _ = applied(&all, "first").await;
    let before = applied(healthy, "before").await;
    for hole in holes {
        fleet.set_reachable(hole.name(), false);
    }
    let (during, lost) = tokio::join!(applied(healthy, "during"), applied(holes, "during"));
    println!("{} healthy members alone: {}", MEMBERS - HOLES, shown(&before));
    println!("beside {HOLES} black holes:  {}", shown(&during));
    assert_eq!((before.len(), during.len()), ((MEMBERS - HOLES) * ROUNDS, (MEMBERS - HOLES) * ROUNDS));
    assert!(during.last().unwrap() < &deadline, "somebody waited for a black hole: {}", shown(&during));
    assert!(lost.is_empty(), "a black hole answered");
    assert!(holes.iter().all(|hole| hole.reachability() != Reachability::Reachable));
    assert!(healthy.iter().all(|member| member.reachability() == Reachability::Reachable));
}
