//! Autoscalers, budgets, namespaces and API extensions.

use crate::Health;
use crate::conditions::condition;
use crate::generic::stale;
use crate::view::View;

/// Missing metrics are waited for: right after a rollout there are none yet. An autoscaler that nobody has
/// looked at is no reason to hold a rollout.
pub(super) fn autoscaler(view: &View<'_>) -> Health {
    if let Some(able) = condition(view, "AbleToScale").filter(|condition| condition.is_false()) {
        return Health::degraded(able.reason_or("UnableToScale"), able.message_or("can't scale its target"));
    }
    let replicas = || format!("{} replicas", view.count("currentReplicas"));
    match condition(view, "ScalingActive") {
        Some(active) if active.is_false() => {
            let message = active.message_or("scaling is inactive");
            match active.reason {
                "ScalingDisabled" => Health::suspended("ScalingDisabled", message),
                reason if reason.starts_with("FailedGet") => Health::progressing(reason, message),
                _ => Health::degraded(active.reason_or("ScalingInactive"), message),
            }
        }
        Some(_) => Health::healthy("ScalingActive", replicas()),
        None => Health::healthy("Exists", "exists; no controller has reported yet"),
    }
}

pub(super) fn disruption_budget(view: &View<'_>) -> Health {
    if view.at(&["status", "desiredHealthy"]).is_none() {
        return Health::healthy("Exists", "exists; no controller has reported yet");
    }
    if let (Some(generation), None) = (view.generation(), view.observed_generation()) {
        return stale(generation, None);
    }
    if let Some(allowed) = condition(view, "DisruptionAllowed").filter(|c| c.reason == "SyncFailed") {
        return Health::degraded("SyncFailed", allowed.message_or("the budget can't be computed"));
    }
    let (current, desired) = (view.count("currentHealthy"), view.count("desiredHealthy"));
    let message = format!("{current} of {desired} needed pods are healthy");
    if current < desired {
        Health::progressing("NotEnoughPods", message)
    } else {
        Health::healthy("EnoughPods", message)
    }
}

pub(super) fn namespace(view: &View<'_>) -> Health {
    match view.text(&["status", "phase"]) {
        "Terminating" => Health::progressing("Terminating", "being deleted"),
        _ => Health::healthy("Active", "active"),
    }
}

pub(super) fn custom_resource_definition(view: &View<'_>) -> Health {
    if let Some(names) = condition(view, "NamesAccepted").filter(|condition| condition.is_false()) {
        return Health::degraded(
            names.reason_or("NamesNotAccepted"),
            names.message_or("its names are taken by another definition"),
        );
    }
    if condition(view, "Terminating").is_some_and(|condition| condition.is_true()) {
        return Health::progressing("Terminating", "being deleted");
    }
    match condition(view, "Established") {
        Some(established) if established.is_true() => Health::healthy("Established", "established"),
        Some(established) => Health::progressing(
            established.reason_or("NotEstablished"),
            established.message_or("not established yet"),
        ),
        None => Health::progressing("NotEstablished", "not established yet"),
    }
}

pub(super) fn api_service(view: &View<'_>) -> Health {
    match condition(view, "Available") {
        Some(available) if available.is_true() => Health::healthy("Available", "available"),
        Some(available) => Health::progressing(
            available.reason_or("NotAvailable"),
            available.message_or("not available yet"),
        ),
        None => Health::progressing("NotAvailable", "not available yet"),
    }
}
