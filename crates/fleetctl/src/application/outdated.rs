//! A plan that isn't any more: what was looked at, made again from what is on record, and how the plan differs now.

use std::collections::BTreeSet;

use fleet_api::{Application, Run};
use fleet_controller::{GatePlan, Planner};
use kube::ResourceExt as _;
use kube::api::ListParams;

use super::Place;

/// How many differences are shown.
const SHOWN: usize = 20;
/// In how many earlier runs the plan is looked for.
const RUNS: usize = 5;

/// How the plan of a step differs from the one whose hash begins like this, for people to read.
pub(super) async fn difference(
    place: &Place,
    app: &Application,
    run: &Run,
    step: &str,
    looked_at: &str,
) -> String {
    let found = tokio::time::timeout(place.hub.deadline, plans(place, app, run, step, looked_at));
    let Ok(Some((before, now))) = Box::pin(found).await else {
        return "what was looked at can't be made again from what is on record".to_owned();
    };
    let all = fleet_plan::difference(&before.plans, &now.plans);
    if all.is_empty() {
        // The same is done for another run.
        return "it does the same to the same objects".to_owned();
    }
    let mut lines: Vec<String> = all.iter().take(SHOWN).map(|line| format!("\n  {line}")).collect();
    if all.len() > SHOWN {
        lines.push(format!("\n  {} more", all.len() - SHOWN));
    }
    format!("what differs:{}", lines.concat())
}

/// The plan that was looked at, and the one that is. The hash proves that it is the same as then.
async fn plans(
    place: &Place,
    app: &Application,
    run: &Run,
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
    let runs = place.runs().list(&ListParams::default()).await.ok()?;
    let mut earlier: Vec<&Run> = runs
        .items
        .iter()
        .filter(|one| one.spec.application == run.spec.application && one.name_any() != run.name_any())
        .collect();
    earlier.sort_by_key(|one| std::cmp::Reverse(one.spec.number));
    for one in earlier.into_iter().take(RUNS) {
        let Ok(planner) = Box::pin(Planner::of_run(client, app, one)).await else { continue };
        if let Some(before) = planner.gate(step).filter(is_it) {
            return Some((before, now));
        }
    }
    None
}
