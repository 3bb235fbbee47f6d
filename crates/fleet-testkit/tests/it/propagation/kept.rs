//! What a policy says becomes of what it lets go holds as it was said last, in whatever order that is heard.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use super::{CONFIG, DEPLOYMENT, GROUP, config, delete, deployment, policy, ready, wait_value};

const OWNER: &str = "/metadata/labels/fleetctl.dev~1owner";

/// The UID of what is ours on the member.
async fn uid(fleet: &Fleet, name: &str) -> anyhow::Result<Value> {
    let ours = |object: Option<&Value>| object.is_some_and(|object| object.pointer(OWNER).is_some());
    let found = fleet.wait_object("m1", "v1", "ConfigMap", name, ours).await?;
    Ok(found.unwrap_or_default()["metadata"]["uid"].clone())
}

/// Waits until something on the member is nobody's; it is the same object as before.
async fn released(fleet: &Fleet, name: &str, before: &Value) -> anyhow::Result<()> {
    let nobodys = |object: Option<&Value>| object.is_some_and(|object| object.pointer(OWNER).is_none());
    let found = fleet.wait_object("m1", "v1", "ConfigMap", name, nobodys).await?.unwrap_or_default();
    assert_eq!(found["metadata"]["uid"], *before, "{found:#}");
    Ok(())
}

/// Broken: `prune: false` doesn't keep what the same edit lets go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_edit_lets_go_stays_as_the_same_edit_says() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["dropped", "selected"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let mut all = policy("all", CONFIG, "", &["one"]);
    fleet.apply("hub", &all).await?;
    ready(&fleet, "all", "Delivered").await?;
    let (dropped, selected) = (uid(&fleet, "dropped").await?, uid(&fleet, "selected").await?);
    all["spec"]["resourceSelectors"][0]["name"] = json!("selected");
    all["spec"]["prune"] = json!(false);
    fleet.apply("hub", &all).await?;
    released(&fleet, "dropped", &dropped).await?;
    assert_eq!(uid(&fleet, "selected").await?, selected);
    // And the other way round: what isn't to be kept any more is deleted.
    all["spec"]["resourceSelectors"][0]["name"] = json!("another");
    all["spec"]["prune"] = json!(true);
    fleet.apply("hub", &all).await?;
    wait_value(&fleet, "m1", "selected", None).await?;
    engine.stop().await
}

/// Broken: `preserveResourcesOnDeletion` that was set before a delete doesn't hold where the delete is heard of first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_preserved_stays_where_its_delete_is_heard_of_first() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut all = policy("all", CONFIG, "", &["one"]);
    fleet.apply("hub", &all).await?;
    ready(&fleet, "all", "Delivered").await?;
    let before = uid(&fleet, "settings").await?;
    engine.hub.hush("propagationpolicies");
    all["spec"]["preserveResourcesOnDeletion"] = json!(true);
    fleet.apply("hub", &all).await?;
    delete(&fleet, "hub", "v1", "ConfigMap", "settings").await?;
    released(&fleet, "settings", &before).await?;
    engine.hub.hear();
    engine.stop().await
}

/// Broken: `prune: false` that was said before a policy was deleted is forgotten where both are heard of together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_policy_said_just_before_it_was_deleted_holds() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut all = policy("all", CONFIG, "", &["one"]);
    fleet.apply("hub", &all).await?;
    ready(&fleet, "all", "Delivered").await?;
    let before = uid(&fleet, "settings").await?;
    engine.hub.hush("propagationpolicies");
    all["spec"]["prune"] = json!(false);
    fleet.apply("hub", &all).await?;
    delete(&fleet, "hub", GROUP, "PropagationPolicy", "all").await?;
    engine.hub.hear();
    released(&fleet, "settings", &before).await?;
    engine.stop().await
}

/// Broken: what went along is deleted in spite of `prune: false`, where the same edit says that nothing goes along any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_along_stays_as_the_edit_says_that_ends_it() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut web = deployment("web", "web:1");
    web["spec"]["template"]["spec"]["containers"][0]["envFrom"] =
        json!([{"configMapRef": {"name": "settings"}}]);
    fleet.apply("hub", &web).await?;
    let mut along = policy("all", DEPLOYMENT, "web", &["one"]);
    along["spec"]["propagateDeps"] = json!(true);
    fleet.apply("hub", &along).await?;
    ready(&fleet, "all", "Delivered").await?;
    let before = uid(&fleet, "settings").await?;
    along["spec"]["propagateDeps"] = json!(false);
    along["spec"]["prune"] = json!(false);
    fleet.apply("hub", &along).await?;
    released(&fleet, "settings", &before).await?;
    engine.stop().await
}
