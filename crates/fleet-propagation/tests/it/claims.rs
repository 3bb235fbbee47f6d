use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::ObjectId;
use fleet_propagation::{Claims, ObjectFacts, Policy, PolicyId, Precision};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cases::reader;

fn policy(kind: &str, name: &str, spec: Value) -> Policy {
    let mut manifest = json!({
        "apiVersion": "one.alibabacloud.com/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
    });
    if kind == "PropagationPolicy" {
        manifest["metadata"]["namespace"] = json!("demo");
    }
    reader().propagation(&manifest).unwrap()
}

fn object(kind: &str, namespace: &str, name: &str) -> ObjectFacts {
    let api_version = if kind == "Deployment" { "apps/v1" } else { "v1" };
    let manifest = json!({"apiVersion": api_version, "kind": kind,
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}}});
    ObjectFacts::of(&manifest).unwrap()
}

fn of_kind(rest: Value) -> Value {
    let mut selector = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    for (key, value) in rest.as_object().unwrap() {
        selector[key] = value.clone();
    }
    selector
}

fn spec(selector: Value, priority: i32, preempts: bool) -> Value {
    json!({"resourceSelectors": [of_kind(selector)], "priority": priority,
        "preemption": if preempts { "Always" } else { "Never" }})
}

fn by_name(name: &str) -> Value {
    json!({"name": name})
}

fn holder(claims: &Claims, facts: &ObjectFacts) -> String {
    claims.holder(&facts.id).map(ToString::to_string).unwrap_or_default()
}

fn lost(claims: &Claims, facts: &ObjectFacts) -> Vec<(String, &'static str)> {
    let outcome = claims.outcome(&facts.id).unwrap();
    outcome.lost.iter().map(|(id, why)| (id.name.clone(), why.code())).collect()
}

/// Broken: two policies want an object, and the wrong one gets it, or the other isn't told why not.
#[test]
fn the_first_by_scope_priority_precision_and_name_wins() {
    let nginx = object("Deployment", "demo", "nginx");
    let mut claims = Claims::new();
    let labels = json!({"labelSelector": {"matchLabels": {"app": "nginx"}}});
    for policy in [
        policy("ClusterPropagationPolicy", "high", spec(by_name("nginx"), 9, false)),
        policy("PropagationPolicy", "kind", spec(json!({}), 5, false)),
        policy("PropagationPolicy", "labels", spec(labels, 5, false)),
        policy("PropagationPolicy", "name-b", spec(by_name("nginx"), 5, false)),
        policy("PropagationPolicy", "name-a", spec(by_name("nginx"), 5, false)),
        policy("PropagationPolicy", "low", spec(by_name("nginx"), 0, false)),
        policy("PropagationPolicy", "other", spec(by_name("other"), 9, false)),
    ] {
        claims.set_policy(policy);
    }
    claims.set_object(nginx.clone());
    assert_eq!(holder(&claims, &nginx), "PropagationPolicy demo/name-a");
    assert_eq!(
        lost(&claims, &nginx),
        [
            ("name-b".to_owned(), "LaterName"),
            ("labels".to_owned(), "LessPrecise"),
            ("kind".to_owned(), "LessPrecise"),
            ("low".to_owned(), "LowerPriority"),
            ("high".to_owned(), "ClusterScoped"),
        ]
    );
    let outcome = claims.outcome(&nginx.id).unwrap();
    let winner = outcome.winner.as_ref().map(|(id, _)| id);
    assert!(outcome.lost.iter().all(|(_, why)| why.message(winner).contains("name-a")));
}

