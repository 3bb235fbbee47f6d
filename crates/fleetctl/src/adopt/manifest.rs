//! One Application of the objects of several members.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{Application, ObjectId, Policy, Workflow};
use fleet_controller::Problem;
use fleet_controller::resolve::{ObjectReference, Snapshot, resolve};
use fleet_json::{diff_by_name, patch::merge_patch_between};
use fleet_render::Definitions;
use serde_json::{Value, json};

use super::found::{Member, Object};
use super::said::Said;
use crate::application::Place;
use crate::exit::{Failure, Outcome};

/// The policy that leaves drift alone.
pub(super) const REPORT_ONLY: &str = "report-only";
/// The policy that leaves the objects there when the Application goes.
pub(super) const KEEP: &str = "keep-on-delete";
/// The longest Application, in bytes: etcd takes 1.5 MiB, and status and bookkeeping need room too.
const LONGEST: usize = 1_048_576;
/// The policy that allows to take the objects over.
const TAKE_OVER: &str = "take-over";

/// The Application, and what it comes to on each member.
#[derive(Debug)]
pub(super) struct Manifest {
    /// As it is written.
    pub(super) application: Value,
    /// Members that get the same, in the order in which they were named.
    pub(super) groups: Vec<Group>,
    /// Which objects.
    pub(super) ids: Vec<ObjectId>,
    /// For each object and member: fields that are left to controllers.
    pub(super) left: Vec<Vec<Vec<String>>>,
}

/// Members on which all objects are the same.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    /// Which, by their places.
    pub(super) members: Vec<usize>,
    /// The objects that differ from those in the Application's components.
    differs: Vec<Difference>,
    /// What is delivered there: component and object.
    pub(super) objects: Vec<(String, Value)>,
}

/// How an object differs.
#[derive(Debug, PartialEq)]
struct Difference {
    /// Its place among the objects.
    object: usize,
    component: String,
    /// Fields, for people.
    fields: Vec<String>,
    /// A merge patch (RFC 7396).
    patch: Value,
}

impl Manifest {
    /// Writes the Application. Its components hold each object as most members have it; how the others differ
    /// stands in override policies.
    ///
    /// # Errors
    /// Where what the engine would deliver isn't what is there.
    pub(super) fn of(place: &Place, inside: &str, members: &[Member], objects: &[Object]) -> Outcome<Self> {
        let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        let ids: Vec<ObjectId> = objects.iter().map(|object| object.id.clone()).collect();
        let components = component_names(&ids);
        let groups = groups(members.len(), &components, objects);
        let application = written(place, inside, &names, &ids, &components, &groups, &base(objects));
        let of = |object: &Object| object.said.iter().map(|said| said.left.clone()).collect();
        let manifest = Self { application, groups, ids, left: objects.iter().map(of).collect() };
        manifest.prove()?;
        Ok(manifest)
    }

    /// The Application as its kind.
    pub(super) fn read(&self) -> Outcome<Application> {
        serde_json::from_value(self.application.clone())
            .map_err(|error| Failure::failed(format!("the Application can't be written: {error}")))
    }

    /// In which fields an object differs from what stands in its component, on a member.
    pub(super) fn differs(&self, object: usize, member: usize) -> &[String] {
        let group = self.groups.iter().find(|group| group.members.contains(&member));
        let found = group.and_then(|group| group.differs.iter().find(|differs| differs.object == object));
        found.map_or(&[], |found| found.fields.as_slice())
    }

    /// Where a policy stands in the Application.
    pub(super) fn policy(&self, name: &str) -> Option<usize> {
        let policies = self.application.pointer("/spec/policies")?.as_array()?;
        policies.iter().position(|policy| policy.get("name").and_then(Value::as_str) == Some(name))
    }

