//! Machines.

use crate::Health;
use crate::conditions::condition;
use crate::view::View;

/// A cordoned node is suspended: no new pod comes, on purpose.
pub(super) fn node(view: &View<'_>) -> Health {
    let Some(ready) = condition(view, "Ready") else {
        return Health::progressing("NotReady", "its kubelet hasn't reported yet");
    };
    if ready.is_false() {
        return Health::degraded(ready.reason_or("NotReady"), ready.message_or("its kubelet isn't ready"));
    }
    if !ready.is_true() {
        return Health::unknown(
            ready.reason_or("NodeStatusUnknown"),
            ready.message_or("its kubelet has stopped reporting"),
        );
    }
    for pressure in ["MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"] {
        if let Some(pressed) = condition(view, pressure).filter(|condition| condition.is_true()) {
            return Health::degraded(pressed.reason_or(pressure), pressed.message_or(pressure));
        }
    }
    if view.flag(&["spec", "unschedulable"]) {
        return Health::suspended("Cordoned", "takes no new pods");
    }
    Health::healthy("Ready", "ready")
}
