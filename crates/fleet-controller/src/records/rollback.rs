//! Which revision there is to go back to. Pure over the runs that are kept.

use std::collections::BTreeSet;

use fleet_api::{ManagedCluster, Run, RunPhase, StepPhase};
use kube::ResourceExt as _;

use crate::run;
use crate::{Loaded, Problem};

/// How many revisions a refusal names.
const NAMED: usize = 5;

/// Whether a run brought its revision everywhere that it went to. One that only owed it to clusters that didn't answer,
/// and was superseded then, did.
pub fn is_completed(run: &Run) -> bool {
    let Some(status) = &run.status else { return false };
    match status.phase {
        RunPhase::Succeeded => true,
        RunPhase::Superseded => {
            let through = |step: &fleet_api::StepState| {
                let passed = step.phase == StepPhase::Skipped && step.reason != "Superseded";
                step.phase == StepPhase::Succeeded || passed
            };
            !status.steps.is_empty() && status.steps.iter().all(through)
        }
        RunPhase::Executing | RunPhase::Suspending | RunPhase::Failed | RunPhase::Terminated => false,
    }
}

/// The number of the run that what a run delivers comes from: one that went back stands where it went back to, so that
/// going back twice goes back further.
pub fn stands_at(run: &Run) -> i64 {
    run.spec.rollback.as_ref().and_then(|rollback| rollback.back_to).unwrap_or(run.spec.number)
}

/// The run of the newest revision that was completed before the one that a run delivers.
///
/// # Errors
/// Where there is none; says what there is.
pub fn earlier<'r>(runs: &'r [Run], current: &Run) -> Result<&'r Run, Problem> {
    let before = stands_at(current);
    let mut completed: Vec<&Run> =
        runs.iter().filter(|run| is_completed(run) && run.spec.revision != current.spec.revision).collect();
    completed.sort_by_key(|run| run.spec.number);
    completed.iter().rfind(|run| run.spec.number < before).copied().ok_or_else(|| {
        let message = format!(
            "no revision was completed before the one that run {} delivers ({}); {}",
            current.name_any(),
            current.spec.revision,
            there_is(runs, current)
        );
        Problem::wrong("NothingToGoBackTo", message)
    })
}

/// The run that the engine goes back to by itself once a run failed: what was completed last.
///
/// # Errors
/// Where nothing was, or that is what failed now: going back further would take more away than what failed brought.
pub fn last_completed<'r>(runs: &'r [Run], failed: &Run) -> Result<&'r Run, Problem> {
    let before = runs.iter().filter(|run| run.spec.number < failed.spec.number && is_completed(run));
    match before.max_by_key(|run| run.spec.number) {
        Some(run) if run.spec.revision == failed.spec.revision => {
            let message = format!(
                "run {} failed with revision {}, which run {} completed before: there is nothing newer to take back; {}",
                failed.name_any(),
                failed.spec.revision,
                run.name_any(),
                there_is(runs, failed)
            );
            Err(Problem::wrong("NothingToGoBackTo", message))
        }
        Some(run) => Ok(run),
        None => {
            let message = format!(
                "run {} failed, and no revision was completed before it; {}",
                failed.name_any(),
                there_is(runs, failed)
            );
            Err(Problem::wrong("NothingToGoBackTo", message))
        }
    }
}

/// The numbers of the runs that stay however old they are: with them goes what the next rollback needs.
pub(crate) fn kept(runs: &[Run]) -> BTreeSet<i64> {
    let completed = || runs.iter().filter(|run| is_completed(run));
    let newest = |run: &&Run| run.spec.number;
    let last = completed().max_by_key(newest);
    let other = completed().filter(|run| last.is_some_and(|last| last.spec.revision != run.spec.revision));
    let current = runs.iter().max_by_key(newest);
    let next = current.and_then(|current| earlier(runs, current).ok());
    [last, other.max_by_key(newest), next].into_iter().flatten().map(|run| run.spec.number).collect()
}

/// The run by which to tell what a revision that somebody names was: the newest that completed it, else the newest that
/// tried.
pub fn run_of<'r>(runs: &'r [Run], revision: &str) -> Option<&'r Run> {
    let of = runs.iter().filter(|run| run.spec.revision == revision);
    of.max_by_key(|run| (is_completed(run), run.spec.number))
}

/// The clusters that a revision names and that aren't among these.
///
/// # Errors
/// Where it can't be placed for another reason.
pub fn missing(
    revision: &Loaded,
    namespace: &str,
    clusters: &[ManagedCluster],
) -> Result<BTreeSet<String>, Problem> {
    run::place_again(revision, namespace, clusters, &|_, _| Ok(())).map(|(_, missing)| missing)
}

/// Whether going back to a revision that the newest run delivers does anything: only where that didn't go well.
///
/// # Errors
/// It runs.
pub fn differs(runs: &[Run], current: &Run, revision: &str) -> Result<(), Problem> {
    let ill = |phase: RunPhase| phase.is_over() && phase != RunPhase::Succeeded;
    let phase = current.status.as_ref().map(|status| status.phase).unwrap_or_default();
    if current.spec.revision != revision || ill(phase) {
        return Ok(());
    }
    let message = format!(
        "revision {revision} is the one that run {} delivers ({}); {}",
        current.name_any(),
        phase.as_str(),
        there_is(runs, current)
    );
    Err(Problem::wrong("RevisionRuns", message))
}

/// What there is to go back to, and how to see more.
pub fn there_is(runs: &[Run], current: &Run) -> String {
    let mut newest: Vec<&Run> =
        runs.iter().filter(|run| run.spec.revision != current.spec.revision).collect();
    newest.sort_by_key(|run| -run.spec.number);
    let mut named: Vec<&str> = Vec::new();
    let mut said: Vec<String> = Vec::new();
    for run in newest {
        if !named.contains(&run.spec.revision.as_str()) && said.len() < NAMED {
            let phase = run.status.as_ref().map(|status| status.phase).unwrap_or_default();
            said.push(format!("{} (run {}, {})", run.spec.revision, run.spec.number, phase.as_str()));
            named.push(&run.spec.revision);
        }
    }
    let look = format!(
        "fleetctl history {} -n {}",
        current.spec.application,
        current.namespace().unwrap_or_default()
    );
    if said.is_empty() {
        return format!("no other revision is kept; look at: {look}");
    }
    format!("others that are kept: {}; name one with --to, and look at them with: {look}", said.join(", "))
}

#[cfg(test)]
mod tests;
