//! The class of an Ingress that names none.

use std::sync::Arc;

use fleet_store::{Page, Range};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::object::ObjectExt;
use crate::server::Inner;

/// Marks the class that is taken by default.
pub(crate) const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

pub(crate) fn default_class(server: &Inner, cluster: &Arc<Cluster>, ingress: &mut Value) {
    let named = ingress.pointer("/spec/ingressClassName").is_some_and(|class| !class.is_null())
        || ingress.meta("annotations").is_some_and(|all| all.get("kubernetes.io/ingress.class").is_some());
    if named {
        return;
    }
    let range = Range::cluster(cluster.name.clone(), "ingressclasses.networking.k8s.io");
    let Ok(listing) = server.store.list(&range, Page::default()) else { return };
    let classes =
        listing.entries.iter().filter_map(|entry| serde_json::from_slice::<Value>(&entry.value).ok());
    let is_default = |class: &Value| {
        class.meta("annotations").and_then(|all| all.get(DEFAULT_CLASS)).and_then(Value::as_str)
            == Some("true")
    };
    // The newest of several, as Kubernetes has it; of equally new ones the first by name.
    let chosen = classes.filter(is_default).reduce(|best, class| {
        if class.meta_str("creationTimestamp") > best.meta_str("creationTimestamp") { class } else { best }
    });
    if let (Some(class), Some(spec)) = (chosen, ingress.get_mut("spec").and_then(Value::as_object_mut)) {
        spec.insert("ingressClassName".into(), json!(class.name()));
    }
}
