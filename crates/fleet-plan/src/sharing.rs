//! Objects that several Applications share: one owns and writes, each has a label on it.
//!
//! ```text
//!  enter:  absent, or ours ──► own (write it whole, our label with it)
//!          another's, with its label ──► join (our label, nothing else)      another's without ──► refused
//!  leave:  ours, labels of others ──► pass to the first of them              ours alone ──► give up (delete)
//!          another's ──► take our label away
//! ```
//!
//! Every write carries the resource version that it was decided by, so whoever is second decides again.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::names;
use serde_json::{Map, Value, json};

/// Who has a part in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing<'a> {
    owner: Option<&'a str>,
    sharers: BTreeSet<&'a str>,
}

/// How an Application comes to share an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It owns it.
    Owns,
    /// Nobody's Application owns it.
    Free,
    /// It shares it already.
    Shares,
    /// It may, and is to say so.
    Joins,
    /// Whose it is shares it with nobody.
    Refused,
}

/// How an Application parts with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It has no part in it.
    None,
    /// Nobody else has: it may go.
    Last,
    /// It owned it; this sharer does from now on.
    Pass(String),
    /// It shared it; whose it is keeps it.
    Leave,
}

impl<'a> Standing<'a> {
    /// By the labels of the object as it is now.
    pub fn of(labels: &'a BTreeMap<String, String>) -> Self {
        let owner = labels.get(names::OWNER).map(String::as_str).filter(|owner| !owner.is_empty());
        Self { owner, sharers: labels.keys().filter_map(|label| names::sharer(label)).collect() }
    }

    /// What an Application does that wants to share the object.
    pub fn enter(&self, me: &str) -> Entry {
        match self.owner {
            None => Entry::Free,
            Some(owner) if owner == me => Entry::Owns,
            Some(_) if self.sharers.contains(me) => Entry::Shares,
            Some(owner) if self.sharers.contains(owner) => Entry::Joins,
            Some(_) => Entry::Refused,
        }
    }

    /// What an Application does that has no more use for the object.
    pub fn leave(&self, me: &str) -> Exit {
        let mut others = self.sharers.iter().filter(|sharer| **sharer != me);
        match self.owner {
            Some(owner) if owner == me => match others.next() {
                Some(next) => Exit::Pass((*next).to_owned()),
                None => Exit::Last,
            },
            _ if self.sharers.contains(me) => Exit::Leave,
            _ => Exit::None,
        }
    }
}

/// The labels that join an Application to an object's sharers.
pub fn joining(me: &str, namespace: &str, application: &str) -> Map<String, Value> {
    let name = names::short_label(&format!("{namespace}.{application}"));
    Map::from_iter([(names::shared_by(me), json!(name))])
}

/// The labels to set, and to take away (null), when an Application parts with an object that stays.
pub fn parting(me: &str, exit: &Exit) -> Map<String, Value> {
    let mine = Map::from_iter([(names::shared_by(me), Value::Null)]);
    let ours = [names::APP_NAME, names::APP_NAMESPACE, names::APP_COMPONENT, names::OWNER, names::CONTENT];
    match exit {
        Exit::None => Map::new(),
        Exit::Leave => mine,
        Exit::Last => ours.map(|label| (label.to_owned(), Value::Null)).into_iter().chain(mine).collect(),
        Exit::Pass(next) => {
            let mut labels = parting(me, &Exit::Last);
            labels.insert(names::OWNER.to_owned(), json!(next));
            labels
        }
    }
}
