//! Where an object lands and which object it is.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// A place that receives: a cluster and a namespace in it. Everything kept per place is keyed by target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// The member's name, never its alias.
    pub cluster: String,
    /// The namespace that namespaced objects land in.
    pub namespace: String,
}

impl Target {
    /// A target from its parts.
    pub fn new(cluster: impl Into<String>, namespace: impl Into<String>) -> Self {
        Self { cluster: cluster.into(), namespace: namespace.into() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.namespace)
    }
}

/// The identity of an object within one cluster. Many places hold the same: clones share it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(from = "ObjectReference")]
pub struct ObjectId(Arc<ObjectReference>);

/// The identity of an object within one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// Group and version, as in manifests (`apps/v1`, `v1`).
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; empty for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl From<ObjectReference> for ObjectId {
    fn from(reference: ObjectReference) -> Self {
        Self(Arc::new(reference))
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(to)
    }
}

impl Deref for ObjectId {
    type Target = ObjectReference;

    fn deref(&self) -> &ObjectReference {
        &self.0
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ObjectId {
    /// An identity from its parts; the namespace is empty for cluster-scoped objects.
    pub fn new(
        api_version: impl Into<String>,
        kind: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self(Arc::new(ObjectReference {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }))
    }

    /// Reads the identity from a manifest; `None` where apiVersion, kind or name is missing.
    pub fn of(object: &serde_json::Value) -> Option<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(|value| value.as_str());
        Some(Self::new(
            text("/apiVersion")?,
            text("/kind")?,
            text("/metadata/namespace").unwrap_or_default(),
            text("/metadata/name")?,
        ))
    }

    /// The object of that name in a namespace, or in none.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self::new(&self.api_version, &self.kind, namespace, &self.name)
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The API version without its group.
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(self.api_version.as_str(), |(_, version)| version)
    }

    /// Whether it is a Secret: what that holds is nowhere but in it.
    pub fn is_secret(&self) -> bool {
        self.group().is_empty() && self.kind == "Secret"
    }

    /// The same object whatever version it is written in: group, kind, namespace, name.
    pub fn versionless(&self) -> (&str, &str, &str, &str) {
        (self.group(), &self.kind, &self.namespace, &self.name)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Broken: each of the dozen places that hold an object has a copy of its names, kilobytes for each object; or an
    /// identity is written otherwise than before, and nothing on record is found again.
    #[test]
    fn clones_share_what_an_identity_says() {
        let id = ObjectId::new("apps/v1", "Deployment", "demo", "web");
        assert!(Arc::ptr_eq(&id.0, &id.clone().0));
        assert_eq!(size_of::<ObjectId>(), size_of::<usize>());
        let written = r#"{"apiVersion":"apps/v1","kind":"Deployment","namespace":"demo","name":"web"}"#;
        assert_eq!(serde_json::to_string(&id).unwrap(), written);
        assert_eq!(serde_json::from_str::<ObjectId>(written).unwrap(), id);
    }
}
