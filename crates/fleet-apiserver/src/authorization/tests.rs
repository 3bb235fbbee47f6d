//! Who may do what, by table and by law.

mod laws;
mod world;

use serde_json::{Value, json};
use world::{World, binding, cluster_binding, role};

use super::{Attributes, Rule};

fn rule(value: Value) -> Rule {
    serde_json::from_value(value).unwrap()
}

/// Reads `verb group/resource/sub namespace name` (`core` for the core group), or `verb /path`.
fn attributes(text: &str) -> Attributes<'_> {
    let words: Vec<&str> = text.split(' ').collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    if word(1).starts_with('/') {
        return Attributes { verb: word(0), path: word(1), ..Attributes::default() };
    }
    let parts: Vec<&str> = word(1).split('/').collect();
    Attributes {
        verb: word(0),
        group: if parts[0] == "core" { "" } else { parts[0] },
        resource: parts[1],
        subresource: parts.get(2).copied().unwrap_or_default(),
        namespace: word(2),
        name: word(3),
        path: "",
    }
}

/// A rule that says more or less than Kubernetes reads in it would let people in, or lock them out.
#[test]
fn a_rule_allows_what_kubernetes_documents() {
    let pods = rule(json!({"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]}));
    let named = rule(json!({"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["web"],
        "verbs": ["get", "approve"]}));
    let scale = rule(json!({"apiGroups": ["*"], "resources": ["*/scale"], "verbs": ["*"]}));
    let all = rule(json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}));
    let paths = rule(json!({"nonResourceURLs": ["/healthz", "/logs/*"], "verbs": ["get"]}));
    let every_path = rule(json!({"nonResourceURLs": ["*"], "verbs": ["*"]}));
    for (rule, question, allowed) in [
        (&pods, "get core/pods a x", true),
        (&pods, "list core/pods", true),
        (&pods, "watch core/pods", false),
        (&pods, "get core/pods/log a x", true),
        (&pods, "get core/pods/status a x", false),
        (&pods, "get apps/pods a x", false),
        (&pods, "GET core/pods a x", false),
        (&named, "get apps/deployments a web", true),
        (&named, "approve apps/deployments a web", true),
        (&named, "get apps/deployments a web2", false),
        (&named, "get apps/deployments a", false),
        (&named, "get apps/deployments/scale a web", false),
        (&scale, "patch apps/deployments/scale a web", true),
        (&scale, "patch apps/deployments a web", false),
        (&scale, "patch apps/scale a web", false),
        (&all, "escalate rbac.authorization.k8s.io/roles a x", true),
        (&all, "get core/pods/log a x", true),
        (&all, "get /healthz", false),
        (&paths, "get /healthz", true),
        (&paths, "get /healthz/x", false),
        (&paths, "get /logs/x/y", true),
        (&paths, "post /healthz", false),
        (&paths, "get core/pods", false),
        (&every_path, "post /anything", true),
        (&every_path, "get apps/pods", false),
    ] {
        assert_eq!(rule.allows(&attributes(question)), allowed, "{question} by {rule}");
    }
}

/// What a writer lacks is told verb by verb, and what they have isn't.
#[test]
fn what_is_lacking_is_named() {
    let own = [
        rule(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]})),
        rule(json!({"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"], "resourceNames": ["web"]})),
        rule(json!({"nonResourceURLs": ["/a/*"], "verbs": ["get"]})),
    ];
    let lacking = |given: Value| -> Vec<String> {
        let lacking = super::escalation::lacking(&own, &[rule(given)]).unwrap();
        lacking.iter().map(ToString::to_string).collect()
    };
    let none: [&str; 0] = [];
    assert_eq!(lacking(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "get"]})), none);
    assert_eq!(lacking(json!({"nonResourceURLs": ["/a/b", "/a/*"], "verbs": ["get"]})), none);
    assert_eq!(lacking(json!({"nonResourceURLs": ["/a", "*"], "verbs": ["get"]})).len(), 2);
    let scaled =
        json!({"apiGroups": ["apps"], "resources": ["x/scale"], "resourceNames": ["web"], "verbs": ["get"]});
    assert_eq!(lacking(scaled), none);
    assert_eq!(
        lacking(json!({"apiGroups": ["apps"], "resources": ["x"], "verbs": ["get"]})),
        [r#"{APIGroups:["apps"], Resources:["x"], Verbs:["get"]}"#],
        "a rule for one name isn't one for all"
    );
    assert_eq!(
        lacking(json!({"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "delete"]})),
        [
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}"#,
            r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]}"#,
        ]
    );
    let many: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    let wide = rule(json!({"apiGroups": many, "resources": many, "verbs": many}));
    let refused = super::escalation::lacking(&own, &[wide]).unwrap_err();
    assert!(refused.contains("name fewer"), "refused at once, not compared for hours: {refused}");
}

