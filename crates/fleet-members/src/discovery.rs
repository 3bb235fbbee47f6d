//! Which kinds a member has besides those that every cluster has: asked for once, and again where one is missing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use fleet_api::ObjectId;
use kube::core::discovery::v2::APIGroupDiscoveryList;
use kube::core::{ApiResource, GroupVersionKind};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::resource::{KnownKinds, ResourcePath};
use crate::{Member, MemberError};

/// A kind that wasn't there isn't asked for again within this time.
const MISS_PAUSE: Duration = Duration::from_secs(1);
/// The whole document isn't asked for again within this time.
const DOCUMENT_PAUSE: Duration = Duration::from_secs(30);

/// By group/version and kind.
type Kind = (String, String);
type Document = BTreeMap<Kind, ResourcePath>;

/// Documents that members have in common: most fleets have the same kinds everywhere.
#[derive(Default)]
pub(crate) struct Library(Mutex<Vec<Weak<Document>>>);

impl Library {
    /// The same document, if any member has it already.
    fn share(&self, document: Document) -> Arc<Document> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.retain(|known| known.strong_count() > 0);
        if let Some(same) = shelf.iter().filter_map(Weak::upgrade).find(|known| **known == document) {
            return same;
        }
        let document = Arc::new(document);
        shelf.push(Arc::downgrade(&document));
        document
    }
}

/// What one member is known to have.
#[derive(Default)]
pub(crate) struct Discovered {
    state: Mutex<State>,
    found: Notify,
}

#[derive(Default)]
struct State {
    document: Option<Arc<Document>>,
    asked: Option<Instant>,
    /// Kinds that came after the document.
    later: Document,
    missed: BTreeMap<Kind, Instant>,
}

impl Discovered {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when kinds are found. Ask for it before looking, then wait.
    pub(crate) fn found(&self) -> Notified<'_> {
        self.found.notified()
    }

    fn get(&self, known: &KnownKinds, id: &ObjectId) -> Option<ResourcePath> {
        if let Some((plural, namespaced)) = known(id.group(), id.version(), &id.kind) {
            let gvk = GroupVersionKind::gvk(id.group(), id.version(), &id.kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, &plural);
            return Some(ResourcePath { resource, namespaced });
        }
        let (state, kind) = (self.lock(), kind(id));
        let document = state.document.as_ref().and_then(|document| document.get(&kind));
        document.or_else(|| state.later.get(&kind)).cloned()
    }

    /// Whether the document is to be asked for; who is told so asks.
    fn is_due(&self) -> bool {
        let mut state = self.lock();
        let due = state.asked.is_none_or(|at| at.elapsed() >= DOCUMENT_PAUSE);
        if due {
            state.asked = Some(Instant::now());
        }
        due
    }

    fn missed_lately(&self, id: &ObjectId) -> bool {
        let mut state = self.lock();
        state.missed.retain(|_, at| at.elapsed() < MISS_PAUSE);
        state.missed.contains_key(&kind(id))
    }
}

fn kind(id: &ObjectId) -> Kind {
    (id.api_version.clone(), id.kind.clone())
}

impl Member {
    /// Where a kind lives on this member. Kinds that every cluster has cost no request; the others are asked for once,
    /// all together (KEP-3352), and one by one where they came later.
    ///
    /// # Errors
    /// [`MemberError::UnknownKind`] where the member doesn't have it.
    pub async fn path(self: &Arc<Self>, id: &ObjectId) -> Result<ResourcePath, MemberError> {
        let known = &self.shared.known;
        if let Some(path) = self.discovered.get(known, id) {
            return Ok(path);
        }
        let unknown = || MemberError::UnknownKind {
            cluster: self.name().to_owned(),
            api_version: id.api_version.clone(),
            kind: id.kind.clone(),
        };
        if self.discovered.missed_lately(id) {
            return Err(unknown());
        }
        if self.discovered.is_due() {
            self.discover(id).await?;
            if let Some(path) = self.discovered.get(known, id) {
                return Ok(path);
            }
        }
        let gvk = GroupVersionKind::gvk(id.group(), id.version(), &id.kind);
        let client = self.client();
        let answer =
            self.ask("discover", id, async move { kube::discovery::pinned_kind(&client, &gvk).await }).await;
        match answer {
            Ok((resource, capabilities)) => {
                let namespaced = capabilities.scope == kube::discovery::Scope::Namespaced;
                let path = ResourcePath { resource, namespaced };
                self.discovered.lock().later.insert(kind(id), path.clone());
                self.discovered.found.notify_waiters();
                Ok(path)
            }
            Err(MemberError::Refused { code: 404, .. }) => {
                self.discovered.lock().missed.insert(kind(id), Instant::now());
                Err(unknown())
            }
            Err(other) => Err(other),
        }
    }

    /// Asks for everything that the member has. A server that doesn't know the question is asked kind by kind.
    async fn discover(self: &Arc<Self>, id: &ObjectId) -> Result<(), MemberError> {
        let client = self.client();
        let asked = async move { client.list_api_groups_aggregated().await };
        match self.ask("discover", id, asked).await {
            Ok(list) => {
                let document = self.shared.documents.share(read(&list));
                let mut state = self.discovered.lock();
                state.later.clear();
                state.document = Some(document);
                drop(state);
                self.discovered.found.notify_waiters();
                Ok(())
            }
            Err(error @ (MemberError::Unreachable { .. } | MemberError::Busy { .. })) => {
                self.discovered.lock().asked = None;
                Err(error)
            }
            Err(_) => Ok(()),
        }
    }
}

fn read(list: &APIGroupDiscoveryList) -> Document {
    let mut document = Document::new();
    for group in &list.items {
        let name = group.metadata.as_ref().and_then(|metadata| metadata.name.as_deref()).unwrap_or_default();
        for version in &group.versions {
            let at = version.version.as_deref().unwrap_or_default();
            for resource in &version.resources {
                let (Some(plural), Some(kind)) = (&resource.resource, &resource.response_kind) else {
                    continue;
                };
                let Some(kind) = kind.kind.as_deref().filter(|kind| !kind.is_empty()) else { continue };
                let gvk = GroupVersionKind::gvk(name, at, kind);
                let path = ResourcePath {
                    resource: ApiResource::from_gvk_with_plural(&gvk, plural),
                    namespaced: resource.scope.as_deref() == Some("Namespaced"),
                };
                document.insert((gvk.api_version(), kind.to_owned()), path);
            }
        }
    }
    document
}
