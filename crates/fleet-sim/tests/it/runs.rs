//! Whole runs: converge, restart, survive refusals and forgotten watches, and do it in few requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use fleet_sim::Members;
use fleet_sim::{Options, Pods, Simulator, seed_member};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fake::{Fake, State};

fn options(pods: Pods) -> Options {
    let start = Instant::now();
    let base: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut options = Options::new(move || base + SignedDuration::try_from(start.elapsed()).unwrap());
    options.settings.pods = pods;
    options
}

fn deployment(replicas: i64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "demo" },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": "web" } },
            "template": { "metadata": { "labels": { "app": "web" } },
                "spec": { "restartPolicy": "Always", "containers": [{ "name": "main", "image": image }] } },
        },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": "demo" },
        "spec": { "type": "LoadBalancer", "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
    })
}

/// Whether the Deployment has got where its spec wants it.
fn rolled_out(state: &State, member: &str, image: &str) -> bool {
    let Some(web) = state.of(member, "deployments").first().copied().cloned() else { return false };
    let wanted = &web["spec"]["replicas"];
    let observed = web["status"]["observedGeneration"] == web["metadata"]["generation"];
    observed
        && ["replicas", "updatedReplicas", "availableReplicas"]
            .iter()
            .all(|field| web["status"][field] == *wanted)
        && web["spec"]["template"]["spec"]["containers"][0]["image"] == image
}

/// If this fails, members don't live: nothing that is delivered becomes ready.
#[tokio::test(start_paused = true)]
async fn members_bring_their_objects_to_life() {
    let fake = Fake::new();
    let members = ["m1", "m2", "other"];
    for member in members {
        let client = fake.member(member);
        seed_member(&client).await.unwrap();
        seed_member(&client).await.unwrap();
        fake.put(member, "deployments", deployment(5, "web:1"));
    }
    let mut options = options(Pods::Full);
    options.filter = Some(Arc::new(|member| member != "other"));
    let walk = async {
        fake.until("both roll out", |state| {
            rolled_out(state, "m1", "web:1") && rolled_out(state, "m2", "web:1")
        })
        .await;
        fake.put("m1", "services", service());
        let ingress = json!({ "metadata": { "name": "web", "namespace": "demo" }, "spec": { "rules": [] } });
        fake.put("m1", "ingresses", ingress);
        fake.until("addresses", |state| {
            let given = |plural: &str| {
                state.of("m1", plural)[0]["status"]["loadBalancer"]["ingress"][0]["ip"].is_string()
            };
            let slices = state.of("m1", "endpointslices");
            let ready = slices.first().and_then(|slice| slice["endpoints"].as_array()).map_or(0, Vec::len);
            given("services") && given("ingresses") && ready == 5
        })
        .await;
        assert_eq!(fake.get("m1", "ingresses", "web")["spec"]["ingressClassName"], "nginx");
        fake.edit("m1", "deployments", "web", &deployment(3, "web:2"));
        fake.until("the update", |state| rolled_out(state, "m1", "web:2")).await;
        fake.until("the node", |state| state.of("m2", "nodes")[0]["status"]["conditions"].is_array()).await;
    };
    tokio::join!(walk, stop_after(&fake, options, |state| rolled_out(state, "m1", "web:2")));
    let state = fake.state.lock().unwrap();
    assert_eq!(state.of("m1", "pods").len(), 3);
    assert_eq!(state.of("m2", "pods").len(), 5);
    assert!(state.of("other", "replicasets").is_empty(), "who isn't chosen is left alone");
    assert!(state.of("other", "nodes")[0].get("status").is_none());
    for pod in state.of("m2", "pods") {
        assert_eq!(pod["spec"]["nodeName"], "node-0");
        assert_eq!(pod["status"]["phase"], "Running");
    }
}

/// Runs a simulator until the members are as wanted.
async fn stop_after(fake: &Fake, options: Options, wanted: impl Fn(&State) -> bool + Send + Sync) {
    let done = fake.clone();
    let shutdown = async move { done.until("the end of the run", wanted).await };
    Simulator::new(fake.clone(), options).run(shutdown).await;
}

