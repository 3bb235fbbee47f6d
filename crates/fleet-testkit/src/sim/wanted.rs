//! What users want of an application: small, and known without asking the engine.

mod steps;

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::names;
use serde_json::{Value, json};

use super::asked::HOST;
use super::chance::Chance;
use steps::workflow;
pub(crate) use steps::{Clause, Deletes, OnFailure, Rule, WantedStep, What};

/// The namespace of everything.
pub(crate) const NAMESPACE: &str = "demo";
/// Who changes applications.
pub(crate) const USER: &str = "somebody";
/// The group of those who release.
pub(crate) const RELEASERS: &str = "release";
/// Who approves besides; the first two release.
pub(crate) const APPROVERS: [&str; 3] = ["ann", "bob", "cat"];
/// What no Secret may give away.
pub(crate) const SECRET: &str = "correct-horse-battery-staple";

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
    /// Steps go as they depend on each other, not one by one.
    pub(crate) dag: bool,
    /// Newer revisions wait until its run is over.
    pub(crate) queues: bool,
    /// Its `publishVersion`: edits that leave it as it is are held back.
    pub(crate) publish: Option<u64>,
}

pub(crate) fn app_name(app: usize) -> String {
    format!("a{app}")
}

pub(crate) fn member_name(member: usize) -> String {
    format!("m{member}")
}

/// Which member it is, by its name.
pub(crate) fn member_of(cluster: &str) -> Option<usize> {
    cluster.strip_prefix('m').and_then(|number| number.parse().ok())
}

/// The application that an object belongs to, by its name.
pub(crate) fn app_of(name: &str) -> Option<&str> {
    let (app, _) = name.split_once('-').unwrap_or((name, ""));
    (app.len() == 2 && app.starts_with('a')).then_some(app)
}

