//! What proves approvals, and every way to weaken it that is known.

use serde_json::{Value, json};

use super::*;

fn metadata(at: &str) -> Value {
    json!({"name": APPROVALS_POLICY, "creationTimestamp": "2026-11-21T09:00:00Z",
        "managedFields": [{"manager": "fleetctl", "operation": "Apply", "time": at}]})
}

/// As an API server gives them back: with its defaults.
fn installed() -> (Value, Value) {
    let controllers = format!("{}\"fleetctl-controller\"{}", CONTROLLERS.0, CONTROLLERS.1);
    let validations: Vec<Value> = EXPRESSIONS
        .into_iter()
        .chain([controllers.as_str()])
        .map(|e| json!({"expression": e.replace("|| ", "\n  || "), "message": "no"}))
        .collect();
    let policy = json!({
    "metadata": metadata("2026-11-21T10:00:00Z"),
    "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
            "resourceRules": [{"apiGroups": ["fleetctl.dev"], "apiVersions": ["*"],
                "operations": ["CREATE", "UPDATE"], "resources": ["approvals"], "scope": "*"}],
        },
        "validations": validations,
    }});
    let binding = json!({
        "metadata": metadata("2026-11-21T11:00:00Z"),
        "spec": {"policyName": APPROVALS_POLICY, "validationActions": ["Deny"]}});
    (policy, binding)
}

fn judged(change: impl FnOnce(&mut Value, &mut Value)) -> Proof {
    let (mut policy, mut binding) = installed();
    change(&mut policy, &mut binding);
    let policy = serde_json::from_value(policy).unwrap();
    judge(Some(&policy), Some(&serde_json::from_value(binding).unwrap()))
}