/// If this fails, a fleet of a thousand members is slow: requests per member are what it costs.
#[tokio::test(start_paused = true)]
async fn a_thousand_counted_members_cost_few_requests() {
    let fake = Fake::new();
    let names: Vec<String> = (0..1_000).map(|n| format!("m{n}")).collect();
    for name in &names {
        fake.put(name, "deployments", deployment(5, "web:1"));
    }
    // Members that are done stay done: the check goes on from there.
    let done = AtomicUsize::new(0);
    stop_after(&fake, options(Pods::Counted), move |state| {
        let rest =
            names.iter().skip(done.load(Relaxed)).take_while(|name| rolled_out(state, name, "web:1")).count();
        done.fetch_add(rest, Relaxed) + rest == names.len()
    })
    .await;
    let state = fake.state.lock().unwrap();
    let lists = state
        .requests
        .iter()
        .filter(|(verb, _)| verb.starts_with("GET"))
        .map(|(_, count)| count)
        .sum::<usize>();
    assert_eq!(lists, 11, "one list per kind, whatever the number of members");
    assert_eq!(state.count("POST replicasets"), 1_000);
    assert_eq!(state.count("PATCH deployments"), 1_000, "the revision's annotation");
    assert_eq!(state.count("PATCH replicasets/status"), 2_000);
    assert!(state.count("PATCH deployments/status") <= 3_000);
    assert_eq!(state.count("POST pods"), 0);
    assert_eq!(
        state.requests.values().sum::<usize>() - lists,
        4_000 + state.count("PATCH deployments/status")
    );
}

/// If this fails, a restart makes pods anew, or forgets those that were on their way.
#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_where_it_was() {
    let fake = Fake::new();
    fake.put("m", "deployments", deployment(8, "web:1"));
    for pods in 1..8 {
        // The list of pods comes last: until then nobody may think that there are none.
        fake.state.lock().unwrap().failing = Some(("GET pods".to_owned(), 3));
        stop_after(&fake, options(Pods::Full), move |state| state.of("m", "pods").len() >= pods).await;
    }
    stop_after(&fake, options(Pods::Full), |state| rolled_out(state, "m", "web:1")).await;
    let state = fake.state.lock().unwrap();
    assert_eq!((state.of("m", "pods").len(), state.of("m", "replicasets").len()), (8, 1));
    assert_eq!(state.count("POST pods"), 8, "none is made twice");
}

/// If this fails, a server that forgets its past or ends its watches stops the simulation, or what was deleted meanwhile
/// lives on.
#[tokio::test(start_paused = true)]
async fn forgotten_watches_are_listed_anew() {
    let fake = Fake::new();
    fake.put("m", "deployments", deployment(2, "web:1"));
    let walk = async {
        for version in 2..5 {
            fake.until("the rollout", |state| rolled_out(state, "m", &format!("web:{}", version - 1))).await;
            fake.forget();
            fake.edit("m", "deployments", "web", &deployment(2, &format!("web:{version}")));
        }
    };
    tokio::join!(walk, stop_after(&fake, options(Pods::Full), |state| rolled_out(state, "m", "web:4")));
    assert_eq!(fake.state.lock().unwrap().of("m", "pods").len(), 2);
}

/// If this fails, one refused write leaves an object half done for ever, or is repeated without a pause.
#[tokio::test(start_paused = true)]
async fn refused_writes_are_tried_again() {
    for verb in [
        "POST pods",
        "PATCH pods/status",
        "POST replicasets",
        "PATCH deployments",
        "PATCH deployments/status",
    ] {
        let fake = Fake::new();
        fake.state.lock().unwrap().failing = Some((verb.to_owned(), 6));
        fake.put("m", "deployments", deployment(2, "web:1"));
        stop_after(&fake, options(Pods::Full), |state| rolled_out(state, "m", "web:1")).await;
        let state = fake.state.lock().unwrap();
        assert_eq!(state.of("m", "pods").len(), 2, "{verb}");
        assert_eq!(state.of("m", "replicasets").len(), 1, "{verb}");
    }
}

/// If this fails, a pod by hand isn't bound, or a server that can't bind is asked for ever.
#[tokio::test(start_paused = true)]
async fn bare_pods_run() {
    let fake = Fake::new();
    let pod = json!({ "metadata": { "name": "p", "namespace": "demo" },
        "spec": { "restartPolicy": "Always", "containers": [{ "name": "main", "image": "web:1" }] } });
    fake.put("m", "pods", pod);
    stop_after(&fake, options(Pods::Full), |state| {
        let pod = state.of("m", "pods")[0];
        pod["status"]["phase"] == "Running" && pod["spec"]["nodeName"] == "node-0"
    })
    .await;
    assert_eq!(fake.state.lock().unwrap().count("POST pods/binding"), 1);
}
