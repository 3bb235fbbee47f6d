//! The RBAC objects of one cluster, ready to be asked.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use fleet_store::Key;
use serde::Deserialize;

use super::Rule;
use crate::identity::Identity;

/// Namespace (empty for cluster scope) and name.
type Place = (Arc<str>, Arc<str>);
/// By user or group, then by the namespace that the binding applies to (empty for all).
type BySubject = HashMap<Box<str>, HashMap<Arc<str>, Vec<Arc<Binding>>>>;

/// A RoleBinding or ClusterRoleBinding.
#[derive(Debug)]
pub(crate) struct Binding {
    /// Empty for a ClusterRoleBinding.
    namespace: Arc<str>,
    name: Arc<str>,
    role: RoleRef,
    /// Where the role is, if there can be one.
    at: Option<Place>,
    subjects: Vec<Subject>,
}

#[derive(Debug, Deserialize)]
struct RoleRef {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct Subject {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct StoredRole {
    #[serde(default)]
    rules: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredBinding {
    role_ref: RoleRef,
    #[serde(default)]
    subjects: Option<Vec<Subject>>,
}

/// What a visit comes by.
pub(crate) enum Found<'k> {
    Rules {
        binding: &'k Binding,
        rules: &'k Arc<[Rule]>,
    },
    /// A binding of a role that isn't there.
    Missing {
        binding: &'k Binding,
    },
}

/// Roles, and bindings by whom they are for.
#[derive(Debug, Default)]
pub(crate) struct Known {
    roles: HashMap<Place, Arc<[Rule]>>,
    bindings: HashMap<Place, Arc<Binding>>,
    users: BySubject,
    groups: BySubject,
}

impl Known {
    /// Takes up an object of an RBAC kind as it is now; `None` where it is gone. What can't be read gives nothing.
    pub(super) fn set(&mut self, key: &Key, value: Option<&[u8]>) {
        let place = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        if is_binding(&key.resource) {
            if let Some(old) = self.bindings.remove(&place) {
                self.unbind(&old);
            }
            let stored = value.and_then(|value| serde_json::from_slice::<StoredBinding>(value).ok());
            let Some(stored) = stored else { return };
            let binding = Arc::new(Binding {
                namespace: Arc::clone(&key.namespace),
                name: Arc::clone(&key.name),
                at: place_of(&key.namespace, &stored.role_ref.kind, &stored.role_ref.name),
                role: stored.role_ref,
                subjects: stored.subjects.unwrap_or_default(),
            });
            self.bind(&binding);
            self.bindings.insert(place, binding);
            return;
        }
        match value.and_then(|value| serde_json::from_slice::<StoredRole>(value).ok()) {
            Some(role) => self.roles.insert(place, role.rules.unwrap_or_default().into()),
            None => self.roles.remove(&place),
        };
    }

    fn bind(&mut self, binding: &Arc<Binding>) {
        for subject in &binding.subjects {
            let Some((is_group, name)) = subject.named(&binding.namespace) else { continue };
            let map = if is_group { &mut self.groups } else { &mut self.users };
            let places = map.entry(name.into()).or_default();
            let there = places.entry(Arc::clone(&binding.namespace)).or_default();
            if !there.iter().any(|one| Arc::ptr_eq(one, binding)) {
                there.push(Arc::clone(binding));
            }
        }
    }

    fn unbind(&mut self, binding: &Arc<Binding>) {
        for subject in &binding.subjects {
            let Some((is_group, name)) = subject.named(&binding.namespace) else { continue };
            let map = if is_group { &mut self.groups } else { &mut self.users };
            let Some(places) = map.get_mut(name.as_str()) else { continue };
            if let Some(there) = places.get_mut(&binding.namespace) {
                there.retain(|one| !Arc::ptr_eq(one, binding));
                if there.is_empty() {
                    places.remove(&binding.namespace);
                }
            }
            if places.is_empty() {
                map.remove(name.as_str());
            }
        }
    }

    /// Shows every binding that applies to an identity in a namespace, cluster-wide ones first.
    pub(crate) fn visit<'k, B>(
        &'k self,
        identity: &Identity,
        namespace: &str,
        look: &mut dyn FnMut(Found<'k>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let scopes = ["", namespace];
        let scopes = if namespace.is_empty() { &scopes[..1] } else { &scopes[..] };
        for scope in scopes {
            let groups = identity.groups.iter().filter_map(|group| self.groups.get(group.as_str()));
            for places in self.users.get(identity.user.as_str()).into_iter().chain(groups) {
                for binding in places.get(*scope).into_iter().flatten() {
                    look(match binding.at.as_ref().and_then(|at| self.roles.get(at)) {
                        Some(rules) => Found::Rules { binding, rules },
                        None => Found::Missing { binding },
                    })?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// The rules of a ClusterRole, or of a Role in a namespace.
    pub(super) fn role(&self, namespace: &str, kind: &str, name: &str) -> Option<&Arc<[Rule]>> {
        self.roles.get(&place_of(namespace, kind, name)?)
    }
}

/// Where the role of a binding in that namespace is.
fn place_of(namespace: &str, kind: &str, name: &str) -> Option<Place> {
    match kind {
        "ClusterRole" => Some((Arc::default(), name.into())),
        "Role" if !namespace.is_empty() => Some((namespace.into(), name.into())),
        _ => None,
    }
}

/// Whether a resource, by its name in the store, is one of the two kinds of bindings.
fn is_binding(resource: &str) -> bool {
    resource.starts_with("rolebindings.") || resource.starts_with("clusterrolebindings.")
}

impl Subject {
    /// Whether it is a group, and the name by which requests are known to come from it.
    fn named(&self, bound_in: &str) -> Option<(bool, String)> {
        match self.kind.as_str() {
            "User" => Some((false, self.name.clone())),
            "Group" => Some((true, self.name.clone())),
            "ServiceAccount" => {
                let namespace = self.home(bound_in);
                (!namespace.is_empty())
                    .then(|| (false, format!("{}{namespace}:{}", Identity::ACCOUNT_PREFIX, self.name)))
            }
            _ => None,
        }
    }

    fn home<'s>(&'s self, bound_in: &'s str) -> &'s str {
        self.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(bound_in)
    }
}

impl Binding {
    /// As Kubernetes names the binding that allows something.
    pub(crate) fn describe(&self, identity: &Identity) -> String {
        let whom = self.subjects.iter().find_map(|subject| {
            let (is_group, name) = subject.named(&self.namespace)?;
            let applies = if is_group { identity.groups.contains(&name) } else { identity.user == name };
            let shown = match subject.kind.as_str() {
                "ServiceAccount" => format!("{}/{}", subject.name, subject.home(&self.namespace)),
                _ => subject.name.clone(),
            };
            applies.then(|| format!("{} {shown:?}", subject.kind))
        });
        let (kind, name) = match &*self.namespace {
            "" => ("ClusterRoleBinding", self.name.as_ref().to_owned()),
            namespace => ("RoleBinding", format!("{}/{namespace}", self.name)),
        };
        let (role, whom) = (&self.role, whom.unwrap_or_default());
        format!("{kind} {name:?} of {} {:?} to {whom}", role.kind, role.name)
    }

    /// What to say where the role isn't there.
    pub(crate) fn missing_role(&self) -> String {
        let kind = self.role.kind.to_ascii_lowercase();
        format!("{kind}.{} {:?} not found", super::GROUP, self.role.name)
    }
}
