//! One trait on one component.

use fleet_api::{Provenance, Source};
use fleet_json::{PatchError, Untyped, json_patch, merge_patch, strategic_merge_patch};
use fleet_schema::{GroupVersionKind, KindInfo, SchemaRef, builtin};
use serde_json::Value;

use super::{RenderedObject, changed_by, object, parameters, refused, usable};
use crate::clusters_own;
use crate::definition::{Definition, DefinitionKind, PatchType, Schematic, Scope};
use crate::definitions::Definitions;
use crate::error::RenderError;
use crate::nearest;
use crate::overrides::{EffectiveComponent, EffectiveTrait, Rule};

/// Patches the object that the trait applies to, and gives back what the trait adds.
pub(super) fn apply(
    definitions: &Definitions,
    component: &EffectiveComponent,
    applied: &EffectiveTrait,
    context: &Value,
    objects: &mut [RenderedObject],
) -> Result<Vec<RenderedObject>, RenderError> {
    let (definition, schematic, owner) = trait_type(definitions, component, applied)?;
    let Some(target) =
        objects.iter_mut().find(|made| accepts(&definition.applies_to, component, &made.object))
    else {
        // A wrong parameter is the nearer mistake.
        parameters(schematic, &applied.properties, &owner)?;
        return Err(not_applicable(&owner, &definition.applies_to, objects));
    };
    let step = Step { schematic, owner: &owner, context, before: &target.object };
    let (after, outputs) = step.take(&applied.properties)?;
    // Whoever set a field first is its source, though a later policy changed others of the same trait.
    let mut stages = Vec::with_capacity(applied.earlier.len() + 1);
    for (rule, properties) in &applied.earlier {
        // Properties that were incomplete until a policy completed them set nothing yet.
        stages.extend(
            step.take(properties).ok().map(|(after, _)| (after, source(component, applied, rule.as_ref()))),
        );
    }
    let source = source(component, applied, applied.changed_by.last());
    stages.push((after, source.clone()));
    for (after, source) in stages {
        record(&mut target.provenance, &target.object, &after, &source);
        target.object = after;
    }
    let mut beside = Vec::with_capacity(outputs.len());
    for (index, mut value) in outputs.into_iter().enumerate() {
        object::check(&value, &component.name, &format!("trait {:?}, output {index}", applied.type_))?;
        object::strip_namespace(&mut value);
        beside.push(RenderedObject {
            component: component.name.clone(),
            object: value,
            provenance: Provenance::new(source.clone()),
        });
    }
    Ok(beside)
}

/// What can be judged without an object.
pub(super) fn check(
    definitions: &Definitions,
    component: &EffectiveComponent,
    applied: &EffectiveTrait,
) -> Result<(), RenderError> {
    let (_, schematic, owner) = trait_type(definitions, component, applied)?;
    parameters(schematic, &applied.properties, &owner).map(drop)
}

fn trait_type<'d>(
    definitions: &'d Definitions,
    component: &EffectiveComponent,
    applied: &EffectiveTrait,
) -> Result<(&'d Definition, &'d Schematic, String), RenderError> {
    let kind = DefinitionKind::Trait;
    let Some(definition) = definitions.get(kind, &applied.type_) else {
        return Err(RenderError::UnknownTrait {
            component: component.name.clone(),
            trait_type: applied.type_.clone(),
            advice: nearest::advice(&applied.type_, definitions.names(kind), "traits"),
        });
    };
    let by = changed_by(&applied.changed_by);
    let owner = format!("component {:?}, trait {:?}{by}", component.name, applied.type_);
    let schematic = usable(definition, &owner)?;
    Ok((definition, schematic, owner))
}

/// One application of a trait to one object.
struct Step<'s> {
    schematic: &'s Schematic,
    owner: &'s str,
    context: &'s Value,
    before: &'s Value,
}

impl Step<'_> {
    /// The object after it, and what it adds.
    fn take(&self, properties: &Value) -> Result<(Value, Vec<Value>), RenderError> {
        let parameter = parameters(self.schematic, properties, self.owner)?;
        let mut scope =
            Scope::new(vec![("parameter", &parameter), ("context", self.context), ("output", self.before)]);
        let refuse = |refusal| refused(refusal, self.owner);
        self.schematic.prepare(&mut scope).map_err(refuse)?;
        let mut after = self.before.clone();
        if let Some((patch_type, patch)) = self.schematic.patch(&scope).map_err(refuse)? {
            patch_object(&mut after, patch_type, &patch).map_err(|error| RenderError::Patch {
                owner: self.owner.to_owned(),
                object: object::shown(self.before),
                problem: told(&error, self.before),
            })?;
            keeps_identity(self.before, &after, self.owner)?;
        }
        Ok((after, self.schematic.outputs(&scope).map_err(refuse)?))
    }
}

