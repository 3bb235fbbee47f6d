//! Which namespaces may deliver to which members, and as which account.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_api::cluster_access_policy::DEFAULT;
use fleet_api::{AccessMode, ClusterAccessPolicy, ManagedCluster, Selection};
use fleet_json::LabelSelector;
use fleet_members::Account;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use serde_json::{Value, json};

use crate::Problem;
use crate::context::{AppKey, Context};
use crate::turn::walk::Walk;

/// What is refused by a policy.
pub(crate) const NOT_ALLOWED: &str = "ClusterNotAllowed";

/// A namespace of the hub.
struct Tenant<'a> {
    name: &'a str,
    labels: Value,
}

/// As which account a namespace may deliver to a member: `None` is the controller's own.
///
/// A namespace and a member that a policy joins may do what any of those policies says. Those that none joins may do
/// what the policy named `default` says; without it, everything.
///
/// # Errors
/// Why it may not, and who can change that.
fn judge(
    policies: &[Arc<ClusterAccessPolicy>],
    tenant: &Tenant<'_>,
    cluster: &ManagedCluster,
    asked: Option<&str>,
) -> Result<Option<String>, Problem> {
    let refused = |why: String| {
        let name = cluster.name_any();
        let place = cluster.alias().map_or_else(|| name.clone(), |alias| format!("{name} ({alias})"));
        let message = format!(
            "namespace {} may not deliver to cluster {place}: {why}; whoever may write ClusterAccessPolicies can open it (kubectl get clusteraccesspolicies)",
            tenant.name
        );
        Err(Problem::awaited(NOT_ALLOWED, message))
    };
    let joining = joining(policies, |policy| {
        selects(&policy.spec.namespaces, &[tenant.name], &tenant.labels)
            && selects(&policy.spec.clusters, &names_of(cluster), &json!(cluster.labels()))
    });
    if joining.is_empty() {
        return match mode(policies) {
            AccessMode::Allow => Ok(asked.map(str::to_owned)),
            AccessMode::Deny => {
                refused("no ClusterAccessPolicy joins them, and default says Deny".to_owned())
            }
        };
    }
    let fits = |policy: &&&Arc<ClusterAccessPolicy>| match (&policy.spec.service_account_name, asked) {
        (None, _) | (Some(_), None) => true,
        (Some(wanted), Some(asked)) => wanted == asked,
    };
    // One that demands nothing is the widest.
    let mut fitting: Vec<_> = joining.iter().filter(fits).collect();
    fitting.sort_by_key(|policy| (policy.spec.service_account_name.is_some(), policy.name_any()));
    match (fitting.first(), asked) {
        (Some(policy), None) => Ok(policy.spec.service_account_name.clone()),
        (Some(_), Some(asked)) => Ok(Some(asked.to_owned())),
        (None, asked) => {
            let demanded: BTreeSet<&str> =
                joining.iter().filter_map(|policy| policy.spec.service_account_name.as_deref()).collect();
            let demanded: Vec<&str> = demanded.into_iter().collect();
            refused(format!(
                "as ServiceAccount {} only, not as {}",
                demanded.join(" or "),
                asked.unwrap_or_default()
            ))
        }
    }
}

/// The policies that join what is asked about; the one named `default` joins nothing.
fn joining(
    policies: &[Arc<ClusterAccessPolicy>],
    wanted: impl Fn(&ClusterAccessPolicy) -> bool,
) -> Vec<&Arc<ClusterAccessPolicy>> {
    policies.iter().filter(|policy| policy.name_any() != DEFAULT && wanted(policy)).collect()
}

fn mode(policies: &[Arc<ClusterAccessPolicy>]) -> AccessMode {
    let default = policies.iter().find(|policy| policy.name_any() == DEFAULT);
    default.and_then(|policy| policy.spec.mode).unwrap_or_default()
}

pub(crate) fn names_of(cluster: &ManagedCluster) -> Vec<&str> {
    cluster.metadata.name.as_deref().into_iter().chain(cluster.alias()).collect()
}

/// Whether a selection has an object. A selector that can't be read selects nothing.
pub(crate) fn selects(selection: &Selection, names: &[&str], labels: &Value) -> bool {
    let by_label = |selector: &Value| {
        LabelSelector::from_json(selector).is_ok_and(|selector| selector.matches_value(Some(labels)))
    };
    selection.is_everything()
        || selection.names.iter().any(|name| names.contains(&name.as_str()))
        || selection.selector.as_ref().is_some_and(by_label)
}

fn tenant<'a>(ctx: &Context, namespace: &'a str) -> Tenant<'a> {
    let known = ctx.hub.namespaces.get(&ObjectRef::new(namespace));
    Tenant { name: namespace, labels: known.map_or_else(|| json!({}), |known| json!(known.labels())) }
}

/// Whether a namespace may deliver to a cluster as the account that the Application names, or as which else.
///
/// # Errors
/// Why it may not.
pub(crate) fn admit(
    ctx: &Context,
    namespace: &str,
    cluster: &str,
    asked: Option<&str>,
) -> Result<Option<Account>, Problem> {
    let account = |name: String| Account { namespace: namespace.to_owned(), name };
    let policies = ctx.hub.access_policies.state();
    let known = ctx.hub.clusters.get(&ObjectRef::new(cluster));
    let Some(known) = known.filter(|_| !policies.is_empty()) else {
        return Ok(asked.map(|name| account(name.to_owned())));
    };
    Ok(judge(&policies, &tenant(ctx, namespace), &known, asked)?.map(account))
}

