//! `apps`, `batch`, `autoscaling` and `policy`.

use serde_json::{Value, json};

use super::cell::{
    NONE, UNKNOWN, UNSET, age, at, bare, condition, containers, int, items, labels, number, or, selector,
    since, some, text, unix,
};
use super::duration::human_duration;

fn template(object: &Value) -> Option<&Value> {
    at(object, &["spec", "template", "spec"])
}

pub(super) fn deployment(object: &Value, now: i64) -> Vec<Value> {
    let status = |key: &str| number(object, &["status", key]);
    let ready = format!("{}/{}", status("readyReplicas"), number(object, &["spec", "replicas"]));
    let [names, images] = containers(template(object));
    let selector = json!(selector(at(object, &["spec", "selector"])));
    vec![
        json!(ready),
        json!(status("updatedReplicas")),
        json!(status("availableReplicas")),
        age(object, now),
        names,
        images,
        selector,
    ]
}

/// ReplicaSets and ReplicationControllers, whose selector is a plain map.
pub(super) fn replicas(object: &Value, now: i64) -> Vec<Value> {
    let [names, images] = containers(template(object));
    let plain = at(object, &["spec", "selector"]);
    let selector = if plain.is_some_and(|plain| {
        plain.get("matchLabels").is_some_and(Value::is_object) || plain.get("matchExpressions").is_some()
    }) {
        selector(plain)
    } else {
        labels(plain)
    };
    vec![
        json!(number(object, &["spec", "replicas"])),
        json!(number(object, &["status", "replicas"])),
        json!(number(object, &["status", "readyReplicas"])),
        age(object, now),
        names,
        images,
        json!(selector),
    ]
}

pub(super) fn stateful_set(object: &Value, now: i64) -> Vec<Value> {
    let [names, images] = containers(template(object));
    let ready = number(object, &["status", "readyReplicas"]);
    let ready = format!("{ready}/{}", number(object, &["spec", "replicas"]));
    vec![json!(ready), age(object, now), names, images]
}

pub(super) fn daemon_set(object: &Value, now: i64) -> Vec<Value> {
    let [names, images] = containers(template(object));
    let status = |key: &str| json!(number(object, &["status", key]));
    vec![
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        json!(labels(at(object, &["spec", "template", "spec", "nodeSelector"]))),
        age(object, now),
        names,
        images,
        json!(selector(at(object, &["spec", "selector"]))),
    ]
}

pub(super) fn controller_revision(object: &Value, now: i64) -> Vec<Value> {
    let owner = items(object, &["metadata", "ownerReferences"])
        .iter()
        .find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    let owner = owner.map_or_else(
        || NONE.to_owned(),
        |owner| {
            let kind = text(owner, &["kind"]).to_lowercase();
            let name = text(owner, &["name"]);
            match text(owner, &["apiVersion"]).split_once('/') {
                Some((group, _)) => format!("{kind}.{group}/{name}"),
                None => format!("{kind}/{name}"),
            }
        },
    );
    vec![json!(owner), json!(number(object, &["revision"])), age(object, now)]
}

pub(super) fn pod_template(object: &Value) -> Vec<Value> {
    let [names, images] = containers(at(object, &["template", "spec"]));
    vec![names, images, json!(labels(at(object, &["template", "metadata", "labels"])))]
}

