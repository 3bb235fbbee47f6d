//! What each target ran at some time, and why.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::past::{Happening, Past, Turn};

/// What a target ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct There {
    pub(super) target: String,
    /// The revision; none where nothing was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<String>,
    /// Since when it was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Timestamp>,
    /// The run that brought it, or took it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<String>,
    /// A revision that was sent there and wasn't done, or didn't get through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) begun: Option<Begun>,
    /// In words.
    pub(super) why: String,
    /// Whether what is on record says what was there: what came before its beginning isn't known.
    pub(super) known: bool,
}

/// A revision on its way.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Begun {
    pub(super) revision: String,
    pub(super) run: String,
    pub(super) at: Timestamp,
    pub(super) failed: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
}

/// All targets at a time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moment {
    pub(super) targets: Vec<There>,
}

impl Moment {
    /// What stood where.
    pub(super) fn of(past: &Past, at: Timestamp) -> Self {
        let mut targets: BTreeMap<&str, There> = BTreeMap::new();
        for happening in &past.happenings {
            let there = targets.entry(&happening.target).or_insert_with(|| There {
                target: happening.target.clone(),
                known: past.complete,
                why: if past.complete { "nothing was there yet" } else { "not on record" }.to_owned(),
                ..There::default()
            });
            if happening.at <= at {
                apply(past, there, happening);
            }
        }
        // Deleted with all that was delivered; what ran before that is another Application's.
        if let Some(gone) = past.deleted.iter().rfind(|gone| **gone <= at) {
            for there in targets.values_mut() {
                let later = there.since.is_some_and(|since| since > *gone);
                let begun = there.begun.as_ref().is_some_and(|begun| begun.at > *gone);
                if !later && !begun {
                    *there = There {
                        target: there.target.clone(),
                        known: true,
                        since: Some(*gone),
                        why: format!("the Application was deleted at {gone}"),
                        ..There::default()
                    };
                }
            }
        }
        Self { targets: targets.into_values().collect() }
    }
}

fn apply(past: &Past, there: &mut There, happening: &Happening) {
    let Some(run) = past.run(happening.run) else { return };
    match happening.turn {
        Turn::Begun | Turn::Failed => {
            // The same again, as after a restart, changes nothing.
            if there.revision.as_ref() != Some(&run.revision) {
                let since = there.begun.as_ref().filter(|known| known.run == run.run).map(|known| known.at);
                there.begun = Some(Begun {
                    revision: run.revision.clone(),
                    run: run.run.clone(),
                    at: since.unwrap_or(happening.at),
                    failed: happening.turn == Turn::Failed,
                    reason: happening.reason.clone(),
                });
            }
        }
        Turn::Done => {
            there.begun = None;
            there.known = true;
            if there.revision.as_ref() != Some(&run.revision) {
                there.revision = Some(run.revision.clone());
                there.since = Some(happening.at);
                there.run = Some(run.run.clone());
                there.step = Some(happening.step.clone());
                there.why = super::show::why(run, &happening.step);
            }
        }
        Turn::Cleared | Turn::Left => {
            let why = match happening.turn {
                Turn::Left => "the cluster left the fleet".to_owned(),
                _ => format!("cleared: {}", super::show::why(run, &happening.step)),
            };
            *there = There {
                target: there.target.clone(),
                since: Some(happening.at),
                run: Some(run.run.clone()),
                step: Some(happening.step.clone()),
                why,
                known: true,
                ..There::default()
            };
        }
    }
}
