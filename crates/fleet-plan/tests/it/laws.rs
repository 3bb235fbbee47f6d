//! Laws over random objects, inventories and policies.

use std::collections::BTreeSet;

use fleet_api::{ObjectId, Target};
use fleet_plan::{ActionKind, Plan, ResourcePolicies, drift, wave};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::site::{
    Site, config, crd, deployment, here, id, plan_here, plan_of, policies, prepared, role, secret,
};

fn object() -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d"]);
    let text = || "[a-z]{1,4}";
    prop_oneof![
        (name(), text()).prop_map(|(name, text)| deployment(name, &text)),
        (name(), text()).prop_map(|(name, text)| config(name, &text)),
        (name(), text()).prop_map(|(name, text)| secret(name, &json!({ "key": text }))),
        name().prop_map(role),
        name().prop_map(crd),
    ]
}

fn objects() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(object(), 0..6)
}

fn ids(objects: &[Value]) -> Vec<ObjectId> {
    prepared(objects, &here()).into_iter().map(|desired| desired.id).collect()
}

/// A field that tells one rendering from another by more than a label.
fn edited(mut object: Value) -> Value {
    object["metadata"]["annotations"] = json!({ "edited": "yes" });
    object
}

fn update(selector: &Value) -> ResourcePolicies {
    let rule = json!({ "selector": selector, "strategy": { "recreateFields": ["*"] } });
    policies(&[("resource-update", json!({ "rules": [rule] }))])
}

