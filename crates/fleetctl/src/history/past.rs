//! Every run that something is known of, from the runs that are kept and the record of those that aren't.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::run::RunSpec;
use fleet_api::{AuditEntry, Run, RunPhase, RunStatus, StepState, TargetPhase, TargetState};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;

/// One run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PastRun {
    pub(super) run: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<i64>,
    pub(super) revision: String,
    /// The code of what started it.
    pub(super) cause: String,
    /// Who, where that is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) started_by: String,
    /// Whether admission proved who.
    pub(super) proven: bool,
    /// What was said about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) why: String,
    /// The number of the run that it goes back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) back_to: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended_at: Option<Timestamp>,
    /// Its phase.
    pub(super) outcome: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
    pub(super) approvals: Vec<PastApproval>,
    /// Where each target stood at its end, or stands.
    pub(super) targets: BTreeMap<String, PastTarget>,
    /// The run itself isn't kept any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) from_record: bool,
}

/// Who agreed to a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PastApproval {
    pub(super) step: String,
    pub(super) approver: String,
    pub(super) proven: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
}

/// What became of a target in the last of its steps that is about it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PastTarget {
    pub(super) step: String,
    pub(super) outcome: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
}

/// What happened on a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// Objects of the revision are sent.
    Begun,
    /// It didn't get through.
    Failed,
    /// It has the revision.
    Done,
    /// What was there is gone.
    Cleared,
    /// The cluster left the fleet.
    Left,
}

/// One thing that happened on a target.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Happening {
    pub(super) at: Timestamp,
    /// The run's place in [`Past::runs`].
    pub(super) run: usize,
    pub(super) target: String,
    pub(super) step: String,
    pub(super) turn: Turn,
    pub(super) reason: String,
}

/// Everything that is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Past {
    /// The newest first.
    pub(super) runs: Vec<PastRun>,
    /// The oldest first.
    pub(super) happenings: Vec<Happening>,
    /// When the Application was deleted, if it was: everything that was delivered went then.
    pub(super) deleted: Vec<Timestamp>,
    /// The earliest time that anything is known of.
    pub(super) begins: Option<Timestamp>,
    /// Nothing ran before that.
    pub(super) complete: bool,
}

impl Past {
    /// Whether nothing is known of that time.
    pub(super) fn begins_after(&self, at: Timestamp) -> bool {
        !self.complete && self.begins.is_none_or(|begins| at < begins)
    }

    /// From runs that are kept, and the record.
    pub(super) fn of(runs: &[Run], entries: &[AuditEntry]) -> Self {
        let kept: BTreeSet<String> = runs.iter().map(|run| run.name_any()).collect();
        let mut all: Vec<(PastRun, Vec<Happening>)> = runs.iter().map(of_run).collect();
        let mut recorded: BTreeMap<&str, Vec<&AuditEntry>> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !entry.run.is_empty() && !kept.contains(&entry.run)) {
            recorded.entry(&entry.run).or_default().push(entry);
        }
        all.extend(recorded.into_iter().map(|(run, entries)| of_entries(run, &entries)));
        all.sort_by_key(|(run, _)| std::cmp::Reverse((run.started_at, run.number)));
        let mut past = Self::default();
        for (at, (run, happenings)) in all.into_iter().enumerate() {
            past.runs.push(run);
            past.happenings.extend(happenings.into_iter().map(|one| Happening { run: at, ..one }));
        }
        past.happenings.sort_by_key(|one| (one.at, std::cmp::Reverse(one.run), one.turn));
        // It says the second in which somebody deleted it; what is on record before that came before.
        let mut last = Timestamp::MIN;
        for entry in entries {
            last = last.max(entry.at);
            past.deleted.extend((entry.event == "ApplicationDeleted").then_some(last));
        }
        let oldest = past.runs.last();
        past.begins = oldest.and_then(|run| run.started_at);
        past.complete = oldest.is_some_and(|run| run.number == Some(1) && !run.cause.is_empty());
        past
    }

    pub(super) fn run(&self, at: usize) -> Option<&PastRun> {
        self.runs.get(at)
    }
}

fn of_run(run: &Run) -> (PastRun, Vec<Happening>) {
    let status = run.status.clone().unwrap_or_default();
    let spec = &run.spec;
    let back = spec.goes_back();
    let known = PastRun {
        run: run.name_any(),
        number: Some(spec.number),
        revision: spec.revision.clone(),
        cause: spec.cause.clone(),
        started_by: started_by(spec),
        proven: back.is_none() && spec.changed_by.is_some(),
        why: match back {
            Some(back) => back.reason.clone(),
            None => {
                spec.publish_version.clone().filter(|_| spec.cause == "PublishVersion").unwrap_or_default()
            }
        },
        back_to: back.and_then(|back| back.back_to),
        started_at: status.started_at,
        ended_at: status.ended_at.filter(|_| status.phase.is_over()),
        outcome: status.phase.as_str().to_owned(),
        reason: if status.phase == RunPhase::Succeeded { String::new() } else { status.reason.clone() },
        approvals: status.steps.iter().flat_map(approvals).collect(),
        targets: targets(&status),
        from_record: false,
    };
    let turned = |step: &StepState, state: &TargetState, at: Timestamp, turn: Turn| Happening {
        at,
        run: 0,
        target: state.target.to_string(),
        step: step.name.clone(),
        turn,
        reason: if turn == Turn::Failed { state.reason.clone() } else { String::new() },
    };
    let mut all = Vec::new();
    for step in &status.steps {
        for state in &step.targets {
            let begun = state.started_at.filter(|_| !state.cleared);
            all.extend(begun.map(|at| turned(step, state, at, Turn::Begun)));
            let turn = match state.phase {
                TargetPhase::Succeeded if state.cleared => Turn::Cleared,
                TargetPhase::Succeeded => Turn::Done,
                TargetPhase::Failed if begun.is_some() => Turn::Failed,
                TargetPhase::Removed => Turn::Left,
                _ => continue,
            };
            all.extend(state.ended_at.or(step.ended_at).map(|at| turned(step, state, at, turn)));
        }
    }
    (known, all)
}