/// Broken: a new policy takes a running workload over by surprise, or can't even where it says so.
#[test]
fn what_is_claimed_stays_unless_preempted() {
    let nginx = object("Deployment", "demo", "nginx");
    let mut claims = Claims::new();
    claims.set_policy(policy("ClusterPropagationPolicy", "first", spec(by_name("nginx"), 0, false)));
    claims.set_object(nginx.clone());
    let changes = claims.set_policy(policy("PropagationPolicy", "second", spec(by_name("nginx"), 7, false)));
    assert_eq!(
        (holder(&claims, &nginx).as_str(), changes.moved.len()),
        ("ClusterPropagationPolicy first", 0)
    );
    assert_eq!(lost(&claims, &nginx), [("second".to_owned(), "AlreadyClaimed")]);

    let changes = claims.set_policy(policy("PropagationPolicy", "second", spec(by_name("nginx"), 7, true)));
    assert_eq!((holder(&claims, &nginx).as_str(), changes.moved.len()), ("PropagationPolicy demo/second", 1));
    // A cluster-scoped policy never takes from a namespaced one, and equals don't take from each other.
    claims.set_policy(policy("ClusterPropagationPolicy", "first", spec(by_name("nginx"), 99, true)));
    claims.set_policy(policy("PropagationPolicy", "equal", spec(by_name("nginx"), 7, true)));
    assert_eq!(holder(&claims, &nginx), "PropagationPolicy demo/second");
    // What is freed goes to the best of the others.
    let id = PolicyId::new(fleet_api::propagation::PolicyKind::PropagationPolicy, "demo", "second");
    claims.remove_policy(&id);
    assert_eq!(holder(&claims, &nginx), "PropagationPolicy demo/equal");
}

/// Broken: a restart gives objects to other policies than before.
#[test]
fn a_recorded_holder_keeps_what_it_has() {
    let mut nginx = object("Deployment", "demo", "nginx");
    let mut claims = Claims::new();
    claims.set_policy(policy("PropagationPolicy", "a", spec(by_name("nginx"), 5, false)));
    let late = policy("PropagationPolicy", "z", spec(by_name("nginx"), 0, false));
    nginx.holder = Some(late.id.clone());
    claims.set_policy(late);
    claims.set_object(nginx.clone());
    assert_eq!(holder(&claims, &nginx), "PropagationPolicy demo/z");
}

/// Broken: an edit with a mistake takes everything from where it is, or lets another policy have it.
#[test]
fn a_policy_with_errors_keeps_what_it_has_and_takes_nothing() {
    let (nginx, redis) = (object("Deployment", "demo", "nginx"), object("Deployment", "demo", "redis"));
    let mut claims = Claims::new();
    claims.set_policy(policy("PropagationPolicy", "a", spec(json!({}), 0, false)));
    claims.set_policy(policy("PropagationPolicy", "b", spec(json!({}), 9, true)));
    claims.set_object(nginx.clone());
    assert_eq!(holder(&claims, &nginx), "PropagationPolicy demo/b");
    let broken = policy("PropagationPolicy", "b", spec(json!({"namespace": "elsewhere"}), 9, true));
    assert!(!broken.acts);
    let changes = claims.set_policy(broken);
    claims.set_object(redis.clone());
    assert_eq!((holder(&claims, &nginx).as_str(), changes.moved.len()), ("PropagationPolicy demo/b", 0));
    assert_eq!(holder(&claims, &redis), "PropagationPolicy demo/a");
}

