//! Who may enter an object that is shared, and what becomes of it when somebody leaves.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::names;
use fleet_plan::{ActionKind, Claim, Entry, Exit, Standing, sharing};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::site::{Site, config, here, id, plan_here, policies, prepared_with};

type Labels = BTreeMap<String, String>;

fn merge(labels: &mut Labels, patch: &Map<String, Value>) {
    for (label, value) in patch {
        match value.as_str() {
            Some(text) => labels.insert(label.clone(), text.to_owned()),
            None => labels.remove(label),
        };
    }
}

/// What an apply of the whole object leaves.
fn own(labels: &mut Labels, me: &str) {
    labels.insert(names::OWNER.to_owned(), me.to_owned());
    labels.insert(names::CONTENT.to_owned(), "abc".to_owned());
    merge(labels, &sharing::joining(me, "demo", me));
}

/// Carries out what is decided; nothing stands for an object that isn't there.
fn enter(object: &mut Option<Labels>, me: &str) -> Entry {
    let Some(labels) = object else {
        own(object.insert(Labels::new()), me);
        return Entry::Owns;
    };
    let entry = Standing::of(labels).enter(me);
    match entry {
        Entry::Owns => own(labels, me),
        Entry::Joins => merge(labels, &sharing::joining(me, "demo", me)),
        Entry::Shares | Entry::Free | Entry::Refused => {}
    }
    entry
}

fn leave(object: &mut Option<Labels>, me: &str) -> Exit {
    let Some(labels) = object else { return Exit::None };
    let exit = Standing::of(labels).leave(me);
    match &exit {
        Exit::Last => *object = None,
        other => merge(labels, &sharing::parting(me, other)),
    }
    exit
}

proptest! {
    // Broken: an object goes that somebody still shares, stays when the last has left, or belongs to nobody who shares it.
    #[test]
    fn it_stands_as_long_as_somebody_shares_it(moves in prop::collection::vec((any::<bool>(), 0..4_usize), 0..24)) {
        let who = ["a", "b", "c", "d"];
        let (mut object, mut inside) = (None, BTreeSet::new());
        for (enters, who) in moves.into_iter().map(|(enters, index)| (enters, who[index])) {
            if enters {
                let entry = enter(&mut object, who);
                prop_assert!(!matches!(entry, Entry::Refused | Entry::Free), "{:?}", entry);
                inside.insert(who);
            } else {
                let exit = leave(&mut object, who);
                prop_assert_eq!(exit == Exit::None, !inside.remove(who));
            }
            // Done again, as after a crash, it changes nothing.
            let before = object.clone();
            if enters { enter(&mut object, who); } else { leave(&mut object, who); }
            prop_assert_eq!(&before, &object);
            let Some(labels) = &object else {
                prop_assert!(inside.is_empty(), "it went, and {:?} share it", inside);
                continue;
            };
            let sharers: BTreeSet<&str> = labels.keys().filter_map(|label| names::sharer(label)).collect();
            prop_assert_eq!(&sharers, &inside);
            prop_assert!(inside.contains(labels[names::OWNER].as_str()));
        }
    }
}

#[test]
fn who_passed_it_on_leaves_nothing_of_its_own() {
    let mut object = None;
    enter(&mut object, "a");
    enter(&mut object, "b");
    assert_eq!(leave(&mut object, "a"), Exit::Pass("b".to_owned()));
    let labels = object.unwrap();
    // Without the content label the new owner writes it.
    assert_eq!(
        labels,
        Labels::from([
            (names::OWNER.to_owned(), "b".to_owned()),
            (names::shared_by("b"), "demo.b".to_owned())
        ])
    );
}

// Broken: an object of an application that shares nothing is written to by another.
#[test]
fn only_what_its_owner_shares_is_joined() {
    let owned = |label: &str| Labels::from([(names::OWNER.to_owned(), label.to_owned())]);
    assert_eq!(Standing::of(&owned("a")).enter("b"), Entry::Refused);
    assert_eq!(Standing::of(&owned("b")).enter("b"), Entry::Owns);
    assert_eq!(Standing::of(&Labels::new()).enter("b"), Entry::Free);
    assert_eq!(Standing::of(&owned("a")).leave("b"), Exit::None);
    // Who shared it before the owner stopped to do so still does.
    let mut left = owned("a");
    left.insert(names::shared_by("b"), "demo.b".to_owned());
    assert_eq!(Standing::of(&left).enter("b"), Entry::Shares);
    assert_eq!(Standing::of(&left).enter("c"), Entry::Refused);
    assert_eq!(Standing::of(&left).leave("a"), Exit::Pass("b".to_owned()));
}

// Broken: an approval of an object of one's own lets a shared one through, or the other way round.
#[test]
fn sharing_shows_in_the_plan_and_in_its_hash() {
    let rule = json!({ "rules": [{ "selector": { "resourceNames": ["shared"] } }] });
    let shares = policies(&[("shared-resource", rule.clone())]);
    let site = || Site {
        rendered: vec![config("shared", "x")],
        owned: vec![id("v1", "ConfigMap", "demo", "shared"), id("v1", "ConfigMap", "demo", "old")],
        ..Site::default()
    };
    let (plan, plain) = (plan_here(site(), &shares), plan_here(site(), &policies(&[])));
    assert_ne!(plan.plan_hash, plain.plan_hash);
    let shared: Vec<_> =
        plan.targets[0].actions.iter().filter(|a| a.shared).map(|a| (a.kind, a.id.name.as_str())).collect();
    assert_eq!(shared, [(ActionKind::Create, "shared")]);
    let gone = Site { rendered: vec![], ..site() };
    assert!(plan_here(gone, &shares).targets[0].deletes().any(|action| action.shared));
    let desired = prepared_with(&[config("shared", "x")], &here(), &shares);
    assert_eq!(desired[0].claim, Claim::Share);
    assert_eq!(desired[0].object["metadata"]["labels"][names::shared_by("0123456789")], "demo.web-demo");
    // Both at once is a contradiction, which is named.
    let both = policies(&[("shared-resource", rule.clone()), ("read-only", rule)]);
    let subject = fleet_plan::Subject { id: &desired[0].id, component: "web", component_type: "" };
    assert_eq!(both.contradiction(&subject), Some(("read-only", "shared-resource")));
}
