//! Pods: to a node, then through the stages of `stages/pod.json`.

use crate::object::{Said, deleting, set, set_condition, status_of, text, uid};
use crate::seed::NODE;
use crate::settings::Moment;
use crate::world::Held;
use crate::{Action, Decision, Kind, ObjectRef, stages};

/// What a pod does next; `unschedulable` says why it finds no node, where it has none yet.
#[must_use]
pub fn next(pod: &Held, unschedulable: Option<String>, moment: Moment<'_>) -> Decision {
    let mut decision = Decision::default();
    let value = &pod.value;
    if text(value, "/spec/nodeName").is_empty()
        && text(value, "/status/phase") != "Succeeded"
        && !deleting(value)
    {
        if let Some(message) = unschedulable {
            let mut status = status_of(value);
            set(&mut status, "phase", "Pending");
            let said =
                Said { kind: "PodScheduled", status: "False", reason: "Unschedulable", message: &message };
            set_condition(&mut status, said, moment.now, false);
            decision.status(Kind::Pod, value, &status);
            return decision;
        }
        let target = ObjectRef::of(Kind::Pod, value);
        decision.actions.push(Action::Bind { target, uid: uid(value).to_owned(), node: NODE.to_owned() });
    }
    stages::next(Kind::Pod, pod, moment, &mut decision);
    decision
}
