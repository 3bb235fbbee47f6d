//! What a step asks for, against the quotas of its targets' namespaces.

use std::collections::BTreeMap;

use fleet_api::ObjectId;
use fleet_json::Quantity;
use serde_json::Value;

use super::{Hint, MemberFacts, Severity};
use crate::{ActionKind, Desired, TargetInput, TargetPlan};

/// The codes of this module.
pub(super) const CODES: [&str; 2] = ["QuotaExceeded", "QuotaNeedsRequests"];

/// What is asked for, by the names that quotas have, in nano units.
type Sums = BTreeMap<String, i128>;

/// Compares each quota's use, and what the step adds, with its limit. Quotas with scopes are about some pods only and are
/// passed over.
pub(super) fn hints(input: &TargetInput<'_>, plan: &TargetPlan, member: Option<&MemberFacts>) -> Vec<Hint> {
    let mut found = Vec::new();
    let here = |quota: &&Value| {
        let namespace = quota.pointer("/metadata/namespace").and_then(Value::as_str);
        namespace == Some(&input.target.namespace)
    };
    let quotas: Vec<&Value> = member.iter().flat_map(|member| &member.quotas).filter(here).collect();
    if quotas.is_empty() {
        return found;
    }
    let mut added = Sums::new();
    let mut without: Vec<(&ObjectId, &str)> = Vec::new();
    for action in &plan.actions {
        let same = |desired: &&Desired| desired.id.versionless() == action.id.versionless();
        let goes = action.kind == ActionKind::Delete;
        let comes = matches!(action.kind, ActionKind::Create | ActionKind::Change);
        if !goes && !comes {
            continue;
        }
        let after = input.desired.iter().find(same).filter(|_| comes);
        let before = input.previous.iter().find(same).filter(|_| action.kind != ActionKind::Create);
        for (desired, sign) in [(after, 1), (before, -1)] {
            let Some(desired) = desired else { continue };
            for (name, amount) in asked(&desired.id, &desired.object) {
                *added.entry(name).or_default() += sign * amount;
            }
        }
        for name in after.iter().flat_map(|after| unsaid(&after.object)) {
            without.push((&action.id, name));
        }
    }
    for quota in quotas {
        let scoped = ["scopes", "scopeSelector"]
            .iter()
            .any(|field| quota.pointer(&format!("/spec/{field}")).is_some_and(|scope| !scope.is_null()));
        let Some(hard) = quota.pointer("/spec/hard").and_then(Value::as_object).filter(|_| !scoped) else {
            continue;
        };
        let name = quota.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let of = |code: &'static str, object: Option<ObjectId>, message: String| Hint {
            code,
            severity: if code == "QuotaExceeded" { Severity::Danger } else { Severity::Warning },
            target: input.target.clone(),
            object,
            field: None,
            message,
        };
        for (resource, limit) in hard {
            let more = added.get(plainest(resource)).copied().unwrap_or_default();
            let used = quota.pointer("/status/used").and_then(|used| used.get(resource));
            let used = used.and_then(|used| Quantity::from_value(used).ok()).map_or(0, Quantity::nanos);
            let Ok(most) = Quantity::from_value(limit) else { continue };
            if more > 0 && used.saturating_add(more) > most.nanos() {
                let message = format!(
                    "ResourceQuota {name} allows {resource} {most}, {} are used, and the step asks for {} more; raise the quota or ask for less",
                    shown(used, most),
                    shown(more, most)
                );
                found.push(of("QuotaExceeded", None, message));
            }
            let demanded = plainest(resource);
            for (id, lacking) in without.iter().filter(|(_, lacking)| *lacking == demanded) {
                let message = format!(
                    "ResourceQuota {name} limits {resource}, and a container says no {lacking}: its pods are refused unless a LimitRange fills it in"
                );
                found.push(of("QuotaNeedsRequests", Some((*id).clone()), message));
            }
        }
    }
    found
}

