//! A propagation policy as it is judged.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use fleet_api::propagation::{GROUPS, PolicyKind, PolicyProblem, PropagationPolicySpec};
use fleet_placement::{PlacementRules, Problems};

use crate::kinds::KindTable;
use crate::selector::{Scope, Selectors};

/// Which policy. Many objects have the same: clones share it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(Arc<PolicyReference>);

/// What a [`PolicyId`] says.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyReference {
    /// Its kind.
    pub kind: PolicyKind,
    /// Its API group.
    pub group: String,
    /// Its namespace; empty for a cluster-scoped one.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl PolicyId {
    /// A policy of our own group.
    #[must_use]
    pub fn new(kind: PolicyKind, namespace: &str, name: &str) -> Self {
        Self::of_group(kind, GROUPS.first().copied().unwrap_or_default(), namespace, name)
    }

    /// A policy of any group.
    #[must_use]
    pub fn of_group(kind: PolicyKind, group: &str, namespace: &str, name: &str) -> Self {
        let [group, namespace, name] = [group, namespace, name].map(str::to_owned);
        Self(Arc::new(PolicyReference { kind, group, namespace, name }))
    }

    /// What it can reach.
    #[must_use]
    pub fn scope(&self) -> Scope<'_> {
        if self.kind.namespaced() { Scope::Namespace(&self.namespace) } else { Scope::Cluster }
    }
}

impl Deref for PolicyId {
    type Target = PolicyReference;

    fn deref(&self) -> &PolicyReference {
        &self.0
    }
}

impl fmt::Debug for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for PolicyId {
    /// As kubectl takes it; the group only where it isn't our own: `PropagationPolicy demo/nginx`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if GROUPS.first() != Some(&self.group.as_str()) {
            write!(f, ".{}", self.group)?;
        }
        if self.namespace.is_empty() {
            write!(f, " {}", self.name)
        } else {
            write!(f, " {}/{}", self.namespace, self.name)
        }
    }
}

/// A propagation policy, read once.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Which one.
    pub id: PolicyId,
    /// The objects that it is about.
    pub selectors: Selectors,
    /// Of several, the one of highest priority takes an object.
    pub priority: i32,
    /// Whether it takes objects that others have.
    pub preempts: bool,
    /// Where its objects go.
    pub rules: PlacementRules,
    /// What it says.
    pub spec: PropagationPolicySpec,
    /// What is wrong with it, its selectors and rules; names of clusters are judged with a fleet.
    pub problems: Vec<PolicyProblem>,
    /// Whether it is acted on. One that isn't keeps what it has as it is, and takes nothing new; its rules mean nothing.
    pub acts: bool,
}

impl Policy {
    /// A policy whose spec can't be read: it keeps what it has and takes nothing.
    #[must_use]
    pub fn unreadable(id: PolicyId, problems: Problems) -> Self {
        Self {
            id,
            selectors: Selectors::default(),
            priority: 0,
            preempts: false,
            rules: PlacementRules::default(),
            spec: PropagationPolicySpec::default(),
            problems: problems.into_vec(),
            acts: false,
        }
    }

    /// Reads a policy. `found` is what was wrong with its manifest already.
    #[must_use]
    pub fn read(id: PolicyId, spec: PropagationPolicySpec, kinds: &KindTable, found: Problems) -> Self {
        let mut problems = found;
        if spec.resource_selectors.is_empty() {
            problems.error(
                "spec.resourceSelectors",
                "NoSelector",
                "it says of no object that it goes anywhere; list apiVersion and kind, and a name or labels",
            );
        }
        let path = "spec.resourceSelectors";
        let selectors = Selectors::read(&spec.resource_selectors, id.scope(), kinds, path, &mut problems);
        let rules = PlacementRules::read(&spec, &mut problems);
        let suspension = spec.suspension.as_ref();
        if suspension.is_some_and(|told| told.dispatching && told.dispatching_on_clusters.is_some()) {
            problems.error(
                "spec.suspension",
                "SuspensionInvalid",
                "dispatching suspends every cluster, dispatchingOnClusters some; say one of them",
            );
        }
        if let Some(workflow) = &spec.workflow {
            if workflow.reference.is_empty() {
                problems.error("spec.workflow.ref", "WorkflowInvalid", "it is empty; name a Workflow");
            }
            match id.scope() {
                Scope::Cluster if workflow.namespace.is_empty() => problems.error(
                    "spec.workflow.namespace",
                    "WorkflowInvalid",
                    "the policy has no namespace, so it doesn't say where the Workflow is; name its namespace",
                ),
                Scope::Namespace(own) if !workflow.namespace.is_empty() && workflow.namespace != own => {
                    problems.error(
                        "spec.workflow.namespace",
                        "WorkflowInvalid",
                        format!("the policy is in {own} and takes a Workflow from there only; leave it out"),
                    );
                }
                _ => {}
            }
        }
        Self {
            priority: spec.priority,
            preempts: spec.preempts(),
            acts: !problems.any_error(),
            problems: problems.into_vec(),
            id,
            selectors,
            rules,
            spec,
        }
    }
}
