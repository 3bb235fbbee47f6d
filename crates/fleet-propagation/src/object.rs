//! Objects of the hub, as far as policies look at them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_api::ObjectId;
use serde_json::Value;

use crate::policy::PolicyId;

/// An object of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Which object; each in one version only.
    pub id: ObjectId,
    /// Its labels; clones share them.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Whether a controller of the hub made it for another object, as a ReplicaSet is made for a Deployment.
    pub made: bool,
    /// The Application that refers to it (`namespace/name`), which then delivers it.
    pub application: Option<String>,
    /// The policy that has it, as recorded; looked at when the object is seen for the first time.
    pub holder: Option<PolicyId>,
}

impl ObjectFacts {
    /// Reads an object; nothing where it has no type or name.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
        let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let controlled = |owner: &Value| owner.get("controller").and_then(Value::as_bool) == Some(true);
        let label = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        Some(Self {
            id: ObjectId::of(object)?,
            labels: Arc::new(labels.filter_map(label).collect()),
            made: owners.is_some_and(|owners| owners.iter().any(controlled)),
            application: None,
            holder: None,
        })
    }
}
