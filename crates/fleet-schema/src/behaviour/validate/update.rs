//! What an update must not change.

use fleet_json::quantity::Quantity;
use serde_json::{Value, json};

use super::findings::Findings;
use crate::behaviour::tree::{at, items, map, map_mut, some, text};

const IMMUTABLE: &str = "field is immutable";
const STATEFUL_SET: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
const POD: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const CLAIM: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

/// Compares old and new by the rules of the kind.
pub(super) fn check(group: &str, kind: &str, old: &Value, new: &Value, found: &mut Findings) {
    let mut pair = Pair { old, new, found };
    match (group, kind) {
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => pair.immutable("spec.selector"),
        ("apps", "StatefulSet") => pair.stateful_set(),
        ("apps", "ControllerRevision") => pair.immutable("data"),
        ("batch", "Job") => pair.job(),
        ("", "Pod") => pair.pod(),
        ("", "Service") => pair.service(),
        ("", "ConfigMap") => pair.sealed(&["data", "binaryData"]),
        ("", "Secret") => {
            pair.immutable("type");
            pair.sealed(&["data"]);
        }
        ("", "PersistentVolumeClaim") => pair.claim(),
        ("", "PersistentVolume") => pair.volume(),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") if pair.changed("roleRef") => {
            let role = new.get("roleRef").cloned().unwrap_or_default();
            pair.found.invalid("roleRef", role, "cannot change roleRef");
        }
        ("storage.k8s.io", "StorageClass") => {
            for field in ["parameters", "provisioner", "reclaimPolicy"] {
                if pair.changed(field) {
                    pair.found.forbidden(field, &format!("updates to {field} are forbidden."));
                }
            }
            pair.immutable("volumeBindingMode");
        }
        ("storage.k8s.io", "CSIDriver") => pair.immutable("spec.attachRequired"),
        ("storage.k8s.io", "VolumeAttachment") => pair.immutable("spec"),
        ("node.k8s.io", "RuntimeClass") => pair.immutable("handler"),
        ("networking.k8s.io", "IngressClass") => pair.immutable("spec.controller"),
        ("discovery.k8s.io", "EndpointSlice") => pair.immutable("addressType"),
        ("scheduling.k8s.io", "PriorityClass") => {
            if pair.changed("value") {
                pair.found.forbidden("value", "may not be changed in an update.");
            }
            pair.immutable("preemptionPolicy");
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            for field in ["spec.group", "spec.scope", "spec.names.kind", "spec.names.plural"] {
                pair.immutable(field);
            }
        }
        _ => {}
    }
}

struct Pair<'a> {
    old: &'a Value,
    new: &'a Value,
    found: &'a mut Findings,
}

