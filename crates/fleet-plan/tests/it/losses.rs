//! Which deletes nobody should make unasked.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{ObjectId, Owned, TargetInventory};
use fleet_plan::{ActionKind, PlanInput, ResourcePolicies, TargetInput, plan};
use serde_json::{Value, json};

use crate::site::{Site, config, deployment, here, id, plan_here, policies};

fn app(kind: &str, name: &str) -> ObjectId {
    id("apps/v1", kind, "demo", name)
}

fn loses(rendered: &[Value], owned: &[ObjectId], kept: &[ObjectId]) -> String {
    let site =
        Site { rendered: rendered.to_vec(), owned: owned.to_vec(), kept: kept.to_vec(), ..Site::default() };
    plan_here(site, &ResourcePolicies::default()).targets[0].loses.clone()
}

// Broken: the last copy of a program goes without anybody being asked, or people are asked about every renamed object.
#[test]
fn the_last_workload_and_everything_are_losses() {
    let web = app("Deployment", "web");
    let settings = id("v1", "ConfigMap", "demo", "settings");
    let cases = [
        // One of two goes.
        (vec![deployment("api", "a")], vec![web.clone(), app("Deployment", "api")], vec![], ""),
        // A renamed one is replaced.
        (vec![deployment("web2", "a")], vec![web.clone()], vec![], ""),
        (
            vec![config("settings", "1")],
            vec![web.clone(), settings.clone()],
            vec![],
            "the last workload goes there (Deployment web)",
        ),
        // Another step delivers one.
        (vec![config("settings", "1")], vec![web.clone()], vec![app("StatefulSet", "db")], ""),
        (vec![], vec![settings.clone()], vec![], "everything goes there (1 objects)"),
        (
            vec![],
            vec![web, settings.clone()],
            vec![],
            "everything goes there (2 objects, Deployment web among them)",
        ),
        // No workload was there: configuration goes as it always did.
        (vec![config("other", "1")], vec![settings], vec![], ""),
        (vec![], vec![], vec![], ""),
    ];
    for (rendered, owned, kept, expected) in cases {
        assert_eq!(loses(&rendered, &owned, &kept), expected, "{rendered:?} {owned:?}");
    }
}

#[test]
fn what_is_never_collected_is_no_loss() {
    let keep = policies(&[("garbage-collect", json!({ "keepLegacyResource": true }))]);
    let site = Site { owned: vec![app("Deployment", "web")], ..Site::default() };
    assert_eq!(plan_here(site, &keep).targets[0].loses, "");
}

// Broken: a step that says Keep deletes, or its plan passes for one that deletes.
#[test]
fn what_is_kept_is_released() {
    let owned = BTreeMap::from([(app("Deployment", "web"), Owned::default())]);
    let inventory = TargetInventory { target: here(), layers: Vec::new(), begun: Vec::new(), objects: owned };
    let made = |keeps_deleted: bool| {
        let input = TargetInput {
            target: here(),
            desired: &[],
            previous: &[],
            inventory: Some(&inventory),
            last: true,
            kept: &BTreeSet::new(),
        };
        plan(&PlanInput {
            step: "ship",
            targets: vec![input],
            policies: &ResourcePolicies::default(),
            component_types: &BTreeMap::new(),
            keeps_deleted,
        })
    };
    let (deleted, kept) = (made(false), made(true));
    assert_eq!((deleted.count(ActionKind::Delete), kept.count(ActionKind::Release)), (1, 1));
    assert_eq!((kept.count(ActionKind::Delete), kept.targets[0].loses.as_str()), (0, ""));
    assert_ne!(deleted.plan_hash, kept.plan_hash);
}
