//! Laws over random histories.

use std::collections::BTreeMap;

use fleet_store::{Entry, EventKind, Key, Options, Page, Range, ReadError, Store};
use proptest::prelude::*;

use crate::support::{drain, key, page, remove, set};

#[derive(Clone, Debug)]
struct Step {
    key: Key,
    delete: bool,
}

fn step() -> impl Strategy<Value = Step> {
    (0..3_u8, 0..2_u8, 0..3_u8, 0..4_u8, prop::bool::weighted(0.3)).prop_map(|(c, r, n, o, delete)| {
        let resource = if r == 0 { "pods" } else { "nodes" };
        // The empty namespace sorts first and must page like any other.
        let namespace = if n == 0 { String::new() } else { format!("n{n}") };
        Step { key: key(&format!("c{c}"), resource, &namespace, &format!("o{o}")), delete }
    })
}

fn range() -> impl Strategy<Value = Range> {
    (0..4_u8, 0..4_u8, 0..6_u8).prop_map(|(c, n, o)| Range {
        cluster: (c < 3).then(|| format!("c{c}").into()),
        resource: "pods".into(),
        namespace: (n < 3).then(|| if n == 0 { "".into() } else { format!("n{n}").into() }),
        name: (o == 0).then(|| "o1".into()),
    })
}

/// Walks the steps; gives the model after each revision.
async fn play(store: &Store, steps: &[Step]) -> BTreeMap<u64, BTreeMap<Key, Entry>> {
    let mut model = BTreeMap::new();
    let mut known = BTreeMap::from([(store.revision(), model.clone())]);
    for step in steps {
        if step.delete {
            if remove(store, &step.key).await.is_ok() {
                model.remove(&step.key);
            }
        } else {
            model.insert(step.key.clone(), set(store, &step.key, "v").await);
        }
        known.insert(store.revision(), model.clone());
    }
    known
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// If this fails, a list at a revision shows something that never was, or pages of it don't fit together.
    #[test]
    fn every_list_in_the_window_is_the_past_as_it_was(
        steps in prop::collection::vec(step(), 1..80), range in range(), size in 1..6_usize, small in any::<bool>(),
    ) {
        let store = Store::memory(Options { history_bytes: if small { 4_000 } else { 1 << 20 }, ..Options::default() });
        let known = block_on(play(&store, &steps));
        for (revision, model) in known {
            let wanted: Vec<_> = model.into_values().filter(|entry| range.contains(&entry.key)).collect();
            let whole = store.list(&range, Page { at: Some(revision), ..Page::default() });
            match whole {
                Ok(whole) => {
                    prop_assert_eq!(&whole.entries, &wanted);
                    let mut pages: Vec<Entry> = Vec::new();
                    loop {
                        let next = store.list(&range, page(size, pages.last(), Some(revision))).unwrap();
                        prop_assert!(next.entries.len() <= size);
                        pages.extend(next.entries);
                        prop_assert_eq!(next.remaining, wanted.len() - pages.len());
                        if !next.more { break; }
                    }
                    prop_assert_eq!(&pages, &wanted);
                }
                Err(ReadError::Expired { oldest }) => prop_assert!(small && revision < oldest),
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
    }

    /// If this fails, list + watch doesn't give the present: events were lost, repeated or disordered.
    #[test]
    fn list_and_watch_from_anywhere_give_the_present(
        steps in prop::collection::vec(step(), 1..80), range in range(), part in 0.0..1.0_f64,
    ) {
        let store = Store::memory(Options::default());
        let known = block_on(play(&store, &steps));
        let from = 1 + ((store.revision() - 1) as f64 * part) as u64;
        let mut picture = known[&from].clone();
        picture.retain(|key, _| range.contains(key));
        let mut last = from;
        for event in drain(&mut store.watch(range.clone(), from).unwrap()) {
            prop_assert!(event.revision > last && range.contains(&event.key));
            last = event.revision;
            let created = picture.get(&event.key).map_or(event.revision, |entry| entry.created);
            let entry = Entry { key: event.key.clone(), value: event.value.clone(), revision: event.revision, created };
            let before = match event.kind {
                EventKind::Deleted => picture.remove(&event.key),
                _ => picture.insert(event.key.clone(), entry),
            };
            prop_assert_eq!(before.map(|entry| entry.value), event.previous.clone());
        }
        prop_assert_eq!(picture.into_values().collect::<Vec<_>>(), store.list(&range, Page::default()).unwrap().entries);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// If this fails, SQLite answers otherwise than memory, or a restart changes what is there.
    #[test]
    fn sqlite_is_memory_that_stays(steps in prop::collection::vec(step(), 1..60), cut in 0.0..1.0_f64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let memory = Store::memory(Options::default());
        let (first, second) = steps.split_at((steps.len() as f64 * cut) as usize);
        for part in [first, second] {
            // Dropped without a close at the end of each part.
            let kept = Store::sqlite(&path, Options::default()).unwrap();
            prop_assert_eq!(kept.revision(), memory.revision());
            block_on(play(&kept, part));
            block_on(play(&memory, part));
        }
        let kept = Store::sqlite(&path, Options::default()).unwrap();
        for resource in ["pods", "nodes"] {
            let all = Range::everywhere(resource);
            prop_assert_eq!(kept.list(&all, Page::default()), memory.list(&all, Page::default()));
        }
        prop_assert_eq!(kept.list(&Range::everywhere("pods"), Page { at: Some(0), ..Page::default() }),
            Err(ReadError::Expired { oldest: memory.revision() }));
    }
}
