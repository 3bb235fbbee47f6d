//! The tree of a rollout: run, step, target, object.

use fleet_api::{Application, ApplicationStatus, AppliedResource, DriftStatus, StepStatus, TargetStatus};
use kube::ResourceExt as _;

use super::notable;
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
    /// Done, and not as it should be.
    Notable,
    /// Done.
    Good,
    /// Failed.
    Bad,
}

/// What a gate says during a deletion: it waits for nobody's approval.
pub(super) const NOT_ASKED: &str = "approval isn't asked for any more";

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
            Self::Notable => paint(WAITING, "!"),
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
    /// What it is, where its name alone is told.
    word: &'static str,
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
    let told = notable::of(app);
    let mut below: Vec<Node> = told.iter().map(of_notable).collect();
    let deleting = app.metadata.deletion_timestamp.is_some();
    below.extend(workflow.steps.iter().map(|step| match of_step(step, &status, roster) {
        gate if deleting => not_asked(gate),
        node => node,
    }));
    let run = if workflow.run.is_empty() { "no run yet".to_owned() } else { format!("run {}", workflow.run) };
    let mark = match Mark::of(&workflow.status) {
        _ if deleting || workflow.run.is_empty() => Mark::Busy,
        Mark::Good if !told.is_empty() => Mark::Notable,
        mark => mark,
    };
    Node { mark, name: app.name_any(), note: format!("{run}, {}", status.status.as_str()), below, word: "" }
}

/// A gate of an Application that is being deleted; a group's are below it.
fn not_asked(node: Node) -> Node {
    let below = node.below.into_iter().map(not_asked).collect();
    match node.mark {
        Mark::Gate => Node { mark: Mark::Idle, note: NOT_ASKED.to_owned(), below, ..node },
        _ => Node { below, ..node },
    }
}

fn of_notable(told: &notable::Notable) -> Node {
    let (name, note) = (told.what.clone(), told.said.clone());
    Node { mark: Mark::Notable, name, note, below: Vec::new(), word: "" }
}

fn of_step(step: &StepStatus, status: &ApplicationStatus, roster: &Roster) -> Node {
    let targets = step.targets.iter().map(|target| of_target(target, status, roster));
    let below: Vec<Node> =
        targets.chain(step.sub_steps.iter().map(|step| of_step(step, status, roster))).collect();
    let note = match step.phase.as_str() {
        // The steps below say the rest.
        "suspending" if !step.sub_steps.is_empty() => "suspending".to_owned(),
        "suspending" => {
            // The commands that it names are said by whoever shows the gate.
            let asked = step.message.split("; look with").next().unwrap_or_default();
            asked.strip_prefix(&format!("step {} ", step.name)).unwrap_or(asked).to_owned()
        }
        // The targets below say the rest.
        "running" if !step.sub_steps.is_empty() => "running".to_owned(),
        "running" if !below.is_empty() => {
            let more = [(step.targets_failed, "failed"), (step.targets_skipped, "pending catch-up")];
            let more =
                more.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
            let done = format!("running, {} of {} targets done", step.targets_succeeded, step.targets_total);
            more.fold(done, |said, more| said + &more)
        }
        phase if step.message.is_empty() || phase == "skipped" => phase.to_owned(),
        phase => format!("{phase}: {}", step.message),
    };
    Node { mark: Mark::of(&step.phase), name: step.name.clone(), note, below, word: "step " }
}

/// A target's phase; one that waits for a cluster to answer says so.
pub(super) fn phase_of(target: &TargetStatus) -> String {
    match (target.phase.as_str(), target.reason.as_str()) {
        ("pending", "Unreachable") => "Pending (unreachable)".to_owned(),
        (phase, _) => phase.to_owned(),
    }
}

fn of_target(target: &TargetStatus, status: &ApplicationStatus, roster: &Roster) -> Node {
    let mark = Mark::of(&target.phase);
    let mut note = phase_of(target);
    if target.total > 0 {
        note.push_str(&format!(", {}/{} objects", target.applied, target.total));
    }
    let objects = objects_of(target, &status.applied_resources);
    let named = objects.iter().any(|object| about(object, &target.message).is_some());
    if !target.message.is_empty() && !named {
        note.push_str(&format!(": {}", target.message));
    }
    let of_one = |object: &AppliedResource| match drift_of(object, &status.drift) {
        Some(drift) if mark == Mark::Good => of_drift(object, drift),
        _ => of_object(object, target, mark, named),
    };
    let below = objects.into_iter().map(of_one).collect();
    let name = format!("{}, namespace {}", roster.label(&target.cluster), target.namespace);
    Node { mark, name, note, below, word: "" }
}

