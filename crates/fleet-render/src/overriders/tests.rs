use std::collections::BTreeMap;

use fleet_api::propagation::{
    ContainerOverrider, ImageComponent, ImageOverrider, MapOverrider, OverrideOperator, OverrideRule,
};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    kind: String,
    #[serde(default)]
    namespace: String,
    name: String,
    #[serde(default)]
    precision: String,
    spec: OverridePolicySpec,
}

impl Given {
    fn policy(&self) -> MatchingOverride<'_> {
        MatchingOverride {
            kind: &self.kind,
            namespace: &self.namespace,
            name: &self.name,
            precision: match self.precision.as_str() {
                "Kind" => Precision::Kind,
                "Labels" => Precision::Labels,
                _ => Precision::Name,
            },
            spec: &self.spec,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    object: Value,
    policies: Vec<Given>,
    /// Fields of the result by JSON pointer; `null` for what isn't there.
    #[serde(default)]
    becomes: BTreeMap<String, Value>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    steps: Option<Vec<String>>,
    #[serde(default)]
    error: Option<String>,
}

/// Rules are about the cluster `here`.
fn here(affinity: &ClusterAffinity) -> bool {
    affinity.cluster_names.iter().any(|name| name == "here")
}

fn apply(object: &Value, policies: &[MatchingOverride<'_>]) -> Result<Overridden, OverriderError> {
    apply_overriders(object, Provenance::new(Source::Referenced), policies, here)
}

fn steps(made: &Overridden) -> Vec<String> {
    let value = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), Value::to_string);
    let step = |step: &OverrideStep| {
        let changes =
            step.changes.iter().map(|c| format!("{} {} → {}", c.path, value(&c.before), value(&c.after)));
        let changes: Vec<String> = changes.collect();
        format!("{} {}: {}", step.policy, step.place, changes.join(", "))
    };
    made.steps.iter().map(step).collect()
}

/// What arrives on a member is what its override policies say, in their order; what can't be done is said.
#[test]
fn cases_are_overridden() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/data/overriders.json")).unwrap();
    for case in cases {
        let policies: Vec<MatchingOverride<'_>> = case.policies.iter().map(Given::policy).collect();
        match (apply(&case.object, &policies), &case.error) {
            (Err(error), Some(expected)) => {
                assert_eq!(&format!("{} {error}", error.0.code), expected, "{}", case.name)
            }
            (Err(error), None) => panic!("{}: {error}", case.name),
            (Ok(made), Some(_)) => panic!("{}: became {}", case.name, made.object),
            (Ok(made), None) => {
                for (pointer, value) in &case.becomes {
                    let found = made.object.pointer(pointer).cloned().unwrap_or(Value::Null);
                    assert_eq!(&found, value, "{}: {pointer}", case.name);
                }
                let warnings: Vec<String> =
                    made.warnings.iter().map(|warning| format!("{} {warning}", warning.code)).collect();
                assert_eq!(warnings, case.warnings, "{}", case.name);
                if let Some(expected) = &case.steps {
                    assert_eq!(&steps(&made), expected, "{}", case.name);
                }
            }
        }
    }
}

/// A policy that is wrong by itself says so before it meets an object.
#[test]
fn policies_are_checked_alone() {
    #[derive(Deserialize)]
    struct Checked {
        spec: OverridePolicySpec,
        problems: Vec<String>,
    }
    let cases: Vec<Checked> =
        serde_json::from_str(include_str!("../../tests/data/override-checks.json")).unwrap();
    for case in cases {
        let problems: Vec<String> = check_overrides(&case.spec)
            .iter()
            .map(|p| format!("{} {} {}: {}", p.severity, p.reason, p.path, p.message))
            .collect();
        assert_eq!(problems, case.problems);
    }
}

/// An image that is read wrongly is pulled from somewhere else.
#[test]
fn images_are_read_by_the_grammar() {
    #[derive(Deserialize)]
    struct Images {
        /// The text, and its registry, repository, tag and digest.
        valid: Vec<Vec<Option<String>>>,
        invalid: Vec<(String, String)>,
    }
    let images: Images = serde_json::from_str(include_str!("../../tests/data/images.json")).unwrap();
    for mut parts in images.valid {
        let text = parts.remove(0).unwrap();
        let read = ImageReference::parse(&text).unwrap();
        assert_eq!(read.to_string(), text);
        assert_eq!(vec![read.registry, Some(read.repository), read.tag, read.digest], parts, "{text}");
    }
    for (text, problem) in images.invalid {
        let error = ImageReference::parse(&text).unwrap_err();
        assert_eq!(error.problem, problem, "{text}");
    }
}

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "demo", "labels": {"a": "1"}},
        "spec": {"replicas": 3, "template": {"spec": {
            "containers": [{"name": "web", "image": image, "args": ["-v"]}],
            "initContainers": [{"name": "init", "image": image}],
        }}},
    })
}