/// The values of a Secret stand in no message.
fn told(error: &PatchError, value: &Value) -> String {
    match error {
        PatchError::TestFailed { index, path, .. } if object::kind(value) == "Secret" => {
            format!("operation {index} (test {path}): the value is another")
        }
        other => other.to_string(),
    }
}

fn source(component: &EffectiveComponent, applied: &EffectiveTrait, rule: Option<&Rule>) -> Source {
    match rule {
        Some(rule) => Source::Override {
            policy: rule.policy.clone(),
            rule: rule.place.clone(),
            trait_type: Some(applied.type_.clone()),
        },
        None => Source::Trait { trait_type: applied.type_.clone(), component: component.name.clone() },
    }
}

fn known_kind(value: &Value) -> Option<&'static KindInfo> {
    builtin().by_kind(&GroupVersionKind::new(
        object::group(value),
        object::version(value),
        object::kind(value),
    ))
}

/// Takes note of what changed between two states of an object.
pub(crate) fn record(provenance: &mut Provenance, before: &Value, after: &Value, source: &Source) {
    match shape(before) {
        Some(shape) => provenance.record(before, after, Some(shape), source),
        None => provenance.record::<Untyped>(before, after, None, source),
    }
}

fn shape(value: &Value) -> Option<SchemaRef<'static>> {
    known_kind(value).and_then(KindInfo::schema)
}

/// Whether a definition's list names this object: `*`, `*.group`, `plural.group` (`deployments.apps`,
/// `configmaps`), or the component's type.
fn accepts(applies_to: &[String], component: &EffectiveComponent, value: &Value) -> bool {
    if applies_to.is_empty() {
        return true;
    }
    let group = object::group(value);
    applies_to.iter().any(|entry| {
        if entry == "*" || *entry == component.type_ {
            return true;
        }
        let (plural, wanted_group) = entry.split_once('.').unwrap_or((entry, ""));
        wanted_group == group && (plural == "*" || is_plural(plural, value))
    })
}

/// Of kinds that aren't built in, the plural is guessed by English rules, as `kubectl` once did.
fn is_plural(plural: &str, value: &Value) -> bool {
    if let Some(info) = known_kind(value) {
        return info.plural == plural;
    }
    let kind = object::kind(value).to_lowercase();
    let guessed = match kind.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if kind.ends_with(['s', 'x']) || kind.ends_with("ch") || kind.ends_with("sh") => {
            format!("{kind}es")
        }
        _ => format!("{kind}s"),
    };
    guessed == plural
}

fn not_applicable(owner: &str, applies_to: &[String], objects: &[RenderedObject]) -> RenderError {
    let names: Vec<String> = objects.iter().map(|made| object::shown(&made.object)).collect();
    RenderError::NotApplicable {
        owner: owner.to_owned(),
        accepts: match applies_to {
            [] => "any object".to_owned(),
            some => some.join(", "),
        },
        objects: if names.is_empty() { "no objects".to_owned() } else { names.join(", ") },
    }
}

fn patch_object(target: &mut Value, patch_type: PatchType, patch: &Value) -> Result<(), PatchError> {
    match patch_type {
        PatchType::Json => json_patch(target, patch),
        PatchType::Merge if !patch.is_object() => {
            // A merge patch that is no map would replace the object.
            strategic_merge_patch(target, patch, None::<Untyped>)
        }
        PatchType::Merge => {
            merge_patch(target, patch);
            Ok(())
        }
        PatchType::Strategic => match shape(target) {
            Some(shape) => strategic_merge_patch(target, patch, Some(shape)),
            None => strategic_merge_patch(target, patch, None::<Untyped>),
        },
    }
}

fn keeps_identity(before: &Value, after: &Value, owner: &str) -> Result<(), RenderError> {
    const FIELDS: [(&str, &str, &str); 4] = [
        ("apiVersion", "/apiVersion", "refer to another object instead"),
        ("kind", "/kind", "refer to another object instead"),
        ("metadata.name", "/metadata/name", "refer to another object instead"),
        ("metadata.namespace", "/metadata/namespace", "set the namespace in the topology policy"),
    ];
    for (field, pointer, advice) in FIELDS {
        if before.pointer(pointer) != after.pointer(pointer) {
            let (owner, object) = (owner.to_owned(), object::shown(before));
            return Err(RenderError::Identity { owner, object, field, advice });
        }
    }
    if let Some((field, why)) = clusters_own::changed(before, after) {
        let (owner, object) = (owner.to_owned(), object::shown(before));
        return Err(RenderError::ClustersOwn { owner, object, field, why });
    }
    Ok(())
}
