//! The members: credentials, reachability, identity, who is held.

use std::collections::BTreeMap;

use fleet_api::{ManagedCluster, conditions, names};
use kube::ResourceExt as _;

use super::Severity::{Error, Note, Warning};
use super::{Finding, Snapshot};

pub(super) fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let mut all = Vec::new();
    // A list that couldn't be read says nothing; that it couldn't is said.
    let unread = snapshot.unread.iter().any(|(what, _)| what == "members");
    if snapshot.clusters.is_empty() && !unread {
        let mend = format!("{} cluster join KUBECONFIG", snapshot.called);
        all.push(Finding::new(
            Warning,
            "NoMembers",
            "the fleet",
            "it has no members: nothing can be delivered",
            mend,
        ));
    }
    for cluster in &snapshot.clusters {
        all.extend(of_member(snapshot, cluster));
    }
    all.extend(doubles(snapshot));
    for secret in &snapshot.secrets {
        let about = format!("secret {}/{}", secret.namespace, secret.name);
        if let Some(problem) = &secret.problem {
            let mend =
                format!("mend the key, or write it anew: {} cluster rotate {}", snapshot.called, secret.name);
            all.push(Finding::new(
                Error,
                "CredentialsInvalid",
                about,
                format!("it can't be used: {problem}"),
                mend,
            ));
        } else if !snapshot.clusters.iter().any(|cluster| cluster.name_any() == secret.name) {
            let message = "it holds a member's credentials, and no ManagedCluster has its name";
            let mend = format!(
                "the controller makes one where it runs; else: {} cluster join, or kubectl delete {about}",
                snapshot.called
            );
            all.push(Finding::new(Note, "CredentialsWithoutMember", about, message, mend));
        }
    }
    all
}

fn of_member(snapshot: &Snapshot, cluster: &ManagedCluster) -> Vec<Finding> {
    let (name, called) = (cluster.name_any(), &snapshot.called);
    let about = format!("member {name}");
    let mut all = Vec::new();
    if !cluster.spec.hub_accepts_client {
        let message = "the hub doesn't accept it (spec.hubAcceptsClient): nothing is delivered to it";
        let patch = "'{\"spec\":{\"hubAcceptsClient\":true}}'";
        let mend = format!("kubectl patch managedcluster {name} --type merge -p {patch}");
        all.push(Finding::new(Warning, "NotAccepted", &about, message, mend));
    }
    if cluster.annotations().contains_key(names::DETACHING) {
        let message = "it is being detached: nothing is delivered, repaired or deleted there";
        let mend = format!("{called} cluster detach {name}");
        all.push(Finding::new(Note, "Detaching", &about, message, mend));
    } else if let Some(why) = cluster.annotations().get(names::CORDONED) {
        let why = if why == "true" || why.is_empty() { String::new() } else { format!(": {why}") };
        let message = format!("an operator holds it{why}: nothing is delivered, repaired or deleted there");
        all.push(Finding::new(
            Note,
            "Cordoned",
            &about,
            message,
            format!("{called} cluster uncordon {name}"),
        ));
    }
    let has_secret = snapshot.secrets.iter().any(|secret| secret.name == name);
    let embedded = lives_here(cluster);
    let looked_at_secrets = !snapshot.unread.iter().any(|(what, _)| what == "secrets");
    if !has_secret && !embedded && looked_at_secrets {
        let message = format!(
            "no Secret holds its credentials (named as it, with the label {})",
            names::CREDENTIAL_TYPE
        );
        let mend = format!("{called} cluster rejoin {name}, or create the Secret");
        all.push(Finding::new(Error, "NoCredentials", &about, message, mend));
    }
    let status = cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    for type_ in ["Joined", "Available"] {
        let Some(condition) = conditions::find(status, type_).filter(|condition| !condition.is_true()) else {
            continue;
        };
        let (code, mend) = match condition.reason.as_str() {
            "ClusterChanged" => ("ClusterChanged", format!("{called} cluster rejoin {name}")),
            "DuplicateCluster" => ("DuplicateCluster", format!("{called} cluster detach one of the two")),
            "HubItself" => ("HubItself", format!("{called} cluster detach {name}")),
            _ if type_ == "Available" && embedded => {
                ("MemberUnavailable", format!("{called} local start {name}"))
            }
            _ if type_ == "Available" => ("MemberUnavailable", format!("{called} cluster probe {name}")),
            _ => continue,
        };
        let message = format!("{} ({})", condition.message, condition.reason);
        let doubled = all.iter().any(|finding: &Finding| finding.code == code);
        if !doubled {
            all.push(Finding::new(Error, code, &about, message, mend));
        }
    }
    all
}

/// A member of an embedded fleet lives in its process.
pub(super) fn lives_here(cluster: &ManagedCluster) -> bool {
    let embedded = crate::embedded::EMBEDDED;
    cluster.labels().contains_key(embedded) || cluster.annotations().contains_key(embedded)
}

/// Two members with one UID are one cluster; two members with one alias can't be told apart.
fn doubles(snapshot: &Snapshot) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut uids: BTreeMap<&str, String> = BTreeMap::new();
    let mut words: BTreeMap<String, String> = BTreeMap::new();
    for cluster in &snapshot.clusters {
        let (name, called) = (cluster.name_any(), &snapshot.called);
        if let Some(uid) = cluster.recorded_uid().filter(|uid| !uid.is_empty())
            && let Some(other) = uids.insert(uid, name.clone())
        {
            let message = format!(
                "it is the same cluster as {other} (kube-system UID {uid}): nothing is delivered to either"
            );
            let mend = format!("{called} cluster detach {name}, or {other}");
            all.push(Finding::new(Error, "DuplicateCluster", format!("member {name}"), message, mend));
        }
        for word in std::iter::once(name.as_str()).chain(cluster.alias().filter(|alias| *alias != name)) {
            if let Some(other) = words.insert(word.to_owned(), name.clone()) {
                let message = format!(
                    "{word:?} is a name or alias of {other}, too: commands and policies that say it are ambiguous"
                );
                let mend = format!("{called} cluster alias {name} ANOTHER");
                all.push(Finding::new(Warning, "AliasTaken", format!("member {name}"), message, mend));
            }
        }
    }
    all
}
