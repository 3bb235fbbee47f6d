//! Kinds whose status nobody here knows.

use serde_json::{Map, Value};

use super::conditions::merged;
use super::reports::{Reports, put};

/// One member's status is shown as it is. Of several: the conditions as one, and what all agree on. Also whether the
/// status has conditions, so that one more finds room there.
pub(super) fn any(reports: &Reports<'_>) -> (Map<String, Value>, bool) {
    let has = reports.each().any(|(_, view)| view.at(&["status", "conditions"]).is_some());
    if let Some(only) = reports.only() {
        return (only, has);
    }
    let mut status = Map::new();
    let first = reports.each().next().and_then(|(_, view)| view.at(&["status"])?.as_object());
    for field in first.into_iter().flat_map(Map::keys).filter(|field| *field != "observedGeneration") {
        put(&mut status, field, reports.agreed(field));
    }
    put(&mut status, "conditions", merged(reports));
    (status, has)
}
