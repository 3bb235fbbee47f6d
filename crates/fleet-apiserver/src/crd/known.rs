//! From stored definitions to registries, sharing what is equal.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Weak};

use fleet_json::ContentHash;
use fleet_schema::crd;
use fleet_store::{Entry, Page, Range, Store};
use parking_lot::Mutex;
use serde_json::Value;

use super::{CustomResource, Rules, STORE_NAME, is_accepted};
use crate::cluster::Cluster;
use crate::object::ObjectExt;
use crate::registry::Registry;

/// The definitions of one cluster, as they were last read.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownDefinitions(BTreeMap<Arc<str>, Known>);

#[derive(Debug, Clone)]
struct Known {
    revision: u64,
    terminating: bool,
    /// `None` where it can't be served.
    resource: Option<Arc<CustomResource>>,
}

impl KnownDefinitions {
    pub(crate) fn has_terminating(&self) -> bool {
        self.0.values().any(|known| known.terminating)
    }

    /// The names of definitions that wait for their objects to go.
    pub(crate) fn terminating(&self) -> Vec<Arc<str>> {
        self.0.iter().filter(|(_, known)| known.terminating).map(|(name, _)| Arc::clone(name)).collect()
    }
}

/// Registries and custom kinds by content, for all clusters of a server.
#[derive(Debug)]
pub(crate) struct Definitions {
    builtin: Arc<Registry>,
    resources: Mutex<HashMap<ContentHash, Weak<CustomResource>>>,
    registries: Mutex<HashMap<Vec<ContentHash>, Weak<Registry>>>,
}

impl Definitions {
    pub(crate) fn new(builtin: Arc<Registry>) -> Self {
        Self { builtin, resources: Mutex::default(), registries: Mutex::default() }
    }

    pub(crate) fn builtin(&self) -> Arc<Registry> {
        Arc::clone(&self.builtin)
    }

    /// Brings a cluster's registry to what the store says. Only definitions that have changed are read.
    pub(crate) fn refresh(&self, store: &Store, cluster: &Cluster) {
        let mut known = cluster.definitions.lock();
        let range = Range::cluster(Arc::clone(&cluster.name), STORE_NAME);
        let Ok(listing) = store.list(&range, Page::default()) else { return };
        let mut before = std::mem::take(&mut known.0);
        for entry in listing.entries {
            let current = match before.remove(&entry.key.name) {
                Some(same) if same.revision == entry.revision => same,
                _ => self.read(&entry),
            };
            known.0.insert(Arc::clone(&entry.key.name), current);
        }
        let mut resources: Vec<_> = known.0.values().filter_map(|known| known.resource.clone()).collect();
        resources.sort_by(|a, b| (&a.group, plural(a)).cmp(&(&b.group, plural(b))));
        cluster.set_registry(self.registry(resources));
    }

    fn read(&self, entry: &Entry) -> Known {
        let definition: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
        let resource = is_accepted(&definition).then(|| self.resource(&definition)).flatten();
        Known { revision: entry.revision, terminating: definition.is_terminating(), resource }
    }

    fn resource(&self, definition: &Value) -> Option<Arc<CustomResource>> {
        let hash = ContentHash::of_value(definition.get("spec")?);
        shared(&self.resources, hash, || match crd::parse(definition) {
            Ok(kinds) => Some(CustomResource::new(kinds, Rules::compile(definition).0, hash)),
            Err(errors) => {
                let first = errors.first().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(
                    definition = definition.name(),
                    "a stored definition can't be served: {first}"
                );
                None
            }
        })
    }

    fn registry(&self, resources: Vec<Arc<CustomResource>>) -> Arc<Registry> {
        if resources.is_empty() {
            return self.builtin();
        }
        let key = resources.iter().map(|resource| resource.hash).collect();
        shared(&self.registries, key, || Some(Registry::with(&self.builtin, resources)))
            .unwrap_or_else(|| self.builtin())
    }
}

fn plural(resource: &CustomResource) -> &str {
    resource.kinds.first().map(|kind| kind.plural.as_str()).unwrap_or_default()
}

/// What is there under this key, or what is made now.
fn shared<K: Eq + Hash, T>(
    cache: &Mutex<HashMap<K, Weak<T>>>,
    key: K,
    make: impl FnOnce() -> Option<T>,
) -> Option<Arc<T>> {
    let mut cache = cache.lock();
    if let Some(there) = cache.get(&key).and_then(Weak::upgrade) {
        return Some(there);
    }
    let made = Arc::new(make()?);
    cache.retain(|_, weak| weak.strong_count() > 0);
    cache.insert(key, Arc::downgrade(&made));
    Some(made)
}
