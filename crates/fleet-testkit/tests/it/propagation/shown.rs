//! What members show comes back to the object on the hub.

use std::time::Duration;

use fleet_testkit::{Engine, Fleet, Meter};
use serde_json::{Value, json};

use super::{DEPLOYMENT, GROUP, delete, deployment, policy, ready, wait_marks, wait_policy};

fn number(object: Option<&Value>, at: &str) -> Option<i64> {
    object.and_then(|object| object.pointer(at)).and_then(Value::as_i64)
}

/// A Deployment on the hub says what it is on all members together, and follows when that changes.
/// Broken: `kubectl rollout status` and `kubectl wait` on the hub wait for ever, or believe what isn't so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_members_show_is_on_the_hubs_object() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    fleet.apply("hub", &policy("all", DEPLOYMENT, "web", &["one", "two"])).await?;
    let all = |available: i64| {
        move |object: Option<&Value>| {
            number(object, "/status/availableReplicas") == Some(available)
                && number(object, "/status/observedGeneration") == number(object, "/metadata/generation")
        }
    };
    let hub = fleet.wait_object("hub", "apps/v1", "Deployment", "web", all(4)).await?.unwrap_or_default();
    let conditions = hub.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let available = conditions.iter().find(|condition| condition["type"] == json!("Available"));
    assert_eq!(available.map(|condition| &condition["status"]), Some(&json!("True")), "{hub:#}");
    ready(&fleet, "all", "Delivered").await?;
    // It is written when it changes, and never because it was written.
    engine.hub.reset();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let written = engine.hub.count().sum(|kind| kind == "PATCH deployments/status");
    assert!(written <= 1, "{:?}", engine.hub.count());
    let uid = hub.pointer("/metadata/uid").cloned();

    fleet.merge("hub", "apps/v1", "Deployment", "web", &json!({"spec": {"replicas": 3}})).await?;
    let hub = fleet.wait_object("hub", "apps/v1", "Deployment", "web", all(6)).await?.unwrap_or_default();
    assert_eq!(hub.pointer("/metadata/uid").cloned(), uid);
    // A status of its own is nothing that travels.
    let there = fleet.get("m1", "apps/v1", "Deployment", "web").await?;
    assert_eq!(number(there.as_ref(), "/status/availableReplicas"), Some(3));
    engine.stop().await?;
    Ok(())
}

fn condition<'v>(policy: &'v Value, kind: &str) -> Option<&'v Value> {
    let conditions = policy.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().find(|condition| condition["type"] == json!(kind))
}

fn status_of<'v>(policy: &'v Value, kind: &str) -> &'v str {
    condition(policy, kind).and_then(|condition| condition["status"].as_str()).unwrap_or_default()
}

/// What runs badly is told for each cluster, and in one line; what runs well costs no words.
/// Broken: a policy whose Deployment never starts, and whose Job failed everywhere, says that all is as it should be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_says_what_is_not_well_and_where() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    let mut bad = deployment("web", "web:broken");
    bad["spec"]["progressDeadlineSeconds"] = json!(1);
    fleet.apply("hub", &bad).await?;
    fleet.apply("hub", &policy("all", DEPLOYMENT, "web", &["one", "two"])).await?;
    let told = wait_policy(&fleet, "PropagationPolicy", "all", |policy| {
        let degraded =
            condition(policy, "Healthy").is_some_and(|healthy| healthy["reason"] == json!("Degraded"));
        degraded && status_of(policy, "Ready") == "True"
    });
    let told = told.await?;
    assert_eq!((status_of(&told, "Ready"), status_of(&told, "Healthy")), ("True", "False"), "{told:#}");
    assert_eq!(told.pointer("/status/objects/unhealthy"), Some(&json!(1)), "{told:#}");
    let places = || {
        (0..2).map(|n| told.pointer(&format!("/status/claimed/0/places/{n}")).cloned().unwrap_or_default())
    };
    assert!(places().any(|place| place["health"] == json!("Degraded")), "{told:#}");
    for place in places().filter(|place| place["health"] == json!("Degraded")) {
        assert_eq!(place["reason"], json!("ProgressDeadlineExceeded"), "{told:#}");
        assert_eq!(place["ready"], json!("0/2"), "{told:#}");
    }
    // However often it fails, it is told at intervals.
    engine.hub.reset();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let written = engine.hub.count().sum(|kind| kind == "PATCH propagationpolicies/status");
    assert!(written <= 4, "{:?}", engine.hub.count());

    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let well =
        wait_policy(&fleet, "PropagationPolicy", "all", |policy| status_of(policy, "Healthy") == "True");
    let well = well.await?;
    let place = well.pointer("/status/claimed/0/places/0").cloned().unwrap_or_default();
    assert_eq!(place, json!({"cluster": "m1", "phase": "Delivered"}), "{well:#}");
    assert!(well.pointer("/status/objects/unhealthy").is_none(), "{well:#}");
    engine.stop().await
}

