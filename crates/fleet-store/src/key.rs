//! What an object is called, and sets of such names.

use std::fmt;
use std::sync::Arc;

/// The name of one object in the whole store. Ordered by cluster, resource, namespace, name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The cluster that holds the object.
    pub cluster: Arc<str>,
    /// Resource with group, as in `deployments.apps`, or plain for the core group, as in `pods`.
    pub resource: Arc<str>,
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
}

impl Key {
    /// A key from anything that turns into shared strings.
    pub fn new(
        cluster: impl Into<Arc<str>>,
        resource: impl Into<Arc<str>>,
        namespace: impl Into<Arc<str>>,
        name: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            cluster: cluster.into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Bytes that the four names take.
    pub(crate) fn size(&self) -> usize {
        self.cluster.len() + self.resource.len() + self.namespace.len() + self.name.len()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/", self.cluster, self.resource)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// A set of objects of one resource, as a list or a watch asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// One cluster; `None` means all clusters.
    pub cluster: Option<Arc<str>>,
    /// Resource with group, as in [`Key::resource`].
    pub resource: Arc<str>,
    /// One namespace; `None` means all namespaces.
    pub namespace: Option<Arc<str>>,
    /// One name; `None` means all names.
    pub name: Option<Arc<str>>,
}

impl Range {
    /// All objects of a resource in one cluster.
    pub fn cluster(cluster: impl Into<Arc<str>>, resource: impl Into<Arc<str>>) -> Self {
        Self { cluster: Some(cluster.into()), resource: resource.into(), namespace: None, name: None }
    }

    /// All objects of a resource in all clusters.
    pub fn everywhere(resource: impl Into<Arc<str>>) -> Self {
        Self { cluster: None, resource: resource.into(), namespace: None, name: None }
    }

    /// The same range, cut down to one namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The same range, cut down to one name.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether the range holds the key.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.resource == key.resource
            && self.cluster.as_ref().is_none_or(|cluster| *cluster == key.cluster)
            && self.selects(&key.namespace, &key.name)
    }

    /// Whether namespace and name are wanted, cluster and resource being right.
    pub(crate) fn selects(&self, namespace: &str, name: &str) -> bool {
        self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
            && self.name.as_deref().is_none_or(|wanted| wanted == name)
    }
}
