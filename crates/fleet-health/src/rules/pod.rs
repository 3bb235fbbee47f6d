//! A single pod.

use serde_json::Value;

use crate::Health;
use crate::conditions::{condition, one_line};
use crate::view::View;

pub(super) fn pod(view: &View<'_>) -> Health {
    let phase = view.text(&["status", "phase"]);
    let message = view.text(&["status", "message"]);
    let reason = view.text(&["status", "reason"]);
    match phase {
        "Succeeded" => return Health::healthy("Succeeded", "all containers have ended well"),
        "Failed" => {
            let reason = if reason.is_empty() { "Failed" } else { reason };
            let message =
                if message.is_empty() { last_exit(view).unwrap_or_default() } else { one_line(message) };
            let message = if message.is_empty() { "the pod has failed".to_owned() } else { message };
            return Health::degraded(reason, message);
        }
        "Unknown" => {
            let reason = if reason.is_empty() { "NodeLost" } else { reason };
            let message = if message.is_empty() { "nobody hears from its node" } else { message };
            return Health::unknown(reason, one_line(message));
        }
        _ => {}
    }
    if let Some(health) = stuck_container(view) {
        return health;
    }
    if phase == "Running" {
        return match condition(view, "Ready") {
            Some(ready) if ready.is_true() => Health::healthy("Ready", "all containers are ready"),
            Some(ready) => Health::progressing(
                ready.reason_or("NotReady"),
                ready.message_or("not all containers are ready"),
            ),
            None => Health::progressing("NotReady", "not all containers are ready"),
        };
    }
    if let Some(scheduled) = condition(view, "PodScheduled").filter(|condition| condition.is_false()) {
        if scheduled.reason == "SchedulingGated" {
            return Health::suspended(
                "SchedulingGated",
                scheduled.message_or("its scheduling gates are shut"),
            );
        }
        return Health::progressing(
            scheduled.reason_or("NotScheduled"),
            scheduled.message_or("no node has been chosen yet"),
        );
    }
    Health::progressing("Pending", "the pod is being started")
}

fn containers<'o>(view: &View<'o>) -> impl Iterator<Item = &'o Value> + use<'o> {
    let init = view.list(&["status", "initContainerStatuses"]);
    init.iter().chain(view.list(&["status", "containerStatuses"]))
}

fn text<'o>(value: &'o Value, pointer: &str) -> &'o str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A container that waits for what doesn't come by itself.
fn stuck_container(view: &View<'_>) -> Option<Health> {
    containers(view).find_map(|container| {
        let reason = text(container, "/state/waiting/reason");
        let is_stuck = reason.ends_with("BackOff")
            || reason.ends_with("Error")
            || reason.starts_with("Err")
            || reason == "InvalidImageName";
        is_stuck.then(|| {
            let name = text(container, "/name");
            let message = match text(container, "/state/waiting/message") {
                "" => reason,
                message => message,
            };
            Health::degraded(reason, format!("container {name}: {}", one_line(message)))
        })
    })
}

fn last_exit(view: &View<'_>) -> Option<String> {
    containers(view).find_map(|container| {
        let code = container.pointer("/state/terminated/exitCode").and_then(Value::as_i64)?;
        (code != 0).then(|| format!("container {} has ended with exit code {code}", text(container, "/name")))
    })
}