/// Broken: what a cluster had that fell silent is told to be on its way, and the hub's object as if its change weren't seen; or a
/// controller that was started since says that what it never saw is as last seen, or well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_silent_cluster_has_is_as_last_seen() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let start = || {
        let mut options = fleet.options();
        options.members.request_timeout = Duration::from_millis(300);
        options.members.silence = Duration::from_secs(1);
        Engine::with(&fleet, Meter::new(), Meter::new(), options)
    };
    let engine = start();
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    fleet.apply("hub", &policy("all", DEPLOYMENT, "web", &["one", "two"])).await?;
    let shows = |available: i64, stale: Option<&'static str>| {
        move |object: Option<&Value>| {
            let told = object.and_then(|object| condition(object, "fleetctl.dev/Stale"));
            let (generation, observed) = ("/metadata/generation", "/status/observedGeneration");
            // What isn't known doesn't count as observed.
            let known = stale.is_none_or(|stale| !stale.contains("isn't known"));
            number(object, "/status/availableReplicas") == Some(available)
                && (number(object, observed) == number(object, generation)) == known
                && told.and_then(|told| told["message"].as_str()) == stale
        }
    };
    let place = |policy: &Value| {
        let places = policy.pointer("/status/claimed/0/places").and_then(Value::as_array);
        places
            .into_iter()
            .flatten()
            .find(|place| place["cluster"] == json!("m2"))
            .cloned()
            .unwrap_or_default()
    };
    let says = |policy: &Value, reason: &str, message: &str| {
        let ready = condition(policy, "Ready").cloned().unwrap_or_default();
        ready["reason"] == json!(reason)
            && ready["message"].as_str().is_some_and(|said| said.contains(message))
    };
    fleet.wait_object("hub", "apps/v1", "Deployment", "web", shows(4, None)).await?;
    ready(&fleet, "all", "Delivered").await?;
    wait_marks(&fleet, 2).await?;

    fleet.api().set_reachable("m2", false);
    let old = "as last seen on m2, silent now";
    let told =
        wait_policy(&fleet, "PropagationPolicy", "all", |policy| says(policy, "Delivered", old)).await?;
    assert_eq!((&place(&told)["phase"], &place(&told)["health"]), (&json!("Delivered"), &json!("Unknown")));
    fleet.wait_object("hub", "apps/v1", "Deployment", "web", shows(4, Some("as last seen in m2"))).await?;
    // All of it is looked at once more.
    fleet.apply("hub", &policy("all", DEPLOYMENT, "web", &["two", "one"])).await?;
    wait_policy(&fleet, "PropagationPolicy", "all", |policy| {
        policy.pointer("/status/observedGeneration") == Some(&json!(2)) && says(policy, "Delivered", old)
    })
    .await?;

    engine.kill().await;
    let engine = start();
    let unknown = "not seen since the controller began on m2, silent now";
    let told =
        wait_policy(&fleet, "PropagationPolicy", "all", |policy| says(policy, "Pending", unknown)).await?;
    assert_eq!((&place(&told)["phase"], &place(&told)["health"]), (&json!("Pending"), &json!("Unknown")));
    assert_eq!(
        condition(&told, "Healthy").map(|healthy| &healthy["reason"]),
        Some(&json!("Unknown")),
        "{told:#}"
    );
    let without = Some("without what isn't known of m2");
    fleet.wait_object("hub", "apps/v1", "Deployment", "web", shows(2, without)).await?;
    fleet.api().set_reachable("m2", true);
    fleet.wait_object("hub", "apps/v1", "Deployment", "web", shows(4, None)).await?;
    wait_policy(&fleet, "PropagationPolicy", "all", |policy| status_of(policy, "Healthy") == "True").await?;
    engine.stop().await
}

/// Broken: the hub says for ever that an object is available everywhere, or under an address, that is nowhere any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_member_has_is_not_shown_as_if_it_were_there() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "demo"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]}});
    fleet.apply("hub", &service).await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let mut both = policy("all", DEPLOYMENT, "web", &["one", "two"]);
    let services = json!({"apiVersion": "v1", "kind": "Service", "name": "web"});
    both["spec"]["resourceSelectors"].as_array_mut().unwrap().push(services);
    let shows = |object: Option<&Value>| number(object, "/status/availableReplicas") == Some(4);
    let nothing = |object: Option<&Value>| {
        object.is_some_and(|object| object.pointer("/status").is_none_or(|status| *status == json!({})))
    };
    let address = |object: Option<&Value>| {
        object.is_some_and(|object| object.pointer("/status/loadBalancer/ingress/0").is_some())
    };
    // Deleted, and kept on members as nobody's; by this controller, and by one that was started in between.
    for (kept, restarted) in [(false, false), (true, false), (false, true)] {
        both["spec"]["prune"] = json!(!kept);
        let engine = Engine::start(&fleet);
        fleet.apply("hub", &both).await?;
        fleet.wait_object("hub", "apps/v1", "Deployment", "web", shows).await?;
        if restarted {
            engine.stop().await?;
            delete(&fleet, "hub", GROUP, "PropagationPolicy", "all").await?;
            let engine = Engine::start(&fleet);
            fleet.wait_object("hub", "apps/v1", "Deployment", "web", nothing).await?;
            engine.stop().await?;
            continue;
        }
        delete(&fleet, "hub", GROUP, "PropagationPolicy", "all").await?;
        fleet.wait_object("hub", "apps/v1", "Deployment", "web", nothing).await?;
        fleet.wait_object("hub", "v1", "Service", "web", |object| !address(object)).await?;
        engine.stop().await?;
        if kept {
            for cluster in ["m1", "m2"] {
                delete(&fleet, cluster, "apps/v1", "Deployment", "web").await?;
                delete(&fleet, cluster, "v1", "Service", "web").await?;
            }
        }
    }
    Ok(())
}
