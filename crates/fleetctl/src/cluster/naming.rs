//! What members may be called, and who is called so already.

use std::collections::BTreeSet;

use fleet_api::ManagedCluster;
use fleet_json::selector::{Operator, Requirement};
use kube::ResourceExt as _;

use crate::exit::{Failure, Outcome};
use crate::roster::{Roster, label as shown};

/// Words that mean the hub, or every member.
const RESERVED: [&str; 2] = ["all", fleet_api::names::LOCAL_CLUSTER];
/// The longest DNS label (RFC 1123).
const LONGEST: usize = 63;

/// Whether a word can name a member: a DNS label that has no other meaning.
pub(crate) fn name(word: &str) -> Result<(), String> {
    if RESERVED.contains(&word) {
        return Err(format!("the name {word:?} has a meaning of its own; choose another one"));
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edges = !word.starts_with('-') && !word.ends_with('-');
    if word.is_empty() || word.len() > LONGEST || !word.chars().all(fits) || !edges {
        return Err(format!(
            "{word:?} can't name a member; use at most {LONGEST} lower-case letters, digits and '-', as in mc-bj1"
        ));
    }
    Ok(())
}

/// Whether a word can be an alias: something that `-m` and policies can name.
pub(crate) fn alias(word: &str) -> Result<(), String> {
    if RESERVED.contains(&word) {
        return Err(format!("the alias {word:?} has a meaning of its own; choose another one"));
    }
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, ',' | '=' | '/');
    if word.is_empty() || word.len() > 253 || !word.chars().all(fits) || word.starts_with('-') {
        return Err(format!(
            "{word:?} can't be an alias; use a word without blanks, ',', '=' and '/', as in cluster1-beijing"
        ));
    }
    Ok(())
}

/// Whether key and value can be a label.
pub(crate) fn label(key: &str, value: &str) -> Result<(), String> {
    let operator = Operator::In(BTreeSet::from([value.to_owned()]));
    Requirement::new(key, operator).map(|_| ()).map_err(|why| format!("label {key}={value}: {why}"))
}

/// Who wants to be called what.
pub(crate) struct Claim<'a> {
    pub(crate) name: &'a str,
    pub(crate) alias: Option<&'a str>,
    /// The UID of its kube-system namespace.
    pub(crate) uid: &'a str,
    pub(crate) hub_uid: &'a str,
    /// What the user types to call this program.
    pub(crate) called: &'a str,
}

impl Claim<'_> {
    /// The member that this cluster is already, under this name; `None` where it is new.
    ///
    /// # Errors
    /// Where it is the hub, a member under another name, or another cluster has the name or alias.
    pub(crate) fn judge<'r>(&self, roster: &'r Roster) -> Outcome<Option<&'r ManagedCluster>> {
        let Self { name, uid, called, .. } = self;
        if self.uid == self.hub_uid {
            return Err(Failure::refused(format!(
                "this cluster is the hub itself (kube-system has UID {uid}); it can't be its own member: give the kubeconfig of another cluster, or choose the hub with --context"
            )));
        }
        for member in roster.all() {
            let taken = member.name_any();
            if member.recorded_uid() == Some(uid) && taken != *name {
                return Err(Failure::refused(format!(
                    "this cluster is a member already: {} (kube-system has UID {uid}); join it again with --name {taken}, or give it another name: {called} cluster alias {taken} {name}",
                    shown(member)
                )));
            }
            if taken == *name
                && let Some(recorded) = member.recorded_uid().filter(|recorded| recorded != uid)
            {
                return Err(Failure::refused(format!(
                    "the name {name} is taken by another cluster (UID {recorded}, this one has {uid}); choose another one with --name, or, where that cluster was rebuilt as this one: {called} cluster rejoin {name} KUBECONFIG"
                )));
            }
        }
        free(roster, name, self.alias, name)?;
        Ok(roster.all().iter().find(|member| member.name_any() == *name))
    }
}

/// Whether name and alias mean no other member than `own`.
///
/// # Errors
/// With the member that has one of them.
pub(crate) fn free(roster: &Roster, name: &str, alias: Option<&str>, own: &str) -> Outcome {
    for member in roster.all().iter().filter(|member| member.name_any() != own) {
        if member.alias() == Some(name) {
            return Err(taken("name", name, member));
        }
        if let Some(alias) = alias
            && (member.name_any() == alias || member.alias() == Some(alias))
        {
            return Err(taken("alias", alias, member));
        }
    }
    Ok(())
}

fn taken(what: &str, word: &str, by: &ManagedCluster) -> Failure {
    Failure::refused(format!(
        "the {what} {word:?} is taken: it means member {}; choose another {what}",
        shown(by)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_api::{ManagedClusterSpec, names};
    use serde_json::json;

    fn member(name: &str, alias: &str, uid: &str) -> ManagedCluster {
        let mut cluster = ManagedCluster::new(name, ManagedClusterSpec::default());
        cluster.annotations_mut().insert(names::CLUSTER_ALIAS.into(), alias.into());
        if !uid.is_empty() {
            let status = json!({ "clusterClaims": [{ "name": names::CLUSTER_ID_CLAIM, "value": uid }] });
            cluster.status = serde_json::from_value(status).unwrap();
        }
        cluster
    }

    /// A name that means two clusters sends applications to the wrong one.
    #[test]
    fn a_word_means_one_cluster() {
        let roster = Roster::new(vec![
            member("mc-1", "first", "u1"),
            member("mc-2", "second", "u2"),
            member("mc-3", "third", ""),
        ]);
        let judge = |name, alias, uid| {
            let claim = Claim { name, alias, uid, hub_uid: "hub", called: "fleetctl" };
            claim.judge(&roster).map(|known| known.map(|known| known.name_any()))
        };
        assert_eq!(judge("new", Some("other"), "u9"), Ok(None));
        for (name, alias, uid, said) in [
            ("new", None, "hub", "this cluster is the hub itself"),
            ("new", None, "u1", "a member already: mc-1 (first)"),
            ("mc-1", None, "u9", "taken by another cluster (UID u1, this one has u9)"),
            ("first", None, "u9", "the name \"first\" is taken: it means member mc-1 (first)"),
            ("new", Some("mc-2"), "u9", "the alias \"mc-2\" is taken"),
            ("new", Some("second"), "u9", "the alias \"second\" is taken"),
            ("mc-1", Some("second"), "u1", "the alias \"second\" is taken"),
        ] {
            let failure = judge(name, alias, uid).unwrap_err();
            assert!(failure.to_string().contains(said), "{name} {alias:?} {uid}: {failure}");
            assert_eq!(failure.exit.code(), 4);
        }
        // The same cluster again, and one whose join was cut short.
        assert_eq!(judge("mc-1", Some("first"), "u1"), Ok(Some("mc-1".to_owned())));
        assert_eq!(judge("mc-3", None, "u9"), Ok(Some("mc-3".to_owned())));
    }

    #[test]
    fn words_that_can_not_name_a_member() {
        for word in ["", "local", "all", "MC", "a.b", "-a", "a-", "a b", &"x".repeat(64)] {
            assert!(name(word).is_err(), "{word:?}");
        }
        assert!(name("mc-bj1").is_ok());
        for word in ["", "local", "a b", "a,b", "a=b", "-a"] {
            assert!(alias(word).is_err(), "{word:?}");
        }
        assert!(alias("北京-1").is_ok());
        assert!(label("region", "cn north").is_err() && label("a/b/c", "x").is_err());
    }
}
