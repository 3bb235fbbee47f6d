//! Members try the creates and changes of a plan: dry runs, with their admission.

use std::collections::BTreeMap;

use fleet_api::{ObjectId, Target};
use fleet_controller::{GatePlan, Planner};
use fleet_plan::{Action, ActionKind, Hint, Severity};
use futures::StreamExt as _;
use serde::Serialize;

use super::gather::Reached;
use crate::attempt::{self, Try};
use crate::exit::Exit;

/// How many members try at once.
const AT_ONCE: usize = 16;

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Verdict {
    /// The server would take it.
    Accepted,
    /// It wouldn't.
    Refused,
    /// It couldn't be tried.
    Untried,
}

/// One object that was tried.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trial {
    pub(super) target: Target,
    pub(super) object: ObjectId,
    pub(super) verdict: Verdict,
    /// What the server said, or why it wasn't asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
    /// The server's warnings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
}

/// Tries everything, target by target.
pub(super) async fn run(
    planner: &Planner,
    gate: &GatePlan,
    hints: &[Hint],
    reached: &BTreeMap<String, Reached>,
) -> Vec<Trial> {
    let manager = planner.manager();
    let mut targets = Vec::new();
    for plan in &gate.plans {
        for target in &plan.targets {
            let manager = manager.as_str();
            targets.push(async move {
                let desired = planner.desired(&plan.step, &target.target);
                let sent = target
                    .actions
                    .iter()
                    .filter(|a| matches!(a.kind, ActionKind::Create | ActionKind::Change));
                let mut trials = Vec::new();
                for action in sent {
                    let object = desired.iter().find(|one| one.id == action.id).map(|one| &one.object);
                    let force = action.take_over || is_drift(hints, &target.target, &action.id);
                    let made = match (object, reached.get(&target.target.cluster)) {
                        (Some(object), Some(reached)) => {
                            let what = Object { action, object, manager, force };
                            one(reached, &what).await
                        }
                        _ => (Verdict::Untried, "the member doesn't answer".to_owned(), Vec::new()),
                    };
                    let (verdict, message, warnings) = made;
                    trials.push(Trial {
                        target: target.target.clone(),
                        object: action.id.clone(),
                        verdict,
                        message,
                        warnings,
                    });
                }
                trials
            });
        }
    }
    let trials: Vec<Vec<Trial>> = futures::stream::iter(targets).buffered(AT_ONCE).collect().await;
    trials.into_iter().flatten().collect()
}

struct Object<'a> {
    action: &'a Action,
    object: &'a serde_json::Value,
    manager: &'a str,
    force: bool,
}

async fn one(reached: &Reached, what: &Object<'_>) -> (Verdict, String, Vec<String>) {
    let (action, id) = (what.action, &what.action.id);
    let untried = |why: &str| (Verdict::Untried, why.to_owned(), Vec::new());
    if action.recreate {
        return untried("it is deleted and made anew, which no dry run can do");
    }
    let Some(type_) = reached.catalogue.of(id) else {
        return untried("the member doesn't serve its kind (yet)");
    };
    let path = type_.path(Some(&id.namespace), Some(&id.name));
    let what = Try { path: &path, object: what.object, manager: what.manager, force: what.force };
    match attempt::apply(&reached.cluster, &id.to_string(), &what).await {
        Ok(answer) => (Verdict::Accepted, String::new(), answer.warnings),
        Err(failure) if failure.exit == Exit::NotFound && failure.message.contains("namespaces") => {
            untried("its namespace isn't there yet")
        }
        // A webhook that has side effects refuses dry runs; that says nothing about the apply itself.
        Err(failure) if failure.message.contains("dry run") || failure.message.contains("dryRun") => {
            (Verdict::Untried, failure.to_string(), Vec::new())
        }
        Err(failure) if failure.exit == Exit::Unreachable => {
            (Verdict::Untried, failure.to_string(), Vec::new())
        }
        Err(failure) => (Verdict::Refused, failure.to_string(), Vec::new()),
    }
}

/// Whether what others changed there is only what the last delivery had: that is taken back.
fn is_drift(hints: &[Hint], target: &Target, id: &ObjectId) -> bool {
    let mut conflicts = hints
        .iter()
        .filter(|hint| {
            hint.code == "FieldConflict" && hint.target == *target && hint.object.as_ref() == Some(id)
        })
        .peekable();
    conflicts.peek().is_some() && conflicts.all(|hint| hint.severity < Severity::Danger)
}
