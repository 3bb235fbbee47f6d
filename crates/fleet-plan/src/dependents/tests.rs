use std::collections::BTreeSet;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;

/// Objects in a list, looked through as they stand.
struct Listed(Vec<Value>);

impl Index for Listed {
    fn get(&self, id: &ObjectId) -> Option<Cow<'_, Value>> {
        self.0.iter().find(|object| ObjectId::of(object).as_ref() == Some(id)).map(Cow::Borrowed)
    }

    fn list(&self, api_version: &str, kind: &str, namespace: &str) -> Vec<Cow<'_, Value>> {
        let fits = |object: &&Value| {
            ObjectId::of(object).is_some_and(|id| {
                id.api_version == api_version && id.kind == kind && id.namespace == namespace
            })
        };
        self.0.iter().filter(fits).map(Cow::Borrowed).collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    object: Value,
    #[serde(default)]
    index: Vec<Value>,
    /// `Kind/name place`, `?` behind the name of what is optional, `!` behind what the index hasn't.
    dependents: Vec<String>,
}

fn shown(all: &[Dependent]) -> Vec<String> {
    let one = |d: &Dependent| {
        let (optional, missing) = (if d.optional { "?" } else { "" }, if d.found { "" } else { "!" });
        format!("{}/{}{optional}{missing} {}", d.id.kind, d.id.name, d.place)
    };
    all.iter().map(one).collect()
}

/// A workload that arrives without what it needs doesn't start.
#[test]
fn cases_are_found() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/data/dependents.json")).unwrap();
    for case in cases {
        let made = shown(&dependents(&case.object, &Listed(case.index)));
        assert_eq!(made, case.dependents, "{}", case.name);
    }
}

#[derive(Debug, Clone)]
struct Wanted {
    way: usize,
    name: String,
    optional: bool,
    container: &'static str,
}

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    let one = (
        0..8_usize,
        "[ab]",
        any::<bool>(),
        prop::sample::select(vec!["containers", "initContainers", "ephemeralContainers"]),
    );
    prop::collection::vec(
        one.prop_map(|(way, name, optional, container)| Wanted { way, name, optional, container }),
        0..10,
    )
}

