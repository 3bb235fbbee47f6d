//! Advice about what is written: `Warning` headers, never a refusal.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::dispatch::Call;
use crate::object::ObjectExt;

/// Says what the author of an object should know.
pub type Advice = Arc<dyn Fn(&Value) -> Option<String> + Send + Sync>;

/// Whose objects somebody has advice about.
#[derive(Clone)]
pub struct Advisor {
    /// The cluster.
    pub cluster: String,
    /// What is said.
    pub advice: Advice,
}

impl fmt::Debug for Advisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Advisor").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Warns whoever writes an object that says something else than before.
pub(crate) fn advise(call: &mut Call<'_>, old: Option<&Value>, new: &Value) {
    let Some(advisor) = call.server.options.advisor.as_ref() else { return };
    let here = call.cluster.is_some_and(|cluster| *cluster.name == *advisor.cluster);
    if !here || call.kind.custom.is_none() || old.is_some_and(|old| says_the_same(old, new)) {
        return;
    }
    // Not twice where a write is made anew because somebody came between.
    if let Some(said) = (advisor.advice)(new).filter(|said| !call.warnings.contains(said)) {
        call.warnings.push(said);
    }
}

/// Whether two states say the same: everything but metadata and status, and the annotations.
fn says_the_same(old: &Value, new: &Value) -> bool {
    let said = |object: &Value, name: &str| object.get(name).cloned();
    let fields = |object: &Value| -> Vec<String> {
        let all = object.as_object().into_iter().flatten().map(|(name, _)| name.clone());
        all.filter(|name| !matches!(name.as_str(), "metadata" | "status")).collect()
    };
    fields(old) == fields(new)
        && fields(new).iter().all(|name| said(old, name) == said(new, name))
        && old.meta("annotations") == new.meta("annotations")
}
