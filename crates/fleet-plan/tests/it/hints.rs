//! What each hint is about: a row for each rule, and one that looks alike and isn't.

use std::collections::BTreeMap;

use fleet_api::Target;
use fleet_plan::hints::codes;
use fleet_plan::{Facts, Hint, MemberFacts, ResourcePolicies, Severity, hints, plan};
use serde_json::{Value, json};

use crate::site::{DELIVERY, Site, config, crd, here, id, policies, secret, with_input};

const MANAGER: &str = "fleetctl:0123456789";

/// One row: what stood there, what comes, what the member says, and the codes that are expected.
#[derive(Default)]
struct Row {
    name: &'static str,
    before: Vec<Value>,
    after: Vec<Value>,
    policies: ResourcePolicies,
    member: MemberFacts,
    claims: BTreeMap<String, BTreeMap<fleet_api::ObjectId, String>>,
    want: Vec<(&'static str, Severity, &'static str)>,
}

fn facts(row: &Row) -> Facts {
    Facts {
        members: BTreeMap::from([(here().cluster, row.member.clone())]),
        claims: row.claims.clone(),
        manager: MANAGER.to_owned(),
        owner: DELIVERY.owner.to_owned(),
        ..Facts::default()
    }
}

fn judged(sites: &[(Target, Site)], policies: &ResourcePolicies, facts: &Facts) -> Vec<Hint> {
    with_input(sites, policies, |input| hints(input, &plan(input), facts))
}

fn owned(objects: &[Value]) -> Vec<fleet_api::ObjectId> {
    let text = |object: &Value, at: &str| object.pointer(at).and_then(Value::as_str).unwrap().to_owned();
    let scoped = ["ClusterRole", "CustomResourceDefinition", "Namespace", "StorageClass"];
    let identity = |object: &Value| {
        let kind = text(object, "/kind");
        let namespace = if scoped.contains(&kind.as_str()) { "" } else { "demo" };
        id(&text(object, "/apiVersion"), &kind, namespace, &text(object, "/metadata/name"))
    };
    objects.iter().map(identity).collect()
}

fn workload(kind: &str, spec: Value) -> Value {
    let mut whole = json!({ "selector": { "matchLabels": { "app": "web" } }, "template": {
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "web", "image": "web:1" }] } } });
    merge(&mut whole, spec);
    json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": "web" }, "spec": whole })
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from,
    }
}

fn service(app: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
        "spec": { "selector": { "app": app }, "ports": [{ "port": 80 }] } })
}

fn claim(size: &str, class: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": { "requests": { "storage": size } } } })
}

fn old_cron_job() -> Value {
    let pod = json!({ "restartPolicy": "Never", "containers": [{ "name": "web", "image": "web:1" }] });
    json!({ "apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": { "name": "nightly" },
        "spec": { "schedule": "0 3 * * *", "jobTemplate": { "spec": { "template": { "spec": pod } } } } })
}

fn live(object: &Value, owner: &str, manager: &str, fields: Value) -> MemberFacts {
    let mut there = object.clone();
    let metadata = there["metadata"].as_object_mut().unwrap();
    metadata.insert("namespace".into(), json!("demo"));
    if !owner.is_empty() {
        metadata.insert("labels".into(), json!({ "fleetctl.dev/owner": owner, "app.oam.dev/name": "other", "app.oam.dev/namespace": "shop" }));
    }
    metadata.insert(
        "managedFields".into(),
        json!([{ "manager": manager, "operation": "Update",
        "apiVersion": object["apiVersion"], "fieldsType": "FieldsV1", "fieldsV1": fields }]),
    );
    MemberFacts {
        live: BTreeMap::from([(owned(std::slice::from_ref(object))[0].clone(), there)]),
        ..MemberFacts::default()
    }
}

fn quota(hard: Value, used: Value) -> MemberFacts {
    let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "small", "namespace": "demo" },
        "spec": { "hard": hard }, "status": { "used": used } });
    MemberFacts { quotas: vec![quota], ..MemberFacts::default() }
}

