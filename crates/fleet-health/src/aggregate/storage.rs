//! Claims and volumes.

use serde_json::{Map, Value};

use super::conditions::merged;
use super::reports::{Reports, of};

pub(super) fn claim(reports: &Reports<'_>) -> Map<String, Value> {
    of([
        ("phase", reports.worst_phase(&["Lost", "Pending", "Bound"], "Pending")),
        ("accessModes", reports.agreed("accessModes")),
        ("capacity", reports.agreed("capacity")),
        ("conditions", merged(reports)),
    ])
}

pub(super) fn volume(reports: &Reports<'_>) -> Map<String, Value> {
    let order = ["Failed", "Pending", "Available", "Bound", "Released"];
    of([
        ("phase", reports.worst_phase(&order, "Pending")),
        ("message", reports.agreed("message")),
        ("reason", reports.agreed("reason")),
    ])
}
