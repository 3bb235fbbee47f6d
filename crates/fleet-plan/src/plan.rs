//! Plans: what a step does on each target.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{ObjectId, Source, Target, TargetInventory};
use fleet_json::{ChangeKind, ContentHash, FieldPath, Segment, diff_by_name};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Claim, Desired, GcStrategy, ResourcePolicies, Subject};

/// What a plan is made from.
#[derive(Debug)]
pub struct PlanInput<'a> {
    /// The step.
    pub step: &'a str,
    /// Its targets, and those that are cleared after it.
    pub targets: Vec<TargetInput<'a>>,
    /// The Application's policies about single objects.
    pub policies: &'a ResourcePolicies,
    /// Types of the components, by name.
    pub component_types: &'a BTreeMap<String, String>,
    /// Whether what the revision no longer has stays, as nobody's, rather than being deleted.
    pub keeps_deleted: bool,
}

/// One target as it is before the step.
#[derive(Debug)]
pub struct TargetInput<'a> {
    /// Where.
    pub target: Target,
    /// What is to stand there. Empty where the target is cleared.
    pub desired: &'a [Desired],
    /// What the newest revision that completed there delivered.
    pub previous: &'a [Desired],
    /// What is owned there.
    pub inventory: Option<&'a TargetInventory>,
    /// Whether this is the last step that delivers there: deletes belong to it.
    pub last: bool,
    /// What other steps of the revision deliver there.
    pub kept: &'a BTreeSet<ObjectId>,
}

/// What a step does, target by target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The step.
    pub step: String,
    /// Hash over everything that an approval is about.
    pub plan_hash: String,
    /// Targets in the order of the step.
    pub targets: Vec<TargetPlan>,
}

/// What is done on one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetPlan {
    /// Where.
    pub target: Target,
    /// In the order in which it is done.
    pub actions: Vec<Action>,
    /// What is lost by its deletes, in words, where they take the last workload or everything; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub loses: String,
}

/// What is done to one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// The object.
    pub id: ObjectId,
    /// Its component.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub component: String,
    /// What.
    pub kind: ActionKind,
    /// Field by field, for a change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    /// An object there that nobody's application owns may be taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub take_over: bool,
    /// The change is carried out by deleting and creating anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recreate: bool,
    /// Others may own it, too: then only our label is put on it, or taken away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Hash of the object as rendered; empty for deletes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content: String,
}

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ActionKind {
    /// It is made where it is missing: the target's namespace. It goes again only if we made it and it is empty.
    Ensure,
    /// It isn't there yet.
    Create,
    /// It is ours and differs from what was delivered last.
    Change,
    /// It is ours and stays as it is.
    Keep,
    /// It isn't ours: it must be there, and is only looked at.
    Observe,
    /// It is ours and the revision no longer has it.
    Delete,
    /// It is ours and is only looked at from now on, or isn't wanted and kept: it stays, as nobody's.
    Release,
}

/// One field of a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Where in the object.
    pub path: FieldPath,
    /// What was delivered last; values of Secrets are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
    /// Who set what comes; filled in for those who look, never for the engine, and no part of the hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_by: Option<Source>,
}

/// Makes the plan of a step.
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let targets: Vec<TargetPlan> = input.targets.iter().map(|target| plan_target(input, target)).collect();
    let plan_hash = hash(input.step, &targets);
    Plan { step: input.step.to_owned(), plan_hash, targets }
}

impl Plan {
    /// How many actions of a kind there are, over all targets.
    pub fn count(&self, kind: ActionKind) -> usize {
        self.targets.iter().flat_map(|t| &t.actions).filter(|action| action.kind == kind).count()
    }

    /// In words: `4 to create and 1 to delete on mc-bj2/demo`.
    pub fn summary(&self) -> String {
        let counts = [
            (ActionKind::Create, "to create"),
            (ActionKind::Change, "to change"),
            (ActionKind::Delete, "to delete"),
            (ActionKind::Release, "to release"),
        ];
        let words: Vec<String> = counts
            .iter()
            .map(|(kind, word)| (self.count(*kind), word))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let what = if words.is_empty() { "nothing to change".to_owned() } else { words.join(", ") };
        match self.targets.as_slice() {
            [] => what,
            [only] => format!("{what} on {}", only.target),
            many => format!("{what} on {} targets", many.len()),
        }
    }

    /// The plan of one target.
    pub fn target(&self, target: &Target) -> Option<&TargetPlan> {
        self.targets.iter().find(|plan| plan.target == *target)
    }
}