    /// The engine itself says what it would deliver; that must be what is there.
    fn prove(&self) -> Outcome {
        let length = self.application.to_string().len();
        if length > LONGEST {
            return Err(Failure::refused(format!(
                "the Application would have {} KiB, more than the {} KiB that a hub keeps in one; adopt the objects in several Applications",
                length / 1024,
                LONGEST / 1024
            )));
        }
        let draft = resolve(&self.read()?, &Nothing, &Definitions::builtin()).map_err(|problem| {
            Failure::failed(format!("these objects make no Application: {}", problem.message))
        })?;
        for (group, step) in self.groups.iter().zip(&draft.content.steps) {
            let wrong = group.objects.iter().find(|object| !step.objects.contains(object));
            if let Some((component, _)) = wrong.or(step.objects.get(group.objects.len())) {
                return Err(Failure::failed(format!(
                    "component {component} would not be delivered as it is there; adopt it in an Application of its own, from one cluster"
                )));
            }
        }
        Ok(())
    }
}

/// Each object as most members have it, or the first named ones where that is even.
fn base(objects: &[Object]) -> Vec<&Value> {
    let common = |object: &'_ Object| -> Option<usize> {
        let alike = |said: &Said| object.said.iter().filter(|other| other.object == said.object).count();
        // The last of those that are equal counts, so the first named one comes last.
        object.said.iter().enumerate().rev().max_by_key(|(_, said)| alike(said)).map(|(at, _)| at)
    };
    objects.iter().filter_map(|object| Some(&object.said.get(common(object)?)?.object)).collect()
}

fn groups(members: usize, components: &[String], objects: &[Object]) -> Vec<Group> {
    let on = |member: usize| -> Vec<&Value> {
        objects.iter().filter_map(|object| object.said.get(member).map(|said| &said.object)).collect()
    };
    let mut alike: Vec<Vec<usize>> = Vec::new();
    for member in 0..members {
        match alike.iter_mut().find(|group| group.first().is_some_and(|first| on(*first) == on(member))) {
            Some(group) => group.push(member),
            None => alike.push(vec![member]),
        }
    }
    let base = base(objects);
    let group = |members: Vec<usize>| {
        let here = on(members.first().copied().unwrap_or_default());
        let mut differs = Vec::new();
        for (object, ((component, base), here)) in components.iter().zip(&base).zip(&here).enumerate() {
            if base != here {
                let fields = diff_by_name(base, here).iter().map(|change| change.path.to_dotted()).collect();
                let patch = merge_patch_between(base, here);
                differs.push(Difference { object, component: component.clone(), fields, patch });
            }
        }
        let objects = components.iter().cloned().zip(here.into_iter().cloned()).collect();
        Group { members, differs, objects }
    };
    alike.into_iter().map(group).collect()
}

fn written(
    place: &Place,
    inside: &str,
    members: &[&str],
    ids: &[ObjectId],
    components: &[String],
    groups: &[Group],
    base: &[&Value],
) -> Value {
    let component = |(name, object): (&String, &&Value)| json!({ "name": name, "type": "k8s-objects", "properties": { "objects": [object] } });
    let written: Vec<Value> = components.iter().zip(base).map(component).collect();
    let mut policies = Vec::new();
    let mut steps = Vec::new();
    for group in groups {
        let clusters: Vec<&str> = group.members.iter().filter_map(|at| members.get(*at)).copied().collect();
        let first = clusters.first().copied().unwrap_or_default();
        let topology = if groups.len() == 1 { "where".to_owned() } else { format!("on-{first}") };
        let mut properties = json!({ "clusters": clusters });
        if let Some(map) = properties.as_object_mut().filter(|_| inside != place.namespace) {
            map.insert("namespace".to_owned(), json!(inside));
        }
        policies.push(json!({ "name": topology, "type": "topology", "properties": properties }));
        let mut used = Vec::new();
        if !group.differs.is_empty() {
            let name = format!("differs-on-{first}");
            let patches: Vec<Value> = group.differs.iter().map(Difference::written).collect();
            policies
                .push(json!({ "name": name, "type": "override", "properties": { "components": patches } }));
            used.push(name);
        }
        used.push(topology);
        steps.push(json!({ "name": format!("deploy-{first}"), "type": "deploy", "properties": { "policies": used } }));
    }
    let mut kinds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for id in ids {
        kinds.entry(&id.kind).or_default().insert(&id.name);
    }
    let rules: Vec<Value> = kinds
        .iter()
        .map(|(kind, names)| json!({ "selector": { "resourceTypes": [kind], "resourceNames": names } }))
        .collect();
    policies.push(json!({ "name": TAKE_OVER, "type": "take-over", "properties": { "rules": rules } }));
    let kept = json!({ "selector": { "componentNames": components }, "strategy": "never" });
    policies.push(json!({ "name": KEEP, "type": "garbage-collect", "properties": { "rules": [kept] } }));
    policies.push(json!({ "name": REPORT_ONLY, "type": "apply-once", "properties": { "enable": true } }));
    let mut spec = json!({ "components": written, "policies": policies });
    if let Some(spec) = spec.as_object_mut().filter(|_| groups.len() > 1) {
        spec.insert("workflow".to_owned(), json!({ "steps": steps }));
    }
    json!({
        "apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": { "name": place.name, "namespace": place.namespace },
        "spec": spec,
    })
}