/// Who an edit, or a request to go back, came from. Of a restart nobody knows.
fn started_by(spec: &RunSpec) -> String {
    match spec.goes_back() {
        Some(back) => back.requested_by.clone(),
        None => spec.changed_by.clone().unwrap_or_default(),
    }
}

fn approvals(step: &StepState) -> Vec<PastApproval> {
    let Some(gate) = &step.gate else { return Vec::new() };
    let opened = gate.approval.iter().filter(|_| gate.approvals.is_empty());
    let all = gate.approvals.iter().chain(opened).map(|one| PastApproval {
        step: step.name.clone(),
        approver: one.approver.clone(),
        proven: one.proven,
        at: one.at,
        reason: one.reason.clone(),
    });
    all.collect()
}

fn targets(status: &RunStatus) -> BTreeMap<String, PastTarget> {
    let mut all = BTreeMap::new();
    for step in &status.steps {
        for state in &step.targets {
            let cleared = state.cleared && state.phase == TargetPhase::Succeeded;
            let known = PastTarget {
                step: step.name.clone(),
                outcome: if cleared { "cleared" } else { state.phase.as_str() }.to_owned(),
                reason: state.reason.clone(),
            };
            // One that a later step never came to says less than what it has.
            let before: Option<&PastTarget> = all.get(&state.target.to_string());
            if before.is_none() || state.phase != TargetPhase::Pending {
                all.insert(state.target.to_string(), known);
            }
        }
    }
    all
}

fn of_entries(run: &str, entries: &[&AuditEntry]) -> (PastRun, Vec<Happening>) {
    let begun = entries.iter().find(|entry| entry.event == "RunStarted");
    let ended = entries.iter().rfind(|entry| entry.event == "RunEnded");
    let mut known = PastRun {
        run: run.to_owned(),
        number: run.rsplit_once('-').and_then(|(_, number)| number.parse().ok()),
        revision: entries.first().map(|entry| entry.revision.clone()).unwrap_or_default(),
        cause: begun.map(|entry| entry.reason.clone()).unwrap_or_default(),
        proven: begun.is_some_and(|entry| entry.proven),
        started_at: begun.or(entries.first()).map(|entry| entry.at),
        ended_at: ended.map(|entry| entry.at),
        outcome: ended.map_or_else(|| "unknown".to_owned(), |entry| entry.about.clone()),
        reason: ended.map(|entry| entry.reason.clone()).unwrap_or_default(),
        from_record: true,
        ..PastRun::default()
    };
    if known.outcome == "succeeded" {
        known.reason.clear();
    }
    let who = matches!(
        known.cause.as_str(),
        "Created" | "RevisionChanged" | "PublishVersion" | "Rollback" | "AutomaticRollback"
    );
    if let Some(begun) = begun.filter(|_| who) {
        known.started_by.clone_from(&begun.actor);
        known.why.clone_from(&begun.message);
    }
    let mut all = Vec::new();
    for entry in entries {
        match entry.event.as_str() {
            "Approved" => known.approvals.push(PastApproval {
                step: entry.step.clone(),
                approver: entry.actor.clone(),
                proven: entry.proven,
                at: Some(entry.at),
                reason: entry.message.clone(),
            }),
            "TargetCaughtUp" => all.push(Happening {
                at: entry.at,
                run: 0,
                target: entry.about.clone(),
                step: entry.step.clone(),
                turn: Turn::Done,
                reason: String::new(),
            }),
            _ => {}
        }
        for (outcome, targets) in &entry.targets {
            for said in targets {
                let (target, reason) = said.split_once(" (").unwrap_or((said, ""));
                let reason = reason.trim_end_matches(')').to_owned();
                let place =
                    PastTarget { step: entry.step.clone(), outcome: outcome.clone(), reason: reason.clone() };
                known.targets.insert(target.to_owned(), place);
                let turn = match outcome.as_str() {
                    "succeeded" => Turn::Done,
                    "cleared" => Turn::Cleared,
                    "failed" => Turn::Failed,
                    "removed" => Turn::Left,
                    _ => continue,
                };
                all.push(Happening {
                    at: entry.at,
                    run: 0,
                    target: target.to_owned(),
                    step: entry.step.clone(),
                    turn,
                    reason: if turn == Turn::Failed { reason } else { String::new() },
                });
            }
        }
    }
    (known, all)
}

#[cfg(test)]
mod tests;