fn operators() -> impl Strategy<Value = OverrideOperator> {
    prop::sample::select(vec![OverrideOperator::Add, OverrideOperator::Remove, OverrideOperator::Replace])
}

fn image_overriders() -> impl Strategy<Value = ImageOverrider> {
    let components =
        prop::sample::select(vec![ImageComponent::Registry, ImageComponent::Repository, ImageComponent::Tag]);
    let values = prop::sample::select(vec![
        "",
        "r.io",
        ":5000",
        "/x",
        "lib/app",
        "v2",
        "-rc.1",
        "Upper",
        "a b",
        "@sha256:12",
    ]);
    (components, operators(), values).prop_map(|(component, operator, value)| ImageOverrider {
        predicate: None,
        component,
        operator,
        value: value.to_owned(),
    })
}

fn overriders() -> impl Strategy<Value = Overriders> {
    let containers = (
        prop::sample::select(vec!["web", "init", "none"]),
        operators(),
        prop::collection::vec("[-a-c]{1,2}", 0..3),
    )
        .prop_map(|(name, operator, value)| ContainerOverrider {
            container_name: name.to_owned(),
            operator,
            value,
        })
        .boxed();
    let maps = (operators(), prop::collection::btree_map("[a-c]", "[0-9]", 0..3))
        .prop_map(|(operator, value)| MapOverrider { operator, value })
        .boxed();
    let paths = prop::sample::select(vec![
        "/spec/replicas",
        "/spec/paused",
        "/metadata/name",
        "/spec/template/spec/containers/0/image",
        "/x/y",
        "spec",
        "",
    ]);
    let plain = (paths, operators(), prop::option::of(0..4_i64)).prop_map(|(path, operator, value)| {
        fleet_api::propagation::PlaintextOverrider {
            path: path.to_owned(),
            operator,
            value: value.map(Value::from),
        }
    });
    let list = 0..2_usize;
    (
        prop::collection::vec(image_overriders(), list.clone()),
        prop::collection::vec(containers.clone(), list.clone()),
        prop::collection::vec(containers, list.clone()),
        prop::collection::vec(maps.clone(), list.clone()),
        prop::collection::vec(maps, list.clone()),
        prop::collection::vec(plain, list),
    )
        .prop_map(|(image, command, args, labels, annotations, plaintext)| Overriders {
            image_overrider: image,
            command_overrider: command,
            args_overrider: args,
            labels_overrider: labels,
            annotations_overrider: annotations,
            field_overrider: Vec::new(),
            plaintext,
        })
}