#[tokio::test]
async fn bindings_decide_for_users_groups_and_accounts() {
    let world = World::new().await;
    world
        .put(&role(
            "demo",
            "reader",
            json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]),
        ))
        .await;
    world
        .put(&binding(
            "demo",
            "readers",
            "Role/reader",
            &["User/ann", "Group/devs", "ServiceAccount/bot", "ServiceAccount/ci:bot"],
        ))
        .await;
    world.put(&binding("demo", "viewers", "ClusterRole/view", &["User/vic"])).await;
    world.put(&cluster_binding("all-viewers", "ClusterRole/view", &["Group/auditors"])).await;
    world.settle().await;
    for (user, groups, question, allowed) in [
        ("ann", "", "get core/configmaps demo x", true),
        ("ann", "", "get core/configmaps default x", false),
        ("ann", "", "delete core/configmaps demo x", false),
        ("ann", "", "get core/secrets demo x", false),
        ("Ann", "", "get core/configmaps demo x", false),
        ("devs", "", "get core/configmaps demo x", false),
        ("ben", "devs", "list core/configmaps demo", true),
        ("ben", "ann", "list core/configmaps demo", false),
        ("system:serviceaccount:demo:bot", "", "list core/configmaps demo", true),
        ("system:serviceaccount:ci:bot", "", "list core/configmaps demo", true),
        ("system:serviceaccount:other:bot", "", "list core/configmaps demo", false),
        ("vic", "", "get apps/deployments demo web", true),
        ("vic", "", "list apps/deployments", false),
        ("vic", "", "get core/namespaces demo demo", true),
        ("vic", "", "get core/namespaces default default", false),
        ("vic", "", "get core/pods/log demo p", true),
        ("vic", "", "get core/secrets demo s", false),
        ("tom", "auditors", "list apps/deployments", true),
        ("tom", "auditors", "list apps/deployments demo", true),
        ("tom", "auditors", "create apps/deployments demo", false),
        ("tom", "", "get /version", true),
        ("tom", "", "get /apis/apps/v1", true),
        ("tom", "", "get /metrics", false),
        ("tom", "", "create authorization.k8s.io/selfsubjectaccessreviews", true),
        ("tom", "", "create authorization.k8s.io/subjectaccessreviews", false),
        ("root", "system:masters", "escalate rbac.authorization.k8s.io/clusterroles", true),
    ] {
        assert_eq!(world.may(user, groups, question), allowed, "{user} ({groups}): {question}");
    }
    assert_eq!(
        world.decide("ann", "", "get core/configmaps demo x").reason,
        r#"RBAC: allowed by RoleBinding "readers/demo" of Role "reader" to User "ann""#
    );
    assert_eq!(
        world.decide("tom", "auditors", "list core/pods").reason,
        r#"RBAC: allowed by ClusterRoleBinding "all-viewers" of ClusterRole "view" to Group "auditors""#
    );
}

/// A right that was taken away would go on until the process ends.
#[tokio::test]
async fn every_change_counts_at_once() {
    let world = World::new().await;
    let question = "get core/configmaps demo x";
    assert!(!world.may("ann", "", question));
    world.put(&binding("demo", "b", "Role/r", &["User/ann"])).await;
    assert_eq!(
        world.decide("ann", "", question).reason,
        r#"RBAC: role.rbac.authorization.k8s.io "r" not found"#
    );
    world
        .put(&role("demo", "r", json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}])))
        .await;
    assert!(world.may("ann", "", question));
    world.put(&role("demo", "r", json!([]))).await;
    assert!(!world.may("ann", "", question));
    world
        .put(&role("demo", "r", json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}])))
        .await;
    assert!(world.may("ann", "", question));
    world.put(&binding("demo", "b", "Role/r", &["User/ben"])).await;
    assert!(!world.may("ann", "", question) && world.may("ben", "", question));
    world.delete(&binding("demo", "b", "Role/r", &[])).await;
    assert!(!world.may("ben", "", question));
    world.put(&cluster_binding("b", "ClusterRole/cluster-admin", &["User/ann"])).await;
    assert!(world.may("ann", "", question) && world.may("ann", "", "get core/secrets"));
    world.delete(&cluster_binding("b", "ClusterRole/cluster-admin", &[])).await;
    assert!(!world.may("ann", "", question));
    // More changes than a watcher holds back.
    let history = fleet_store::Options { history_bytes: 2_000, watch_queue: 2 };
    let world = World::over(history).await;
    assert!(!world.may("ann", "", question));
    world
        .put(&role("demo", "r", json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}])))
        .await;
    for number in 0..40 {
        world.put(&binding("demo", &format!("b{number}"), "Role/r", &["User/zoe"])).await;
    }
    world.put(&binding("demo", "last", "Role/r", &["User/ann"])).await;
    assert!(world.may("ann", "", question), "what was missed is read anew");
}

