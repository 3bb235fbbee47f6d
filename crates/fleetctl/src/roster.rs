//! The members of a fleet as its hub lists them, newest join first.

use fleet_api::ManagedCluster;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::access::Cluster;
use crate::exit::{Failure, Outcome};

/// All members.
#[derive(Debug, Clone, Default)]
pub struct Roster(Vec<ManagedCluster>);

impl Roster {
    /// Asks the hub.
    ///
    /// # Errors
    /// Where it doesn't answer, or has no members' kind.
    pub async fn load(hub: &Cluster) -> Outcome<Self> {
        let api: Api<ManagedCluster> = Api::all(hub.client.clone());
        let listed = hub.ask("the list of members", api.list(&ListParams::default())).await;
        let listed = listed.map_err(|failure| hub.no_hub(failure))?;
        Ok(Self::new(listed.items))
    }

    /// Sorts members, newest join first.
    pub fn new(mut members: Vec<ManagedCluster>) -> Self {
        // Members that were registered by other means have no number; among them the time counts.
        let key = |cluster: &ManagedCluster| {
            let made = cluster.creation_timestamp().map_or(Timestamp::MIN, |time| time.0);
            (cluster.join_order(), made, cluster.name_any())
        };
        members.sort_by_key(|cluster| std::cmp::Reverse(key(cluster)));
        Self(members)
    }

    /// All of them.
    pub fn all(&self) -> &[ManagedCluster] {
        &self.0
    }

    /// The member of a name or alias.
    ///
    /// # Errors
    /// With the nearest name.
    pub fn find(&self, name: &str) -> Outcome<&ManagedCluster> {
        let named = self.0.iter().find(|cluster| cluster.name_any() == name);
        let found = named.or_else(|| self.0.iter().find(|cluster| cluster.alias() == Some(name)));
        found.ok_or_else(|| {
            let mut known: Vec<String> = self.0.iter().map(|cluster| cluster.name_any()).collect();
            known.extend(self.0.iter().filter_map(|cluster| cluster.alias().map(str::to_owned)));
            Failure::not_found(format!(
                "no member {name:?}{}",
                crate::nearest::advice(name, &known, "members")
            ))
        })
    }

    /// The members that `-m` names, newest join first.
    ///
    /// # Errors
    /// An unknown name, with the nearest one.
    pub fn select(&self, wanted: &[String]) -> Outcome<Vec<&ManagedCluster>> {
        let mut chosen = std::collections::BTreeSet::new();
        for name in wanted.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
            if name == "all" {
                return Ok(self.0.iter().collect());
            }
            chosen.insert(self.find(name)?.name_any());
        }
        if chosen.is_empty() {
            return Err(Failure::usage(
                "-m names no member; write -m all, or names and aliases with commas between",
            ));
        }
        Ok(self.0.iter().filter(|cluster| chosen.contains(&cluster.name_any())).collect())
    }

    /// `mc-bj1 (cluster1-beijing)`, or the name alone.
    pub fn label(&self, name: &str) -> String {
        let found = self.0.iter().find(|cluster| cluster.name_any() == name);
        found.map_or_else(|| name.to_owned(), label)
    }
}

/// `mc-bj1 (cluster1-beijing)`, or the name alone.
pub fn label(cluster: &ManagedCluster) -> String {
    match cluster.alias() {
        Some(alias) => format!("{} ({alias})", cluster.name_any()),
        None => cluster.name_any(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_api::{ManagedClusterSpec, names};

    fn roster() -> Roster {
        let member = |name: &str, alias: &str, order: u32| {
            let mut cluster = ManagedCluster::new(name, ManagedClusterSpec::default());
            cluster.annotations_mut().insert(names::CLUSTER_ALIAS.into(), alias.into());
            cluster.annotations_mut().insert(names::JOIN_ORDER.into(), order.to_string());
            cluster
        };
        Roster::new(vec![
            member("mc-2", "second", 2),
            member("mc-10", "tenth", 10),
            member("mc-1", "first", 1),
        ])
    }

    fn names_of(clusters: &[&ManagedCluster]) -> Vec<String> {
        clusters.iter().map(|cluster| cluster.name_any()).collect()
    }

    /// Every list of members promises this order; by name mc-2 would come before mc-10.
    #[test]
    fn newest_join_first() {
        let roster = roster();
        assert_eq!(names_of(&roster.select(&["all".into()]).unwrap()), ["mc-10", "mc-2", "mc-1"]);
        assert_eq!(names_of(&roster.select(&["mc-1".into(), "tenth".into()]).unwrap()), ["mc-10", "mc-1"]);
    }

    #[test]
    fn an_unknown_member_is_named_with_the_nearest() {
        let failure = roster().select(&["fist".into()]).unwrap_err();
        assert_eq!(failure.to_string(), "no member \"fist\"; did you mean \"first\"?");
        assert_eq!(failure.exit.code(), 3);
    }
}
