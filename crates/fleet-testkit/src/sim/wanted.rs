//! What users want of an application: small, and known without asking the engine.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::chance::Chance;

/// The namespace of everything.
pub(crate) const NAMESPACE: &str = "demo";
/// Whose name all users have: nobody may approve in the name of another.
pub(crate) const USER: &str = "somebody";
/// What no Secret may give away.
pub(crate) const SECRET: &str = "correct-horse-battery-staple";

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedStep {
    pub(crate) members: BTreeSet<usize>,
    pub(crate) gated: bool,
    /// Targets at once; all where it isn't said.
    pub(crate) at_once: Option<usize>,
    /// Seconds that targets must stay healthy.
    pub(crate) soak: u64,
    /// What becomes of members that are silent for so many seconds: `Skip` or `Fail`; else they are waited for.
    pub(crate) silent: Option<(&'static str, u64)>,
    /// Deletes ask nobody, whatever they take.
    pub(crate) prunes: bool,
}

/// One version of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub(crate) app: usize,
    /// Values of ConfigMaps; each value was never used before.
    pub(crate) configs: BTreeMap<usize, u64>,
    /// The tag of a Deployment's image, where there is one.
    pub(crate) image: Option<u64>,
    /// Whether a Secret of the hub goes along.
    pub(crate) secret: bool,
    pub(crate) steps: Vec<WantedStep>,
}

pub(crate) fn app_name(app: usize) -> String {
    format!("a{app}")
}

pub(crate) fn member_name(member: usize) -> String {
    format!("m{member}")
}

/// The application that an object belongs to, by its name.
pub(crate) fn app_of(name: &str) -> Option<&str> {
    let (app, _) = name.split_once('-').unwrap_or((name, ""));
    (app.len() == 2 && app.starts_with('a')).then_some(app)
}

/// A workflow from a seed: the only place that makes one, and so where new kinds of steps come in.
pub(crate) fn workflow(chance: &mut Chance, members: usize) -> Vec<WantedStep> {
    let mut steps: Vec<WantedStep> = Vec::new();
    let mut all: Vec<usize> = (0..members).collect();
    // Sometimes not everywhere.
    if all.len() > 1 && chance.percent(30) {
        let gone = chance.below(all.len());
        all.remove(gone);
    }
    while !all.is_empty() {
        let take = 1 + chance.below(all.len());
        let members: BTreeSet<usize> = all.drain(..take).collect();
        let silent = chance.percent(20).then(|| ("Fail", chance.between(5, 60)));
        steps.push(WantedStep {
            at_once: (members.len() > 1 && chance.percent(40)).then_some(1),
            soak: if chance.percent(20) { chance.between(1, 30) } else { 0 },
            silent,
            prunes: chance.percent(50),
            gated: chance.percent(35),
            members,
        });
    }
    steps
}

impl Wanted {
    pub(crate) fn first(chance: &mut Chance, app: usize, members: usize, version: u64) -> Self {
        let configs = (0..=chance.below(2)).map(|config| (config, version)).collect();
        let image = chance.percent(40).then_some(version);
        let secret = chance.percent(20);
        Self { app, configs, image, secret, steps: workflow(chance, members) }
    }

    /// The next version: one or two things are different.
    pub(crate) fn edited(&self, chance: &mut Chance, members: usize, version: u64) -> Self {
        let mut next = self.clone();
        for _ in 0..=chance.below(2) {
            match chance.below(6) {
                0 | 1 => {
                    let config = chance.below(3);
                    next.configs.insert(config, version);
                }
                2 => {
                    let config = chance.below(3);
                    next.configs.remove(&config);
                }
                3 => {
                    next.image = if next.image.is_some() && chance.percent(40) { None } else { Some(version) }
                }
                4 => next.steps = workflow(chance, members),
                _ => next.secret = !next.secret,
            }
        }
        if next.configs.is_empty() {
            next.configs.insert(0, version);
        }
        next
    }