fn spec(rules: Vec<Overriders>) -> OverridePolicySpec {
    let rules = rules.into_iter().map(|overriders| OverrideRule { target_cluster: None, overriders });
    OverridePolicySpec { override_rules: rules.collect(), ..OverridePolicySpec::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is read is written as it was: an override of one part leaves the others alone.
    #[test]
    fn an_image_is_written_as_it_was_read(
        registry in prop::option::of("(localhost|[a-z]{1,5}\\.[a-z]{2,3}|Host|[a-z]{1,4}:[0-9]{1,5}|\\[::1\\]:5000)"),
        repository in "[a-z0-9]{1,5}([._]|__|-{1,3})[a-z0-9]{1,5}(/[a-z0-9]{1,4}){0,2}", tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}"),
        digest in prop::option::of("sha256:[0-9a-f]{64}"),
    ) {
        // Without a registry a first part with a dot is one.
        let first = repository.split('/').next().unwrap_or_default().to_owned();
        prop_assume!(registry.is_some() || !(repository.contains('/') && first.contains('.')));
        let image = ImageReference { registry, repository, tag, digest };
        prop_assert_eq!(ImageReference::parse(&image.to_string()), Ok(image));
    }

    /// Any text is an image or an error; one that is read comes out the same.
    #[test]
    fn any_text_is_an_image_or_an_error(text in "[a-zA-Z0-9./:@_\\[\\]-]{0,40}") {
        if let Ok(image) = ImageReference::parse(&text) {
            prop_assert_eq!(image.to_string(), text);
        }
    }

    /// An override of an image makes an image, keeps what it isn't about, and says when a digest is lost.
    #[test]
    fn a_changed_image_is_an_image(own in image_overriders(), tag in prop::option::of("v[0-9]"), pinned: bool, host in prop::option::of("h\\.io")) {
        let before = ImageReference {
            registry: host,
            repository: "app".to_owned(),
            tag,
            digest: pinned.then(|| format!("sha256:{}", "0".repeat(64))),
        };
        let object = deployment(&before.to_string());
        let spec = spec(vec![Overriders { image_overrider: vec![own.clone()], ..Overriders::default() }]);
        let policy = MatchingOverride { kind: "P", namespace: "demo", name: "p", precision: Precision::Name, spec: &spec };
        if let Ok(made) = apply(&object, &[policy]) {
            let pods = &made.object["spec"]["template"]["spec"];
            let text = pods["containers"][0]["image"].as_str().unwrap();
            prop_assert_eq!(text, pods["initContainers"][0]["image"].as_str().unwrap());
            let after = ImageReference::parse(text);
            prop_assert!(after.is_ok(), "{}", text);
            let after = after.unwrap();
            let otherwise = made.warnings.iter().any(|warning| warning.code == "ReadOtherwise");
            if own.component != ImageComponent::Registry && !otherwise {
                prop_assert_eq!(&after.registry, &before.registry);
            }
            if own.component != ImageComponent::Repository && !otherwise {
                prop_assert_eq!(&after.repository, &before.repository);
            }
            if own.component != ImageComponent::Tag && !otherwise {
                prop_assert_eq!((&after.tag, &after.digest), (&before.tag, &before.digest));
            }
            let lost = before.digest.is_some() && after.digest.is_none();
            prop_assert_eq!(lost, made.warnings.iter().any(|warning| warning.code == "DigestLost"));
            // Nothing is done without a word.
            prop_assert!(text != before.to_string() || !made.warnings.is_empty() || own.operator != OverrideOperator::Add);
        }
    }

    /// The order in which policies are listed decides nothing; the same object comes out, with the same story.
    #[test]
    fn the_order_of_listing_decides_nothing(
        rules in prop::collection::vec(prop::collection::vec(overriders(), 0..3), 1..5), turn in 0..5_usize, back: bool,
        precisions in prop::collection::vec(0..3_usize, 5),
    ) {
        let specs: Vec<OverridePolicySpec> = rules.into_iter().map(spec).collect();
        let names: Vec<String> = (0..specs.len()).map(|at| format!("p{at}")).collect();
        let all = [Precision::Kind, Precision::Labels, Precision::Name];
        let mut policies: Vec<MatchingOverride<'_>> = specs.iter().zip(&names).zip(&precisions).enumerate().map(|(at, ((spec, name), p))| {
            MatchingOverride { kind: "P", namespace: if at % 2 == 0 { "demo" } else { "" }, name, precision: all[*p], spec }
        }).collect();
        let object = deployment("nginx");
        let first = apply(&object, &policies);
        let turn = turn.min(policies.len());
        policies.rotate_left(turn);
        if back {
            policies.reverse();
        }
        prop_assert_eq!(&apply(&object, &policies), &first);
        if let Ok(made) = first {
            // The steps, one after the other, are the whole story.
            let changed: Vec<_> = made.steps.iter().flat_map(|step| &step.changes).collect();
            prop_assert!(made.object == object || !changed.is_empty());
            // An object stays itself.
            for field in ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"] {
                prop_assert_eq!(made.object.pointer(field), object.pointer(field));
            }
            // Fields that differ are owed to a policy.
            for change in diff_by_name(&object, &made.object) {
                if !matches!(change.change, ChangeKind::Removed(_)) {
                    let source = made.provenance.source_of(&change.path);
                    prop_assert!(matches!(source, Source::Override { .. }), "{}: {source}", change.path);
                }
            }
        } else {
            // What fails by itself is told before it meets an object; the rest is about this object.
            let told = policies.iter().flat_map(|policy| check_overrides(policy.spec)).any(|p| p.reason == "InvalidOverride");
            let code = first.unwrap_err().0.code;
            prop_assert!(told || code != "InvalidOverride", "{}", code);
        }
    }

    /// Whatever a text field holds, it is changed or refused; and a document that is changed reads back as changed.
    #[test]
    fn documents_are_changed_inside(text in "[a-c0-9:{}\\[\\]\" \n-]{0,30}", yaml: bool, value in 0..100_i64) {
        let field = |language: &str| {
            let own = json!({"fieldPath": "/data/conf", language: [{"subPath": "/added", "operator": "add", "value": value}]});
            json!({"overrideRules": [{"overriders": {"fieldOverrider": [own]}}]})
        };
        let spec: OverridePolicySpec = serde_json::from_value(field(if yaml { "yaml" } else { "json" })).unwrap();
        let policy = MatchingOverride { kind: "P", namespace: "demo", name: "p", precision: Precision::Name, spec: &spec };
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "demo"}, "data": {"conf": text}});
        if let Ok(made) = apply(&object, &[policy]) {
            let text = made.object["data"]["conf"].as_str().unwrap();
            let read: Value = if yaml { serde_saphyr::from_str(text).unwrap() } else { serde_json::from_str(text).unwrap() };
            prop_assert_eq!(&read["added"], &json!(value), "{}", text);
        }
    }
}
