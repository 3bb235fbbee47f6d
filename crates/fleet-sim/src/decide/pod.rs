//! Pods: to a node, then through the stages of `stages/pod.json`.

use crate::object::{deleting, text, uid};
use crate::seed::NODE;
use crate::settings::Moment;
use crate::world::Held;
use crate::{Action, Decision, Kind, ObjectRef, stages};

/// What a pod does next.
#[must_use]
pub fn next(pod: &Held, moment: Moment<'_>) -> Decision {
    let mut decision = Decision::default();
    let value = &pod.value;
    if text(value, "/spec/nodeName").is_empty()
        && text(value, "/status/phase") != "Succeeded"
        && !deleting(value)
    {
        let target = ObjectRef::of(Kind::Pod, value);
        decision.actions.push(Action::Bind { target, uid: uid(value).to_owned(), node: NODE.to_owned() });
    }
    stages::next(Kind::Pod, pod, moment, &mut decision);
    decision
}