fn deleted(plan: &Plan) -> BTreeSet<ObjectId> {
    plan.targets.iter().flat_map(|target| target.deletes().map(|action| action.id.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // Design invariant 1. Broken: something is deleted that the revision has, or that isn't ours; or something
    // that nobody wants any more stays.
    #[test]
    fn deletes_are_what_is_owned_less_what_is_wanted(rendered in objects(), owned in objects(), kept in objects()) {
        let site = Site { rendered: rendered.clone(), owned: ids(&owned), kept: ids(&kept), ..Site::default() };
        let deleted = deleted(&plan_here(site, &policies(&[])));
        let wanted: BTreeSet<ObjectId> = ids(&rendered).into_iter().chain(ids(&kept)).collect();
        let expected: BTreeSet<ObjectId> = ids(&owned).into_iter().filter(|id| !wanted.contains(id)).collect();
        prop_assert_eq!(deleted, expected);
    }

    // Broken: an object that a read-only policy selects is written or deleted, whatever else is known of it.
    #[test]
    fn what_is_read_only_is_neither_written_nor_deleted(
        rendered in objects(), owned in objects(), delivered in objects(), name in prop::sample::select(vec!["a", "b"]),
    ) {
        let rule = json!({ "selector": { "resourceNames": [name] } });
        let all = ["read-only", "take-over"].map(|type_| (type_, json!({ "rules": [rule] })));
        let policies = policies(&all);
        let site = Site { rendered, delivered, owned: ids(&owned), ..Site::default() };
        let plan = plan_here(site, &policies);
        for action in plan.targets.iter().flat_map(|target| &target.actions).filter(|a| a.id.name == name) {
            prop_assert!(matches!(action.kind, ActionKind::Observe | ActionKind::Release), "{:?}", action);
            prop_assert!(!action.take_over && !action.recreate);
        }
        let released: BTreeSet<_> = plan.targets[0].leaves().filter(|a| a.kind == ActionKind::Release).map(|a| a.id.clone()).collect();
        let expected: BTreeSet<_> = ids(&owned).into_iter().filter(|id| id.name == name).collect();
        prop_assert_eq!(released, expected);
    }

    // Broken: one target's garbage is deleted on another, or what stands in another namespace of the cluster.
    #[test]
    fn targets_delete_their_own(first in objects(), second in objects(), owned in objects()) {
        let near = Target::new("mc-bj1", "near");
        let far = Target::new("mc-bj2", "demo");
        let site = |rendered: &[Value], target: &Target| Site {
            rendered: rendered.to_vec(),
            owned: prepared(&owned, target).into_iter().map(|desired| desired.id).collect(),
            ..Site::default()
        };
        let sites = [(near.clone(), site(&first, &near)), (far.clone(), site(&second, &far))];
        let plan = plan_of(&sites, &policies(&[]));
        for (target, rendered) in [(&near, &first), (&far, &second)] {
            let wanted: BTreeSet<ObjectId> = prepared(rendered, target).into_iter().map(|d| d.id).collect();
            for action in plan.target(target).unwrap().deletes() {
                prop_assert!(!wanted.contains(&action.id), "{} is wanted on {target}", action.id);
                prop_assert!(action.id.namespace.is_empty() || action.id.namespace == target.namespace);
            }
        }
    }

    // Broken: an autoscaler, or the order of a map or of the inventory, voids an approval.
    #[test]
    fn the_hash_ignores_what_was_delivered_before(
        rendered in objects(), owned in objects(), delivered in objects(), other in objects(),
    ) {
        let hash = |delivered: &[Value], reversed: bool| {
            let mut owned = ids(&owned);
            if reversed {
                owned.reverse();
            }
            let site = Site { rendered: rendered.clone(), delivered: delivered.to_vec(), owned, ..Site::default() };
            plan_here(site, &policies(&[])).plan_hash
        };
        prop_assert_eq!(hash(&delivered, false), hash(&other, true));
    }

    // Broken: an approval of one plan lets another through.
    #[test]
    fn the_hash_covers_what_is_approved(rendered in prop::collection::vec(object(), 1..6), owned in objects(), at in any::<prop::sample::Index>()) {
        let site = |rendered: &[Value]| Site { rendered: rendered.to_vec(), owned: ids(&owned), ..Site::default() };
        let before = plan_here(site(&rendered), &policies(&[]));
        // One object of each name is taken, so the one that counts is edited.
        let first = ids(&rendered)[at.index(ids(&rendered).len())].clone();
        let is_first = |object: &Value| ids(std::slice::from_ref(object))[0] == first;
        let other: Vec<Value> =
            rendered.iter().map(|object| if is_first(object) { edited(object.clone()) } else { object.clone() }).collect();
        prop_assert_ne!(&before.plan_hash, &plan_here(site(&other), &policies(&[])).plan_hash, "content");

        let more = Site { owned: vec![id("v1", "ConfigMap", "demo", "garbage")], ..site(&rendered) };
        let less = Site { owned: vec![], ..site(&rendered) };
        prop_assert_ne!(plan_here(more, &policies(&[])).plan_hash, plan_here(less, &policies(&[])).plan_hash, "deletes");

        let one = |target: Target| plan_of(&[(target, site(&rendered))], &policies(&[])).plan_hash;
        prop_assert_ne!(one(here()), one(Target::new("mc-hz1", "demo")), "the cluster");
        prop_assert_ne!(one(here()), one(Target::new("mc-bj1", "other")), "the namespace");

        let selector = json!({ "resourceTypes": [&first.kind], "resourceNames": [&first.name] });
        let take_over = policies(&[("take-over", json!({ "rules": [{ "selector": selector }] }))]);
        prop_assert_ne!(&before.plan_hash, &plan_here(site(&rendered), &take_over).plan_hash, "take-over");

        let read_only = policies(&[("read-only", json!({ "rules": [{ "selector": selector }] }))]);
        prop_assert_ne!(&before.plan_hash, &plan_here(site(&rendered), &read_only).plan_hash, "looking only");

        let again = |policies: &ResourcePolicies| {
            plan_here(Site { delivered: other.clone(), ..site(&rendered) }, policies).plan_hash
        };
        prop_assert_ne!(again(&policies(&[])), again(&update(&selector)), "recreating");
    }

    // Design invariant 3. Broken: the same input gives two plans, or a plan doesn't survive being stored.
    #[test]
    fn plans_are_reproducible(rendered in objects(), delivered in objects(), owned in objects()) {
        let make = || {
            let site = Site { rendered: rendered.clone(), delivered: delivered.clone(), owned: ids(&owned), ..Site::default() };
            plan_here(site, &policies(&[]))
        };
        let text = serde_json::to_string(&make()).unwrap();
        prop_assert_eq!(&text, &serde_json::to_string(&make()).unwrap());
        prop_assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), make());
    }

    // Design invariant 11.
    #[test]
    fn no_value_of_a_secret_shows(
        before in prop::collection::btree_map("[a-z]{1,3}", "SECRET[A-Za-z0-9]{8}", 0..4),
        after in prop::collection::btree_map("[a-z]{1,3}", "SECRET[A-Za-z0-9]{8}", 0..4),
        field in prop::sample::select(vec!["data", "stringData", "spec"]),
        annotated in any::<bool>(),
    ) {
        let secret = |data: &std::collections::BTreeMap<String, String>| {
            let mut object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "db" }, field: data });
            if annotated {
                let last = serde_json::to_string(data).unwrap();
                object["metadata"]["annotations"] = json!({ "kubectl.kubernetes.io/last-applied-configuration": last });
            }
            object
        };
        let site = Site { rendered: vec![secret(&after)], delivered: vec![secret(&before)], ..Site::default() };
        let plan = plan_here(site, &policies(&[]));
        let found = drift(&id("v1", "Secret", "demo", "db"), &secret(&before), &secret(&after));
        for text in [serde_json::to_string(&plan).unwrap(), serde_json::to_string(&found).unwrap(), format!("{plan:?}{found:?}")] {
            prop_assert!(!text.contains("SECRET"), "{}", text);
        }
    }

    // Broken: an object is sent before what it needs, or deleted before what needs it.
    #[test]
    fn applies_go_up_and_deletes_go_down(rendered in objects(), owned in objects()) {
        let site = Site { rendered, owned: ids(&owned), ..Site::default() };
        let plan = plan_here(site, &policies(&[]));
        let actions = &plan.targets[0].actions;
        let first_delete = actions.iter().position(|a| a.kind == ActionKind::Delete).unwrap_or(actions.len());
        let (applies, deletes) = actions.split_at(first_delete);
        prop_assert!(deletes.iter().all(|action| action.kind == ActionKind::Delete), "deletes come last");
        prop_assert!(applies.is_sorted_by_key(|action| wave(&action.id)));
        prop_assert!(deletes.iter().rev().is_sorted_by_key(|action| wave(&action.id)));
    }

    // Broken: an object that was delivered and left alone counts as drift and is repaired for ever.
    #[test]
    fn what_was_delivered_has_not_drifted(object in object(), extra in "[a-z]{1,4}") {
        let object = prepared(std::slice::from_ref(&object), &here()).remove(0);
        prop_assert!(drift(&object.id, &object.object, &object.object).is_empty());
        let mut live = Value::clone(&object.object);
        live["status"] = json!({ "phase": &extra });
        live["metadata"]["uid"] = json!(extra);
        prop_assert!(drift(&object.id, &object.object, &live).is_empty(), "what we don't send is looked at");
    }
}
