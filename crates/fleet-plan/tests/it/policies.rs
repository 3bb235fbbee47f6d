//! Policies about single objects: what each says of an object, and what is refused.

use fleet_json::FieldPath;
use fleet_plan::{DriftMode, GcStrategy, PolicyError, ResourcePolicies, Subject};
use serde_json::{Value, json};

use crate::site::{id, policies};

fn ask<T>(policies: &ResourcePolicies, question: impl Fn(&ResourcePolicies, &Subject<'_>) -> T) -> T {
    let id = id("apps/v1", "Deployment", "demo", "web-demo");
    question(policies, &Subject { id: &id, component: "web", component_type: "ref-objects" })
}

fn gc(properties: Value) -> GcStrategy {
    ask(&policies(&[("garbage-collect", properties)]), ResourcePolicies::gc)
}

fn takes_over(selector: Value) -> bool {
    let rules = json!({ "rules": [{ "selector": selector }] });
    ask(&policies(&[("take-over", rules)]), ResourcePolicies::takes_over)
}

fn drift_mode(properties: Value) -> DriftMode {
    ask(&policies(&[("apply-once", properties)]), ResourcePolicies::drift_mode)
}

#[test]
fn every_list_of_a_selector_must_match() {
    for (selector, expected) in [
        (json!({ "componentNames": ["web"] }), true),
        (json!({ "componentNames": ["other", "web"] }), true),
        (json!({ "componentNames": ["other"] }), false),
        (json!({ "componentTypes": ["ref-objects"] }), true),
        (json!({ "componentTypes": ["worker"] }), false),
        (json!({ "resourceTypes": ["Deployment"] }), true),
        (json!({ "resourceTypes": ["deployment"] }), false),
        (json!({ "resourceNames": ["web-demo"] }), true),
        (json!({ "resourceTypes": ["Deployment"], "resourceNames": ["another"] }), false),
        (json!({ "oamTypes": ["WORKLOAD"] }), true),
        (json!({ "oamTypes": ["TRAIT"] }), false),
        (json!({ "traitTypes": ["env"] }), false),
    ] {
        assert_eq!(takes_over(selector.clone()), expected, "{selector}");
    }
}

#[test]
fn without_a_policy_things_are_deleted_repaired_and_never_taken_over() {
    let none = policies(&[]);
    assert_eq!(ask(&none, ResourcePolicies::gc), GcStrategy::OnAppUpdate);
    assert_eq!(ask(&none, ResourcePolicies::drift_mode), DriftMode::Repair);
    assert!(!ask(&none, ResourcePolicies::takes_over) && !none.takes_over_any());
    assert!(ask(&none, ResourcePolicies::recreate_fields).is_empty());
}

#[test]
fn garbage_collection_goes_by_the_first_rule_that_matches() {
    let rule =
        |name: &str, strategy: &str| json!({ "selector": { "resourceNames": [name] }, "strategy": strategy });
    for (properties, expected) in [
        (json!({}), GcStrategy::OnAppUpdate),
        (Value::Null, GcStrategy::OnAppUpdate),
        (json!({ "keepLegacyResource": true }), GcStrategy::OnAppDelete),
        (json!({ "rules": [rule("web-demo", "never")] }), GcStrategy::Never),
        (json!({ "rules": [rule("other", "never")] }), GcStrategy::OnAppUpdate),
        (
            json!({ "rules": [rule("web-demo", "onAppDelete"), rule("web-demo", "never")] }),
            GcStrategy::OnAppDelete,
        ),
        (
            json!({ "keepLegacyResource": true, "rules": [rule("web-demo", "onAppUpdate")] }),
            GcStrategy::OnAppUpdate,
        ),
        (
            json!({ "rules": [{ "selector": { "componentNames": ["web"] }, "propagation": "orphan" }] }),
            GcStrategy::Never,
        ),
        (
            json!({ "rules": [{ "selector": { "componentNames": ["web"] }, "propagation": "cascading" }] }),
            GcStrategy::OnAppUpdate,
        ),
        (
            json!({ "order": "dependency", "applicationRevisionLimit": 5, "continueOnFailure": true }),
            GcStrategy::OnAppUpdate,
        ),
    ] {
        assert_eq!(gc(properties.clone()), expected, "{properties}");
    }
}

#[test]
fn drift_is_reported_where_a_policy_says_so() {
    let rule = |path: Value| json!({ "selector": { "resourceTypes": ["Deployment"] }, "strategy": { "path": path } });
    let fields = |texts: &[&str]| {
        DriftMode::ReportFields(texts.iter().map(|text| FieldPath::parse(text).unwrap()).collect())
    };
    for (properties, expected) in [
        (json!({}), DriftMode::Repair),
        (json!({ "enable": true }), DriftMode::Report),
        (json!({ "enable": false, "rules": [rule(json!(["*"]))] }), DriftMode::Repair),
        (json!({ "enable": true, "rules": [rule(json!(["*"]))] }), DriftMode::Report),
        (json!({ "enable": true, "rules": [rule(json!(["spec.replicas"]))] }), fields(&["spec.replicas"])),
        (
            json!({ "enable": true, "rules": [rule(json!(["spec.replicas"])), rule(json!(["spec.paused"]))] }),
            fields(&["spec.replicas", "spec.paused"]),
        ),
        (json!({ "enable": true, "rules": [{ "strategy": { "path": ["*"] } }] }), DriftMode::Report),
        (
            json!({ "enable": true, "rules": [{ "selector": { "resourceTypes": ["Job"] }, "strategy": { "path": ["*"] } }] }),
            DriftMode::Repair,
        ),
    ] {
        assert_eq!(drift_mode(properties.clone()), expected, "{properties}");
    }
}

#[test]
fn several_policies_of_a_type_are_merged() {
    let take_over =
        |name: &str| ("take-over", json!({ "rules": [{ "selector": { "resourceNames": [name] } }] }));
    assert!(ask(&policies(&[take_over("other"), take_over("web-demo")]), ResourcePolicies::takes_over));
}

#[test]
fn policies_of_other_modules_are_passed_over() {
    let mut read = ResourcePolicies::default();
    read.add("where", "topology", &json!({ "clusters": ["mc-bj1"] })).unwrap();
    assert_eq!(read, ResourcePolicies::default());
}

// A user sees these words: each names the policy, the place, the cause and what is accepted.
#[test]
fn what_can_not_be_used_is_refused_in_words() {
    let web = json!({ "componentNames": ["web"] });
    for (type_, properties, message) in [
        (
            "take-over",
            json!({ "rules": [{ "selector": {} }] }),
            "a selector is empty; name components, resourceTypes or resourceNames",
        ),
        ("take-over", json!({ "rules": [{}] }), "a selector is empty"),
        ("read-only", json!({ "rules": [{}] }), "a selector is empty; name components, resourceTypes"),
        (
            "read-only",
            json!({ "rules": [{ "selector": {}, "strategy": "never" }] }),
            "unknown field `strategy`",
        ),
        ("shared-resource", json!({ "rules": [{}] }), "a selector is empty"),
        ("shared-resource", json!({ "enable": true }), "unknown field `enable`, expected `rules`"),
        ("read-only", json!({ "selector": {} }), "unknown field `selector`, expected `rules`"),
        ("take-over", json!({ "rule": [] }), "unknown field `rule`, expected `rules`"),
        ("take-over", json!({ "rules": [{ "selector": { "names": ["x"] } }] }), "unknown field `names`"),
        ("take-over", json!(["web"]), "web"),
        ("garbage-collect", json!({ "order": "random" }), "order: only \"dependency\" exists"),
        (
            "garbage-collect",
            json!({ "rules": [{ "selector": web, "strategy": "sometimes" }] }),
            "unknown variant `sometimes`",
        ),
        (
            "garbage-collect",
            json!({ "rules": [{ "selector": web, "propagation": "half" }] }),
            "propagation: \"half\" isn't orphan or cascading",
        ),
        (
            "garbage-collect",
            json!({ "keepLegacyResource": "yes" }),
            "invalid type: string \"yes\", expected a boolean",
        ),
        (
            "apply-once",
            json!({ "enable": true, "rules": [{ "strategy": { "path": ["*"], "affect": "now" } }] }),
            "affect: \"now\" isn't onUpdate, onStateKeep or always",
        ),
        (
            "apply-once",
            json!({ "enable": true, "rules": [{ "strategy": { "path": [] } }] }),
            "path: is empty",
        ),
        (
            "apply-once",
            json!({ "enable": true, "rules": [{ "strategy": { "path": ["spec.["] } }] }),
            "\"spec.[\": ",
        ),
        (
            "resource-update",
            json!({ "rules": [{ "selector": web, "strategy": { "op": "delete" } }] }),
            "op: \"delete\" isn't patch or replace",
        ),
        (
            "resource-update",
            json!({ "rules": [{ "selector": web, "strategy": { "recreateFields": ["a..b"] } }] }),
            "\"a..b\": ",
        ),
    ] {
        let refused: PolicyError =
            ResourcePolicies::default().add("mine", type_, &properties).expect_err("it is taken");
        let text = refused.to_string();
        assert!(text.starts_with(&format!("policy \"mine\" of type {type_}: properties: ")), "{text}");
        assert!(text.contains(message), "{text}");
    }
}
