//! What an identity may do: the RBAC objects of the cluster decide.
//!
//! ```text
//!  Store ─► four watchers ─► Rights ─► Known, one per cluster that was asked about: roles, bindings by subject
//!                                        │
//!  authorize, rules of a user ◄──────────┘          escalation: nobody hands out what they don't have
//!                                                   aggregation: roles that are made of other roles
//! ```
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>. Whoever is in `system:masters` may do
//! everything, and costs nothing here: the rules aren't even looked at.

pub(crate) mod aggregation;
pub(crate) mod defaults;
pub(crate) mod escalation;
mod known;
mod rights;
mod rule;
pub(crate) mod validate;

use std::ops::ControlFlow;
use std::sync::Arc;

pub(crate) use known::Found;
pub(crate) use rights::Rights;
pub(crate) use rule::Rule;

use crate::cluster::Cluster;
use crate::identity::Identity;
use crate::server::Inner;
use crate::status::ApiError;

/// The group of the kinds that decide.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// What a request wants to do, as an authorizer sees it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attributes<'a> {
    /// The verb (`get`, `list`, `approve`, …).
    pub(crate) verb: &'a str,
    /// The API group; empty for the core group.
    pub(crate) group: &'a str,
    /// The resource in plural form.
    pub(crate) resource: &'a str,
    /// The subresource; empty for the resource itself.
    pub(crate) subresource: &'a str,
    /// The namespace; empty for cluster scope or all namespaces. Of a Namespace it is its own name.
    pub(crate) namespace: &'a str,
    /// The object's name; empty for all.
    pub(crate) name: &'a str,
    /// The path, for a request outside the resources; empty for all others.
    pub(crate) path: &'a str,
}

/// The answer to [`authorize`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) allowed: bool,
    /// Which binding allows it, or what was wrong with the rules; empty where there is nothing to say.
    pub(crate) reason: String,
}

/// Whether an identity may do something in a cluster. `None` is the wildcard cluster, where only `system:masters`
/// may do anything.
pub(crate) fn authorize(
    server: &Inner,
    cluster: Option<&Cluster>,
    identity: &Identity,
    wanted: &Attributes<'_>,
) -> Decision {
    if identity.is_master() {
        return Decision { allowed: true, reason: String::new() };
    }
    let Some(cluster) = cluster else { return Decision { allowed: false, reason: String::new() } };
    server.rights.of(&server.store, &cluster.name, |known| {
        let mut missing: Vec<String> = Vec::new();
        let allowed = known.visit(identity, wanted.namespace, &mut |found| {
            match found {
                Found::Rules { binding, rules } => {
                    if rules.iter().any(|rule| rule.allows(wanted)) {
                        return ControlFlow::Break(binding.describe(identity));
                    }
                }
                Found::Missing { binding } => {
                    let role = binding.missing_role();
                    if !missing.contains(&role) {
                        missing.push(role);
                    }
                }
            }
            ControlFlow::Continue(())
        });
        match allowed {
            ControlFlow::Break(by) => Decision { allowed: true, reason: format!("RBAC: allowed by {by}") },
            ControlFlow::Continue(()) if missing.is_empty() => {
                Decision { allowed: false, reason: String::new() }
            }
            ControlFlow::Continue(()) => {
                Decision { allowed: false, reason: format!("RBAC: {}", listed(missing)) }
            }
        }
    })
}

/// As [`authorize`], for a request that ends where it isn't allowed.
///
/// # Errors
/// A 403 in Kubernetes' words: the user, what was asked, and what is wrong with the rules.
pub(crate) fn demand(
    server: &Inner,
    cluster: Option<&Cluster>,
    identity: &Identity,
    wanted: &Attributes<'_>,
) -> Result<(), ApiError> {
    let decision = authorize(server, cluster, identity, wanted);
    if decision.allowed {
        return Ok(());
    }
    let mut why = refusal(identity, wanted);
    if !decision.reason.is_empty() {
        why = format!("{why}: {}", decision.reason);
    }
    Err(match wanted.path {
        "" => ApiError::forbidden(wanted.group, wanted.resource, wanted.name, &why),
        _ => ApiError::forbidden("", "", "", &why),
    })
}

/// The rules that apply to an identity in a namespace (cluster-wide ones included), and what is wrong with others.
pub(crate) fn rules_of(
    server: &Inner,
    cluster: &Cluster,
    identity: &Identity,
    namespace: &str,
) -> (Vec<Arc<[Rule]>>, Vec<String>) {
    server.rights.of(&server.store, &cluster.name, |known| {
        let (mut all, mut missing) = (Vec::new(), Vec::new());
        let _: ControlFlow<()> = known.visit(identity, namespace, &mut |found| {
            match found {
                Found::Rules { rules, .. } => all.push(Arc::clone(rules)),
                Found::Missing { binding } => missing.push(binding.missing_role()),
            }
            ControlFlow::Continue(())
        });
        missing.sort();
        missing.dedup();
        (all, missing)
    })
}

fn refusal(identity: &Identity, wanted: &Attributes<'_>) -> String {
    let user = if identity.user.is_empty() { Identity::ANONYMOUS } else { &identity.user };
    let verb = wanted.verb;
    if !wanted.path.is_empty() {
        return format!("User {user:?} cannot {verb} path {:?}", wanted.path);
    }
    let resource = match wanted.subresource {
        "" => wanted.resource.to_owned(),
        sub => format!("{}/{sub}", wanted.resource),
    };
    let scope = match wanted.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    format!("User {user:?} cannot {verb} resource {resource:?} in API group {:?} {scope}", wanted.group)
}

/// Several findings as Kubernetes prints them.
fn listed(mut findings: Vec<String>) -> String {
    if findings.len() == 1 {
        return findings.pop().unwrap_or_default();
    }
    format!("[{}]", findings.join(", "))
}

#[cfg(test)]
mod tests;