/// A policy that lets somebody pass would let him approve in another's name.
#[test]
fn every_weakening_is_seen_and_named() {
    assert_eq!(judged(|_, _| {}), Proof::Strong("2026-11-21T11:00:00Z".parse().unwrap()));
    let of_policy = [
        ("/spec/failurePolicy", json!("Ignore"), "failurePolicy"),
        (
            "/spec/matchConditions",
            json!([{"name": "a", "expression": "request.userInfo.username != 'eve'"}]),
            "matchConditions",
        ),
        ("/spec/paramKind", json!({"apiVersion": "v1", "kind": "ConfigMap"}), "parameters"),
        ("/spec/matchConstraints/matchPolicy", json!("Exact"), "matchPolicy"),
        ("/spec/matchConstraints/namespaceSelector", json!({"matchLabels": {"a": "b"}}), "namespaceSelector"),
        ("/spec/matchConstraints/objectSelector", json!({"matchLabels": {"a": "b"}}), "objectSelector"),
        (
            "/spec/matchConstraints/excludeResourceRules",
            json!([{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]),
            "excludeResourceRules",
        ),
        ("/spec/matchConstraints/resourceRules/0/operations", json!(["CREATE"]), "resourceRules"),
        ("/spec/matchConstraints/resourceRules/0/resourceNames", json!(["one"]), "resourceRules"),
        ("/spec/matchConstraints/resourceRules/0/scope", json!("Cluster"), "resourceRules"),
        ("/spec/validations/2/expression", json!("true"), "validations"),
        ("/spec/validations/3/expression", json!("true"), "validations"),
        ("/spec/validations/4/expression", json!("request.operation != 'UPDATE' || true"), "validations"),
        ("/spec/validations/5/expression", json!("true"), "keeps the controller from approving"),
        (
            "/spec/validations/5/expression",
            json!("request.operation != 'CREATE' || !(request.userInfo.username in [])"),
            "keeps the controller from approving",
        ),
        (
            "/spec/validations/5/expression",
            json!("request.operation != 'CREATE' || !(request.userInfo.username in ['a'] && false)"),
            "keeps the controller from approving",
        ),
        ("/metadata/deletionTimestamp", json!("2026-11-21T11:00:00Z"), "deleted"),
        ("/metadata/managedFields", json!([]), "when it was changed"),
    ];
    let set = |object: &mut Value, place: &str, value: Value| {
        let (parent, field) = place.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[field] = value;
    };
    for (place, value, named) in of_policy {
        let proof = judged(|policy, _| set(policy, place, value));
        let Proof::Weak(why) = proof else { panic!("{place} passes") };
        assert!(
            why.contains("ValidatingAdmissionPolicy approvals.fleetctl.dev") && why.contains(named),
            "{place}: {why}"
        );
        assert!(why.contains("fleetctl install") && why.contains("fleetctl local up"), "{why}");
    }
    let of_binding = [
        ("/spec/policyName", json!("other"), "another policy"),
        ("/spec/validationActions", json!(["Warn", "Audit"]), "Deny"),
        ("/spec/paramRef", json!({"name": "a"}), "parameters"),
        (
            "/spec/matchResources",
            json!({"namespaceSelector": {"matchLabels": {"a": "b"}}}),
            "namespaceSelector",
        ),
        (
            "/spec/matchResources",
            json!({"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]}),
            "resourceRules",
        ),
        ("/metadata/deletionTimestamp", json!("2026-11-21T11:00:00Z"), "deleted"),
        ("/metadata/managedFields", json!([{"manager": "x", "operation": "Update"}]), "when it was changed"),
    ];
    for (place, value, named) in of_binding {
        let Proof::Weak(why) = judged(|_, binding| set(binding, place, value)) else {
            panic!("{place} passes")
        };
        assert!(why.contains("ValidatingAdmissionPolicyBinding") && why.contains(named), "{place}: {why}");
    }
    let (policy, binding) = installed();
    let (policy, binding) =
        (serde_json::from_value(policy).unwrap(), serde_json::from_value(binding).unwrap());
    assert!(matches!(judge(None, Some(&binding)), Proof::Weak(_)));
    assert!(matches!(judge(Some(&policy), None), Proof::Weak(_)));
}

/// What only refuses more is no weakness.
#[test]
fn a_stricter_policy_proves_as_well() {
    let strict = judged(|policy, binding| {
        policy["spec"]["validations"]
            .as_array_mut()
            .unwrap()
            .push(json!({"expression": "object.spec.reason != ''"}));
        binding["spec"]["validationActions"] = json!(["Deny", "Audit"]);
        binding["spec"]["matchResources"] =
            json!({"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}});
    });
    assert!(matches!(strict, Proof::Strong(_)), "{strict:?}");
}

/// Broken: the binding is removed, an approval is forged, the binding is restored; it counts.
#[test]
fn what_was_made_before_the_last_change_is_not_proved() {
    let approval = |at: &str| -> Approval {
        let spec = json!({"application": "web", "run": "web-1", "step": "go", "planHash": "a"});
        serde_json::from_value(json!({"apiVersion": "fleetctl.dev/v1alpha1", "kind": "Approval",
            "metadata": {"name": "a", "namespace": "shop", "creationTimestamp": at}, "spec": spec}))
        .unwrap()
    };
    let proof = judged(|_, _| {});
    let early = proof.doubt(&approval("2026-11-21T11:00:04Z"), MARGIN).unwrap();
    assert_eq!(early.counts_from, Some("2026-11-21T11:00:05Z".parse().unwrap()));
    let way_out =
        "decide again, 2026-11-21T11:00:05Z or later: fleetctl workflow resume web -n shop --step go";
    assert!(early.message.ends_with(way_out), "{}", early.message);
    for (at, proved) in [
        ("2026-11-21T10:59:59Z", false),
        ("2026-11-21T11:00:00Z", false),
        ("2026-11-21T11:00:04Z", false),
        ("2026-11-21T11:00:05Z", true),
    ] {
        assert_eq!(proof.doubt(&approval(at), MARGIN).is_none(), proved, "{at}");
    }
    let weak = Proof::Weak("gone".to_owned());
    assert_eq!(
        weak.doubt(&approval("2026-11-21T12:00:00Z"), MARGIN),
        Some(Doubt { message: "gone".to_owned(), counts_from: None })
    );
}
