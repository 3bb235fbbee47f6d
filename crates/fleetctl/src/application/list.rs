//! `fleetctl workflow list`

use fleet_api::{Application, Run};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::{is_suspended_by_person, phase_of, waiting};
use crate::access::Access;
use crate::args::{Global, ListArgs};
use crate::environment::Environment;
use crate::exit::Outcome;
use crate::table::Table;
use crate::version::write;

/// One run in the list.
struct Line {
    namespace: String,
    application: String,
    run: String,
    /// It delivers an earlier revision than the spec says.
    back: bool,
    phase: &'static str,
    /// What is waited for; empty where nobody is.
    waits: String,
    plan: String,
    since: Option<Timestamp>,
}

impl Line {
    fn of(app: &Application, run: &Run) -> Self {
        let gate =
            waiting(run).first().map(|step| (step.name.clone(), step.gate.clone().unwrap_or_default()));
        let by_person = is_suspended_by_person(app, run) && !phase_of(run).is_over();
        // A deletion waits for nobody's word.
        let deleting = app.metadata.deletion_timestamp.is_some();
        let (gate, by_person) = (gate.filter(|_| !deleting), by_person && !deleting);
        let (waits, plan, since) = match gate {
            Some((step, gate)) => {
                let also = if by_person { "; suspended by a person" } else { "" };
                (format!("approval of step {step}{also}"), gate.plan_hash, gate.since)
            }
            None if by_person => ("resume: suspended by a person".to_owned(), String::new(), None),
            None => (String::new(), String::new(), None),
        };
        let status = run.status.as_ref();
        Self {
            namespace: app.namespace().unwrap_or_default(),
            application: app.name_any(),
            run: run.name_any(),
            back: run.spec.rollback.is_some(),
            phase: phase_of(run).as_str(),
            waits,
            plan,
            since: since.or_else(|| status.and_then(|status| status.ended_at.or(status.started_at))),
        }
    }

    fn is_waiting(&self) -> bool {
        !self.waits.is_empty()
    }

    fn to_value(&self) -> Value {
        json!({
            "namespace": self.namespace, "application": self.application, "run": self.run, "phase": self.phase,
            "rollback": self.back,
            "waiting": self.is_waiting(), "waitsFor": self.waits, "planHash": self.plan, "since": self.since,
        })
    }
}

pub(super) async fn run(environment: &Environment, global: &Global, arguments: &ListArgs) -> Outcome {
    let access = Access::load(environment, global)?;
    let hub = access.hub().await?;
    let namespace = access.namespace(&hub);
    let (apps, runs): (Api<Application>, Api<Run>) = if arguments.all_namespaces {
        (Api::all(hub.client.clone()), Api::all(hub.client.clone()))
    } else {
        (Api::namespaced(hub.client.clone(), &namespace), Api::namespaced(hub.client.clone(), &namespace))
    };
    let apps = hub.ask("the list of Applications", apps.list(&ListParams::default())).await;
    let apps = apps.map_err(|failure| hub.no_hub(failure))?.items;
    let runs = hub.ask("the list of Runs", runs.list(&ListParams::default())).await;
    let runs = runs.map_err(|failure| hub.no_hub(failure))?.items;
    let mut lines: Vec<Line> =
        apps.iter().filter_map(|app| Some(Line::of(app, current(app, &runs)?))).collect();
    if arguments.waiting {
        lines.retain(Line::is_waiting);
    }
    lines.sort_by_key(|line| (!line.is_waiting(), line.namespace.clone(), line.application.clone()));
    if let Some(format) = arguments.output.output {
        let items: Vec<Value> = lines.iter().map(Line::to_value).collect();
        return environment.streams.print(&write(format, &json!({ "items": items }))?);
    }
    if lines.is_empty() {
        let what = if arguments.waiting { "nothing waits for a person" } else { "no runs" };
        let place =
            if arguments.all_namespaces { String::new() } else { format!(" in namespace {namespace}") };
        environment.streams.note(&format!("{what}{place}"));
        return Ok(());
    }
    environment.streams.print(&table(&lines, arguments.all_namespaces, environment.now()).to_string())
}

fn current<'r>(app: &Application, runs: &'r [Run]) -> Option<&'r Run> {
    let name = &app.status.as_ref()?.workflow.as_ref()?.run;
    runs.iter().find(|run| run.name_any() == *name && run.namespace() == app.namespace())
}

fn table(lines: &[Line], with_namespace: bool, now: Timestamp) -> Table {
    let mut headings = vec!["APPLICATION", "RUN", "PHASE", "WAITS FOR", "PLAN", "SINCE"];
    if with_namespace {
        headings.insert(0, "NAMESPACE");
    }
    let mut table = Table::new(headings);
    for line in lines {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let since = line.since.map_or_else(|| "-".to_owned(), |since| super::show::age(since, now));
        let mut cells = vec![
            line.application.clone(),
            line.run.clone(),
            if line.back { format!("{} (rollback)", line.phase) } else { line.phase.to_owned() },
            or_dash(&line.waits),
            or_dash(&line.plan),
            since,
        ];
        if with_namespace {
            cells.insert(0, line.namespace.clone());
        }
        table.row(cells);
    }
    table
}
