//! The account on a member: what is made there, as a pure plan.

use fleet_api::names;
use serde_json::{Value, json};

use super::profile::{Profile, RBAC};
use super::rights::{Need, Right};

/// The field manager of what is made.
pub(crate) const MANAGER: &str = "fleetctl-join";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// A service account of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Whether it is somebody else's: neither its rights nor it itself are touched.
    pub(crate) given: bool,
}

impl Account {
    /// The one that is made for a hub. Each hub has its own, so that none takes another's away.
    pub(crate) fn of_hub(hub: &str) -> Self {
        Self { namespace: names::SYSTEM_NAMESPACE.to_owned(), name: format!("hub-{hub}"), given: false }
    }

    /// The one that a member's annotation names.
    pub(crate) fn recorded(cluster: &fleet_api::ManagedCluster, hub: &str) -> Option<Self> {
        use kube::ResourceExt as _;
        let (namespace, name) = cluster.annotations().get(names::MEMBER_ACCOUNT)?.split_once('/')?;
        let made = Self::of_hub(hub);
        let given = namespace != made.namespace || name != made.name;
        Some(Self { namespace: namespace.to_owned(), name: name.to_owned(), given })
    }

    /// As it is written.
    pub(crate) fn shown(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The name of its first token's Secret; later ones have something behind it.
    pub(crate) fn token_name(&self, hub: &str) -> String {
        if self.given { format!("{}-hub-{hub}-token", self.name) } else { format!("{}-token", self.name) }
    }
}

/// What Roles and bindings for a hub are called.
pub(crate) fn role_name(hub: &str) -> String {
    format!("fleetctl:hub-{hub}")
}

/// Everything that an account needs, in the order of making; without a token. The ClusterRole is what the rest hangs
/// on: who deletes it takes all of it away, with one request and without further rights.
pub(crate) fn manifests(hub: &str, account: &Account, profile: &Profile, make_namespace: bool) -> Vec<Value> {
    if account.given {
        return Vec::new();
    }
    let labels = json!({ MANAGED_BY: "fleetctl", names::HUB: hub });
    let mut all = Vec::new();
    if make_namespace {
        all.push(json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": account.namespace, "labels": { MANAGED_BY: "fleetctl" } },
        }));
    }
    let subjects =
        json!([{ "kind": "ServiceAccount", "name": account.name, "namespace": account.namespace }]);
    let name = role_name(hub);
    for grant in profile.grants(&name) {
        let (kind, metadata) = match &grant.namespace {
            None => ("ClusterRole", json!({ "name": name, "labels": labels })),
            Some(namespace) => ("Role", json!({ "name": name, "namespace": namespace, "labels": labels })),
        };
        let api_version = format!("{RBAC}/v1");
        all.push(json!({
            "apiVersion": api_version, "kind": kind, "metadata": metadata, "rules": grant.rules,
        }));
        all.push(json!({
            "apiVersion": api_version, "kind": format!("{kind}Binding"), "metadata": metadata, "subjects": subjects,
            "roleRef": { "apiGroup": RBAC, "kind": kind, "name": name },
        }));
    }
    all.push(json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": account.name, "namespace": account.namespace, "labels": labels },
        // Its token is asked for on purpose; a pod that runs as it by mistake gets none.
        "automountServiceAccountToken": false,
    }));
    all
}

/// The Secret that Kubernetes fills with a token of the account. Such a token ends when its Secret is deleted, and not
/// before: nobody has to renew it, and a hub whose controller stands still for a month still reaches its members.
pub(crate) fn token(hub: &str, account: &Account, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": name, "namespace": account.namespace,
            "labels": { MANAGED_BY: "fleetctl", names::HUB: hub },
            "annotations": { "kubernetes.io/service-account.name": account.name },
        },
    })
}

/// What whoever makes all this must be allowed to do.
pub(crate) fn needs(hub: &str, account: &Account, profile: &Profile, plan: &[Value]) -> Vec<Need> {
    let text =
        |object: &Value, at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut needs: Vec<Need> = Vec::new();
    let put = |right: Right, or_all: Vec<Right>, needs: &mut Vec<Need>| {
        if needs.iter().all(|need| need.right != right) {
            needs.push(Need { right, or_all });
        }
    };
    for object in plan {
        let (group, resource) = match text(object, "/kind").as_str() {
            "Namespace" => ("", "namespaces"),
            "ServiceAccount" => ("", "serviceaccounts"),
            "Role" => (RBAC, "roles"),
            "RoleBinding" => (RBAC, "rolebindings"),
            "ClusterRole" => (RBAC, "clusterroles"),
            "ClusterRoleBinding" => (RBAC, "clusterrolebindings"),
            _ => continue,
        };
        let namespace = text(object, "/metadata/namespace");
        for verb in ["create", "patch"] {
            put(Right::new(verb, group, resource).within(&namespace), Vec::new(), &mut needs);
        }
        // RBAC lets nobody grant what they don't have, unless they may escalate (roles) or bind (bindings).
        let beyond = match resource {
            "roles" | "clusterroles" => Some(("escalate", resource)),
            "rolebindings" => Some(("bind", "roles")),
            "clusterrolebindings" => Some(("bind", "clusterroles")),
            _ => None,
        };
        if let Some((verb, roles)) = beyond {
            let held: Vec<Right> = profile
                .needs(&role_name(hub))
                .into_iter()
                .filter(|right| reaches(right, &namespace))
                .collect();
            put(Right::new(verb, RBAC, roles).within(&namespace), held, &mut needs);
        }
    }
    for verb in ["create", "patch", "get", "list", "watch", "delete"] {
        put(Right::new(verb, "", "secrets").within(&account.namespace), Vec::new(), &mut needs);
    }
    needs
}

