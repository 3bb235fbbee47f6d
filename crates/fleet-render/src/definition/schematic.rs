//! The part of a definition that does something.

use std::collections::BTreeSet;

use fleet_cel::{Limits, Program, Template, TemplateError};
use serde_json::{Map, Value};

use super::parameters::Parameters;
use super::{DefinitionKind, PatchType};
use crate::nearest;

/// The compiled `spec.schematic.fleet`.
#[derive(Debug)]
pub(crate) struct Schematic {
    pub(crate) parameters: Parameters,
    pub(crate) merge_keys: Vec<String>,
    lets: Vec<(String, Template)>,
    checks: Vec<Check>,
    patch: Option<(PatchType, Template)>,
    template: Option<Template>,
    outputs: Vec<Template>,
}

#[derive(Debug)]
struct Check {
    rule: Program,
    message: Template,
}

/// What a part of a schematic says about an input.
pub(crate) enum Refusal {
    /// A check's message.
    Check(String),
    /// A template that fails: which, and how.
    Template(String, String),
}

/// The names that templates see.
pub(crate) struct Scope<'v> {
    fixed: Vec<(&'v str, &'v Value)>,
    made: Vec<(String, Value)>,
}

impl<'v> Scope<'v> {
    pub(crate) fn new(fixed: Vec<(&'v str, &'v Value)>) -> Self {
        Self { fixed, made: Vec::new() }
    }

    fn variables(&self) -> Vec<(&str, &Value)> {
        let made = self.made.iter().map(|(name, value)| (name.as_str(), value));
        self.fixed.iter().copied().chain(made).collect()
    }

    fn render(&self, template: &Template, place: &str) -> Result<Value, Refusal> {
        template
            .render(&self.variables())
            .map_err(|error| Refusal::Template(place.to_owned(), error.to_string()))
    }
}

impl Schematic {
    pub(crate) fn compile(kind: DefinitionKind, object: &Value) -> Result<Self, String> {
        let Some(fleet) = object.pointer("/spec/schematic/fleet") else {
            let other = object.pointer("/spec/schematic").and_then(Value::as_object);
            let found = match other.and_then(|map| map.keys().min()) {
                Some(other) => format!("it has a {other:?} schematic, which isn't understood"),
                None => "it has no schematic".to_owned(),
            };
            return Err(format!(
                "{found}; write spec.schematic.fleet (parameters, and a template with ${{…}})"
            ));
        };
        let fleet = fleet.as_object().ok_or("spec.schematic.fleet: expected a map")?;
        let known: &[&str] = match kind {
            DefinitionKind::Trait => {
                &["parameters", "mergeKeys", "let", "checks", "patchType", "patch", "outputs"]
            }
            DefinitionKind::Component => &["parameters", "let", "checks", "template", "outputs"],
        };
        only(fleet, "spec.schematic.fleet", known)?;
        let mut names: BTreeSet<String> = ["parameter", "context"].map(str::to_owned).into();
        if kind == DefinitionKind::Trait {
            names.insert("output".to_owned());
        }
        let parameters = Parameters::new(fleet.get("parameters"))?;
        let merge_keys = list(fleet, "mergeKeys")?
            .iter()
            .map(|key| key.as_str().map(str::to_owned).ok_or("mergeKeys: expected strings".to_owned()))
            .collect::<Result<_, _>>()?;
        let mut lets = Vec::new();
        for (index, item) in list(fleet, "let")?.iter().enumerate() {
            let place = format!("let[{index}]");
            let item = item.as_object().ok_or_else(|| format!("{place}: expected a map"))?;
            only(item, &place, &["name", "value"])?;
            let name = item.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| format!("{place}.name: expected a string"))?;
            let template =
                template(item.get("value").unwrap_or(&Value::Null), &format!("{place}.value"), &names)?;
            if !names.insert(name.to_owned()) {
                return Err(format!("{place}.name: {name:?} is there already"));
            }
            lets.push((name.to_owned(), template));
        }
        let mut checks = Vec::new();
        for (index, item) in list(fleet, "checks")?.iter().enumerate() {
            checks.push(Check::compile(item, &format!("checks[{index}]"), &names)?);
        }
        let patch_type = match fleet.get("patchType").map(Value::as_str) {
            None | Some(Some("strategic")) => PatchType::Strategic,
            Some(Some("merge")) => PatchType::Merge,
            Some(Some("json")) => PatchType::Json,
            Some(_) => return Err("patchType: expected strategic, merge or json".to_owned()),
        };
        let compiled = |key: &str| fleet.get(key).map(|value| template(value, key, &names)).transpose();
        let patch = compiled("patch")?.map(|template| (patch_type, template));
        let main = compiled("template")?;
        let mut outputs = Vec::new();
        for (index, item) in list(fleet, "outputs")?.iter().enumerate() {
            outputs.push(template(item, &format!("outputs[{index}]"), &names)?);
        }
        match kind {
            DefinitionKind::Trait if patch.is_none() && outputs.is_empty() => {
                Err("it has neither patch nor outputs".to_owned())
            }
            DefinitionKind::Component if main.is_none() => Err("it has no template".to_owned()),
            _ => Ok(Self { parameters, merge_keys, lets, checks, patch, template: main, outputs }),
        }
    }

    /// Fills `let` in and runs the checks.
    pub(crate) fn prepare(&self, scope: &mut Scope<'_>) -> Result<(), Refusal> {
        for (name, template) in &self.lets {
            let value = scope.render(template, &format!("let {name}"))?;
            scope.made.push((name.clone(), value));
        }
        for (index, check) in self.checks.iter().enumerate() {
            let place = format!("checks[{index}]");
            let holds = check
                .rule
                .evaluate_bool(&scope.variables())
                .map_err(|error| Refusal::Template(place.clone(), error.to_string()))?;
            if !holds {
                let message = scope.render(&check.message, &place)?;
                return Err(Refusal::Check(
                    message.as_str().map_or_else(|| message.to_string(), str::to_owned),
                ));
            }
        }
        Ok(())
    }

    /// The patch, and how to apply it.
    pub(crate) fn patch(&self, scope: &Scope<'_>) -> Result<Option<(PatchType, Value)>, Refusal> {
        let Some((patch_type, template)) = &self.patch else { return Ok(None) };
        Ok(Some((*patch_type, scope.render(template, "patch")?)))
    }

    /// The workload of a component.
    pub(crate) fn workload(&self, scope: &Scope<'_>) -> Result<Option<Value>, Refusal> {
        self.template.as_ref().map(|template| scope.render(template, "template")).transpose()
    }

    /// Further objects; absent ones are left out. A template that gives a list gives many.
    pub(crate) fn outputs(&self, scope: &Scope<'_>) -> Result<Vec<Value>, Refusal> {
        let mut objects = Vec::new();
        for (index, template) in self.outputs.iter().enumerate() {
            match scope.render(template, &format!("outputs[{index}]"))? {
                Value::Null => {}
                Value::Array(items) => objects.extend(items),
                object => objects.push(object),
            }
        }
        Ok(objects)
    }
}

