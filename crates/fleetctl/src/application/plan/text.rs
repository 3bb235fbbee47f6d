//! Plans for people: each object, each field; targets whose plans are alike stand together.

use std::collections::BTreeMap;

use fleet_api::{ObjectId, Target};
use fleet_controller::{GatePlan, Planner};
use fleet_json::few;
use fleet_plan::{Action, ActionKind, Hint, Severity, TargetPlan};
use serde_json::json;

use super::trial::{Trial, Verdict};
use super::{contents, shown};
use crate::output::style::{self, paint};
use crate::roster::Roster;

/// How many targets of a group are named.
const NAMED: usize = 3;

/// What is said beneath objects, and beneath targets.
#[derive(Default)]
pub(super) struct Remarks(BTreeMap<(Target, Option<ObjectId>), Vec<String>>);

impl Remarks {
    pub(super) fn of(hints: &[Hint], trials: &[Trial]) -> Self {
        let mut remarks = Self::default();
        for hint in hints {
            let (word, look) = match hint.severity {
                Severity::Danger => ("!!", style::BAD),
                Severity::Warning => ("! ", style::WAITING),
                Severity::Info => ("i ", style::FAINT),
            };
            let line = format!("{} {}: {}", paint(look, word), hint.code, shown::visible(&hint.message));
            remarks.0.entry((hint.target.clone(), hint.object.clone())).or_default().push(line);
        }
        for trial in trials {
            let said = shown::visible(&trial.message);
            let mut lines = match trial.verdict {
                Verdict::Accepted => Vec::new(),
                Verdict::Refused => vec![format!("{} dry run: refused: {said}", paint(style::BAD, "!!"))],
                Verdict::Untried => vec![format!("{} dry run: not tried: {said}", paint(style::FAINT, "i "))],
            };
            for warning in &trial.warnings {
                let mark = paint(style::WAITING, "! ");
                lines.push(format!("{mark} dry run: the server warns: {}", shown::visible(warning)));
            }
            remarks.0.entry((trial.target.clone(), Some(trial.object.clone()))).or_default().extend(lines);
        }
        remarks
    }

    fn about(&self, target: &Target, object: Option<&ObjectId>) -> &[String] {
        self.0.get(&(target.clone(), object.cloned())).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The plans of a gate, and the summary.
pub(super) fn body(planner: &Planner, gate: &GatePlan, roster: &Roster, remarks: &Remarks) -> String {
    let mut out = String::new();
    for plan in &gate.plans {
        let over = planner.over(&plan.step);
        let (over, left): (Vec<&TargetPlan>, Vec<&TargetPlan>) =
            plan.targets.iter().partition(|target| over.contains_key(&target.target));
        out.push_str(&ended(planner, &plan.step, &over, roster));
        for group in alike(&left, remarks) {
            let Some(first) = group.first() else { continue };
            out.push_str(&heading(&group, roster));
            for action in &first.actions {
                action_lines(action, &mut out);
                if action.kind == ActionKind::Create {
                    for line in created(planner, &plan.step, &first.target, action) {
                        out.push_str(&format!("      {}\n", paint(style::FAINT, &line)));
                    }
                }
                for remark in remarks.about(&first.target, Some(&action.id)) {
                    out.push_str(&format!("      {remark}\n"));
                }
            }
            for remark in remarks.about(&first.target, None) {
                out.push_str(&format!("  {remark}\n"));
            }
            if first.actions.is_empty() {
                out.push_str("  nothing\n");
            }
        }
    }
    out.push_str(&format!("{}\n", gate.summary));
    out
}

/// Targets for which nothing is left to do, by how they ended.
fn ended(planner: &Planner, step: &str, over: &[&TargetPlan], roster: &Roster) -> String {
    let known = planner.over(step);
    let mut groups: BTreeMap<(&str, &str), Vec<&TargetPlan>> = BTreeMap::new();
    for plan in over {
        let phase = known.get(&plan.target).map_or("", |phase| phase.as_str());
        groups.entry((phase, plan.target.namespace.as_str())).or_default().push(plan);
    }
    let lines = groups
        .into_iter()
        .map(|((phase, _), group)| format!("{} {phase} already\n", heading(&group, roster).trim_end()));
    lines.collect()
}

fn created(planner: &Planner, step: &str, target: &Target, action: &Action) -> Vec<String> {
    let desired = planner.desired(step, target);
    let Some(found) = desired.iter().find(|desired| desired.id == action.id) else { return Vec::new() };
    contents::lines(&action.id, &found.object, planner.provenance(step, target, &action.id))
}

/// Targets whose plans say the same, in the order of the first of each group.
fn alike<'p>(targets: &[&'p TargetPlan], remarks: &Remarks) -> Vec<Vec<&'p TargetPlan>> {
    let mut groups: Vec<(String, Vec<&TargetPlan>)> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for target in targets {
        let actions: Vec<_> = target
            .actions
            .iter()
            .map(|action| json!([action, remarks.about(&target.target, Some(&action.id))]))
            .collect();
        // Objects differ in their namespace, so only targets of one namespace are alike.
        let key = json!([target.target.namespace, actions, remarks.about(&target.target, None)]).to_string();
        let at = *known.entry(key.clone()).or_insert(groups.len());
        match groups.get_mut(at) {
            Some((_, group)) => group.push(target),
            None => groups.push((key, vec![target])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn heading(group: &[&TargetPlan], roster: &Roster) -> String {
    let names: Vec<String> = group.iter().map(|plan| roster.label(&plan.target.cluster)).collect();
    let namespace = group.first().map_or("", |plan| plan.target.namespace.as_str());
    let place = match names.as_slice() {
        [only] => paint(style::STRONG, only),
        several => {
            let alike = format!("{} targets alike", several.len());
            format!("{} ({})", paint(style::STRONG, &alike), few(several, NAMED))
        }
    };
    format!("on {place}, namespace {namespace}:\n")
}

fn action_lines(action: &Action, out: &mut String) {
    let (mark, word, look) = match action.kind {
        ActionKind::Ensure => ("·", "create where it is missing", style::FAINT),
        ActionKind::Create => ("+", "create", style::GOOD),
        ActionKind::Change if action.recreate => ("±", "delete and create anew", style::BAD),
        ActionKind::Change => ("~", "change", style::WAITING),
        ActionKind::Keep => ("=", "keep", style::FAINT),
        ActionKind::Observe => ("?", "look at: it must be there", style::FAINT),
        ActionKind::Delete => ("-", "delete", style::BAD),
        ActionKind::Release => ("○", "release: it stays, as nobody's", style::WAITING),
    };
    let take_over = if action.take_over { ", taken over if it stands there already" } else { "" };
    let take_over = match action.kind {
        ActionKind::Delete if action.shared => ", or left to who else shares it",
        _ if action.shared => ", or shared as it is if another application owns it",
        _ => take_over,
    };
    let line = format!("{mark} {} {}", action.id.kind, shown::visible(&action.id.name));
    out.push_str(&format!("  {} ({word}{take_over})\n", paint(look, &line)));
    for change in &action.changes {
        let (from, to) = (change.from.as_ref(), change.to.as_ref());
        let path = shown::visible(&change.path.to_string());
        let by = change.set_by.as_ref().map(|by| format!("   ({by})")).unwrap_or_default();
        out.push_str(&format!("      {path}: {}{}\n", shown::change(from, to), paint(style::FAINT, &by)));
    }
}