impl Pair<'_> {
    fn both(&self, path: &str) -> (Option<&Value>, Option<&Value>) {
        let keys: Vec<&str> = path.split('.').collect();
        (some(self.old, &keys), some(self.new, &keys))
    }

    fn changed(&self, path: &str) -> bool {
        let (old, new) = self.both(path);
        old != new
    }

    fn immutable(&mut self, path: &str) {
        let (old, new) = self.both(path);
        if old != new {
            let value = new.cloned().unwrap_or_default();
            self.found.invalid(path, value, IMMUTABLE);
        }
    }

    fn stateful_set(&mut self) {
        let free = [
            "replicas",
            "ordinals",
            "template",
            "updateStrategy",
            "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds",
        ];
        let rest = |object: &Value| {
            let mut spec = map(object, &["spec"]).cloned().unwrap_or_default();
            spec.retain(|key, _| !free.contains(&key.as_str()));
            // The status of claim templates is filled by defaults, not by people.
            spec
        };
        if rest(self.old) != rest(self.new) {
            self.found.forbidden("spec", STATEFUL_SET);
        }
    }

    fn job(&mut self) {
        let (_, mode) = self.both("spec.completionMode");
        let indexed = mode == Some(&json!("Indexed"));
        // An elastic indexed Job may change both numbers together.
        let elastic =
            indexed && at(self.new, &["spec", "completions"]) == at(self.new, &["spec", "parallelism"]);
        if !elastic {
            self.immutable("spec.completions");
        }
        self.immutable("spec.selector");
        // While suspended and never started, scheduling directives may change.
        let movable = at(self.old, &["spec", "suspend"]) == Some(&Value::Bool(true))
            && some(self.old, &["status", "startTime"]).is_none();
        let template = |object: &Value| {
            let mut template = at(object, &["spec", "template"]).cloned().unwrap_or_default();
            if movable {
                for (path, keys) in [
                    (
                        &["spec"] as &[&str],
                        &["nodeSelector", "affinity", "tolerations", "schedulingGates"] as &[&str],
                    ),
                    (&["metadata"], &["labels", "annotations"]),
                ] {
                    if let Some(map) = map_mut(&mut template, path) {
                        keys.iter().for_each(|key| {
                            map.remove(*key);
                        });
                    }
                }
            }
            template
        };
        if template(self.old) != template(self.new) {
            let value = at(self.new, &["spec", "template"]).cloned().unwrap_or_default();
            self.found.invalid("spec.template", value, IMMUTABLE);
        }
        self.immutable("spec.completionMode");
        self.immutable("spec.podFailurePolicy");
        self.immutable("spec.backoffLimitPerIndex");
        self.immutable("spec.managedBy");
        self.immutable("spec.successPolicy");
    }

    fn pod(&mut self) {
        let old_tolerations = items(self.old, &["spec", "tolerations"]);
        let new_tolerations = items(self.new, &["spec", "tolerations"]);
        let added_only = old_tolerations
            .iter()
            .all(|toleration| new_tolerations.iter().any(|candidate| same_toleration(toleration, candidate)));
        if !added_only {
            self.found.forbidden(
                "spec.tolerations",
                "existing toleration can not be modified except its tolerationSeconds",
            );
        }
        let rest = |object: &Value| {
            let mut object = object.clone();
            if let Some(spec) = map_mut(&mut object, &["spec"]) {
                for key in ["activeDeadlineSeconds", "tolerations", "ephemeralContainers", "schedulingGates"]
                {
                    spec.remove(key);
                }
                for list in ["containers", "initContainers"] {
                    crate::behaviour::tree::each(spec, list, |container| {
                        container.remove("image");
                    });
                }
            }
            object.get("spec").cloned()
        };
        let (mut old, new) = (rest(self.old), rest(self.new));
        // The binding sets the node of a Pod that has none.
        if let (Some(old), Some(new)) = (&mut old, &new)
            && let Some(old) = old.as_object_mut()
            && !old.contains_key("nodeName")
            && let Some(node) = new.get("nodeName")
        {
            old.insert("nodeName".into(), node.clone());
        }
        if old != new {
            self.found.forbidden("spec", POD);
        }
    }

    fn service(&mut self) {
        let external = |service: &Value| text(service, &["spec", "type"]) == "ExternalName";
        if external(self.old) || external(self.new) {
            return;
        }
        let (old, new) = self.both("spec.clusterIP");
        if old.is_some_and(|address| address != "") && old != new {
            let value = some(self.new, &["spec", "clusterIPs"]).or(new).cloned().unwrap_or_default();
            self.found.invalid("spec.clusterIPs[0]", value, "may not change once set");
        }
    }

    /// `immutable: true` seals the data and itself.
    fn sealed(&mut self, fields: &[&str]) {
        const SEALED: &str = "field is immutable when `immutable` is set";
        if at(self.old, &["immutable"]) != Some(&Value::Bool(true)) {
            return;
        }
        if at(self.new, &["immutable"]) != Some(&Value::Bool(true)) {
            self.found.forbidden("immutable", SEALED);
        }
        for field in fields {
            if self.changed(field) {
                self.found.forbidden(*field, SEALED);
            }
        }
    }

    fn claim(&mut self) {
        let bound = text(self.old, &["status", "phase"]) == "Bound";
        let rest = |object: &Value| {
            let mut object = object.clone();
            if let Some(spec) = map_mut(&mut object, &["spec"])
                && bound
            {
                spec.remove("volumeAttributesClassName");
                if let Some(resources) = crate::behaviour::tree::child(spec, "resources") {
                    resources.remove("requests");
                }
            }
            object.get("spec").cloned()
        };
        let (mut old, new) = (rest(self.old), rest(self.new));
        // Binding fills the volume in once; the class may be set where none was.
        if let (Some(Value::Object(old)), Some(new)) = (&mut old, &new) {
            for key in ["volumeName", "storageClassName"] {
                if !old.contains_key(key)
                    && let Some(value) = new.get(key)
                {
                    old.insert(key.to_owned(), value.clone());
                }
            }
        }
        if old != new {
            self.found.forbidden("spec", CLAIM);
        }
        let storage = |object| {
            some(object, &["spec", "resources", "requests", "storage"])
                .and_then(|amount| Quantity::from_value(amount).ok())
        };
        if let (Some(old), Some(new)) = (storage(self.old), storage(self.new))
            && new < old
        {
            self.found
                .forbidden("spec.resources.requests.storage", "field can not be less than status.capacity");
        }
    }

    fn volume(&mut self) {
        const FREE: [&str; 9] = [
            "capacity",
            "accessModes",
            "claimRef",
            "persistentVolumeReclaimPolicy",
            "storageClassName",
            "mountOptions",
            "volumeMode",
            "nodeAffinity",
            "volumeAttributesClassName",
        ];
        let source = |object: &Value| {
            let mut spec = map(object, &["spec"]).cloned().unwrap_or_default();
            spec.retain(|key, _| !FREE.contains(&key.as_str()));
            spec
        };
        if source(self.old) != source(self.new) {
            self.found.forbidden(
                "spec.persistentvolumesource",
                "spec.persistentvolumesource is immutable after creation",
            );
        }
        self.immutable("spec.volumeMode");
    }
}

fn same_toleration(old: &Value, new: &Value) -> bool {
    ["key", "operator", "value", "effect"].iter().all(|key| text(old, &[key]) == text(new, &[key]))
}
