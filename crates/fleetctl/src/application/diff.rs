//! `fleetctl diff`: what two revisions of an Application deliver, and how they differ, field by field.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{ObjectId, RevisionContent, StepContent};
use fleet_plan::{FieldChange, changes_between};
use serde::Serialize;
use serde_json::{Value, json};

use super::plan::{contents, shown};
use super::revisions::{self, Kept};
use super::{Place, notable};
use crate::args::{DiffArgs, Global};
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::output::style::{self, paint};
use crate::version::write;

/// What becomes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Added,
    Changed,
    Removed,
}

/// An object of a component that isn't the same in both.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectDifference {
    component: String,
    #[serde(flatten)]
    id: ObjectId,
    change: Kind,
    /// What an added object says, a field a line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    says: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldChange>,
}

/// Steps that differ in the same way.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct StepDifference {
    steps: Vec<String>,
    objects: Vec<ObjectDifference>,
}

/// Something of the workflow or a policy.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct PartDifference {
    /// `step NAME`, `policy NAME (TYPE)`, `serviceAccount`.
    part: String,
    change: Kind,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldChange>,
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    delivered: Vec<StepDifference>,
    workflow: Vec<PartDifference>,
    policies: Vec<PartDifference>,
}

/// `fleetctl diff`
pub(super) async fn run(environment: &Environment, global: &Global, arguments: &DiffArgs) -> Outcome {
    let place = Place::find(environment, global, &arguments.app).await?;
    let app = place.application().await?;
    let kept = Kept::of(&place, kube::ResourceExt::uid(&app).as_deref()).await?;
    let from = kept.named(&place, &arguments.from)?;
    let to = match (&arguments.to, kept.newest()) {
        (Some(to), _) => kept.named(&place, to)?,
        (None, Some(newest)) => kept.named(&place, &newest.spec.revision)?,
        (None, None) => {
            let why = notable::deletion(&app).unwrap_or_else(|| "it has no run yet".to_owned());
            return Err(Failure::refused(format!("name two revisions of {}: {why}", place.name)));
        }
    };
    let (before, after) = (revisions::read(&place, &from).await?, revisions::read(&place, &to).await?);
    let difference = difference(&before.content, &after.content);
    if let Some(format) = arguments.output.output {
        let mut value =
            json!({ "application": place.name, "namespace": place.namespace, "from": from, "to": to });
        let whole = serde_json::to_value(&difference).map_err(|error| Failure::failed(error.to_string()))?;
        if let (Some(fields), Value::Object(more)) = (value.as_object_mut(), whole) {
            fields.extend(more);
        }
        return environment.streams.print(&write(format, &value)?);
    }
    let title = format!("{} → {}\n", kept.described(&from), kept.described(&to));
    environment.streams.print(&format!("{}{}", paint(style::STRONG, &title), for_people(&difference)))
}

/// How two revisions differ.
fn difference(before: &RevisionContent, after: &RevisionContent) -> Difference {
    let mut workflow = Vec::new();
    let steps: Vec<(Option<&StepContent>, Option<&StepContent>)> = paired(before, after);
    let mut delivered: Vec<StepDifference> = Vec::new();
    for (was, is) in steps {
        let Some(name) = is.or(was).map(|step| step.step.name.clone()) else { continue };
        let written = |step: &StepContent| serde_json::to_value(&step.step).unwrap_or_default();
        workflow.extend(part(format!("step {name}"), was.map(written), is.map(written)));
        let objects = objects(was, is);
        if objects.is_empty() {
            continue;
        }
        match delivered.iter_mut().find(|known| known.objects == objects) {
            Some(known) => known.steps.push(name),
            None => delivered.push(StepDifference { steps: vec![name], objects }),
        }
    }
    let order = |content: &RevisionContent| {
        let steps = content.steps.iter().map(|step| step.step.name.as_str());
        json!({ "mode": if content.dag { "DAG" } else { "StepByStep" }, "order": steps.collect::<Vec<_>>().join(", ") })
    };
    let account =
        |content: &RevisionContent| content.service_account.as_ref().map(|name| json!({ "name": name }));
    workflow.extend(part("workflow".to_owned(), Some(order(before)), Some(order(after))));
    workflow.extend(part("serviceAccount".to_owned(), account(before), account(after)));
    let names: BTreeSet<&String> = before.policies.keys().chain(after.policies.keys()).collect();
    let policies = names.into_iter().filter_map(|name| {
        let of = |content: &RevisionContent| content.policies.get(name).cloned();
        let (was, is) = (of(before), of(after));
        let type_ = is.as_ref().or(was.as_ref()).map(|(type_, _)| type_.clone()).unwrap_or_default();
        let whole = |(type_, properties): (String, Value)| json!({ "type": type_, "properties": properties });
        let mut part = part(format!("policy {name} ({type_})"), was.map(whole), is.map(whole))?;
        // What it sets may go into a Secret, and shows in the objects.
        part.fields.retain(|_| type_ != "override");
        Some(part)
    });
    Difference { delivered, workflow, policies: policies.collect() }
}

