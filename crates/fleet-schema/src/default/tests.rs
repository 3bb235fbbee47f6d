use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::builtin::builtin;
use crate::testing::{any_schema, any_value};

fn filled(schema: &Value, value: &Value) -> Value {
    let definitions = &builtin().definitions;
    let schema = definitions.parse(schema).unwrap();
    let mut value = value.clone();
    apply_defaults(SchemaRef::new(definitions, &schema), &mut value);
    value
}

// The nested default of an absent object is filled as well; a null gives way unless it is allowed.
#[test]
fn rules_of_apiextensions() {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "default": {}, "properties": {
            "replicas": {"type": "integer", "default": 1},
            "nullable": {"type": "integer", "nullable": true, "default": 2},
            "plain": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "integer", "default": 7}},
            "free": {"type": "object", "additionalProperties": {"type": "integer"}},
        }},
    }});
    assert_eq!(filled(&schema, &json!({})), json!({"spec": {"replicas": 1, "nullable": 2}}));
    let value = json!({"spec": {"replicas": null, "nullable": null, "plain": null, "list": [{}, {"p": "UDP"}],
        "map": {"k": null}, "free": {"k": null, "l": 1}}});
    assert_eq!(
        filled(&schema, &value),
        json!({"spec": {"replicas": 1, "nullable": null, "list": [{"p": "TCP"}, {"p": "UDP"}],
            "map": {"k": 7}, "free": {"l": 1}}})
    );
}

// Metadata's schema carries Go's zero values: writing them into objects would change every one.
#[test]
fn built_in_definitions_are_left_alone() {
    let table = builtin();
    let meta = crate::Schema::reference_to(table.object_meta().unwrap());
    let mut schema = crate::Schema::of_type(crate::SchemaType::Object);
    schema.set_property("metadata", meta);
    let before = json!({"metadata": {"name": "x", "creationTimestamp": null, "ownerReferences": [{}]}});
    let mut value = before.clone();
    apply_defaults(SchemaRef::new(&table.definitions, &schema), &mut value);
    assert_eq!(value, before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // A second pass must change nothing, or reading an object back would differ from what was written.
    #[test]
    fn filling_is_idempotent(schema in any_schema(), value in any_value()) {
        let once = filled(&schema, &value);
        prop_assert_eq!(filled(&schema, &once), once);
    }

    // Defaults that fit are never pruned again: otherwise each write would fill and drop them.
    #[test]
    fn filling_adds_only_known_fields(schema in any_schema(), value in any_value()) {
        let parsed = builtin().definitions.parse(&schema).unwrap();
        let view = SchemaRef::new(&builtin().definitions, &parsed);
        let mut value = value;
        crate::prune(view, &mut value);
        apply_defaults(view, &mut value);
        prop_assert!(crate::unknown_fields(view, &value).is_empty());
    }
}
