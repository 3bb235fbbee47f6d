//! Times in which something may begin, and `RolloutWindow`, `fleetctl.dev/v1alpha1`, which says so for the whole fleet.

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Selection;

/// Times in which something may begin: inside one of `allow`, where there is any, and outside all of `deny`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeWindows {
    /// Only in these; left out, always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub allow: Vec<TimeWindow>,
    /// Never in these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub deny: Vec<TimeWindow>,
}

/// A span of time that comes again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeWindow {
    /// When it begins: minute, hour, day of month, month, day of week (`0 22 * * 1-5`).
    #[schemars(length(min = 9, max = 128))]
    pub cron: String,
    /// How long it lasts (`90m`, `8h`, `2d`), at least a minute.
    #[schemars(length(min = 2, max = 32))]
    pub duration: String,
    /// The zone that `cron` is in, by its name in the tz database (`Europe/Berlin`); UTC where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub time_zone: Option<String>,
}

/// Times in which nothing, or only in which something, may begin on the fleet.
///
/// Each that concerns an Application must be open, beside the windows of the step itself. One that names clusters
/// concerns what is delivered to them; one that doesn't concerns every step.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fleetctl.dev",
    version = "v1alpha1",
    kind = "RolloutWindow",
    plural = "rolloutwindows",
    shortname = "rw"
)]
#[kube(printcolumn(name = "ALLOW", type_ = "string", json_path = ".spec.allow[*].cron"))]
#[kube(printcolumn(name = "DENY", type_ = "string", json_path = ".spec.deny[*].cron"))]
#[kube(printcolumn(name = "NAMESPACES", type_ = "string", json_path = ".spec.namespaces.names"))]
#[kube(printcolumn(name = "CLUSTERS", type_ = "string", json_path = ".spec.clusters.names"))]
#[kube(printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
pub struct RolloutWindowSpec {
    /// Only in these; left out, always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub allow: Vec<TimeWindow>,
    /// Never in these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub deny: Vec<TimeWindow>,
    /// Namespaces of the hub whose Applications it concerns; left out, all.
    #[serde(default, skip_serializing_if = "Selection::is_everything")]
    pub namespaces: Selection,
    /// Applications that it concerns, by name or label; left out, all.
    #[serde(default, skip_serializing_if = "Selection::is_everything")]
    pub applications: Selection,
    /// Members that it concerns, by name, alias or label; left out, every step whatever it does.
    #[serde(default, skip_serializing_if = "Selection::is_everything")]
    pub clusters: Selection,
    /// Shown to whoever waits (`year-end freeze, ask #platform`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub message: String,
}

impl RolloutWindowSpec {
    /// The times alone.
    pub fn windows(&self) -> TimeWindows {
        TimeWindows { allow: self.allow.clone(), deny: self.deny.clone() }
    }
}

/// A person let a step begin outside its windows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowOverride {
    /// Who, as they say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub at: Option<Timestamp>,
}

/// What [`crate::names::OVERRIDE_WINDOW`] says: as JSON, or `RUN/STEP REASON` where nobody says who they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WindowRequest {
    /// The run that it is about.
    pub run: String,
    /// The step.
    pub step: String,
    /// Who asks, as they say.
    #[serde(default)]
    pub by: String,
    /// Why.
    pub reason: String,
}

impl WindowRequest {
    /// The longest reason or name that is kept, in characters.
    const LONGEST: usize = 256;

    /// Reads the annotation; nothing where it can't be read, or says no step or no reason.
    pub fn read(text: &str) -> Option<Self> {
        let mut request: Self = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).ok()?
        } else {
            let (place, reason) = text.split_once(char::is_whitespace)?;
            let (run, step) = place.rsplit_once('/')?;
            let [run, step, reason] = [run, step, reason].map(str::to_owned);
            Self { run, step, reason, by: String::new() }
        };
        for text in [&mut request.reason, &mut request.by] {
            *text = text.trim().chars().take(Self::LONGEST).collect();
        }
        (!request.step.is_empty() && !request.reason.is_empty()).then_some(request)
    }
}
