//! What workloads of a policy with a Workflow need (`propagateDeps`): the Application that carries them carries it, too.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_api::ObjectId;
use fleet_api::propagation::{PolicyProblem, Severity};
use fleet_propagation::{Policy, PolicyId};

use super::name_of;
use crate::propagation::distributor::Distributor;
use crate::propagation::sources::Source;

impl Distributor {
    /// The policy whose Application carries what workloads need: the one that carries it already, else the first of those
    /// that roll out and need it. It carries it for the workloads of others, too, since an object has one owner.
    pub(super) fn carrier_of(&self, id: &ObjectId) -> Option<Arc<Policy>> {
        let takes = |policy: &&Arc<Policy>| policy.spec.workflow.is_some() && policy.spec.takes_dependents();
        if let Some(stage) = self.items.get(id).and_then(|item| item.remembered.stage.as_ref()) {
            let carries = self.stages.policy(&(id.namespace.clone(), stage.clone()))?;
            let policy = self.claims.policy(carries).filter(takes);
            return policy.filter(|policy| name_of(&policy.id) == *stage).cloned();
        }
        let needing = self.policies_needing(id);
        let mut policies = needing.iter().filter_map(|id| self.claims.policy(id)).filter(takes);
        policies.find(|policy| policy.acts).cloned()
    }

    /// An object goes where workloads need it, when the Application that carries it says.
    pub(super) fn stage_along(&mut self, id: &ObjectId, policy: &Arc<Policy>, source: &Arc<Source>) {
        if !policy.acts {
            // What has errors changes nothing.
            self.stages.touch(&(id.namespace.clone(), name_of(&policy.id)));
            return;
        }
        let needed = self.clusters_needing(id);
        let mut item = self.items.remove(id).unwrap_or_default();
        item.remembered.dependent = true;
        item.remembered.group = None;
        item.remembered.ceilings.clear();
        item.remembered.shares = needed.iter().map(|cluster| (cluster.clone(), None)).collect();
        item.shortfall = None;
        item.wake_at = None;
        self.carry(id, item, policy, source);
    }

    /// Whether what a workload needs is known, and where it goes decided.
    pub(super) fn knows_needs(&self, workload: &ObjectId) -> bool {
        let Some(needs) = self.dependents.needs(workload) else { return true };
        self.lists_for(needs).is_none()
            && needs.values().all(|need| !need.need.found || !self.is_to_be_settled(&need.need.id))
    }

    /// What the Application of a policy carries in a namespace beside the objects that the policy selects.
    pub(super) fn carried_along(&self, key: &crate::context::AppKey) -> BTreeSet<&ObjectId> {
        let carried = self.stages.carried.get(key).into_iter().flatten();
        let along = |id: &&ObjectId| {
            let item = self.items.get(id).filter(|item| item.remembered.stage.as_ref() == Some(&key.1));
            item.is_some_and(|item| item.remembered.dependent) && self.claims.holder(id).is_none()
        };
        carried.filter(along).collect()
    }

    /// What is told of something that a workload needs and that rolls out with the workloads of another policy.
    pub(in crate::propagation) fn rolls_out_elsewhere(
        &self,
        policy: &PolicyId,
        workload: &ObjectId,
        needed: &ObjectId,
    ) -> Option<PolicyProblem> {
        let stage = self.items.get(needed)?.remembered.stage.as_ref()?;
        let other = self.stages.policy(&(needed.namespace.clone(), stage.clone()))?;
        (other != policy).then(|| PolicyProblem {
            severity: Severity::Warning,
            reason: "DependentElsewhere".to_owned(),
            path: "spec.propagateDeps".to_owned(),
            message: format!(
                "{workload} needs {needed}, which {other} carries: it comes and changes as that one's Workflow says, and only where its steps deliver; let one policy select both workloads, or select what they need by a policy of its own"
            ),
        })
    }
}
