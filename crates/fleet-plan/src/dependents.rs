//! What a workload needs beside it, found from its spec.
//!
//! ```text
//!  Deployment, CronJob, Pod, … ─► pod spec ─► ConfigMaps, Secrets, claims, ServiceAccount ─► its pull Secrets
//!                              ─► pod labels ─► Services that select them ─► Ingresses that point there ─► TLS Secrets
//!  StatefulSet ─► its serviceName
//! ```
//!
//! Objects are named in the workload's own namespace. What every namespace has anyway (the ServiceAccount `default`, the
//! ConfigMap `kube-root-ca.crt`) and what the workload's controller makes (a StatefulSet's claims) isn't told.

mod pod;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use fleet_api::ObjectId;
use serde_json::Value;

/// Objects next to the workload, as far as they are known.
pub trait Index {
    /// An object by its identity.
    fn get(&self, id: &ObjectId) -> Option<Cow<'_, Value>>;

    /// The objects of a kind in a namespace, in any order.
    fn list(&self, api_version: &str, kind: &str, namespace: &str) -> Vec<Cow<'_, Value>>;
}

/// Something that a workload needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// Which object.
    pub id: ObjectId,
    /// The object that names it: the workload, or another dependent.
    pub named_by: ObjectId,
    /// Where it is named: `spec.template.spec.volumes[0].configMap`.
    pub place: String,
    /// The workload runs without it: every reference says so.
    pub optional: bool,
    /// The index has it.
    pub found: bool,
}

/// What `object` needs, each once, sorted by identity. The order in which the index lists decides nothing.
///
/// The object itself is never among them; kinds that have neither pods nor references need nothing.
#[must_use]
pub fn dependents(object: &Value, index: &impl Index) -> Vec<Dependent> {
    let Some(root) = ObjectId::of(object) else { return Vec::new() };
    let mut search = Search { root: root.clone(), index, found: BTreeMap::new() };
    search.visit(&root, object);
    search.found.into_values().collect()
}

/// Whether an object may need others at all: workloads do, and what names others for them.
#[must_use]
pub fn may_need(object: &Value) -> bool {
    let kind = object.get("kind").and_then(Value::as_str);
    matches!(kind, Some("ServiceAccount" | "Ingress")) || pod::find(object).is_some()
}

struct Search<'i, I> {
    root: ObjectId,
    index: &'i I,
    found: BTreeMap<ObjectId, Dependent>,
}

impl<'i, I: Index> Search<'i, I> {
    fn visit(&mut self, id: &ObjectId, object: &Value) {
        match (id.group(), id.kind.as_str()) {
            ("", "ServiceAccount") => self.account(id, object),
            ("networking.k8s.io", "Ingress") => self.ingress(id, object),
            _ => {
                if let Some(pods) = pod::find(object) {
                    for reference in pod::references(&pods) {
                        let (version, kind) = reference.kind;
                        self.add(id, version, kind, reference.name, reference.place, reference.optional);
                    }
                    self.services(id, object, &pods);
                }
            }
        }
    }

    /// Enters something by the name under which `by` knows it. What was found optional and is needed elsewhere is needed.
    fn add(&mut self, by: &ObjectId, version: &str, kind: &str, name: &str, place: String, optional: bool) {
        let id = ObjectId::new(version, kind, &by.namespace, name);
        let everywhere =
            matches!((kind, name), ("ServiceAccount", "default") | ("ConfigMap", "kube-root-ca.crt"));
        if name.is_empty() || id == self.root || everywhere {
            return;
        }
        let object = self.index.get(&id);
        let dependent =
            Dependent { id: id.clone(), named_by: by.clone(), place, optional, found: object.is_some() };
        match self.found.entry(id.clone()) {
            Entry::Occupied(mut known) => {
                if known.get().optional && !optional {
                    known.insert(dependent);
                }
                return;
            }
            Entry::Vacant(place) => place.insert(dependent),
        };
        // Workloads aren't dependents, so this ends.
        if let Some(object) = object {
            self.visit(&id, &object);
        }
    }

