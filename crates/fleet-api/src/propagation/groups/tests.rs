use super::*;

// Broken: a policy of one of the groups is unknown to the hub, or has another schema than its sisters.
#[test]
fn every_kind_is_there_in_every_group_with_one_schema() {
    let all = definitions().unwrap();
    assert_eq!(all.len(), 12);
    let mut names = std::collections::BTreeSet::new();
    for crd in &all {
        let text = |at: &str| crd.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (group, kind) = (text("/spec/group"), text("/spec/names/kind"));
        let known = PolicyKind::of(&format!("{group}/v1alpha1"), &kind).unwrap();
        assert_eq!(text("/metadata/name"), format!("{}.{group}", known.plural()));
        assert_eq!(text("/spec/scope") == "Namespaced", known.namespaced(), "{group} {kind}");
        assert_eq!(known.resource(&group).plural, text("/spec/names/plural"));
        assert!(crd.pointer("/spec/versions/0/subresources/status").is_some());
        assert!(names.insert(text("/metadata/name")));
        let sister =
            all.iter().find(|other| other.pointer("/spec/names/kind") == Some(&json!(kind))).unwrap();
        assert_eq!(sister.pointer("/spec/versions"), crd.pointer("/spec/versions"));
    }
    let short: Vec<&Value> = all.iter().filter_map(|crd| crd.pointer("/spec/names/shortNames/0")).collect();
    assert_eq!(short, ["pp", "cpp", "op", "cop"]);
}

// Broken: a typo in a policy is swallowed, as any field is kept or dropped without a word.
#[test]
fn only_what_is_free_by_nature_keeps_unknown_fields() {
    fn free(schema: &Value, at: &str, found: &mut Vec<String>) {
        if schema.get("x-kubernetes-preserve-unknown-fields").is_some() {
            found.push(at.to_owned());
        }
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            free(field, &format!("{at}.{name}"), found);
        }
        if let Some(items) = schema.get("items") {
            free(items, at, found);
        }
    }
    let mut found = Vec::new();
    for crd in definitions().unwrap().iter().take(4) {
        free(crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap(), "", &mut found);
    }
    found.sort();
    found.dedup();
    let ends: std::collections::BTreeSet<&str> =
        found.iter().map(|path| path.rsplit('.').next().unwrap_or_default()).collect();
    assert_eq!(
        ends.into_iter().collect::<Vec<_>>(),
        ["overflowAffinities", "schedulePriority", "statePreservation", "value", "workloadAffinity"]
    );
}
