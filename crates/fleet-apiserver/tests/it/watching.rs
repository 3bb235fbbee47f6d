//! Watches, as plain HTTP.

use std::time::Duration;

use fleet_apiserver::{ApiServer, Body, Identity};
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::support::*;

struct Watch {
    body: Body,
    text: String,
}

impl Watch {
    async fn open(server: &ApiServer, cluster: &str, path: &str, accept: &str) -> Self {
        let request = request(Method::GET, path, &[("accept", accept)], "");
        let response = server.handle(cluster, Identity::admin("test"), request).await;
        assert_eq!(response.status(), 200, "{path}");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let event = serde_json::from_str(line).unwrap();
                self.text = rest.to_owned();
                return Some(event);
            }
            let frame = self.body.frame().await?.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&frame).unwrap());
        }
    }

    async fn expect(&mut self, kind: &str, name: &str) -> Value {
        let event = self.next().await.expect("the watch has ended");
        assert_eq!(
            (event["type"].as_str(), event["object"]["metadata"]["name"].as_str()),
            (Some(kind), Some(name)),
            "{event}"
        );
        event["object"].clone()
    }
}

async fn watch(server: &ApiServer, query: &str) -> Watch {
    Watch::open(server, MEMBER, &format!("{CONFIGMAPS}?watch=true&{query}"), "application/json").await
}

#[tokio::test]
async fn a_watch_begins_with_what_is_there_and_goes_on_in_order() {
    let server = server().await;
    let mut watch = watch(&server, "").await;
    watch.expect("ADDED", "kube-root-ca.crt").await;
    let created = post(&server, CONFIGMAPS, &configmap("a")).await.json();
    assert_eq!(watch.expect("ADDED", "a").await, created);
    patch(&server, &format!("{CONFIGMAPS}/a"), "merge", &json!({"data": {"b": "2"}})).await;
    let changed = watch.expect("MODIFIED", "a").await;
    delete(&server, &format!("{CONFIGMAPS}/a"), "").await;
    let last = watch.expect("DELETED", "a").await;
    let version =
        |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(version(&last) > version(&changed), "the last state has a version of its own");
    assert_eq!(last["data"], changed["data"]);
}