pub(super) fn job(object: &Value, now: i64) -> Vec<Value> {
    let deleted = some(object, &["metadata", "deletionTimestamp"]).is_some();
    let status = match () {
        () if condition(object, "Complete") => "Complete",
        () if condition(object, "Failed") => "Failed",
        () if deleted => "Terminating",
        () if condition(object, "Suspended") => "Suspended",
        () if condition(object, "FailureTarget") => "FailureTarget",
        () if condition(object, "SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    };
    let succeeded = number(object, &["status", "succeeded"]);
    let parallelism = number(object, &["spec", "parallelism"]);
    let completions = match int(object, &["spec", "completions"]) {
        Some(completions) => format!("{succeeded}/{completions}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    };
    let started = unix(text(object, &["status", "startTime"]));
    let ended = unix(text(object, &["status", "completionTime"]));
    let duration = started
        .map_or_else(String::new, |started| human_duration(ended.unwrap_or(now).saturating_sub(started)));
    let [names, images] = containers(template(object));
    vec![
        json!(status),
        json!(completions),
        json!(duration),
        age(object, now),
        names,
        images,
        json!(selector(at(object, &["spec", "selector"]))),
    ]
}

pub(super) fn cron_job(object: &Value, now: i64) -> Vec<Value> {
    let suspend = match at(object, &["spec", "suspend"]) {
        Some(Value::Bool(true)) => "True",
        Some(Value::Bool(false)) => "False",
        _ => UNSET,
    };
    let last = text(object, &["status", "lastScheduleTime"]);
    let last = if last.is_empty() { NONE.to_owned() } else { since(last, now) };
    let job = at(object, &["spec", "jobTemplate", "spec"]);
    let [names, images] = containers(job.and_then(template_of_spec));
    vec![
        json!(text(object, &["spec", "schedule"])),
        json!(or(text(object, &["spec", "timeZone"]), NONE)),
        json!(suspend),
        json!(items(object, &["status", "active"]).len()),
        json!(last),
        age(object, now),
        names,
        images,
        json!(selector(job.and_then(|job| job.get("selector")))),
    ]
}

fn template_of_spec(spec: &Value) -> Option<&Value> {
    at(spec, &["template", "spec"])
}

pub(super) fn disruption_budget(object: &Value, now: i64) -> Vec<Value> {
    let bound = |key: &str| json!(some(object, &["spec", key]).map_or_else(|| "N/A".to_owned(), bare));
    vec![
        bound("minAvailable"),
        bound("maxUnavailable"),
        json!(number(object, &["status", "disruptionsAllowed"])),
        age(object, now),
    ]
}

pub(super) fn autoscaler(object: &Value, now: i64) -> Vec<Value> {
    let target = |key: &str| text(object, &["spec", "scaleTargetRef", key]);
    let minimum =
        int(object, &["spec", "minReplicas"]).map_or_else(|| UNSET.to_owned(), |min| min.to_string());
    vec![
        json!(format!("{}/{}", target("kind"), target("name"))),
        json!(metrics(object)),
        json!(minimum),
        json!(number(object, &["spec", "maxReplicas"])),
        json!(number(object, &["status", "currentReplicas"])),
        age(object, now),
    ]
}

fn metrics(object: &Value) -> String {
    let percent = |value: Option<&Value>, missing: &str| {
        value.map_or_else(|| missing.to_owned(), |value| format!("{value}%"))
    };
    if let Some(target) = some(object, &["spec", "targetCPUUtilizationPercentage"]) {
        let current = some(object, &["status", "currentCPUUtilizationPercentage"]);
        return format!("cpu: {}/{target}%", percent(current, UNKNOWN));
    }
    let specs = items(object, &["spec", "metrics"]);
    let statuses = items(object, &["status", "currentMetrics"]);
    let mut list = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let (source, prefix) = match text(spec, &["type"]) {
            "Resource" => ("resource", format!("{}: ", text(spec, &["resource", "name"]))),
            "ContainerResource" => {
                ("containerResource", format!("{}: ", text(spec, &["containerResource", "name"])))
            }
            "Pods" => ("pods", String::new()),
            "Object" => ("object", String::new()),
            "External" => ("external", String::new()),
            _ => {
                list.push("<unknown type>".to_owned());
                continue;
            }
        };
        let status = statuses.get(index);
        let current = |key: &str| status.and_then(|status| some(status, &[source, "current", key]));
        let amount = |value: Option<&Value>| value.map_or_else(|| UNKNOWN.to_owned(), bare);
        let target = |key: &str| some(spec, &[source, "target", key]);
        let average = if matches!(source, "object" | "external") { " (avg)" } else { "" };
        list.push(match (target("averageValue"), source) {
            (Some(target), _) => {
                format!("{prefix}{}/{}{average}", amount(current("averageValue")), bare(target))
            }
            (None, "resource" | "containerResource") => {
                let target = percent(target("averageUtilization"), "<auto>");
                format!("{prefix}{}/{target}", percent(current("averageUtilization"), UNKNOWN))
            }
            (None, _) => format!("{}/{}", amount(current("value")), amount(target("value"))),
        });
    }
    match list.as_slice() {
        [] => NONE.to_owned(),
        [first, second, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second} + {} more...", rest.len())
        }
        list => list.join(", "),
    }
}
