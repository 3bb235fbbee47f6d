//! All definitions that are in force.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::definition::{Definition, DefinitionKind};

/// The files of `definitions/`, embedded.
const FILES: &[&str] = &[
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../definitions/annotations.yaml")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../definitions/container-image.yaml")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../definitions/env.yaml")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../definitions/json-merge-patch.yaml")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../definitions/json-patch.yaml")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../definitions/labels.yaml")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../definitions/scaler.yaml")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../definitions/webservice.yaml")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../definitions/worker.yaml")),
];

static BUILTIN: LazyLock<Definitions> = LazyLock::new(|| {
    // The files are part of the source; a test reads each and fails on what is silently left out here.
    let values = FILES.iter().filter_map(|text| serde_saphyr::from_str::<Value>(text).ok());
    Definitions::default().with_overrides(&values.collect::<Vec<_>>())
});

/// Compiled definitions by kind and name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    by_name: BTreeMap<(DefinitionKind, String), Arc<Definition>>,
}

impl Definitions {
    /// Those that are embedded in the binary; compiled at the first call.
    #[must_use]
    pub fn builtin() -> Self {
        BUILTIN.clone()
    }

    /// The texts of the embedded files, as YAML.
    #[must_use]
    pub fn builtin_files() -> &'static [&'static str] {
        FILES
    }

    /// These definitions and those among `objects`; of two with the same name, the later one counts.
    ///
    /// Objects that are no definitions are passed over. A definition of another engine (no
    /// `spec.schematic.fleet`) doesn't replace one of ours, so a hub that already has a `scaler` written in
    /// CUE keeps ours; one that nothing of ours is named like is kept, and using it is an error.
    #[must_use]
    pub fn with_overrides(&self, objects: &[Value]) -> Self {
        let mut all = self.clone();
        for object in objects {
            let Some(definition) = Definition::new(object) else { continue };
            let key = (definition.kind, definition.name.clone());
            if Definition::is_ours(object) || !all.by_name.contains_key(&key) {
                all.by_name.insert(key, Arc::new(definition));
            }
        }
        all
    }

    /// Definitions from what [`Definitions::to_values`] gave, and nothing else: the state pinned in a
    /// revision.
    #[must_use]
    pub fn from_values(values: &[Value]) -> Self {
        Self::default().with_overrides(values)
    }

    /// All as objects, by kind and name.
    #[must_use]
    pub fn to_values(&self) -> Vec<Value> {
        self.by_name.values().map(|definition| definition.to_value().clone()).collect()
    }

    /// Only those that `components` and `traits` name, for a revision that keeps no more than it needs.
    #[must_use]
    pub fn only<'n>(
        &self,
        components: impl IntoIterator<Item = &'n str>,
        traits: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        let components = components.into_iter().map(|name| (DefinitionKind::Component, name.to_owned()));
        let traits = traits.into_iter().map(|name| (DefinitionKind::Trait, name.to_owned()));
        let wanted = components.chain(traits);
        let by_name = wanted.filter_map(|key| self.by_name.get(&key).map(|found| (key, Arc::clone(found))));
        Self { by_name: by_name.collect() }
    }

    /// One definition.
    #[must_use]
    pub fn get(&self, kind: DefinitionKind, name: &str) -> Option<&Definition> {
        self.by_name.get(&(kind, name.to_owned())).map(AsRef::as_ref)
    }

    /// All, by kind and name.
    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.by_name.values().map(AsRef::as_ref)
    }

    /// The names of one kind, sorted.
    pub fn names(&self, kind: DefinitionKind) -> impl Iterator<Item = &str> {
        self.by_name.keys().filter(move |(known, _)| *known == kind).map(|(_, name)| name.as_str())
    }

    /// The parameters that tell two traits of a type apart.
    pub(crate) fn merge_keys(&self, trait_type: &str) -> &[String] {
        match self.get(DefinitionKind::Trait, trait_type).map(|definition| &definition.schematic) {
            Some(Ok(schematic)) => &schematic.merge_keys,
            _ => &[],
        }
    }
}
