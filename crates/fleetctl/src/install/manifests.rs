//! Everything that is installed, as objects. The chart renders the same; `tests/real` compares the two.

pub(super) mod rights;
mod workload;

use serde_json::{Map, Value, json};

use super::values::{ManagedClusters, Values};

/// Under which name objects are applied, and the value of their label `app.kubernetes.io/managed-by`.
pub(super) const MANAGER: &str = "fleetctl-install";
/// Labels by which installed objects are found again.
pub(super) const SELECTOR: &str =
    "app.kubernetes.io/name=fleetctl,app.kubernetes.io/managed-by=fleetctl-install";
/// The label that says what an object is part of.
pub(super) const NAME_LABEL: &str = "app.kubernetes.io/name";
/// The label that says who installed an object.
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Where the controllers are, on the ClusterRole that there is one of.
pub(super) const NAMESPACE_NOTE: &str = "fleetctl.dev/installed-in";
/// The name of the Deployment, of the rights and of whatever else belongs to the controller.
pub(super) const CONTROLLER: &str = "fleetctl-controller";
/// The definition that Open Cluster Management brings too.
pub(super) const MANAGED_CLUSTERS: &str = "managedclusters.cluster.open-cluster-management.io";
/// The kinds of what is installed besides definitions, in the order in which they are taken away: what runs first,
/// its rights last.
pub(super) const KINDS: [(&str, &str); 14] = [
    // Without a controller that answers, it would refuse what people still do.
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("apps/v1", "Deployment"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("v1", "ServiceAccount"),
];

/// A file of the chart.
macro_rules! file {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/fleetctl/", $name))
    };
}
use file;

/// What there is to apply.
pub(super) struct Manifests {
    /// The definitions of our kinds.
    pub(super) definitions: Vec<Value>,
    /// Everything else, in order.
    pub(super) objects: Vec<Value>,
}

/// Makes the objects. `others_clusters`: the hub has a definition of ManagedCluster that isn't ours.
pub(super) fn make(values: &Values, namespace: &str, others_clusters: bool) -> Result<Manifests, String> {
    let with_clusters = match values.crds.managed_clusters {
        ManagedClusters::Always => true,
        ManagedClusters::Never => false,
        ManagedClusters::Auto => !others_clusters,
    };
    let mut definitions = if values.crds.install {
        fleet_api::crds::packaged().map_err(|error| error.to_string())?
    } else {
        Vec::new()
    };
    definitions.retain(|definition| with_clusters || name(definition) != MANAGED_CLUSTERS);
    let house = House { values, namespace };
    let mut objects = vec![json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": namespace,
            // What runs there keeps to the strictest of the Pod Security Standards.
            "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
        },
    })];
    house.rights(&mut objects)?;
    house.workload(&mut objects)?;
    if values.dashboard.enabled {
        objects.push(house.dashboard());
    }
    Ok(Manifests { definitions, objects })
}

/// The name of an object.
pub(super) fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// The documents of a file of the chart.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    crate::yaml::read_all(text)
}

/// The roles for people.
///
/// # Errors
/// In words; the file is part of the program.
pub(crate) fn roles_for_people() -> Result<Vec<Value>, String> {
    documents(file!("files/people.yaml"))
}

/// Values and place of one installation.
struct House<'a> {
    values: &'a Values,
    namespace: &'a str,
}

impl House<'_> {
    fn labels(&self) -> Map<String, Value> {
        let labels = [
            (NAME_LABEL, "fleetctl"),
            ("app.kubernetes.io/instance", "fleetctl"),
            ("app.kubernetes.io/version", env!("CARGO_PKG_VERSION")),
            (MANAGED_BY, MANAGER),
        ];
        labels.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
    }

    /// The labels, and more.
    fn labels_and(&self, more: impl IntoIterator<Item = (String, Value)>) -> Value {
        let mut labels = self.labels();
        labels.extend(more);
        Value::Object(labels)
    }

    /// An object with name and labels; `rest` holds what is beside its metadata.
    fn object(&self, api_version: &str, kind: &str, name: &str, rest: Value) -> Value {
        let mut object = json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": { "name": name, "labels": self.labels() },
        });
        if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
            object.extend(rest);
        }
        object
    }

    /// The same in a namespace.
    fn within(&self, namespace: &str, mut object: Value) -> Value {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        object
    }

    /// The same with annotations.
    fn annotated<V: Into<Value> + Clone>(&self, mut object: Value, notes: &[(&str, V)]) -> Value {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
            && !notes.is_empty()
        {
            let notes = notes.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into()));
            metadata.insert("annotations".to_owned(), Value::Object(notes.collect()));
        }
        object
    }

    /// Where members' credentials are looked for: here, and where the values say.
    fn credentials_namespaces(&self) -> Vec<&str> {
        let mut namespaces = vec![self.namespace];
        for namespace in &self.values.members.credentials_namespaces {
            if !namespaces.contains(&namespace.as_str()) {
                namespaces.push(namespace);
            }
        }
        namespaces
    }
}