impl Wanted {
    pub(crate) fn first(chance: &mut Chance, app: usize, members: usize, version: u64) -> Self {
        let configs = (0..=chance.below(2)).map(|config| (config, version)).collect();
        let image = chance.percent(40).then_some(version);
        let secret = chance.percent(20);
        let (steps, dag) = workflow(chance, app, members);
        let queues = chance.percent(20);
        let publish = chance.percent(15).then_some(version);
        Self { app, configs, image, secret, steps, dag, queues, publish }
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
                4 => (next.steps, next.dag) = workflow(chance, self.app, members),
                _ => next.secret = !next.secret,
            }
        }
        if next.publish.is_some() && chance.percent(60) {
            next.publish = Some(version);
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

    pub(crate) fn step_named(&self, name: &str) -> Option<&WantedStep> {
        self.steps.get(name.strip_prefix("step-")?.parse::<usize>().ok()?)
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
        let mut steps: Vec<Value> = Vec::new();
        let mut group: Vec<Value> = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            if step.what == What::Deploy {
                let clusters: Vec<String> = step.members.iter().map(|member| member_name(*member)).collect();
                policies.push(json!({"name": format!("where-{index}"), "type": "topology",
                    "properties": {"clusters": clusters}}));
            }
            let written = self.step(index, step);
            if step.grouped {
                group.push(written);
                let more = self.steps.get(index + 1).is_some_and(|next| next.grouped);
                if !more {
                    steps.push(json!({"name": "together", "type": "step-group", "subSteps": group}));
                    group = Vec::new();
                }
            } else {
                steps.push(written);
            }
        }
        let mut annotations = serde_json::Map::new();
        if self.queues {
            annotations.insert(names::ON_NEW_REVISION.to_owned(), json!("Queue"));
        }
        if let Some(version) = self.publish {
            annotations.insert(names::PUBLISH_VERSION.to_owned(), json!(format!("v{version}")));
        }
        let mode = if self.dag { "DAG" } else { "StepByStep" };
        json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
            "metadata": {"name": app, "namespace": NAMESPACE, "annotations": annotations},
            "spec": {"components": components, "policies": policies,
                "workflow": {"mode": {"steps": mode}, "steps": steps}}})
    }

    fn step(&self, index: usize, step: &WantedStep) -> Value {
        let mut written = serde_json::Map::new();
        let mut say = |key: &str, value: Value| drop(written.insert(key.to_owned(), value));
        say("name", json!(Self::step_name(index)));
        let (type_, properties) = match step.what {
            What::Deploy => ("deploy", Self::deploy(index, step)),
            What::Pause(by_itself) => {
                let mut properties = serde_json::Map::new();
                if let Some(seconds) = by_itself {
                    properties.insert("duration".to_owned(), json!(format!("{seconds}s")));
                }
                if let Some(rule) = &step.rule {
                    properties.insert("approval".to_owned(), approval(rule));
                }
                ("suspend", Value::Object(properties))
            }
            What::Door => {
                let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": door(self.app),
                    "condition": "object.data.open == 'yes'"});
                ("wait-for", object)
            }
            What::Metrics(count) => {
                let query = json!({"metricServer": format!("http://{HOST}"),
                    "query": "${context.run}/${context.stepName}", "successCondition": "result[0] > 0.5",
                    "count": count, "interval": "20s"});
                ("check-metrics", query)
            }
            What::Ask => {
                let url = format!("http://{HOST}/ask/${{context.run}}/${{context.stepName}}");
                ("request", json!({"url": url}))
            }
            What::Depends(other) => ("depends-on-app", json!({"name": app_name(other)})),
        };
        say("type", json!(type_));
        say("properties", properties);
        match step.clause {
            Some(Clause::Always) => say("if", json!("always")),
            Some(Clause::EvenRuns) => say("if", json!("context.runNumber % 2 == 0")),
            Some(Clause::Well(earlier)) => {
                say("if", json!(format!("status[\"{}\"].succeeded", Self::step_name(earlier))));
            }
            None => {}
        }
        if let Some(seconds) = step.timeout {
            say("timeout", json!(format!("{seconds}s")));
        }
        if let Some((limit, interval)) = step.retry {
            say("retry", json!({"limit": limit, "interval": format!("{interval}s")}));
        }
        if self.steps.iter().any(|other| other.takes == Some(index)) {
            say("outputs", json!([{"name": made(index), "valueFrom": "context.stepName"}]));
        }
        if let Some(maker) = step.takes {
            // What a run delivers takes no values.
            let key = if matches!(step.what, What::Pause(_)) { "message" } else { "" };
            let mut input = json!({"from": made(maker)});
            if !key.is_empty() {
                input = json!({"from": made(maker), "parameterKey": key});
            }
            say("inputs", json!([input]));
        }
        if !step.after.is_empty() {
            let names: Vec<String> = step.after.iter().map(|at| Self::step_name(*at)).collect();
            say("dependsOn", json!(names));
        }
        Value::Object(written)
    }

    fn deploy(index: usize, step: &WantedStep) -> Value {
        let mut properties = serde_json::Map::new();
        let mut say = |key: &str, value: Value| drop(properties.insert(key.to_owned(), value));
        say("policies", json!([format!("where-{index}")]));
        match &step.rule {
            Some(rule) => say("approval", approval(rule)),
            None => say("auto", json!(!step.gated)),
        }
        say(
            "onDelete",
            json!(match step.deletes {
                Deletes::Asks => "Approve",
                Deletes::Prunes => "Prune",
                Deletes::Keeps => "Keep",
            }),
        );
        if let Some(at_once) = step.at_once {
            say("maxParallelTargets", json!(at_once));
        }
        if let Some(member) = step.canary {
            say("canary", json!({"clusters": [member_name(member)]}));
        }
        if step.soak > 0 {
            say("soak", json!(format!("{}s", step.soak)));
        }
        if let Some((what, after)) = step.silent {
            say("onUnreachable", json!(what));
            say("unreachableAfter", json!(format!("{after}s")));
        }
        if step.holds {
            say("onReturn", json!("Hold"));
        }
        if step.may_fail > 0 {
            say("maxFailures", json!(step.may_fail));
        }
        match step.on_failure {
            OnFailure::Stop => {}
            OnFailure::Continue => say("onFailure", json!("Continue")),
            OnFailure::Rollback => say("onFailure", json!("Rollback")),
        }
        if !step.order.is_empty() {
            let members: Vec<String> = step.order.iter().map(|member| member_name(*member)).collect();
            say("order", json!(members));
        }
        if let Some(on_join) = step.on_join {
            say("onJoin", json!(on_join));
        }
        Value::Object(properties)
    }

    /// Every step that must be over before one may begin.
    pub(crate) fn before(&self, at: usize) -> BTreeSet<usize> {
        steps::before(&self.steps, self.dag, at)
    }

    /// Whether a run may pass over the step that reaches a member, by its own condition or that of another.
    pub(crate) fn may_pass_over(&self, member: usize) -> bool {
        let Some(at) = self.step_of(member) else { return false };
        let mut all = self.before(at);
        all.insert(at);
        all.iter().any(|at| self.depends_on_run(*at))
    }

    fn depends_on_run(&self, at: usize) -> bool {
        match self.steps.get(at).and_then(|step| step.clause) {
            Some(Clause::EvenRuns) => true,
            Some(Clause::Well(earlier)) => self.depends_on_run(earlier),
            Some(Clause::Always) | None => false,
        }
    }

    /// The applications that its steps wait for.
    pub(crate) fn depends_on(&self) -> impl Iterator<Item = usize> {
        self.steps.iter().filter_map(|step| match step.what {
            What::Depends(other) => Some(other),
            _ => None,
        })
    }

    /// Whether something that it no longer has may stay where it was.
    pub(crate) fn may_leave(&self) -> bool {
        (0..self.steps.len()).any(|at| self.depends_on_run(at))
            || self.steps.iter().any(|step| step.deletes == Deletes::Keeps)
    }
}

fn made(step: usize) -> String {
    format!("made{step}")
}

/// The ConfigMap on the hub that steps of an application wait for.
pub(crate) fn door(app: usize) -> String {
    format!("door-{app}")
}

fn approval(rule: &Rule) -> Value {
    let mut written = json!({"required": rule.required, "excludeAuthor": rule.no_author});
    if let Some(fields) = written.as_object_mut() {
        if rule.releasers {
            fields.insert("groups".to_owned(), json!([RELEASERS]));
        }
        if let Some(seconds) = rule.expires {
            fields.insert("expiresAfter".to_owned(), json!(format!("{seconds}s")));
        }
    }
    written
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