fn drift_of<'d>(object: &AppliedResource, drift: &'d [DriftStatus]) -> Option<&'d DriftStatus> {
    let place = (&object.cluster, &object.kind, &object.namespace, &object.name);
    drift.iter().find(|drift| (&drift.cluster, &drift.kind, &drift.namespace, &drift.name) == place)
}

/// An object that was delivered and isn't as it was.
fn of_drift(object: &AppliedResource, drift: &DriftStatus) -> Node {
    let fields = if drift.fields.is_empty() { "it was deleted".to_owned() } else { drift.fields.join(", ") };
    let name = format!("{} {}", object.kind, object.name);
    let note = format!("differs ({}): {fields}", drift.state.as_str());
    Node { mark: Mark::Notable, name, note, below: Vec::new(), word: "" }
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

fn of_object(object: &AppliedResource, target: &TargetStatus, of_target: Mark, named: bool) -> Node {
    let said = about(object, &target.message);
    let unreachable = target.phase == "unreachable" || target.reason == "Unreachable";
    // The list says what is owned there, not what has arrived: without the target's word an object isn't done.
    let all_done = target.total > 0 && target.applied + u64::from(named) >= target.total;
    let (mark, note) = match (of_target, said) {
        (Mark::Good, _) => (Mark::Good, ""),
        (Mark::Bad, Some(said)) => (Mark::Bad, said),
        (_, Some(said)) => (Mark::Busy, said),
        (_, None) if all_done => (Mark::Good, ""),
        (_, None) if unreachable && target.applied == 0 => (Mark::Idle, "not sent"),
        (Mark::Bad, None) => {
            (Mark::Idle, if target.applied == 0 { "not sent, or not done" } else { "unknown" })
        }
        (_, None) if unreachable => (Mark::Idle, "unknown"),
        (_, None) if target.phase == "pruning" => (Mark::Good, ""),
        (_, None) => (Mark::Busy, ""),
    };
    let note = note.to_owned();
    Node { mark, name: format!("{} {}", object.kind, object.name), note, below: Vec::new(), word: "" }
}

/// What a target's message says about an object, if it is the one that it names.
fn about<'m>(object: &AppliedResource, message: &'m str) -> Option<&'m str> {
    let name = if object.namespace.is_empty() {
        format!("{} {}", object.kind, object.name)
    } else {
        format!("{} {}/{}", object.kind, object.namespace, object.name)
    };
    let (_, said) = message.split_once(&name)?;
    // Not a longer name that begins so.
    let ends = said.chars().next().is_none_or(|next| !(next.is_ascii_alphanumeric() || "-.".contains(next)));
    ends.then(|| said.trim_start_matches([':', ' ']))
}

/// What differs between two moments of a rollout, as lines for where nothing can be redrawn.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    seen: std::collections::BTreeMap<String, String>,
}

impl Changes {
    /// The lines that are new since the last call.
    pub(crate) fn since_last(&mut self, app: &Application, roster: &Roster) -> Vec<String> {
        let mut lines = Vec::new();
        let tree = of(app, roster);
        let run = app.status.iter().flat_map(|status| &status.workflow).map(|workflow| workflow.run.clone());
        let run: String = run.collect();
        for step in &tree.below {
            self.walk(step, 0, &run, &mut lines);
        }
        self.tell(String::new(), format!("{}: {}", tree.name, tree.note), &mut lines);
        lines
    }

    fn walk(&mut self, node: &Node, depth: usize, above: &str, lines: &mut Vec<String>) {
        // What waits for its turn is told when it has come; what is skipped, with the end of the run.
        if node.mark == Mark::Idle && node.note.starts_with("pending") {
            return;
        }
        let word = node.word;
        let state = match (node.mark, node.note.as_str()) {
            (Mark::Good, "") => "done",
            (Mark::Bad, "") => "failed",
            (_, "") => "waiting",
            (_, note) => note,
        };
        let place = format!("{above}/{}", node.name);
        self.tell(place.clone(), format!("{:1$}{word}{2}: {state}", "", depth * 2, node.name), lines);
        for below in &node.below {
            self.walk(below, depth + 1, &place, lines);
        }
    }

