//! References inside a pod's spec.

use serde_json::{Map, Value};

/// The pods that an object makes, or is.
pub(super) struct Pods<'o> {
    /// The path of what holds their metadata and spec: `spec.template`; empty for a Pod.
    template: &'static str,
    /// Their labels.
    pub(super) labels: Option<&'o Map<String, Value>>,
    spec: &'o Value,
    /// A StatefulSet's claims by the names of their volumes, which its controller makes.
    own_claims: Vec<&'o str>,
}

/// Something that a pod's spec names.
pub(super) struct Reference<'o> {
    /// apiVersion and kind.
    pub(super) kind: (&'static str, &'static str),
    pub(super) name: &'o str,
    pub(super) place: String,
    pub(super) optional: bool,
}

const CONFIG_MAP: (&str, &str) = ("v1", "ConfigMap");
const SECRET: (&str, &str) = ("v1", "Secret");

impl Pods<'_> {
    /// Where their labels stand.
    pub(super) fn labels_path(&self) -> String {
        if self.template.is_empty() {
            "metadata.labels".to_owned()
        } else {
            format!("{}.metadata.labels", self.template)
        }
    }
}

/// Finds the pods of an object: a Pod, or anything with a pod template where the built-in workloads have theirs; custom
/// workloads do as those do.
pub(super) fn find(object: &Value) -> Option<Pods<'_>> {
    let is_pod = object.get("kind").and_then(Value::as_str) == Some("Pod");
    let places = [
        ("spec.jobTemplate.spec.template", "/spec/jobTemplate/spec/template"),
        ("spec.template", "/spec/template"),
        ("template", "/template"),
    ];
    let (template, holder) = if is_pod {
        ("", object)
    } else {
        let has = |holder: &&Value| holder.pointer("/spec/containers").is_some_and(Value::is_array);
        places.iter().find_map(|(path, at)| Some((*path, object.pointer(at).filter(has)?)))?
    };
    let claims = object.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    Some(Pods {
        template,
        labels: holder.pointer("/metadata/labels").and_then(Value::as_object),
        spec: holder.get("spec").filter(|spec| spec.is_object())?,
        own_claims: claims
            .into_iter()
            .flatten()
            .filter_map(|claim| claim.pointer("/metadata/name").and_then(Value::as_str))
            .collect(),
    })
}

/// Everything that the spec names, in its order.
pub(super) fn references<'o>(pods: &Pods<'o>) -> Vec<Reference<'o>> {
    let mut walk = Walk { base: spec_path(pods.template), found: Vec::new() };
    let spec = pods.spec;
    for (at, volume) in list(spec, "volumes") {
        let name = volume.get("name").and_then(Value::as_str).unwrap_or_default();
        if !pods.own_claims.contains(&name) {
            walk.volume(&format!("volumes[{at}]"), volume);
        }
    }
    for group in ["initContainers", "containers", "ephemeralContainers"] {
        for (at, container) in list(spec, group) {
            walk.container(&format!("{group}[{at}]"), container);
        }
    }
    for (at, secret) in list(spec, "imagePullSecrets") {
        walk.named(SECRET, &format!("imagePullSecrets[{at}]"), Some(secret), "name");
    }
    // `serviceAccount` is the older name of the same field.
    let field =
        if spec.get("serviceAccountName").is_some() { "serviceAccountName" } else { "serviceAccount" };
    walk.named(("v1", "ServiceAccount"), "", Some(spec), field);
    for (at, claim) in list(spec, "resourceClaims") {
        let place = format!("resourceClaims[{at}]");
        let version = "resource.k8s.io/v1";
        walk.named((version, "ResourceClaim"), &place, Some(claim), "resourceClaimName");
        walk.named((version, "ResourceClaimTemplate"), &place, Some(claim), "resourceClaimTemplateName");
    }
    walk.found
}

fn spec_path(template: &str) -> String {
    if template.is_empty() { "spec".to_owned() } else { format!("{template}.spec") }
}

fn list<'o>(holder: &'o Value, field: &str) -> impl Iterator<Item = (usize, &'o Value)> {
    holder.get(field).and_then(Value::as_array).into_iter().flatten().enumerate()
}

struct Walk<'o> {
    base: String,
    found: Vec<Reference<'o>>,
}

impl<'o> Walk<'o> {
    /// Notes the name that `field` of `holder` has. `optional` stands beside the name, where the API has it.
    fn named(
        &mut self,
        kind: (&'static str, &'static str),
        place: &str,
        holder: Option<&'o Value>,
        field: &str,
    ) {
        let Some(holder) = holder else { return };
        let Some(name) = holder.get(field).and_then(Value::as_str) else { return };
        let optional = holder.get("optional").and_then(Value::as_bool).unwrap_or(false);
        let parts = [self.base.as_str(), place, if place.is_empty() { field } else { "" }];
        let place = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
        self.found.push(Reference { kind, name, place, optional });
    }

    fn volume(&mut self, place: &str, volume: &'o Value) {
        let at = |below: &str| format!("{place}.{below}");
        self.named(CONFIG_MAP, &at("configMap"), volume.get("configMap"), "name");
        self.named(SECRET, &at("secret"), volume.get("secret"), "secretName");
        let claim = volume.get("persistentVolumeClaim");
        self.named(("v1", "PersistentVolumeClaim"), &at("persistentVolumeClaim"), claim, "claimName");
        for (source_at, source) in
            volume.get("projected").into_iter().flat_map(|projected| list(projected, "sources"))
        {
            let at = |below: &str| format!("{place}.projected.sources[{source_at}].{below}");
            self.named(CONFIG_MAP, &at("configMap"), source.get("configMap"), "name");
            self.named(SECRET, &at("secret"), source.get("secret"), "name");
        }
        self.named(SECRET, &at("azureFile"), volume.get("azureFile"), "secretName");
        let csi = volume.pointer("/csi/nodePublishSecretRef");
        self.named(SECRET, &at("csi.nodePublishSecretRef"), csi, "name");
        for kind in ["cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"] {
            let secret = volume.get(kind).and_then(|source| source.get("secretRef"));
            self.named(SECRET, &at(&format!("{kind}.secretRef")), secret, "name");
        }
    }

    fn container(&mut self, place: &str, container: &'o Value) {
        for (at, source) in list(container, "envFrom") {
            for (field, kind) in [("configMapRef", CONFIG_MAP), ("secretRef", SECRET)] {
                self.named(kind, &format!("{place}.envFrom[{at}].{field}"), source.get(field), "name");
            }
        }
        for (at, variable) in list(container, "env") {
            let from = variable.get("valueFrom");
            for (field, kind) in [("configMapKeyRef", CONFIG_MAP), ("secretKeyRef", SECRET)] {
                let place = format!("{place}.env[{at}].valueFrom.{field}");
                self.named(kind, &place, from.and_then(|from| from.get(field)), "name");
            }
        }
    }
}
