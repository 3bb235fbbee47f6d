//! The roll of the fleet: which cluster stands behind which name, by the UID of its `kube-system` namespace.
//!
//! A namespace's UID is given once and never changes, and every cluster has a `kube-system`: that is how the
//! Kubernetes community tells clusters apart (KEP-2149, the claim `id.k8s.io`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fleet_api::ManagedCluster;
use kube::ResourceExt as _;

use crate::Hold;

/// When a member joined: its place in the order of joining, then the second in which it was registered.
type Joined = (u64, i64);

#[derive(Debug, Default, PartialEq)]
struct Line {
    joined: Joined,
    /// What the hub has on record.
    recorded: Option<String>,
    /// What answered first, as long as the hub has nothing on record.
    first: Option<String>,
}

impl Line {
    fn uid(&self) -> Option<&str> {
        self.recorded.as_deref().or(self.first.as_deref())
    }
}

#[derive(Debug, Default)]
struct State {
    lines: BTreeMap<String, Line>,
    /// Who goes by a UID, the earliest joined first.
    by_uid: BTreeMap<String, BTreeSet<(Joined, String)>>,
}

impl State {
    fn strike(&mut self, name: &str) -> (Line, BTreeSet<String>) {
        let Some(line) = self.lines.remove(name) else { return (Line::default(), BTreeSet::new()) };
        let mut touched = BTreeSet::new();
        if let Some(uid) = line.uid()
            && let Some(all) = self.by_uid.get_mut(uid)
        {
            all.remove(&(line.joined, name.to_owned()));
            touched.extend(all.iter().map(|(_, name)| name.clone()));
            if all.is_empty() {
                self.by_uid.remove(uid);
            }
        }
        (line, touched)
    }

    fn write(&mut self, name: &str, line: Line) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        if let Some(uid) = line.uid() {
            let all = self.by_uid.entry(uid.to_owned()).or_default();
            all.insert((line.joined, name.to_owned()));
            touched.extend(all.iter().map(|(_, name)| name.clone()));
        }
        self.lines.insert(name.to_owned(), line);
        touched
    }
}

/// Who is who.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    hub: Option<String>,
    state: Mutex<State>,
}

impl Roll {
    /// An empty roll of a hub, where its UID is known.
    pub(crate) fn new(hub: Option<String>) -> Self {
        Self { hub, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the hub has on record about a member. Answers whose standing may differ now.
    pub(crate) fn enter(&self, cluster: &ManagedCluster) -> BTreeSet<String> {
        let name = cluster.name_any();
        let created = cluster.creation_timestamp().map_or(0, |time| time.0.as_second());
        let joined = (cluster.join_order(), created);
        let recorded = cluster.recorded_uid().map(str::to_owned);
        let mut state = self.lock();
        // A record that was taken away is a person's word that what answers now is right (`cluster rejoin`).
        let first = match state.lines.get(&name) {
            Some(known) if known.recorded.is_none() => known.first.clone(),
            _ => None,
        };
        let line = Line { joined, recorded, first };
        if state.lines.get(&name) == Some(&line) {
            return BTreeSet::new();
        }
        let known = state.lines.contains_key(&name);
        let (_, mut touched) = state.strike(&name);
        touched.extend(state.write(&name, line));
        // Who is new was judged by nobody yet.
        match known {
            true => touched.insert(name),
            false => touched.remove(&name),
        };
        touched
    }

    /// Takes a member out. Answers whose standing may differ now.
    pub(crate) fn leave(&self, name: &str) -> BTreeSet<String> {
        self.lock().strike(name).1
    }

    /// Why what answers as a member gets nothing, where that is so. Where the hub has nothing on record, what answers
    /// first is right.
    pub(crate) fn judge(&self, name: &str, found: &str) -> Option<Hold> {
        if self.hub.as_deref() == Some(found) {
            return Some(Hold::HubItself);
        }
        let mut state = self.lock();
        if state.lines.get(name).is_none_or(|line| line.uid().is_none()) {
            let (line, _) = state.strike(name);
            state.write(name, Line { first: Some(found.to_owned()), ..line });
        }
        let recorded = state.lines.get(name).and_then(Line::uid).unwrap_or(found);
        if recorded != found {
            return Some(Hold::ClusterChanged { recorded: recorded.to_owned(), found: found.to_owned() });
        }
        match state.by_uid.get(found).and_then(BTreeSet::first) {
            Some((_, earliest)) if earliest != name => {
                Some(Hold::DuplicateCluster { other: earliest.clone() })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cluster(name: &str, order: u64, uid: Option<&str>) -> ManagedCluster {
        let claims: Vec<_> = uid.iter().map(|uid| json!({"name": "id.k8s.io", "value": uid})).collect();
        serde_json::from_value(json!({
            "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
            "metadata": {"name": name, "annotations": {"fleetctl.dev/join-order": order.to_string()}},
            "spec": {"hubAcceptsClient": true},
            "status": {"clusterClaims": claims},
        }))
        .unwrap()
    }

    /// A rebuilt member must be refused until somebody says that it is meant.
    #[test]
    fn another_cluster_under_a_name_is_refused_until_the_record_is_taken_away() {
        let roll = Roll::new(None);
        roll.enter(&cluster("m1", 1, Some("a")));
        assert_eq!(roll.judge("m1", "a"), None);
        let changed = roll.judge("m1", "b").unwrap();
        assert_eq!(changed, Hold::ClusterChanged { recorded: "a".to_owned(), found: "b".to_owned() });
        assert!(changed.message("m1").contains("fleetctl cluster rejoin m1"));
        assert!(roll.enter(&cluster("m1", 1, None)).contains("m1"));
        assert_eq!(roll.judge("m1", "b"), None);
        // From now on that one counts, recorded or not.
        assert!(matches!(roll.judge("m1", "a"), Some(Hold::ClusterChanged { .. })));
        roll.enter(&cluster("m1", 1, Some("b")));
        assert_eq!(roll.judge("m1", "b"), None);
    }

    /// Of two names for one cluster the earlier joined receives, whichever is heard of first.
    #[test]
    fn the_later_joined_of_two_names_for_one_cluster_is_refused() {
        let roll = Roll::new(None);
        roll.enter(&cluster("late", 2, None));
        assert_eq!(roll.judge("late", "a"), None);
        let touched = roll.enter(&cluster("early", 1, Some("a")));
        assert_eq!(touched, ["late".to_owned()].into());
        assert_eq!(roll.judge("late", "a"), Some(Hold::DuplicateCluster { other: "early".to_owned() }));
        assert_eq!(roll.judge("early", "a"), None);
        assert!(roll.leave("early").contains("late"));
        assert_eq!(roll.judge("late", "a"), None);
    }

    #[test]
    fn the_hub_is_no_member() {
        let roll = Roll::new(Some("h".to_owned()));
        roll.enter(&cluster("m1", 1, None));
        assert_eq!(roll.judge("m1", "h"), Some(Hold::HubItself));
    }

    /// Status writes come back by the watch many times; they must wake nobody.
    #[test]
    fn the_same_record_again_is_no_news() {
        let roll = Roll::new(None);
        roll.enter(&cluster("m1", 1, None));
        roll.judge("m1", "a");
        assert!(roll.enter(&cluster("m1", 1, None)).is_empty());
    }
}
