//! What a workload needs: as it is on the hub, wherever it goes; and what only overrides name, on the clusters that they are about.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::ObjectId;
use fleet_plan::{Dependent, dependents, may_need};
use fleet_propagation::{OverridePolicy, Policy, Selectors};
use serde_json::Value;

use super::dependents::{Need, OnHub};
use super::distributor::Distributor;
use super::render::overridden;
use super::sources::Source;

impl Distributor {
    /// Finds anew what a workload needs. True where that is news.
    pub(super) fn read_workload(&mut self, id: &ObjectId) -> bool {
        let holder = self.claims.holder(id).and_then(|holder| self.claims.policy(holder));
        let source = self.sources.get(id).filter(|source| !source.deleting);
        let needs = match (holder, source) {
            // As it was before the mistake.
            (Some(policy), Some(_)) if !policy.acts => return false,
            (Some(policy), Some(source)) if policy.spec.takes_dependents() => {
                let tree = source.tree();
                may_need(&tree).then(|| {
                    let all = dependents(&tree, &OnHub(&self.sources));
                    let known: BTreeSet<ObjectId> = all.iter().map(|need| need.id.clone()).collect();
                    let mut all: Vec<Need> = all.into_iter().map(Need::everywhere).collect();
                    all.extend(self.named_by_overrides(policy, source, &tree, &known));
                    all
                })
            }
            _ => None,
        };
        self.dependents.set(id, needs)
    }

    /// What a workload needs on single clusters only, since overrides name it there. What an override can't be made for is
    /// told where the workload goes.
    fn named_by_overrides(
        &self,
        policy: &Policy,
        source: &Source,
        tree: &Value,
        known: &BTreeSet<ObjectId>,
    ) -> Vec<Need> {
        let overrides = self.overrides.about(&source.facts);
        let Some(followed) = self.policies.get(&policy.id) else { return Vec::new() };
        if !overrides.iter().any(|(policy, _)| may_name_others(policy)) {
            return Vec::new();
        }
        let mut found: BTreeMap<ObjectId, (Dependent, BTreeSet<String>)> = BTreeMap::new();
        for cluster in followed.survey.members(&self.fleet) {
            let Ok(there) = overridden(tree, &overrides, cluster, &self.fleet) else { continue };
            let needs = dependents(&there.object, &OnHub(&self.sources));
            for need in needs.into_iter().filter(|need| !known.contains(&need.id)) {
                let place = format!("{} by an override on {cluster}", need.place);
                let entry = found.entry(need.id.clone());
                let (first, clusters) =
                    entry.or_insert_with(|| (Dependent { place, ..need.clone() }, BTreeSet::new()));
                first.optional &= need.optional;
                clusters.insert(cluster.to_owned());
            }
        }
        found.into_values().map(|(need, clusters)| Need { need, on: Some(clusters) }).collect()
    }

    /// Overrides that these selectors are about have changed: what they may name is found anew, and what they change is settled.
    pub(super) fn overrides_changed(&mut self, selectors: &Selectors) {
        let selected = self.distributed(selectors);
        self.may_need_otherwise(&selected);
        self.confirm(selected);
    }

    /// Overrides may name others for these objects now.
    pub(super) fn may_need_otherwise(&mut self, ids: &[ObjectId]) {
        for id in ids {
            if self.dependents.needs(id).is_some() {
                self.dependents.stale(id);
            }
        }
    }
}

/// Whether an override policy can change what a workload refers to: the other overriders don't touch references.
fn may_name_others(policy: &OverridePolicy) -> bool {
    let patches = |overriders: &fleet_api::propagation::Overriders| !overriders.plaintext.is_empty();
    policy.acts
        && (policy.spec.override_rules.iter().any(|rule| patches(&rule.overriders))
            || policy.spec.overriders.as_ref().is_some_and(patches))
}
