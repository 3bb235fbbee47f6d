//! `apps`, `batch`, `autoscaling` and `policy`.

use serde_json::{Value, json};

use super::findings::Findings;
use super::{metadata, pod};
use crate::behaviour::tree::{int, some, text};

/// Deployment, ReplicaSet, StatefulSet or DaemonSet.
pub(super) fn workload(kind: &str, object: &Value, found: &mut Findings) {
    let empty = Value::Null;
    let spec = object.get("spec").unwrap_or(&empty);
    found.not_negative("spec.replicas", spec.get("replicas"));
    found.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"));
    found.not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"));
    let labels = some(spec, &["template", "metadata", "labels"]);
    match some(spec, &["selector"]) {
        None => found.required("spec.selector", ""),
        Some(selector) => {
            metadata::selector(selector, "spec.selector", found);
            if metadata::is_empty(selector) {
                let detail = format!("empty selector is invalid for {}", kind.to_lowercase());
                found.invalid("spec.selector", selector.clone(), &detail);
            } else if !metadata::matches(selector, labels) {
                let labels = labels.cloned().unwrap_or_else(|| json!({}));
                found.invalid(
                    "spec.template.metadata.labels",
                    labels,
                    "`selector` does not match template `labels`",
                );
            }
        }
    }
    if kind == "Deployment" {
        deployment(spec, found);
    }
    if kind == "StatefulSet" {
        let path = "spec.podManagementPolicy";
        found.one_of(path, spec.get("podManagementPolicy"), &["OrderedReady", "Parallel"]);
    }
    template(spec, "spec", found);
    found.one_of(
        "spec.template.spec.restartPolicy",
        some(spec, &["template", "spec", "restartPolicy"]),
        &["Always"],
    );
}

fn deployment(spec: &Value, found: &mut Findings) {
    let strategy = spec.get("strategy").unwrap_or(&Value::Null);
    found.one_of("spec.strategy.type", strategy.get("type"), &["Recreate", "RollingUpdate"]);
    let rolling = some(strategy, &["rollingUpdate"]);
    match (text(strategy, &["type"]), rolling) {
        ("Recreate", Some(_)) => found.forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        ),
        ("RollingUpdate", Some(rolling)) => {
            let zero = |key: &str| matches!(rolling.get(key), Some(value) if value == 0 || value == "0%");
            if zero("maxUnavailable") && zero("maxSurge") {
                let value = rolling.get("maxUnavailable").cloned().unwrap_or_default();
                found.invalid(
                    "spec.strategy.rollingUpdate.maxUnavailable",
                    value,
                    "may not be 0 when `maxSurge` is 0",
                );
            }
        }
        _ => {}
    }
    if let Some(deadline) = int(spec, &["progressDeadlineSeconds"])
        && deadline <= int(spec, &["minReadySeconds"]).unwrap_or(0)
    {
        found.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds");
    }
}

fn template(spec: &Value, path: &str, found: &mut Findings) {
    let Some(template) = some(spec, &["template"]) else {
        found.required(format!("{path}.template.spec.containers"), "");
        return;
    };
    if let Some(labels) = some(template, &["metadata", "labels"]) {
        metadata::labels(labels, &format!("{path}.template.metadata.labels"), found);
    }
    let spec = template.get("spec").unwrap_or(&Value::Null);
    pod::spec(spec, &format!("{path}.template.spec"), found);
}

