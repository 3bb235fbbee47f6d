//! The objects that a binding hands to its policy as `params`.

use std::sync::Arc;

use fleet_store::{Key, Page, Range};
use serde_json::Value;

use super::binding::Binding;
use super::compiled::Policy;
use super::review::Subject;
use crate::cluster::Cluster;
use crate::convert;
use crate::dispatch::Call;
use crate::object::ObjectExt;
use crate::registry::Kind;

/// The parameters, each of which the policy is judged with; one null where it takes none.
///
/// # Errors
/// Why there are none, where that refuses the write.
pub(super) fn of(
    call: &Call<'_>,
    cluster: &Arc<Cluster>,
    policy: &Policy,
    binding: &Binding,
    subject: &Subject<'_>,
) -> Result<Vec<Value>, String> {
    let (Some((api_version, name)), Some(wanted)) = (&policy.param, &binding.params) else {
        return Ok(vec![Value::Null]);
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let registry = cluster.registry();
    let kind = registry.by_version_and_kind(group, version, name).cloned();
    let kind =
        kind.ok_or_else(|| format!("the kind {name} of {api_version} that the policy takes isn't there"))?;
    let namespace = match (kind.namespaced, wanted.namespace.as_str(), subject.namespace_name()) {
        (false, "", _) => String::new(),
        (false, ..) => {
            return Err(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped params"
                    .to_owned(),
            );
        }
        (true, "", "") => {
            return Err(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                    .to_owned(),
            );
        }
        (true, "", own) => own.to_owned(),
        (true, named, _) => named.to_owned(),
    };
    let found = match (&wanted.name, &wanted.selector) {
        (Some(name), _) => {
            let key = Key {
                cluster: Arc::clone(&cluster.name),
                resource: Arc::clone(&kind.store_name),
                namespace: namespace.as_str().into(),
                name: name.as_str().into(),
            };
            call.server.store.get(&key).into_iter().collect()
        }
        (None, Some(selector)) => {
            let range = Range::cluster(Arc::clone(&cluster.name), Arc::clone(&kind.store_name));
            let range = if kind.namespaced { range.namespace(namespace.as_str()) } else { range };
            let listing =
                call.server.store.list(&range, Page::default()).map_err(|error| error.to_string())?;
            let mut entries = listing.entries;
            entries.retain(|entry| {
                read(&kind, &entry.value).is_some_and(|object| selector.matches_value(object.meta("labels")))
            });
            entries
        }
        (None, None) => Vec::new(),
    };
    if found.is_empty() && wanted.deny_without {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found.iter().filter_map(|entry| read(&kind, &entry.value)).collect())
}

fn read(kind: &Kind, bytes: &[u8]) -> Option<Value> {
    let mut object: Value = serde_json::from_slice(bytes).ok()?;
    object.take_meta("managedFields");
    convert::from_stored(kind, &mut object);
    Some(object)
}