/// `cpu` is another word for `requests.cpu`, `count/pods` for `pods`.
fn plainest(resource: &str) -> &str {
    match resource {
        "cpu" => "requests.cpu",
        "memory" => "requests.memory",
        other => other.strip_prefix("count/").filter(|rest| !rest.contains('.')).unwrap_or(other),
    }
}

/// What an object asks for.
fn asked(id: &ObjectId, object: &Value) -> Sums {
    const ONE: i128 = 1_000_000_000;
    let mut sums = Sums::new();
    let counted = match (id.group(), id.kind.as_str()) {
        ("", "Service") => "services",
        ("", "ConfigMap") => "configmaps",
        ("", "Secret") => "secrets",
        ("", "PersistentVolumeClaim") => "persistentvolumeclaims",
        ("apps", "Deployment") => "count/deployments.apps",
        ("apps", "StatefulSet") => "count/statefulsets.apps",
        ("batch", "Job") => "count/jobs.batch",
        ("batch", "CronJob") => "count/cronjobs.batch",
        _ => "",
    };
    if !counted.is_empty() {
        sums.insert(counted.to_owned(), ONE);
    }
    if let Some(storage) = object.pointer("/spec/resources/requests/storage")
        && let Ok(storage) = Quantity::from_value(storage)
    {
        sums.insert("requests.storage".to_owned(), storage.nanos());
    }
    let Some((pods, spec)) = pods(object) else { return sums };
    sums.insert("pods".to_owned(), ONE.saturating_mul(pods));
    for container in containers(spec) {
        for (list, prefix) in [("requests", "requests"), ("limits", "limits")] {
            let values = container.pointer(&format!("/resources/{list}")).and_then(Value::as_object);
            for (resource, amount) in values.into_iter().flatten() {
                let Ok(amount) = Quantity::from_value(amount) else { continue };
                let sum = sums.entry(format!("{prefix}.{resource}")).or_default();
                *sum = sum.saturating_add(amount.nanos().saturating_mul(pods));
            }
        }
    }
    sums
}

/// What quotas may demand and a container of the object doesn't say.
fn unsaid(object: &Value) -> Vec<&'static str> {
    const DEMANDED: [(&str, &str); 4] = [
        ("requests.cpu", "/resources/requests/cpu"),
        ("requests.memory", "/resources/requests/memory"),
        ("limits.cpu", "/resources/limits/cpu"),
        ("limits.memory", "/resources/limits/memory"),
    ];
    let Some((_, spec)) = pods(object) else { return Vec::new() };
    let lacks = |at: &str| {
        // A request that isn't said is the limit.
        let limit = at.replace("requests", "limits");
        containers(spec)
            .any(|container| container.pointer(at).is_none() && container.pointer(&limit).is_none())
    };
    DEMANDED.iter().filter(|(_, at)| lacks(at)).map(|(name, _)| *name).collect()
}

/// How many pods a workload has, and of which form. How many a DaemonSet has, only the member knows.
fn pods(object: &Value) -> Option<(i128, &Value)> {
    let count = |at: &str| i128::from(object.pointer(at).and_then(Value::as_i64).unwrap_or(1).max(0));
    match object.get("kind").and_then(Value::as_str)? {
        "Pod" => Some((1, object.get("spec")?)),
        "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController" => {
            Some((count("/spec/replicas"), object.pointer("/spec/template/spec")?))
        }
        "Job" => Some((count("/spec/parallelism"), object.pointer("/spec/template/spec")?)),
        _ => None,
    }
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    spec.get("containers").and_then(Value::as_array).into_iter().flatten()
}

/// Nano units for people, in the manner of a limit.
fn shown(nanos: i128, like: Quantity) -> String {
    const UNIT: i128 = 1_000_000_000;
    let number = |amount: i128| i64::try_from(amount).unwrap_or(i64::MAX);
    match nanos % UNIT {
        0 => Quantity::from_units(number(nanos / UNIT), like.format()).to_string(),
        _ => Quantity::from_millis(number(nanos / (UNIT / 1000))).to_string(),
    }
}
