//! What was delivered last of one object on one member.

use std::sync::Arc;

use fleet_api::{Application, Layer, ObjectId, Provenance, Target};
use kube::ResourceExt as _;
use serde_json::Value;

use super::{PreviewError, hub_identity};
use crate::records;
use crate::turn::walk::Walk;

/// An object as it was delivered last.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// Where.
    pub target: Target,
    /// The revision that it is from.
    pub revision: String,
    /// The step that delivered it.
    pub step: String,
    /// Its component.
    pub component: String,
    /// That component's type.
    pub component_type: String,
    /// As it was sent, our labels included.
    pub object: Arc<Value>,
    /// Who set its fields; nothing where the revision was recorded without.
    pub provenance: Option<Provenance>,
    /// The topology policy that says the target's namespace; nothing where it is the Application's own.
    pub topology: Option<String>,
    /// What our label of the owner says.
    pub owner: String,
    /// Our field manager.
    pub manager: String,
}

/// What an Application delivered last of an object on a cluster; nothing where it isn't in its inventory there.
///
/// # Errors
/// What the hub refused, or can't be read.
pub async fn delivered(
    client: &kube::Client,
    app: &Application,
    cluster: &str,
    id: &ObjectId,
) -> Result<Option<Delivered>, PreviewError> {
    let uid = hub_identity(client).await?;
    let walk = records::load_from(client, Walk::to_look_at(app, &uid)).await?;
    let here = walk.inventory.targets.iter().map(|entry| &entry.target);
    let fits = |target: &&Target| {
        target.cluster == cluster && (id.namespace.is_empty() || id.namespace == target.namespace)
    };
    for target in here.filter(fits) {
        // What was sent and isn't done yet is newer than what was done.
        let mut layers: Vec<Layer> = walk.layers(target);
        layers.extend(walk.sent(target));
        layers.extend(walk.begun(target));
        for layer in layers.iter().rev() {
            let Some(revision) = walk.loaded(&layer.revision) else { continue };
            let delivery = walk.delivery();
            let desired = revision.desired(&layer.step, target, &delivery);
            let Some(found) = desired.iter().find(|one| one.id.versionless() == id.versionless()) else {
                continue;
            };
            let topology = topology(&revision.content, &layer.step, &target.namespace);
            return Ok(Some(Delivered {
                target: target.clone(),
                revision: layer.revision.clone(),
                step: layer.step.clone(),
                component: found.component.clone(),
                component_type: revision.component_types.get(&found.component).cloned().unwrap_or_default(),
                object: Arc::clone(&found.object),
                provenance: revision.provenance(&layer.step, target, id, &delivery).cloned(),
                topology: topology.filter(|_| app.namespace().as_deref() != Some(&target.namespace)),
                owner: walk.owner.clone(),
                manager: walk.manager(),
            }));
        }
    }
    Ok(None)
}

/// The policy that puts a step's objects into a namespace.
fn topology(content: &fleet_api::RevisionContent, step: &str, namespace: &str) -> Option<String> {
    let step = content.steps.iter().find(|content| content.step.name == step)?;
    let says = |name: &&String| {
        let properties = content.policies.get(*name).map(|(_, properties)| properties);
        properties.and_then(|properties| properties.get("namespace")?.as_str()) == Some(namespace)
    };
    step.topologies.iter().find(says).cloned()
}
