//! Who changed what on the hub: which kinds have an author there.

use std::sync::Arc;

use fleet_api::{authorship, names};
use fleet_apiserver::{Advisor, ApiServer, AuthorStamp, Authored};

/// What the hub records of authors: who last changed the content of what Applications are made of.
pub fn stamp() -> AuthorStamp {
    AuthorStamp {
        cluster: ApiServer::HUB.to_owned(),
        annotation: names::AUTHOR.to_owned(),
        history: names::AUTHORS.to_owned(),
        remember: Arc::new(authorship::after),
        kinds: Arc::new(authored),
    }
}

/// What the hub warns of when it is written: what the controller would say of it anyway.
pub fn advisor() -> Advisor {
    Advisor { cluster: ApiServer::HUB.to_owned(), advice: Arc::new(fleet_controller::advise) }
}

/// What of a kind somebody has said. Everything that an Application may refer to is somebody's; what the control plane
/// and the cluster write themselves is nobody's.
fn authored(group: &str, plural: &str) -> Authored {
    match (group, plural) {
        ("core.oam.dev", "applications" | "policies" | "workflows") => {
            Authored::Content(&[names::SERVICE_ACCOUNT])
        }
        (
            "core.oam.dev"
            | "fleetctl.dev"
            | "cluster.open-cluster-management.io"
            | "admissionregistration.k8s.io"
            | "apiregistration.k8s.io"
            | "authentication.k8s.io"
            | "authorization.k8s.io"
            | "coordination.k8s.io"
            | "discovery.k8s.io"
            | "events.k8s.io"
            | "metrics.k8s.io",
            _,
        )
        | ("", "events" | "nodes" | "endpoints" | "bindings" | "componentstatuses") => Authored::Nothing,
        _ => Authored::Everything,
    }
}
