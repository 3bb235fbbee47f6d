//! One logical cluster: its name, its profile, its registry, and whether it answers.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::admission::addresses::Taken;
use crate::crd::KnownDefinitions;
use crate::registry::Registry;

/// What a cluster is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterProfile {
    /// Whether workloads run here: Services get addresses, Ingresses a default class, and the wildcard cluster
    /// shows its objects. False on the hub, where such objects are inert data.
    pub workloads: bool,
}

/// Whether a cluster answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Reachable,
    Unreachable,
    Removed,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) name: Arc<str>,
    pub(crate) profile: ClusterProfile,
    registry: RwLock<Arc<Registry>>,
    life: watch::Sender<Life>,
    /// The custom resource definitions as they were last read. Locked while they are read anew, so that registries
    /// follow the store's order.
    pub(crate) definitions: Mutex<KnownDefinitions>,
    /// What Services have taken; read when the first is created.
    pub(crate) addresses: Mutex<Option<Taken>>,
    /// The admission policies in force.
    pub(crate) policies: crate::policy::Known,
}

impl Cluster {
    pub(crate) fn new(name: &str, profile: ClusterProfile, registry: Arc<Registry>) -> Self {
        Self {
            name: name.into(),
            profile,
            registry: RwLock::new(registry),
            life: watch::Sender::new(Life::Reachable),
            definitions: Mutex::default(),
            addresses: Mutex::default(),
            policies: crate::policy::Known::default(),
        }
    }

    /// The same cluster in a server over a fork of the store: nothing is read or compiled again.
    pub(crate) fn fork(&self) -> Self {
        let fork = Self::new(&self.name, self.profile, self.registry());
        *fork.definitions.lock() = self.definitions.lock().clone();
        fork
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.read())
    }

    pub(crate) fn set_registry(&self, registry: Arc<Registry>) {
        *self.registry.write() = registry;
    }

    pub(crate) fn set_life(&self, life: Life) {
        self.life.send_if_modified(|now| {
            let changes = *now != life && *now != Life::Removed;
            if changes {
                *now = life;
            }
            changes
        });
    }

    /// Whether some custom resource definition waits for its objects to go.
    pub(crate) fn has_terminating_definitions(&self) -> bool {
        self.definitions.lock().has_terminating()
    }

    pub(crate) fn pulse(&self) -> Pulse {
        Pulse(self.life.subscribe())
    }
}

/// Tells a request whether its cluster still answers.
#[derive(Debug, Clone)]
pub(crate) struct Pulse(watch::Receiver<Life>);

impl Pulse {
    /// Whether the cluster has answered without a break since this pulse was taken.
    pub(crate) fn is_steady(&self) -> bool {
        *self.0.borrow() == Life::Reachable && !self.0.has_changed().unwrap_or(true)
    }

    /// Resolves when a cluster that doesn't answer has changed its mind.
    pub(crate) async fn back(&mut self) {
        while *self.0.borrow_and_update() == Life::Unreachable {
            if self.0.changed().await.is_err() {
                return;
            }
        }
    }

    /// Resolves as soon as the cluster stops answering.
    pub(crate) async fn stopped(&mut self) {
        while *self.0.borrow_and_update() == Life::Reachable {
            if self.0.changed().await.is_err() {
                return;
            }
        }
    }
}
