//! The hub as the controller sees it: caches fed by watches.

pub(crate) mod deadline;
pub(crate) mod health_rules;
pub(crate) mod key_rules;
pub(crate) mod kinds;
pub(crate) mod readable;
pub(crate) mod referenced;
pub(crate) mod refusal;
pub(crate) mod rule_maps;
pub(crate) mod tenancy;
pub(crate) mod watches;
pub(crate) mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use fleet_api::{
    Application, Approval, ClusterAccessPolicy, ComponentDefinition, DriftHold, ManagedCluster, Policy,
    RolloutWindow, StagedPlacement, TraitDefinition, Workflow, names,
};
use fleet_render::Definitions;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::reflector::{ObjectRef, Store};
use serde_json::Value;

use crate::Problem;
use crate::context::{AppKey, lock};
use crate::hub::readable::Answers;
use crate::hub::referenced::{DEFINITION, Referenced};
use crate::hub::windows::ReadWindows;
use crate::people::authors::Authors;
use crate::resolve::{ObjectReference, Selection, Snapshot};

/// Where definitions for all namespaces are; of two with one name, that of the later namespace counts.
pub(crate) const ADMINISTRATORS: [&str; 2] = ["vela-system", names::SYSTEM_NAMESPACE];

/// What an Application was put together from, as far as a change of it must wake the Application.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Input {
    /// A Policy by namespace and name.
    Policy(String, String),
    /// A Workflow by namespace and name.
    Workflow(String, String),
    /// An object by apiVersion, kind, namespace and name; an empty name stands for all of a selector.
    Object(String, String, String, String),
}

impl Input {
    /// The kind of an object.
    pub(crate) fn kind(&self) -> Option<(&str, &str)> {
        match self {
            Self::Object(api_version, kind, _, _) => Some((api_version, kind)),
            Self::Policy(..) | Self::Workflow(..) => None,
        }
    }
}

/// Caches and client of the hub.
pub(crate) struct Hub {
    pub(crate) client: kube::Client,
    /// UID of the hub's kube-system namespace: tells this hub from any other.
    pub(crate) uid: String,
    pub(crate) applications: Store<Application>,
    pub(crate) policies: Store<Policy>,
    pub(crate) workflows: Store<Workflow>,
    pub(crate) traits: Store<TraitDefinition>,
    pub(crate) components: Store<ComponentDefinition>,
    pub(crate) clusters: Store<ManagedCluster>,
    pub(crate) approvals: Store<Approval>,
    pub(crate) drift_holds: Store<DriftHold>,
    pub(crate) access_policies: Store<ClusterAccessPolicy>,
    pub(crate) namespaces: Store<Namespace>,
    pub(crate) rollout_windows: Store<RolloutWindow>,
    /// What they say.
    pub(crate) read_windows: ReadWindows,
    pub(crate) referenced: Referenced,
    /// What the hub said of the rights of accounts.
    pub(crate) answers: Answers,
    pub(crate) inputs: Inputs,
    /// By namespace; under the empty name for all that have none of their own.
    definitions: Mutex<BTreeMap<String, Arc<Definitions>>>,
}

/// The stores that [`Hub`] is made of.
pub(crate) struct Stores {
    pub(crate) applications: Store<Application>,
    pub(crate) policies: Store<Policy>,
    pub(crate) workflows: Store<Workflow>,
    pub(crate) traits: Store<TraitDefinition>,
    pub(crate) components: Store<ComponentDefinition>,
    pub(crate) clusters: Store<ManagedCluster>,
    pub(crate) approvals: Store<Approval>,
    pub(crate) drift_holds: Store<DriftHold>,
    pub(crate) access_policies: Store<ClusterAccessPolicy>,
    pub(crate) namespaces: Store<Namespace>,
    pub(crate) rollout_windows: Store<RolloutWindow>,
}

impl Hub {
    pub(crate) fn new(client: kube::Client, uid: String, stores: Stores, referenced: Referenced) -> Self {
        Self {
            client,
            uid,
            applications: stores.applications,
            policies: stores.policies,
            workflows: stores.workflows,
            traits: stores.traits,
            components: stores.components,
            clusters: stores.clusters,
            approvals: stores.approvals,
            drift_holds: stores.drift_holds,
            access_policies: stores.access_policies,
            namespaces: stores.namespaces,
            rollout_windows: stores.rollout_windows,
            read_windows: ReadWindows::default(),
            answers: Answers::default(),
            referenced,
            inputs: Inputs::default(),
            definitions: Mutex::default(),
        }
    }

    /// The definitions in force in a namespace: those of the binary, overridden by the administrators', overridden by
    /// its own. One tenant's definitions are nothing to another.
    pub(crate) fn definitions(&self, namespace: &str) -> Arc<Definitions> {
        let within = |namespace: &str| {
            let traits = objects_in(&self.traits, namespace);
            traits.into_iter().chain(objects_in(&self.components, namespace))
        };
        let mut cached = lock(&self.definitions);
        let mut own = within(namespace).peekable();
        let key = if own.peek().is_some() { namespace } else { "" };
        if let Some(definitions) = cached.get(key) {
            return Arc::clone(definitions);
        }
        let shared = ADMINISTRATORS.into_iter().flat_map(within);
        let objects: Vec<Value> = shared.chain(own).collect();
        let definitions = Arc::new(Definitions::builtin().with_overrides(&objects));
        cached.insert(key.to_owned(), Arc::clone(&definitions));
        definitions
    }