impl Action {
    fn new(id: &ObjectId, component: &str, kind: ActionKind) -> Self {
        Self {
            id: id.clone(),
            component: component.to_owned(),
            kind,
            changes: Vec::new(),
            take_over: false,
            recreate: false,
            shared: false,
            content: String::new(),
        }
    }
}

impl TargetPlan {
    /// The objects to delete.
    pub fn deletes(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter().filter(|action| action.kind == ActionKind::Delete)
    }

    /// What is ours no longer after the step: deleted, or released.
    pub fn leaves(&self) -> impl Iterator<Item = &Action> {
        let leaves = [ActionKind::Delete, ActionKind::Release];
        self.actions.iter().filter(move |action| leaves.contains(&action.kind))
    }
}

impl FieldChange {
    /// Whether a field lies in what changes: at or above the place, or below it in what comes or goes.
    fn touches(&self, field: &FieldPath) -> bool {
        let holds = |value: &Option<Value>| {
            let below = field.segments().iter().skip(self.path.len());
            let found = below.fold(value.as_ref(), |value, segment| match segment {
                Segment::Field(name) => value?.get(name),
                Segment::Index(index) => value?.get(*index),
                Segment::Item(_) | Segment::Element(_) => {
                    value?.as_array()?.iter().find(|item| segment.names(item))
                }
            });
            found.is_some()
        };
        self.path.starts_with(field)
            || (field.starts_with(&self.path) && (holds(&self.from) || holds(&self.to)))
    }
}

fn plan_target(input: &PlanInput<'_>, target: &TargetInput<'_>) -> TargetPlan {
    let mut actions: Vec<Action> =
        target.desired.iter().map(|desired| plan_object(input, target, desired)).collect();
    actions.extend(namespace(target));
    actions.sort_by_key(|action| crate::wave(&action.id));
    if target.last {
        actions.extend(leaves(input, target));
    }
    let loses = crate::losses::of(&actions, target);
    TargetPlan { target: target.target.clone(), actions, loses }
}

/// The namespace that a first delivery may have to make.
fn namespace(target: &TargetInput<'_>) -> Option<Action> {
    let name = &target.target.namespace;
    let written = |desired: &&Desired| desired.claim != Claim::Observe;
    let needed = target.desired.iter().filter(written).any(|desired| desired.id.namespace == *name);
    let delivered =
        target.desired.iter().any(|desired| desired.id.kind == "Namespace" && desired.id.name == *name);
    let id = ObjectId::new("v1", "Namespace", "", name);
    let stands = target.previous.iter().any(|previous| previous.claim != Claim::Observe);
    (needed && !delivered && !stands).then(|| Action::new(&id, "", ActionKind::Ensure))
}

fn plan_object(input: &PlanInput<'_>, target: &TargetInput<'_>, desired: &Desired) -> Action {
    if desired.claim == Claim::Observe {
        return Action::new(&desired.id, &desired.component, ActionKind::Observe);
    }
    let subject = subject(input, &desired.id, &desired.component);
    let before = target
        .previous
        .iter()
        .filter(|previous| previous.claim != Claim::Observe)
        .find(|previous| previous.id.versionless() == desired.id.versionless());
    let changes: Vec<FieldChange> = before.map_or_else(Vec::new, |before| changes(before, desired));
    let recreate_fields = input.policies.recreate_fields(&subject);
    // Others have a part in what is shared.
    let recreate = desired.claim == Claim::Own
        && changes.iter().any(|change| recreate_fields.iter().any(|field| change.touches(field)));
    let kind = match before {
        None => ActionKind::Create,
        Some(before) if before.content == desired.content => ActionKind::Keep,
        Some(_) => ActionKind::Change,
    };
    Action {
        id: desired.id.clone(),
        component: desired.component.clone(),
        kind,
        changes,
        take_over: input.policies.takes_over(&subject),
        recreate,
        shared: desired.claim == Claim::Share,
        content: desired.content.long(),
    }
}