impl Check {
    fn compile(item: &Value, place: &str, names: &BTreeSet<String>) -> Result<Self, String> {
        let item = item.as_object().ok_or_else(|| format!("{place}: expected a map"))?;
        only(item, place, &["rule", "message"])?;
        let rule = item.get("rule").and_then(Value::as_str);
        let rule = rule.ok_or_else(|| format!("{place}.rule: expected an expression"))?;
        let rule =
            Program::compile(rule, &Limits::default()).map_err(|error| format!("{place}.rule: {error}"))?;
        known_names(rule.variables(), names).map_err(|problem| format!("{place}.rule: {problem}"))?;
        let message = item.get("message").filter(|message| message.is_string());
        let message = message.ok_or_else(|| format!("{place}.message: expected a string"))?;
        Ok(Self { rule, message: template(message, &format!("{place}.message"), names)? })
    }
}

fn template(value: &Value, place: &str, names: &BTreeSet<String>) -> Result<Template, String> {
    let template = Template::compile(value, &Limits::default()).map_err(|error: TemplateError| {
        let dot = if error.path.is_empty() || error.path.starts_with('[') { "" } else { "." };
        format!("{place}{dot}{}: {}", error.path, error.message)
    })?;
    known_names(template.variables(), names).map_err(|problem| format!("{place}: {problem}"))?;
    Ok(template)
}

fn known_names<'n>(mut used: impl Iterator<Item = &'n str>, known: &BTreeSet<String>) -> Result<(), String> {
    match used.find(|name| !known.contains(*name)) {
        None => Ok(()),
        Some(name) => {
            let advice = nearest::advice(name, known.iter().map(String::as_str), "variables");
            Err(format!("there is no variable {name:?}{advice}"))
        }
    }
}

fn list<'v>(map: &'v Map<String, Value>, key: &str) -> Result<&'v [Value], String> {
    match map.get(key) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("{key}: expected a list")),
    }
}

fn only(map: &Map<String, Value>, place: &str, known: &[&str]) -> Result<(), String> {
    match map.keys().filter(|key| !known.contains(&key.as_str())).min() {
        None => Ok(()),
        Some(key) => {
            let advice = nearest::advice(key, known.iter().copied(), "known fields");
            Err(format!("{place}.{key}: unknown field{advice}"))
        }
    }
}
