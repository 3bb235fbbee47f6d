//! Defaults of `apps`, `batch` and `autoscaling`.

use serde_json::{Value, json};

use super::pod::template;
use crate::behaviour::tree::{Object, child, child_or_new, each, fill, unset};

pub(super) fn deployment(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    rolling(spec, "strategy", &[("maxUnavailable", json!("25%")), ("maxSurge", json!("25%"))]);
    template(spec);
}

pub(super) fn daemon_set(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    fill(spec, "revisionHistoryLimit", 10);
    rolling(spec, "updateStrategy", &[("maxUnavailable", json!(1)), ("maxSurge", json!(0))]);
    template(spec);
}

fn rolling(spec: &mut Object, key: &str, parameters: &[(&str, Value)]) {
    let Some(strategy) = child_or_new(spec, key) else { return };
    fill(strategy, "type", "RollingUpdate");
    if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate")
        && let Some(rolling) = child_or_new(strategy, "rollingUpdate")
    {
        for (name, value) in parameters {
            fill(rolling, name, value.clone());
        }
    }
}

pub(super) fn stateful_set(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = child_or_new(spec, "updateStrategy") {
        // Only an absent type brings `rollingUpdate` along; a written RollingUpdate without it stays bare.
        if unset(strategy, "type") {
            strategy.insert("type".into(), "RollingUpdate".into());
            fill(strategy, "rollingUpdate", json!({}));
        }
        if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate")
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            fill(rolling, "partition", 0);
        }
    }
    if let Some(policy) = child_or_new(spec, "persistentVolumeClaimRetentionPolicy") {
        fill(policy, "whenDeleted", "Retain");
        fill(policy, "whenScaled", "Retain");
    }
    each(spec, "volumeClaimTemplates", |claim| {
        fill(claim, "apiVersion", "v1");
        fill(claim, "kind", "PersistentVolumeClaim");
        super::cluster::persistent_volume_claim(claim);
        if let Some(status) = child_or_new(claim, "status") {
            fill(status, "phase", "Pending");
        }
    });
    template(spec);
}

pub(super) fn replica_set(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    fill(spec, "replicas", 1);
    template(spec);
}

pub(super) fn replication_controller(object: &mut Object) {
    let labels = object
        .get("spec")
        .and_then(|spec| spec.pointer("/template/metadata/labels"))
        .filter(|labels| labels.as_object().is_some_and(|labels| !labels.is_empty()))
        .cloned();
    if let Some(labels) = &labels {
        fill_labels(object, labels);
    }
    let Some(spec) = child_or_new(object, "spec") else { return };
    if let Some(labels) = labels
        && spec.get("selector").and_then(Value::as_object).is_none_or(Object::is_empty)
    {
        spec.insert("selector".into(), labels);
    }
    fill(spec, "replicas", 1);
    template(spec);
}

pub(super) fn pod_template_object(object: &mut Object) {
    template(object);
}

pub(super) fn job(object: &mut Object) {
    let labels = object
        .get("spec")
        .and_then(|spec| spec.pointer("/template/metadata/labels"))
        .filter(|labels| labels.as_object().is_some_and(|labels| !labels.is_empty()))
        .cloned();
    // Labels that creation writes into the template say nothing about the Job itself.
    if let Some(Value::Object(mut labels)) = labels {
        labels.retain(|name, _| !crate::behaviour::lifecycle::JOB_LABELS.contains(&name.as_str()));
        if !labels.is_empty() {
            fill_labels(object, &Value::Object(labels));
        }
    }
    let Some(spec) = child_or_new(object, "spec") else { return };
    if unset(spec, "parallelism") && unset(spec, "completions") {
        fill(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    let limit = if unset(spec, "backoffLimitPerIndex") { 6 } else { i32::MAX };
    fill(spec, "backoffLimit", limit);
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    fill(spec, "manualSelector", false);
    let replacement = if unset(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    fill(spec, "podReplacementPolicy", replacement);
    if let Some(policy) = child(spec, "podFailurePolicy") {
        each(policy, "rules", |rule| {
            each(rule, "onPodConditions", |condition| fill(condition, "status", "True"));
        });
    }
    template(spec);
}

fn fill_labels(object: &mut Object, labels: &Value) {
    if let Some(metadata) = child_or_new(object, "metadata")
        && metadata.get("labels").and_then(Value::as_object).is_none_or(Object::is_empty)
    {
        metadata.insert("labels".into(), labels.clone());
    }
}

pub(super) fn cron_job(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    fill(spec, "concurrencyPolicy", "Allow");
    fill(spec, "suspend", false);
    fill(spec, "successfulJobsHistoryLimit", 3);
    fill(spec, "failedJobsHistoryLimit", 1);
    // The job spec itself is defaulted when the Job is created, its pods already here.
    if let Some(spec) = child(spec, "jobTemplate").and_then(|template| child_or_new(template, "spec")) {
        template(spec);
    }
}

pub(super) fn autoscaler_v1(object: &mut Object) {
    if let Some(spec) = child_or_new(object, "spec") {
        fill(spec, "minReplicas", 1);
    }
}

pub(super) fn autoscaler_v2(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    fill(spec, "minReplicas", 1);
    if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        spec.insert(
            "metrics".into(),
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]),
        );
    }
    let Some(behavior) = child(spec, "behavior") else { return };
    if unset(behavior, "scaleUp") && unset(behavior, "scaleDown") {
        return;
    }
    let all = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    if let Some(up) = child_or_new(behavior, "scaleUp") {
        fill(up, "stabilizationWindowSeconds", 0);
        fill(up, "selectPolicy", "Max");
        fill(up, "policies", json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, all]));
    }
    if let Some(down) = child_or_new(behavior, "scaleDown") {
        fill(down, "selectPolicy", "Max");
        fill(down, "policies", json!([all]));
    }
}