/// Whether a right is granted by the Role of a scope.
fn reaches(right: &Right, scope: &str) -> bool {
    right.namespace == scope
}

/// The rights that an account must turn out to have.
pub(crate) fn expected(hub: &str, account: &Account, profile: &Profile) -> Vec<Right> {
    let role = role_name(hub);
    let mut rights = profile.needs(&role);
    if account.given {
        // Nothing of ours hangs on a Role there.
        rights.retain(|right| right.name != role);
    }
    rights
}

/// What is granted, line by line.
pub(crate) fn granted(profile: &Profile) -> Vec<String> {
    let mut lines = Vec::new();
    for grant in profile.grants("") {
        let scope = grant.namespace.map_or_else(String::new, |namespace| format!("in {namespace}: "));
        lines.extend(grant.said.into_iter().map(|said| format!("{scope}{said}")));
    }
    lines
}

/// How a person takes the account away.
pub(crate) fn removal(account: &Account, hub: &str) -> String {
    if account.given {
        return format!("kubectl delete secret -n {} -l {}={hub}", account.namespace, names::HUB);
    }
    format!("kubectl delete clusterrole {}", role_name(hub))
}

/// Whether the verbs of a delivery are among those granted; the engine's needs and the grants mustn't part.
#[cfg(test)]
fn grants_delivery(profile: &Profile) -> bool {
    profile.grants("").iter().any(|grant| {
        grant.rules.iter().any(|rule| {
            let verbs = rule.get("verbs").and_then(Value::as_array);
            crate::cluster::profile::DELIVER
                .iter()
                .all(|verb| verbs.is_some_and(|verbs| verbs.iter().any(|have| have == verb)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::profile::DELIVER;

    fn kinds(plan: &[Value]) -> Vec<String> {
        let text = |object: &Value, at: &str| {
            object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        plan.iter()
            .map(|object| {
                let place = text(object, "/metadata/namespace");
                format!("{} {place}/{}", text(object, "/kind"), text(object, "/metadata/name"))
            })
            .collect()
    }

    /// What is made, and nothing besides.
    #[test]
    fn the_plan_of_each_profile() {
        let account = Account::of_hub("h1");
        let made = kinds(&manifests("h1", &account, &Profile::Cluster { rbac: false }, true));
        assert_eq!(
            made,
            [
                "Namespace /fleetctl-system",
                "ClusterRole /fleetctl:hub-h1",
                "ClusterRoleBinding /fleetctl:hub-h1",
                "ServiceAccount fleetctl-system/hub-h1",
            ]
        );
        let narrow = Profile::Namespaced(vec!["web".to_owned()]);
        let made = kinds(&manifests("h1", &account, &narrow, false));
        assert_eq!(
            made,
            [
                "ClusterRole /fleetctl:hub-h1",
                "ClusterRoleBinding /fleetctl:hub-h1",
                "Role web/fleetctl:hub-h1",
                "RoleBinding web/fleetctl:hub-h1",
                "ServiceAccount fleetctl-system/hub-h1",
            ]
        );
        assert!(grants_delivery(&narrow) && grants_delivery(&Profile::Cluster { rbac: true }));
        assert!(!grants_delivery(&Profile::Impersonating(vec![("web".to_owned(), "*".to_owned())])));
        let given = Account { namespace: "ops".to_owned(), name: "deployer".to_owned(), given: true };
        assert!(manifests("h1", &given, &narrow, true).is_empty());
        assert_eq!(given.token_name("h1"), "deployer-hub-h1-token");
    }

    /// A right that join needs and doesn't ask for leaves a half-made account behind.
    #[test]
    fn every_object_of_the_plan_is_asked_for() {
        let account = Account::of_hub("h1");
        let profile = Profile::Namespaced(vec!["web".to_owned()]);
        let plan = manifests("h1", &account, &profile, true);
        let said: Vec<String> =
            needs("h1", &account, &profile, &plan).iter().map(|need| need.right.to_string()).collect();
        for right in [
            "create namespaces",
            "patch serviceaccounts in fleetctl-system",
            "create clusterroles.rbac.authorization.k8s.io",
            "patch rolebindings.rbac.authorization.k8s.io in web",
            "escalate roles.rbac.authorization.k8s.io in web",
            "bind clusterroles.rbac.authorization.k8s.io",
            "create secrets in fleetctl-system",
        ] {
            assert!(said.iter().any(|said| said == right), "{right}: {said:#?}");
        }
        // Who holds what is granted needs no right to escalate.
        let escalate = needs("h1", &account, &profile, &plan)
            .into_iter()
            .find(|need| need.right.verb == "escalate" && need.right.namespace == "web");
        assert_eq!(escalate.unwrap().or_all.len(), DELIVER.len());
    }
}
