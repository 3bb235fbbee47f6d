//! Rights on a cluster, and asking its authorizer for them.

use std::fmt;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};

use crate::access::Cluster;
use crate::exit::Outcome;

/// How many questions are asked at once.
const AT_ONCE: usize = 8;

/// One verb on one resource. `*` stands for all of a kind of thing, as in RBAC.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) verb: &'static str,
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
    /// Empty for all namespaces, and for what has none.
    pub(crate) namespace: String,
    /// Empty for all names.
    pub(crate) name: String,
}

impl Right {
    pub(crate) fn new(verb: &'static str, group: &'static str, resource: &'static str) -> Self {
        Self { verb, group, resource, ..Self::default() }
    }

    pub(crate) fn within(self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self }
    }

    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    fn review(&self) -> SelfSubjectAccessReview {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let attributes = ResourceAttributes {
            verb: some(self.verb),
            group: Some(self.group.to_owned()),
            resource: some(resource),
            subresource: some(subresource),
            namespace: some(&self.namespace),
            name: some(&self.name),
            ..ResourceAttributes::default()
        };
        SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.resource, self.group) {
            ("*", _) => "everything".to_owned(),
            (resource, "") => resource.to_owned(),
            (resource, group) => format!("{resource}.{group}"),
        };
        write!(f, "{} {what}", self.verb)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if !self.namespace.is_empty() {
            write!(f, " in {}", self.namespace)?;
        }
        Ok(())
    }
}

/// A right, or several others that do as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) right: Right,
    /// All of them together do as well; none where it is empty.
    pub(crate) or_all: Vec<Right>,
}

impl From<Right> for Need {
    fn from(right: Right) -> Self {
        Self { right, or_all: Vec::new() }
    }
}

/// Those of the rights that whoever asks doesn't have, in the order given.
///
/// # Errors
/// Where the cluster doesn't answer.
pub(crate) async fn missing(cluster: &Cluster, rights: &[Right]) -> Outcome<Vec<Right>> {
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let asked = futures::stream::iter(rights).map(|right| {
        let (api, review) = (api.clone(), right.review());
        async move {
            let answer = cluster.ask("may we", api.create(&PostParams::default(), &review)).await?;
            Outcome::Ok(answer.status.is_some_and(|status| status.allowed))
        }
    });
    let allowed: Vec<bool> = asked.buffered(AT_ONCE).try_collect().await?;
    Ok(rights.iter().zip(allowed).filter(|(_, allowed)| !allowed).map(|(right, _)| right.clone()).collect())
}

/// Those of the needs that aren't met.
///
/// # Errors
/// Where the cluster doesn't answer.
pub(crate) async fn unmet(cluster: &Cluster, needs: &[Need]) -> Outcome<Vec<Need>> {
    let rights: Vec<Right> = needs.iter().map(|need| need.right.clone()).collect();
    let lacking = missing(cluster, &rights).await?;
    let mut unmet = Vec::new();
    for need in needs.iter().filter(|need| lacking.contains(&need.right)) {
        if need.or_all.is_empty() || !missing(cluster, &need.or_all).await?.is_empty() {
            unmet.push(need.clone());
        }
    }
    Ok(unmet)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A missing right must be named so that an administrator can grant it.
    #[test]
    fn rights_read_as_kubectl_says_them() {
        for (right, said) in [
            (Right::new("create", "", "namespaces"), "create namespaces"),
            (
                Right::new("patch", "rbac.authorization.k8s.io", "roles").within("web"),
                "patch roles.rbac.authorization.k8s.io in web",
            ),
            (Right::new("get", "", "namespaces").named("kube-system"), "get namespaces kube-system"),
            (Right::new("delete", "*", "*").within("web"), "delete everything in web"),
        ] {
            assert_eq!(right.to_string(), said);
        }
    }
}
