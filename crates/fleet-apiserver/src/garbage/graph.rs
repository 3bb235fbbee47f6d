//! Who depends on whom: only objects that have owners are in here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fleet_store::Key;

/// An object's uid within its cluster.
type Uid = (Arc<str>, Arc<str>);

/// Dependents and the uids of their owners.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    owners: HashMap<Key, Box<[Arc<str>]>>,
    dependents: HashMap<Uid, HashSet<Key>>,
}

impl Graph {
    /// Takes in an object's owners as they are now; without any it isn't kept.
    pub(crate) fn observe<'a>(&mut self, key: &Key, owners: impl Iterator<Item = &'a str>) {
        let mut owners: Vec<&str> = owners.collect();
        owners.sort_unstable();
        owners.dedup();
        let known = self.owners.get(key);
        if known.is_some_and(|known| known.iter().map(|uid| &**uid).eq(owners.iter().copied())) {
            return;
        }
        self.forget(key);
        if owners.is_empty() {
            return;
        }
        let mut uids = Vec::with_capacity(owners.len());
        for owner in owners {
            // All dependents of an owner share its uid.
            let mut uid: Uid = (Arc::clone(&key.cluster), owner.into());
            if let Some((known, _)) = self.dependents.get_key_value(&uid) {
                uid = known.clone();
            }
            uids.push(Arc::clone(&uid.1));
            self.dependents.entry(uid).or_default().insert(key.clone());
        }
        self.owners.insert(key.clone(), uids.into());
    }

    /// Forgets an object as a dependent. Who depends on it stays known.
    pub(crate) fn forget(&mut self, key: &Key) {
        for owner in self.owners.remove(key).into_iter().flatten() {
            let uid = (Arc::clone(&key.cluster), owner);
            if let Some(dependents) = self.dependents.get_mut(&uid) {
                dependents.remove(key);
                if dependents.is_empty() {
                    self.dependents.remove(&uid);
                }
            }
        }
    }

    /// Forgets all objects of a resource.
    pub(crate) fn forget_resource(&mut self, resource: &str) {
        let keys: Vec<Key> = self.owners.keys().filter(|key| &*key.resource == resource).cloned().collect();
        keys.iter().for_each(|key| self.forget(key));
    }

    /// The objects that name this uid as an owner, in order.
    pub(crate) fn dependents(&self, cluster: &Arc<str>, uid: &str) -> Vec<Key> {
        if self.dependents.is_empty() {
            return Vec::new();
        }
        let uid: Uid = (Arc::clone(cluster), uid.into());
        let mut keys: Vec<Key> = self.dependents.get(&uid).into_iter().flatten().cloned().collect();
        keys.sort_unstable();
        keys
    }

    /// Every object that has owners.
    pub(crate) fn all(&self) -> Vec<Key> {
        self.owners.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(number: u8) -> Key {
        Key::new("c", "pods", "n", format!("p{number}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Both directions must tell the same, whatever happened before; else garbage stays, or memory leaks.
        #[test]
        fn both_directions_agree(steps in prop::collection::vec((0u8..6, prop::collection::vec(0u8..6, 0..4)), 0..40)) {
            let mut graph = Graph::default();
            let mut model: HashMap<u8, HashSet<u8>> = HashMap::new();
            for (object, owners) in steps {
                let names: Vec<String> = owners.iter().map(u8::to_string).collect();
                graph.observe(&key(object), names.iter().map(String::as_str));
                model.insert(object, owners.into_iter().collect());
            }
            for owner in 0..6 {
                let mut expected: Vec<Key> =
                    model.iter().filter(|(_, owners)| owners.contains(&owner)).map(|(object, _)| key(*object)).collect();
                expected.sort();
                prop_assert_eq!(graph.dependents(&"c".into(), &owner.to_string()), expected);
            }
            for object in 0..6 {
                graph.forget(&key(object));
            }
            prop_assert!(graph.owners.is_empty() && graph.dependents.is_empty());
        }
    }
}