impl Difference {
    fn written(&self) -> Value {
        json!({ "name": self.component, "traits": [{ "type": "json-merge-patch", "properties": self.patch }] })
    }
}

/// `deployment-web`; with its group where two kinds are called alike.
fn component_names(ids: &[ObjectId]) -> Vec<String> {
    let plain = |text: &str| -> String {
        let fits = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
        text.chars().map(fits).collect()
    };
    let short = |id: &ObjectId| format!("{}-{}", plain(&id.kind), plain(&id.name));
    let mut taken = BTreeSet::new();
    let mut all = Vec::with_capacity(ids.len());
    for id in ids {
        let alike = ids.iter().filter(|other| short(other) == short(id)).count() > 1;
        let mut name = if alike && !id.group().is_empty() {
            format!("{}.{}-{}", plain(&id.kind), plain(id.group()), plain(&id.name))
        } else {
            short(id)
        };
        while !taken.insert(name.clone()) {
            name.push_str("-2");
        }
        all.push(name);
    }
    all
}

/// The Application refers to nothing.
struct Nothing;

impl Snapshot for Nothing {
    fn policy(&self, _: &str) -> Option<Policy> {
        None
    }

    fn policy_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn workflow(&self, _: &str) -> Option<Workflow> {
        None
    }

    fn workflow_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn objects(&self, _: &ObjectReference) -> Result<Vec<Value>, Problem> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, contents: &[i64]) -> Object {
        let id = ObjectId::new("v1", kind, "demo", "web");
        let said = |value: &i64| Said {
            object: json!({ "kind": kind, "spec": { "value": value } }),
            left: Vec::new(),
        };
        Object { id, said: contents.iter().map(said).collect() }
    }

    /// Broken: a later change of the component reaches the odd one out and not the many, or members that are alike are
    /// delivered to one after the other.
    #[test]
    fn the_components_hold_what_most_members_have() {
        let objects = [object("A", &[1, 2, 2]), object("B", &[5, 6, 6]), object("C", &[7, 7, 7])];
        let components = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let values: Vec<_> = base(&objects).iter().map(|object| object["spec"]["value"].clone()).collect();
        assert_eq!(values, [2, 6, 7]);
        let groups = groups(3, &components, &objects);
        let members: Vec<&[usize]> = groups.iter().map(|group| group.members.as_slice()).collect();
        assert_eq!(members, [&[0][..], &[1, 2]]);
        let patches: Vec<&Value> = groups[0].differs.iter().map(|differs| &differs.patch).collect();
        assert_eq!(patches, [&json!({ "spec": { "value": 1 } }), &json!({ "spec": { "value": 5 } })]);
        assert!(groups[1].differs.is_empty());
        // Where it is even, the first named one.
        assert_eq!(base(&[object("A", &[4, 3])])[0]["spec"]["value"], 4);
    }

    /// Broken: two kinds that are called alike make one component, or a name that no label takes.
    #[test]
    fn components_have_names_of_their_own() {
        let id = |api_version: &str, kind: &str, name: &str| ObjectId::new(api_version, kind, "", name);
        let ids = [
            id("v1", "Service", "web"),
            id("serving.knative.dev/v1", "Service", "web"),
            id("rbac.authorization.k8s.io/v1", "Role", "system:web"),
        ];
        assert_eq!(
            component_names(&ids),
            ["service-web", "service.serving.knative.dev-web", "role-system-web"]
        );
    }
}