    /// A definition changed on the hub.
    pub(crate) fn forget_definitions(&self) {
        lock(&self.definitions).clear();
    }

    /// The snapshot for an Application; notes what is asked for.
    pub(crate) fn snapshot(&self, app: &Application) -> HubSnapshot<'_> {
        HubSnapshot { hub: self, rules: rules_of(app), used: Mutex::default(), authors: Mutex::default() }
    }
}

/// The namespace of an Application's Workflow and Policies: its own, or that in which the policy that it carries has them.
pub(crate) fn rules_of(app: &Application) -> String {
    let staged = StagedPlacement::read(&app.spec).ok().flatten();
    let own = || app.metadata.namespace.clone().unwrap_or_default();
    staged.map_or_else(own, |staged| staged.workflow_namespace)
}

/// Who was put together from what.
#[derive(Default)]
pub(crate) struct Inputs(Mutex<InputIndex>);

#[derive(Default)]
struct InputIndex {
    users: BTreeMap<Input, BTreeSet<AppKey>>,
    used: BTreeMap<AppKey, BTreeSet<Input>>,
}

impl Inputs {
    /// Replaces what an Application was put together from. True where something is new: a change of it before now
    /// woke nobody, so it is to be looked at again.
    pub(crate) fn set(&self, key: &AppKey, used: BTreeSet<Input>) -> bool {
        let mut index = lock(&self.0);
        let before = index.used.remove(key).unwrap_or_default();
        for gone in before.difference(&used) {
            if let Some(users) = index.users.get_mut(gone) {
                users.remove(key);
                if users.is_empty() {
                    index.users.remove(gone);
                }
            }
        }
        let mut grown = false;
        for new in used.difference(&before) {
            grown = true;
            index.users.entry(new.clone()).or_default().insert(key.clone());
        }
        if !used.is_empty() {
            index.used.insert(key.clone(), used);
        }
        grown
    }

    /// Everybody who was put together from this.
    pub(crate) fn users(&self, input: &Input) -> BTreeSet<AppKey> {
        lock(&self.0).users.get(input).cloned().unwrap_or_default()
    }
}

/// A view of the caches that notes what is asked for, found or not.
pub(crate) struct HubSnapshot<'a> {
    hub: &'a Hub,
    /// The namespace of its Workflow and Policies.
    rules: String,
    used: Mutex<BTreeSet<Input>>,
    authors: Mutex<Authors>,
}

impl HubSnapshot<'_> {
    fn note(&self, input: Input) {
        lock(&self.used).insert(input);
    }

    /// What was asked for, and who changed what was found.
    pub(crate) fn into_parts(self) -> (BTreeSet<Input>, Authors) {
        let used = self.used.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        (used, self.authors.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// A kind's objects in a namespace, as data.
fn objects_in<K>(store: &Store<K>, namespace: &str) -> Vec<Value>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::Serialize + 'static,
{
    let all = store.state();
    let mine = all.iter().filter(|object| object.meta().namespace.as_deref() == Some(namespace));
    mine.filter_map(|object| serde_json::to_value(&**object).ok()).collect()
}

/// The names of a kind's objects in a namespace.
fn names_in<K: kube::Resource<DynamicType = ()> + Clone + 'static>(
    store: &Store<K>,
    namespace: &str,
) -> Vec<String> {
    let mine =
        store.state().into_iter().filter(|object| object.meta().namespace.as_deref() == Some(namespace));
    mine.filter_map(|object| object.meta().name.clone()).collect()
}

impl Snapshot for HubSnapshot<'_> {
    fn policy(&self, name: &str) -> Option<Policy> {
        self.note(Input::Policy(self.rules.clone(), name.to_owned()));
        let found = self.hub.policies.get(&ObjectRef::new(name).within(&self.rules))?;
        lock(&self.authors).see("Policy", &*found);
        Some((*found).clone())
    }

    fn policy_names(&self) -> Vec<String> {
        names_in(&self.hub.policies, &self.rules)
    }

    fn workflow(&self, name: &str) -> Option<Workflow> {
        self.note(Input::Workflow(self.rules.clone(), name.to_owned()));
        let found = self.hub.workflows.get(&ObjectRef::new(name).within(&self.rules))?;
        lock(&self.authors).see("Workflow", &*found);
        Some((*found).clone())
    }

    fn workflow_names(&self) -> Vec<String> {
        names_in(&self.hub.workflows, &self.rules)
    }

    fn objects(&self, reference: &ObjectReference) -> Result<Vec<Value>, Problem> {
        let name = match &reference.selection {
            Selection::Name(name) => name.clone(),
            Selection::Labels(_) => String::new(),
        };
        let (api_version, kind) = (reference.api_version.clone(), reference.kind.clone());
        self.note(Input::Object(api_version, kind, reference.namespace.clone(), name));
        let found = self.hub.referenced.find(reference);
        if found.is_err() {
            // The kind may be listed later, or come with a definition.
            let kind = (reference.api_version.clone(), reference.kind.clone());
            self.note(Input::Object(kind.0, kind.1, String::new(), String::new()));
            let (api_version, kind) = DEFINITION;
            self.note(Input::Object(api_version.to_owned(), kind.to_owned(), String::new(), String::new()));
        }
        let mut authors = lock(&self.authors);
        let contents = found?.into_iter().map(|found| {
            authors
                .note(&found.author, || format!("{} {}/{}", reference.kind, reference.namespace, found.name));
            found.content
        });
        Ok(contents.collect())
    }
}
