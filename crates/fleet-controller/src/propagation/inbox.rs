//! What others tell the distribution: noted in passing, taken up in its next turn.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fleet_api::{ObjectId, staged};
use fleet_members::MemberEvent;
use fleet_render::KeyRules;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::context::{AppKey, lock};

/// Where it is noted. Everything is a set, so what happens twice is noted once.
pub(crate) struct Inbox {
    /// [`staged::distribution_owner`].
    owner: String,
    noted: Mutex<Noted>,
    /// Which labels and annotations belong to members.
    keys: Mutex<Arc<KeyRules>>,
    woken: Notify,
    /// Cancelled when all Applications are known.
    listed: CancellationToken,
}

/// What was noted since it was taken last.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Somebody takes it.
    open: bool,
    /// Who is in the fleet, and what is known of them, has changed.
    pub(super) clusters: bool,
    /// Who may deliver where has changed.
    pub(super) access: bool,
    /// Other labels and annotations belong to members.
    pub(super) keys: bool,
    /// Members on which everything is to be looked at.
    pub(super) resync: BTreeSet<String>,
    /// Objects of ours on members that have changed.
    pub(super) objects: BTreeSet<(String, ObjectId)>,
    /// Applications that have come, changed or gone.
    pub(super) applications: BTreeSet<AppKey>,
}

impl Inbox {
    pub(crate) fn new(hub_uid: &str) -> Self {
        let owner = staged::distribution_owner(hub_uid);
        Self {
            owner,
            noted: Mutex::default(),
            keys: Mutex::new(Arc::new(KeyRules::builtin().clone())),
            woken: Notify::new(),
            listed: CancellationToken::new(),
        }
    }

    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    fn note(&self, note: impl FnOnce(&mut Noted)) {
        let mut noted = lock(&self.noted);
        // Whoever begins to distribute lists everything.
        if noted.open {
            note(&mut noted);
            drop(noted);
            self.woken.notify_one();
        }
    }

    /// Something happened at a member.
    pub(crate) fn member(&self, event: &MemberEvent) {
        match event {
            MemberEvent::Object { cluster, owner, id } if *owner == self.owner => {
                self.note(|noted| {
                    noted.objects.insert((cluster.clone(), id.clone()));
                });
            }
            MemberEvent::Object { .. } => {}
            MemberEvent::Synced { cluster }
            | MemberEvent::Reachable { cluster }
            | MemberEvent::Unreachable { cluster }
            | MemberEvent::Recognised { cluster } => {
                self.note(|noted| {
                    noted.resync.insert(cluster.clone());
                });
            }
        }
    }

    /// A ManagedCluster has changed.
    pub(crate) fn clusters(&self) {
        self.note(|noted| noted.clusters = true);
    }

    /// Who may deliver where has changed.
    pub(crate) fn access(&self) {
        self.note(|noted| noted.access = true);
    }

    /// These labels and annotations belong to members from now on.
    pub(crate) fn key_rules(&self, rules: KeyRules) {
        *lock(&self.keys) = Arc::new(rules);
        self.note(|noted| noted.keys = true);
    }

    /// Which labels and annotations belong to members.
    pub(super) fn keys(&self) -> Arc<KeyRules> {
        Arc::clone(&lock(&self.keys))
    }

    /// An Application has come, changed or gone.
    pub(crate) fn application(&self, key: AppKey) {
        self.note(|noted| {
            noted.applications.insert(key);
        });
    }

    /// All Applications are known.
    pub(crate) fn applications_listed(&self) {
        self.listed.cancel();
    }

    /// Resolves once all Applications are known: the store itself wakes only one who waits, and that is another.
    pub(super) async fn until_applications_are_listed(&self) {
        self.listed.cancelled().await;
    }

    /// From now on things are noted, until the answer is dropped.
    pub(super) fn open(&self) -> Open<'_> {
        *lock(&self.noted) = Noted { open: true, ..Noted::default() };
        Open(self)
    }

    pub(super) fn take(&self) -> Noted {
        let mut noted = lock(&self.noted);
        let open = noted.open;
        std::mem::replace(&mut *noted, Noted { open, ..Noted::default() })
    }

    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }
}

/// As long as it lives, things are noted.
pub(super) struct Open<'a>(&'a Inbox);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        *lock(&self.0.noted) = Noted::default();
    }
}
