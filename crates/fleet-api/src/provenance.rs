//! Where each field of a rendered object comes from.

use std::collections::BTreeMap;
use std::fmt;

use fleet_json::{ChangeKind, FieldPath, Segment, Shape, diff_with};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who set a field. As JSON a map with `kind` and what that kind says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Source {
    /// The referenced object on the hub.
    Referenced,
    /// The object in the component's own properties.
    Inline,
    /// The template of the component's type.
    #[serde(rename_all = "camelCase")]
    Component {
        /// The type.
        component_type: String,
    },
    /// A trait of the component.
    #[serde(rename_all = "camelCase")]
    Trait {
        /// The trait's type.
        trait_type: String,
        /// The component.
        component: String,
    },
    /// An override policy.
    #[serde(rename_all = "camelCase")]
    Override {
        /// The policy.
        policy: String,
        /// Which of its rules: `components[0].traits[1]`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        rule: String,
        /// The trait that it brought or changed; `None`: the component's properties.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trait_type: Option<String>,
    },
    /// The engine itself.
    Engine,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Referenced => f.write_str("referenced object"),
            Self::Inline => f.write_str("component properties"),
            Self::Component { component_type } => write!(f, "component type {component_type}"),
            Self::Trait { trait_type, component } => write!(f, "trait {trait_type} of {component}"),
            Self::Override { policy, trait_type: Some(trait_type), .. } => {
                write!(f, "policy {policy} (trait {trait_type})")
            }
            Self::Override { policy, trait_type: None, .. } => write!(f, "policy {policy}"),
            Self::Engine => f.write_str("engine"),
        }
    }
}

/// The sources of an object's fields: one for the object as it began, others where it was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    base: Source,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    changed: BTreeMap<FieldPath, Source>,
}

impl Provenance {
    /// Of an object that comes from one source whole.
    #[must_use]
    pub fn new(base: Source) -> Self {
        Self { base, changed: BTreeMap::new() }
    }

    /// Where the object itself comes from.
    #[must_use]
    pub fn base(&self) -> &Source {
        &self.base
    }

    /// The fields that were set after the object began, with who set them last. A path names a leaf, or a
    /// list or map that was set whole.
    pub fn changed(&self) -> impl Iterator<Item = (&FieldPath, &Source)> {
        self.changed.iter()
    }

    /// Who set the field at `path`, or the nearest thing around it. Items of lists are named as
    /// [`fleet_json::diff_with`] names them (`[name="web"]`).
    #[must_use]
    pub fn source_of(&self, path: &FieldPath) -> &Source {
        let mut path = path.clone();
        loop {
            if let Some(source) = self.changed.get(&path) {
                return source;
            }
            if path.pop().is_none() {
                return &self.base;
            }
        }
    }

    /// Every leaf of `object` with its source. Items with a `name` are named by it, others by position.
    #[must_use]
    pub fn leaves(&self, object: &Value) -> Vec<(FieldPath, &Source)> {
        let mut paths = Vec::new();
        leaf_paths(object, &mut FieldPath::root(), &mut paths);
        paths.into_iter().map(|path| (path.clone(), self.source_of(&path))).collect()
    }

    /// Records that what stood at `from` stands at `to` now: whoever set it there set it here.
    pub fn moved(&mut self, from: &FieldPath, to: FieldPath) {
        let source = self.source_of(from).clone();
        self.changed.retain(|known, _| !known.starts_with(from) && !known.starts_with(&to));
        if *self.source_of(&to) != source {
            self.changed.insert(to, source);
        }
    }

    /// Records what `source` changed between two states of the object.
    pub fn record<'a, S: Shape<'a>>(
        &mut self,
        before: &Value,
        after: &Value,
        shape: Option<S>,
        source: &Source,
    ) {
        for change in diff_with(before, after, shape) {
            let path = change.path;
            self.changed.retain(|known, _| known == &path || !known.starts_with(&path));
            match change.change {
                ChangeKind::Added(_) | ChangeKind::Changed { .. } | ChangeKind::Reordered { .. } => {
                    self.changed.insert(path, source.clone());
                }
                ChangeKind::Removed(_) => {
                    self.changed.remove(&path);
                }
            }
        }
    }
}

fn leaf_paths(value: &Value, path: &mut FieldPath, found: &mut Vec<FieldPath>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            for key in keys {
                path.push(key.as_str());
                leaf_paths(map.get(key).unwrap_or(&Value::Null), path, found);
                path.pop();
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let mut names: Vec<&str> = items.iter().filter_map(|i| i.get("name")?.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let named = names.len() == items.len();
            for (index, item) in items.iter().enumerate() {
                match item.get("name") {
                    Some(name) if named => path.push(Segment::item("name", name.clone())),
                    _ => path.push(index),
                }
                leaf_paths(item, path, found);
                path.pop();
            }
        }
        _ => found.push(path.clone()),
    }
}
