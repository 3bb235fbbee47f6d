//! `fleetctl drift list`: from the status of Applications, and for what was taken back from their Events.

use std::collections::BTreeSet;

use fleet_api::{Application, DriftStatus};
use fleet_json::few;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use crate::access::Access;
use crate::application::Place;
use crate::args::{DriftListArgs, Global};
use crate::environment::Environment;
use crate::exit::Outcome;
use crate::roster::Roster;
use crate::table::Table;
use crate::version::write;

/// One object.
struct Line {
    namespace: String,
    application: String,
    cluster: String,
    object: String,
    state: &'static str,
    manager: String,
    since: Option<Timestamp>,
    fields: Vec<String>,
    message: String,
}

impl Line {
    fn of(app: &Application, drift: &DriftStatus) -> Self {
        let name = match drift.namespace.as_str() {
            "" => drift.name.clone(),
            namespace => format!("{namespace}/{}", drift.name),
        };
        Self {
            namespace: app.namespace().unwrap_or_default(),
            application: app.name_any(),
            cluster: drift.cluster.clone(),
            object: format!("{} {name}", drift.kind),
            state: drift.state.as_str(),
            manager: drift.manager.clone(),
            since: drift.since,
            fields: drift.fields.clone(),
            message: drift.message.clone(),
        }
    }

    /// What the controller told of a repair: `<kind> <name> on <cluster>: <fields>`.
    fn repaired(event: &Event) -> Option<Self> {
        let note = event.note.as_deref()?;
        let (object, rest) = note.split_once(" on ")?;
        let (cluster, fields) = rest.split_once(": ")?;
        let about = event.regarding.as_ref()?;
        let again = event.series.as_ref().map(|series| series.last_observed_time.0);
        let first = event.event_time.as_ref().map(|time| time.0);
        let deleted = fields == "it was deleted";
        Some(Self {
            namespace: about.namespace.clone().unwrap_or_default(),
            application: about.name.clone().unwrap_or_default(),
            cluster: cluster.to_owned(),
            object: object.to_owned(),
            state: "Repaired",
            manager: String::new(),
            since: again.or(first),
            fields: if deleted { Vec::new() } else { fields.split(", ").map(str::to_owned).collect() },
            message: note.to_owned(),
        })
    }

    fn place(&self) -> (String, String, String, String) {
        let text = |text: &String| text.clone();
        (text(&self.namespace), text(&self.application), text(&self.cluster), text(&self.object))
    }

    fn to_value(&self) -> Value {
        json!({
            "namespace": self.namespace, "application": self.application, "cluster": self.cluster,
            "object": self.object, "state": self.state, "manager": self.manager, "since": self.since,
            "fields": self.fields, "message": self.message,
        })
    }
}

pub(super) async fn run(environment: &Environment, global: &Global, arguments: &DriftListArgs) -> Outcome {
    let access = Access::load(environment, global)?;
    let hub = access.hub().await?;
    let namespace = access.namespace(&hub);
    let roster = Roster::load(&hub).await;
    let members: BTreeSet<String> = match arguments.members.members.as_slice() {
        [] => BTreeSet::new(),
        wanted => roster.clone()?.select(wanted)?.iter().map(|cluster| cluster.name_any()).collect(),
    };
    let roster = roster.unwrap_or_default();
    let apps = match &arguments.app {
        Some(name) => vec![Place::find(environment, global, name).await?.application().await?],
        None => {
            let api: Api<Application> = if arguments.all_namespaces {
                Api::all(hub.client.clone())
            } else {
                Api::namespaced(hub.client.clone(), &namespace)
            };
            let listed = hub.ask("the list of Applications", api.list(&ListParams::default())).await;
            listed.map_err(|failure| hub.no_hub(failure))?.items
        }
    };
    let mut lines = Vec::new();
    for app in &apps {
        let drift = app.status.iter().flat_map(|status| &status.drift);
        lines.extend(drift.map(|drift| Line::of(app, drift)));
    }
    let events: Api<Event> = if arguments.all_namespaces {
        Api::all(hub.client.clone())
    } else {
        Api::namespaced(hub.client.clone(), &namespace)
    };
    // Who may not read Events sees what differs now all the same.
    if let Ok(events) = hub.ask("the Events", events.list(&ListParams::default())).await {
        let mut known: BTreeSet<_> = lines.iter().map(Line::place).collect();
        let about = |line: &Line| {
            apps.iter().any(|a| {
                a.name_any() == line.application && a.namespace().as_deref() == Some(&line.namespace)
            })
        };
        let repairs = events.items.iter().filter(|event| event.reason.as_deref() == Some("DriftRepaired"));
        let mut repairs: Vec<Line> = repairs.filter_map(Line::repaired).filter(about).collect();
        repairs.sort_by_key(|line| std::cmp::Reverse(line.since));
        lines.extend(repairs.into_iter().filter(|line| known.insert(line.place())));
    }
    lines.retain(|line| members.is_empty() || members.contains(&line.cluster));
    if let Some(format) = arguments.output.output {
        let items: Vec<Value> = lines.iter().map(Line::to_value).collect();
        return environment.streams.print(&write(format, &json!({ "items": items }))?);
    }
    if lines.is_empty() {
        let place =
            if arguments.all_namespaces { String::new() } else { format!(" in namespace {namespace}") };
        environment.streams.note(&format!("nothing differs{place}"));
        return Ok(());
    }
    environment
        .streams
        .print(&table(&lines, &roster, arguments.all_namespaces, environment.now()).to_string())
}

fn table(lines: &[Line], roster: &Roster, with_namespace: bool, now: Timestamp) -> Table {
    let mut headings = vec!["APPLICATION", "CLUSTER", "OBJECT", "STATE", "BY", "SINCE", "FIELDS"];
    if with_namespace {
        headings.insert(0, "NAMESPACE");
    }
    let mut table = Table::new(headings);
    for line in lines {
        let fields = match line.fields.as_slice() {
            [] => "(deleted)".to_owned(),
            fields => few(fields, 3),
        };
        let by = if line.manager.is_empty() { "-".to_owned() } else { line.manager.clone() };
        let since = line.since.map_or_else(|| "-".to_owned(), |since| crate::application::age(since, now));
        let mut cells = vec![
            line.application.clone(),
            roster.label(&line.cluster),
            line.object.clone(),
            line.state.to_owned(),
            by,
            since,
            fields,
        ];
        if with_namespace {
            cells.insert(0, line.namespace.clone());
        }
        table.row(cells);
    }
    table
}
