//! The end of a definition: first its objects go, then it.

use std::sync::Arc;

use fleet_store::{Entry, Expect, Key, Page, Range, Write};
use serde_json::Value;

use super::{FINALIZER, STORE_NAME};
use crate::cluster::Cluster;
use crate::object::{Gapped, ObjectExt, time};
use crate::server::Inner;

/// Deletes the objects of every definition that is to go, and each definition whose objects are gone.
pub(crate) async fn clean_up(server: &Inner, cluster: &Arc<Cluster>) {
    let terminating = cluster.definitions.lock().terminating();
    for name in terminating {
        let range = Range::cluster(Arc::clone(&cluster.name), Arc::clone(&name));
        // What is written meanwhile is met in the next round; what has finalizers stays beyond all of them.
        for _ in 0..4 {
            let Ok(listing) = server.store.list(&range, Page::default()) else { return };
            if listing.entries.is_empty() {
                finish(server, cluster, &name).await;
                break;
            }
            let mut held = 0;
            for entry in &listing.entries {
                held += usize::from(!delete(server, entry).await);
            }
            if held == listing.entries.len() {
                break;
            }
        }
    }
}

/// Deletes or marks one object; whether it is gone.
async fn delete(server: &Inner, entry: &Entry) -> bool {
    let mut object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    let held = !object.finalizers().is_empty();
    if held && object.is_terminating() {
        return false;
    }
    if held {
        object.set_meta("deletionTimestamp", time(server.now()));
        object.set_meta("deletionGracePeriodSeconds", 0);
    }
    let gapped = Gapped::new(&object);
    let encode = move |revision| gapped.fill(revision);
    let write = if held { Write::put(encode) } else { Write::delete(encode) };
    let done = server.store.commit(entry.key.clone(), Expect::Revision(entry.revision), write).await;
    !held && done.is_ok()
}

/// Lets go of a definition whose objects are gone.
async fn finish(server: &Inner, cluster: &Arc<Cluster>, name: &Arc<str>) {
    let key = Key {
        cluster: Arc::clone(&cluster.name),
        resource: STORE_NAME.into(),
        namespace: Arc::default(),
        name: Arc::clone(name),
    };
    let Some(entry) = server.store.get(&key) else { return };
    let mut definition: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    let mut finalizers = definition.finalizers();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    let last = finalizers.is_empty();
    if last {
        definition.take_meta("finalizers");
    } else {
        definition.set_meta("finalizers", finalizers);
    }
    let gapped = Gapped::new(&definition);
    let encode = move |revision| gapped.fill(revision);
    let write = if last { Write::delete(encode) } else { Write::put(encode) };
    // A conflict means that somebody else is at it; whoever that is comes by here again.
    if server.store.commit(key, Expect::Revision(entry.revision), write).await.is_ok() {
        server.definitions.refresh(&server.store, cluster);
    }
}
