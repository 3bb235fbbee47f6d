//! Which objects a policy is about, and how precisely.

pub use fleet_api::propagation::Precision;
use fleet_api::propagation::{GROUPS, ResourceSelector};
use fleet_api::{ObjectReference, names};
use fleet_json::LabelSelector;
use fleet_placement::Problems;

use crate::kinds::KindTable;
use crate::object::ObjectFacts;

/// Namespaces that are taken only where a selector names them: they belong to the cluster, not to its users.
const CLUSTERS_OWN: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// What a policy can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The objects of one namespace.
    Namespace(&'a str),
    /// Any object.
    Cluster,
}

/// The objects that a policy is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selectors {
    selectors: Vec<Selector>,
    /// Without any selector: everything in this namespace, or everything at all.
    everything: Option<Option<String>>,
}

/// One selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// Where it stands in the policy.
    pub path: String,
    /// The group of the kind. Versions don't matter: an object is the same in each.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The only namespace; `None`: any.
    pub namespace: Option<String>,
    /// The only name; `None`: any.
    pub name: Option<String>,
    /// The labels, where no name is given.
    pub labels: LabelSelector,
}

impl Selectors {
    /// Reads selectors that stand at `path`, telling what can't be meant.
    pub fn read(
        list: &[ResourceSelector],
        scope: Scope<'_>,
        kinds: &KindTable,
        path: &str,
        problems: &mut Problems,
    ) -> Self {
        let mut selectors: Vec<Selector> = Vec::new();
        for (index, written) in list.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if let Some(selector) = read(written, scope, kinds, path, problems) {
                let same = |other: &&Selector| {
                    let parts =
                        |s: &Selector| (s.group.clone(), s.kind.clone(), s.namespace.clone(), s.name.clone());
                    parts(other) == parts(&selector) && other.labels == selector.labels
                };
                if let Some(first) = selectors.iter().find(same) {
                    let message = format!("{} says the same; one of them is enough", first.path);
                    problems.warning(&selector.path, "SelectorTwice", message);
                } else {
                    selectors.push(selector);
                }
            }
        }
        Self { selectors, everything: None }
    }

    /// Everything that a policy can reach: what an override policy without selectors is about.
    #[must_use]
    pub fn everything(scope: Scope<'_>) -> Self {
        let namespace = match scope {
            Scope::Namespace(namespace) => Some(namespace.to_owned()),
            Scope::Cluster => None,
        };
        Self { selectors: Vec::new(), everything: Some(namespace) }
    }

    /// The selectors.
    #[must_use]
    pub fn as_slice(&self) -> &[Selector] {
        &self.selectors
    }

    /// How precisely any of them is about an object; `None` where none is.
    #[must_use]
    pub fn precision(&self, object: &ObjectFacts) -> Option<Precision> {
        if let Some(namespace) = &self.everything {
            let reached = namespace.as_ref().is_none_or(|namespace| *namespace == object.id.namespace);
            return (reached && fit(object, None)).then_some(Precision::Kind);
        }
        self.selectors.iter().filter_map(|selector| selector.precision(object)).max()
    }
}

impl Selector {
    /// How precisely it is about an object; `None` where it isn't.
    #[must_use]
    pub fn precision(&self, object: &ObjectFacts) -> Option<Precision> {
        let ObjectReference { kind, namespace, name, .. } = &*object.id;
        let reached = self.kind == *kind
            && self.group == object.id.group()
            && self.namespace.as_ref().is_none_or(|own| own == namespace);
        if !reached || !fit(object, Some(self)) {
            return None;
        }
        match &self.name {
            Some(own) => (own == name).then_some(Precision::Name),
            None if self.labels.is_everything() => Some(Precision::Kind),
            None => self.labels.matches(&object.labels).then_some(Precision::Labels),
        }
    }

    /// It in words: `Deployment demo/nginx`.
    #[must_use]
    pub fn describe(&self) -> String {
        let name = match &self.name {
            Some(name) => name.clone(),
            None if self.labels.is_everything() => "*".to_owned(),
            None => {
                let inside = self.namespace.as_ref().map(|own| format!(" in {own}")).unwrap_or_default();
                return format!("{} with {}{inside}", self.kind, self.labels);
            }
        };
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{name}", self.kind),
            None => format!("{} {name}", self.kind),
        }
    }
}

/// Whether an object is for distribution. The control plane's own namespace never is: it holds members' credentials.
/// What clusters and controllers make for themselves is only taken by name.
fn fit(object: &ObjectFacts, selector: Option<&Selector>) -> bool {
    let id = &object.id;
    let own = id.namespace == names::SYSTEM_NAMESPACE
        || (id.kind == "Namespace" && id.group().is_empty() && id.name == names::SYSTEM_NAMESPACE);
    let namespace_named = selector.is_some_and(|selector| selector.namespace.is_some());
    let named = selector.is_some_and(|selector| selector.name.is_some());
    let clusters_namespace = CLUSTERS_OWN.contains(&id.namespace.as_str());
    let clusters_object = is_clusters_own(object);
    !own && (!clusters_namespace || namespace_named) && ((!clusters_object && !object.made) || named)
}

