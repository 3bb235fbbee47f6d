//! Nodes, Events, access control, admission and other kinds that serve the cluster itself.

use serde_json::{Value, json};

use super::cell::{
    NONE, UNKNOWN, UNSET, age, at, bare, int, items, map, number, or, since, some, text, unix,
};
use super::duration::human_duration;

pub(super) fn node(object: &Value, now: i64) -> Vec<Value> {
    let ready = items(object, &["status", "conditions"])
        .iter()
        .find(|condition| text(condition, &["type"]) == "Ready")
        .map_or(
            "Unknown",
            |condition| {
                if text(condition, &["status"]) == "True" { "Ready" } else { "NotReady" }
            },
        );
    let cordoned = at(object, &["spec", "unschedulable"]) == Some(&Value::Bool(true));
    let status = format!("{ready}{}", if cordoned { ",SchedulingDisabled" } else { "" });
    let mut roles: Vec<String> = map(object, &["metadata", "labels"])
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role.to_owned()),
            None => (key == "kubernetes.io/role").then(|| bare(value)),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort();
    roles.dedup();
    let address = |kind: &str| {
        let address = items(object, &["status", "addresses"])
            .iter()
            .find(|address| text(address, &["type"]) == kind)
            .map_or("", |address| text(address, &["address"]));
        json!(or(address, NONE))
    };
    let info = |key: &str| json!(or(text(object, &["status", "nodeInfo", key]), UNKNOWN));
    vec![
        json!(status),
        json!(or(&roles.join(","), NONE)),
        age(object, now),
        json!(text(object, &["status", "nodeInfo", "kubeletVersion"])),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

/// Events of both groups: the older one's fields have other names in the newer.
pub(super) fn event(object: &Value, now: i64) -> Vec<Value> {
    let either = |old: &[&str], new: &[&str]| or(text(object, old), text(object, new)).to_owned();
    let first = either(&["firstTimestamp"], &["deprecatedFirstTimestamp"]);
    let first = since(or(&first, text(object, &["eventTime"])), now);
    let last = either(&["lastTimestamp"], &["deprecatedLastTimestamp"]);
    let mut last = if unix(&last).is_some() { since(&last, now) } else { first.clone() };
    let mut count = int(object, &["count"]).or(int(object, &["deprecatedCount"])).unwrap_or(0).max(1);
    if let Some(series) = some(object, &["series"]) {
        last = since(text(series, &["lastObservedTime"]), now);
        count = number(series, &["count"]);
    }
    let regarding =
        some(object, &["involvedObject"]).or(some(object, &["regarding"])).unwrap_or(&Value::Null);
    let kind = text(regarding, &["kind"]).to_lowercase();
    let target = match text(regarding, &["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let source = |key: &str| either(&["source", key], &["deprecatedSource", key]);
    let component =
        or(&source("component"), &either(&["reportingComponent"], &["reportingController"])).to_owned();
    let instance = or(&source("host"), text(object, &["reportingInstance"])).to_owned();
    let source = if instance.is_empty() { component } else { format!("{component}, {instance}") };
    vec![
        json!(last),
        json!(text(object, &["type"])),
        json!(text(object, &["reason"])),
        json!(target),
        json!(text(regarding, &["fieldPath"])),
        json!(source),
        json!(either(&["message"], &["note"]).trim()),
        json!(first),
        json!(count),
        json!(text(object, &["metadata", "name"])),
    ]
}

pub(super) fn component_status(object: &Value) -> Vec<Value> {
    let healthy =
        items(object, &["conditions"]).iter().find(|condition| text(condition, &["type"]) == "Healthy");
    let part = |key: &str| healthy.map_or("", |condition| text(condition, &[key]));
    let status = match part("status") {
        "True" => "Healthy",
        "False" => "Unhealthy",
        _ => "Unknown",
    };
    vec![json!(status), json!(part("message")), json!(part("error"))]
}

pub(super) fn role_binding(object: &Value, now: i64) -> Vec<Value> {
    let role = format!("{}/{}", text(object, &["roleRef", "kind"]), text(object, &["roleRef", "name"]));
    let subjects = |kind: &str| {
        let names: Vec<String> = items(object, &["subjects"])
            .iter()
            .filter(|subject| text(subject, &["kind"]) == kind)
            .map(|subject| match kind {
                "ServiceAccount" => {
                    format!("{}/{}", text(subject, &["namespace"]), text(subject, &["name"]))
                }
                _ => text(subject, &["name"]).to_owned(),
            })
            .collect();
        json!(names.join(", "))
    };
    vec![json!(role), age(object, now), subjects("User"), subjects("Group"), subjects("ServiceAccount")]
}

pub(super) fn priority_class(object: &Value, now: i64) -> Vec<Value> {
    vec![
        json!(number(object, &["value"])),
        json!(object.get("globalDefault").and_then(Value::as_bool).unwrap_or(false)),
        age(object, now),
        json!(text(object, &["preemptionPolicy"])),
    ]
}

/// The kinds of `admissionregistration.k8s.io`.
pub(super) fn admission(kind: &str, object: &Value, now: i64) -> Vec<Value> {
    match kind {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            vec![json!(items(object, &["webhooks"]).len()), age(object, now)]
        }
        "ValidatingAdmissionPolicy" => {
            let parameter = some(object, &["spec", "paramKind"]).map_or_else(
                || UNSET.to_owned(),
                |kind| format!("{}/{}", text(kind, &["apiVersion"]), text(kind, &["kind"])),
            );
            let validations = items(object, &["spec", "validations"]).len();
            vec![json!(validations), json!(parameter), age(object, now)]
        }
        "ValidatingAdmissionPolicyBinding" => {
            let reference = some(object, &["spec", "paramRef"]).map_or_else(
                || UNSET.to_owned(),
                |reference| match (text(reference, &["namespace"]), text(reference, &["name"])) {
                    ("", name) => format!("*/{name}"),
                    (namespace, name) => format!("{namespace}/{name}"),
                },
            );
            vec![json!(text(object, &["spec", "policyName"])), json!(reference), age(object, now)]
        }
        _ => vec![age(object, now)],
    }
}

pub(super) fn api_service(object: &Value, now: i64) -> Vec<Value> {
    let service = some(object, &["spec", "service"]).map_or_else(
        || "Local".to_owned(),
        |service| format!("{}/{}", text(service, &["namespace"]), text(service, &["name"])),
    );
    let available = items(object, &["status", "conditions"])
        .iter()
        .find(|condition| text(condition, &["type"]) == "Available")
        .map_or_else(
            || "Unknown".to_owned(),
            |condition| match (text(condition, &["status"]), text(condition, &["reason"])) {
                ("True", _) => "True".to_owned(),
                (status, reason) => format!("{status} ({reason})"),
            },
        );
    vec![json!(service), json!(available), age(object, now)]
}

pub(super) fn signing_request(object: &Value, now: i64) -> Vec<Value> {
    let duration =
        int(object, &["spec", "expirationSeconds"]).map_or_else(|| NONE.to_owned(), human_duration);
    let has = |kind: &str| {
        items(object, &["status", "conditions"]).iter().any(|condition| text(condition, &["type"]) == kind)
    };
    let mut condition = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        condition.push_str(",Failed");
    }
    if !text(object, &["status", "certificate"]).is_empty() {
        condition.push_str(",Issued");
    }
    vec![
        age(object, now),
        json!(or(text(object, &["spec", "signerName"]), NONE)),
        json!(text(object, &["spec", "username"])),
        json!(duration),
        json!(condition),
    ]
}

/// The kinds of `flowcontrol.apiserver.k8s.io`.
pub(super) fn flow_control(kind: &str, object: &Value, now: i64) -> Vec<Value> {
    if kind == "FlowSchema" {
        let missing = items(object, &["status", "conditions"])
            .iter()
            .find(|condition| text(condition, &["type"]) == "Dangling")
            .map_or("?", |condition| text(condition, &["status"]));
        return vec![
            json!(or(text(object, &["spec", "priorityLevelConfiguration", "name"]), NONE)),
            json!(number(object, &["spec", "matchingPrecedence"])),
            json!(or(text(object, &["spec", "distinguisherMethod", "type"]), NONE)),
            age(object, now),
            json!(missing),
        ];
    }
    let amount = |path: &[&str]| int(object, path).map_or_else(|| json!(NONE), Value::from);
    let kind = text(object, &["spec", "type"]);
    let shares = if kind == "Exempt" {
        amount(&["spec", "exempt", "nominalConcurrencyShares"])
    } else {
        amount(&["spec", "limited", "nominalConcurrencyShares"])
    };
    let queuing = |key: &str| amount(&["spec", "limited", "limitResponse", "queuing", key]);
    vec![
        json!(kind),
        shares,
        queuing("queues"),
        queuing("handSize"),
        queuing("queueLengthLimit"),
        age(object, now),
    ]
}