    /// What stands on a member, and with which value.
    pub(crate) fn on(&self, member: usize) -> BTreeMap<Thing, u64> {
        if !self.steps.iter().any(|step| step.members.contains(&member)) {
            return BTreeMap::new();
        }
        let app = app_name(self.app);
        let mut things: BTreeMap<Thing, u64> = BTreeMap::new();
        for (config, value) in &self.configs {
            things.insert(Thing::config(&format!("{app}-c{config}")), *value);
        }
        if let Some(image) = self.image {
            things.insert(Thing::deployment(&format!("{app}-web")), image);
        }
        if self.secret {
            things.insert(Thing::secret(&format!("{app}-s")), 0);
        }
        things
    }

    /// The step that reaches a member.
    pub(crate) fn step_of(&self, member: usize) -> Option<usize> {
        self.steps.iter().position(|step| step.members.contains(&member))
    }

    pub(crate) fn step_name(step: usize) -> String {
        format!("step-{step}")
    }

    pub(crate) fn manifest(&self) -> Value {
        let app = app_name(self.app);
        let mut objects: Vec<Value> = Vec::new();
        for (config, value) in &self.configs {
            objects.push(json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("{app}-c{config}")}, "data": {"value": value.to_string()}}));
        }
        if let Some(image) = self.image {
            let name = format!("{app}-web");
            objects.push(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "web", "image": format!("web:{image}")}]}}}}));
        }
        let mut components =
            vec![json!({"name": "main", "type": "k8s-objects", "properties": {"objects": objects}})];
        if self.secret {
            components.push(json!({"name": "secret", "type": "ref-objects", "properties": {
                "objects": [{"apiVersion": "v1", "kind": "Secret", "name": format!("{app}-s")}]}}));
        }
        let mut policies = Vec::new();
        let mut steps = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let clusters: Vec<String> = step.members.iter().map(|member| member_name(*member)).collect();
            policies.push(json!({"name": format!("where-{index}"), "type": "topology",
                "properties": {"clusters": clusters}}));
            let mut properties = json!({"policies": [format!("where-{index}")], "auto": !step.gated,
                "onDelete": if step.prunes { "Prune" } else { "Approve" }});
            let mut say = |key: &str, value: Value| {
                if let Some(properties) = properties.as_object_mut() {
                    properties.insert(key.to_owned(), value);
                }
            };
            if let Some(at_once) = step.at_once {
                say("maxParallelTargets", json!(at_once));
            }
            if step.soak > 0 {
                say("soak", json!(format!("{}s", step.soak)));
            }
            if let Some((what, after)) = step.silent {
                say("onUnreachable", json!(what));
                say("unreachableAfter", json!(format!("{after}s")));
            }
            steps.push(json!({"name": Self::step_name(index), "type": "deploy", "properties": properties}));
        }
        json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
            "metadata": {"name": app, "namespace": NAMESPACE},
            "spec": {"components": components, "policies": policies, "workflow": {"steps": steps}}})
    }
}

/// An object on a member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Thing {
    /// As the store calls it.
    pub(crate) resource: &'static str,
    pub(crate) name: String,
}

impl Thing {
    pub(crate) const RESOURCES: [&'static str; 3] = ["configmaps", "deployments.apps", "secrets"];

    fn config(name: &str) -> Self {
        Self { resource: "configmaps", name: name.to_owned() }
    }

    fn deployment(name: &str) -> Self {
        Self { resource: "deployments.apps", name: name.to_owned() }
    }

    fn secret(name: &str) -> Self {
        Self { resource: "secrets", name: name.to_owned() }
    }

    pub(crate) fn of(resource: &str, name: &str) -> Option<Self> {
        app_of(name)?;
        let resource = Self::RESOURCES.into_iter().find(|known| *known == resource)?;
        Some(Self { resource, name: name.to_owned() })
    }

    /// Its value, as it stands in an object.
    pub(crate) fn value(&self, object: &Value) -> Option<u64> {
        match self.resource {
            "configmaps" => object.pointer("/data/value")?.as_str()?.parse().ok(),
            "deployments.apps" => {
                let image = object.pointer("/spec/template/spec/containers/0/image")?.as_str()?;
                image.strip_prefix("web:")?.parse().ok()
            }
            _ => Some(0),
        }
    }

    pub(crate) fn kind(&self) -> (&'static str, &'static str) {
        match self.resource {
            "deployments.apps" => ("apps/v1", "Deployment"),
            "secrets" => ("v1", "Secret"),
            _ => ("v1", "ConfigMap"),
        }
    }
}