#[tokio::test]
async fn a_watch_resumes_after_a_version_and_is_told_when_that_is_gone() {
    let options = fleet_store::Options { history_bytes: 16 * 1024, ..fleet_store::Options::default() };
    let server = server_over(fleet_store::Store::memory(options)).await;
    let first = post(&server, CONFIGMAPS, &configmap("a")).await.json();
    let version = first["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    post(&server, CONFIGMAPS, &configmap("b")).await;
    watch(&server, &format!("resourceVersion={version}")).await.expect("ADDED", "b").await;
    for at in 0..60 {
        post(&server, CONFIGMAPS, &configmap(&format!("c{at}"))).await;
    }
    let gone = get(&server, &format!("{CONFIGMAPS}?watch=true&resourceVersion={version}")).await;
    let event = gone.json();
    assert_eq!(
        (gone.code, &event["type"], &event["object"]["reason"]),
        (200, &json!("ERROR"), &json!("Expired"))
    );
}

#[tokio::test]
async fn a_watch_that_falls_behind_ends_with_410() {
    let options = fleet_store::Options { history_bytes: 8 * 1024, watch_queue: 4 };
    let server = server_over(fleet_store::Store::memory(options)).await;
    let mut watch = watch(&server, "").await;
    for at in 0..60 {
        post(&server, CONFIGMAPS, &configmap(&format!("c{at}"))).await;
    }
    let mut last = Value::Null;
    while let Some(event) = watch.next().await {
        last = event;
    }
    assert_eq!((&last["type"], &last["object"]["code"]), (&json!("ERROR"), &json!(410)));
}

#[tokio::test]
async fn what_leaves_a_selector_is_deleted_for_its_watchers() {
    let server = server().await;
    let mut watch = watch(&server, "labelSelector=on%3Dyes").await;
    let path = format!("{CONFIGMAPS}/a");
    post(&server, CONFIGMAPS, &configmap("a")).await;
    let label = |value: Value| json!({"metadata": {"labels": {"on": value}}});
    patch(&server, &path, "merge", &label(json!("yes"))).await;
    watch.expect("ADDED", "a").await;
    patch(&server, &path, "merge", &json!({"data": {"b": "2"}})).await;
    watch.expect("MODIFIED", "a").await;
    patch(&server, &path, "merge", &label(Value::Null)).await;
    watch.expect("DELETED", "a").await;
    patch(&server, &path, "merge", &json!({"data": {"b": "3"}})).await;
    post(&server, CONFIGMAPS, &{
        let mut object = configmap("b");
        object["metadata"]["labels"] = json!({"on": "yes"});
        object
    })
    .await;
    watch.expect("ADDED", "b").await;
}

#[tokio::test(start_paused = true)]
async fn bookmarks_tell_a_silent_watch_how_far_it_is_and_close_it() {
    let server = server().await;
    let mut watch = watch(&server, "allowWatchBookmarks=true&timeoutSeconds=100").await;
    watch.expect("ADDED", "kube-root-ca.crt").await;
    post(&server, "/api/v1/namespaces/default/secrets", &json!({"metadata": {"name": "s"}})).await;
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], server.store().revision().to_string());
    assert_eq!(watch.next().await.unwrap()["type"], "BOOKMARK", "the last word at the end of its time");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_streamed_list_ends_with_its_bookmark() {
    let server = server().await;
    post(&server, CONFIGMAPS, &configmap("a")).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut stream = watch(&server, query).await;
    stream.expect("ADDED", "a").await;
    stream.expect("ADDED", "kube-root-ca.crt").await;
    let bookmark = stream.next().await.unwrap();
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    for query in [
        "sendInitialEvents=true",
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
        "resourceVersionMatch=NotOlderThan&resourceVersion=1",
    ] {
        assert_eq!(get(&server, &format!("{CONFIGMAPS}?watch=true&{query}")).await.code, 422, "{query}");
    }
}

#[tokio::test]
async fn tables_are_watched_row_by_row() {
    let server = server().await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let path = format!("{CONFIGMAPS}?watch=true&fieldSelector=metadata.name%3Da");
    let mut watch = Watch::open(&server, MEMBER, &path, accept).await;
    post(&server, CONFIGMAPS, &configmap("b")).await;
    post(&server, CONFIGMAPS, &configmap("a")).await;
    let event = watch.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert_eq!(event["object"]["rows"][0]["cells"][0], "a");
}

#[tokio::test]
async fn the_wildcard_watch_names_the_cluster() {
    let server = server().await;
    let mut watch =
        Watch::open(&server, "*", "/api/v1/configmaps?watch=true&fieldSelector=metadata.name%3Da", "").await;
    ask(&server, HUB, Method::POST, CONFIGMAPS, &[], &configmap("a").to_string()).await;
    post(&server, CONFIGMAPS, &configmap("a")).await;
    let object = watch.expect("ADDED", "a").await;
    assert_eq!(object["metadata"]["annotations"]["fleetctl.dev/cluster"], MEMBER);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_cluster_answers_nothing_and_breaks_what_was_open() {
    let server = server().await;
    let mut watch = watch(&server, "fieldSelector=metadata.name%3Da").await;
    server.set_reachable(MEMBER, false);
    let pending = get(&server, CONFIGMAPS);
    tokio::pin!(pending);
    assert!(tokio::time::timeout(Duration::from_secs(600), &mut pending).await.is_err(), "it hangs");
    assert!(tokio::time::timeout(Duration::from_secs(600), watch.next()).await.is_err(), "it is silent");
    assert_eq!(ask(&server, HUB, Method::GET, CONFIGMAPS, &[], "").await.code, 200, "others aren't touched");
    server.set_reachable(MEMBER, true);
    assert_eq!(pending.await.code, 503);
    assert!(watch.next().await.is_none());
    assert_eq!(get(&server, CONFIGMAPS).await.code, 200);
}
