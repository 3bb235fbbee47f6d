//! What a namespace that is going says about what is still in it. Pure; wording and order are Kubernetes'.

use serde_json::{Value, json};

use super::Counts;

/// What is still in a namespace.
#[derive(Debug, Default)]
pub(super) struct Remaining {
    objects: Counts,
    finalizers: Counts,
}

impl Remaining {
    /// Counts an object of a resource (`pods.`, `deployments.apps`).
    pub(super) fn add(&mut self, resource: &str, finalizers: &[String]) {
        *self.objects.entry(resource.to_owned()).or_default() += 1;
        for finalizer in finalizers {
            *self.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

fn counted(counts: &Counts, between: &str) -> String {
    let parts: Vec<String> =
        counts.iter().map(|(name, count)| format!("{name} {between} {count} resource instances")).collect();
    parts.join(", ")
}

/// The conditions after those that were there. The time of one that says what it said is kept.
pub(super) fn conditions(
    before: &[Value],
    remaining: &Remaining,
    failure: Option<&str>,
    now: &str,
) -> Vec<Value> {
    let deletion = match failure {
        None => (
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".into(),
        ),
        Some(why) => ("True", "ContentDeletionFailed", format!("Failed to delete all resource types: {why}")),
    };
    let objects = match remaining.objects.is_empty() {
        true => ("False", "ContentRemoved", "All content successfully removed".into()),
        false => (
            "True",
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", counted(&remaining.objects, "has")),
        ),
    };
    let finalizers = match remaining.finalizers.is_empty() {
        true => ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished".into()),
        false => (
            "True",
            "SomeFinalizersRemain",
            format!(
                "Some content in the namespace has finalizers remaining: {}",
                counted(&remaining.finalizers, "in")
            ),
        ),
    };
    let discovered = ("False", "ResourcesDiscovered", "All resources successfully discovered".to_owned());
    let parsed = ("False", "ParsedGroupVersions", "All legacy kube types successfully parsed".to_owned());
    let ours = [
        ("NamespaceDeletionDiscoveryFailure", discovered),
        ("NamespaceDeletionGroupVersionParsingFailure", parsed),
        ("NamespaceDeletionContentFailure", deletion),
        ("NamespaceContentRemaining", objects),
        ("NamespaceFinalizersRemaining", finalizers),
    ];
    let is_ours = |condition: &Value| {
        ours.iter().any(|(name, _)| condition.get("type").and_then(Value::as_str) == Some(name))
    };
    let mut after: Vec<Value> = before.iter().filter(|condition| !is_ours(condition)).cloned().collect();
    for (name, (status, reason, message)) in &ours {
        let same = before.iter().find(|condition| {
            condition.get("type").and_then(Value::as_str) == Some(name)
                && condition.get("status").and_then(Value::as_str) == Some(status)
        });
        let since = same.and_then(|condition| condition.get("lastTransitionTime")).cloned();
        after.push(json!({
            "type": name, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since.unwrap_or_else(|| json!(now)),
        }));
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A condition that changed at every look would write, wake itself, and never come to rest.
    #[test]
    fn the_same_content_says_the_same_and_names_what_stays() {
        let mut remaining = Remaining::default();
        remaining.add("widgets.example.com", &["example.com/hold".into()]);
        remaining.add("pods.", &[]);
        remaining.add("pods.", &[]);
        let foreign = json!({"type": "Mine", "status": "True"});
        let first = conditions(std::slice::from_ref(&foreign), &remaining, None, "2026-01-01T00:00:00Z");
        assert_eq!(first[0], foreign);
        let texts: Vec<&str> = first.iter().filter_map(|condition| condition["message"].as_str()).collect();
        assert_eq!(
            texts[3..],
            [
                "Some resources are remaining: pods. has 2 resource instances, widgets.example.com has 1 resource instances",
                "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
            ]
        );
        assert_eq!(conditions(&first, &remaining, None, "2027-01-01T00:00:00Z"), first);
        let last = conditions(&first, &Remaining::default(), Some("no"), "2027-01-01T00:00:00Z");
        assert_eq!(last[3]["status"], "True");
        assert_eq!(last[3]["lastTransitionTime"], "2027-01-01T00:00:00Z");
        assert_eq!(last[1]["lastTransitionTime"], "2026-01-01T00:00:00Z");
    }
}
