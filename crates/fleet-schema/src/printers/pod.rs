//! Pods.

use serde_json::{Value, json};

use super::cell::{NONE, age, condition, int, items, number, or, since, some, text, unix};

/// Ready, status, restarts, age; wide: IP, node, nominated node, readiness gates.
pub(super) fn pod(pod: &Value, now: i64) -> Vec<Value> {
    let summary = Summary::of(pod);
    let restarts = match &summary.last_restart {
        Some(time) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, since(time, now))
        }
        _ => summary.restarts.to_string(),
    };
    let ip = match items(pod, &["status", "podIPs"]).first() {
        Some(first) => text(first, &["ip"]),
        None => text(pod, &["status", "podIP"]),
    };
    let gates = items(pod, &["spec", "readinessGates"]);
    let gates = if gates.is_empty() {
        NONE.to_owned()
    } else {
        let open = gates.iter().filter(|gate| condition(pod, text(gate, &["conditionType"]))).count();
        format!("{open}/{}", gates.len())
    };
    vec![
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.reason),
        json!(restarts),
        age(pod, now),
        json!(or(ip, NONE)),
        json!(or(text(pod, &["spec", "nodeName"]), NONE)),
        json!(or(text(pod, &["status", "nominatedNodeName"]), NONE)),
        json!(gates),
    ]
}

/// A sidecar: an init container that goes on running.
fn is_restartable(pod: &Value, name: &str) -> bool {
    items(pod, &["spec", "initContainers"]).iter().any(|container| {
        text(container, &["name"]) == name && text(container, &["restartPolicy"]) == "Always"
    })
}

#[derive(Default)]
struct Restarts {
    count: i64,
    last: Option<String>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += number(status, &["restartCount"]);
        let finished = text(status, &["lastState", "terminated", "finishedAt"]);
        let newer = match &self.last {
            Some(last) => unix(finished) > unix(last),
            None => unix(finished).is_some(),
        };
        if newer {
            self.last = Some(finished.to_owned());
        }
    }
}

struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<String>,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let init = items(pod, &["spec", "initContainers"]);
        let sidecars =
            init.iter().filter(|container| text(container, &["restartPolicy"]) == "Always").count();
        let mut summary = Self {
            ready: 0,
            total: items(pod, &["spec", "containers"]).len() + sidecars,
            reason: or(text(pod, &["status", "reason"]), text(pod, &["status", "phase"])).to_owned(),
            restarts: 0,
            last_restart: None,
        };
        let gated = items(pod, &["status", "conditions"]).iter().any(|condition| {
            text(condition, &["type"]) == "PodScheduled" && text(condition, &["reason"]) == "SchedulingGated"
        });
        if gated {
            summary.reason = "SchedulingGated".to_owned();
        }
        let (mut restarts, sidecar_restarts, initializing) = summary.initializing(pod, init.len());
        if !initializing || condition(pod, "Initialized") {
            restarts = sidecar_restarts;
            summary.running(pod, &mut restarts);
        }
        summary.restarts = restarts.count;
        summary.last_restart = restarts.last;
        if some(pod, &["metadata", "deletionTimestamp"]).is_some() {
            if text(pod, &["status", "reason"]) == "NodeLost" {
                summary.reason = "Unknown".to_owned();
            } else if !matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed") {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary
    }

    /// Init containers: the first that isn't done gives the reason. Returns the restarts of all looked at,
    /// those of sidecars, and whether the Pod is still initializing.
    fn initializing(&mut self, pod: &Value, total: usize) -> (Restarts, Restarts, bool) {
        let (mut all, mut sidecars) = (Restarts::default(), Restarts::default());
        for (index, status) in items(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
            let sidecar = is_restartable(pod, text(status, &["name"]));
            all.add(status);
            if sidecar {
                sidecars.add(status);
            }
            let terminated = some(status, &["state", "terminated"]);
            if terminated.is_some_and(|terminated| number(terminated, &["exitCode"]) == 0) {
                continue;
            }
            if sidecar && status.get("started") == Some(&Value::Bool(true)) {
                if status.get("ready") == Some(&Value::Bool(true)) {
                    self.ready += 1;
                }
                continue;
            }
            let waiting = text(status, &["state", "waiting", "reason"]);
            self.reason = match terminated {
                Some(terminated) => format!("Init:{}", ended(terminated)),
                None if !matches!(waiting, "" | "PodInitializing") => format!("Init:{waiting}"),
                None => format!("Init:{index}/{total}"),
            };
            return (all, sidecars, true);
        }
        (all, sidecars, false)
    }

    fn running(&mut self, pod: &Value, restarts: &mut Restarts) {
        let mut running = false;
        // From the last to the first: the first container's reason stays.
        for status in items(pod, &["status", "containerStatuses"]).iter().rev() {
            restarts.add(status);
            let waiting = text(status, &["state", "waiting", "reason"]);
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if let Some(terminated) = some(status, &["state", "terminated"]) {
                self.reason = ended(terminated);
            } else if status.get("ready") == Some(&Value::Bool(true))
                && some(status, &["state", "running"]).is_some()
            {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if condition(pod, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }
}

fn ended(terminated: &Value) -> String {
    let reason = text(terminated, &["reason"]);
    match int(terminated, &["signal"]).filter(|signal| *signal != 0) {
        _ if !reason.is_empty() => reason.to_owned(),
        Some(signal) => format!("Signal:{signal}"),
        None => format!("ExitCode:{}", number(terminated, &["exitCode"])),
    }
}