/// What is owned and no longer wanted as ours, in the order of deletion.
fn leaves(input: &PlanInput<'_>, target: &TargetInput<'_>) -> Vec<Action> {
    // What has no namespace may be delivered by way of another target of the same cluster.
    let here = || input.targets.iter().filter(|other| other.target.cluster == target.target.cluster);
    let desired = || here().flat_map(|other| other.desired.iter());
    let mut wanted: BTreeSet<_> = desired().map(|desired| desired.id.versionless()).collect();
    wanted.extend(target.kept.iter().map(ObjectId::versionless));
    let looked_at: BTreeSet<_> =
        desired().filter(|d| d.claim == Claim::Observe).map(|d| d.id.versionless()).collect();
    let owned = target.inventory.map(|inventory| &inventory.objects);
    let mut gone: Vec<Action> = owned
        .into_iter()
        .flatten()
        .filter(|(_, owned)| !owned.made_namespace)
        .filter_map(|(id, owned)| {
            let subject = subject(input, id, &owned.component);
            let kind = if looked_at.contains(&id.versionless())
                || input.policies.claim(&subject) == Claim::Observe
            {
                ActionKind::Release
            } else if !wanted.contains(&id.versionless())
                && input.policies.gc(&subject) == GcStrategy::OnAppUpdate
            {
                if input.keeps_deleted { ActionKind::Release } else { ActionKind::Delete }
            } else {
                return None;
            };
            let shared = input.policies.claim(&subject) == Claim::Share;
            Some(Action { shared, ..Action::new(id, &owned.component, kind) })
        })
        .collect();
    gone.sort_by(|a, b| {
        (std::cmp::Reverse(crate::wave(&a.id)), &a.id).cmp(&(std::cmp::Reverse(crate::wave(&b.id)), &b.id))
    });
    gone
}

fn subject<'a>(input: &'a PlanInput<'_>, id: &'a ObjectId, component: &'a str) -> Subject<'a> {
    let component_type = input.component_types.get(component).map_or("", String::as_str);
    Subject { id, component, component_type }
}

fn changes(before: &Desired, after: &Desired) -> Vec<FieldChange> {
    let ours = FieldPath::of_fields(["metadata", "labels", fleet_api::names::CONTENT]);
    let mut all = changes_between(Some(&after.id), &before.object, &after.object);
    all.retain(|change| change.path != ours);
    all
}

/// How two values differ, field by field; nobody is named who set what. Of an object that is a Secret, values are left
/// out.
pub fn changes_between(id: Option<&ObjectId>, before: &Value, after: &Value) -> Vec<FieldChange> {
    let shown = |path: &FieldPath, value: Option<Value>| match id {
        Some(id) => redact(id, path, value),
        None => value,
    };
    diff_by_name(before, after)
        .into_iter()
        .map(|change| {
            let (from, to) = match change.change {
                ChangeKind::Added(to) => (None, Some(to)),
                ChangeKind::Removed(from) => (Some(from), None),
                ChangeKind::Changed { from, to } => (Some(from), Some(to)),
                ChangeKind::Reordered { .. } => (Some(json!("<order>")), Some(json!("<another order>"))),
            };
            FieldChange {
                from: shown(&change.path, from),
                to: shown(&change.path, to),
                path: change.path,
                set_by: None,
            }
        })
        .collect()
}

/// Leaves out what may hold a value of a Secret: everything but the fields that never do. The annotation of
/// client-side apply holds a whole Secret, so annotations are left out too.
pub fn redact(id: &ObjectId, path: &FieldPath, value: Option<Value>) -> Option<Value> {
    const HARMLESS: [&[&str]; 7] = [
        &["apiVersion"],
        &["kind"],
        &["type"],
        &["immutable"],
        &["metadata", "labels"],
        &["metadata", "name"],
        &["metadata", "namespace"],
    ];
    let harmless =
        HARMLESS.iter().any(|names| path.starts_with(&FieldPath::of_fields(names.iter().copied())));
    let secret = id.is_secret();
    match value {
        Some(value) if secret && !harmless => match (value, path.segments()) {
            (Value::Object(map), [Segment::Field(name)]) if name == "data" || name == "stringData" => {
                Some(Value::Object(map.into_iter().map(|(key, _)| (key, json!("<hidden>"))).collect()))
            }
            _ => Some(json!("<hidden>")),
        },
        other => other,
    }
}

fn hash(step: &str, targets: &[TargetPlan]) -> String {
    let covered: Vec<Value> = targets
        .iter()
        .map(|plan| {
            // The namespace follows from the target.
            let actions: Vec<Value> = plan
                .actions
                .iter()
                .filter(|action| action.kind != ActionKind::Ensure)
                .map(|a| match a.kind {
                    ActionKind::Observe => json!([a.id, "observe"]),
                    ActionKind::Release => json!([a.id, "release"]),
                    kind if a.shared => {
                        json!([a.id, kind == ActionKind::Delete, a.content, a.take_over, "shared"])
                    }
                    kind => json!([a.id, kind == ActionKind::Delete, a.content, a.take_over, a.recreate]),
                })
                .collect();
            json!([plan.target, actions])
        })
        .collect();
    ContentHash::of_value(&json!([step, covered])).long()
}
