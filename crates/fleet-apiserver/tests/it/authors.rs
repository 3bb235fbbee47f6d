//! Who last changed an object, written by the server and by nobody else.

use std::sync::Arc;

use fleet_apiserver::{ApiServer, AuthorStamp, Authored, Identity};
use fleet_store::Store;
use http::Method;
use serde_json::{Value, json};

use super::support::{self, CONFIGMAPS, DEPLOYMENTS, HUB};

const NOTE: &str = "example.com/author";
const HISTORY: &str = "example.com/authors";

async fn server() -> ApiServer {
    let kinds = |group: &str, plural: &str| match (group, plural) {
        ("apps", "deployments") => Authored::Content(&["example.com/account"]),
        ("", "configmaps") => Authored::Everything,
        _ => Authored::Nothing,
    };
    let stamp = AuthorStamp {
        cluster: HUB.to_owned(),
        annotation: NOTE.to_owned(),
        history: HISTORY.to_owned(),
        remember: Arc::new(|before, user, _| [before.unwrap_or_default(), user].join(" ").trim().to_owned()),
        kinds: Arc::new(kinds),
    };
    support::server_with(Store::memory(fleet_store::Options::default()), Some(stamp)).await
}

/// A write as somebody; gives the object.
async fn send(server: &ApiServer, who: &str, method: Method, path: &str, media: &str, body: &Value) -> Value {
    let identity = Identity::admin(who);
    let media = format!("application/{media}");
    let answer =
        support::ask_as(server, identity, method, path, &[("content-type", &media)], &body.to_string()).await;
    assert!(answer.code < 300, "{who} {path}: {}", answer.text);
    answer.json()
}

async fn patch(server: &ApiServer, who: &str, path: &str, body: &Value) -> Value {
    send(server, who, Method::PATCH, path, "merge-patch+json", body).await
}

fn author(object: &Value) -> &str {
    object["metadata"]["annotations"][NOTE].as_str().unwrap_or("nobody")
}

/// Whoever could claim to be another, or wash their name off, could approve what they wrote themselves.
#[tokio::test]
async fn the_author_is_who_changed_what_it_says() {
    let server = server().await;
    let path = format!("{DEPLOYMENTS}/web");
    let mut claimed = support::deployment("web");
    claimed["metadata"]["annotations"] = json!({NOTE: "eve"});
    let made = send(&server, "mia", Method::POST, DEPLOYMENTS, "json", &claimed).await;
    assert_eq!(author(&made), "mia");

    let unchanged = [
        json!({"metadata": {"annotations": {NOTE: "eve"}}}),
        json!({"metadata": {"annotations": {NOTE: null}}}),
        json!({"metadata": {"annotations": null}}),
        json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/x"]}}),
        json!({"spec": {"replicas": 1}}),
    ];
    for change in unchanged {
        assert_eq!(author(&patch(&server, "eve", &path, &change).await), "mia", "{change}");
    }
    let status = json!({"status": {"replicas": 3}, "metadata": {"annotations": {NOTE: "eve"}}});
    assert_eq!(author(&patch(&server, "eve", &format!("{path}/status"), &status).await), "mia");
    let finalized = json!({"metadata": {"finalizers": null}});
    assert_eq!(author(&patch(&server, "controller", &path, &finalized).await), "mia");

    let changed = patch(&server, "bob", &path, &json!({"spec": {"replicas": 2}})).await;
    assert_eq!(author(&changed), "bob");
    let claimed = json!({"spec": {"replicas": 3}, "metadata": {"annotations": {NOTE: "mia"}}});
    assert_eq!(author(&patch(&server, "eve", &path, &claimed).await), "eve");
    let account = json!({"metadata": {"annotations": {"example.com/account": "deployer"}}});
    assert_eq!(author(&patch(&server, "mia", &path, &account).await), "mia");
    let scaled = patch(&server, "bob", &format!("{path}/scale"), &json!({"spec": {"replicas": 9}})).await;
    assert_eq!(scaled["spec"]["replicas"], 9);
    let mut replaced = support::ask(&server, HUB, Method::GET, &path, &[], "").await.json();
    assert_eq!(author(&replaced), "bob");
    replaced["metadata"]["annotations"] = json!({"example.com/account": "deployer"});
    let replaced = send(&server, "eve", Method::PUT, &path, "json", &replaced).await;
    assert_eq!((author(&replaced), &replaced["spec"]["replicas"]), ("bob", &json!(9)));
}

/// Whoever could make those before forgotten could have somebody else's name on their own work.
#[tokio::test]
async fn all_authors_are_remembered() {
    let server = server().await;
    let path = format!("{CONFIGMAPS}/it");
    let all =
        |object: &Value| object["metadata"]["annotations"][HISTORY].as_str().unwrap_or_default().to_owned();
    let mut claimed = support::configmap("it");
    claimed["metadata"]["annotations"] = json!({HISTORY: "eve"});
    assert_eq!(all(&send(&server, "mia", Method::POST, CONFIGMAPS, "json", &claimed).await), "mia");
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(all(&patch(&server, "bob", &path, &labelled).await), "mia bob");
    for claim in [json!({HISTORY: "bob"}), json!({HISTORY: null}), Value::Null] {
        let claimed = patch(&server, "bob", &path, &json!({"metadata": {"annotations": claim}})).await;
        assert_eq!(all(&claimed), "mia bob");
    }
}

/// An apply neither owns the author nor takes it away, and one that changes nothing writes nothing.
#[tokio::test]
async fn applies_leave_the_author_alone() {
    let server = server().await;
    let path = format!("{CONFIGMAPS}/it");
    let apply = async |who: &str, manager: &str, data: &Value, note: Option<&str>| {
        let mut object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it"}, "data": data});
        if let Some(note) = note {
            object["metadata"]["annotations"] = json!({NOTE: note});
        }
        let path = format!("{path}?fieldManager={manager}&force=true");
        send(&server, who, Method::PATCH, &path, "apply-patch+yaml", &object).await
    };
    let made = apply("mia", "one", &json!({"a": "1"}), None).await;
    assert_eq!(author(&made), "mia");
    assert!(!made["metadata"]["managedFields"].to_string().contains(NOTE), "{made}");
    let again = apply("bob", "one", &json!({"a": "1"}), None).await;
    assert_eq!(again["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    assert_eq!(author(&apply("bob", "two", &json!({"b": "1"}), Some("mia")).await), "bob");
    let claims = apply("eve", "two", &json!({"b": "1"}), Some("mia")).await;
    assert_eq!(author(&claims), "bob");
    // Its labels are delivered as well: whoever changes them has changed it.
    let labelled = patch(&server, "mia", &path, &json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(author(&labelled), "mia");
}

/// Other clusters and kinds have no authors, and may have such an annotation of their own.
#[tokio::test]
async fn nothing_else_has_an_author() {
    let server = server().await;
    let member = support::post(&server, CONFIGMAPS, &support::configmap("x")).await.json();
    assert_eq!(author(&member), "nobody");
    let secret = json!({"metadata": {"name": "s", "annotations": {NOTE: "mine"}}});
    let path = "/api/v1/namespaces/default/secrets";
    assert_eq!(author(&send(&server, "mia", Method::POST, path, "json", &secret).await), "mine");
}
