//! Which policies may be about an object, and which objects a policy may be about.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fleet_api::ObjectId;

use crate::policy::PolicyId;
use crate::selector::{Selector, Selectors};

/// Policies by kind and name of what they select, objects by kind.
#[derive(Debug, Default)]
pub(crate) struct Index {
    kinds: HashMap<(String, String), Kind>,
}

/// One kind.
#[derive(Debug, Default)]
struct Kind {
    /// Policies with a selector of this name, in whatever namespace.
    named: HashMap<String, BTreeSet<PolicyId>>,
    /// Policies with a selector without a name, by namespace; `None`: every namespace.
    broad: HashMap<Option<String>, BTreeSet<PolicyId>>,
    /// Objects by namespace and name.
    objects: BTreeMap<(String, String), ObjectId>,
}

fn key(id: &ObjectId) -> (String, String) {
    (id.group().to_owned(), id.kind.clone())
}

impl Index {
    pub(crate) fn add_policy(&mut self, id: &PolicyId, selectors: &Selectors) {
        for selector in selectors.as_slice() {
            self.place(selector).insert(id.clone());
        }
    }

    pub(crate) fn remove_policy(&mut self, id: &PolicyId, selectors: &Selectors) {
        for selector in selectors.as_slice() {
            self.place(selector).remove(id);
            let kind = self.kinds.entry((selector.group.clone(), selector.kind.clone())).or_default();
            match &selector.name {
                Some(name) if kind.named.get(name).is_some_and(BTreeSet::is_empty) => {
                    kind.named.remove(name);
                }
                None if kind.broad.get(&selector.namespace).is_some_and(BTreeSet::is_empty) => {
                    kind.broad.remove(&selector.namespace);
                }
                _ => {}
            }
        }
    }

    fn place(&mut self, selector: &Selector) -> &mut BTreeSet<PolicyId> {
        let kind = self.kinds.entry((selector.group.clone(), selector.kind.clone())).or_default();
        match &selector.name {
            Some(name) => kind.named.entry(name.clone()).or_default(),
            None => kind.broad.entry(selector.namespace.clone()).or_default(),
        }
    }

    pub(crate) fn add_object(&mut self, id: &ObjectId) {
        let kind = self.kinds.entry(key(id)).or_default();
        kind.objects.insert((id.namespace.clone(), id.name.clone()), id.clone());
    }

    pub(crate) fn remove_object(&mut self, id: &ObjectId) {
        if let Some(kind) = self.kinds.get_mut(&key(id)) {
            kind.objects.remove(&(id.namespace.clone(), id.name.clone()));
        }
    }

    /// The policies that may be about an object, sorted.
    pub(crate) fn policies(&self, id: &ObjectId) -> BTreeSet<PolicyId> {
        let Some(kind) = self.kinds.get(&key(id)) else { return BTreeSet::new() };
        let broad = [Some(id.namespace.clone()), None];
        let broad = broad.iter().filter_map(|namespace| kind.broad.get(namespace));
        let all = kind.named.get(&id.name).into_iter().chain(broad);
        all.flatten().cloned().collect()
    }

    /// The objects that selectors may be about.
    pub(crate) fn objects(&self, selectors: &Selectors) -> BTreeSet<ObjectId> {
        let mut found = BTreeSet::new();
        for selector in selectors.as_slice() {
            found.extend(self.of_selector(selector).cloned());
        }
        found
    }

    /// The objects that one selector may be about.
    pub(crate) fn of_selector<'a>(
        &'a self,
        selector: &Selector,
    ) -> Box<dyn Iterator<Item = &'a ObjectId> + 'a> {
        let Some(kind) = self.of_kind(&selector.group, &selector.kind) else {
            return Box::new(std::iter::empty());
        };
        match (&selector.namespace, &selector.name) {
            (Some(namespace), Some(name)) => {
                Box::new(kind.get(&(namespace.clone(), name.clone())).into_iter())
            }
            (Some(namespace), None) => {
                let own = namespace.clone();
                let from = kind.range((own.clone(), String::new())..);
                Box::new(from.take_while(move |((namespace, _), _)| *namespace == own).map(|(_, id)| id))
            }
            (None, Some(name)) => {
                let own = name.clone();
                Box::new(kind.iter().filter(move |((_, name), _)| *name == own).map(|(_, id)| id))
            }
            (None, None) => Box::new(kind.values()),
        }
    }

    /// The objects of a kind, by namespace and name.
    pub(crate) fn of_kind(&self, group: &str, kind: &str) -> Option<&BTreeMap<(String, String), ObjectId>> {
        Some(&self.kinds.get(&(group.to_owned(), kind.to_owned()))?.objects)
    }
}
