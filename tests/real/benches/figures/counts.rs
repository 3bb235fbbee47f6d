//! What the controller asked of hub and members, from their audit logs. Watches are on record when they end, and so not
//! counted; neither are Leases, which say nothing about Applications.

use std::time::Duration;

use fleet_real::Fleet;
use fleet_real::audit::Request;

use crate::load::Clients;
use crate::manifests;
use crate::scales::row;

/// How many requests there were.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Asked {
    members: usize,
    hub: usize,
    events: usize,
}

impl Asked {
    /// All that are on record.
    pub(crate) fn until_now(fleet: &Fleet) -> anyhow::Result<Self> {
        let ours = |request: &Request| {
            request.user == Fleet::CONTROLLER && request.verb != "watch" && request.resource != "leases"
        };
        let mut members = 0;
        for member in &fleet.members {
            members += member.audit()?.iter().filter(|request| ours(request)).count();
        }
        let hub = fleet.hub.audit()?;
        let events = |request: &Request| request.resource == "events";
        let all = hub.iter().filter(|request| ours(request)).count();
        let events = hub.iter().filter(|request| ours(request) && events(request)).count();
        Ok(Self { members, hub: all - events, events })
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            members: self.members - before.members,
            hub: self.hub - before.hub,
            events: self.events - before.events,
        }
    }
}

/// Waits until the controller asks nothing more.
pub(crate) async fn rest(fleet: &Fleet) -> anyhow::Result<()> {
    let mut before = Asked::until_now(fleet)?;
    loop {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let now = Asked::until_now(fleet)?;
        if now == before {
            return Ok(());
        }
        before = now;
    }
}

/// One Application after another one, and one change.
pub(crate) async fn one_application(fleet: &Fleet, clients: &Clients) -> anyhow::Result<()> {
    clients.apply_to_hub((0..2).flat_map(manifests::objects).collect()).await?;
    // The first of all pays for connections, watches and the members' namespace.
    clients.apply_to_hub(vec![manifests::application(0)]).await?;
    clients.all_run(1, 1).await?;
    rest(fleet).await?;
    let before = Asked::until_now(fleet)?;
    clients.apply_to_hub(vec![manifests::application(1)]).await?;
    clients.all_run(2, 1).await?;
    rest(fleet).await?;
    let asked = Asked::until_now(fleet)?.since(&before);
    let per_object = format!("{:.2}", asked.members as f64 / 9.0);
    row("requests to members per delivered object, first delivery", per_object, "2 (apply, metadata read)");
    row(
        "requests to the hub for an application's first run",
        asked.hub_and_events(1.0),
        "5, + 2 once, + Events",
    );
    Ok(())
}

impl Asked {
    /// Requests to the hub per thing, Events aside.
    pub(crate) fn of_hub(&self, things: f64) -> String {
        format!("{:.2}", self.hub as f64 / things)
    }

    /// Requests to members per thing.
    pub(crate) fn of_members(&self, things: f64) -> String {
        format!("{:.2}", self.members as f64 / things)
    }

    fn hub_and_events(&self, count: f64) -> String {
        format!("{:.1} + {:.1} Events", self.hub as f64 / count, self.events as f64 / count)
    }
}

/// The same over many at once, where lists stand for several reads.
pub(crate) fn on_average(before: &Asked, after: &Asked, count: usize) {
    let asked = after.since(before);
    let per_object = format!("{:.2}", asked.members as f64 / (count * 9) as f64);
    row(
        &format!("  requests to members per delivered object, {count} applications at once"),
        per_object,
        "2",
    );
    let per_run = asked.hub_and_events(count as f64);
    row("  requests to the hub per first run, at once", per_run, "5, + 2 once, + Events");
}

/// Runs that change one object on each of three members.
pub(crate) fn of_changes(before: &Asked, after: &Asked, count: usize) {
    let asked = after.since(before);
    let per_object = format!("{:.2}", asked.members as f64 / (count * 3) as f64);
    row("  requests to members per changed object", per_object, "1 (apply)");
    row("  requests to the hub per run of one step", asked.hub_and_events(count as f64), "5, + Events");
}
