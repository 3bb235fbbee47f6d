//! The kinds that the simulator knows, and where the API has them.

/// A kind that is watched, written or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` ReplicaSet.
    ReplicaSet,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `batch/v1` Job.
    Job,
    /// `v1` Pod.
    Pod,
    /// `v1` Service.
    Service,
    /// `networking.k8s.io/v1` Ingress.
    Ingress,
    /// `networking.k8s.io/v1` IngressClass.
    IngressClass,
    /// `v1` PersistentVolumeClaim.
    PersistentVolumeClaim,
    /// `v1` Node.
    Node,
    /// `v1` Endpoints: written, not watched.
    Endpoints,
    /// `discovery.k8s.io/v1` EndpointSlice: written, not watched.
    EndpointSlice,
}

impl Kind {
    /// The kinds that are watched.
    pub const WATCHED: [Self; 11] = [
        Self::Node,
        Self::IngressClass,
        Self::Deployment,
        Self::ReplicaSet,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::Job,
        Self::Pod,
        Self::Service,
        Self::Ingress,
        Self::PersistentVolumeClaim,
    ];

    /// The kind's name in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// Group and version, as in `apps/v1`.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        self.row().1
    }

    /// The name in URLs.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        self.row().2
    }

    /// Whether objects of this kind live in namespaces.
    #[must_use]
    pub const fn namespaced(self) -> bool {
        !matches!(self, Self::Node | Self::IngressClass)
    }

    /// The watched kind of this name, as an owner reference gives it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::WATCHED.into_iter().find(|kind| kind.name() == name)
    }

    /// The path of one object, or of the collection where `name` is empty. Without a namespace: over all namespaces.
    #[must_use]
    pub fn path(self, namespace: &str, name: &str) -> String {
        let root = if self.api_version().contains('/') { "/apis/" } else { "/api/" };
        let mut path = format!("{root}{}", self.api_version());
        if self.namespaced() && !namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(self.plural());
        if !name.is_empty() {
            path.push('/');
            path.push_str(name);
        }
        path
    }

    const fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Deployment => ("Deployment", "apps/v1", "deployments"),
            Self::ReplicaSet => ("ReplicaSet", "apps/v1", "replicasets"),
            Self::StatefulSet => ("StatefulSet", "apps/v1", "statefulsets"),
            Self::DaemonSet => ("DaemonSet", "apps/v1", "daemonsets"),
            Self::Job => ("Job", "batch/v1", "jobs"),
            Self::Pod => ("Pod", "v1", "pods"),
            Self::Service => ("Service", "v1", "services"),
            Self::Ingress => ("Ingress", "networking.k8s.io/v1", "ingresses"),
            Self::IngressClass => ("IngressClass", "networking.k8s.io/v1", "ingressclasses"),
            Self::PersistentVolumeClaim => ("PersistentVolumeClaim", "v1", "persistentvolumeclaims"),
            Self::Node => ("Node", "v1", "nodes"),
            Self::Endpoints => ("Endpoints", "v1", "endpoints"),
            Self::EndpointSlice => ("EndpointSlice", "discovery.k8s.io/v1", "endpointslices"),
        }
    }
}
