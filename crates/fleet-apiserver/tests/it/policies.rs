//! Admission policies, as cases: a policy, requests, and what becomes of them.

use fleet_apiserver::{ApiServer, Identity};
use fleet_store::{Expect, Page, Range, Store, Write};
use http::Method;
use serde_json::{Value, json};

use super::support::{self, Answer, HUB};

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

async fn send(
    server: &ApiServer,
    who: &Value,
    method: Method,
    path: &str,
    media: &str,
    body: &Value,
) -> Answer {
    let groups = who["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let groups = groups.iter().map(|group| group.as_str().unwrap().to_owned());
    let identity = Identity::new(who["name"].as_str().unwrap(), groups);
    support::ask_as(server, identity, method, path, &[("content-type", media)], &body.to_string()).await
}

async fn admin(server: &ApiServer, method: Method, path: &str, body: &Value) -> Answer {
    let root = json!({"name": "root", "groups": ["system:masters"]});
    let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    send(server, &root, method, path, media, body).await
}

fn object(resource: &str, namespace: &str, content: &Value) -> (String, Value) {
    let (base, api_version, kind) = match resource {
        "configmaps" => ("/api/v1", "v1", "ConfigMap"),
        "secrets" => ("/api/v1", "v1", "Secret"),
        "namespaces" => ("/api/v1", "v1", "Namespace"),
        "deployments" => ("/apis/apps/v1", "apps/v1", "Deployment"),
        "horizontalpodautoscalers" => ("/apis/autoscaling/v2", "autoscaling/v2", "HorizontalPodAutoscaler"),
        other => panic!("{other}"),
    };
    let mut object = if resource == "deployments" { support::deployment("it") } else { json!({}) };
    let mut content = content.clone();
    if let Some(many) = content.as_object_mut().and_then(|content| content.remove("many")) {
        let data: serde_json::Map<String, Value> =
            (0..many.as_u64().unwrap()).map(|at| (format!("key-{at}"), json!("1"))).collect();
        content["data"] = Value::Object(data);
    }
    if resource == "secrets" {
        content.as_object_mut().unwrap().remove("data");
    }
    json_patch::merge(&mut object, &content);
    json_patch::merge(&mut object, &json!({"apiVersion": api_version, "kind": kind}));
    if object["metadata"]["name"].is_null() {
        json_patch::merge(&mut object, &json!({"metadata": {"name": "it"}}));
    }
    let collection = match resource {
        "namespaces" => format!("{base}/namespaces"),
        resource => format!("{base}/namespaces/{namespace}/{resource}"),
    };
    (collection, object)
}

/// Rights for the case that asks the authorizer.
const RIGHTS: [(&str, &str, &str); 2] = [("writer", "writers", "create"), ("blesser", "blessers", "bless")];

async fn grant(server: &ApiServer) {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    for (_, role, verb) in RIGHTS {
        let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", verb]}]);
        let role = json!({"metadata": {"name": role}, "rules": rules});
        assert_eq!(admin(server, Method::POST, &format!("{rbac}/clusterroles"), &role).await.code, 201);
    }
    for (user, role, _) in RIGHTS {
        let binding = json!({
            "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        let path = format!("{rbac}/clusterrolebindings");
        assert_eq!(admin(server, Method::POST, &path, &binding).await.code, 201);
    }
}

async fn install(server: &ApiServer, case: &Value) {
    for param in case["params"].as_array().into_iter().flatten() {
        let (collection, object) = object("configmaps", "default", param);
        assert_eq!(admin(server, Method::POST, &collection, &object).await.code, 201);
    }
    let policy = json!({"metadata": {"name": "p"}, "spec": case["policy"]});
    let answer = admin(server, Method::POST, POLICIES, &policy).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
    let usual =
        json!({"metadata": {"name": "p"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    let given = case["bindings"].as_array().map(|given| {
        let named = given.iter().enumerate();
        named.map(|(at, spec)| json!({"metadata": {"name": format!("p-{at}")}, "spec": spec})).collect()
    });
    for binding in given.unwrap_or_else(|| vec![usual]) {
        let answer = admin(server, Method::POST, BINDINGS, &binding).await;
        assert_eq!(answer.code, 201, "{}", answer.text);
    }
}

async fn run(case: &Value, request: &Value) -> Answer {
    let server = support::server().await;
    let resource = request["resource"].as_str().unwrap_or("configmaps");
    let namespace = request["namespace"].as_str().unwrap_or("default");
    let root = json!({"name": "root", "groups": ["system:masters"]});
    let who = [&request["user"], &case["user"], &root].into_iter().find(|who| !who.is_null()).unwrap();
    let query = request["query"].as_str().unwrap_or_default();
    grant(&server).await;
    if !request["before"].is_null() {
        let (collection, object) = object(resource, namespace, &request["before"]);
        let answer = admin(&server, Method::POST, &collection, &object).await;
        assert_eq!(answer.code, 201, "{}", answer.text);
    }
    install(&server, case).await;
    let (collection, _) = object(resource, namespace, &json!({}));
    let named = format!("{collection}/it");
    if !request["create"].is_null() {
        let (collection, object) = object(resource, namespace, &request["create"]);
        return send(
            &server,
            who,
            Method::POST,
            &format!("{collection}{query}"),
            "application/json",
            &object,
        )
        .await;
    }
    if !request["update"].is_null() {
        let media = "application/merge-patch+json";
        return send(&server, who, Method::PATCH, &format!("{named}{query}"), media, &request["update"])
            .await;
    }
    if let Some(replicas) = request["scale"].as_u64() {
        let patch = json!({"spec": {"replicas": replicas}});
        let path = format!("{named}/scale");
        return send(&server, who, Method::PATCH, &path, "application/merge-patch+json", &patch).await;
    }
    send(&server, who, Method::DELETE, &named, "application/json", &json!({})).await
}

/// Writes that a real server would refuse must not pass here, and the other way round.
#[tokio::test]
async fn policies_decide_as_on_a_real_server() {
    let cases: Value = serde_saphyr::from_str(include_str!("../data/policies.yaml")).unwrap();
    let mut wrong = Vec::new();
    for case in cases.as_array().unwrap() {
        for request in case["requests"].as_array().unwrap() {
            let answer = run(case, request).await;
            let says = request["says"].as_str().unwrap_or_default();
            let warnings: Vec<_> =
                answer.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect();
            let warned =
                request["warn"].as_str().is_none_or(|warn| warnings.iter().any(|w| w.contains(warn)));
            let quiet = request["warn"].is_null() && !warnings.is_empty();
            let code = request["expect"].as_u64().unwrap();
            if u64::from(answer.code) != code
                || !answer.text.replace("\\\"", "\"").contains(says)
                || !warned
                || quiet
            {
                wrong.push(format!(
                    "{}: {request}\n  {} {} {warnings:?}",
                    case["name"], answer.code, answer.text
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A policy that can't be judged by is refused where it is written, with the place: later it would refuse everything.
#[tokio::test]
async fn what_can_not_be_judged_by_is_refused_when_written() {
    let server = support::server().await;
    let policy = |change: Value| {
        let mut policy = json!({"metadata": {"name": "p"}, "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]},
            ]},
            "validations": [{"expression": "true"}],
        }});
        json_patch::merge(&mut policy["spec"], &change);
        policy
    };
    let rule = |expression: &str| json!({"validations": [{"expression": expression}]});
    let cases = [
        (
            rule("object.x =="),
            "spec.validations[0].expression: Invalid value: \"object.x ==\": compilation failed:",
        ),
        (
            rule("objekt.x"),
            "spec.validations[0].expression: Invalid value: \"objekt.x\": compilation failed: undeclared reference to 'objekt'",
        ),
        (rule("params.x == 1"), "the policy has no paramKind"),
        (rule("variables.x"), "undefined field 'x'"),
        (rule("object.frobnicate()"), "there is no function `frobnicate`"),
        (rule(""), "spec.validations[0].expression: Required value"),
        (json!({"validations": []}), "spec.validations: Required value"),
        (
            json!({"matchConstraints": {"resourceRules": []}}),
            "spec.matchConstraints.resourceRules: Required value",
        ),
        (json!({"matchConstraints": null}), "spec.matchConstraints: Required value"),
        (
            json!({"matchConditions": [{"name": "x", "expression": "variables.y"}]}),
            "spec.matchConditions[0].expression",
        ),
        (
            json!({"variables": [{"name": "b", "expression": "variables.a"}, {"name": "a", "expression": "1"}]}),
            "spec.variables[0].expression: Invalid value: \"variables.a\": compilation failed: undefined field 'a'",
        ),
        (json!({"variables": [{"name": "a-b", "expression": "1"}]}), "name is not a valid CEL identifier"),
        (
            json!({"validations": [{"expression": "true", "messageExpression": "authorizer.path('/').check('get').reason()"}]}),
            "messages can't ask it",
        ),
        (
            json!({"validations": [{"expression": "true", "reason": "Because"}]}),
            "spec.validations[0].reason: Unsupported value: \"Because\"",
        ),
        (
            json!({"auditAnnotations": [{"key": "k", "valueExpression": "1 +"}]}),
            "spec.auditAnnotations[0].valueExpression",
        ),
    ];
    for (change, expected) in cases {
        let answer = admin(&server, Method::POST, POLICIES, &policy(change.clone())).await;
        let text = answer.message();
        assert!(answer.code == 422 && text.contains(expected), "{change}: {} {text}", answer.code);
    }
    assert_eq!(admin(&server, Method::POST, POLICIES, &policy(json!({}))).await.code, 201);
    let put = admin(&server, Method::PATCH, &format!("{POLICIES}/p"), &json!({"spec": rule("1 +")})).await;
    assert_eq!(put.code, 422, "{}", put.text);
    let bindings = [
        (json!({"policyName": "p"}), "spec.validationActions: Required value"),
        (json!({"validationActions": ["Deny"]}), "spec.policyName: Required value"),
        (
            json!({"policyName": "p", "validationActions": ["Deny", "Warn"]}),
            "must not contain both Deny and Warn",
        ),
        (json!({"policyName": "p", "validationActions": ["Shout"]}), "Unsupported value: \"Shout\""),
        (
            json!({"policyName": "p", "validationActions": ["Deny"], "paramRef": {"name": "x"}}),
            "spec.paramRef.parameterNotFoundAction: Required value",
        ),
        (
            json!({"policyName": "p", "validationActions": ["Deny"], "paramRef": {"parameterNotFoundAction": "Deny"}}),
            "exactly one of name and selector",
        ),
    ];
    for (spec, expected) in bindings {
        let binding = json!({"metadata": {"name": "b"}, "spec": spec});
        let answer = admin(&server, Method::POST, BINDINGS, &binding).await;
        let text = answer.message();
        assert!(answer.code == 422 && text.contains(expected), "{spec}: {} {text}", answer.code);
    }
}

/// One that was stored by a version that knew more, or damaged, must not let everything pass.
#[tokio::test]
async fn a_policy_that_can_no_longer_be_read_refuses() {
    let store = Store::memory(fleet_store::Options::default());
    let server = support::server_with(store.clone(), None).await;
    let case = |failure: &str| {
        json!({"policy": {
            "failurePolicy": failure,
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]},
            ]},
            "validations": [{"expression": "true"}],
        }})
    };
    install(&server, &case("Fail")).await;
    let stored = Range::cluster(HUB, "validatingadmissionpolicies.admissionregistration.k8s.io");
    for (failure, expected) in [("Fail", 422), ("Ignore", 201)] {
        let patch = json!({"spec": {"failurePolicy": failure, "validations": [{"expression": "true"}]}});
        assert_eq!(admin(&server, Method::PATCH, &format!("{POLICIES}/p"), &patch).await.code, 200);
        let entry = store.list(&stored, Page::default()).unwrap().entries.remove(0);
        let text = String::from_utf8(entry.value.to_vec()).unwrap();
        let broken = text.replace(r#""expression":"true""#, r#""expression":"frob(x)""#);
        assert_ne!(text, broken);
        let write = Write::put(move |_| broken.into());
        store.commit(entry.key, Expect::Any, write).await.unwrap();
        let (collection, object) = object("configmaps", "default", &json!({"metadata": {"name": "it"}}));
        let answer = admin(&server, Method::POST, &collection, &object).await;
        assert_eq!(answer.code, expected, "{failure}: {}", answer.text);
        if expected == 422 {
            assert!(answer.message().contains("failed to configure policy"), "{}", answer.text);
        }
    }
}

/// What was changed holds for the next write, and nobody is locked out of the policies themselves.
#[tokio::test]
async fn changes_of_policies_hold_at_once() {
    let server = support::server().await;
    let case = json!({"policy": {
        "matchConstraints": {"resourceRules": [
            {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]},
        ]},
        "validations": [{"expression": "false"}],
    }});
    let create = async |expected: u16| {
        let (collection, object) =
            object("configmaps", "default", &json!({"metadata": {"name": null, "generateName": "x-"}}));
        let mut object = object;
        object["metadata"]["name"] = Value::Null;
        object["metadata"]["generateName"] = json!("x-");
        let answer = admin(&server, Method::POST, &collection, &object).await;
        assert_eq!(answer.code, expected, "{}", answer.text);
    };
    create(201).await;
    install(&server, &case).await;
    create(422).await;
    let loosened = json!({"spec": {"validations": [{"expression": "true"}]}});
    assert_eq!(admin(&server, Method::PATCH, &format!("{POLICIES}/p"), &loosened).await.code, 200);
    create(201).await;
    let strict = json!({"spec": {"validations": [{"expression": "false"}]}});
    assert_eq!(admin(&server, Method::PATCH, &format!("{POLICIES}/p"), &strict).await.code, 200);
    create(422).await;
    // Other clusters have policies of their own.
    let elsewhere = support::post(&server, support::CONFIGMAPS, &support::configmap("x")).await;
    assert_eq!(elsewhere.code, 201);
    let warn = json!({"spec": {"validationActions": ["Warn"]}});
    assert_eq!(admin(&server, Method::PATCH, &format!("{BINDINGS}/p"), &warn).await.code, 200);
    create(201).await;
    let deny = json!({"spec": {"validationActions": ["Deny"]}});
    assert_eq!(admin(&server, Method::PATCH, &format!("{BINDINGS}/p"), &deny).await.code, 200);
    create(422).await;
    assert_eq!(admin(&server, Method::DELETE, &format!("{BINDINGS}/p"), &json!({})).await.code, 200);
    create(201).await;
    let found = support::ask(&server, HUB, Method::GET, ADMISSION, &[], "").await;
    assert_eq!(found.code, 200);
}
