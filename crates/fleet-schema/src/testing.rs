//! Random schemas and values over few names, so that they meet.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "metadata"]).prop_map(str::to_owned)
}

/// A schema that parses (not always a structural one).
pub(crate) fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string", "default": "d"})),
        Just(json!({"type": "integer", "minimum": 1})),
        Just(json!({"type": "integer", "nullable": true, "default": null})),
        Just(json!({"x-kubernetes-int-or-string": true})),
        Just(json!({"x-kubernetes-preserve-unknown-fields": true})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (prop::collection::btree_map(name(), inner.clone(), 0..4), any::<bool>(), any::<bool>())
                .prop_map(|(fields, keep, filled)| {
                    let fields: Map<String, Value> = fields.into_iter().collect();
                    let mut out = json!({"type": "object", "properties": fields});
                    if keep {
                        out["x-kubernetes-preserve-unknown-fields"] = json!(true);
                    }
                    if filled {
                        out["default"] = json!({});
                    }
                    out
                }),
            inner.clone().prop_map(|entry| json!({"type": "object", "additionalProperties": entry})),
            inner.prop_map(|items| json!({"type": "array", "items": items})),
        ]
    })
}

/// A value over the same names.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
