//! An object as it is to stand on one cluster: replicas, overrides, our labels.

use std::sync::Arc;

use fleet_api::propagation::ClusterAffinity;
use fleet_api::{Provenance, Source as Origin, names};
use fleet_json::{Compact, ContentHash};
use fleet_placement::{Affinity, Fleet, Problems, pieces};
use fleet_propagation::{OverridePolicy, Precision};
use fleet_render::{MatchingOverride, Overridden, OverriderError, OverriderProblem, apply_overriders};
use fleet_schema::behaviour::fold_string_data;
use serde_json::{Value, json};

use super::items::{Plain, Standing};

use super::sources::Source;

/// An object for one cluster, and which override policies changed it.
pub(super) struct Rendered {
    pub(super) object: Compact,
    pub(super) content: String,
    /// The policies that are about it there, as they are told.
    pub(super) changed_by: Vec<String>,
    pub(super) warnings: Vec<OverriderProblem>,
}

/// How overrides name a policy's kind: with its group where it isn't our own.
pub(super) fn kind_of(policy: &OverridePolicy) -> String {
    let kind = policy.id.kind.as_str();
    if fleet_api::propagation::GROUPS.first() == Some(&policy.id.group.as_str()) {
        return kind.to_owned();
    }
    format!("{kind}.{}", policy.id.group)
}

/// Renders for a cluster. `replicas` replaces what the object asks for.
///
/// # Errors
/// The first override that can't be made.
pub(super) fn render(
    source: &Source,
    replicas: Option<u64>,
    overrides: &[(Arc<OverridePolicy>, Precision)],
    cluster: &str,
    fleet: &Fleet,
) -> Result<Rendered, OverriderError> {
    let mut object = replicated(source, replicas);
    let (mut changed_by, mut warnings) = (Vec::new(), Vec::new());
    if !overrides.is_empty() {
        let done = overridden(&object, overrides, cluster, fleet)?;
        for step in done.steps {
            if !changed_by.contains(&step.policy) {
                changed_by.push(step.policy);
            }
        }
        warnings = done.warnings;
        object = done.object;
    }
    let content = ContentHash::of_value(&object).short();
    Ok(Rendered { object: Compact::of(&object), content, changed_by, warnings })
}

impl Plain {
    /// As it stands on any cluster with so many replicas: rendered now, or as it was for another.
    pub(super) fn standing(
        &mut self,
        source: &Source,
        replicas: Option<u64>,
        takes_over: bool,
    ) -> Arc<Standing> {
        if !self.from.as_ref().is_some_and(|from| from.is_same(&source.content)) {
            *self = Self { from: Some(source.content.clone()), made: Vec::new() };
        }
        let fits = |made: &&Arc<Standing>| made.replicas == replicas && made.takes_over == takes_over;
        if let Some(made) = self.made.iter().find(fits) {
            return Arc::clone(made);
        }
        let object = replicated(source, replicas);
        let content = ContentHash::of_value(&object).short();
        let object = if replicas.is_some() { Compact::of(&object) } else { source.content.clone() };
        let made = Arc::new(Standing { object, content, takes_over, replicas });
        self.made.push(Arc::clone(&made));
        made
    }
}

/// An object with the replicas of a cluster, where they are divided.
pub(super) fn replicated(source: &Source, replicas: Option<u64>) -> Value {
    let mut object = source.content.read();
    if let Some(replicas) = replicas {
        pieces::set(&mut object, replicas, source.replicas.unwrap_or(replicas));
    }
    object
}

