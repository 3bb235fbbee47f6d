//! What a member has beside Kubernetes' own controllers: a node, a default IngressClass, and somebody who gives addresses
//! to Ingresses and load balancers.

use std::fmt::Debug;

use anyhow::Result;
use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, watcher};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const MANAGER: &str = "fleet-real";
const ADDRESS: &str = "192.0.2.10";

/// Gives addresses until it is dropped.
pub(crate) struct Living {
    _tasks: JoinSet<()>,
}

impl Living {
    pub(crate) async fn start(client: &kube::Client) -> Result<Self> {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": "node-1",
                "annotations": { "kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0" },
                "labels": { "kubernetes.io/hostname": "node-1", "kubernetes.io/os": "linux", "type": "kwok" },
            },
            "status": {
                "allocatable": { "cpu": "64", "memory": "256Gi", "pods": "1000" },
                "capacity": { "cpu": "64", "memory": "256Gi", "pods": "1000" },
            },
        });
        apply::<Node>(&Api::all(client.clone()), &node).await?;
        let class = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {
                "name": "nginx", "annotations": { "ingressclass.kubernetes.io/is-default-class": "true" },
            },
            "spec": { "controller": "k8s.io/ingress-nginx" },
        });
        apply::<IngressClass>(&Api::all(client.clone()), &class).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(give_addresses::<Ingress>(client.clone(), |ingress| {
            let spec = ingress.spec.as_ref();
            spec.and_then(|spec| spec.ingress_class_name.as_deref()) == Some("nginx")
                && ingress
                    .status
                    .as_ref()
                    .and_then(|status| status.load_balancer.as_ref())
                    .is_none_or(|given| given.ingress.is_none())
        }));
        tasks.spawn(give_addresses::<Service>(client.clone(), |service| {
            let spec = service.spec.as_ref();
            spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
                && service
                    .status
                    .as_ref()
                    .and_then(|status| status.load_balancer.as_ref())
                    .is_none_or(|given| given.ingress.is_none())
        }));
        Ok(Self { _tasks: tasks })
    }
}

/// Applies one object of a kind that the crate knows.
async fn apply<K>(api: &Api<K>, object: &Value) -> Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object)).await?;
    Ok(())
}

/// Gives an address to each object that waits for one, as its watch shows it.
async fn give_addresses<K>(client: kube::Client, waits: impl Fn(&K) -> bool)
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let all: Api<K> = Api::all(client.clone());
    let seen = watcher(all, Config::default()).default_backoff().applied_objects();
    pin_mut!(seen);
    let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": ADDRESS }] } } });
    while let Some(event) = seen.next().await {
        let Ok(object) = event else { continue };
        if !waits(&object) {
            continue;
        }
        let resource = kube::discovery::ApiResource::erase::<K>(&());
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
        // Refused because it is gone or changed: its next event tells.
        let _ = api.patch_status(&object.name_any(), &PatchParams::default(), &Patch::Merge(&status)).await;
    }
}
