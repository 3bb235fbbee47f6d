//! What holds for every kind.

use crate::Health;
use crate::conditions::condition;
use crate::view::View;

/// A verdict that stands before any rule: the object is being deleted, or its status is of an older spec.
pub(crate) fn not_settled(view: &View<'_>) -> Option<Health> {
    if view.at(&["metadata", "deletionTimestamp"]).is_some() {
        return Some(Health::progressing("Terminating", terminating(view)));
    }
    let (generation, observed) = (view.generation()?, view.observed_generation()?);
    (observed < generation).then(|| stale(generation, Some(observed)))
}

fn terminating(view: &View<'_>) -> String {
    let finalizers: Vec<&str> =
        view.list(&["metadata", "finalizers"]).iter().filter_map(|item| item.as_str()).collect();
    if finalizers.is_empty() {
        "being deleted".to_owned()
    } else {
        format!("being deleted; waits for the finalizers {}", finalizers.join(", "))
    }
}

/// The status isn't of the current spec.
pub(crate) fn stale(generation: i64, observed: Option<i64>) -> Health {
    let seen = match observed {
        Some(observed) => format!("has seen generation {observed} of {generation}"),
        None => format!("hasn't seen generation {generation} yet"),
    };
    Health::progressing("StatusOutdated", format!("its controller {seen}"))
}

/// For kinds whose controller always reports what it has seen: a status without that is no status yet.
pub(crate) fn unobserved(view: &View<'_>) -> Option<Health> {
    match (view.generation(), view.observed_generation()) {
        (Some(generation), None) => Some(stale(generation, None)),
        (None, None) if view.at(&["status"]).is_none() => {
            Some(Health::progressing("StatusOutdated", "its controller hasn't reported yet"))
        }
        _ => None,
    }
}

/// A kind without a rule: the conditions that well-behaved controllers write; without them it is enough
/// that the object exists.
pub(crate) fn by_conditions(view: &View<'_>) -> Health {
    // A condition about an older spec says nothing about this one.
    let outdated = ["Stalled", "Reconciling", "Ready"].iter().find_map(|kind| {
        let (generation, observed) = (view.generation()?, condition(view, kind)?.observed_generation?);
        (observed < generation).then(|| stale(generation, Some(observed)))
    });
    if let Some(health) = outdated {
        return health;
    }
    if let Some(stalled) = condition(view, "Stalled").filter(|condition| condition.is_true()) {
        return Health::degraded(stalled.reason_or("Stalled"), stalled.message_or("stalled"));
    }
    if let Some(busy) = condition(view, "Reconciling").filter(|condition| condition.is_true()) {
        return Health::progressing(busy.reason_or("Reconciling"), busy.message_or("being reconciled"));
    }
    match condition(view, "Ready") {
        None => Health::healthy("Exists", "exists"),
        Some(ready) if ready.is_true() => {
            Health::healthy(ready.reason_or("Ready"), ready.message_or("ready"))
        }
        Some(ready) => Health::progressing(ready.reason_or("NotReady"), ready.message_or("not ready")),
    }
}
