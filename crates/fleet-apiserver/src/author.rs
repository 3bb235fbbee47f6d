//! Who last changed what an object says, written on it by the server.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::dispatch::Call;
use crate::object::ObjectExt;

/// What of an object is somebody's to have said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authored {
    /// Nothing: no author is kept.
    Nothing,
    /// Everything but metadata and status, and the annotations of these names.
    Content(&'static [&'static str]),
    /// Labels and annotations, too.
    Everything,
}

/// Says what of a kind, by group and plural, is somebody's to have said.
pub type AuthoredKinds = Arc<dyn Fn(&str, &str) -> Authored + Send + Sync>;

/// The value of [`AuthorStamp::history`] after a change: from the value before, the user and the time.
pub type AuthorHistory = Arc<dyn Fn(Option<&str>, &str, Timestamp) -> String + Send + Sync>;

/// How authors are recorded: two annotations, which only the server writes.
#[derive(Clone)]
pub struct AuthorStamp {
    /// The cluster whose objects have authors.
    pub cluster: String,
    /// The annotation with the last author.
    pub annotation: String,
    /// The annotation with all of them.
    pub history: String,
    /// What is written there.
    pub remember: AuthorHistory,
    /// Which kinds.
    pub kinds: AuthoredKinds,
}

impl fmt::Debug for AuthorStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorStamp")
            .field("cluster", &self.cluster)
            .field("annotation", &self.annotation)
            .finish_non_exhaustive()
    }
}

impl AuthorStamp {
    fn covers(&self, call: &Call<'_>) -> Authored {
        match call.cluster {
            Some(cluster) if *cluster.name == *self.cluster => {
                (self.kinds)(call.kind.group(), &call.kind.plural)
            }
            _ => Authored::Nothing,
        }
    }

    /// Whether two states of an object say the same.
    fn same(&self, authored: Authored, old: &Value, new: &Value) -> bool {
        if !same_but(old.as_object(), new.as_object(), &["metadata", "status"]) {
            return false;
        }
        fn annotation<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
            object.meta("annotations").and_then(|all| all.get(name))
        }
        match authored {
            Authored::Nothing => true,
            Authored::Content(names) => {
                names.iter().all(|name| annotation(old, name) == annotation(new, name))
            }
            Authored::Everything => {
                let [before, after] =
                    [old, new].map(|object| object.meta("annotations").and_then(Value::as_object));
                old.meta("labels") == new.meta("labels")
                    && same_but(before, after, &[&self.annotation, &self.history])
            }
        }
    }
}

/// Whether two maps hold the same but for these names. Nothing is copied: it is asked at every write.
fn same_but(one: Option<&Map<String, Value>>, two: Option<&Map<String, Value>>, but: &[&str]) -> bool {
    let counted = |map: Option<&'_ Map<String, Value>>| {
        map.map_or(0, |map| map.keys().filter(|name| !but.contains(&name.as_str())).count())
    };
    let mut kept = one.into_iter().flatten().filter(|(name, _)| !but.contains(&name.as_str()));
    counted(one) == counted(two) && kept.all(|(name, value)| two.and_then(|two| two.get(name)) == Some(value))
}

/// Takes back what the client wrote as the author.
pub(crate) fn restore(call: &Call<'_>, old: Option<&Value>, new: &mut Value) {
    let Some(stamp) = call.server.options.author.as_ref() else { return };
    if stamp.covers(call) != Authored::Nothing {
        for annotation in [&stamp.annotation, &stamp.history] {
            let before = old.and_then(|old| old.meta("annotations")?.get(annotation)).cloned();
            write(new, annotation, before);
        }
    }
}

/// Puts the author on a new object, or on one that says something else now. It comes after the owners of fields are
/// recorded: nobody owns it, so nobody's apply takes it away.
pub(crate) fn stamp(call: &Call<'_>, old: Option<&Value>, new: &mut Value) {
    let Some(stamp) = call.server.options.author.as_ref() else { return };
    let authored = stamp.covers(call);
    let changed = || old.is_none_or(|old| !stamp.same(authored, old, new));
    if authored != Authored::Nothing && changed() {
        let user = &call.identity.user;
        write(new, &stamp.annotation, Some(Value::String(user.clone())));
        let before = old.and_then(|old| old.meta("annotations")?.get(&stamp.history)?.as_str());
        let history = (stamp.remember)(before, user, call.server.now());
        write(new, &stamp.history, Some(Value::String(history)));
    }
}

fn write(object: &mut Value, name: &str, author: Option<Value>) {
    let Some(metadata) = object.meta_mut() else { return };
    let given = metadata.get_mut("annotations").and_then(Value::as_object_mut);
    match (author, given) {
        (Some(author), Some(annotations)) => {
            annotations.insert(name.to_owned(), author);
        }
        (Some(author), None) => {
            metadata.insert("annotations".to_owned(), Map::from_iter([(name.to_owned(), author)]).into());
        }
        (None, Some(annotations)) => {
            annotations.remove(name);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
        (None, None) => {}
    }
}
