//! Laws over generated roles and bindings.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::super::escalation::lacking;
use super::super::{Attributes, Rule};
use super::world::{World, binding, collection, role};

const VERBS: [&str; 4] = ["*", "get", "create", "update"];
const GROUPS: [&str; 3] = ["*", "", "apps"];
const RESOURCES: [&str; 6] = ["*", "pods", "pods/log", "*/log", "secrets", "deployments"];
const NAMES: [&str; 2] = ["one", "two"];
const PATHS: [&str; 5] = ["*", "/a", "/a/*", "/a/b", "/b*"];

fn words(from: &'static [&'static str], at_least: usize) -> impl Strategy<Value = Vec<String>> {
    subsequence(from.to_vec(), at_least..=from.len().min(3))
        .prop_map(|list| list.into_iter().map(str::to_owned).collect())
}

fn rule() -> impl Strategy<Value = Rule> {
    let resource = (words(&VERBS, 1), words(&GROUPS, 1), words(&RESOURCES, 1), words(&NAMES, 0)).prop_map(
        |(verbs, api_groups, resources, resource_names)| Rule {
            verbs,
            api_groups,
            resources,
            resource_names,
            ..Rule::default()
        },
    );
    let path = (words(&VERBS, 1), words(&PATHS, 1)).prop_map(|(verbs, non_resource_urls)| Rule {
        verbs,
        non_resource_urls,
        ..Rule::default()
    });
    prop_oneof![4 => resource, 1 => path]
}

/// Every question that these words can ask.
fn questions() -> Vec<Attributes<'static>> {
    let mut all = Vec::new();
    for verb in ["get", "create", "update", "other"] {
        for group in ["", "apps", "other"] {
            for (resource, subresource) in
                [("pods", ""), ("pods", "log"), ("secrets", ""), ("deployments", "log"), ("x", "")]
            {
                for name in ["", "one", "two", "three"] {
                    let one =
                        Attributes { verb, group, resource, subresource, name, ..Attributes::default() };
                    all.push(one);
                }
            }
        }
        for path in ["/a", "/a/b", "/a/c", "/b", "/bc", "/c"] {
            all.push(Attributes { verb, path, ..Attributes::default() });
        }
    }
    all
}

fn allowed(rules: &[Rule], question: &Attributes<'_>) -> bool {
    rules.iter().any(|rule| rule.allows(question))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The comparison by which escalation is refused would miss one: where nothing is lacking, whoever is given the
    /// rules may do nothing that the giver may not.
    #[test]
    fn nothing_lacking_means_nothing_gained(
        own in prop::collection::vec(rule(), 0..4),
        given in prop::collection::vec(rule(), 1..3),
    ) {
        let lacking = lacking(&own, &given).unwrap();
        for question in questions() {
            let gained = allowed(&given, &question) && !allowed(&own, &question);
            prop_assert!(!gained || allowed(&lacking, &question), "{question:?} is gained and not told");
        }
    }

    /// Whoever has exactly the rules may hand them out.
    #[test]
    fn nobody_lacks_what_they_have(own in prop::collection::vec(rule(), 0..4)) {
        prop_assert_eq!(lacking(&own, &own).unwrap(), vec![]);
    }
}

const NAMESPACES: [&str; 2] = ["demo", ""];
/// Who writes roles, and somebody else.
const EVE: &str = "eve";
const SUBJECTS: [&str; 3] = ["User/eve", "User/bob", "Group/system:authenticated"];

/// A write to an RBAC object.
#[derive(Debug, Clone)]
enum Write {
    Put(Value),
    Delete(Value),
    /// Labels a ClusterRole and touches nothing else.
    Label(&'static str, &'static str),
}

fn labels() -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(vec!["to-a", "to-b"], 0..=1)
}

fn named() -> impl Strategy<Value = &'static str> {
    select(vec!["r1", "r2", "r3"])
}

fn any_role() -> impl Strategy<Value = Value> {
    (
        select(NAMESPACES.to_vec()),
        named(),
        prop::collection::vec(rule(), 0..3),
        labels(),
        any::<bool>(),
        0..8_u8,
    )
        .prop_map(|(namespace, name, rules, labels, paths, gathers)| {
            let paths = paths && namespace.is_empty();
            let rules: Vec<&Rule> =
                rules.iter().filter(|rule| paths || rule.non_resource_urls.is_empty()).collect();
            let mut object = role(namespace, name, json!(rules));
            for label in labels {
                object["metadata"]["labels"][label] = json!("true");
            }
            let label = match gathers {
                0 => "to-a",
                1 => "to-b",
                _ => return object,
            };
            if namespace.is_empty() {
                object["aggregationRule"] =
                    json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
            }
            object
        })
}

