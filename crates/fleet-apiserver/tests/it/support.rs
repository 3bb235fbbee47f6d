//! A server with a hub and a member, and ways to ask it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use fleet_apiserver::{ApiServer, AuthorStamp, ClusterProfile, Identity, Options};
use fleet_store::Store;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use kube::Client;
use serde_json::Value;

pub(crate) const HUB: &str = "hub";
pub(crate) const MEMBER: &str = "member";

pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) async fn server() -> ApiServer {
    server_over(Store::memory(fleet_store::Options::default())).await
}

pub(crate) async fn server_over(store: Store) -> ApiServer {
    server_with(store, None).await
}

pub(crate) async fn server_with(store: Store, author: Option<AuthorStamp>) -> ApiServer {
    // A second passes with every look at the clock, from a fixed start.
    let seconds = AtomicI64::new(1_770_000_000);
    let clock =
        Arc::new(move || jiff::Timestamp::from_second(seconds.fetch_add(1, Ordering::Relaxed)).unwrap());
    let options = Options {
        clock,
        seed: 1,
        version: String::new(),
        token_key: None,
        certificate_authority: String::new(),
        author,
        advisor: None,
    };
    let server = ApiServer::new(store, options);
    server.create_cluster(HUB, ClusterProfile { workloads: false }).await.unwrap();
    server.create_cluster(MEMBER, ClusterProfile { workloads: true }).await.unwrap();
    server
}

pub(crate) fn client(server: &ApiServer, cluster: &str) -> Client {
    Client::new(server.service(cluster, Identity::admin("test")), "default")
}

pub(crate) fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body.to_owned())).unwrap()
}

/// One request to the hub with a whole answer, as somebody.
pub(crate) async fn ask_as(
    server: &ApiServer,
    identity: Identity,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let request = request(method, path, headers, body);
    whole(server.handle(HUB, identity, request).await).await
}

/// One request with a whole answer, as an administrator.
pub(crate) async fn ask(
    server: &ApiServer,
    cluster: &str,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let request = request(method, path, headers, body);
    whole(server.handle(cluster, Identity::admin("test"), request).await).await
}

async fn whole(response: http::Response<fleet_apiserver::Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        code: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

pub(crate) async fn get(server: &ApiServer, path: &str) -> Answer {
    ask(server, MEMBER, Method::GET, path, &[], "").await
}

pub(crate) async fn post(server: &ApiServer, path: &str, body: &Value) -> Answer {
    ask(server, MEMBER, Method::POST, path, &[("content-type", "application/json")], &body.to_string()).await
}

pub(crate) async fn put(server: &ApiServer, path: &str, body: &Value) -> Answer {
    ask(server, MEMBER, Method::PUT, path, &[("content-type", "application/json")], &body.to_string()).await
}

pub(crate) async fn patch(server: &ApiServer, path: &str, kind: &str, body: &Value) -> Answer {
    let media = match kind {
        "apply" => "application/apply-patch+yaml".to_owned(),
        kind => format!("application/{kind}-patch+json"),
    };
    ask(server, MEMBER, Method::PATCH, path, &[("content-type", &media)], &body.to_string()).await
}

pub(crate) async fn delete(server: &ApiServer, path: &str, body: &str) -> Answer {
    ask(server, MEMBER, Method::DELETE, path, &[("content-type", "application/json")], body).await
}

pub(crate) fn configmap(name: &str) -> Value {
    serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

pub(crate) fn deployment(name: &str) -> Value {
    serde_json::json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80}]}]},
            },
        },
    })
}

pub(crate) const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