/// A cluster's roles would open another one.
#[tokio::test]
async fn clusters_know_nothing_of_each_other() {
    let world = World::new().await;
    world.put(&cluster_binding("b", "ClusterRole/cluster-admin", &["User/ann"])).await;
    assert!(world.may("ann", "", "get core/secrets"));
    assert_eq!(world.ask("member", "ann", "GET", "/api/v1/secrets", &Value::Null).await.0, 403);
    assert_eq!(world.ask("*", "ann", "GET", "/api/v1/secrets", &Value::Null).await.0, 403, "the wildcard");
}

/// Refusals are read by people and matched on by clients.
#[tokio::test]
async fn refusals_are_in_kubernetes_words() {
    let world = World::new().await;
    for (method, path, message) in [
        (
            "GET",
            "/api/v1/namespaces/demo/pods",
            r#"pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "demo""#,
        ),
        (
            "GET",
            "/apis/apps/v1/deployments",
            r#"deployments.apps is forbidden: User "ann" cannot list resource "deployments" in API group "apps" at the cluster scope"#,
        ),
        (
            "GET",
            "/api/v1/namespaces/demo/pods/web/log",
            r#"pods "web" is forbidden: User "ann" cannot get resource "pods/log" in API group "" in the namespace "demo""#,
        ),
        ("GET", "/metrics", r#"forbidden: User "ann" cannot get path "/metrics""#),
        (
            "GET",
            "/apis/example.org/v1/things",
            r#"things.example.org is forbidden: User "ann" cannot list resource "things" in API group "example.org" at the cluster scope"#,
        ),
    ] {
        let (code, answer) = world.ask("hub", "ann", method, path, &Value::Null).await;
        assert_eq!((code, answer["message"].as_str().unwrap()), (403, message), "{path}");
        assert_eq!(answer["reason"], "Forbidden");
    }
    world.put(&binding("demo", "b", "Role/none", &["User/ann"])).await;
    let (_, answer) = world.ask("hub", "ann", "GET", "/api/v1/namespaces/demo/pods", &Value::Null).await;
    let message = answer["message"].as_str().unwrap();
    assert!(message.ends_with(r#": RBAC: role.rbac.authorization.k8s.io "none" not found"#), "{message}");
}

/// One name among many is what `resourceNames` are for: a list of exactly that one is allowed, and no other.
#[tokio::test]
async fn a_list_of_one_name_is_a_question_for_that_name() {
    let world = World::new().await;
    let only = json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"], "verbs": ["list", "watch", "get"]}]);
    world.put(&role("demo", "r", only)).await;
    world.put(&binding("demo", "b", "Role/r", &["User/ann"])).await;
    let maps = "/api/v1/namespaces/demo/configmaps";
    for (selector, code) in [
        ("?fieldSelector=metadata.name%3Done", 200),
        ("?fieldSelector=metadata.name%3D%3Done", 200),
        ("", 403),
        ("?fieldSelector=metadata.name%3Dtwo", 403),
        ("?fieldSelector=metadata.name!%3Done", 403),
        // Another field whose value only looks so, with an escaped comma.
        ("?fieldSelector=metadata.namespace!%3Dx%5C,metadata.name%3Done", 403),
        ("?labelSelector=metadata.name%3Done", 403),
    ] {
        let (got, answer) = world.ask("hub", "ann", "GET", &format!("{maps}{selector}"), &Value::Null).await;
        assert_eq!(got, code, "{selector}: {answer}");
    }
}

/// A role that says nothing, or what it can't, would be found out only by whoever waits for its rights.
#[tokio::test]
async fn roles_that_say_nothing_are_refused() {
    let world = World::new().await;
    for (namespace, rules, message) in [
        ("demo", json!([{"apiGroups": [""], "resources": ["pods"]}]), "rules[0].verbs: Required value"),
        ("demo", json!([{"resources": ["pods"], "verbs": ["get"]}]), "rules[0].apiGroups: Required value"),
        ("", json!([{"apiGroups": [""], "verbs": ["get"]}]), "rules[0].resources: Required value"),
        (
            "demo",
            json!([{"nonResourceURLs": ["/a"], "verbs": ["get"]}]),
            r#"rules[0].nonResourceURLs: Invalid value: ["/a"]: namespaced rules cannot"#,
        ),
        (
            "",
            json!([{"nonResourceURLs": ["/a"], "resources": ["pods"], "verbs": ["get"]}]),
            "rules cannot apply to both regular resources and non-resource URLs",
        ),
    ] {
        let (code, answer) = world.put_as("", &role(namespace, "r", rules)).await;
        assert_eq!(code, 422, "{answer}");
        let got = answer["message"].as_str().unwrap();
        assert!(got.contains(message), "{got}");
    }
    for (selectors, message) in [
        (json!([]), "at least one clusterRoleSelector required"),
        (json!([{"matchLabels": {"a b": "x"}}]), "clusterRoleSelectors[0]: Invalid value"),
    ] {
        let mut gathering = role("", "r", Value::Null);
        gathering["aggregationRule"] = json!({"clusterRoleSelectors": selectors});
        let (code, answer) = world.put_as("", &gathering).await;
        assert_eq!(code, 422, "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(message), "{answer}");
    }
    let owner = json!([{"kind": "Robot", "name": "x"}]);
    let mut bad = binding("demo", "b", "ClusterRole/view", &[]);
    bad["subjects"] = owner;
    assert_eq!(world.put_as("", &bad).await.0, 422);
}

/// A label on somebody else's role would bring its rules into a role that the labeller has.
#[tokio::test]
async fn a_label_hands_out_rights_too() {
    let world = World::new().await;
    let plain = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
        "verbs": ["get", "patch"]}]);
    world.put(&role("", "writer", plain)).await;
    world
        .put(&role("", "strong", json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}])))
        .await;
    world.put(&role("", "weak", json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]))).await;
    for name in ["writer", "view"] {
        world.put(&cluster_binding(name, &format!("ClusterRole/{name}"), &["User/eve"])).await;
    }
    let label = json!({"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}});
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let (code, answer) = world.ask("hub", "eve", "PATCH", &format!("{path}/strong"), &label).await;
    assert_eq!(code, 403, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("not currently held"), "{answer}");
    world.settle().await;
    assert!(!world.may("eve", "", "get core/secrets demo s"));
    let (code, answer) = world.ask("hub", "eve", "PATCH", &format!("{path}/weak"), &label).await;
    assert_eq!(code, 200, "what she has she may pass on: {answer}");
    let note = json!({"metadata": {"annotations": {"note": "x"}}});
    let (code, answer) = world.ask("hub", "eve", "PATCH", &format!("{path}/strong"), &note).await;
    assert_eq!(code, 200, "an annotation gives nothing: {answer}");
}

/// Whoever may write roles makes one of their own gather others, and has all that these give.
#[tokio::test]
async fn a_role_that_gathers_others_takes_every_right_to_write() {
    let world = World::new().await;
    let writing = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
        "verbs": ["create", "get", "patch"]}]);
    world.put(&role("", "writer", writing)).await;
    world.put(&role("", "own", json!([]))).await;
    for name in ["writer", "own"] {
        world.put(&cluster_binding(name, &format!("ClusterRole/{name}"), &["User/eve"])).await;
    }
    let rule = json!({"clusterRoleSelectors": [{"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}}]});
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let (code, answer) =
        world.ask("hub", "eve", "PATCH", &format!("{path}/own"), &json!({"aggregationRule": rule})).await;
    assert_eq!(code, 403, "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("must have cluster-admin privileges to use an aggregationRule"), "{message}");
    let mut made = role("", "made", Value::Null);
    made["aggregationRule"] = rule;
    assert_eq!(world.put_as("eve", &made).await.0, 403);
    world.settle().await;
    assert!(!world.may("eve", "", "get core/secrets demo s"));
}
