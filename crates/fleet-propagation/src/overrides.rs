//! Which override policies are about an object.
//!
//! What they do to it is the matter of `fleet-render`; which clusters a rule is about, of `fleet-placement`'s affinities.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::propagation::{OverridePolicySpec, PolicyProblem};
use fleet_placement::{Affinity, Fleet, Problems};

use crate::index::Index;
use crate::kinds::KindTable;
use crate::object::ObjectFacts;
use crate::policy::PolicyId;
use crate::selector::{Precision, Selectors};

/// An override policy, read once.
#[derive(Debug, Clone)]
pub struct OverridePolicy {
    /// Which one.
    pub id: PolicyId,
    /// The objects that it is about; without selectors everything that it can reach.
    pub selectors: Selectors,
    /// What it says.
    pub spec: OverridePolicySpec,
    /// The clusters that its rules are about, as far as they say.
    targets: Vec<Affinity>,
    /// What is wrong with its selectors, of objects and of clusters; names of clusters are judged with a fleet.
    pub problems: Vec<PolicyProblem>,
    /// Whether there is no error among them.
    pub acts: bool,
}

impl OverridePolicy {
    /// Reads a policy. `found` is what was wrong with its manifest already.
    #[must_use]
    pub fn read(id: PolicyId, spec: OverridePolicySpec, kinds: &KindTable, found: Problems) -> Self {
        let mut problems = found;
        let selectors = if spec.resource_selectors.is_empty() {
            Selectors::everything(id.scope())
        } else {
            let path = "spec.resourceSelectors";
            Selectors::read(&spec.resource_selectors, id.scope(), kinds, path, &mut problems)
        };
        // A condition that can't be read would take every cluster.
        let earlier = spec.target_cluster.iter().map(|target| (target, "spec.targetCluster".to_owned()));
        let rules = spec.override_rules.iter().enumerate().filter_map(|(at, rule)| {
            Some((rule.target_cluster.as_ref()?, format!("spec.overrideRules[{at}].targetCluster")))
        });
        let targets = earlier.chain(rules);
        let targets = targets.map(|(target, path)| Affinity::read(target, &path, &mut problems)).collect();
        Self { acts: !problems.any_error(), problems: problems.into_vec(), id, selectors, targets, spec }
    }

    /// What is wrong with the names of clusters in this fleet.
    #[must_use]
    pub fn misnamed(&self, fleet: &Fleet) -> Vec<PolicyProblem> {
        let mut problems = Problems::default();
        for target in &self.targets {
            target.resolve(fleet, &mut problems);
        }
        problems.into_vec()
    }
}

/// The override policies of a hub.
#[derive(Debug, Default)]
pub struct Overrides {
    policies: BTreeMap<PolicyId, Arc<OverridePolicy>>,
    index: Index,
    /// Those without selectors.
    wide: BTreeSet<PolicyId>,
}

impl Overrides {
    /// No policies.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A policy is there, or has changed. The one that was there before: what it was about is to be looked at, too.
    pub fn set(&mut self, policy: OverridePolicy) -> Option<Arc<OverridePolicy>> {
        let before = self.remove(&policy.id);
        if policy.selectors.as_slice().is_empty() {
            self.wide.insert(policy.id.clone());
        }
        self.index.add_policy(&policy.id, &policy.selectors);
        self.policies.insert(policy.id.clone(), Arc::new(policy));
        before
    }

    /// A policy is gone; the one that it was.
    pub fn remove(&mut self, id: &PolicyId) -> Option<Arc<OverridePolicy>> {
        let before = self.policies.remove(id)?;
        self.wide.remove(id);
        self.index.remove_policy(id, &before.selectors);
        Some(before)
    }

    /// A policy, where it is known.
    #[must_use]
    pub fn get(&self, id: &PolicyId) -> Option<&Arc<OverridePolicy>> {
        self.policies.get(id)
    }

    /// The policies about an object, sorted by kind, group, namespace and name, with how precisely they select it. One
    /// with errors is among them: what it would change can't be told, so the object is to stay as it is.
    #[must_use]
    pub fn about(&self, object: &ObjectFacts) -> Vec<(Arc<OverridePolicy>, Precision)> {
        let mut ids = self.index.policies(&object.id);
        ids.extend(self.wide.iter().cloned());
        let known = ids.iter().filter_map(|id| self.policies.get(id));
        known.filter_map(|policy| Some((policy.clone(), policy.selectors.precision(object)?))).collect()
    }
}
