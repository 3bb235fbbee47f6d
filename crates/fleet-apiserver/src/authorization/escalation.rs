//! Nobody hands out rights that they don't have.
//!
//! Whoever writes a role must have everything that it gives, or the verb `escalate` on it; whoever writes a binding
//! must have everything that its role gives, or the verb `bind` on the role.
//! See <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::Value;

use super::{Attributes, Found, GROUP, Rule, authorize};
use crate::cluster::Cluster;
use crate::dispatch::Call;
use crate::object::ObjectExt;
use crate::registry::Kind;
use crate::status::ApiError;

/// More single rights than this aren't compared one by one.
const MOST: usize = 20_000;

/// Refuses to store an RBAC object by which its writer would gain rights, or give more than they have. `old` is what
/// it was before, if it was.
///
/// # Errors
/// A 403 that lists what the writer lacks; a 404 for the binding of a role that isn't there.
pub(crate) fn check(
    call: &Call<'_>,
    cluster: &Arc<Cluster>,
    kind: &Kind,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), ApiError> {
    if kind.group() != GROUP || kind.custom.is_some() || call.identity.is_master() {
        return Ok(());
    }
    if old.is_some_and(|old| decides(old) == decides(new)) {
        return Ok(());
    }
    let refuse = |why: String| ApiError::forbidden(GROUP, &kind.plural, new.name(), &why);
    let namespace = new.meta_str("namespace");
    let given: Arc<[Rule]> = match kind.kind() {
        "Role" | "ClusterRole" => {
            if is_granted(call, cluster, "escalate", &kind.plural, namespace, new.name()) {
                return Ok(());
            }
            // A role that gathers others can come to give anything.
            if old
                .into_iter()
                .chain([new])
                .any(|role| role.get("aggregationRule").is_some_and(|a| !a.is_null()))
            {
                let everything = [everything(), rules_in(new)].concat();
                return covered(call, cluster, namespace, &everything).map_err(|why| {
                    refuse(format!("must have cluster-admin privileges to use an aggregationRule: {why}"))
                });
            }
            rules_in(new).into()
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let text = |at: &str| new.pointer(at).and_then(Value::as_str).unwrap_or_default();
            let (role_kind, role) = (text("/roleRef/kind"), text("/roleRef/name"));
            let plural = format!("{}s", role_kind.to_ascii_lowercase());
            if is_granted(call, cluster, "bind", &plural, namespace, role) {
                return Ok(());
            }
            let found = call.server.rights.of(&call.server.store, &cluster.name, |known| {
                known.role(namespace, role_kind, role).cloned()
            });
            found.ok_or_else(|| ApiError::not_found(GROUP, &plural, role))?
        }
        _ => return Ok(()),
    };
    covered(call, cluster, namespace, &given).map_err(refuse)
}

/// What a change of gives or takes rights. Labels belong to it: by them roles are gathered into others.
fn decides(object: &Value) -> Vec<Option<&Value>> {
    let fields = ["rules", "aggregationRule", "roleRef", "subjects"];
    let fields = fields.iter().map(|field| object.get(*field).filter(|value| !is_nothing(value)));
    fields.chain([object.meta("labels")]).collect()
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn rules_in(role: &Value) -> Vec<Rule> {
    role.get("rules").and_then(|rules| serde_json::from_value(rules.clone()).ok()).unwrap_or_default()
}

fn everything() -> Vec<Rule> {
    let all = || vec!["*".to_owned()];
    vec![
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ]
}

fn is_granted(
    call: &Call<'_>,
    cluster: &Cluster,
    verb: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> bool {
    let wanted = Attributes { verb, group: GROUP, resource, namespace, name, ..Attributes::default() };
    authorize(call.server, Some(cluster), &call.identity, &wanted).allowed
}

/// Whether the caller has all of these rights in that namespace (in the whole cluster, where it is empty).
fn covered(call: &Call<'_>, cluster: &Cluster, namespace: &str, given: &[Rule]) -> Result<(), String> {
    let mut own: Vec<Rule> = Vec::new();
    let mut missing_roles: Vec<String> = Vec::new();
    call.server.rights.of(&call.server.store, &cluster.name, |known| {
        let _: ControlFlow<()> = known.visit(&call.identity, namespace, &mut |found| {
            match found {
                Found::Rules { rules, .. } => own.extend(rules.iter().cloned()),
                Found::Missing { binding } => missing_roles.push(binding.missing_role()),
            }
            ControlFlow::Continue(())
        });
    });
    let lacking = lacking(&own, given)?;
    if lacking.is_empty() {
        return Ok(());
    }
    let identity = &call.identity;
    let groups: Vec<String> = identity.groups.iter().map(|group| format!("{group:?}")).collect();
    let lines: Vec<String> = lacking.iter().map(ToString::to_string).collect();
    let mut why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        identity.user,
        groups.join(" "),
        lines.join("\n")
    );
    if !missing_roles.is_empty() {
        why.push_str(&format!("; resolution errors: [{}]", missing_roles.join(", ")));
    }
    Err(why)
}

/// What of the given rules the own ones don't cover, verbs of one thing together.
///
/// # Errors
/// Where a rule combines more than can be compared.
pub(super) fn lacking(own: &[Rule], given: &[Rule]) -> Result<Vec<Rule>, String> {
    let mut left = MOST;
    let mut found: BTreeMap<Rule, Vec<String>> = BTreeMap::new();
    for rule in given.iter().filter(|rule| !own.iter().any(|one| one.covers(rule))) {
        let breadth = rule.breadth();
        left = left.checked_sub(breadth).ok_or_else(|| {
            format!(
                "the rules combine more than {MOST} single rights, which is more than can be compared with those of their writer; name fewer verbs, groups, resources and names"
            )
        })?;
        for mut single in rule.single().filter(|single| !own.iter().any(|one| one.covers(single))) {
            let verbs = std::mem::take(&mut single.verbs);
            found.entry(single).or_default().extend(verbs);
        }
    }
    Ok(found.into_iter().map(|(thing, verbs)| Rule { verbs, ..thing }).collect())
}