fn rows() -> Vec<Row> {
    use Severity::{Danger, Info, Warning};
    let cpu = |amount: &str| {
        json!({ "template": { "spec": { "containers": [{ "name": "web", "image": "web:1",
        "resources": { "requests": { "cpu": amount, "memory": "1Gi" } } }] } } })
    };
    let other_label = json!({ "selector": { "matchLabels": { "app": "shop" } }, "template": { "metadata": { "labels": { "app": "shop" } } } });
    let recreate = policies(&[(
        "resource-update",
        json!({ "rules": [{ "selector": { "resourceTypes": ["Deployment"] }, "strategy": { "recreateFields": ["spec.selector"] } }] }),
    )]);
    let take_over = || {
        policies(&[(
            "take-over",
            json!({ "rules": [{ "selector": { "resourceTypes": ["ConfigMap", "Deployment"] } }] }),
        )])
    };
    let job = |image: &str| {
        json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "web" }, "spec": { "template": {
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "web", "image": image }] } } } })
    };
    let sealed = |text: &str| {
        let mut object = config("web", text);
        object["immutable"] = json!(true);
        object
    };
    let sealed_secret = |value: &str| {
        let mut object = secret("web", &json!({ "password": value }));
        object["immutable"] = json!(true);
        object
    };
    let autoscaler = json!({ "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "web" },
        "spec": { "maxReplicas": 3, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } } });
    let scaled_there = |count: i64| {
        let mut there =
            live(&workload("Deployment", json!({ "replicas": count })), DELIVERY.owner, "hpa", json!({}));
        there.served = None;
        there
    };
    let image = json!({ "f:spec": { "f:template": { "f:spec": { "f:containers": { "k:{\"name\":\"web\"}": { ".": {}, "f:image": {} } } } } } });
    vec![
        Row {
            name: "an ordinary change",
            before: vec![workload("Deployment", json!({}))],
            after: vec![workload("Deployment", cpu("1"))],
            ..Row::default()
        },
        Row {
            name: "a Deployment's selector",
            before: vec![workload("Deployment", json!({}))],
            after: vec![workload("Deployment", other_label.clone())],
            want: vec![("ImmutableField", Danger, "field is immutable; the server refuses the change")],
            ..Row::default()
        },
        Row {
            name: "a selector with a policy that recreates",
            before: vec![workload("Deployment", json!({}))],
            after: vec![workload("Deployment", other_label.clone())],
            policies: recreate,
            want: vec![("Recreated", Warning, "deleted and made anew")],
            ..Row::default()
        },
        Row {
            name: "a DaemonSet's selector",
            before: vec![workload("DaemonSet", json!({}))],
            after: vec![workload("DaemonSet", other_label)],
            want: vec![("ImmutableField", Danger, "spec.selector")],
            ..Row::default()
        },
        Row {
            name: "a StatefulSet's claims",
            before: vec![workload("StatefulSet", json!({ "serviceName": "a" }))],
            after: vec![workload("StatefulSet", json!({ "serviceName": "b" }))],
            want: vec![("ImmutableField", Danger, "updates to statefulset spec")],
            ..Row::default()
        },
        Row {
            name: "a Job's template",
            before: vec![job("a:1")],
            after: vec![job("a:2")],
            want: vec![("ImmutableField", Danger, "spec.template: field is immutable")],
            ..Row::default()
        },
        Row {
            name: "a claim's class",
            before: vec![claim("1Gi", "slow")],
            after: vec![claim("1Gi", "fast")],
            want: vec![("ImmutableField", Danger, "immutable after creation")],
            ..Row::default()
        },
        Row {
            name: "a sealed ConfigMap",
            before: vec![sealed("a")],
            after: vec![sealed("b")],
            want: vec![("ImmutableField", Danger, "data")],
            ..Row::default()
        },
        Row {
            name: "a sealed Secret",
            before: vec![sealed_secret("aGlkZGVu")],
            after: vec![sealed_secret("c2VjcmV0")],
            want: vec![("ImmutableField", Danger, "data: it may not change")],
            ..Row::default()
        },
        Row {
            name: "a Service's address",
            before: vec![
                {
                    let mut s = service("web");
                    s["spec"]["clusterIP"] = json!("10.0.0.1");
                    s
                },
                workload("Deployment", json!({})),
            ],
            after: vec![
                {
                    let mut s = service("web");
                    s["spec"]["clusterIP"] = json!("10.0.0.2");
                    s
                },
                workload("Deployment", json!({})),
            ],
            want: vec![("ImmutableField", Danger, "may not change once set")],
            ..Row::default()
        },
        Row {
            name: "labels that a selector doesn't match",
            after: vec![workload(
                "Deployment",
                json!({ "template": { "metadata": { "labels": { "app": "x" } } } }),
            )],
            want: vec![("Invalid", Danger, "a server refuses it")],
            ..Row::default()
        },
        Row {
            name: "fewer replicas",
            before: vec![workload("Deployment", json!({ "replicas": 5 }))],
            after: vec![workload("Deployment", json!({ "replicas": 2 }))],
            want: vec![("FewerReplicas", Warning, "from 5 to 2")],
            ..Row::default()
        },
        Row {
            name: "more replicas",
            before: vec![workload("Deployment", json!({ "replicas": 2 }))],
            after: vec![workload("Deployment", json!({ "replicas": 5 }))],
            ..Row::default()
        },
        Row {
            name: "no replicas",
            before: vec![workload("Deployment", json!({}))],
            after: vec![workload("Deployment", json!({ "replicas": 0 }))],
            want: vec![("NoReplicas", Danger, "from 1 to 0")],
            ..Row::default()
        },
        Row {
            name: "an autoscaler made more",
            before: vec![workload("Deployment", json!({ "replicas": 2 }))],
            after: vec![workload("Deployment", json!({ "replicas": 3 }))],
            member: scaled_there(9),
            want: vec![("FewerReplicas", Warning, "from 9 to 3")],
            ..Row::default()
        },
        Row {
            name: "a Service loses its pods",
            before: vec![service("web"), workload("Deployment", json!({}))],
            after: vec![service("shop"), workload("Deployment", json!({}))],
            want: vec![(
                "SelectsNothing",
                Warning,
                "(app=shop) matches no pods of this application here any more",
            )],
            ..Row::default()
        },
        Row {
            name: "pods of others",
            after: vec![service("shop")],
            want: vec![("SelectsNothing", Info, "app=shop")],
            ..Row::default()
        },
        Row {
            name: "an autoscaler loses its workload",
            before: vec![autoscaler.clone(), workload("Deployment", json!({}))],
            after: vec![autoscaler],
            want: vec![
                ("ScalesNothing", Warning, "Deployment web"),
                ("LastCopy", Danger, "nothing of it runs anywhere"),
            ],
            ..Row::default()
        },
        Row {
            name: "an API that is gone there, by version",
            after: vec![old_cron_job()],
            member: MemberFacts { version: Some((1, 30)), ..MemberFacts::default() },
            want: vec![(
                "ApiRemoved",
                Danger,
                "isn't there since Kubernetes 1.25, and the member runs 1.30; write batch/v1",
            )],
            ..Row::default()
        },
        Row {
            name: "an API that is gone there, by discovery",
            after: vec![old_cron_job()],
            member: MemberFacts {
                version: Some((1, 30)),
                served: Some([("batch/v1".to_owned(), "CronJob".to_owned())].into()),
                ..MemberFacts::default()
            },
            want: vec![("ApiMissing", Danger, "serves no batch/v1beta1 CronJob; it has batch/v1 of it")],
            ..Row::default()
        },
        Row {
            name: "an API that will be gone",
            after: vec![old_cron_job()],
            member: MemberFacts { version: Some((1, 24)), ..MemberFacts::default() },
            want: vec![("ApiDeprecated", Info, "from Kubernetes 1.25 on")],
            ..Row::default()
        },
        Row {
            name: "a kind that comes with its definition",
            after: vec![
                {
                    let mut d = crd("widgets.example.org");
                    d["spec"] = json!({ "group": "example.org", "names": { "kind": "Widget" } });
                    d
                },
                json!({ "apiVersion": "example.org/v1", "kind": "Widget", "metadata": { "name": "w" } }),
            ],
            member: MemberFacts {
                served: Some(
                    [("apiextensions.k8s.io/v1".to_owned(), "CustomResourceDefinition".to_owned())].into(),
                ),
                ..MemberFacts::default()
            },
            ..Row::default()
        },
        Row {
            name: "somebody else's Application",
            after: vec![config("web", "a")],
            claims: BTreeMap::from([(
                "mc-bj1".to_owned(),
                BTreeMap::from([(id("v1", "ConfigMap", "demo", "web"), "shop/front".to_owned())]),
            )]),
            want: vec![("ClaimedByAnother", Danger, "Application shop/front has it, too")],
            ..Row::default()
        },
        Row {
            name: "one that stands there",
            after: vec![config("web", "a")],
            member: live(&config("web", "a"), "", "kubectl", json!({})),
            want: vec![(
                "ForeignObject",
                Danger,
                "no application's, so its delivery is refused; add a policy take-over",
            )],
            ..Row::default()
        },
        Row {
            name: "one that is taken over",
            after: vec![config("web", "a")],
            policies: take_over(),
            member: live(&config("web", "a"), "", "kubectl", json!({})),
            want: vec![("ForeignObject", Warning, "it is taken over")],
            ..Row::default()
        },
        Row {
            name: "one of another Application there",
            after: vec![config("web", "a")],
            policies: take_over(),
            member: live(&config("web", "a"), "ffffffffff", "kubectl", json!({})),
            want: vec![("ForeignObject", Danger, "that of Application shop/other")],
            ..Row::default()
        },
        Row {
            name: "one that policies distribute",
            after: vec![config("web", "a")],
            member: {
                let labels = json!({ "f:metadata": { "f:labels": { "f:fleetctl.dev/owner": {} } } });
                let mut there = live(&config("web", "a"), "ffffffffff", "fleetctl:ffffffffff", labels);
                for object in there.live.values_mut() {
                    object["metadata"]["labels"] = json!({ "fleetctl.dev/owner": "ffffffffff" });
                }
                there
            },
            want: vec![("ForeignObject", Danger, "policies distribute it")],
            ..Row::default()
        },
        Row {
            name: "another manager's field",
            before: vec![workload("Deployment", json!({}))],
            after: vec![workload("Deployment", json!({ "paused": true }))],
            member: live(
                &workload("Deployment", json!({ "paused": false })),
                DELIVERY.owner,
                "argo",
                json!({ "f:spec": { "f:paused": {} } }),
            ),
            want: vec![("FieldConflict", Danger, "spec.paused is argo's there, so its delivery is refused")],
            ..Row::default()
        },
        Row {
            name: "drift",
            before: vec![workload("Deployment", json!({}))],
            after: vec![workload("Deployment", json!({ "minReadySeconds": 3 }))],
            member: live(
                &{
                    let mut w = workload("Deployment", json!({}));
                    w["spec"]["template"]["spec"]["containers"][0]["image"] = json!("hot:fix");
                    w
                },
                DELIVERY.owner,
                "kubectl-set",
                image,
            ),
            want: vec![("FieldConflict", Warning, "was changed there by kubectl-set; it is changed back")],
            ..Row::default()
        },
        Row {
            name: "data that goes",
            before: vec![claim("1Gi", "slow"), crd("widgets.example.org")],
            want: vec![
                ("DataLoss", Danger, "its volume may be deleted"),
                ("DataLoss", Danger, "every object of its kind"),
            ],
            ..Row::default()
        },
        Row {
            name: "too much for the quota",
            before: vec![workload("Deployment", cpu("500m"))],
            after: vec![workload("Deployment", {
                let mut spec = cpu("500m");
                spec["replicas"] = json!(4);
                spec
            })],
            member: quota(
                json!({ "requests.cpu": "2", "memory": "8Gi", "pods": "10" }),
                json!({ "requests.cpu": "1", "memory": "2Gi", "pods": "1" }),
            ),
            want: vec![(
                "QuotaExceeded",
                Danger,
                "allows requests.cpu 2, 1 are used, and the step asks for 1500m more",
            )],
            ..Row::default()
        },
        Row {
            name: "what a quota demands",
            after: vec![workload("Deployment", json!({}))],
            member: quota(json!({ "limits.memory": "8Gi" }), json!({})),
            want: vec![("QuotaNeedsRequests", Warning, "says no limits.memory")],
            ..Row::default()
        },
    ]
}

