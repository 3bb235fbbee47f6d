//! The tree of a rollout: run, step, target, object.

use fleet_api::{Application, AppliedResource, StepStatus, TargetStatus};
use kube::ResourceExt as _;

use crate::output::style::{BAD, FAINT, GOOD, STRONG, WAITING, paint};
use crate::roster::Roster;

/// How a line of the tree stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Its turn hasn't come.
    Idle,
    /// Something is under way.
    Busy,
    /// A person is waited for.
    Gate,
    /// Done.
    Good,
    /// Failed.
    Bad,
}

/// The pictures of the spinner.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

impl Mark {
    fn of(phase: &str) -> Self {
        match phase {
            "pending" | "skipped" | "removed" | "initializing" => Self::Idle,
            "succeeded" => Self::Good,
            "failed" | "terminated" | "superseded" => Self::Bad,
            "suspending" => Self::Gate,
            _ => Self::Busy,
        }
    }

    fn picture(self, frame: Option<usize>) -> String {
        match self {
            Self::Idle => paint(FAINT, "·"),
            Self::Good => paint(GOOD, "✔"),
            Self::Bad => paint(BAD, "✘"),
            Self::Gate => paint(WAITING, "‖"),
            Self::Busy => {
                let picture = frame.and_then(|frame| SPINNER.get(frame % SPINNER.len())).unwrap_or(&"…");
                paint(WAITING, picture)
            }
        }
    }
}

/// A line with what stands below it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    mark: Mark,
    name: String,
    note: String,
    below: Vec<Node>,
}

impl Node {
    /// The lines; `frame` is the picture of the spinner, where something redraws them.
    pub(crate) fn lines(&self, frame: Option<usize>) -> Vec<String> {
        let mut lines =
            vec![format!("{} {}{}", self.mark.picture(frame), paint(STRONG, &self.name), self.said())];
        self.add_below("", frame, &mut lines);
        lines
    }

    fn said(&self) -> String {
        if self.note.is_empty() { String::new() } else { format!("  {}", paint(FAINT, &self.note)) }
    }

    fn add_below(&self, indent: &str, frame: Option<usize>, lines: &mut Vec<String>) {
        for (index, node) in self.below.iter().enumerate() {
            let last = index + 1 == self.below.len();
            let (branch, deeper) = if last { ("└─", "   ") } else { ("├─", "│  ") };
            lines.push(format!("{indent}{branch} {} {}{}", node.mark.picture(frame), node.name, node.said()));
            node.add_below(&format!("{indent}{deeper}"), frame, lines);
        }
    }
}

/// The tree of an Application.
pub(crate) fn of(app: &Application, roster: &Roster) -> Node {
    let status = app.status.clone().unwrap_or_default();
    let workflow = status.workflow.clone().unwrap_or_default();
    let below = workflow.steps.iter().map(|step| of_step(step, &status.applied_resources, roster)).collect();
    let run = if workflow.run.is_empty() { "no run yet".to_owned() } else { format!("run {}", workflow.run) };
    let mark = if workflow.run.is_empty() { Mark::Busy } else { Mark::of(&workflow.status) };
    Node { mark, name: app.name_any(), note: format!("{run}, {}", status.status.as_str()), below }
}

fn of_step(step: &StepStatus, applied: &[AppliedResource], roster: &Roster) -> Node {
    let below = step.targets.iter().map(|target| of_target(target, applied, roster)).collect();
    let note = match (step.phase.as_str(), step.message.is_empty()) {
        (phase, true) => phase.to_owned(),
        ("suspending", false) => step.message.clone(),
        (phase, false) => format!("{phase}: {}", step.message),
    };
    Node { mark: Mark::of(&step.phase), name: step.name.clone(), note, below }
}

fn of_target(target: &TargetStatus, applied: &[AppliedResource], roster: &Roster) -> Node {
    let mark = Mark::of(&target.phase);
    let counted = if target.total == 0 {
        String::new()
    } else {
        format!(", {}/{} objects", target.applied, target.total)
    };
    let said = if target.message.is_empty() { String::new() } else { format!(": {}", target.message) };
    let below = objects_of(target, applied).into_iter().map(|object| of_object(object, target)).collect();
    let name = format!("{}, namespace {}", roster.label(&target.cluster), target.namespace);
    Node { mark, name, note: format!("{}{counted}{said}", target.phase), below }
}

/// What stands on a target. Before its turn that is nothing of its step.
fn objects_of<'a>(target: &TargetStatus, applied: &'a [AppliedResource]) -> Vec<&'a AppliedResource> {
    let begun = Mark::of(&target.phase) != Mark::Idle;
    let here = |object: &&AppliedResource| {
        let namespace = object.namespace.is_empty() || object.namespace == target.namespace;
        begun && namespace && object.cluster == target.cluster
    };
    applied.iter().filter(here).collect()
}