/// An object as override policies make it for a cluster.
///
/// # Errors
/// The first override that can't be made.
pub(super) fn overridden(
    object: &Value,
    overrides: &[(Arc<OverridePolicy>, Precision)],
    cluster: &str,
    fleet: &Fleet,
) -> Result<Overridden, OverriderError> {
    let kinds: Vec<String> = overrides.iter().map(|(policy, _)| kind_of(policy)).collect();
    let matching: Vec<MatchingOverride<'_>> = overrides
        .iter()
        .zip(&kinds)
        .map(|((policy, precision), kind)| MatchingOverride {
            kind,
            namespace: &policy.id.namespace,
            name: &policy.id.name,
            precision: *precision,
            spec: &policy.spec,
        })
        .collect();
    let at = fleet.resolve(cluster).ok();
    let here = |affinity: &ClusterAffinity| {
        let read = Affinity::read(affinity, "", &mut Problems::default());
        at.is_some_and(|at| read.members(fleet).contains(&at))
    };
    let mut done = apply_overriders(object, Provenance::new(Origin::Referenced), &matching, here)?;
    // An object of the hub has none, but an override may bring it.
    fold_string_data(&mut done.object);
    Ok(done)
}

impl Rendered {
    /// The object as it is sent, the policies that changed it, and what they couldn't.
    pub(super) fn parts(
        self,
        takes_over: bool,
        replicas: Option<u64>,
    ) -> (Arc<Standing>, Vec<String>, Vec<OverriderProblem>) {
        let standing = Standing { object: self.object, content: self.content, takes_over, replicas };
        (Arc::new(standing), self.changed_by, self.warnings)
    }
}

impl Standing {
    /// The object as it is sent.
    pub(super) fn sent(&self, owner: &str) -> Value {
        label(self.object.read(), owner, &self.content)
    }
}

/// An object as policies have it sent: it says whose it is, and a hash of what it says. Labels of the object itself, since an
/// annotation would move its generation.
#[must_use]
pub fn labelled(object: Value, owner: &str) -> Value {
    let content = ContentHash::of_value(&object).short();
    label(object, owner, &content)
}

fn label(mut object: Value, owner: &str, content: &str) -> Value {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return object };
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if !labels.is_object() {
        *labels = json!({});
    }
    if let Some(labels) = labels.as_object_mut() {
        labels.insert(names::OWNER.to_owned(), json!(owner));
        labels.insert(names::CONTENT.to_owned(), json!(content));
    }
    object
}

#[cfg(test)]
mod tests {
    use fleet_render::KeyRules;
    use kube::api::DynamicObject;

    use super::*;

    fn source(replicas: u64) -> Source {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "demo"}, "spec": {"replicas": replicas},
            "status": {"readyReplicas": 1}});
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        Source::read("apps/v1", "Deployment", object, KeyRules::builtin()).unwrap()
    }

    /// Broken: each cluster has a rendering and a copy of its own, or one of what the object said before.
    #[test]
    fn what_is_the_same_on_clusters_is_rendered_once() {
        let (mut plain, four) = (Plain::default(), source(4));
        let all = plain.standing(&four, None, false);
        for _ in 0..3 {
            assert!(Arc::ptr_eq(&all, &plain.standing(&four, None, false)));
        }
        let part = plain.standing(&four, Some(1), false);
        assert!(Arc::ptr_eq(&part, &plain.standing(&four, Some(1), false)));
        assert_eq!(part.object.read().pointer("/spec/replicas"), Some(&json!(1)));
        assert!(plain.standing(&four, None, true).takes_over);
        assert_eq!(plain.made.len(), 3);
        let five = plain.standing(&source(5), None, false);
        assert_eq!(five.object.read().pointer("/spec/replicas"), Some(&json!(5)));
        assert_ne!(five.content, all.content);
        assert_eq!(plain.made.len(), 1);
    }

    /// Broken: objects are held as trees, several times as large as what they say.
    #[test]
    fn an_object_is_held_as_its_text() {
        let (mut plain, source) = (Plain::default(), source(4));
        let standing = plain.standing(&source, None, false);
        assert!(source.content.as_str().len() < 400, "{:?}", source.content);
        assert!(standing.object.is_same(&source.content), "a second copy of what nothing changes");
    }
}
