//! A plan that isn't any more: what was looked at, made again from what is on record, and how the plan differs now.

use std::collections::BTreeSet;

use fleet_api::{Application, Run};
use fleet_controller::{GatePlan, Planner, PreviewError};
use kube::ResourceExt as _;
use kube::api::ListParams;

use super::Place;

/// How many differences are shown.
const SHOWN: usize = 20;
/// In how many earlier runs the plan is looked for.
const RUNS: usize = 5;
/// What whoever may read the namespace alone isn't told.
const UNSEEN: &str = "as far as you may see: what members have, and so what else is deleted there, is shown to who has \
                      the ClusterRole fleetctl-fleet-viewer for the whole hub";

/// What is known of a plan that isn't any more.
enum Looked {
    /// Both plans, made from everything: the hash proves that the first is the same as then.
    Whole(GatePlan, GatePlan),
    /// Both plans, made from the records of their runs alone.
    Records(GatePlan, GatePlan),
    /// It was a plan of this run, and can't be made again: this is why.
    Lost(String, String),
    /// No plan on record has a hash that begins so.
    Unknown,
}

/// How the plan of a step differs from the one whose hash begins like this, for people to read.
pub(super) async fn difference(
    place: &Place,
    app: &Application,
    run: &Run,
    step: &str,
    looked_at: &str,
) -> String {
    let found = tokio::time::timeout(place.hub.deadline, look(place, app, run, step, looked_at));
    match Box::pin(found).await {
        Ok(Looked::Whole(before, now)) => format!("what differs{}", lines(&before, &now)),
        Ok(Looked::Records(before, now)) => format!("what differs, {UNSEEN}{}", lines(&before, &now)),
        Ok(Looked::Lost(of, why)) => {
            format!(
                "what was looked at, a plan of run {of}, can't be made again from what is on record: {why}"
            )
        }
        Ok(Looked::Unknown) => {
            format!("no plan on record has a hash that begins with {looked_at}; is it written right?")
        }
        Err(_) => place.hub.silent("what differs").to_string(),
    }
}

fn lines(before: &GatePlan, now: &GatePlan) -> String {
    let all = fleet_plan::difference(&before.plans, &now.plans);
    if all.is_empty() {
        // The same is done for another run.
        return ": nothing; it does the same to the same objects".to_owned();
    }
    let mut lines: Vec<String> = all.iter().take(SHOWN).map(|line| format!("\n  {line}")).collect();
    if all.len() > SHOWN {
        lines.push(format!("\n  {} more", all.len() - SHOWN));
    }
    format!(":{}", lines.concat())
}

async fn look(place: &Place, app: &Application, run: &Run, step: &str, looked_at: &str) -> Looked {
    let earlier = earlier(place, run).await;
    if let Some((before, now)) = whole(place, app, (run, &earlier), step, looked_at).await {
        return Looked::Whole(before, now);
    }
    // Whose plan it was stands in the runs, also where its parts can't be seen.
    let was = |one: &&Run| {
        let steps = one.status.iter().flat_map(|status| &status.steps);
        let mut gates = steps.filter(|known| known.name == step).filter_map(|known| known.gate.as_ref());
        gates.any(|gate| !gate.plan_hash.is_empty() && gate.plan_hash.starts_with(looked_at))
    };
    let Some(before) = earlier.iter().find(was) else { return Looked::Unknown };
    match Planner::of_records(&place.hub.client, app, (before, run)).await {
        Ok((then, now)) => match then.gate(step).zip(now.gate(step)) {
            Some((then, now)) => Looked::Records(then, now),
            None => Looked::Lost(before.name_any(), format!("it has no step {step}")),
        },
        Err(error) => Looked::Lost(before.name_any(), cause(&error)),
    }
}

fn cause(error: &PreviewError) -> String {
    let said = error.to_string();
    said.lines().next().unwrap_or_default().to_owned()
}

/// The runs before this one, the newest first.
async fn earlier(place: &Place, run: &Run) -> Vec<Run> {
    let Ok(runs) = place.runs().list(&ListParams::default()).await else { return Vec::new() };
    let mut earlier = runs.items;
    earlier.retain(|one| {
        one.spec.application_uid == run.spec.application_uid && one.name_any() != run.name_any()
    });
    earlier.sort_by_key(|one| std::cmp::Reverse(one.spec.number));
    earlier
}

/// The plan that was looked at, and the one that is. The hash proves that it is the same as then.
async fn whole(
    place: &Place,
    app: &Application,
    (run, earlier): (&Run, &[Run]),
    step: &str,
    looked_at: &str,
) -> Option<(GatePlan, GatePlan)> {
    let client = &place.hub.client;
    let planner = Box::pin(Planner::of_run(client, app, run)).await.ok()?;
    let now = planner.gate(step)?;
    let is_it = |plan: &GatePlan| plan.plan_hash.starts_with(looked_at);
    if is_it(&now) {
        return None;
    }
    // Members have left since then: none of those that are gone, or all but one, were.
    let gone = planner.gone().clone();
    let mut planner = planner.without(BTreeSet::new());
    let but_one = gone.iter().map(|one| gone.iter().filter(|other| *other != one).cloned().collect());
    for gone in std::iter::once(BTreeSet::new()).chain(but_one) {
        planner = planner.without(gone);
        if let Some(before) = planner.gate(step).filter(is_it) {
            return Some((before, now));
        }
    }
    // Or it was the plan of a run before this one.
    for one in earlier.iter().take(RUNS) {
        let Ok(planner) = Box::pin(Planner::of_run(client, app, one)).await else { continue };
        if let Some(before) = planner.gate(step).filter(is_it) {
            return Some((before, now));
        }
    }
    None
}
