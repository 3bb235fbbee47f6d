//! Decides what one object needs next, from what is known of its member. Pure: no clock, no network.

pub mod daemonset;
pub mod deployment;
pub mod endpoints;
pub mod ingress;
pub mod job;
pub mod pod;
mod pods;
pub mod replicaset;
pub mod service;
pub mod statefulset;

use crate::settings::Moment;
use crate::world::Cluster;
use crate::{Decision, Kind, ObjectRef, stages};

/// Decides for one object; nothing if it isn't known.
#[must_use]
pub fn decide(cluster: &Cluster, target: &ObjectRef, moment: Moment<'_>) -> Decision {
    let Some(object) = cluster.get(target) else { return Decision::default() };
    let value = &object.value;
    let pods = || cluster.children(value, Kind::Pod);
    match target.kind {
        Kind::Deployment => {
            let sets = cluster.children(value, Kind::ReplicaSet);
            let pods: Vec<_> = sets.iter().flat_map(|set| cluster.children(&set.value, Kind::Pod)).collect();
            deployment::next(object, &sets, &pods, moment)
        }
        Kind::ReplicaSet => replicaset::next(object, &pods(), moment),
        Kind::StatefulSet => {
            let claim = |name: &str| {
                let claim = ObjectRef::new(Kind::PersistentVolumeClaim, &target.namespace, name);
                cluster.get(&claim).is_some()
            };
            statefulset::next(object, &pods(), &claim, moment)
        }
        Kind::DaemonSet => {
            let nodes: Vec<_> = cluster.of_kind(Kind::Node, None).collect();
            daemonset::next(object, &pods(), &nodes, moment)
        }
        Kind::Job => job::next(object, &pods(), moment),
        Kind::Pod => pod::next(object, cluster.unschedulable(target, value), moment),
        Kind::Service => {
            let services: Vec<_> = cluster.of_kind(Kind::Service, None).collect();
            let pods: Vec<_> = cluster.of_kind(Kind::Pod, Some(&target.namespace)).collect();
            service::next(object, &services, &pods, moment)
        }
        Kind::Ingress => {
            let classes: Vec<_> = cluster.of_kind(Kind::IngressClass, None).collect();
            ingress::next(object, &classes, moment)
        }
        Kind::PersistentVolumeClaim | Kind::Node => {
            let mut decision = Decision::default();
            stages::next(target.kind, object, moment, &mut decision);
            decision
        }
        Kind::IngressClass | Kind::Endpoints | Kind::EndpointSlice => Decision::default(),
    }
}

#[cfg(test)]
mod tests;
