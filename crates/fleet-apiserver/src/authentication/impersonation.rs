//! `kubectl --as`: requests that are made in the name of somebody else.
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};

use crate::authorization::{Attributes, demand};
use crate::cluster::Cluster;
use crate::identity::Identity;
use crate::server::Inner;
use crate::status::ApiError;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
/// The group of the resources that stand for a uid and for extra facts.
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Whom the request is to be made as: the caller, or who stands in its headers.
///
/// # Errors
/// A 403 where the caller may not speak for them, a 400 where no user is named.
pub(crate) fn impersonated(
    server: &Inner,
    cluster: Option<&Cluster>,
    caller: Identity,
    headers: &HeaderMap,
) -> Result<Identity, ApiError> {
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(caller);
    }
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let user = headers.get(USER).map(text).unwrap_or_default();
    let mut groups: Vec<String> = headers.get_all(GROUP).iter().map(text).collect();
    let uid = headers.get(UID).map(text).unwrap_or_default();
    let extra = extra(headers);
    if user.is_empty() {
        return Err(ApiError::bad_request(format!(
            "requested groups {groups:?}, uid {uid:?} and extra {:?} without a user to impersonate: send Impersonate-User (kubectl --as), too",
            extra.keys().collect::<Vec<_>>()
        )));
    }
    let may = |wanted: Attributes<'_>| {
        demand(server, cluster, &caller, &Attributes { verb: "impersonate", ..wanted })
    };
    match Identity::account_of(&user) {
        Some((namespace, name)) => {
            may(Attributes { resource: "serviceaccounts", namespace, name, ..Attributes::default() })?;
            if groups.is_empty() {
                groups = Identity::account(namespace, name).groups;
            }
        }
        None => may(Attributes { resource: "users", name: &user, ..Attributes::default() })?,
    }
    for group in headers.get_all(GROUP).iter().map(text) {
        may(Attributes { resource: "groups", name: &group, ..Attributes::default() })?;
    }
    if !uid.is_empty() {
        may(Attributes { group: AUTHENTICATION, resource: "uids", name: &uid, ..Attributes::default() })?;
    }
    for (key, values) in &extra {
        for name in values {
            may(Attributes {
                group: AUTHENTICATION,
                resource: "userextras",
                subresource: key,
                name,
                ..Attributes::default()
            })?;
        }
    }
    Ok(Identity { uid, extra, ..Identity::new(user, groups) })
}

fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else { continue };
        let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().to_lowercase();
        extra.entry(key).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    extra
}
