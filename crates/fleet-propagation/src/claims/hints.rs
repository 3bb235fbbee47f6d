//! What is wrong with a policy beside the others and the objects that there are.

use std::collections::BTreeMap;

use fleet_api::ObjectId;
use fleet_api::propagation::PolicyProblem;
use fleet_json::few;
use fleet_placement::{Problems, nearest};

use super::{Claims, Entry};
use crate::contest::Lost;
use crate::policy::{Policy, PolicyId};
use crate::selector::Selector;

/// How many objects are looked through for a near name.
const LOOKED_AT: usize = 1_000;

pub(super) fn problems(claims: &Claims, id: &PolicyId) -> Vec<PolicyProblem> {
    let mut problems = Problems::default();
    let Some(entry) = claims.policies.get(id) else { return Vec::new() };
    for selector in entry.policy.selectors.as_slice() {
        let mut objects = claims.index.of_selector(selector).filter_map(|id| claims.objects.get(id));
        if !objects.any(|held| selector.precision(&held.facts).is_some()) {
            let message = format!("there is no {}; {}", selector.describe(), near(claims, selector));
            problems.warning(&selector.path, "SelectorMatchesNothing", message);
        }
    }
    rivals(claims, entry, &mut problems);
    applications(claims, entry, &mut problems);
    problems.into_vec()
}

/// What may have been meant by a selector that matches nothing.
fn near(claims: &Claims, selector: &Selector) -> String {
    let later = "what is created later is taken up".to_owned();
    let Some(objects) = claims.index.of_kind(&selector.group, &selector.kind) else { return later };
    let Some(name) = &selector.name else { return later };
    let elsewhere =
        objects.keys().filter(|(_, other)| other == name).map(|(namespace, _)| namespace.as_str());
    let elsewhere: Vec<&str> = elsewhere.take(3).collect();
    if let Some(wanted) = &selector.namespace
        && !elsewhere.is_empty()
    {
        return format!("{name} is in {}, not in {wanted}", elsewhere.join(", "));
    }
    let reached = |namespace: &String| selector.namespace.as_ref().is_none_or(|own| own == namespace);
    let names = objects.keys().filter(|(namespace, _)| reached(namespace)).map(|(_, name)| name.as_str());
    match nearest(name, names.take(LOOKED_AT)) {
        Some(near) => format!("did you mean {near:?}?"),
        None => later,
    }
}

/// Policies of the same scope and priority that want the same objects: chance decides, which nobody wants.
fn rivals(claims: &Claims, entry: &Entry, problems: &mut Problems) {
    let own = &entry.policy;
    let mut rivals: BTreeMap<PolicyId, (Vec<&ObjectId>, bool, Option<Lost>)> = BTreeMap::new();
    for object in &entry.matched {
        let Some(outcome) = claims.outcome(object) else { continue };
        let winner = outcome.winner.as_ref().map(|(id, _)| id.clone());
        let wins = winner.as_ref() == Some(&own.id);
        let others = if wins {
            outcome.lost.into_iter().collect()
        } else {
            let mine = outcome.lost.into_iter().find(|(id, _)| *id == own.id).map(|(_, lost)| lost);
            winner.into_iter().zip(mine).collect::<Vec<_>>()
        };
        for (other, lost) in others {
            if claims.policies.get(&other).is_some_and(|other| tied(own, &other.policy)) {
                let rival = rivals.entry(other).or_insert_with(|| (Vec::new(), wins, Some(lost)));
                rival.0.push(object);
            }
        }
    }
    for (other, (objects, wins, lost)) in rivals {
        let objects = few(objects, 1);
        let because = match lost {
            Some(Lost::LessPrecise) => "its selector is more precise",
            Some(Lost::LaterName) => "its name comes first",
            _ => "it had it before",
        };
        // A higher priority alone takes nothing from who has it.
        let loser = if wins { claims.policies.get(&other).map(|other| &other.policy) } else { Some(own) };
        let preempts = match loser {
            Some(loser) if !loser.preempts => {
                format!("; {} needs preemption: Always, too, to take it over", loser.id)
            }
            _ => String::new(),
        };
        let who = if wins { "this policy has it" } else { "that one has it" };
        problems.warning(
            "spec.priority",
            "EqualPriority",
            format!(
                "{other} has the same priority, {}, and selects {objects} too; {who}, since {because}. Give one of \
                 them a higher priority{preempts}",
                own.priority
            ),
        );
    }
}

fn tied(a: &Policy, b: &Policy) -> bool {
    a.acts && b.acts && a.priority == b.priority && a.id.kind.namespaced() == b.id.kind.namespaced()
}

/// Objects that an Application refers to as well.
fn applications(claims: &Claims, entry: &Entry, problems: &mut Problems) {
    let mut found: BTreeMap<(&str, bool), Vec<&ObjectId>> = BTreeMap::new();
    for object in &entry.matched {
        let Some(held) = claims.objects.get(object) else { continue };
        if let Some(application) = &held.facts.application {
            let has = held.holder.as_ref() == Some(&entry.policy.id);
            found.entry((application, has)).or_default().push(object);
        }
    }
    for ((application, has), objects) in found {
        let objects = few(objects, 1);
        let who = if has {
            "this policy had it before and keeps it, and members refuse it from the Application"
        } else {
            "the Application delivers it"
        };
        problems.warning(
            "spec.resourceSelectors",
            "OwnedByApplication",
            format!(
                "Application {application} refers to {objects}; {who}. Take it out of the one or the other"
            ),
        );
    }
}
