//! Policies that go with the definition of their kind. The hub deletes the objects of a definition first and the definition
//! afterwards, and each has a watch of its own: so before what a policy had leaves because the policy is gone, the definition is
//! read once more. Where that went too, nobody decided on the objects, and they stay until a policy takes them.

use fleet_api::propagation::GROUPS;
use fleet_api::{ObjectId, PolicyName};
use fleet_propagation::PolicyId;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};

use super::confirm::{AGAIN, Asked, DEADLINE};
use super::dispatch::Done;
use super::distributor::Distributor;
use super::policies::{kind_of, read_recorded};
use super::settle::Verdict;
use super::watch::Topic;
use crate::hub::referenced::DEFINITION;

/// Why an object stays whose policy went with the definition of its kind.
pub(super) const KIND_MISSING: &str = "PolicyKindMissing";

/// How definitions are asked for.
pub(super) fn definitions() -> ApiResource {
    let (api_version, kind) = DEFINITION;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    ApiResource::from_gvk_with_plural(&gvk, "customresourcedefinitions")
}

/// The name of the definition of a policy's kind.
pub(super) fn definition_of(policy: &PolicyId) -> String {
    format!("{}.{}", policy.kind.plural(), policy.group)
}

impl Distributor {
    /// Whether an object that is about to leave waits until the definition of its policy's kind was read. What stays since that
    /// definition is gone is put on record as such.
    pub(super) fn asks_for_definition(&mut self, id: &ObjectId, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Leaves(_) => {}
            Verdict::Stays(matter) if matter.reason == KIND_MISSING => {
                self.orphan(id);
                return false;
            }
            Verdict::Unknown | Verdict::Stays(_) | Verdict::Placed(..) | Verdict::Follows(_) => return false,
        }
        let item = self.items.get(id).filter(|item| !item.policy_deleted && !item.is_nowhere());
        let policy = item.and_then(|item| item.remembered.policy.as_ref()).and_then(read_recorded);
        let Some(policy) = policy.filter(|policy| self.policies.get(policy).is_none()) else { return false };
        let definition = definition_of(&policy);
        if self.confirmations.wait(id, &Asked::Definition(definition.clone())) {
            self.read_definition(definition);
        }
        true
    }

    fn read_definition(&mut self, definition: String) {
        let api: Api<DynamicObject> = Api::all_with(self.ctx.hub.client.clone(), &definitions());
        self.jobs.spawn(async move {
            loop {
                let failure = match tokio::time::timeout(DEADLINE, api.get_metadata_opt(&definition)).await {
                    Ok(Ok(found)) => {
                        let standing =
                            found.filter(|found| found.metadata.deletion_timestamp.is_none());
                        let uid = standing.and_then(|found| found.metadata.uid);
                        return Done::Defined { definition, uid };
                    }
                    Ok(Err(error)) => fleet_members::innermost(&error),
                    Err(_) => format!("no answer within {DEADLINE:?}"),
                };
                tracing::warn!(
                    definition,
                    failure,
                    "a definition isn't read; what policies of this kind had and have no more stays until it is. May the controller's account get it?"
                );
                tokio::time::sleep(AGAIN).await;
            }
        });
    }

    /// A definition was read: what waited for it leaves where it stands as it did when its policies went.
    pub(super) fn defined(&mut self, definition: String, uid: Option<&str>) {
        let stands = uid.is_some() && self.served.standing(&definition) == uid;
        let (waited, more) = self.confirmations.read(&Asked::Definition(definition.clone()));
        for id in waited {
            if !stands {
                self.orphan(&id);
            } else if let Some(item) = self.items.get_mut(&id) {
                item.policy_deleted = true;
            }
            self.touch(&id);
        }
        if more {
            self.read_definition(definition);
        }
    }

    /// A definition is gone, or another has its name: its policies went with it, whether or not their watch told yet.
    pub(super) fn definition_gone(&mut self, definition: &str) {
        let Some((plural, group)) = definition.split_once('.') else { return };
        let kind = kind_of(plural).filter(|kind| GROUPS.contains(&group) && !kind.overrides());
        let Some(kind) = kind else { return };
        self.watches.end(&Topic::Policies(group.to_owned(), plural.to_owned()));
        let its = self.policies.ids().filter(|id| id.kind == kind && id.group == group);
        let its: Vec<PolicyId> = its.cloned().collect();
        let of = |policy: &PolicyName| policy.group == group && policy.kind == kind.as_str();
        let had = self.items.iter().filter(|(_, item)| item.remembered.policy.as_ref().is_some_and(of));
        for id in had.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.orphan(&id);
        }
        for id in its {
            self.policy_gone(&id);
        }
    }

    /// An object stays until a policy takes it, or its own is there again and doesn't.
    fn orphan(&mut self, id: &ObjectId) {
        let Some(item) = self.items.get_mut(id).filter(|item| !item.remembered.orphaned) else { return };
        item.remembered.orphaned = true;
        self.ledger.touch(id, true);
    }
}
