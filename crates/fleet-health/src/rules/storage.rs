//! Claims and volumes.

use crate::Health;
use crate::view::View;

pub(super) fn claim(view: &View<'_>) -> Health {
    match view.text(&["status", "phase"]) {
        "Bound" => Health::healthy("Bound", format!("bound to {}", view.text(&["spec", "volumeName"]))),
        "Lost" => Health::degraded("Lost", "the volume that it was bound to is gone"),
        _ => Health::progressing("NotBound", "waits for a volume, or for the first pod that uses it"),
    }
}

pub(super) fn volume(view: &View<'_>) -> Health {
    match view.text(&["status", "phase"]) {
        "Bound" => Health::healthy("Bound", "bound to its claim"),
        "Available" => Health::healthy("Available", "waits for a claim"),
        "Released" => Health::healthy("Released", "its claim is gone"),
        "Failed" => {
            let message = match view.text(&["status", "message"]) {
                "" => "the volume couldn't be reclaimed",
                message => message,
            };
            Health::degraded("Failed", crate::conditions::one_line(message))
        }
        _ => Health::progressing("Pending", "the volume isn't available yet"),
    }
}

pub(super) fn attachment(view: &View<'_>) -> Health {
    for (error, reason) in [("attachError", "AttachFailed"), ("detachError", "DetachFailed")] {
        if view.at(&["status", error]).is_some() {
            let message = match view.text(&["status", error, "message"]) {
                "" => "the driver gives no reason",
                message => message,
            };
            return Health::degraded(reason, crate::conditions::one_line(message));
        }
    }
    let node = view.text(&["spec", "nodeName"]);
    if view.flag(&["status", "attached"]) {
        Health::healthy("Attached", format!("attached to {node}"))
    } else {
        Health::progressing("NotAttached", format!("waits to be attached to {node}"))
    }
}

/// Devices are allocated for the first pod that uses the claim, so an unused one has all it asks for.
pub(super) fn resource_claim(view: &View<'_>) -> Health {
    match view.at(&["status", "allocation"]) {
        Some(_) => Health::healthy("Allocated", "devices are allocated"),
        None => Health::healthy("Exists", "exists; devices are allocated for the first pod that uses it"),
    }
}