/// The same for whoever has no controller around: the policies and the namespace's labels are given.
pub(crate) fn admit_by(
    policies: &[Arc<ClusterAccessPolicy>],
    namespace: &str,
    labels: &Value,
    cluster: &ManagedCluster,
    asked: Option<&str>,
) -> Result<(), Problem> {
    if policies.is_empty() {
        return Ok(());
    }
    judge(policies, &Tenant { name: namespace, labels: labels.clone() }, cluster, asked).map(drop)
}

/// The account that the running revision names.
pub(crate) fn named(walk: &Walk) -> Option<&str> {
    walk.revision.as_ref()?.content.service_account.as_deref()
}

/// The account as which something of an Application is written to a cluster. What isn't allowed any more is held
/// before this; what is deleted there all the same goes as the account that the revision names.
pub(crate) fn account(ctx: &Context, walk: &Walk, cluster: &str) -> Option<Account> {
    let named = named(walk);
    admit(ctx, &walk.key.0, cluster, named).unwrap_or_else(|_| {
        named.map(|name| Account { namespace: walk.key.0.clone(), name: name.to_owned() })
    })
}

/// The accounts that must be able to read what an Application refers to: the one that it names, else all that
/// policies demand of its namespace anywhere.
pub(crate) fn readers(ctx: &Context, app: &AppKey, named: Option<&str>) -> Vec<Account> {
    let names: BTreeSet<String> = match named {
        Some(name) => BTreeSet::from([name.to_owned()]),
        None => {
            let policies = ctx.hub.access_policies.state();
            let tenant = if policies.is_empty() { return Vec::new() } else { tenant(ctx, &app.0) };
            let mine =
                joining(&policies, |policy| selects(&policy.spec.namespaces, &[tenant.name], &tenant.labels));
            mine.into_iter().filter_map(|policy| policy.spec.service_account_name.clone()).collect()
        }
    };
    names.into_iter().map(|name| Account { namespace: app.0.clone(), name }).collect()
}

/// Whether what no policy opens is shut.
pub(crate) fn is_closed(ctx: &Context) -> bool {
    mode(&ctx.hub.access_policies.state()) == AccessMode::Deny
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, spec: Value) -> Arc<ClusterAccessPolicy> {
        Arc::new(ClusterAccessPolicy::new(name, serde_json::from_value(spec).unwrap()))
    }

    fn cluster(name: &str, alias: &str, region: &str) -> ManagedCluster {
        let mut cluster = ManagedCluster::new(name, Default::default());
        cluster.labels_mut().insert("region".into(), region.into());
        cluster.annotations_mut().insert(fleet_api::names::CLUSTER_ALIAS.into(), alias.into());
        cluster
    }

    fn asks(
        policies: &[Arc<ClusterAccessPolicy>],
        namespace: &str,
        to: &ManagedCluster,
        account: Option<&str>,
    ) -> Result<Option<String>, String> {
        let tenant = Tenant { name: namespace, labels: json!({"team": namespace}) };
        judge(policies, &tenant, to, account).map_err(|problem| problem.message)
    }

    // Broken: a namespace reaches a member that nobody opened to it, or none although it is open.
    #[test]
    fn closed_is_what_no_policy_opens() {
        let (north, south) = (cluster("m1", "one", "north"), cluster("m2", "two", "south"));
        assert_eq!(asks(&[], "a", &north, None), Ok(None), "open without a policy");
        assert_eq!(asks(&[], "a", &north, Some("bot")), Ok(Some("bot".into())));
        let closed = policy("default", json!({"mode": "Deny", "namespaces": {}, "clusters": {}}));
        let said = asks(&[Arc::clone(&closed)], "a", &north, None).unwrap_err();
        assert!(said.contains("namespace a may not deliver to cluster m1 (one)"), "{said}");
        assert!(said.contains("ClusterAccessPolic"), "{said}");
        let opened = [
            closed,
            policy(
                "by-label",
                json!({"namespaces": {"names": ["a"]},
                "clusters": {"selector": {"matchLabels": {"region": "north"}}}}),
            ),
            policy(
                "by-alias",
                json!({"namespaces": {"selector": {"matchLabels": {"team": "b"}}},
                "clusters": {"names": ["two"]}}),
            ),
        ];
        assert_eq!(asks(&opened, "a", &north, None), Ok(None));
        assert!(asks(&opened, "a", &south, None).is_err());
        assert_eq!(asks(&opened, "b", &south, None), Ok(None));
        assert!(asks(&opened, "c", &south, None).is_err());
        let broken = [
            policy("default", json!({"mode": "Deny"})),
            policy("broken", json!({"namespaces": {"selector": {"matchExpressions": 5}}})),
        ];
        assert!(asks(&broken, "a", &north, None).is_err(), "what can't be read opens nothing");
    }

    // Broken: a tenant delivers as another account than the one that is demanded, or with the controller's rights.
    #[test]
    fn the_demanded_account_delivers() {
        let north = cluster("m1", "one", "north");
        let demands = policy("a", json!({"namespaces": {"names": ["a"]}, "serviceAccountName": "deployer"}));
        let only = [Arc::clone(&demands)];
        assert_eq!(asks(&only, "a", &north, None), Ok(Some("deployer".into())), "taken without being named");
        assert_eq!(asks(&only, "a", &north, Some("deployer")), Ok(Some("deployer".into())));
        let said = asks(&only, "a", &north, Some("admin")).unwrap_err();
        assert!(said.contains("as ServiceAccount deployer only, not as admin"), "{said}");
        assert_eq!(asks(&only, "b", &north, None), Ok(None), "others are open");
        let wider = [demands, policy("b", json!({"namespaces": {"names": ["a"]}}))];
        assert_eq!(asks(&wider, "a", &north, None), Ok(None));
        assert_eq!(asks(&wider, "a", &north, Some("admin")), Ok(Some("admin".into())));
    }
}
