use serde_json::json;

use super::*;

fn found(path: &str) -> String {
    let value = json!({
        "metadata": {"name": "web", "annotations": {"app.oam.dev/name": "x"}},
        "spec": {"replicas": 3, "list": [1, 2, 3, 4], "empty": []},
        "status": {"conditions": [
            {"type": "Ready", "status": "False", "n": 1},
            {"type": "Synced", "status": "True", "n": 2},
        ]},
    });
    let path = JsonPath::compile(path).unwrap_or_else(|error| panic!("{error}"));
    let values: Vec<String> = path.find(&value).into_iter().map(Value::to_string).collect();
    values.join(" ")
}

// Printer columns of existing CRDs use these forms; one that isn't understood leaves a column empty.
#[test]
fn finds() {
    for (path, expected) in [
        (".spec.replicas", "3"),
        ("{.spec.replicas}", "3"),
        ("$.spec.replicas", "3"),
        ("spec.replicas", "3"),
        (r".metadata.annotations.app\.oam\.dev/name", r#""x""#),
        (".metadata.annotations['app.oam.dev/name']", r#""x""#),
        (r".metadata.annotations['app\.oam\.dev/name']", r#""x""#),
        (".spec.list[0]", "1"),
        (".spec.list[-1]", "4"),
        (".spec.list[1:3]", "2 3"),
        (".spec.list[::2]", "1 3"),
        (".spec.list[*]", "1 2 3 4"),
        (".spec.list[9]", ""),
        (".spec.empty[*]", ""),
        (".status.conditions[*].type", r#""Ready" "Synced""#),
        (r#".status.conditions[?(@.type=="Ready")].status"#, r#""False""#),
        (".status.conditions[?(@.type == 'Synced')].status", r#""True""#),
        (".status.conditions[?(@.n > 1)].type", r#""Synced""#),
        (".status.conditions[?(@.type!='Ready')].n", "2"),
        (".status.conditions[?(@.gone)].n", ""),
        ("..n", "1 2"),
        (".metadata['name','gone']", r#""web""#),
        (".gone.deeper", ""),
    ] {
        assert_eq!(found(path), expected, "{path}");
    }
}

// A bad path must be refused when the CRD is created, with the place.
#[test]
fn refuses() {
    for (path, at) in [
        (".spec[", 6),
        (".spec['a", 8),
        (".spec[?(@.a==)]", 13),
        (".spec[?(@.a=='b']", 16),
        (".a..", 4),
        (".a[1:2:0]", 8),
        (".a]", 2),
    ] {
        match JsonPath::compile(path) {
            Ok(compiled) => panic!("{path} compiles to {compiled:?}"),
            Err(error) => assert_eq!(error.at, at, "{error}"),
        }
    }
}

#[test]
fn plain_paths() {
    let fields = |path: &str| JsonPath::compile(path).unwrap().plain_fields();
    assert_eq!(fields(".spec.replicas"), Some(vec!["spec".to_owned(), "replicas".to_owned()]));
    assert_eq!(fields(".spec.list[0]"), None);
}
