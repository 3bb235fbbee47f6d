//! The same applies without a controller: what the clusters themselves take.

use std::ops::Range;

use serde_json::json;

use crate::load::{Clients, apply_all};
use crate::manifests;
use crate::scales::{Spent, spent};

/// Where the loop's objects go, out of the controller's way.
pub(crate) const NAMESPACE: &str = "bare";

/// Applies the objects of so many applications to all members, and says what it took.
pub(crate) async fn timed(clients: &Clients, applications: Range<usize>) -> anyhow::Result<Spent> {
    // In the order in which somebody would write it: application by application.
    let mut all = Vec::new();
    for index in applications {
        for client in &clients.members {
            for mut object in manifests::objects(index) {
                object["metadata"]["namespace"] = json!(NAMESPACE);
                all.push((client.clone(), object));
            }
        }
    }
    spent(apply_all(all.into_iter())).await
}
