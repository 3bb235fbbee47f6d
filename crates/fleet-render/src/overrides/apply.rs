//! Components as they are after the overrides.

use serde_json::Value;

use super::{ComponentPatch, Override};
use crate::application::{Component, Trait};
use crate::definitions::Definitions;
use crate::error::RenderError;
use crate::nearest;

/// The rule of a policy that changed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The policy.
    pub policy: String,
    /// Where in its properties: `components[0].traits[1]`.
    pub place: String,
}

/// A component with every override applied, and who changed it.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectiveComponent {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_: String,
    /// The merged properties.
    pub properties: Value,
    /// The rules that changed the properties, in order.
    pub changed_by: Vec<Rule>,
    /// The traits, in the order in which they are applied.
    pub traits: Vec<EffectiveTrait>,
    /// As the component says.
    pub depends_on: Vec<String>,
    /// As [`EffectiveTrait::earlier`].
    pub(crate) earlier: Vec<(Option<Rule>, Value)>,
}

/// A trait with every override applied, and who changed it.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectiveTrait {
    /// Its type.
    pub type_: String,
    /// The merged properties.
    pub properties: Value,
    /// Whether the component itself has it; else a policy brought it.
    pub own: bool,
    /// The rules that brought or changed it, in order.
    pub changed_by: Vec<Rule>,
    /// The properties after each change but the last, with the rule that made them (`None`: the
    /// component). Provenance needs them: a field is owed to whoever set it, not to the last one.
    pub(crate) earlier: Vec<(Option<Rule>, Value)>,
}

impl EffectiveTrait {
    fn change(&mut self, properties: &Value, rule: Rule) {
        self.earlier.push((self.changed_by.last().cloned(), self.properties.clone()));
        merge(&mut self.properties, properties);
        self.changed_by.push(rule);
    }
}

/// The components that are delivered under `overrides`, which are applied one after the other.
///
/// - A patch changes every component whose whole name fits its pattern and whose type is the one given.
///   One that fits no component is an error: nothing is added silently.
/// - `properties` merge: maps by key, everything else is replaced. A `null` takes a parameter back to its
///   default, except where the type gives `null` a meaning (`json-merge-patch`, `labels`).
/// - A trait of a type that the component has once merges into it, unless the two name different things by
///   the definition's `mergeKeys` (two containers, say). Else it is added behind the others, so that
///   it has the last word.
/// - `disable` takes every trait of the type away.
/// - `selector` then keeps the components that it names.
///
/// # Errors
/// [`RenderError::ComponentTwice`], [`RenderError::NoSuchComponent`],
/// [`RenderError::NoSuchTraitToDisable`], [`RenderError::NoSuchSelection`].
pub fn effective_components(
    components: &[Component],
    overrides: &[&Override],
    definitions: &Definitions,
) -> Result<Vec<EffectiveComponent>, RenderError> {
    let mut effective: Vec<EffectiveComponent> = Vec::with_capacity(components.len());
    for component in components {
        if effective.iter().any(|other| other.name == component.name) {
            return Err(RenderError::ComponentTwice { component: component.name.clone() });
        }
        effective.push(EffectiveComponent::of(component));
    }
    for policy in overrides {
        for (index, patch) in policy.components.iter().enumerate() {
            apply(&mut effective, policy, index, patch, definitions)?;
        }
        select(&mut effective, policy)?;
    }
    Ok(effective)
}

impl EffectiveComponent {
    fn of(component: &Component) -> Self {
        let traits = component.traits.iter().map(|Trait { type_, properties }| EffectiveTrait {
            type_: type_.clone(),
            properties: properties.clone(),
            own: true,
            changed_by: Vec::new(),
            earlier: Vec::new(),
        });
        Self {
            name: component.name.clone(),
            type_: component.type_.clone(),
            properties: component.properties.clone(),
            changed_by: Vec::new(),
            traits: traits.collect(),
            depends_on: component.depends_on.clone(),
            earlier: Vec::new(),
        }
    }
}

impl ComponentPatch {
    fn matches(&self, component: &EffectiveComponent) -> bool {
        self.name.as_ref().is_none_or(|name| name.matches(&component.name))
            && self.type_.as_ref().is_none_or(|type_| *type_ == component.type_)
    }

    fn wanted(&self) -> String {
        match (&self.name, &self.type_) {
            (Some(name), None) => format!("is named {:?}", name.as_str()),
            (None, Some(type_)) => format!("is of type {type_:?}"),
            (Some(name), Some(type_)) => format!("is named {:?} and of type {type_:?}", name.as_str()),
            (None, None) => "is there".to_owned(),
        }
    }