/// The spec of a Job, or of a CronJob's Jobs.
pub(super) fn job_spec(spec: &Value, path: &str, found: &mut Findings) {
    for key in
        ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"]
    {
        found.not_negative(format!("{path}.{key}"), spec.get(key));
    }
    found.one_of(format!("{path}.completionMode"), spec.get("completionMode"), &["NonIndexed", "Indexed"]);
    if text(spec, &["completionMode"]) == "Indexed" && some(spec, &["completions"]).is_none() {
        found.required(format!("{path}.completions"), "when completion mode is Indexed");
    }
    if let Some(selector) = some(spec, &["selector"]) {
        metadata::selector(selector, &format!("{path}.selector"), found);
        let labels = some(spec, &["template", "metadata", "labels"]);
        if !metadata::matches(selector, labels) {
            found.invalid(
                format!("{path}.template.metadata.labels"),
                labels.cloned().unwrap_or_else(|| json!({})),
                "`selector` does not match template `labels`",
            );
        }
    }
    template(spec, path, found);
    let policy = format!("{path}.template.spec.restartPolicy");
    match text(spec, &["template", "spec", "restartPolicy"]) {
        // Always is what an absent one defaults to, so it reads as missing.
        "" | "Always" => found.required(policy, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" | "Never" => {}
        other => found.one_of(policy, Some(&other.into()), &["OnFailure", "Never"]),
    }
}

/// A CronJob.
pub(super) fn cron_job(object: &Value, found: &mut Findings) {
    let name = text(object, &["metadata", "name"]);
    if name.len() > 52 {
        found.invalid("metadata.name", name, "must be no more than 52 characters");
    }
    let empty = Value::Null;
    let spec = object.get("spec").unwrap_or(&empty);
    let schedule = text(spec, &["schedule"]);
    if schedule.is_empty() {
        found.required("spec.schedule", "");
    } else if let Err(complaint) = cron(schedule) {
        found.invalid("spec.schedule", schedule, &complaint);
    }
    found.one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), &["Allow", "Forbid", "Replace"]);
    for key in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        found.not_negative(format!("spec.{key}"), spec.get(key));
    }
    let job = some(spec, &["jobTemplate", "spec"]).unwrap_or(&Value::Null);
    job_spec(job, "spec.jobTemplate.spec", found);
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A standard cron schedule: five fields or a descriptor.
fn cron(schedule: &str) -> Result<(), String> {
    if schedule.contains("TZ") {
        return Err("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".to_owned());
    }
    if schedule.starts_with('@') {
        let known = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
        let every = schedule.strip_prefix("@every ").is_some_and(|rest| !rest.trim().is_empty());
        let known = known.contains(&schedule) || every;
        return known.then_some(()).ok_or_else(|| format!("unrecognized descriptor: {schedule}"));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields.as_slice() else {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    };
    cron_field(minute, 0, 59, &[])?;
    cron_field(hour, 0, 23, &[])?;
    cron_field(day, 1, 31, &[])?;
    cron_field(month, 1, 12, &MONTHS)?;
    cron_field(weekday, 0, 6, &DAYS)
}

fn cron_field(field: &str, low: u32, high: u32, names: &[&str]) -> Result<(), String> {
    let number = |text: &str| -> Result<u32, String> {
        if let Some(index) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(low + u32::try_from(index).unwrap_or(0));
        }
        text.parse().map_err(|_| format!("failed to parse int from {text}: invalid syntax"))
    };
    for part in field.split(',').filter(|part| !part.is_empty()) {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (from, to) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => (low, high),
            Some((from, to)) => (number(from)?, number(to)?),
            None => {
                let from = number(range)?;
                (from, if step.is_some() { high } else { from })
            }
        };
        if from < low {
            return Err(format!("beginning of range ({from}) below minimum ({low}): {part}"));
        }
        if to > high {
            return Err(format!("end of range ({to}) above maximum ({high}): {part}"));
        }
        if from > to {
            return Err(format!("beginning of range ({from}) beyond end of range ({to}): {part}"));
        }
        if let Some(step) = step
            && number(step)? == 0
        {
            return Err(format!("step of range should be a positive number: {part}"));
        }
    }
    Ok(())
}

/// A HorizontalPodAutoscaler.
pub(super) fn autoscaler(object: &Value, found: &mut Findings) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let (min, max) = (int(spec, &["minReplicas"]), int(spec, &["maxReplicas"]).unwrap_or(0));
    if let Some(min) = min.filter(|min| *min < 1) {
        found.invalid("spec.minReplicas", min, "must be greater than or equal to 1");
    }
    if max < 1 {
        found.invalid("spec.maxReplicas", max, "must be greater than 0");
    }
    if min.is_some_and(|min| max < min) {
        found.invalid("spec.maxReplicas", max, "must be greater than or equal to `minReplicas`");
    }
    for key in ["kind", "name"] {
        if text(spec, &["scaleTargetRef", key]).is_empty() {
            found.required(format!("spec.scaleTargetRef.{key}"), "");
        }
    }
}

/// A PodDisruptionBudget.
pub(super) fn disruption_budget(object: &Value, found: &mut Findings) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    if some(spec, &["minAvailable"]).is_some() && some(spec, &["maxUnavailable"]).is_some() {
        found.invalid("spec", spec.clone(), "minAvailable and maxUnavailable cannot be both set");
    }
    for key in ["minAvailable", "maxUnavailable"] {
        found.not_negative(format!("spec.{key}"), spec.get(key));
    }
    if let Some(selector) = some(spec, &["selector"]) {
        metadata::selector(selector, "spec.selector", found);
    }
}