    /// Pods may pull images with what their account names. Its tokens are each cluster's own.
    fn account(&mut self, id: &ObjectId, object: &Value) {
        let items = object.get("imagePullSecrets").and_then(Value::as_array);
        for (at, item) in items.into_iter().flatten().enumerate() {
            let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
            self.add(id, "v1", "Secret", name, format!("imagePullSecrets[{at}]"), false);
        }
    }

    /// The Services that an Ingress points to, and its certificates: something on the member may make those. A workload
    /// runs without the other Services of its Ingress.
    fn ingress(&mut self, id: &ObjectId, object: &Value) {
        for (place, name) in backends(object) {
            self.add(id, "v1", "Service", name, place, *id != self.root);
        }
        let tls = object.pointer("/spec/tls").and_then(Value::as_array);
        for (at, item) in tls.into_iter().flatten().enumerate() {
            let name = item.get("secretName").and_then(Value::as_str).unwrap_or_default();
            self.add(id, "v1", "Secret", name, format!("spec.tls[{at}].secretName"), true);
        }
    }

    /// The Services that select the workload's pods or that it names, and the Ingresses that point there.
    fn services(&mut self, id: &ObjectId, object: &Value, pods: &pod::Pods<'_>) {
        let index = self.index;
        let mut names: Vec<&str> = Vec::new();
        if (id.group(), id.kind.as_str()) == ("apps", "StatefulSet")
            && let Some(name) = object.pointer("/spec/serviceName").and_then(Value::as_str)
        {
            self.add(id, "v1", "Service", name, "spec.serviceName".to_owned(), false);
            names.push(name);
        }
        let services = sorted(index.list("v1", "Service", &id.namespace));
        for service in &services {
            if selects(service, pods) {
                let name = name_of(service);
                self.add(id, "v1", "Service", name, pods.labels_path(), false);
                names.push(name);
            }
        }
        for ingress in &sorted(index.list("networking.k8s.io/v1", "Ingress", &id.namespace)) {
            if let Some((_, service)) = backends(ingress).into_iter().find(|(_, name)| names.contains(name)) {
                let by = ObjectId::new("v1", "Service", &id.namespace, service);
                let place = "metadata.name".to_owned();
                self.add(&by, "networking.k8s.io/v1", "Ingress", name_of(ingress), place, false);
            }
        }
    }
}

fn name_of(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn sorted(mut objects: Vec<Cow<'_, Value>>) -> Vec<Cow<'_, Value>> {
    objects.sort_by(|a, b| name_of(a).cmp(name_of(b)));
    objects
}

/// The Services that an Ingress sends requests to, with the places that name them.
fn backends(ingress: &Value) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    if let Some(name) = ingress.pointer("/spec/defaultBackend/service/name").and_then(Value::as_str) {
        found.push(("spec.defaultBackend.service".to_owned(), name));
    }
    let rules = ingress.pointer("/spec/rules").and_then(Value::as_array);
    for (rule_at, rule) in rules.into_iter().flatten().enumerate() {
        let paths = rule.pointer("/http/paths").and_then(Value::as_array);
        for (at, path) in paths.into_iter().flatten().enumerate() {
            if let Some(name) = path.pointer("/backend/service/name").and_then(Value::as_str) {
                found.push((format!("spec.rules[{rule_at}].http.paths[{at}].backend.service"), name));
            }
        }
    }
    found
}

/// Whether a Service selects the pods. One without a selector selects none.
fn selects(service: &Value, pods: &pod::Pods<'_>) -> bool {
    let Some(selector) = service.pointer("/spec/selector").and_then(Value::as_object) else { return false };
    !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| value.is_string() && pods.labels.and_then(|l| l.get(key)) == Some(value))
}
