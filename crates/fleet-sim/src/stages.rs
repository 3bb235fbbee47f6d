//! Stages as data: from which state to which, after how long. The tables are in `stages/*.json`.

mod facts;
mod template;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::object::{Said, after, set, set_condition, status_of, text, uid};
use crate::settings::Moment;
use crate::world::Held;
use crate::{Decision, Kind};

pub(crate) use facts::{Image, image_of};

/// All stages of a kind; the first that fits an object is the one it goes through next.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    stages: Vec<Stage>,
}

/// One step of an object's life.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Stage {
    name: String,
    /// Which facts must have one of which values.
    when: BTreeMap<String, Vec<String>>,
    /// How long after the last step. Without one the object stays where it is.
    delay: Option<Delay>,
    /// Merged into the status.
    #[serde(default)]
    status: Value,
    /// Merged into the spec.
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    conditions: Vec<Condition>,
    containers: Option<Containers>,
    /// The object goes.
    #[serde(default)]
    delete: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Delay {
    ms: u64,
    /// `ready` takes the simulator's setting in place of `ms`.
    setting: Option<String>,
    /// Longer by up to this share.
    jitter: f64,
    /// An annotation of the object that says another delay.
    annotation: Option<String>,
    doubles_per_restart: bool,
    /// Never longer than this, in ms.
    max: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    r#type: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// What the containers' statuses become.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Containers {
    state: Value,
    #[serde(default)]
    last_state: Value,
    #[serde(default)]
    ready: bool,
    /// Added to the restart count.
    #[serde(default)]
    restarts: i64,
}

static TABLES: LazyLock<BTreeMap<Kind, Table>> = LazyLock::new(|| {
    let sources = [
        (Kind::Pod, include_str!("../stages/pod.json")),
        (Kind::Service, include_str!("../stages/service.json")),
        (Kind::Ingress, include_str!("../stages/ingress.json")),
        (Kind::PersistentVolumeClaim, include_str!("../stages/persistentvolumeclaim.json")),
        (Kind::Node, include_str!("../stages/node.json")),
    ];
    // The tables are part of the program; a test reads them all.
    sources
        .into_iter()
        .map(|(kind, source)| (kind, serde_json::from_str(source).unwrap_or_default()))
        .collect()
});

/// Takes an object to its next stage, or says when.
pub(crate) fn next(kind: Kind, object: &Held, moment: Moment<'_>, decision: &mut Decision) {
    let facts = facts::of(kind, &object.value);
    let fits = |stage: &&Stage| {
        stage.when.iter().all(|(fact, values)| {
            let value = facts.get(fact.as_str()).map(String::as_str).unwrap_or_default();
            values.iter().any(|wanted| wanted == value)
        })
    };
    let Some(stage) = TABLES.get(&kind).and_then(|table| table.stages.iter().find(fits)) else { return };
    let Some(delay) = &stage.delay else { return };
    let due = after(object.since, delay.of(&object.value, moment));
    if due > moment.now {
        decision.wake_at(due);
        return;
    }
    tracing::trace!(stage = stage.name, object = text(&object.value, "/metadata/name"), "next stage");
    stage.enter(kind, &object.value, moment, decision);
}

impl Delay {
    fn of(&self, object: &Value, moment: Moment<'_>) -> Duration {
        let own = self.annotation.as_deref().and_then(|key| crate::object::annotation(object, key));
        if let Some(own) = own.and_then(crate::settings::parse_delay) {
            return own;
        }
        let mut delay = match self.setting.as_deref() {
            Some("ready") => moment.settings.ready_delay,
            _ => Duration::from_millis(self.ms),
        };
        if self.doubles_per_restart {
            let restarts = facts::restarts(object).clamp(1, 16);
            delay = delay.saturating_mul(1 << (restarts - 1));
        }
        let delay = self.max.map_or(delay, |max| delay.min(Duration::from_millis(max)));
        moment.settings.jittered(delay, self.jitter, uid(object))
    }
}

impl Stage {
    fn enter(&self, kind: Kind, object: &Value, moment: Moment<'_>, decision: &mut Decision) {
        if self.delete {
            decision.delete(kind, object);
            return;
        }
        let values = template::Values::of(object, moment);
        if self.spec.is_object() {
            decision.patch(kind, object, json!({ "spec": values.fill(&self.spec) }));
        }
        let mut status = status_of(object);
        if self.status.is_object() {
            fleet_json::merge_patch(&mut status, &values.fill(&self.status));
        }
        for condition in &self.conditions {
            let message = values.fill_text(&condition.message);
            let said = Said {
                kind: &condition.r#type,
                status: &condition.status,
                reason: &condition.reason,
                message: &message,
            };
            set_condition(&mut status, said, moment.now, false);
        }
        if let Some(containers) = &self.containers {
            let statuses = containers.statuses(object, &values);
            set(&mut status, "containerStatuses", statuses);
        }
        decision.status(kind, object, &status);
    }
}

impl Containers {
    /// The statuses of all containers. Where one of several fails, the others run.
    fn statuses(&self, pod: &Value, values: &template::Values<'_>) -> Vec<Value> {
        let failing = facts::image(pod) != Image::Good;
        let creating = text(&self.state, "/waiting/reason") == "ContainerCreating";
        let old = crate::object::list(pod, "/status/containerStatuses");
        let containers = crate::object::list(pod, "/spec/containers").iter();
        let statuses = containers.map(|container| {
            let name = text(container, "/name");
            let image = text(container, "/image");
            let before = old.iter().find(|status| text(status, "/name") == name);
            let restarts = before.map_or(0, |status| crate::object::int(status, "/restartCount"));
            let healthy = failing && !creating && facts::image_of_container(pod, container) == Image::Good;
            let running = before.filter(|status| status.pointer("/state/running").is_some());
            if let Some(running) = running.filter(|_| healthy) {
                return running.clone();
            }
            let values = values.with(&[("container", name), ("image", image)]);
            let (state, ready, added) = if healthy {
                (values.fill(&json!({ "running": { "startedAt": "${now}" } })), true, 0)
            } else {
                (values.fill(&self.state), self.ready, self.restarts)
            };
            let started = state.get("running").is_some();
            let mut status = json!({
                "name": name, "image": image, "imageID": if started { image } else { "" }, "ready": ready,
                "started": started, "restartCount": restarts + added, "state": state,
            });
            if !healthy && self.last_state.is_object() {
                set(&mut status, "lastState", values.fill(&self.last_state));
            }
            status
        });
        statuses.collect()
    }
}

#[cfg(test)]
mod tests;