/// Writes each wish into a pod's spec, and says what must be found.
fn written(wishes: &[Wanted]) -> (Value, BTreeMap<(String, String), bool>) {
    let mut spec = json!({"volumes": [], "containers": [], "initContainers": [], "ephemeralContainers": [], "imagePullSecrets": []});
    let mut must: BTreeMap<(String, String), bool> = BTreeMap::new();
    let push = |spec: &mut Value, list: &str, item: Value| spec[list].as_array_mut().unwrap().push(item);
    for Wanted { way, name, optional, container } in wishes {
        let (kind, said) = match way {
            0 => {
                push(
                    &mut spec,
                    "volumes",
                    json!({"name": "v", "configMap": {"name": name, "optional": optional}}),
                );
                ("ConfigMap", *optional)
            }
            1 => {
                push(
                    &mut spec,
                    "volumes",
                    json!({"name": "v", "secret": {"secretName": name, "optional": optional}}),
                );
                ("Secret", *optional)
            }
            2 => {
                let sources =
                    json!([{"serviceAccountToken": {}}, {"secret": {"name": name, "optional": optional}}]);
                push(&mut spec, "volumes", json!({"name": "v", "projected": {"sources": sources}}));
                ("Secret", *optional)
            }
            3 => {
                push(
                    &mut spec,
                    "volumes",
                    json!({"name": "v", "persistentVolumeClaim": {"claimName": name}}),
                );
                ("PersistentVolumeClaim", false)
            }
            4 => {
                push(
                    &mut spec,
                    container,
                    json!({"envFrom": [{"configMapRef": {"name": name, "optional": optional}}]}),
                );
                ("ConfigMap", *optional)
            }
            5 => {
                let from = json!({"secretKeyRef": {"name": name, "key": "k", "optional": optional}});
                push(
                    &mut spec,
                    container,
                    json!({"env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": from}]}),
                );
                ("Secret", *optional)
            }
            6 => {
                push(&mut spec, "imagePullSecrets", json!({"name": name}));
                ("Secret", false)
            }
            _ => {
                spec["serviceAccountName"] = json!(name);
                ("ServiceAccount", false)
            }
        };
        if kind == "ServiceAccount" {
            must.retain(|(known, _), _| known != kind);
        }
        must.entry((kind.to_owned(), name.clone())).and_modify(|o| *o = *o && said).or_insert(said);
    }
    (spec, must)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Everything that the spec names comes along, once, whatever kind of workload it stands in; and nothing else.
    #[test]
    fn exactly_what_is_named_is_found(wishes in wanted(), shape in 0..4_usize) {
        let (spec, must) = written(&wishes);
        let (kind, body) = match shape {
            0 => ("Pod", json!({"spec": spec})),
            1 => ("Deployment", json!({"spec": {"template": {"spec": spec}}})),
            2 => ("CronJob", json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}})),
            _ => ("CloneSet", json!({"spec": {"template": {"spec": spec}}})),
        };
        let mut object = json!({"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "w", "namespace": "demo"}});
        object.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let all = dependents(&object, &Listed(Vec::new()));
        let found: BTreeMap<(String, String), bool> =
            all.iter().map(|d| ((d.id.kind.clone(), d.id.name.clone()), d.optional)).collect();
        prop_assert_eq!(found.len(), all.len());
        prop_assert!(all.iter().all(|d| d.id.namespace == "demo" && !d.found));
        prop_assert_eq!(found, must);
        // Places can be looked up.
        for dependent in &all {
            let path = fleet_json::FieldPath::parse(&dependent.place);
            prop_assert!(path.is_ok(), "{}", dependent.place);
            prop_assert!(path.unwrap().get(&object).is_some(), "{}", dependent.place);
        }
    }

    /// A hub lists its objects in any order.
    #[test]
    fn the_order_of_the_index_decides_nothing(turn in 0..8_usize, back: bool, labels in prop::collection::vec("[ab]", 6)) {
        let service = |at: usize, label: &str| json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s{at}"), "namespace": "demo"},
            "spec": {"selector": {"app": label}},
        });
        let ingress = |at: usize| json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": format!("i{at}"), "namespace": "demo"},
            "spec": {
                "defaultBackend": {"service": {"name": "shared"}},
                "rules": [{"http": {"paths": [{"backend": {"service": {"name": format!("s{at}")}}}]}}],
            },
        });
        let mut objects: Vec<Value> = Vec::new();
        for (at, label) in labels.iter().enumerate() {
            objects.push(service(at, label));
            objects.push(ingress(at));
        }
        let pods = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}});
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w", "namespace": "demo"},
            "spec": {"template": pods},
        });
        let first = dependents(&object, &Listed(objects.clone()));
        let selected = labels.iter().filter(|label| *label == "a").count();
        prop_assert_eq!(first.len(), 2 * selected + selected.min(1));
        prop_assert!(first.iter().all(|d| d.found != (d.id.name == "shared")));
        objects.rotate_left(turn);
        if back {
            objects.reverse();
        }
        prop_assert_eq!(dependents(&object, &Listed(objects)), first);
    }
}

/// A StatefulSet, a Service and an Ingress that name each other are visited once.
#[test]
fn circles_end() {
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "w", "namespace": "demo"},
        "spec": {"serviceName": "s", "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}},
    });
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "demo"}, "spec": {"selector": {"a": "b"}}});
    let backend = json!({"service": {"name": "s"}});
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i", "namespace": "demo"},
        "spec": {"defaultBackend": backend, "rules": [{"http": {"paths": [{"backend": backend}]}}]},
    });
    let all = dependents(&set, &Listed(vec![service, ingress, set.clone()]));
    let names: BTreeSet<&str> = all.iter().map(|d| d.id.name.as_str()).collect();
    assert_eq!((names, all.len()), (BTreeSet::from(["i", "s"]), 2));
}
