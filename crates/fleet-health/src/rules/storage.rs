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
