//! The policies of a cluster, compiled, as they were last read.

use std::sync::Arc;

use fleet_store::{Entry, Page, Range, Store};
use parking_lot::Mutex;
use serde_json::Value;

use super::binding::Binding;
use super::compiled::Policy;

/// What the store calls policies and bindings.
const POLICIES: &str = "validatingadmissionpolicies.admissionregistration.k8s.io";
const BINDINGS: &str = "validatingadmissionpolicybindings.admissionregistration.k8s.io";

/// Policies with the bindings that put them into force, by name.
pub(super) type Set = Vec<(Arc<Policy>, Vec<Binding>)>;

/// What is in force in one cluster. It is compared with the store at each write, by names and revisions, so that a
/// policy holds from the commit that made it, whatever became of the request.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    seen: Vec<(Arc<str>, u64)>,
    policies: Vec<(u64, Arc<Policy>)>,
    set: Arc<Set>,
}

impl Known {
    /// What is in force now.
    pub(super) fn current(&self, store: &Store, cluster: &Arc<str>) -> Arc<Set> {
        let list = |resource: &str| {
            let range = Range::cluster(Arc::clone(cluster), resource);
            store.list(&range, Page::default()).map(|listing| listing.entries).unwrap_or_default()
        };
        // Policies without a binding are in force nowhere.
        let bindings = list(BINDINGS);
        if bindings.is_empty() {
            return Arc::default();
        }
        let policies = list(POLICIES);
        let seen: Vec<(Arc<str>, u64)> = policies
            .iter()
            .chain(&bindings)
            .map(|entry| (Arc::clone(&entry.key.name), entry.revision))
            .collect();
        let mut state = self.0.lock();
        if state.seen != seen {
            state.read(&policies, &bindings);
            state.seen = seen;
        }
        Arc::clone(&state.set)
    }
}

impl State {
    /// Reads what has changed.
    fn read(&mut self, policies: &[Entry], bindings: &[Entry]) {
        let before = std::mem::take(&mut self.policies);
        for entry in policies {
            let known = before.iter().find(|(revision, _)| *revision == entry.revision);
            let policy = match known {
                Some((_, policy)) => Arc::clone(policy),
                None => Arc::new(Policy::read(&parse(entry))),
            };
            self.policies.push((entry.revision, policy));
        }
        let mut set: Set = self.policies.iter().map(|(_, policy)| (Arc::clone(policy), Vec::new())).collect();
        for entry in bindings {
            let binding = Binding::read(&parse(entry));
            let of = set.iter_mut().find(|(policy, _)| policy.name == binding.policy);
            if let Some((_, bindings)) = of {
                bindings.push(binding);
            }
        }
        set.retain(|(_, bindings)| !bindings.is_empty());
        self.set = Arc::new(set);
    }
}

fn parse(entry: &Entry) -> Value {
    serde_json::from_slice(&entry.value).unwrap_or_default()
}
