use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::builtin::builtin;
use crate::kind::GroupVersionKind;
use crate::schema::ValidationRule;

#[derive(Deserialize)]
struct Case {
    name: String,
    schema: Value,
    value: Value,
    errors: Vec<String>,
}

fn words(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

// Scripts and people match these words; they are kube-apiserver's.
#[test]
fn cases() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/data/validate.json")).unwrap();
    for case in cases {
        let schema = builtin().definitions.parse(&case.schema).unwrap();
        let view = SchemaRef::new(&builtin().definitions, &schema);
        let mut found = words(&validate(view, &case.value, Context::default()));
        found.sort();
        let mut expected = case.errors;
        expected.sort();
        assert_eq!(found, expected, "{}", case.name);
    }
}

fn built_in(group: &str, kind: &str, value: &Value) -> Vec<String> {
    let info = builtin().by_kind(&GroupVersionKind::new(group, "v1", kind)).unwrap();
    let context = Context { mode: Mode::BuiltIn, ..Context::default() };
    words(&validate(info.schema().unwrap(), value, context))
}

// Manifests that people have (nulls, absent Go defaults, quantities as numbers) must pass; what a real
// server refuses must not.
#[test]
fn built_in_kinds() {
    let good = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "creationTimestamp": null},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "replicas": null, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
                "livenessProbe": {"httpGet": {"port": "http"}}, "ports": [{"containerPort": 80}]}]}}},
        "status": {},
    });
    assert_eq!(built_in("apps", "Deployment", &good), Vec::<String>::new());
    let doubled = json!({"spec": {"selector": {}, "template": {"spec": {"restartPolicy": "", "containers": [
        {"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}]}}}});
    assert_eq!(built_in("apps", "Deployment", &doubled), Vec::<String>::new());
    let claim = json!({"spec": {"resources": {"requests": {"storage": "ten"}}}});
    let found = built_in("", "PersistentVolumeClaim", &claim);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("spec.resources.requests.storage: Invalid value: \"ten\": quantities must"),
        "{found:?}"
    );
    let bad = json!({
        "metadata": {"labels": {"a": 1}},
        "spec": {"replicas": "3", "template": {"spec": {"restartPolicy": "Sometimes",
            "containers": [{"name": "c", "ports": [{"containerPort": "x"}]}]}}},
    });
    let mut found = built_in("apps", "Deployment", &bad);
    found.sort();
    assert_eq!(
        found,
        [
            "metadata.labels.a: Invalid value: \"integer\": metadata.labels.a in body must be of type string: \"integer\"",
            "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
            "spec.selector: Required value",
            "spec.template.spec.containers[0].ports[0].containerPort: Invalid value: \"string\": \
             spec.template.spec.containers[0].ports[0].containerPort in body must be of type integer: \"string\"",
            "spec.template.spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ]
    );
}

// kubectl shows these words when a manifest has a wrong type.
#[test]
fn words_of_decoding() {
    let kind = builtin().by_kind(&GroupVersionKind::new("apps", "v1", "Deployment")).unwrap();
    let message = |object: &Value| {
        let context = Context { mode: Mode::BuiltIn, ..Context::default() };
        let errors = validate(kind.schema().unwrap(), object, context);
        let error = errors.iter().find(|error| error.kind == ErrorKind::TypeInvalid).unwrap();
        let message = decode_message(kind, object, error);
        message.split_once("json: cannot unmarshal ").unwrap().1.to_owned()
    };
    for (object, words) in [
        (
            json!({"spec": {"replicas": "3"}}),
            "string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            "number into Go struct field ObjectMeta.metadata.labels.a of type string",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"ports": {}}]}}}}),
            "object into Go struct field Container.spec.template.spec.containers.ports of type []v1.ContainerPort",
        ),
        (json!({"spec": []}), "array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
        (
            json!({"spec": {"paused": "no"}}),
            "string into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
    ] {
        assert_eq!(message(&object), words);
    }
}

// What was stored under an older schema may stay as it is; only changes are judged.
#[test]
fn unchanged_values_are_not_judged_again() {
    let schema = json!({"type": "object", "properties": {
        "a": {"type": "integer", "minimum": 5}, "b": {"type": "integer", "minimum": 5},
        "l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer", "minimum": 5}}}},
    }});
    let schema = builtin().definitions.parse(&schema).unwrap();
    let view = SchemaRef::new(&builtin().definitions, &schema);
    let old = json!({"a": 1, "b": 5, "l": [{"k": "x", "v": 1}, {"k": "y", "v": 5}]});
    let new = json!({"a": 1, "b": 2, "l": [{"k": "y", "v": 3}, {"k": "x", "v": 1}]});
    let context = Context { old: Some(&old), ..Context::default() };
    let fields: Vec<String> = validate(view, &new, context).iter().map(FieldError::field).collect();
    assert_eq!(fields, ["b", "l[0].v"]);
}

/// Fails every rule whose text is `no`.
struct Runner;

impl RuleRunner for Runner {
    fn run(
        &self,
        _: SchemaRef<'_>,
        rules: &[ValidationRule],
        _: &Value,
        old: Option<&Value>,
    ) -> Vec<RuleFailure> {
        let failed = |rule: &ValidationRule| rule.rule == "no" || (rule.rule == "no-change" && old.is_some());
        let failed = rules.iter().enumerate().filter(|(_, rule)| failed(rule));
        failed.map(|(at, _)| RuleFailure { rule: at, message: None, internal: false }).collect()
    }
}

// Rules run at every node, with the old value of the same item, and not on values of the wrong type.
#[test]
fn rules_are_run_through_the_hook() {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-validations": [
            {"rule": "no", "message": "never", "fieldPath": ".a", "reason": "FieldValueForbidden"}, {"rule": "yes"}],
            "properties": {"a": {"type": "integer"}}},
        "n": {"type": "integer", "x-kubernetes-validations": [{"rule": "no-change"}, {"rule": "no"}]},
    }});
    let schema = builtin().definitions.parse(&schema).unwrap();
    let view = SchemaRef::new(&builtin().definitions, &schema);
    let old = json!({"n": 1});
    let context = Context { rules: Some(&Runner), old: Some(&old), ..Context::default() };
    let mut found = words(&validate(view, &json!({"spec": {"a": 1}, "n": 2}), context));
    found.sort();
    assert_eq!(
        found,
        [
            "n: Invalid value: 2: failed rule: no",
            "n: Invalid value: 2: failed rule: no-change",
            "spec.a: Forbidden: never",
        ]
    );
    let found = words(&validate(view, &json!({"spec": {"a": "x"}}), context));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[1].starts_with("<nil>: Invalid value: some validation rules were not checked"),
        "{}",
        found[1]
    );
}

// Hostile nesting and endless errors must end.
#[test]
fn bounded() {
    let schema = json!({"type": "object", "additionalProperties": {"type": "integer"}});
    let schema = builtin().definitions.parse(&schema).unwrap();
    let view = SchemaRef::new(&builtin().definitions, &schema);
    let many: serde_json::Map<String, Value> = (0..5000).map(|at| (at.to_string(), json!("x"))).collect();
    assert_eq!(validate(view, &Value::Object(many), Context::default()).len(), 100);

    let id =
        builtin().definitions.id("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
    let recursive = builtin().definitions.view(id.unwrap());
    let mut deep = json!({"type": "object"});
    for _ in 0..2000 {
        deep = json!({ "not": deep });
    }
    let errors = validate(recursive, &deep, Context { mode: Mode::BuiltIn, ..Context::default() });
    assert_eq!(errors.len(), 1);
    assert!(errors[0].message.contains("nested deeper"), "{}", errors[0]);
    crate::prune(recursive, &mut deep);
    crate::apply_defaults(recursive, &mut deep);
    // serde_json drops values recursively; 2000 levels are within a test thread's stack.
}
