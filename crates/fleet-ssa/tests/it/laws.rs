//! What holds for any sequence of writes.

use fleet_ssa::{
    Applied, ApplyError, ApplyRequest, FieldSet, Operation, Path, PathElement, Scalar, UpdateRequest, apply,
    compare, decode_managed_fields, differs_only_in_times, extract, field_set_of, merge, owned_fields,
    remove_items, update, write_managed_fields,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::shape::shape;

/// A map of those fields that are there.
fn map(fields: Vec<(&'static str, Option<Value>)>) -> Value {
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect::<Map<_, _>>()
        .into()
}

fn maybe(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Option<Value>> {
    prop::option::weighted(0.6, value)
}

fn number() -> impl Strategy<Value = Value> {
    (0..3).prop_map(|n| json!(n))
}

/// Some of these, in any order.
fn some_of(items: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(items.to_vec(), 1..=items.len()).prop_shuffle()
}

fn container() -> impl Strategy<Value = Value> {
    let limits = maybe(number()).prop_map(|cpu| map(vec![("limits", Some(map(vec![("cpu", cpu)])))]));
    let ports = some_of(&["80", "81/UDP"]).prop_map(|ports| {
        ports
            .into_iter()
            .map(|port| match port.split_once('/') {
                Some((port, protocol)) => {
                    json!({"containerPort": port.parse::<u16>().unwrap(), "protocol": protocol})
                }
                None => json!({"containerPort": port.parse::<u16>().unwrap()}),
            })
            .collect()
    });
    (maybe(number()), maybe(limits), maybe(ports)).prop_map(|(image, resources, ports)| {
        map(vec![("image", image), ("resources", resources), ("ports", ports)])
    })
}

fn containers() -> impl Strategy<Value = Value> {
    (some_of(&["x", "y", "z"]), prop::collection::vec(container(), 3)).prop_map(|(names, bodies)| {
        names
            .into_iter()
            .zip(bodies)
            .map(|(name, mut body)| {
                body["name"] = json!(name);
                body
            })
            .collect()
    })
}

/// An object of the test type, or a part of it. No empty lists: they own nothing.
fn config() -> impl Strategy<Value = Value> {
    let labels = (maybe(number()), maybe(number())).prop_map(|(a, b)| map(vec![("a", a), ("b", b)]));
    let inner = (maybe(number()), maybe(number())).prop_map(|(x, y)| map(vec![("x", x), ("y", y)]));
    let structure =
        (maybe(number()), maybe(inner)).prop_map(|(name, inner)| map(vec![("name", name), ("inner", inner)]));
    let tree = maybe(number()).prop_map(|leaf| json!({"t": map(vec![("leaf", leaf)])}));
    let spec = (
        maybe(number()),
        maybe(structure),
        maybe(containers()),
        maybe(some_of(&["a", "b", "c"]).prop_map(Value::from)),
        maybe(some_of(&["1", "2"]).prop_map(Value::from)),
        maybe(tree),
        maybe(number().prop_map(|n| json!({"u": [n]}))),
    )
        .prop_map(|(a, structure, containers, tags, args, tree, anything)| {
            map(vec![
                ("a", a),
                ("struct", structure),
                ("containers", containers),
                ("tags", tags),
                ("args", args),
                ("tree", tree),
                ("anything", anything),
            ])
        });
    (maybe(labels), spec)
        .prop_map(|(labels, spec)| json!({"metadata": map(vec![("name", Some(json!("x"))), ("labels", labels)]), "spec": spec}))
}

#[derive(Debug, Clone)]
struct Write {
    by: &'static str,
    update: bool,
    config: Value,
}

fn writes(updates: bool) -> impl Strategy<Value = Vec<Write>> {
    let write = (prop::sample::select(vec!["a", "b", "c"]), any::<bool>(), config())
        .prop_map(move |(by, update, config)| Write { by, update: update && updates, config });
    prop::collection::vec(write, 1..6)
}

const NO_FIELDS: &FieldSet = &FieldSet::new();

fn try_apply(live: Option<&Value>, config: &Value, by: &str, force: bool) -> Result<Applied, ApplyError> {
    let request = ApplyRequest {
        live,
        config,
        manager: by,
        subresource: "",
        api_version: "v1",
        force,
        now: "2026-01-01T00:00:00Z",
        shape: shape(),
        ignore: NO_FIELDS,
    };
    apply(request)
}

fn forced(live: Option<&Value>, config: &Value, by: &str) -> Value {
    try_apply(live, config, by, true).unwrap().object
}

fn play(writes: &[Write]) -> Value {
    let mut live: Option<Value> = None;
    for Write { by, update: is_update, config } in writes {
        let mut new = config.clone();
        live = Some(if *is_update {
            let request = UpdateRequest {
                live: live.as_ref(),
                new: config,
                manager: by,
                subresource: "",
                api_version: "v1",
                now: "2026-01-01T00:00:00Z",
                shape: shape(),
                ignore: NO_FIELDS,
            };
            let entries = update(request);
            write_managed_fields(&mut new, &entries);
            new
        } else {
            forced(live.as_ref(), config, by)
        });
    }
    live.unwrap()
}

fn set_of(object: &Value, by: &str) -> FieldSet {
    let entries = decode_managed_fields(object).unwrap();
    let own = entries.into_iter().find(|entry| entry.manager == by && entry.operation == Operation::Apply);
    own.map(|entry| entry.fields).unwrap_or_default()
}

fn body(object: &Value) -> Value {
    let mut object = object.clone();
    write_managed_fields(&mut object, &[]);
    object
}

/// Whether the object has this field.
fn has(value: &Value, path: &[PathElement]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    let matches = |item: &&Value| match first {
        PathElement::Key(keys) => keys.iter().all(|(name, scalar)| {
            let default = (name.as_ref() == "protocol").then(|| json!("TCP"));
            item.get(name.as_ref()).cloned().or(default).as_ref().and_then(Scalar::from_value).as_ref()
                == Some(scalar)
        }),
        PathElement::Value(scalar) => Scalar::from_value(item).as_ref() == Some(scalar),
        _ => false,
    };
    match first {
        PathElement::Field(name) => value.get(name.as_ref()).is_some_and(|below| has(below, rest)),
        _ => {
            value.as_array().and_then(|items| items.iter().find(matches)).is_some_and(|item| has(item, rest))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Breaks when an unchanged configuration, applied again, costs a resource version.
    #[test]
    fn applying_twice_is_applying_once(writes in writes(true), config in config()) {
        let once = forced(Some(&play(&writes)), &config, "a");
        let twice = try_apply(Some(&once), &config, "a", false).unwrap();
        prop_assert!(!twice.changed);
        prop_assert_eq!(twice.object, once);
    }

    /// Breaks when an applier owns other fields than it applied, or the object doesn't say what it applied.
    #[test]
    fn an_applier_owns_what_it_applied(writes in writes(true), config in config()) {
        let object = forced(Some(&play(&writes)), &config, "a");
        let set = set_of(&object, "a");
        prop_assert_eq!(&set, &owned_fields(&config, shape()));
        let differs = compare(&extract(&object, &set, shape()), &extract(&config, &set, shape()), shape());
        prop_assert!(differs.is_same(), "{:?}", differs);
    }

    /// Breaks when entries keep fields that are gone, so that managedFields grow and conflicts come from nowhere.
    #[test]
    fn only_existing_fields_are_owned(writes in writes(true)) {
        let object = play(&writes);
        for entry in decode_managed_fields(&object).unwrap() {
            prop_assert!(!entry.fields.is_empty());
            for path in entry.fields.paths() {
                prop_assert!(has(&object, &path.0), "{} owns {} in {}", entry.manager, path, object);
            }
        }
    }

    /// Breaks when a conflict is reported without a cause, or forcing isn't all that a conflict needs. What is in an object
    /// without entries belongs to `before-first-apply`; updates leave one so that take all that its appliers had.
    #[test]
    fn force_never_conflicts(writes in writes(true), config in config()) {
        let live = play(&writes);
        match try_apply(Some(&live), &config, "a", false) {
            Ok(applied) => prop_assert_eq!(applied.object, forced(Some(&live), &config, "a")),
            Err(ApplyError::Conflicts(conflicts)) => {
                prop_assert!(!conflicts.is_empty());
                let entries = decode_managed_fields(&live).unwrap();
                for conflict in conflicts {
                    let owned = entries.iter().any(|entry| {
                        entry.manager == conflict.manager && entry.fields.contains(&conflict.field.0)
                    });
                    let untracked = entries.is_empty()
                        && conflict.manager == "before-first-apply"
                        && has(&live, &conflict.field.0);
                    prop_assert!(owned || untracked, "{:?} of {:?}", conflict, entries);
                }
                prop_assert!(try_apply(Some(&live), &config, "a", true).is_ok());
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    /// Breaks when leaving an object takes fields of others along, or leaves own ones behind.
    #[test]
    fn an_empty_config_removes_what_it_solely_owned(writes in writes(false)) {
        let live = play(&writes);
        let gone = forced(Some(&live), &json!({"metadata": {"name": "x"}}), "a");
        let others = decode_managed_fields(&live).unwrap().into_iter().filter(|entry| entry.manager != "a");
        let others = others.fold(FieldSet::new(), |all, entry| all.union(&entry.fields));
        let solely = set_of(&live, "a").difference(&others);
        prop_assert!(set_of(&gone, "a").is_empty());
        for path in solely.leaves().paths() {
            // A map stays while others have something in it.
            if others.paths().iter().any(|other| other.0.starts_with(&path.0)) {
                continue;
            }
            prop_assert!(!has(&gone, &path.0), "{} is still in {}", path, gone);
        }
        let (before, after) = (owned_fields(&body(&live), shape()), owned_fields(&body(&gone), shape()));
        let lost = before.difference(&after);
        prop_assert!(lost.is_subset(&solely), "lost {} of {}", lost, solely);
    }

    /// Breaks when reading and writing managedFields changes them.
    #[test]
    fn fields_v1_goes_round(config in config()) {
        let set = field_set_of(&config, shape());
        prop_assert_eq!(&FieldSet::from_fields_v1(&set.to_fields_v1()).unwrap(), &set);
        prop_assert_eq!(&set.paths().into_iter().collect::<FieldSet>(), &set);
        prop_assert_eq!(set.paths().len(), set.len());
    }

    /// Breaks when set arithmetic does, on which all else stands.
    #[test]
    fn sets_are_sets(a in config(), b in config()) {
        let (a, b) = (field_set_of(&a, shape()), field_set_of(&b, shape()));
        let (both, only_a) = (a.intersection(&b), a.difference(&b));
        prop_assert_eq!(&both.union(&only_a), &a);
        prop_assert_eq!(&a.union(&b), &b.union(&a));
        prop_assert!(only_a.intersection(&b).is_empty());
        prop_assert!(a.is_subset(&a.union(&b)) && both.is_subset(&a) && both.is_subset(&b));
        prop_assert_eq!(a.is_subset(&b), only_a.is_empty());
        prop_assert!(a.recursive_difference(&b).is_subset(&only_a));
        for path in a.paths() {
            prop_assert!(a.contains(&path.0));
            prop_assert_eq!(b.contains(&path.0), both.contains(&path.0));
            prop_assert_ne!(b.contains(&path.0), only_a.contains(&path.0));
        }
    }

    /// Breaks when a comparison misses a difference, or merging loses something.
    #[test]
    fn compare_and_merge_agree(old in config(), new in config()) {
        prop_assert!(compare(&old, &old, shape()).is_same());
        let there = compare(&old, &new, shape());
        let back = compare(&new, &old, shape());
        prop_assert_eq!(&there.added, &back.removed);
        prop_assert_eq!(&there.modified, &back.modified);
        prop_assert_eq!(&merge(&old, &old, shape()), &old);
        let merged = merge(&old, &new, shape());
        prop_assert!(compare(&old, &merged, shape()).removed.is_empty());
        let to_new = compare(&merged, &new, shape());
        prop_assert!(to_new.added.is_empty() && to_new.modified.is_empty(), "{:?}", to_new);
        prop_assert_eq!(merge(&merged, &new, shape()), merged);
    }

    /// Breaks when taking parts out of an object takes more or less than asked.
    #[test]
    fn parts_make_the_whole(value in config()) {
        let set = field_set_of(&value, shape());
        prop_assert!(compare(&extract(&value, &set, shape()), &value, shape()).is_same());
        let rest = remove_items(&value, &set, shape());
        prop_assert!(field_set_of(&rest, shape()).is_empty(), "{}", rest);
        prop_assert_eq!(remove_items(&value, NO_FIELDS, shape()), value);
    }

    /// Breaks when garbage in managedFields or configurations panics.
    #[test]
    fn garbage_is_refused_not_fatal(text in "[fkvix.]:?[a-z{}\\[\\]\":0-9]{0,12}", config in config()) {
        let _read = PathElement::from_fields_v1(&text);
        let _read = FieldSet::from_fields_v1(&json!({text.clone(): {text.clone(): {}}}));
        let mut live = config.clone();
        live["metadata"]["managedFields"] = json!([{"manager": "a", "operation": "Apply", "fieldsType": "FieldsV1",
            "fieldsV1": {text.clone(): {".": {}}, "f:spec": {text: {}, "f:containers": {"f:x": {}}}}}]);
        let _applied = try_apply(Some(&live), &config, "a", true);
    }
}

/// Breaks when an API server can't tell that defaulting undid all that an apply changed.
#[test]
fn times_alone_are_no_difference() {
    let object = forced(None, &json!({"metadata": {"name": "x"}, "spec": {"a": 1}}), "a");
    let mut later = object.clone();
    later["metadata"]["managedFields"][0]["time"] = json!("2027-01-01T00:00:00Z");
    assert!(differs_only_in_times(&object, &later));
    later["spec"]["a"] = json!(2);
    assert!(!differs_only_in_times(&object, &later));
    let other = forced(Some(&object), &json!({"spec": {"a": 1}}), "b");
    assert!(!differs_only_in_times(&object, &other));
}

/// Breaks when deep input exhausts the stack.
#[test]
fn deep_objects_are_cut_off() {
    let nested = |levels: usize| (0..levels).fold(json!({}), |below, _| json!({"x": below}));
    let live = json!({"spec": {"anything": nested(500)}});
    let object = forced(Some(&live), &live, "a");
    assert!(set_of(&object, "a").paths().iter().all(|path| path.0.len() < 200));
    assert_eq!(body(&object)["spec"], live["spec"]);
    assert!(FieldSet::from_fields_v1(&(0..500).fold(json!({}), |below, _| json!({"f:x": below}))).is_err());
    let deep = Path((0..500).map(|_| PathElement::field("x")).collect());
    assert_eq!([deep].into_iter().collect::<FieldSet>().len(), 1);
}