fn any_binding() -> impl Strategy<Value = Value> {
    let subjects = subsequence(SUBJECTS.to_vec(), 1..=2);
    let roles = vec![
        "Role/r1",
        "Role/r2",
        "Role/r3",
        "ClusterRole/r1",
        "ClusterRole/r2",
        "ClusterRole/cluster-admin",
    ];
    (select(NAMESPACES.to_vec()), select(vec!["b1", "b2"]), select(roles), subjects)
        .prop_map(|(namespace, name, role, subjects)| binding(namespace, name, role, &subjects))
}

fn write() -> impl Strategy<Value = Write> {
    let object = || prop_oneof![any_role(), any_binding()];
    let label = (named(), select(vec!["to-a", "to-b"])).prop_map(|(name, label)| Write::Label(name, label));
    prop_oneof![5 => object().prop_map(Write::Put), 1 => object().prop_map(Write::Delete), 2 => label]
}

/// What Eve may do in the whole cluster and in one namespace.
fn rights(world: &World) -> Vec<bool> {
    let cluster = world.server.inner.cluster("hub").unwrap();
    let eve = crate::identity::Identity::new(EVE, []);
    let ask = |namespace: &'static str| {
        let cluster = &cluster;
        let eve = &eve;
        questions().into_iter().filter(move |one| namespace.is_empty() || one.path.is_empty()).map(
            move |one| {
                let wanted = Attributes { namespace, ..one };
                super::super::authorize(&world.server.inner, Some(cluster), eve, &wanted).allowed
            },
        )
    };
    ask("").chain(ask("demo")).collect()
}

/// Eve may write everything of RBAC in the cluster, and nothing else beyond what the first writes give her.
fn may_write_roles() -> [Value; 2] {
    let rules = json!([{
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["roles", "clusterroles", "rolebindings", "clusterrolebindings"],
        "verbs": ["get", "create", "update", "patch", "delete"],
    }]);
    [role("", "writer", rules), binding("", "writer", "ClusterRole/writer", &["User/eve"])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whoever may write roles and bindings would make themselves an administrator. Whatever Eve writes, in whatever
    /// order, labels and gathering roles included: she may never do more than before.
    #[test]
    fn whoever_writes_roles_gains_nothing(
        before in prop::collection::vec(prop_oneof![any_role(), any_binding()], 0..8),
        writes in prop::collection::vec(write(), 1..16),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            for object in may_write_roles().iter().chain(&before) {
                let _ = world.put_as("", object).await;
            }
            world.settle().await;
            let first = rights(&world);
            let mut accepted = 0;
            for write in &writes {
                let code = match write {
                    Write::Put(object) => world.put_as(EVE, object).await.0,
                    Write::Label(name, label) => {
                        let path = format!("{}/{name}", collection(&role("", name, Value::Null)));
                        let body = json!({"metadata": {"labels": {*label: "true"}}});
                        world.ask("hub", EVE, "PATCH", &path, &body).await.0
                    }
                    Write::Delete(object) => {
                        let name = object["metadata"]["name"].as_str().unwrap();
                        let path = format!("{}/{name}", collection(object));
                        world.ask("hub", EVE, "DELETE", &path, &Value::Null).await.0
                    }
                };
                accepted += usize::from(code < 300);
                world.settle().await;
                let now = rights(&world);
                for (place, (had, has)) in first.iter().zip(&now).enumerate() {
                    prop_assert!(*had || !has, "{write:?} gained question {place} after {accepted} writes");
                }
            }
            Ok(())
        })?;
    }

    /// A binding would take something away: rights only add up.
    #[test]
    fn a_binding_takes_nothing_away(
        before in prop::collection::vec(prop_oneof![any_role(), any_binding()], 0..10),
        more in prop::collection::vec(any_binding(), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            for object in &before {
                let _ = world.put_as("", object).await;
            }
            let mut had = rights(&world);
            for (number, mut object) in more.into_iter().enumerate() {
                object["metadata"]["name"] = json!(format!("new-{number}"));
                let _ = world.put_as("", &object).await;
                let has = rights(&world);
                prop_assert!(had.iter().zip(&has).all(|(had, has)| !had || *has), "{object}");
                had = has;
            }
            Ok(())
        })?;
    }
}
