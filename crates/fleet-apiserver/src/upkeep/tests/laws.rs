//! What garbage collection comes to, against a model that knows nothing of events.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{MAPS, World, blocking, reference};

#[derive(Debug, Clone)]
enum Step {
    /// Creates the object, or gives it other owners if it is there.
    Own(u8, BTreeSet<u8>),
    Delete(u8, &'static str),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..6, prop::collection::btree_set(0u8..6, 0..3)).prop_map(|(object, owners)| Step::Own(object, owners)),
        2 => (0u8..6, prop::sample::select(vec!["Background", "Foreground", "Orphan"]))
            .prop_map(|(object, policy)| Step::Delete(object, policy)),
    ]
}

/// Objects and their owners. An owner that is gone has a number which no object has.
#[derive(Default)]
struct Model(BTreeMap<u8, BTreeSet<u8>>);

impl Model {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Own(object, owners) => {
                let there: BTreeSet<u8> =
                    owners.iter().copied().filter(|owner| self.0.contains_key(owner)).collect();
                self.0.insert(*object, there);
            }
            Step::Delete(object, policy) => {
                self.0.remove(object);
                if *policy == "Orphan" {
                    self.0.values_mut().for_each(|owners| {
                        owners.remove(object);
                    });
                }
            }
        }
        // Whoever has lost all owners goes, and so on.
        loop {
            let there: BTreeSet<u8> = self.0.keys().copied().collect();
            let before = self.0.len();
            self.0.retain(|_, owners| owners.is_empty() || !owners.is_disjoint(&there));
            if self.0.len() == before {
                self.0.values_mut().for_each(|owners| owners.retain(|owner| there.contains(owner)));
                return;
            }
        }
    }
}

impl World {
    /// Returns once nothing moves any more. All tasks share this thread, so what is left to do is done meanwhile.
    pub(super) async fn quiet(&self) {
        let mut before = 0;
        loop {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let now = self.upkeep.server.store().revision();
            if now == before && self.upkeep.queues.is_idle() {
                return;
            }
            before = now;
            // With the clock paused this only passes the time of a worker that tries again later.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    async fn take(&self, step: &Step) {
        let name = |object: &u8| format!("o{object}");
        match step {
            Step::Own(object, owners) => {
                let there =
                    owners.iter().filter_map(|owner| self.stored("configmaps", "default", &name(owner)));
                let references: Vec<Value> = there.map(|owner| blocking(reference(&owner))).collect();
                let metadata = json!({"name": name(object), "ownerReferences": references});
                if self.has(&name(object)) {
                    self.did("PATCH", &format!("{MAPS}/{}", name(object)), json!({"metadata": metadata}))
                        .await;
                } else {
                    self.did("POST", MAPS, json!({"metadata": metadata})).await;
                }
            }
            Step::Delete(object, policy) if self.has(&name(object)) => {
                self.delete(&name(object), policy).await
            }
            Step::Delete(..) => {}
        }
    }

    fn owned(&self) -> BTreeMap<u8, BTreeSet<u8>> {
        let uid = |object: u8| {
            let map = self.stored("configmaps", "default", &format!("o{object}"))?;
            Some((map["metadata"]["uid"].as_str()?.to_owned(), object))
        };
        let uids: BTreeMap<String, u8> = (0..6).filter_map(uid).collect();
        let owners = |object: &u8| {
            let map = self.stored("configmaps", "default", &format!("o{object}")).unwrap();
            let references = map["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
            let number =
                |reference: &Value| uids.get(reference["uid"].as_str().unwrap()).copied().unwrap_or(99);
            references.iter().map(number).collect()
        };
        uids.values().map(|object| (*object, owners(object))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Deleting what has an owner left loses data; keeping what has none leaks it.
    #[test]
    fn what_is_left_is_what_has_an_owner_left(steps in prop::collection::vec(step(), 1..16)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut model = Model::default();
            for (at, step) in steps.iter().enumerate() {
                world.quiet().await;
                world.take(step).await;
                world.quiet().await;
                // A step on what isn't there does nothing to either.
                let is_possible = !matches!(step, Step::Delete(object, _) if !model.0.contains_key(object));
                if is_possible {
                    model.apply(step);
                }
                prop_assert_eq!(world.owned(), model.0.clone(), "after step {}: {:?}", at, step);
            }
            Ok(())
        })?;
    }
}