/// Whether every cluster has one of its own that it can't do without, or the hub has it for itself.
/// Sources: the API server's bootstrap of RBAC (label `kubernetes.io/bootstrapping`), priority classes, flow control, the Service
/// `kubernetes` and aggregation; [`names`] for ours.
#[must_use]
pub fn is_clusters_own(object: &ObjectFacts) -> bool {
    let ObjectReference { kind, namespace, name, .. } = &*object.id;
    let of = |label: &str, value: &str| object.labels.get(label).is_some_and(|own| own == value);
    let ours = of("app.kubernetes.io/name", "fleetctl")
        || ["fleetctl.dev", "core.oam.dev", CLUSTERS_GROUP]
            .iter()
            .chain(&GROUPS)
            .any(|group| name.strip_suffix(group).is_some_and(|rest| rest.ends_with('.')));
    let bootstrap = match (object.id.group(), kind.as_str()) {
        ("", "ConfigMap") => name == "kube-root-ca.crt",
        ("", "ServiceAccount") => name == "default",
        ("", "Namespace") => name == "default" || CLUSTERS_OWN.contains(&name.as_str()),
        ("", "Service" | "Endpoints") | ("discovery.k8s.io", "EndpointSlice") => {
            namespace == "default" && name == "kubernetes"
        }
        ("rbac.authorization.k8s.io", _) => {
            of("kubernetes.io/bootstrapping", "rbac-defaults")
                || name.starts_with("system:")
                || name == "cluster-admin"
        }
        ("scheduling.k8s.io", "PriorityClass") => name.starts_with("system-"),
        ("flowcontrol.apiserver.k8s.io", _) | ("apiregistration.k8s.io", "APIService") => true,
        _ => false,
    };
    let cluster_scoped = namespace.is_empty();
    bootstrap || (ours && cluster_scoped)
}

/// The group of the members' own kinds.
const CLUSTERS_GROUP: &str = "cluster.open-cluster-management.io";

/// Kinds by which a cluster tells of itself: group and kind.
const TELL_OF_THEMSELVES: [(&str, &str); 6] = [
    ("", "Event"),
    ("events.k8s.io", "Event"),
    ("", "Node"),
    ("coordination.k8s.io", "Lease"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("storage.k8s.io", "CSINode"),
];

fn read(
    written: &ResourceSelector,
    scope: Scope<'_>,
    kinds: &KindTable,
    path: String,
    problems: &mut Problems,
) -> Option<Selector> {
    let ResourceSelector { api_version, kind, namespace, name, label_selector } = written;
    for (field, value) in [("apiVersion", api_version), ("kind", kind)] {
        if value.is_empty() {
            problems.error(
                format!("{path}.{field}"),
                "SelectorInvalid",
                "it is missing; each selector is of one kind",
            );
            return None;
        }
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if TELL_OF_THEMSELVES.contains(&(group, kind)) {
        let message = format!("{kind} is what a cluster writes about itself; take the selector out");
        problems.error(format!("{path}.kind"), "HubsOwnKind", message);
        return None;
    }
    if GROUPS.contains(&group) || ["core.oam.dev", "fleetctl.dev", CLUSTERS_GROUP].contains(&group) {
        let message =
            format!("{kind} is for the hub itself and does nothing on a member; take the selector out");
        problems.error(format!("{path}.kind"), "HubsOwnKind", message);
        return None;
    }
    if let Some(problem) = kinds.problem(group, version, kind) {
        problems.warning(format!("{path}.kind"), "UnknownKind", problem);
    }
    if namespace == names::SYSTEM_NAMESPACE {
        let message =
            format!("{namespace} holds the members' credentials and goes nowhere; take the selector out");
        problems.error(format!("{path}.namespace"), "ReservedNamespace", message);
        return None;
    }
    let only = match scope {
        Scope::Cluster => (!namespace.is_empty()).then(|| namespace.clone()),
        Scope::Namespace(own) => {
            if !namespace.is_empty() && namespace != own {
                let message = format!(
                    "the policy is in {own} and reaches nothing in {namespace}; make one there, or a cluster-scoped one"
                );
                problems.error(format!("{path}.namespace"), "OtherNamespace", message);
                return None;
            }
            if kinds.namespaced(group, kind) == Some(false) {
                let message =
                    format!("{kind} has no namespace, and the policy has; a cluster-scoped policy takes it");
                problems.error(format!("{path}.kind"), "OtherNamespace", message);
                return None;
            }
            Some(own.to_owned())
        }
    };
    let labels = match label_selector.as_ref().map(LabelSelector::from_json) {
        None => LabelSelector::everything(),
        Some(Ok(_)) if !name.is_empty() => {
            let message = format!("{name} is taken by its name, whatever its labels; take one of them out");
            problems.warning(format!("{path}.labelSelector"), "LabelSelectorIgnored", message);
            LabelSelector::everything()
        }
        Some(Ok(labels)) => labels,
        Some(Err(error)) => {
            problems.error(format!("{path}.labelSelector"), "LabelSelectorInvalid", error.to_string());
            return None;
        }
    };
    Some(Selector {
        path,
        group: group.to_owned(),
        kind: kind.clone(),
        namespace: only,
        name: (!name.is_empty()).then(|| name.clone()),
        labels,
    })
}
