//! The past in words, and for programs.

use jiff::Timestamp;
use serde_json::json;

use super::moment::{Moment, There};
use super::past::{Past, PastRun};
use crate::application::{Place, age, clock, painted};
use crate::args::Output;
use crate::exit::Outcome;
use crate::output::style::{self, paint};
use crate::roster::Roster;
use crate::table::Table;
use crate::version::write;

/// Longer words are cut in tables.
const LONGEST: usize = 60;

/// Everything, or everything about a time.
pub(super) fn for_programs(
    format: Output,
    place: &Place,
    past: &Past,
    moment: &Moment,
    at: Option<Timestamp>,
) -> Outcome<String> {
    let mut value = json!({
        "application": place.name,
        "namespace": place.namespace,
        "recordBegins": past.begins,
        "recordIsComplete": past.complete,
        "targets": moment.targets,
    });
    if let Some(fields) = value.as_object_mut() {
        match at {
            Some(at) => fields.insert("at".to_owned(), json!(at)),
            None => fields.insert("runs".to_owned(), json!(past.runs)),
        };
    }
    write(format, &value)
}

/// One line a run, and what each target runs now.
pub(super) fn past(past: &Past, moment: &Moment, roster: &Roster, now: Timestamp) -> String {
    let mut table =
        Table::new(["RUN", "REVISION", "STARTED BY", "WHEN", "TOOK", "OUTCOME", "TARGETS", "APPROVED BY"]);
    for run in &past.runs {
        let took = run.started_at.map(|began| match run.ended_at {
            Some(ended) => age(began, ended),
            None if run.from_record => "-".to_owned(),
            None => format!("{} so far", age(began, now)),
        });
        table.row([
            run.number.map_or_else(|| run.run.clone(), |number| number.to_string()),
            run.revision.clone(),
            cut(&started_by(run)),
            run.started_at.map_or_else(|| "-".to_owned(), clock),
            took.unwrap_or_else(|| "-".to_owned()),
            painted(&run.outcome),
            counted(run),
            approved_by(run, None).unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let mut text = table.to_string();
    if !past.complete
        && let Some(begins) = past.begins
    {
        text.push_str(&format!("what ran before {} isn't on record\n", clock(begins)));
    }
    if !moment.targets.is_empty() {
        text.push_str(&format!("\n{}", targets(moment, roster)));
    }
    text
}

/// What each target ran at a time.
pub(super) fn moment(moment: &Moment, roster: &Roster, at: Timestamp) -> String {
    let title = format!("at {}:\n", clock(at));
    format!("{}{}", paint(style::STRONG, &title), targets(moment, roster))
}

fn targets(moment: &Moment, roster: &Roster) -> Table {
    let mut table = Table::new(["TARGET", "REVISION", "SINCE", "RUN", "WHY"]);
    for there in &moment.targets {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let revision = match (&there.revision, there.known) {
            (Some(revision), _) => revision.clone(),
            (None, true) => "nothing".to_owned(),
            (None, false) => "not known".to_owned(),
        };
        table.row([
            named(there, roster),
            revision,
            or_dash(there.since.map(clock)),
            or_dash(there.run.clone()),
            whole(there),
        ]);
    }
    table
}

fn named(there: &There, roster: &Roster) -> String {
    match there.target.split_once('/') {
        Some((cluster, namespace)) => format!("{}/{namespace}", roster.label(cluster)),
        None => there.target.clone(),
    }
}

fn whole(there: &There) -> String {
    let Some(begun) = &there.begun else { return there.why.clone() };
    let how = if begun.failed {
        let reason = if begun.reason.is_empty() { String::new() } else { format!(" ({})", begun.reason) };
        format!("failed{reason}")
    } else {
        "under way".to_owned()
    };
    format!("{}; then {} by run {}, {how}", there.why, begun.revision, begun.run)
}

/// What started a run.
fn started_by(run: &PastRun) -> String {
    let what = match run.cause.as_str() {
        "Created" => "creation".to_owned(),
        "RevisionChanged" => "edit".to_owned(),
        "PublishVersion" if run.why.is_empty() || run.from_record => "publishVersion".to_owned(),
        "PublishVersion" => format!("publishVersion {}", run.why),
        "Restart" => "restart".to_owned(),
        "ClusterJoined" => "cluster that joined".to_owned(),
        "Rollback" => format!("rollback{}", back_to(run)),
        "AutomaticRollback" => format!("automatic rollback{}", back_to(run)),
        "" => "not on record".to_owned(),
        other => other.to_owned(),
    };
    let by = if run.started_by.is_empty() { String::new() } else { format!(" by {}", run.started_by) };
    let goes_back = run.cause.ends_with("Rollback") && !run.why.is_empty();
    let why = if goes_back { format!(": {}", run.why) } else { String::new() };
    format!("{what}{by}{why}")
}

fn back_to(run: &PastRun) -> String {
    run.back_to.map(|number| format!(" to run {number}")).unwrap_or_default()
}

/// Who agreed, to one step or any.
fn approved_by(run: &PastRun, step: Option<&str>) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for one in run.approvals.iter().filter(|one| step.is_none_or(|step| one.step == step)) {
        if !names.contains(&one.approver.as_str()) {
            names.push(&one.approver);
        }
    }
    (!names.is_empty()).then(|| names.join(", "))
}

/// Why a run delivered something in a step.
pub(super) fn why(run: &PastRun, step: &str) -> String {
    let approved = approved_by(run, Some(step)).map(|who| format!(", approved by {who}")).unwrap_or_default();
    format!("{}; step {step}{approved}", started_by(run))
}

fn counted(run: &PastRun) -> String {
    let count = |outcome: &str| run.targets.values().filter(|target| target.outcome == outcome).count();
    if run.targets.is_empty() {
        return "-".to_owned();
    }
    let done = count("succeeded") + count("cleared");
    let others = [("failed", "failed"), ("skipped", "owed"), ("removed", "gone"), ("cleared", "cleared")];
    let others: Vec<String> = others
        .iter()
        .map(|(outcome, word)| (count(outcome), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    format!("{done}/{}{others}", run.targets.len())
}

fn cut(text: &str) -> String {
    let text = text.replace('\n', " ");
    if text.chars().count() <= LONGEST {
        return text;
    }
    let head: String = text.chars().take(LONGEST - 1).collect();
    format!("{head}…")
}
