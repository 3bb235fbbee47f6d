//! What a decision asks to be done.

use fleet_json::merge_patch_between;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object::{namespace, uid};
use crate::{Kind, ObjectRef};

/// One write to a member.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create an object.
    Create {
        /// Its kind.
        kind: Kind,
        /// The whole object.
        body: Value,
    },
    /// Merge-patch an object.
    Patch {
        /// The object.
        target: ObjectRef,
        /// The uid that it must have.
        uid: String,
        /// The merge patch.
        patch: Value,
    },
    /// Merge-patch an object's status.
    PatchStatus {
        /// The object.
        target: ObjectRef,
        /// The uid that it must have.
        uid: String,
        /// The merge patch of the status alone.
        status: Value,
    },
    /// Delete an object at once.
    Delete {
        /// The object.
        target: ObjectRef,
        /// The uid that it must have.
        uid: String,
    },
    /// Put a pod on a node.
    Bind {
        /// The pod.
        target: ObjectRef,
        /// The uid that it must have.
        uid: String,
        /// The node.
        node: String,
    },
    /// Create an object or bring it to this state, by server-side apply.
    Publish {
        /// Its kind.
        kind: Kind,
        /// The whole object.
        body: Value,
    },
}

/// What to do now, and when to look again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// To be done in this order; after a failure the rest is dropped and decided anew.
    pub actions: Vec<Action>,
    /// When to decide again although nothing has changed.
    pub wake: Option<Timestamp>,
}

impl Decision {
    /// Looks again at this moment at the latest.
    pub(crate) fn wake_at(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |earlier| earlier.min(time)));
    }

    pub(crate) fn create(&mut self, kind: Kind, body: Value) {
        self.actions.push(Action::Create { kind, body });
    }

    pub(crate) fn delete(&mut self, kind: Kind, object: &Value) {
        self.actions
            .push(Action::Delete { target: ObjectRef::of(kind, object), uid: uid(object).to_owned() });
    }

    pub(crate) fn patch(&mut self, kind: Kind, object: &Value, patch: Value) {
        if patch.as_object().is_some_and(|patch| !patch.is_empty()) {
            let target = ObjectRef::of(kind, object);
            self.actions.push(Action::Patch { target, uid: uid(object).to_owned(), patch });
        }
    }

    /// Writes a status, if it differs.
    pub(crate) fn status(&mut self, kind: Kind, object: &Value, status: &Value) {
        let empty = json!({});
        let patch = merge_patch_between(object.get("status").unwrap_or(&empty), status);
        if patch.as_object().is_some_and(|patch| !patch.is_empty()) {
            let target = ObjectRef::of(kind, object);
            self.actions.push(Action::PatchStatus { target, uid: uid(object).to_owned(), status: patch });
        }
    }
}

impl Action {
    /// The namespace that the action writes to; empty for cluster-scoped objects.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::Create { body, .. } | Self::Publish { body, .. } => namespace(body),
            Self::Patch { target, .. }
            | Self::PatchStatus { target, .. }
            | Self::Delete { target, .. }
            | Self::Bind { target, .. } => &target.namespace,
        }
    }
}