/// Each rule finds what it is for, with the words that say what to do, and nothing in what looks alike.
#[test]
fn every_rule_finds_what_it_is_for() {
    let rows = rows();
    let mut wrong = Vec::new();
    for row in &rows {
        let site = Site {
            rendered: row.after.clone(),
            delivered: row.before.clone(),
            owned: owned(&row.before),
            ..Site::default()
        };
        let found = judged(&[(here(), site)], &row.policies, &facts(row));
        let fits = |(hint, (code, severity, words)): (&Hint, &(&str, Severity, &str))| {
            hint.code == *code
                && hint.severity == *severity
                && hint.message.contains(words)
                && !hint.message.contains('\n')
        };
        if found.len() != row.want.len() || !found.iter().zip(&row.want).all(fits) {
            let shown: Vec<_> = found.iter().map(|h| (h.code, h.severity, h.message.as_str())).collect();
            wrong.push(format!("{}: {shown:?}, not {:?}", row.name, row.want));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A rule without a row is one that nobody saw work.
    for code in codes() {
        assert!(rows.iter().any(|row| row.want.iter().any(|(have, _, _)| *have == code)), "{code}");
    }
}

/// Broken: values of Secrets stand in what everybody reads who may see plans (design invariant 11).
#[test]
fn no_hint_shows_a_value_of_a_secret() {
    for row in rows() {
        let site = Site {
            rendered: row.after.clone(),
            delivered: row.before.clone(),
            owned: owned(&row.before),
            ..Site::default()
        };
        let said = serde_json::to_string(&judged(&[(here(), site)], &row.policies, &facts(&row))).unwrap();
        assert!(!said.contains("aGlkZGVu") && !said.contains("c2VjcmV0"), "{said}");
    }
    let odd = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "web" }, "type": "kubernetes.io/tls",
        "data": { "tls.crt": "aGlkZGVu", "bad key": "c2VjcmV0" } });
    let site = Site { rendered: vec![odd], ..Site::default() };
    let said =
        serde_json::to_string(&judged(&[(here(), site)], &ResourcePolicies::default(), &Facts::default()))
            .unwrap();
    assert!(said.contains("Invalid") && !said.contains("aGlkZGVu") && !said.contains("c2VjcmV0"), "{said}");
}

