//! How a deploy step goes over its targets: how many, in which order, and what one that fails or is silent means.

use fleet_json::LabelSelector;
use jiff::SignedDuration;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::parse_duration;

/// A number of targets, or a share of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Amount {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u8),
}

impl Default for Amount {
    fn default() -> Self {
        Self::Count(0)
    }
}

impl TryFrom<Value> for Amount {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let refuse =
            || format!("{value} is neither a number of targets nor a percentage; write it like 2 or \"25%\"");
        let text = match &value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.trim().to_owned(),
            _ => return Err(refuse()),
        };
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Count).map_err(|_| refuse()),
            Some(share) => match share.parse::<u8>() {
                Ok(share) if share <= 100 => Ok(Self::Percent(share)),
                Ok(_) => Err(format!("{value} is more than 100%")),
                Err(_) => Err(refuse()),
            },
        }
    }
}

impl Amount {
    /// How many of so many that is, rounded down.
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(share) => all.saturating_mul(usize::from(share)) / 100,
        }
    }

    /// Whether it is nothing of anything.
    pub(super) fn is_none(self) -> bool {
        matches!(self, Self::Count(0) | Self::Percent(0))
    }
}

/// Which targets go first. Those that it says nothing about come after, by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Order {
    /// By the value of a label of their clusters: numbers first, by size, then text.
    Label(String),
    /// By the names or aliases of their clusters.
    Clusters(Vec<String>),
}

impl TryFrom<Value> for Order {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let refuse = || {
            format!("{value} is neither {{label: KEY}} nor {{clusters: [NAME, …]}} nor a list of clusters")
        };
        let names = |list: &Value| -> Option<Vec<String>> {
            list.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let (key, inner) = match &value {
            Value::Array(_) => ("clusters", &value),
            Value::Object(fields) if fields.len() == 1 => {
                fields.iter().next().map(|(key, inner)| (key.as_str(), inner)).ok_or_else(refuse)?
            }
            _ => return Err(refuse()),
        };
        let order = match (key, inner) {
            ("label", Value::String(label)) if !label.is_empty() => Self::Label(label.clone()),
            ("clusters", list) => Self::Clusters(names(list).ok_or_else(refuse)?),
            _ => return Err(refuse()),
        };
        if let Self::Clusters(names) = &order {
            let twice =
                names.iter().enumerate().find(|(at, name)| names.iter().take(*at).any(|n| n == *name));
            if let Some((_, name)) = twice {
                return Err(format!("{name:?} stands twice"));
            }
        }
        Ok(order)
    }
}

/// The group that goes first.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// By the names or aliases of their clusters.
    #[serde(default)]
    pub clusters: Vec<String>,
    /// By the labels of their clusters.
    #[serde(default, deserialize_with = "selector")]
    pub cluster_label_selector: Option<LabelSelector>,
    /// How long each of them must have been healthy; as long as any other target by default.
    #[serde(default, deserialize_with = "optional_time")]
    pub soak: Option<SignedDuration>,
}

impl Canary {
    pub(super) fn check(&self) -> Result<(), String> {
        match (self.clusters.is_empty(), &self.cluster_label_selector) {
            (true, None) => {
                Err("canary: neither clusters nor clusterLabelSelector is given; say which targets go first"
                    .to_owned())
            }
            (false, Some(_)) => {
                Err("canary: both clusters and clusterLabelSelector are given; keep one".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// What becomes of a target whose cluster doesn't answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum OnUnreachable {
    /// It is waited for, within its time.
    #[default]
    Wait,
    /// The step goes on without it; it catches up later.
    Skip,
    /// It has failed.
    Fail,
}

/// What becomes of a target that was passed over once its cluster answers again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum OnReturn {
    /// It gets what the run delivers.
    #[default]
    CatchUp,
    /// It waits until a person asks for it.
    Hold,
}

/// What becomes of a step when more of its targets failed than may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum OnFailure {
    /// Nothing further begins, what is under way ends, the step has failed.
    #[default]
    Stop,
    /// Every target has its turn; then the step has failed.
    Continue,
    /// As Stop, and the revision before is asked for.
    Rollback,
}

/// What becomes of clusters that join a placement once its run has begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum OnJoin {
    /// They get the revision once the run is through, at a gate of their own where one stands before their step.
    #[default]
    CatchUp,
    /// They are added to a step that hasn't begun: its plan is made anew, and its gate asks again.
    Append,
    /// They get the next revision.
    Ignore,
}

/// A duration as Go writes it.
pub(super) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<SignedDuration, D::Error> {
    let text = String::deserialize(from)?;
    parse_duration(&text).map_err(D::Error::custom)
}

pub(super) fn optional_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SignedDuration>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    text.map(|text| parse_duration(&text).map_err(D::Error::custom)).transpose()
}

fn selector<'de, D: Deserializer<'de>>(from: D) -> Result<Option<LabelSelector>, D::Error> {
    let value = Value::deserialize(from)?;
    LabelSelector::from_json(&value).map(Some).map_err(D::Error::custom)
}