    fn advice(&self, components: &[EffectiveComponent]) -> String {
        match (&self.name, &self.type_) {
            (None, Some(type_)) => {
                nearest::advice(type_, components.iter().map(|c| c.type_.as_str()), "component types here")
            }
            (Some(name), Some(_)) if components.iter().any(|c| name.matches(&c.name)) => {
                let types: Vec<String> = components
                    .iter()
                    .filter(|component| name.matches(&component.name))
                    .map(|component| format!("{:?} is of type {:?}", component.name, component.type_))
                    .collect();
                format!("; {}", types.join(", "))
            }
            (name, _) => {
                let wanted = name.as_ref().map_or("", |name| name.as_str());
                nearest::advice(wanted, components.iter().map(|c| c.name.as_str()), "components")
            }
        }
    }
}

fn apply(
    components: &mut [EffectiveComponent],
    policy: &Override,
    index: usize,
    patch: &ComponentPatch,
    definitions: &Definitions,
) -> Result<(), RenderError> {
    if !components.iter().any(|component| patch.matches(component)) {
        return Err(RenderError::NoSuchComponent {
            policy: policy.policy.clone(),
            index,
            wanted: patch.wanted(),
            advice: patch.advice(components),
        });
    }
    for (at, change) in patch.traits.iter().enumerate() {
        if change.disable {
            let matched: Vec<&EffectiveComponent> =
                components.iter().filter(|component| patch.matches(component)).collect();
            let present = |c: &&EffectiveComponent| c.traits.iter().any(|have| have.type_ == change.type_);
            if !matched.iter().any(present) {
                let names: Vec<String> = matched.iter().map(|c| format!("{:?}", c.name)).collect();
                let known = matched.iter().flat_map(|c| c.traits.iter().map(|have| have.type_.as_str()));
                return Err(RenderError::NoSuchTraitToDisable {
                    policy: policy.policy.clone(),
                    index,
                    trait_type: change.type_.clone(),
                    components: names.join(", "),
                    advice: nearest::advice(&change.type_, known, "traits"),
                });
            }
        }
        for component in components.iter_mut().filter(|component| patch.matches(component)) {
            if change.disable {
                component.traits.retain(|have| have.type_ != change.type_);
            } else {
                let keys = definitions.merge_keys(&change.type_);
                let place = format!("components[{index}].traits[{at}]");
                let rule = Rule { policy: policy.policy.clone(), place };
                merge_trait(component, &change.type_, &change.properties, keys, rule);
            }
        }
    }
    if let Some(properties) = &patch.properties {
        for component in components.iter_mut().filter(|component| patch.matches(component)) {
            component.earlier.push((component.changed_by.last().cloned(), component.properties.clone()));
            merge(&mut component.properties, properties);
            let place = format!("components[{index}].properties");
            component.changed_by.push(Rule { policy: policy.policy.clone(), place });
        }
    }
    Ok(())
}

fn merge_trait(
    component: &mut EffectiveComponent,
    type_: &str,
    properties: &Value,
    keys: &[String],
    rule: Rule,
) {
    let alike = |have: &EffectiveTrait| {
        have.type_ == type_ && keys.iter().all(|key| have.properties.get(key) == properties.get(key))
    };
    let several = component.traits.iter().filter(|have| have.type_ == type_).count() > 1;
    // Several that nothing tells apart: none of them is the one that is meant.
    let known = if several && keys.is_empty() {
        None
    } else {
        component.traits.iter_mut().rev().find(|have| alike(have))
    };
    match known {
        Some(have) => have.change(properties, rule),
        None => component.traits.push(EffectiveTrait {
            type_: type_.to_owned(),
            properties: properties.clone(),
            own: false,
            changed_by: vec![rule],
            earlier: Vec::new(),
        }),
    }
}

fn select(components: &mut Vec<EffectiveComponent>, policy: &Override) -> Result<(), RenderError> {
    if policy.selector.is_empty() {
        return Ok(());
    }
    for (index, wanted) in policy.selector.iter().enumerate() {
        if !components.iter().any(|component| wanted.matches(&component.name)) {
            let known = components.iter().map(|component| component.name.as_str());
            return Err(RenderError::NoSuchSelection {
                policy: policy.policy.clone(),
                index,
                name: wanted.as_str().to_owned(),
                advice: nearest::advice(wanted.as_str(), known, "components"),
            });
        }
    }
    components.retain(|component| policy.selector.iter().any(|wanted| wanted.matches(&component.name)));
    Ok(())
}

/// Maps merge by key; everything else is replaced, by `null` too: what that means is up to the type.
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                match target.get_mut(key) {
                    Some(have) => merge(have, value),
                    None => {
                        target.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}