/// The last copy is judged over the whole fleet: what stays elsewhere, and what the same step takes away there, too.
#[test]
fn the_last_copy_is_that_of_the_fleet() {
    let web = workload("Deployment", json!({}));
    let leaving =
        || Site { delivered: vec![web.clone()], owned: owned(std::slice::from_ref(&web)), ..Site::default() };
    let there = Target::new("mc-bj2", "demo");
    let key = ("apps".to_owned(), "Deployment".to_owned(), "web".to_owned());
    let copies = BTreeMap::from([(key, [here(), there.clone()].into())]);
    let facts = Facts { copies, ..Facts::default() };
    let one = judged(&[(here(), leaving())], &ResourcePolicies::default(), &facts);
    assert_eq!(one[0].severity, Severity::Warning, "{one:?}");
    assert!(one[0].message.contains("one target still has it"), "{one:?}");
    let both =
        judged(&[(here(), leaving()), (there.clone(), leaving())], &ResourcePolicies::default(), &facts);
    assert!(both.iter().all(|hint| hint.severity == Severity::Danger), "{both:?}");
    let moved = Site { rendered: vec![web.clone()], ..Site::default() };
    let moves =
        judged(&[(here(), leaving()), (there, moved)], &ResourcePolicies::default(), &Facts::default());
    assert!(moves[0].message.contains("others are made in the same step"), "{moves:?}");
}

/// Broken: what a member says voids approvals.
#[test]
fn hints_are_no_part_of_the_hash() {
    let web = workload("Deployment", json!({ "replicas": 9 }));
    let site = || Site {
        rendered: vec![workload("Deployment", json!({ "replicas": 1 }))],
        delivered: vec![web.clone()],
        ..Site::default()
    };
    let policies = ResourcePolicies::default();
    let member = live(&web, "", "x", json!({ "f:spec": { "f:replicas": {} } }));
    let facts = Facts { members: BTreeMap::from([(here().cluster, member)]), ..Facts::default() };
    let hash = |facts: &Facts| {
        with_input(&[(here(), site())], &policies, |input| {
            let plan = plan(input);
            (hints(input, &plan, facts).len(), plan.plan_hash)
        })
    };
    let (known, unknown) = (hash(&facts), hash(&Facts::default()));
    assert!(known.0 > unknown.0);
    assert_eq!(known.1, unknown.1);
}
