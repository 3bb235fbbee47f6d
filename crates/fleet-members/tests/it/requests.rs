//! Members over a service that answers by hand.

use std::sync::{Arc, Mutex};

use fleet_api::{ManagedCluster, ObjectId};
use fleet_members::{Members, Options, Transport, TransportError};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};

type Requests = Arc<Mutex<Vec<(String, String, Value)>>>;

/// Answers every GET with the same object and everything else with success, and keeps what was asked.
struct Scripted(Requests);

impl Transport for Scripted {
    fn connect(&self, _: &ManagedCluster) -> Result<kube::Client, TransportError> {
        let requests = Arc::clone(&self.0);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let requests = Arc::clone(&requests);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let asked = (parts.method.to_string(), parts.uri.path().to_owned(), body);
                requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(asked);
                let answer = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings",
                    "namespace": "demo", "uid": "uid-1", "resourceVersion": "41", "labels": {}}});
                Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(
                    answer.to_string().into_bytes(),
                )))
            }
        });
        Ok(kube::Client::new(service, "default"))
    }
}

/// A delete names the object that was looked at: one that was changed or made anew meanwhile isn't hit.
#[tokio::test]
async fn a_delete_carries_uid_and_resource_version() {
    let requests = Requests::default();
    let members = Members::new(
        Arc::new(Scripted(Arc::clone(&requests))),
        Arc::new(|_: &str, _: &str, _: &str| Some(("configmaps".to_owned(), true))),
        Options::default(),
        Default::default(),
        Box::new(|_| {}),
    );
    members.upsert(ManagedCluster::new("m1", crate::support::accepted()));
    let member = members.get("m1").expect("a member");
    let id = ObjectId::new("v1", "ConfigMap", "demo", "settings");
    let live = member.metadata(&id).await.expect("an answer").expect("there");
    member.delete(&id, &live).await.expect("deleted");
    let requests = requests.lock().expect("a lock");
    let (_, path, body) = requests.iter().find(|(method, ..)| method == "DELETE").expect("a delete");
    assert_eq!(path, "/api/v1/namespaces/demo/configmaps/settings");
    assert_eq!(body["preconditions"], json!({"uid": "uid-1", "resourceVersion": "41"}));
}
