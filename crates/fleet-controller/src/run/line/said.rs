//! What is said to who waits.

use fleet_workflow::line::Blocker;
use fleet_workflow::{Claimant, Limits, Problem};
use jiff::Timestamp;

/// The reason of what waits for a run that acts on the cluster.
const FOR_CLUSTER: &str = "WaitingForCluster";
/// The reason of what waits since as many runs act as may.
const FOR_RUNS: &str = "WaitingForOtherRuns";

/// Before the line has answered.
pub(super) fn asking(limits: Limits) -> Problem {
    let reason = if limits.one_per_cluster { FOR_CLUSTER } else { FOR_RUNS };
    Problem { reason: reason.to_owned(), message: "runs take turns; its turn is being asked for".to_owned() }
}

/// Who is waited for, since when, and what moves it.
pub(super) fn waiting(
    limits: Limits,
    cluster: &str,
    since: Option<Timestamp>,
    blocker: Option<&Blocker>,
) -> Problem {
    let Some(blocker) = blocker else { return asking(limits) };
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    let (reason, who, message) = match blocker {
        Blocker::Holder(who) => {
            let message =
                format!("waits{since} for run {}, which acts on {cluster}: one at a time may", place(who));
            (FOR_CLUSTER, who, message)
        }
        Blocker::Earlier(who) => {
            let message = format!("waits{since} for run {}, which came before it for {cluster}", place(who));
            (FOR_CLUSTER, who, message)
        }
        Blocker::Limit(most, who) => {
            let runs = if *most == 1 { "1 run acts".to_owned() } else { format!("{most} runs act") };
            let message = format!("waits{since}: {runs}, as many as may at once, {} for longest", place(who));
            (FOR_RUNS, who, message)
        }
    };
    let address = format!("{} -n {}", who.application, who.namespace);
    let moves = format!(
        "to see what it does: fleetctl status {address}; to end it: fleetctl workflow terminate {address}"
    );
    Problem { reason: reason.to_owned(), message: format!("{message}; {moves}") }
}

fn place(who: &Claimant) -> String {
    format!("{}/{}", who.namespace, who.run)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Broken: who waits isn't told for whom, since when, or what to do about it.
    #[test]
    fn who_waits_is_told_for_whom_and_what_moves_it() {
        let who = Claimant {
            namespace: "shop".to_owned(),
            application: "cart".to_owned(),
            run: "cart-7".to_owned(),
            uid: "u".to_owned(),
        };
        let limits = Limits { runs: Some(2), one_per_cluster: true };
        let since = Some(Timestamp::UNIX_EPOCH);
        let told = |blocker: &Blocker| waiting(limits, "m1", since, Some(blocker));
        let held = told(&Blocker::Holder(who.clone()));
        assert_eq!(
            (held.reason.as_str(), held.message.as_str()),
            (
                "WaitingForCluster",
                "waits since 1970-01-01T00:00:00Z for run shop/cart-7, which acts on m1: one at a time may; to see what it does: fleetctl status cart -n shop; to end it: fleetctl workflow terminate cart -n shop"
            )
        );
        let many = told(&Blocker::Limit(2, who));
        assert_eq!(many.reason, "WaitingForOtherRuns");
        assert!(many.message.contains("2 runs act, as many as may at once, shop/cart-7 for longest"));
    }
}
