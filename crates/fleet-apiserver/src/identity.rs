//! Who asks, and what they may do.

use http::{HeaderMap, HeaderValue};

use crate::status::ApiError;

/// Who sends a request. The listener takes it from the client certificate; in process it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub user: String,
    /// The groups that the user is in.
    pub groups: Vec<String>,
}

impl Identity {
    /// The user of requests without credentials.
    pub const ANONYMOUS: &'static str = "system:anonymous";
    /// The group that may do everything.
    pub const MASTERS: &'static str = "system:masters";

    /// A user with groups. Everyone who is somebody is in `system:authenticated` too.
    pub fn new(user: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        let user = user.into();
        let mut groups: Vec<String> = groups.into_iter().collect();
        let own = if user == Self::ANONYMOUS { "system:unauthenticated" } else { "system:authenticated" };
        if !groups.iter().any(|group| group == own) {
            groups.push(own.to_owned());
        }
        Self { user, groups }
    }

    /// A user in `system:masters`.
    pub fn admin(user: impl Into<String>) -> Self {
        Self::new(user, [Self::MASTERS.to_owned()])
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self::new(Self::ANONYMOUS, [])
    }

    /// Whom the request is to be made as: the caller, or who stands in the headers of `kubectl --as`.
    ///
    /// # Errors
    /// A 403 where the caller may not speak for them, a 400 for groups without a user.
    pub(crate) fn impersonating(self, headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let groups: Vec<String> = headers.get_all("impersonate-group").iter().map(text).collect();
        let Some(user) = headers.get("impersonate-user").map(text).filter(|user| !user.is_empty()) else {
            if groups.is_empty() {
                return Ok(self);
            }
            return Err(ApiError::bad_request(format!(
                "groups {groups:?} can't be impersonated without a user"
            )));
        };
        let wanted =
            Attributes { verb: "impersonate", name: &user, resource: "users", ..Attributes::default() };
        authorize(&self, &wanted)?;
        for group in &groups {
            authorize(&self, &Attributes { name: group, resource: "groups", ..wanted })?;
        }
        Ok(Self::new(user, groups))
    }

    /// Whether the request carries no credentials.
    pub fn is_anonymous(&self) -> bool {
        self.user.is_empty() || self.user == Self::ANONYMOUS
    }
}

/// What a request wants to do, as an authorizer sees it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes<'a> {
    /// The verb (`get`, `list`, `approve`, …).
    pub verb: &'a str,
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The resource in plural form; empty for a request outside the resources.
    pub resource: &'a str,
    /// The subresource; empty for the resource itself.
    pub subresource: &'a str,
    /// The namespace; empty for cluster scope or all namespaces.
    pub namespace: &'a str,
    /// The object's name; empty for all.
    pub name: &'a str,
    /// The path, for a request outside the resources.
    pub path: &'a str,
}

/// The one place that decides whether a request may go on.
///
/// Until rules exist everybody with credentials may do everything, and nobody else may do anything but ask
/// for health and version.
///
/// # Errors
/// A 403 that names the user and what was asked.
pub fn authorize(identity: &Identity, wanted: &Attributes<'_>) -> Result<(), ApiError> {
    let open = matches!(wanted.path, "/version" | "/healthz" | "/livez" | "/readyz");
    if !identity.is_anonymous() || (wanted.resource.is_empty() && open) {
        return Ok(());
    }
    let user = Identity::ANONYMOUS;
    if wanted.resource.is_empty() {
        let why = format!("User \"{user}\" cannot {} path \"{}\"", wanted.verb, wanted.path);
        return Err(ApiError::forbidden("", "", "", &why));
    }
    let resource = match wanted.subresource {
        "" => wanted.resource.to_owned(),
        sub => format!("{}/{sub}", wanted.resource),
    };
    let scope = match wanted.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let why = format!(
        "User \"{user}\" cannot {} resource \"{resource}\" in API group \"{}\" {scope}",
        wanted.verb, wanted.group
    );
    Err(ApiError::forbidden(wanted.group, wanted.resource, wanted.name, &why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(entries: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in entries {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    /// `kubectl --as` that is ignored would show a user more than they may see.
    #[test]
    fn who_is_impersonated_asks() {
        let admin = Identity::admin("root");
        assert_eq!(admin.clone().impersonating(&headers(&[])).unwrap(), admin);
        let bob = [("impersonate-user", "bob"), ("impersonate-group", "devs"), ("impersonate-group", "ops")];
        let bob = admin.clone().impersonating(&headers(&bob)).unwrap();
        assert_eq!(
            (bob.user.as_str(), bob.groups),
            ("bob", ["devs", "ops", "system:authenticated"].map(String::from).to_vec())
        );
        let refused = Identity::anonymous().impersonating(&headers(&[("impersonate-user", "root")]));
        assert_eq!(refused.unwrap_err().code(), 403);
        let nobody = admin.impersonating(&headers(&[("impersonate-group", "system:masters")]));
        assert_eq!(nobody.unwrap_err().code(), 400);
    }
}
