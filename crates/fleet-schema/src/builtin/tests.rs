use fleet_json::shape::{ListType, PatchStrategy, Shape};
use serde_json::json;

use super::*;
use crate::schema::{Schema, SchemaRef};

fn shape<'t>(group: &str, kind: &str, path: &[&str]) -> SchemaRef<'t> {
    let info = builtin().by_kind(&GroupVersionKind::new(group, "v1", kind)).unwrap();
    path.iter().fold(info.schema().unwrap(), |at, step| {
        let next = if *step == "*" { at.items() } else { at.field(step) };
        next.unwrap_or_else(|| panic!("{kind}: nothing at {step} of {path:?}"))
    })
}

// A definition that can't be read would become "anything goes" at run time, without a word.
#[test]
fn every_definition_is_read() {
    let definitions = &builtin().definitions;
    assert_eq!(definitions.len(), 570);
    for id in definitions.ids() {
        let value: serde_json::Value = serde_json::from_str(definitions.source(id)).unwrap();
        let parsed =
            definitions.parse(&value).unwrap_or_else(|error| panic!("{:?}: {error}", definitions.name(id)));
        // What goes out as OpenAPI must read back as the same schema, or clients see another type than we do.
        assert_eq!(definitions.parse(&parsed.to_openapi(definitions)).unwrap(), parsed);
        assert_eq!(Schema { opaque: false, quantity: false, ..definitions.get(id).clone() }, parsed);
    }
}

// kubectl lists, completes and prints by this table: a row lost in code generation is a kind lost.
#[test]
fn table_is_complete() {
    let table = builtin();
    assert_eq!(table.kubernetes, "1.35");
    let groups: Vec<&str> = table.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(groups.first(), Some(&""));
    assert_eq!(groups.get(1), Some(&"apiregistration.k8s.io"));
    assert_eq!(groups.len(), 21);
    let autoscaling = table.groups.iter().find(|group| group.name == "autoscaling").unwrap();
    assert_eq!(autoscaling.versions, ["v2", "v1"]);
    assert_eq!(table.kinds.len(), 66);
    for kind in &table.kinds {
        assert!(kind.schema().is_some(), "{} has no schema", kind.gvk);
        assert!(!kind.allows("list") || !kind.columns.is_empty(), "{} has no columns", kind.gvk);
    }
    let deployment = table.by_resource("apps", "v1", "deployments").unwrap();
    assert_eq!(deployment.short_names, ["deploy"]);
    assert_eq!(deployment.categories, ["all"]);
    assert_eq!(deployment.list_kind, "DeploymentList");
    assert_eq!(
        deployment.subresource("scale").unwrap().kind,
        GroupVersionKind::new("autoscaling", "v1", "Scale")
    );
    let names: Vec<&str> = deployment.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(
        names,
        ["Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"]
    );
    let pod = table.by_resource("", "v1", "pods").unwrap();
    assert!(pod.has_status() && pod.namespaced);
    assert_eq!(pod.subresource("eviction").unwrap().kind.group, "policy");
    assert!(!table.by_resource("", "v1", "nodes").unwrap().namespaced);
    assert_eq!(table.kinds_of("apps", "v1").count(), 5);
}

// Merge patch and apply tell list items apart by these facts; a wrong one loses or doubles containers.
#[test]
fn shape_facts() {
    let pod = ["spec", "template", "spec"];
    let at = |rest: &[&str]| shape("apps", "Deployment", &[&pod[..], rest].concat());
    let containers = at(&["containers"]);
    assert_eq!(containers.list_type(), ListType::Map);
    assert_eq!(containers.list_map_keys(), ["name"]);
    assert_eq!(containers.patch_merge_key(), Some("name"));
    assert_eq!(containers.patch_strategy(), PatchStrategy { merge: true, retain_keys: false });
    let ports = at(&["containers", "*", "ports"]);
    assert_eq!(ports.list_map_keys(), ["containerPort", "protocol"]);
    assert_eq!(ports.patch_merge_key(), Some("containerPort"));
    assert_eq!(at(&["containers", "*", "ports", "*", "protocol"]).default_value(), Some(&json!("TCP")));
    assert_eq!(at(&["tolerations"]).list_type(), ListType::Atomic);
    assert_eq!(at(&["volumes"]).patch_strategy(), PatchStrategy { merge: true, retain_keys: true });
    assert!(at(&["nodeSelector"]).is_atomic_map());
    let strategy = shape("apps", "Deployment", &["spec", "strategy"]);
    assert_eq!(strategy.patch_strategy(), PatchStrategy { merge: false, retain_keys: true });
    assert!(strategy.field("rollingUpdate").is_some());
    assert!(shape("apps", "Deployment", &["spec", "selector"]).is_atomic_map());
    let finalizers = shape("", "ConfigMap", &["metadata", "finalizers"]);
    assert_eq!(finalizers.list_type(), ListType::Set);
    assert!(finalizers.patch_strategy().merge);
    assert!(shape("", "ConfigMap", &["data", "any-key"]).items().is_none());
    assert_eq!(shape("", "Service", &["spec", "ports"]).list_map_keys(), ["port", "protocol"]);
}
