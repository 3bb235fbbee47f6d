use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::kind::KindSchema;
use crate::validate::{Context, validate};

/// The definition that the Kubernetes documentation uses, with everything switched on.
pub(crate) fn crontab() -> Value {
    let mut crd: Value = serde_json::from_str(include_str!("../../tests/data/crontab.json")).unwrap();
    set_defaults(&mut crd);
    crd
}

// A row that misses something makes kubectl show, scale or validate the kind wrongly.
#[test]
fn rows_of_the_registry() {
    let crd = crontab();
    assert_eq!(crd["spec"]["names"]["singular"], "crontab");
    assert_eq!(crd["spec"]["names"]["listKind"], "CronTabList");
    assert_eq!(crd["spec"]["conversion"], json!({"strategy": "None"}));
    let custom = parse(&crd).unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert_eq!(custom.storage_version, "v1");
    let versions: Vec<&str> = custom.kinds.iter().map(|kind| kind.gvk.version.as_str()).collect();
    assert_eq!(versions, ["v1", "v1beta1"]);
    let kind = custom.kinds.first().unwrap();
    assert!(kind.custom && kind.storage && kind.namespaced && kind.has_status());
    assert_eq!(kind.short_names, ["ct"]);
    assert_eq!(kind.subresource("scale").unwrap().kind.group, "autoscaling");
    assert_eq!(kind.scale.as_ref().unwrap().spec_replicas, ".spec.replicas");
    let columns: Vec<&str> = kind.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["Name", "Spec", "Replicas"]);
    let object = json!({"spec": {"cronSpec": "* *", "replicas": 3}});
    let cell = kind.columns.last().unwrap().path.as_ref().unwrap().first(&object);
    assert_eq!(cell, Some(&json!(3)));
    assert_eq!(kind.selectable_fields.first().unwrap().source(), ".spec.cronSpec");
    let old = custom.kinds.last().unwrap();
    assert_eq!(old.deprecation.as_deref(), Some("stable.example.com/v1beta1 CronTab is deprecated"));
    let columns: Vec<&str> = old.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["Name", "Age"]);
}

// Metadata is checked and pruned as ObjectMeta, with the narrowing that the definition adds, and kubectl's
// null creationTimestamp passes.
#[test]
fn metadata_is_object_meta() {
    let custom = parse(&crontab()).unwrap();
    let kind = custom.kinds.first().unwrap();
    let schema = kind.schema().unwrap();
    let mut object = json!({
        "apiVersion": "stable.example.com/v1", "kind": "CronTab",
        "metadata": {"name": "much-too-long-a-name", "creationTimestamp": null, "odd": 1, "labels": {"a": "b"}},
        "spec": {"cronSpec": "* * * * */5", "template": {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"odd": 1}, "spec": {"x": 1}}},
    });
    let gone: Vec<String> = crate::prune(schema, &mut object).iter().map(crate::place).collect();
    assert_eq!(gone, ["metadata.odd", "spec.template.metadata.odd"]);
    crate::apply_defaults(schema, &mut object);
    assert_eq!(object["spec"]["replicas"], 1);
    assert_eq!(object["spec"]["template"]["spec"], json!({"x": 1}));
    let errors: Vec<String> =
        validate(schema, &object, Context::default()).iter().map(ToString::to_string).collect();
    assert_eq!(errors.first().unwrap(), "metadata.name: Too long: may not be more than 8 bytes");
}

#[derive(Deserialize)]
struct Case {
    name: String,
    /// JSON pointer → value; `null` removes.
    set: serde_json::Map<String, Value>,
    errors: Vec<String>,
}

fn put(value: &mut Value, pointer: &str, new: &Value) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
    match (parent, new) {
        (Value::Object(map), Value::Null) => {
            map.remove(last);
        }
        (Value::Object(map), new) => {
            map.insert(last.to_owned(), new.clone());
        }
        (Value::Array(items), new) => items[last.parse::<usize>().unwrap()] = new.clone(),
        _ => panic!("{pointer}"),
    }
}

// A definition that breaks a rule must be refused with the place: once accepted, its objects can't be judged.
#[test]
fn broken_definitions() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/data/crd-errors.json")).unwrap();
    for case in cases {
        let mut crd = crontab();
        for (pointer, value) in &case.set {
            put(&mut crd, pointer, value);
        }
        match parse(&crd) {
            Ok(_) => panic!("{}: accepted", case.name),
            Err(errors) => {
                let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
                assert_eq!(found, case.errors, "{}", case.name);
            }
        }
    }
}

// Discovery's preferred version follows this order.
#[test]
fn order_of_versions() {
    let mut versions =
        ["foo10", "v1alpha1", "v2", "v10", "v1beta1", "v1", "foo1", "v11alpha2", "v12alpha1", "v3beta1"];
    versions.sort_by(|left, right| compare_versions(left, right));
    assert_eq!(
        versions,
        ["v10", "v2", "v1", "v3beta1", "v1beta1", "v12alpha1", "v11alpha2", "v1alpha1", "foo1", "foo10"]
    );
}

// Clients wait for Established; writing it twice must change nothing, or the definition never settles.
#[test]
fn status_settles() {
    let mut crd = crontab();
    let status = accepted_status(&crd, "2026-01-01T00:00:00Z");
    assert_eq!(status["storedVersions"], json!(["v1"]));
    assert_eq!(status["conditions"][1]["type"], "Established");
    crd["status"] = status.clone();
    assert_eq!(accepted_status(&crd, "2027-01-01T00:00:00Z"), status);
}

// The CRD's own schema in the built-in table lets a real definition through.
#[test]
fn definition_fits_the_built_in_schema() {
    let gvk = crate::GroupVersionKind::new("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let kind = crate::builtin().by_kind(&gvk).unwrap();
    assert!(matches!(kind.schema, KindSchema::Definition(_)));
    let context = Context { mode: crate::Mode::BuiltIn, ..Context::default() };
    assert_eq!(validate(kind.schema().unwrap(), &crontab(), context), vec![]);
    assert!(crate::unknown_fields(kind.schema().unwrap(), &crontab()).is_empty());
}
