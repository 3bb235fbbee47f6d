//! Which Application refers to which object of the hub: it delivers it, and policies leave it alone.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{Application, ObjectId, staged};
use kube::ResourceExt as _;
use serde_json::Value;

use super::sources::GroupKind;
use crate::context::AppKey;
use crate::resolve::{ObjectReference, Selection, references};

/// A kind in a namespace.
type Place = (GroupKind, String);

/// What Applications refer to.
#[derive(Debug, Default)]
pub struct References {
    by_application: BTreeMap<AppKey, Vec<ObjectReference>>,
    by_place: BTreeMap<Place, BTreeSet<AppKey>>,
}

fn place(reference: &ObjectReference) -> Place {
    let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
    ((group.to_owned(), reference.kind.clone()), reference.namespace.clone())
}

impl References {
    /// What these refer to.
    #[must_use]
    pub fn among(applications: &[Application]) -> Self {
        let mut references = Self::default();
        for application in applications {
            let key = (application.namespace().unwrap_or_default(), application.name_any());
            references.set(&key, Some(application));
        }
        references
    }

    /// Replaces what an Application refers to, `None` where it is gone. Answers the places where that may matter.
    pub(super) fn set(&mut self, key: &AppKey, application: Option<&Application>) -> BTreeSet<Place> {
        let now = application.map(|application| read(key, application)).unwrap_or_default();
        let before = self.by_application.remove(key).unwrap_or_default();
        if before == now {
            if !now.is_empty() {
                self.by_application.insert(key.clone(), now);
            }
            return BTreeSet::new();
        }
        for place in before.iter().map(place) {
            if let Some(keys) = self.by_place.get_mut(&place) {
                keys.remove(key);
            }
        }
        for place in now.iter().map(place) {
            self.by_place.entry(place).or_default().insert(key.clone());
        }
        let touched = before.iter().chain(&now).map(place).collect();
        if !now.is_empty() {
            self.by_application.insert(key.clone(), now);
        }
        touched
    }

    /// The first Application that refers to an object with these labels, as `namespace/name`.
    #[must_use]
    pub fn of(&self, id: &ObjectId, labels: &BTreeMap<String, String>) -> Option<String> {
        let at = ((id.group().to_owned(), id.kind.clone()), id.namespace.clone());
        let keys = self.by_place.get(&at)?;
        let refers = |reference: &&ObjectReference| {
            place(reference) == at
                && match &reference.selection {
                    Selection::Name(name) => *name == id.name,
                    Selection::Labels(selector) => selector.matches(labels),
                }
        };
        let key = keys.iter().find(|key| {
            self.by_application.get(*key).is_some_and(|all| all.iter().any(|one| refers(&one)))
        })?;
        Some(format!("{}/{}", key.0, key.1))
    }
}

/// References that can't be read deliver nothing; what a policy's own Application refers to is the policy's.
fn read(key: &AppKey, application: &Application) -> Vec<ObjectReference> {
    if staged::policy_of(application).is_some() {
        return Vec::new();
    }
    let components = application.spec.components.iter();
    let referring = components.filter(|component| component.type_ == fleet_render::REFERENCE_TYPE);
    let none = Value::Null;
    referring
        .flat_map(|component| {
            let properties = component.properties.as_ref().unwrap_or(&none);
            references(&component.name, properties, &key.0).unwrap_or_default()
        })
        .collect()
}
