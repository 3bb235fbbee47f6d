//! What becomes of an object, given the state of its owners. Pure.

use crate::upkeep::Meta;

use super::{FOREGROUND, ORPHAN};

/// What has become of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// It is there.
    Solid,
    /// It is there, but being deleted, and waits for its dependents to go first.
    Waiting,
    /// It is gone, or something else bears its name.
    Absent,
    /// Nobody can tell: its kind isn't known here.
    Unresolvable,
}

/// How an object's own dependents are treated when it is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Background,
    Foreground,
    Orphan,
}

impl Policy {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Keep,
    /// Only the references to owners with these uids go.
    Drop(Vec<String>),
    Delete(Policy),
}

/// Decides; `states` belong to `object.owners()`, one by one.
pub(super) fn decide(object: &Meta, states: &[OwnerState], has_dependents: bool) -> Decision {
    let any = |wanted| states.contains(&wanted);
    if states.is_empty() || any(OwnerState::Unresolvable) {
        return Decision::Keep;
    }
    if any(OwnerState::Solid) {
        let owners = object.owners().iter().zip(states);
        let gone: Vec<String> = owners
            .filter(|(_, state)| **state != OwnerState::Solid)
            .map(|(owner, _)| owner.uid.clone())
            .collect();
        return if gone.is_empty() { Decision::Keep } else { Decision::Drop(gone) };
    }
    // What the owner waits for waits for its own dependents, or the order would end with the first generation.
    if any(OwnerState::Waiting) && has_dependents {
        return Decision::Delete(Policy::Foreground);
    }
    Decision::Delete(if object.has_finalizer(ORPHAN) {
        Policy::Orphan
    } else if object.has_finalizer(FOREGROUND) {
        Policy::Foreground
    } else {
        Policy::Background
    })
}

#[cfg(test)]
mod tests {
    use super::OwnerState::{Absent, Solid, Unresolvable, Waiting};
    use super::*;

    /// A wrong line here deletes what has an owner, or keeps what has none.
    #[test]
    fn an_object_goes_only_when_no_owner_can_be_left() {
        use Policy::{Background, Foreground};
        let uids =
            |states: &[OwnerState]| -> Vec<String> { (0..states.len()).map(|n| n.to_string()).collect() };
        let object = |states: &[OwnerState]| {
            let owners: Vec<_> = uids(states).iter().map(|uid| serde_json::json!({"uid": uid})).collect();
            Meta::of(serde_json::json!({"metadata": {"ownerReferences": owners}}).to_string().as_bytes())
        };
        let dropped = |uids: &[&str]| Decision::Drop(uids.iter().map(|uid| (*uid).to_owned()).collect());
        let cases: Vec<(&[OwnerState], bool, Decision)> = vec![
            (&[], false, Decision::Keep),
            (&[Solid], true, Decision::Keep),
            (&[Solid, Solid], false, Decision::Keep),
            (&[Absent], false, Decision::Delete(Background)),
            (&[Absent, Absent], true, Decision::Delete(Background)),
            (&[Absent, Solid, Waiting], false, dropped(&["0", "2"])),
            (&[Waiting], false, Decision::Delete(Background)),
            (&[Waiting, Absent], true, Decision::Delete(Foreground)),
            (&[Unresolvable], false, Decision::Keep),
            (&[Absent, Unresolvable], false, Decision::Keep),
        ];
        for (states, has_dependents, expected) in cases {
            assert_eq!(
                decide(&object(states), states, has_dependents),
                expected,
                "{states:?} {has_dependents}"
            );
        }
    }

    #[test]
    fn finalizers_that_are_there_say_what_becomes_of_the_dependents() {
        for (finalizer, policy) in [
            ("orphan", Policy::Orphan),
            ("foregroundDeletion", Policy::Foreground),
            ("x/y", Policy::Background),
        ] {
            let object = serde_json::json!({"metadata": {"finalizers": [finalizer], "ownerReferences": [{"uid": "a"}]}});
            let meta = Meta::of(object.to_string().as_bytes());
            assert_eq!(decide(&meta, &[Absent], false), Decision::Delete(policy));
        }
    }
}