/// The steps of both by name: those of the later one in their order, then those that only the earlier one has.
fn paired<'c>(
    before: &'c RevisionContent,
    after: &'c RevisionContent,
) -> Vec<(Option<&'c StepContent>, Option<&'c StepContent>)> {
    let named =
        |content: &'c RevisionContent, name: &str| content.steps.iter().find(|step| step.step.name == name);
    let kept = after.steps.iter().map(|step| (named(before, &step.step.name), Some(step)));
    let gone = before.steps.iter().filter(|step| named(after, &step.step.name).is_none());
    kept.chain(gone.map(|step| (Some(step), None))).collect()
}

fn part(part: String, was: Option<Value>, is: Option<Value>) -> Option<PartDifference> {
    let (change, fields) = match (was, is) {
        (None, None) => return None,
        (None, Some(_)) => (Kind::Added, Vec::new()),
        (Some(_), None) => (Kind::Removed, Vec::new()),
        (Some(was), Some(is)) => (Kind::Changed, changes_between(None, &was, &is)),
    };
    (change != Kind::Changed || !fields.is_empty()).then_some(PartDifference { part, change, fields })
}

/// Group, kind, namespace and name: an object in another version of its kind is the same.
type Key = (String, String, String, String);
/// The object as it is written, with its component.
type Delivered<'c> = (ObjectId, &'c str, &'c Value);

fn by_id(step: Option<&StepContent>) -> BTreeMap<Key, Delivered<'_>> {
    let objects = step.map(|step| step.objects.as_slice()).unwrap_or_default();
    let all = objects.iter().filter_map(|(component, object)| {
        let id = ObjectId::of(object)?;
        let (group, kind, namespace, name) = id.versionless();
        let key = (group.to_owned(), kind.to_owned(), namespace.to_owned(), name.to_owned());
        Some((key, (id, component.as_str(), object)))
    });
    all.collect()
}

fn objects(was: Option<&StepContent>, is: Option<&StepContent>) -> Vec<ObjectDifference> {
    let (was, is) = (by_id(was), by_id(is));
    let keys: BTreeSet<&Key> = was.keys().chain(is.keys()).collect();
    let mut all = Vec::new();
    for key in keys {
        let one = |(id, component, _): &Delivered<'_>, change| ObjectDifference {
            component: (*component).to_owned(),
            id: id.clone(),
            change,
            says: Vec::new(),
            fields: Vec::new(),
        };
        match (was.get(key), is.get(key)) {
            (None, Some(new)) => {
                let says = contents::lines(&new.0, new.2, None);
                all.push(ObjectDifference { says, ..one(new, Kind::Added) });
            }
            (Some(old), None) => all.push(one(old, Kind::Removed)),
            (Some(old), Some(new)) => {
                let fields = changes_between(Some(&new.0), old.2, new.2);
                if !fields.is_empty() {
                    all.push(ObjectDifference { fields, ..one(new, Kind::Changed) });
                }
            }
            (None, None) => {}
        }
    }
    all
}

fn marked(change: Kind, what: &str) -> String {
    let (mark, look) = match change {
        Kind::Added => ("+", style::GOOD),
        Kind::Changed => ("~", style::WAITING),
        Kind::Removed => ("-", style::BAD),
    };
    paint(look, &format!("{mark} {what}"))
}

fn fields(fields: &[FieldChange], out: &mut String) {
    for change in fields {
        let path = shown::visible(&change.path.to_string());
        let changed = shown::change(change.from.as_ref(), change.to.as_ref());
        out.push_str(&format!("      {path}: {changed}\n"));
    }
}

