//! What is on a member and isn't ours: one list stands for as many reads as objects are delivered for the first time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_api::{ObjectId, names};
use kube::ResourceExt as _;
use kube::api::ListParams;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::observe::Kind;
use crate::{Member, MemberError};

/// So long a list counts: about as long as a read and the apply after it may take on a member that is busy.
const COUNTS: Duration = Duration::from_secs(2);
/// Where more than so many objects are others', each object is asked for by itself.
const MOST: u32 = 500;

/// The lists that count.
#[derive(Default)]
pub(crate) struct Others(Mutex<BTreeMap<Listed, Arc<List>>>);

/// What a list is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    kind: Kind,
    namespace: String,
    /// Whose objects it leaves out.
    owner: String,
}

struct List {
    began: Instant,
    /// The names; nothing where they can't be told.
    names: OnceCell<Option<BTreeSet<String>>>,
}

impl Others {
    /// The list that counts now, or one that is to be made.
    fn of(&self, listed: Listed, now: Instant) -> Arc<List> {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|_, list| now.duration_since(list.began) < COUNTS);
        let list = lists.entry(listed);
        Arc::clone(list.or_insert_with(|| Arc::new(List { began: now, names: OnceCell::new() })))
    }
}

impl Member {
    /// Whether an object may be there that isn't this owner's. Where it isn't, that was so at most 2 seconds ago. Whoever
    /// asks within that time about the same kind and namespace shares one list of metadata, so this is for many objects
    /// at once; where that can't be had, or shows too many, the answer is that it may.
    pub async fn may_have_of_another(self: &Arc<Self>, id: &ObjectId, owner: &str) -> bool {
        let kind = (id.api_version.clone(), id.kind.clone());
        let listed = Listed { kind, namespace: id.namespace.clone(), owner: owner.to_owned() };
        let list = self.others.of(listed, Instant::now());
        let names = list.names.get_or_init(|| async {
            self.list_others(id, owner).await.unwrap_or_else(|error| {
                tracing::debug!(cluster = self.name(), %error, "objects are asked for one by one");
                None
            })
        });
        names.await.as_ref().is_none_or(|names| names.contains(&id.name))
    }

    async fn list_others(
        self: &Arc<Self>,
        id: &ObjectId,
        owner: &str,
    ) -> Result<Option<BTreeSet<String>>, MemberError> {
        let api = self.api(id).await?;
        let params = ListParams::default().labels(&format!("{}!={owner}", names::OWNER)).limit(MOST);
        let found = self.ask("list", id, api.list_metadata(&params)).await?;
        let more = found.metadata.continue_.is_some_and(|token| !token.is_empty());
        Ok((!more).then(|| found.items.iter().map(|object| object.name_any()).collect()))
    }
}
