//! A server with a hub and a member, and ordinary users who ask it.

use std::sync::Arc;

use bytes::Bytes;
use fleet_store::Store;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::authorization::{Decision, GROUP, aggregation, authorize};
use crate::cluster::ClusterProfile;
use crate::identity::Identity;
use crate::server::{ApiServer, Options};
use crate::upkeep::Upkeep;

pub(crate) struct World {
    pub(crate) server: ApiServer,
}

fn text(value: &Value, at: &str) -> String {
    value.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A Role, or a ClusterRole where the namespace is empty.
pub(crate) fn role(namespace: &str, name: &str, rules: Value) -> Value {
    let kind = if namespace.is_empty() { "ClusterRole" } else { "Role" };
    let mut object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind,
        "metadata": {"name": name}, "rules": rules});
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

/// A binding of `Role/NAME` to `User/NAME`, `Group/NAME`, `ServiceAccount/NAME` or `ServiceAccount/NAMESPACE:NAME`.
pub(crate) fn binding(namespace: &str, name: &str, role_ref: &str, subjects: &[&str]) -> Value {
    let (role_kind, role_name) = role_ref.split_once('/').unwrap();
    let subject = |text: &&str| {
        let (kind, name) = text.split_once('/').unwrap();
        match (kind, name.split_once(':')) {
            ("ServiceAccount", Some((namespace, name))) => {
                json!({"kind": kind, "name": name, "namespace": namespace})
            }
            _ => json!({"kind": kind, "name": name}),
        }
    };
    let mut object = role(namespace, name, Value::Null);
    object["kind"] = json!(if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" });
    object["roleRef"] = json!({"apiGroup": GROUP, "kind": role_kind, "name": role_name});
    object["subjects"] = subjects.iter().map(subject).collect();
    object.as_object_mut().unwrap().remove("rules");
    object
}

pub(crate) fn cluster_binding(name: &str, role_ref: &str, subjects: &[&str]) -> Value {
    binding("", name, role_ref, subjects)
}

/// Where objects of its kind are, in its namespace.
pub(crate) fn collection(object: &Value) -> String {
    let plural = format!("{}s", text(object, "/kind").to_lowercase());
    match text(object, "/metadata/namespace").as_str() {
        "" => format!("/apis/{GROUP}/v1/{plural}"),
        namespace => format!("/apis/{GROUP}/v1/namespaces/{namespace}/{plural}"),
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::over(fleet_store::Options::default()).await
    }

    pub(crate) async fn over(limits: fleet_store::Options) -> Self {
        let options = Options {
            clock: Arc::new(|| "2026-11-21T12:00:00Z".parse().unwrap()),
            seed: 7,
            version: String::new(),
            token_key: None,
            certificate_authority: String::new(),
            author: None,
            advisor: None,
        };
        let server = ApiServer::new(Store::memory(limits), options);
        for cluster in ["hub", "member"] {
            server.create_cluster(cluster, ClusterProfile::default()).await.unwrap();
        }
        let world = Self { server };
        let namespace = json!({"metadata": {"name": "demo"}});
        let (code, answer) = world.ask("hub", "", "POST", "/api/v1/namespaces", &namespace).await;
        assert_eq!(code, 201, "{answer}");
        world
    }

    /// Asks as a user; the empty one is an administrator.
    pub(crate) async fn ask(
        &self,
        cluster: &str,
        user: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let identity = match user {
            "" => Identity::admin("root"),
            user => Identity::new(user, []),
        };
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header("content-type", media)
            .body(Full::<Bytes>::from(if body.is_null() { String::new() } else { body.to_string() }))
            .unwrap();
        let response = self.server.handle(cluster, identity, request).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Creates or replaces an object, as an administrator.
    pub(crate) async fn put(&self, object: &Value) {
        let (code, answer) = self.put_as("", object).await;
        assert!(code < 300, "{answer}");
    }

    pub(crate) async fn put_as(&self, user: &str, object: &Value) -> (u16, Value) {
        let path = collection(object);
        let one = format!("{path}/{}", text(object, "/metadata/name"));
        match self.ask("hub", "", "GET", &one, &Value::Null).await.0 {
            200 => self.ask("hub", user, "PUT", &one, object).await,
            _ => self.ask("hub", user, "POST", &path, object).await,
        }
    }

    pub(crate) async fn delete(&self, object: &Value) {
        let path = format!("{}/{}", collection(object), text(object, "/metadata/name"));
        let (code, answer) = self.ask("hub", "", "DELETE", &path, &Value::Null).await;
        assert_eq!(code, 200, "{answer}");
    }

    /// What the upkeep of roles would do now.
    pub(crate) async fn settle(&self) {
        let upkeep = Upkeep { server: self.server.clone(), graph: Arc::default(), queues: Arc::default() };
        aggregation::tend(&upkeep, &"hub".into()).await.unwrap();
    }

    /// The hub's answer to a question in the words of [`super::attributes`]; groups are separated by commas.
    pub(crate) fn decide(&self, user: &str, groups: &str, question: &str) -> Decision {
        let groups = groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned);
        let identity = Identity::new(user, groups);
        let cluster = self.server.inner.cluster("hub").unwrap();
        authorize(&self.server.inner, Some(&cluster), &identity, &super::attributes(question))
    }

    pub(crate) fn may(&self, user: &str, groups: &str, question: &str) -> bool {
        self.decide(user, groups, question).allowed
    }
}