fn mark_of_object(object: &AppliedResource, target: &TargetStatus) -> Mark {
    // The message names the object that is waited for, or that failed.
    let meant = target.message.contains(&object.kind) && target.message.contains(&object.name);
    match Mark::of(&target.phase) {
        Mark::Good => Mark::Good,
        Mark::Bad if meant => Mark::Bad,
        Mark::Busy if meant || target.applied == 0 => Mark::Busy,
        _ => Mark::Good,
    }
}

fn of_object(object: &AppliedResource, target: &TargetStatus) -> Node {
    let mark = mark_of_object(object, target);
    Node { mark, name: format!("{} {}", object.kind, object.name), note: String::new(), below: Vec::new() }
}

/// What differs between two moments of a rollout, as lines for where nothing can be redrawn.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    seen: std::collections::BTreeMap<String, String>,
}

impl Changes {
    /// The lines that are new since the last call.
    pub(crate) fn since_last(&mut self, app: &Application, roster: &Roster) -> Vec<String> {
        let Some(status) = &app.status else { return Vec::new() };
        let mut lines = Vec::new();
        let steps = status.workflow.iter().flat_map(|workflow| &workflow.steps);
        for step in steps.filter(|step| step.phase != "pending") {
            let run = status.workflow.as_ref().map(|workflow| workflow.run.as_str()).unwrap_or_default();
            let place = format!("{run}/{}", step.name);
            self.tell(
                &place,
                format!("step {}: {}", step.name, said(&step.phase, &step.message)),
                &mut lines,
            );
            for target in step.targets.iter().filter(|target| target.phase != "pending") {
                let place = format!("{place}/{}/{}", target.cluster, target.namespace);
                let counted = format!("{}/{} objects", target.applied, target.total);
                let text = format!(
                    "  {}: {}, {counted}",
                    roster.label(&target.cluster),
                    said(&target.phase, &target.message)
                );
                self.tell(&place, text, &mut lines);
                for object in objects_of(target, &status.applied_resources) {
                    let state = match mark_of_object(object, target) {
                        Mark::Good => "done",
                        Mark::Bad => "failed",
                        _ => "waited for",
                    };
                    let place = format!("{place}/{} {}", object.kind, object.name);
                    self.tell(&place, format!("    {} {}: {state}", object.kind, object.name), &mut lines);
                }
            }
        }
        self.tell("", format!("{}: {}", app.name_any(), status.status.as_str()), &mut lines);
        lines
    }

    fn tell(&mut self, place: &str, text: String, lines: &mut Vec<String>) {
        if self.seen.get(place) != Some(&text) {
            lines.push(text.clone());
            self.seen.insert(place.to_owned(), text);
        }
    }
}

fn said(phase: &str, message: &str) -> String {
    if message.is_empty() { phase.to_owned() } else { format!("{phase} ({message})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn app(target: &str, message: &str) -> Application {
        serde_json::from_value(json!({
            "apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
            "metadata": { "name": "web", "namespace": "demo" },
            "spec": { "components": [] },
            "status": {
                "status": "runningWorkflow",
                "workflow": {
                    "run": "web-1", "status": "executing",
                    "steps": [
                        { "id": "a", "name": "first", "type": "deploy", "phase": "running", "targets": [{
                            "cluster": "mc-1", "namespace": "demo", "phase": target, "message": message,
                            "applied": 1, "total": 2,
                        }] },
                        { "id": "b", "name": "second", "type": "deploy", "phase": "pending" },
                    ],
                },
                "appliedResources": [
                    { "cluster": "mc-1", "apiVersion": "v1", "kind": "Service", "name": "web", "namespace": "demo" },
                    { "cluster": "mc-1", "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "demo" },
                ],
            },
        }))
        .unwrap()
    }

    fn plain(lines: &[String]) -> String {
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    /// What people see while they wait: which object, and for what.
    #[test]
    fn the_tree() {
        let tree = of(&app("waiting", "Deployment demo/web: 2 of 5 ready"), &Roster::default());
        let expected = "\
⠋ web  run web-1, runningWorkflow
├─ ⠋ first  running
│  └─ ⠋ mc-1, namespace demo  waiting, 1/2 objects: Deployment demo/web: 2 of 5 ready
│     ├─ ✔ Service web
│     └─ ⠋ Deployment web
└─ · second  pending";
        assert_eq!(plain(&tree.lines(Some(0))), expected);
    }

    /// Without a terminal every change is told once.
    #[test]
    fn changes_are_told_once() {
        let mut changes = Changes::default();
        let first = changes.since_last(&app("delivering", ""), &Roster::default());
        assert_eq!(first.len(), 5);
        assert!(changes.since_last(&app("delivering", ""), &Roster::default()).is_empty());
        let second = changes.since_last(&app("succeeded", ""), &Roster::default());
        assert_eq!(second, ["  mc-1: succeeded, 1/2 objects"]);
    }
}
