//! Carries out what was decided for one object, in order, and reports what became of it.

use std::collections::HashMap;
use std::sync::Arc;

use fleet_json::ContentHash;
use serde_json::Value;

use super::queue::Key;
use crate::client::{Sent, SimError, read, send};
use crate::object::{name, uid};
use crate::{Action, Kind, ObjectRef};

/// What became of one action.
#[derive(Debug)]
pub(super) enum Report {
    /// The object as the member has it now.
    Written { kind: Kind, object: Value },
    /// The object isn't there any more.
    Gone { target: ObjectRef, uid: String },
    /// Endpoints are in this state now.
    Published { kind: Kind, hash: ContentHash },
    /// The server doesn't know how to bind pods.
    NoBinding,
}

/// What became of a decision.
#[derive(Debug)]
pub(super) struct Performed {
    pub(super) key: Key,
    pub(super) reports: Vec<Report>,
    /// To be decided again after a while.
    pub(super) failed: bool,
}

/// Whether an action isn't known to be done, or to be in vain.
pub(super) fn is_needed(
    action: &Action,
    member: &Arc<str>,
    target: &ObjectRef,
    binds: bool,
    published: &HashMap<Key, ContentHash>,
) -> bool {
    match action {
        Action::Bind { .. } => binds,
        Action::Publish { kind, body } => {
            let key = (Arc::clone(member), ObjectRef { kind: *kind, ..target.clone() });
            published.get(&key) != Some(&ContentHash::of_value(body))
        }
        _ => true,
    }
}

/// Performs actions up to the first that fails; those after it may rest on it.
pub(super) async fn perform(client: kube::Client, key: Key, actions: Vec<Action>) -> Performed {
    let mut performed = Performed { key, reports: Vec::new(), failed: false };
    for action in actions {
        if let Err(error) = one(&client, action, &mut performed).await {
            let (member, target) = &performed.key;
            // A namespace or a member that is going refuses; that is no news.
            if matches!(error.code(), 403 | 404) {
                tracing::debug!(%error, %member, ?target, "not written");
            } else {
                tracing::warn!(%error, %member, ?target, "not written; trying again");
            }
            performed.failed = true;
        }
        if performed.failed {
            break;
        }
    }
    performed
}

async fn one(client: &kube::Client, action: Action, performed: &mut Performed) -> Result<(), SimError> {
    let sent = match send(client, &action).await {
        // A server without this subresource; the pod runs all the same.
        Err(error) if matches!(action, Action::Bind { .. }) && matches!(error.code(), 405 | 501) => {
            performed.reports.push(Report::NoBinding);
            return Ok(());
        }
        other => other?,
    };
    match (sent, action) {
        (Sent::Written(_), Action::Publish { kind, body }) => {
            performed.reports.push(Report::Published { kind, hash: ContentHash::of_value(&body) });
        }
        (Sent::Gone, Action::Bind { target, uid, .. }) => {
            // Either the pod is gone, or the server doesn't know how to bind.
            let pod = read(client, target.kind, &target.namespace, &target.name).await?;
            performed.reports.push(if pod.is_some() {
                Report::NoBinding
            } else {
                Report::Gone { target, uid }
            });
        }
        // Somebody has bound it: just as good. The watch tells.
        (_, Action::Bind { .. }) => {}
        (Sent::Written(object), Action::Create { kind, .. }) => {
            performed.reports.push(Report::Written { kind, object });
        }
        (Sent::Written(object), action) => {
            if let Some((target, _)) = target_of(action) {
                performed.reports.push(Report::Written { kind: target.kind, object });
            }
        }
        (Sent::Gone, action) => {
            if let Some((target, uid)) = target_of(action) {
                performed.reports.push(Report::Gone { target, uid });
            }
        }
        (Sent::Exists, Action::Create { kind, body }) => {
            // Ours from before a restart, or somebody else's: deciding again with it tells.
            if let Some(object) = read(client, kind, crate::object::namespace(&body), name(&body)).await? {
                performed.reports.push(Report::Written { kind, object });
            }
            performed.failed = kind != Kind::PersistentVolumeClaim;
        }
        (Sent::Exists | Sent::Conflict, action) => {
            if let Some((target, known)) = target_of(action) {
                match read(client, target.kind, &target.namespace, &target.name).await? {
                    Some(object) => {
                        if uid(&object) != known {
                            performed.reports.push(Report::Gone { target: target.clone(), uid: known });
                        }
                        performed.reports.push(Report::Written { kind: target.kind, object });
                    }
                    None => performed.reports.push(Report::Gone { target, uid: known }),
                }
            }
            performed.failed = true;
        }
    }
    Ok(())
}

fn target_of(action: Action) -> Option<(ObjectRef, String)> {
    match action {
        Action::Patch { target, uid, .. }
        | Action::PatchStatus { target, uid, .. }
        | Action::Delete { target, uid }
        | Action::Bind { target, uid, .. } => Some((target, uid)),
        Action::Create { .. } | Action::Publish { .. } => None,
    }
}
