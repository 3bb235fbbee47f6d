//! Who asks.

use std::collections::BTreeMap;

/// Who sends a request. The listener takes it from the client certificate or the bearer token; in process it is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub user: String,
    /// The groups that the user is in.
    pub groups: Vec<String>,
    /// What tells the user from another of the same name; empty where nothing does.
    pub uid: String,
    /// What else is known of the user, as `userInfo.extra` shows it.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// The user of requests without credentials.
    pub const ANONYMOUS: &'static str = "system:anonymous";
    /// The group that may do everything.
    pub const MASTERS: &'static str = "system:masters";
    /// How the user name of every ServiceAccount begins; namespace and name follow, with a `:` between them.
    pub const ACCOUNT_PREFIX: &'static str = "system:serviceaccount:";

    /// A user with groups. Everyone who is somebody is in `system:authenticated` too.
    pub fn new(user: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        let user = user.into();
        let mut groups: Vec<String> = groups.into_iter().collect();
        let own = if user == Self::ANONYMOUS { "system:unauthenticated" } else { "system:authenticated" };
        if !groups.iter().any(|group| group == own) {
            groups.push(own.to_owned());
        }
        Self { user, groups, uid: String::new(), extra: BTreeMap::new() }
    }

    /// A user in `system:masters`.
    pub fn admin(user: impl Into<String>) -> Self {
        Self::new(user, [Self::MASTERS.to_owned()])
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self::new(Self::ANONYMOUS, [])
    }

    /// A ServiceAccount, in the groups that all of them and those of its namespace are in.
    pub fn account(namespace: &str, name: &str) -> Self {
        let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        Self::new(format!("{}{namespace}:{name}", Self::ACCOUNT_PREFIX), groups)
    }

    /// Namespace and name of the ServiceAccount that this user name stands for.
    pub(crate) fn account_of(user: &str) -> Option<(&str, &str)> {
        let (namespace, name) = user.strip_prefix(Self::ACCOUNT_PREFIX)?.split_once(':')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
    }

    /// Whether the request carries no credentials.
    pub fn is_anonymous(&self) -> bool {
        self.user.is_empty() || self.user == Self::ANONYMOUS
    }

    /// Whether every question of what they may do is answered with yes.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == Self::MASTERS)
    }
}