fn for_people(difference: &Difference) -> String {
    let mut out = String::new();
    for group in &difference.delivered {
        let many = if group.steps.len() == 1 { "step" } else { "steps" };
        out.push_str(&format!("{many} {}:\n", paint(style::STRONG, &group.steps.join(", "))));
        for object in &group.objects {
            let what = format!("{} {}", object.id.kind, shown::visible(&object.id.name));
            let component = paint(style::FAINT, &format!("(component {})", object.component));
            out.push_str(&format!("  {} {component}\n", marked(object.change, &what)));
            for line in &object.says {
                out.push_str(&format!("      {}\n", paint(style::FAINT, line)));
            }
            fields(&object.fields, &mut out);
        }
    }
    for (title, parts) in [("workflow", &difference.workflow), ("policies", &difference.policies)] {
        if parts.is_empty() {
            continue;
        }
        out.push_str(&format!("{}:\n", paint(style::STRONG, title)));
        for part in parts {
            out.push_str(&format!("  {}\n", marked(part.change, &shown::visible(&part.part))));
            fields(&part.fields, &mut out);
        }
    }
    if out.is_empty() {
        out.push_str("no difference: both deliver the same, in the same way\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_api::Step;

    fn content(steps: &[(&str, Vec<Value>)], clusters: &[&str]) -> RevisionContent {
        let step = |(name, objects): &(&str, Vec<Value>)| StepContent {
            step: Step { name: (*name).to_owned(), type_: "deploy".to_owned(), ..Step::default() },
            objects: objects.iter().map(|object| ("main".to_owned(), object.clone())).collect(),
            ..StepContent::default()
        };
        let where_ = ("topology".to_owned(), json!({ "clusters": clusters }));
        RevisionContent {
            steps: steps.iter().map(step).collect(),
            policies: BTreeMap::from([("where".to_owned(), where_)]),
            ..RevisionContent::default()
        }
    }

    fn plain(difference: &Difference) -> String {
        anstream::adapter::strip_str(&for_people(difference)).to_string()
    }

    fn object(kind: &str, name: &str, data: Value) -> Value {
        json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name }, "data": data })
    }

    /// Broken: a value of a Secret shows, or what differs between two revisions doesn't.
    #[test]
    fn what_differs_is_said_without_what_is_secret() {
        let before = content(
            &[
                (
                    "a",
                    vec![
                        object("ConfigMap", "web", json!({"key": "1"})),
                        object("Secret", "s", json!({"token": "b25l"})),
                    ],
                ),
                ("b", vec![object("ConfigMap", "web", json!({"key": "1"}))]),
                ("gone", vec![object("ConfigMap", "web", json!({"key": "1"}))]),
            ],
            &["m1", "m2"],
        );
        let changed = object("ConfigMap", "web", json!({"key": "2"}));
        let added = object("Secret", "new", json!({"pass": "dHdv"}));
        let after = content(
            &[
                ("a", vec![changed.clone(), object("Secret", "s", json!({"token": "dHdv", "more": "eA=="}))]),
                ("b", vec![changed, added]),
            ],
            &["m1"],
        );
        let found = difference(&before, &after);
        let text = plain(&found);
        for line in [
            "~ ConfigMap web (component main)",
            "data.key: \"1\" → \"2\"",
            "~ Secret s",
            "data.token: <hidden> → <hidden>",
            "data.more: nothing → <hidden>",
            "+ Secret new",
            "- ConfigMap web",
            "- step gone",
            "~ policy where (topology)",
            "properties.clusters[1]: m2 → nothing",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
        let written = serde_json::to_string(&found).unwrap();
        for secret in ["b25l", "dHdv", "eA=="] {
            assert!(!text.contains(secret) && !written.contains(secret), "{secret}: {text}");
        }
        assert_eq!(
            for_people(&difference(&after, &after)),
            "no difference: both deliver the same, in the same way\n"
        );
    }

    /// Broken: a thousand clusters in fifty waves say the same thing fifty times.
    #[test]
    fn steps_that_differ_alike_stand_together() {
        let of = |value: &str| {
            let one = || vec![object("ConfigMap", "web", json!({"key": value}))];
            content(&[("a", one()), ("b", one())], &["m1"])
        };
        let text = plain(&difference(&of("1"), &of("2")));
        assert!(text.starts_with("steps a, b:\n") && text.matches("ConfigMap").count() == 1, "{text}");
    }
}
