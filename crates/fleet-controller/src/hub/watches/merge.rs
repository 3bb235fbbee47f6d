//! The watches of one kind, one of the whole hub or one a namespace, as one: it begins once and is listed when all are. What
//! is listed again later, since a watch was interrupted, is told as what changed.

use std::collections::HashSet;
use std::fmt::Debug;

use futures::StreamExt as _;
use kube::Resource;
use kube::api::Api;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde::de::DeserializeOwned;

use super::Events;

/// One stream of several APIs; `store` is fed by it.
pub(super) fn several<K>(apis: Vec<Api<K>>, config: &watcher::Config, store: Store<K>) -> Events<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + DeserializeOwned + 'static,
{
    let watch = |api| watcher(api, config.clone());
    let mut merge = Merge::new(apis.len());
    // Each waits for itself after a failure: one namespace that can't be listed holds up no other.
    let sources = apis
        .into_iter()
        .enumerate()
        .map(|(source, api)| watch(api).default_backoff().map(move |event| (source, event)).boxed());
    let events = futures::stream::select_all(sources).flat_map(move |(source, event)| {
        let out = match event {
            Ok(event) => merge.take(source, event).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        futures::stream::iter(out)
    });
    let events = events.filter_map(move |out| {
        // What is gone is looked up when its turn comes: the store has taken in everything before by then.
        std::future::ready(match out {
            Ok(Out::Event(event)) => Some(Ok(event)),
            Ok(Out::Gone(key)) => store.get(&key).map(|object| Ok(watcher::Event::Delete((*object).clone()))),
            Err(error) => Some(Err(error)),
        })
    });
    events.boxed()
}

/// What the merged watch says.
enum Out<K: Resource> {
    Event(watcher::Event<K>),
    Gone(ObjectRef<K>),
}

struct Merge<K: Resource> {
    sources: Vec<Source<K>>,
    begun: bool,
    /// Whether the end of the first list was said.
    listed: bool,
    /// Gone before the first list was through.
    late: Vec<ObjectRef<K>>,
}

struct Source<K: Resource> {
    listed: bool,
    known: HashSet<ObjectRef<K>>,
    listing: HashSet<ObjectRef<K>>,
}

impl<K> Merge<K>
where
    K: Resource<DynamicType = ()> + Clone,
{
    fn new(sources: usize) -> Self {
        let source = || Source { listed: false, known: HashSet::new(), listing: HashSet::new() };
        Self {
            sources: std::iter::repeat_with(source).take(sources).collect(),
            begun: false,
            listed: false,
            late: Vec::new(),
        }
    }

    fn take(&mut self, source: usize, event: watcher::Event<K>) -> Vec<Out<K>> {
        use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
        let mut out = Vec::new();
        let Some(from) = self.sources.get_mut(source) else { return out };
        match event {
            Init => {
                from.listing.clear();
                if !std::mem::replace(&mut self.begun, true) {
                    out.push(Out::Event(Init));
                }
            }
            InitApply(object) | Apply(object) => {
                let key = ObjectRef::from_obj(&object);
                self.late.retain(|late| *late != key);
                from.listing.insert(key.clone());
                from.known.insert(key);
                out.push(Out::Event(if self.listed { Apply(object) } else { InitApply(object) }));
            }
            InitDone => {
                from.listed = true;
                let listing = std::mem::take(&mut from.listing);
                let known = std::mem::replace(&mut from.known, listing);
                let mut gone: Vec<ObjectRef<K>> = known.difference(&from.known).cloned().collect();
                // A set has no order; what is told has the same each time, so that a seed of the simulation plays as before.
                gone.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
                if self.listed {
                    out.extend(gone.into_iter().map(Out::Gone));
                } else {
                    self.late.extend(gone);
                    if self.sources.iter().all(|source| source.listed) {
                        self.listed = true;
                        out.push(Out::Event(InitDone));
                        out.extend(std::mem::take(&mut self.late).into_iter().map(Out::Gone));
                    }
                }
            }
            Delete(object) => {
                let key = ObjectRef::from_obj(&object);
                from.known.remove(&key);
                from.listing.remove(&key);
                if self.listed {
                    out.push(Out::Event(Delete(object)));
                } else {
                    self.late.push(key);
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt as _;
    use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};

    fn object(namespace: &str, name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some(namespace.to_owned());
        object.metadata.name = Some(name.to_owned());
        object
    }

    fn said(out: Vec<Out<ConfigMap>>) -> Vec<String> {
        let name = |object: &ConfigMap| object.name_any();
        let word = |out: &Out<ConfigMap>| match out {
            Out::Event(Init) => "init".to_owned(),
            Out::Event(InitDone) => "done".to_owned(),
            Out::Event(InitApply(object)) => format!("listed {}", name(object)),
            Out::Event(Apply(object)) => format!("put {}", name(object)),
            Out::Event(Delete(object)) => format!("deleted {}", name(object)),
            Out::Gone(key) => format!("gone {}", key.name),
        };
        out.iter().map(word).collect()
    }

    /// A cache that is swapped for one namespace's list forgets the others' Applications: their objects would be
    /// taken for nobody's.
    #[test]
    fn one_list_of_many_namespaces() {
        let mut merge = Merge::new(2);
        let mut take = |source, event| said(merge.take(source, event));
        assert_eq!(take(0, Init), ["init"]);
        assert_eq!(take(0, InitApply(object("a", "a1"))), ["listed a1"]);
        assert_eq!(take(0, InitDone), Vec::<String>::new());
        // The other is slow; meanwhile things happen in the first.
        assert_eq!(take(0, Apply(object("a", "a2"))), ["listed a2"]);
        assert_eq!(take(0, Delete(object("a", "a1"))), Vec::<String>::new());
        assert_eq!(take(1, Init), Vec::<String>::new());
        assert_eq!(take(1, InitApply(object("b", "b1"))), ["listed b1"]);
        assert_eq!(take(1, InitDone), ["done", "gone a1"]);
        // One is listed anew: only what went there goes.
        assert_eq!(take(1, Init), Vec::<String>::new());
        assert_eq!(take(1, InitApply(object("b", "b2"))), ["put b2"]);
        assert_eq!(take(1, InitDone), ["gone b1"]);
        assert_eq!(take(0, Delete(object("a", "a2"))), ["deleted a2"]);
    }

    /// Told in a set's order, what went while a watch was interrupted makes a seed of the simulation play otherwise each time.
    #[test]
    fn what_went_is_told_in_order() {
        let mut merge = Merge::new(1);
        let mut take = |event| said(merge.take(0, event));
        take(Init);
        for number in [3, 1, 4, 0, 5, 2] {
            take(InitApply(object("a", &format!("a{number}"))));
        }
        assert_eq!(take(InitDone), ["done"]);
        take(Init);
        assert_eq!(take(InitDone), ["gone a0", "gone a1", "gone a2", "gone a3", "gone a4", "gone a5"]);
    }
}
