//! Prints how many objects are claimed and placed in a second: `cargo bench -p fleet-propagation`.
//!
//! The budget is 2,000 decisions a second; the nearest system reports about 22, with its writes. This is the deciding
//! alone: 10,000 Deployments, a policy for each ten, 100 members, divided by room.

#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fleet_placement::{Cluster, Demand, Fleet, Member, Placed, Survey, decide};
use fleet_propagation::{Claims, KindTable, ObjectFacts, Reader};
use serde_json::json;

const OBJECTS: usize = 10_000;
const POLICIES: usize = 1_000;
const MEMBERS: usize = 100;

fn main() {
    let reader = Reader::new(KindTable::builtin());
    let members = (0..MEMBERS).map(|at| Member {
        cluster: Cluster { name: format!("member-{at}"), accepted: true, ..Cluster::default() },
        ..Member::default()
    });
    let fleet = Fleet::new(members.collect());
    let policies: Vec<_> = (0..POLICIES)
        .map(|at| {
            let manifest = json!({
                "apiVersion": "one.alibabacloud.com/v1alpha1", "kind": "PropagationPolicy",
                "metadata": {"name": format!("p-{at}"), "namespace": format!("n-{}", at % 100)},
                "spec": {
                    "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment",
                        "labelSelector": {"matchLabels": {"team": format!("t-{at}")}}}],
                    "placement": {"replicaScheduling": {"weightPreference": {"dynamicWeight": "AvailableReplicas"}}},
                },
            });
            reader.propagation(&manifest).unwrap()
        })
        .collect();
    let objects: Vec<_> = (0..OBJECTS)
        .map(|at| {
            let policy = at % POLICIES;
            let object = json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": format!("d-{at}"), "namespace": format!("n-{}", policy % 100),
                    "labels": {"team": format!("t-{policy}")}},
            });
            ObjectFacts::of(&object).unwrap()
        })
        .collect();

    let mut claims = Claims::new();
    let began = Instant::now();
    let read = policies.into_iter().map(|policy| claims.set_policy(policy)).count();
    let moved: usize = objects.iter().map(|object| claims.set_object(object.clone()).moved.len()).sum();
    let claimed = began.elapsed();
    say("claims", moved, claimed);

    let began = Instant::now();
    let surveys: BTreeMap<_, _> = objects
        .iter()
        .filter_map(|object| claims.holder(&object.id))
        .map(|id| (id.clone(), Survey::of(&claims.policy(id).unwrap().rules, &fleet)))
        .collect();
    say("surveys", surveys.len().max(OBJECTS.min(read)), began.elapsed());

    let trouble = BTreeMap::new();
    let began = Instant::now();
    let mut replicas = 0;
    for object in &objects {
        let id = claims.holder(&object.id).unwrap();
        let seed = object.id.to_string();
        let demand = Demand {
            seed: &seed,
            replicas: Some(50),
            placed: &Placed::default(),
            room: &|name| Some(name.len() as u64),
            trouble: &trouble,
            fresh: false,
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        let decision = decide(&claims.policy(id).unwrap().rules, surveys.get(id).unwrap(), &fleet, &demand);
        replicas += decision.placed.shares.values().flatten().sum::<u64>();
    }
    say("decisions", OBJECTS, began.elapsed());
    println!("replicas     {replicas}");
}

fn say(what: &str, count: usize, took: Duration) {
    println!("{what:<12} {count} in {took:?}: {:.0} a second", count as f64 / took.as_secs_f64());
}
