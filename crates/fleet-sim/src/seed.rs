//! What a member has from the start: one node, one class of ingresses.

use serde_json::{Value, json};

use crate::Action;
use crate::Kind;
use crate::client::{Sent, SimError, send};

/// The label of nodes that the simulator keeps ready.
pub(crate) const SIMULATED: &str = "sim.fleetctl.dev/simulated";
/// The node that every pod runs on.
pub const NODE: &str = "node-0";
/// The annotation that makes a class the default one.
pub(crate) const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

/// The member's node.
pub(crate) fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": NODE,
            "labels": {
                "kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                SIMULATED: "true",
            },
        },
        "spec": {},
    })
}

/// The member's default ingress class.
fn ingress_class() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": { "name": "nginx", "annotations": { DEFAULT_CLASS: "true" } },
        "spec": { "controller": "k8s.io/ingress-nginx" },
    })
}

/// Creates the node `node-0` and the default ingress class `nginx`, where they aren't there yet. The node becomes ready
/// when the simulator sees it.
///
/// # Errors
/// [`SimError`] if the member doesn't take them.
pub async fn seed_member(client: &kube::Client) -> Result<(), SimError> {
    for (kind, body) in [(Kind::Node, node()), (Kind::IngressClass, ingress_class())] {
        match send(client, &Action::Create { kind, body }).await? {
            Sent::Written(_) | Sent::Exists | Sent::Gone | Sent::Conflict => {}
        }
    }
    Ok(())
}