    fn tell(&mut self, place: String, text: String, lines: &mut Vec<String>) {
        if self.seen.get(&place) != Some(&text) {
            lines.push(text.clone());
            self.seen.insert(place, text);
        }
    }
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
                        { "id": "a", "name": "first", "type": "deploy", "phase": "running", "targetsTotal": 1, "targets": [{
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
├─ ⠋ first  running, 0 of 1 targets done
│  └─ ⠋ mc-1, namespace demo  waiting, 1/2 objects
│     ├─ ✔ Service web
│     └─ ⠋ Deployment web  2 of 5 ready
└─ · second  pending";
        assert_eq!(plain(&tree.lines(Some(0))), expected);
    }

    /// Without a terminal every change is told once.
    #[test]
    fn changes_are_told_once() {
        let mut changes = Changes::default();
        let first = changes.since_last(&app("delivering", ""), &Roster::default());
        let expected = [
            "step first: running, 0 of 1 targets done",
            "  mc-1, namespace demo: delivering, 1/2 objects",
            "    Service web: waiting",
            "    Deployment web: waiting",
            "web: run web-1, runningWorkflow",
        ];
        assert_eq!(first, expected);
        assert!(changes.since_last(&app("delivering", ""), &Roster::default()).is_empty());
        let second = changes.since_last(&app("succeeded", ""), &Roster::default());
        let expected = [
            "  mc-1, namespace demo: succeeded, 1/2 objects",
            "    Service web: done",
            "    Deployment web: done",
        ];
        assert_eq!(second, expected);
    }

    /// Whoever looks at a cordoned or changed member, or at a deletion, must not see that all is well.
    #[test]
    fn what_holds_or_differs_is_said() {
        let mut app = app("succeeded", "");
        let status = app.status.as_mut().unwrap();
        status.workflow.as_mut().unwrap().status = "succeeded".to_owned();
        status.workflow.as_mut().unwrap().steps[0].phase = "suspending".to_owned();
        for (type_, reason) in [("Held", "Cordoned"), ("Drifted", "Reported")] {
            let condition = fleet_api::Condition::new(type_, true, reason, format!("{type_} in words"));
            status.conditions.push(condition);
        }
        status.drift = serde_json::from_value(json!([{
            "cluster": "mc-1", "apiVersion": "v1", "kind": "Service", "name": "web", "namespace": "demo",
            "state": "Reported", "fields": [".spec.type"],
        }]))
        .unwrap();
        let text = |app: &Application| plain(&of(app, &Roster::default()).lines(None));
        let seen = text(&app);
        let lines: Vec<&str> = seen.lines().take(3).collect();
        assert!(lines[0].starts_with("! web"), "{seen}");
        assert_eq!(lines[1], "├─ ! Held  Cordoned: Held in words");
        assert_eq!(lines[2], "├─ ! Drifted  Reported: Drifted in words");
        assert!(seen.contains("! Service web  differs (Reported): .spec.type"), "{seen}");
        assert!(seen.contains("‖ first"), "{seen}");
        let now = jiff::Timestamp::UNIX_EPOCH;
        app.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
        let status = app.status.as_mut().unwrap();
        status.status = fleet_api::Phase::Deleting;
        status.services = serde_json::from_value(json!([
            { "name": "web", "healthy": false, "message": "deleting: mc-1/demo: no answer" },
        ]))
        .unwrap();
        let seen = text(&app);
        assert!(seen.starts_with("… web") && !seen.contains('‖'), "{seen}");
        assert!(
            seen.contains("! Deleting  being deleted since 1970-01-01T00:00:00Z: mc-1/demo: no answer"),
            "{seen}"
        );
    }

    /// What was never sent, or isn't known to have arrived, must not look done.
    #[test]
    fn objects_of_a_failed_target_are_not_done() {
        let lines = |phase: &str, message: &str, applied: u64| {
            let mut app = app(phase, message);
            let workflow = app.status.as_mut().unwrap().workflow.as_mut().unwrap();
            workflow.steps[0].targets[0].applied = applied;
            let lines = plain(&of(&app, &Roster::default()).lines(None));
            lines
                .lines()
                .skip(3)
                .take(2)
                .map(|line| line.trim_start_matches(['│', ' ', '├', '└', '─']).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            lines("unreachable", "no answer", 0),
            ["· Service web  not sent", "· Deployment web  not sent"]
        );
        let refused = lines("failed", "Deployment demo/web: refused", 0);
        assert_eq!(refused, ["· Service web  not sent, or not done", "✘ Deployment web  refused"]);
        // All but the one that failed are done.
        let refused = lines("failed", "Deployment demo/web: 2 of 5 ready", 1);
        assert_eq!(refused, ["✔ Service web", "✘ Deployment web  2 of 5 ready"]);
    }
}
