//! How two plans of one gate differ: what somebody looked at, and what would be carried out now.

use std::collections::BTreeMap;

use fleet_api::{ObjectId, Target};

use crate::{Action, ActionKind, Plan};

/// What differs between two plans of a gate, a line each: `+` for what the later one does besides, `-` for what it does no
/// more, `~` for what it does in another way. Values don't show.
pub fn difference(before: &[Plan], after: &[Plan]) -> Vec<String> {
    let (before, after) = (actions(before), actions(after));
    let mut lines = Vec::new();
    for (key, old) in &before {
        match after.get(key) {
            None => lines.push(line("-", key, &word(old))),
            Some(new) if !same(old, new) => lines.push(line("~", key, &changed(old, new))),
            Some(_) => {}
        }
    }
    lines.extend(
        after
            .iter()
            .filter(|(key, _)| !before.contains_key(*key))
            .map(|(key, new)| line("+", key, &word(new))),
    );
    lines
}

type Key<'a> = (&'a Target, &'a ObjectId);

fn actions(plans: &[Plan]) -> BTreeMap<Key<'_>, &Action> {
    let targets = plans.iter().flat_map(|plan| &plan.targets);
    let all =
        targets.flat_map(|plan| plan.actions.iter().map(move |action| ((&plan.target, &action.id), action)));
    all.filter(|(_, action)| action.kind != ActionKind::Ensure).collect()
}

/// Whether an approval of the one would cover the other.
fn same(old: &Action, new: &Action) -> bool {
    let goes = |action: &Action| action.kind == ActionKind::Delete;
    let stays = |action: &Action| matches!(action.kind, ActionKind::Observe | ActionKind::Release);
    goes(old) == goes(new)
        && (stays(old) || stays(new)) == (old.kind == new.kind && stays(old))
        && (&old.content, old.take_over, old.recreate, old.shared)
            == (&new.content, new.take_over, new.recreate, new.shared)
}

fn changed(old: &Action, new: &Action) -> String {
    if old.kind == ActionKind::Delete || new.kind == ActionKind::Delete || old.content == new.content {
        return format!("{}, not {}", word(new), word(old));
    }
    // Fields that both change are told by what they come to now.
    let fields = new.changes.iter().filter(|change| !old.changes.contains(change));
    let mut paths: Vec<String> = fields.map(|change| change.path.to_string()).collect();
    let gone = old.changes.iter().filter(|o| new.changes.iter().all(|n| n.path != o.path));
    paths.extend(gone.map(|change| change.path.to_string()));
    match paths.is_empty() {
        true => format!("{} with another content", word(new)),
        false => format!("{} otherwise: {}", word(new), paths.join(", ")),
    }
}

fn word(action: &Action) -> String {
    let word = match action.kind {
        ActionKind::Ensure | ActionKind::Create => "create",
        ActionKind::Change if action.recreate => "delete and create anew",
        ActionKind::Change => "change",
        ActionKind::Keep => "keep",
        ActionKind::Observe => "look at",
        ActionKind::Delete => "delete",
        ActionKind::Release => "release",
    };
    let take_over = if action.take_over { ", taken over" } else { "" };
    format!("{word}{take_over}")
}

fn line(mark: &str, (target, id): &Key<'_>, what: &str) -> String {
    format!("{mark} {} {} on {target} ({what})", id.kind, id.name)
}
