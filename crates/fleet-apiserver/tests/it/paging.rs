//! Lists by pages and at versions.

use serde_json::{Value, json};

use crate::support::*;

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_show_one_moment() {
    let server = server().await;
    for at in 0..5 {
        post(&server, CONFIGMAPS, &configmap(&format!("c{at}"))).await;
    }
    let first = get(&server, &format!("{CONFIGMAPS}?limit=2")).await.json();
    assert_eq!(names(&first), ["c0", "c1"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 4);
    delete(&server, &format!("{CONFIGMAPS}/c2"), "").await;
    post(&server, CONFIGMAPS, &configmap("c9")).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = get(&server, &format!("{CONFIGMAPS}?limit=10&continue={token}")).await.json();
    assert_eq!(names(&second), ["c2", "c3", "c4", "kube-root-ca.crt"], "as it was when the list began");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert!(second["metadata"].get("continue").is_none());
}

#[tokio::test]
async fn a_limit_counts_what_is_selected() {
    let server = server().await;
    for at in 0..6 {
        let mut object = configmap(&format!("c{at}"));
        object["metadata"]["labels"] = json!({"odd": (at % 2 == 1).to_string()});
        post(&server, CONFIGMAPS, &object).await;
    }
    let path = format!("{CONFIGMAPS}?limit=2&labelSelector=odd%3Dtrue");
    let first = get(&server, &path).await.json();
    assert_eq!(names(&first), ["c1", "c3"]);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = get(&server, &format!("{path}&continue={token}")).await.json();
    assert_eq!(names(&second), ["c5"]);
}

#[tokio::test]
async fn a_token_that_has_grown_old_is_told_with_another() {
    let options = fleet_store::Options { history_bytes: 4096, ..fleet_store::Options::default() };
    let server = server_over(fleet_store::Store::memory(options)).await;
    for at in 0..3 {
        post(&server, CONFIGMAPS, &configmap(&format!("c{at}"))).await;
    }
    let first = get(&server, &format!("{CONFIGMAPS}?limit=1")).await.json();
    for at in 0..40 {
        post(&server, CONFIGMAPS, &configmap(&format!("d{at}"))).await;
    }
    let path = |token: &str| format!("{CONFIGMAPS}?limit=2&continue={token}");
    let expired = get(&server, &path(first["metadata"]["continue"].as_str().unwrap())).await;
    assert_eq!((expired.code, expired.json()["reason"].as_str()), (410, Some("Expired")));
    let token = expired.json()["metadata"]["continue"].as_str().unwrap().to_owned();
    assert_eq!(names(&get(&server, &path(&token)).await.json()), ["c1", "c2"]);
    let old = first["metadata"]["resourceVersion"].as_str().unwrap();
    let exact = get(&server, &format!("{CONFIGMAPS}?resourceVersionMatch=Exact&resourceVersion={old}")).await;
    assert_eq!(exact.code, 410);
}

#[tokio::test]
async fn a_version_means_what_its_match_says() {
    let server = server().await;
    let created = post(&server, CONFIGMAPS, &configmap("a")).await.json();
    let version = created["metadata"]["resourceVersion"].as_str().unwrap();
    post(&server, CONFIGMAPS, &configmap("b")).await;
    let list = |query: String| {
        let server = server.clone();
        async move { get(&server, &format!("{CONFIGMAPS}?{query}")).await }
    };
    let exact = list(format!("resourceVersion={version}&resourceVersionMatch=Exact")).await.json();
    assert_eq!(names(&exact), ["a", "kube-root-ca.crt"]);
    let newer = list(format!("resourceVersion={version}&resourceVersionMatch=NotOlderThan")).await.json();
    assert_eq!(names(&newer), ["a", "b", "kube-root-ca.crt"]);
    assert_eq!(list("resourceVersion=0&resourceVersionMatch=Exact".into()).await.code, 422);
    assert_eq!(list("resourceVersionMatch=Exact".into()).await.code, 422);
    let future = list("resourceVersion=99999".into()).await;
    assert_eq!((future.code, &future.json()["details"]["retryAfterSeconds"]), (504, &json!(1)));
}