/// Broken: an object is delivered by an Application and a policy at once, or taken from the one by the other.
#[test]
fn an_application_goes_first_and_takes_nothing_away() {
    let mut nginx = object("Deployment", "demo", "nginx");
    nginx.application = Some("demo/shop".to_owned());
    let mut claims = Claims::new();
    let own = policy("PropagationPolicy", "a", spec(by_name("nginx"), 0, false));
    let id = own.id.clone();
    claims.set_policy(own);
    claims.set_object(nginx.clone());
    assert_eq!(holder(&claims, &nginx), "");
    assert_eq!(lost(&claims, &nginx), [("a".to_owned(), "OwnedByApplication")]);
    let said = |claims: &Claims| {
        claims.problems(&id).iter().map(|problem| problem.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        said(&claims),
        [
            "Application demo/shop refers to Deployment demo/nginx; the Application delivers it. Take it out of the one or the other"
        ]
    );
    nginx.application = None;
    claims.set_object(nginx.clone());
    nginx.application = Some("demo/shop".to_owned());
    claims.set_object(nginx.clone());
    assert_eq!(holder(&claims, &nginx), "PropagationPolicy demo/a");
    assert!(said(&claims)[0].contains("keeps it"), "{:?}", said(&claims));
}

/// Broken: a selector that matches nothing, or two policies that want the same, are silent.
#[test]
fn what_is_wrong_beside_the_others_is_told() {
    let mut claims = Claims::new();
    for name in ["nginx", "redis", "mysql"] {
        claims.set_object(object("Deployment", "demo", name));
    }
    claims.set_object(object("Deployment", "elsewhere", "kafka"));
    let mut say = |kind: &str, name: &str, spec: Value| {
        let policy = policy(kind, name, spec);
        let id = policy.id.clone();
        claims.set_policy(policy);
        claims
            .problems(&id)
            .iter()
            .map(|problem| format!("{}: {}", problem.reason, problem.message))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        say("PropagationPolicy", "a", spec(by_name("ngnix"), 0, false)),
        ["SelectorMatchesNothing: there is no Deployment demo/ngnix; did you mean \"nginx\"?"]
    );
    assert_eq!(
        say("PropagationPolicy", "b", spec(by_name("kafka"), 0, false)),
        ["SelectorMatchesNothing: there is no Deployment demo/kafka; kafka is in elsewhere, not in demo"]
    );
    assert_eq!(
        say(
            "PropagationPolicy",
            "c",
            spec(json!({"labelSelector": {"matchLabels": {"app": "x"}}}), 0, false)
        ),
        [
            "SelectorMatchesNothing: there is no Deployment with app=x in demo; what is created later is taken up"
        ]
    );
    assert_eq!(say("PropagationPolicy", "m", spec(json!({}), 3, false)), Vec::<String>::new());
    assert_eq!(
        say("PropagationPolicy", "k", spec(json!({}), 3, false)),
        [
            "EqualPriority: PropagationPolicy demo/m has the same priority, 3, and selects Deployment demo/mysql and 2 more too; \
          that one has it, since it had it before. Give one of them a higher priority; PropagationPolicy demo/k needs preemption: Always, \
          too, to take it over"
        ]
    );
    assert_eq!(
        say("PropagationPolicy", "m", spec(json!({}), 3, false)),
        [
            "EqualPriority: PropagationPolicy demo/k has the same priority, 3, and selects Deployment demo/mysql and 2 more too; \
          this policy has it, since it had it before. Give one of them a higher priority; PropagationPolicy demo/k needs preemption: Always, \
          too, to take it over"
        ]
    );
}

/// Broken: members' credentials, or what clusters make for themselves, are swept up by a wide selector.
#[test]
fn what_is_not_for_distribution_is_left_alone() {
    let mut claims = Claims::new();
    let all = |kind: &str| json!({"resourceSelectors": [{"apiVersion": "v1", "kind": kind}]});
    claims.set_policy(policy("ClusterPropagationPolicy", "secrets", all("Secret")));
    claims.set_policy(policy("ClusterPropagationPolicy", "maps", all("ConfigMap")));
    claims.set_policy(policy("ClusterPropagationPolicy", "pods", all("Pod")));
    let mut made = object("Pod", "demo", "nginx-1");
    made.made = true;
    for left in [
        object("Secret", "fleetctl-system", "member-a"),
        object("Secret", "kube-system", "token"),
        object("ConfigMap", "demo", "kube-root-ca.crt"),
        made,
    ] {
        claims.set_object(left.clone());
        assert_eq!(holder(&claims, &left), "", "{}", left.id);
    }
    let taken = object("Secret", "demo", "password");
    claims.set_object(taken.clone());
    assert_eq!(holder(&claims, &taken), "ClusterPropagationPolicy secrets");
    // What a cluster can't do without is its own, whatever takes the whole kind: deleting the policy would take it away.
    let all = |api_version: &str, kind: &str| json!({"resourceSelectors": [{"apiVersion": api_version, "kind": kind}]});
    let rbac = "rbac.authorization.k8s.io/v1";
    for (name, api_version, kind, one, label, taken) in [
        ("roles", rbac, "ClusterRole", "cluster-admin", "", false),
        ("roles", rbac, "ClusterRole", "system:node", "", false),
        ("roles", rbac, "ClusterRole", "view", "kubernetes.io/bootstrapping=rbac-defaults", false),
        ("roles", rbac, "ClusterRole", "fleetctl-approver", "app.kubernetes.io/name=fleetctl", false),
        ("roles", rbac, "ClusterRole", "reader", "", true),
        ("services", "v1", "Service", "kubernetes", "", false),
        ("services", "v1", "Service", "web", "", true),
        ("crds", "apiextensions.k8s.io/v1", "CustomResourceDefinition", "runs.fleetctl.dev", "", false),
        ("crds", "apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com", "", true),
        ("classes", "scheduling.k8s.io/v1", "PriorityClass", "system-node-critical", "", false),
    ] {
        claims.set_policy(policy("ClusterPropagationPolicy", name, all(api_version, kind)));
        let namespace = if kind == "Service" { "default" } else { "" };
        let mut found = object(kind, namespace, one);
        found.id = ObjectId::new(api_version, kind, namespace, one);
        let label = label.split_once('=').map(|(key, value)| (key.into(), value.into()));
        found.labels = Arc::new(label.into_iter().collect());
        claims.set_object(found.clone());
        assert_eq!(!holder(&claims, &found).is_empty(), taken, "{}", found.id);
    }
    let named = json!({"resourceSelectors": [{"apiVersion": "v1", "kind": "Secret", "namespace": "kube-system", "name": "token"}]});
    claims.set_policy(policy("ClusterPropagationPolicy", "named", named));
    assert_eq!(holder(&claims, &object("Secret", "kube-system", "token")), "ClusterPropagationPolicy named");
}

#[derive(Debug, Clone)]
enum Doing {
    SetPolicy(usize, usize, i32, bool, bool),
    RemovePolicy(usize),
    SetObject(usize, bool, bool),
    RemoveObject(usize),
}

fn doings() -> impl Strategy<Value = Vec<Doing>> {
    let one = prop_oneof![
        4 => (0_usize..6, 0_usize..5, 0_i32..3, any::<bool>(), prop::bool::weighted(0.15))
            .prop_map(|(who, what, priority, preempts, broken)| Doing::SetPolicy(who, what, priority, preempts, broken)),
        1 => (0_usize..6).prop_map(Doing::RemovePolicy),
        3 => (0_usize..5, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(which, labelled, application)| Doing::SetObject(which, labelled, application)),
        1 => (0_usize..5).prop_map(Doing::RemoveObject),
    ];
    prop::collection::vec(one, 1..30)
}

fn some_policy(who: usize, what: usize, priority: i32, preempts: bool, broken: bool) -> Policy {
    let selector = match what {
        0 => json!({"name": "o0"}),
        1 => json!({"name": "o1"}),
        2 => json!({"labelSelector": {"matchLabels": {"tier": "front"}}}),
        3 => json!({"namespace": "demo"}),
        _ => json!({}),
    };
    let kind = if who < 3 { "PropagationPolicy" } else { "ClusterPropagationPolicy" };
    let mut spec = spec(selector, priority, preempts);
    if broken {
        spec["placement"] = json!({"spreadConstraints": [{}]});
    }
    policy(kind, &format!("p{who}"), spec)
}

fn some_object(which: usize, labelled: bool, application: bool) -> ObjectFacts {
    let namespace = if which < 3 { "demo" } else { "other" };
    let mut facts = object("Deployment", namespace, &format!("o{}", which % 3));
    if labelled {
        Arc::make_mut(&mut facts.labels).insert("tier".to_owned(), "front".to_owned());
    }
    facts.application = application.then(|| "demo/app".to_owned());
    facts
}

/// The rules once more, as they are written down, without an index and for everything at once.
#[derive(Default)]
struct Naive {
    policies: BTreeMap<PolicyId, Policy>,
    objects: BTreeMap<ObjectId, (ObjectFacts, Option<PolicyId>)>,
}

impl Naive {
    fn settle(&mut self) {
        for (facts, holder) in self.objects.values_mut() {
            let rank = |policy: &Policy| (policy.id.namespace == "demo", policy.priority);
            let all: Vec<(&Policy, Precision)> = self
                .policies
                .values()
                .filter_map(|policy| Some((policy, policy.selectors.precision(facts)?)))
                .collect();
            let acting = || all.iter().filter(|(policy, _)| policy.acts);
            let best = |some: Vec<&(&Policy, Precision)>| {
                some.into_iter()
                    .max_by_key(|(policy, how)| (rank(policy), *how, Reverse(policy.id.name.clone())))
                    .map(|(policy, _)| policy.id.clone())
            };
            let has = holder.as_ref().and_then(|id| self.policies.get(id));
            let has = has.filter(|has| !has.acts || all.iter().any(|(policy, _)| policy.id == has.id));
            *holder = match has {
                Some(has) => {
                    let above =
                        acting().filter(|(policy, _)| policy.preempts && rank(policy) > rank(has)).collect();
                    best(above).or(Some(has.id.clone()))
                }
                None if facts.application.is_some() => None,
                None => best(acting().collect()),
            };
        }
    }
}

/// Everything that the status of each policy tells.
fn told(claims: &Claims, naive: &Naive) -> BTreeMap<PolicyId, Vec<String>> {
    let of = |id: &PolicyId| {
        let objects = claims.matched(id).map(|object| {
            format!(
                "{object}: {:?}",
                claims.outcome(object).map(|outcome| {
                    let lost = outcome.lost.into_iter().find(|(loser, _)| loser == id);
                    (outcome.winner, lost)
                })
            )
        });
        let problems =
            claims.problems(id).into_iter().filter(|problem| problem.reason != "SelectorMatchesNothing");
        objects.chain(problems.map(|problem| problem.message)).collect()
    };
    naive.policies.keys().map(|id| (id.clone(), of(id))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// Broken: what changes is decided otherwise than everything anew: an edit is missed, an object is lost or held
    /// twice, or a policy's status tells of other objects than it has.
    #[test]
    fn change_by_change_is_as_everything_anew(doings in doings()) {
        let (mut claims, mut naive) = (Claims::new(), Naive::default());
        for doing in doings {
            let told = told(&claims, &naive);
            let before: BTreeMap<ObjectId, Option<PolicyId>> =
                naive.objects.iter().map(|(id, (_, holder))| (id.clone(), holder.clone())).collect();
            let changes = match doing {
                Doing::SetPolicy(who, what, priority, preempts, broken) => {
                    let policy = some_policy(who, what, priority, preempts, broken);
                    naive.policies.insert(policy.id.clone(), policy.clone());
                    claims.set_policy(policy)
                }
                Doing::RemovePolicy(who) => {
                    let id = some_policy(who, 0, 0, false, false).id;
                    naive.policies.remove(&id);
                    claims.remove_policy(&id)
                }
                Doing::SetObject(which, labelled, application) => {
                    let facts = some_object(which, labelled, application);
                    let holder = before.get(&facts.id).cloned().flatten();
                    naive.objects.insert(facts.id.clone(), (facts.clone(), holder));
                    claims.set_object(facts)
                }
                Doing::RemoveObject(which) => {
                    let id = some_object(which, false, false).id;
                    naive.objects.remove(&id);
                    claims.remove_object(&id)
                }
            };
            naive.settle();
            let after: BTreeMap<ObjectId, Option<PolicyId>> =
                naive.objects.iter().map(|(id, (_, holder))| (id.clone(), holder.clone())).collect();
            let all: BTreeSet<&ObjectId> = before.keys().chain(after.keys()).collect();
            let moved: Vec<&ObjectId> = all.into_iter()
                .filter(|id| before.get(*id).cloned().flatten() != after.get(*id).cloned().flatten())
                .collect();
            prop_assert_eq!(changes.moved.iter().map(|change| &change.object).collect::<Vec<_>>(), moved);
            for (id, now) in self::told(&claims, &naive) {
                prop_assert!(told.get(&id) == Some(&now) || changes.touched.contains(&id), "{} isn't touched: {:?}", id, now);
            }
            for (id, (facts, holder)) in &naive.objects {
                prop_assert_eq!(claims.holder(id), holder.as_ref(), "{}", id);
                let selecting = naive.policies.values().filter(|policy| policy.selectors.precision(facts).is_some());
                let others = selecting.filter(|policy| Some(&policy.id) != holder.as_ref()).count();
                prop_assert_eq!(claims.outcome(id).unwrap().lost.len(), others);
            }
            for (id, policy) in &naive.policies {
                let held: Vec<&ObjectId> = naive.objects.iter()
                    .filter(|(_, (_, holder))| holder.as_ref() == Some(id)).map(|(object, _)| object).collect();
                prop_assert_eq!(claims.claimed(id).collect::<Vec<_>>(), held);
                let matched: Vec<&ObjectId> = naive.objects.iter()
                    .filter(|(_, (facts, _))| policy.selectors.precision(facts).is_some()).map(|(object, _)| object).collect();
                prop_assert_eq!(claims.matched(id).collect::<Vec<_>>(), matched);
                prop_assert!(claims.problems(id).iter().all(|problem| !problem.message.is_empty()));
            }
        }
    }
}
