//! Components, overrides and referenced objects to the objects that are delivered.

mod object;
mod traits;

use std::collections::BTreeMap;

use fleet_api::{Provenance, Source};
use fleet_json::FieldPath;
use fleet_schema::behaviour::fold_string_data;
use serde_json::{Value, json};

use crate::application::Component;
use crate::definition::{Definition, DefinitionKind, Schematic, Scope};
use crate::definitions::Definitions;
use crate::error::RenderError;
use crate::nearest;
use crate::overrides::{EffectiveComponent, Override, Rule, effective_components};
pub(crate) use traits::record;

/// The component type whose objects live on the hub; the caller resolves them.
pub const REFERENCE_TYPE: &str = "ref-objects";

/// The component type whose objects stand in its properties.
pub const INLINE_TYPE: &str = "k8s-objects";

/// What is rendered.
#[derive(Clone, Copy)]
pub struct RenderInput<'a> {
    /// The Application's name.
    pub app_name: &'a str,
    /// The Application's namespace.
    pub app_namespace: &'a str,
    /// As the Application says.
    pub components: &'a [Component],
    /// In the order in which they are applied.
    pub overrides: &'a [&'a Override],
    /// The resolved and sanitised objects of a `ref-objects` component, by its name. Asked for components
    /// that are left after the overrides only; what they refer to then is in [`effective_components`].
    pub objects: &'a dyn Fn(&str) -> &'a [Value],
    /// What types mean.
    pub definitions: &'a Definitions,
}

/// One object that is delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderedObject {
    /// The component it belongs to.
    pub component: String,
    /// The object, without `metadata.namespace`: the target decides that.
    pub object: Value,
    /// Who set its fields.
    pub provenance: Provenance,
}

/// Renders all components, in their order; the objects of a component in theirs, then what its traits add.
///
/// A trait that patches changes the first of the component's objects that it applies to.
///
/// # Errors
/// The first mistake, see [`RenderError`]; nothing is rendered then.
pub fn render(input: &RenderInput<'_>) -> Result<Vec<RenderedObject>, RenderError> {
    let components = effective_components(input.components, input.overrides, input.definitions)?;
    let mut rendered = Vec::new();
    for component in &components {
        rendered.extend(render_component(input, component)?);
    }
    let mut owners: BTreeMap<(String, String, String), &str> = BTreeMap::new();
    for made in &rendered {
        let key = object::identity(&made.object);
        let shown = object::shown(&made.object);
        if let Some(first) = owners.insert(key, &made.component) {
            return Err(RenderError::SameObject {
                first: first.to_owned(),
                second: made.component.clone(),
                object: shown,
            });
        }
    }
    Ok(rendered)
}

/// What can be judged before the referenced objects are there: overrides, types and parameters. Gives the
/// components as they will be rendered; their `ref-objects` are what must be resolved.
///
/// # Errors
/// The first mistake, see [`RenderError`].
pub fn check(
    components: &[Component],
    overrides: &[&Override],
    definitions: &Definitions,
) -> Result<Vec<EffectiveComponent>, RenderError> {
    let components = effective_components(components, overrides, definitions)?;
    for component in &components {
        match component.type_.as_str() {
            REFERENCE_TYPE => {}
            INLINE_TYPE => {
                for (index, value) in object::inline(component)?.iter().enumerate() {
                    object::check(value, &component.name, &format!("properties.objects[{index}]"))?;
                }
            }
            _ => {
                let (schematic, owner) = component_type(definitions, component)?;
                parameters(schematic, &component.properties, &owner)?;
            }
        }
        for applied in &component.traits {
            traits::check(definitions, component, applied)?;
        }
    }
    Ok(components)
}

fn render_component(
    input: &RenderInput<'_>,
    component: &EffectiveComponent,
) -> Result<Vec<RenderedObject>, RenderError> {
    let context = json!({
        "name": component.name,
        "component": component.name,
        "appName": input.app_name,
        "namespace": input.app_namespace,
    });
    let made = match component.type_.as_str() {
        REFERENCE_TYPE => (input.objects)(&component.name)
            .iter()
            .map(|object| (object.clone(), Source::Referenced))
            .collect(),
        _ => from_properties(input, component, &context)?,
    };
    let mut objects: Vec<RenderedObject> = Vec::with_capacity(made.len());
    for (index, (value, _)) in made.iter().enumerate() {
        let place = match component.type_.as_str() {
            INLINE_TYPE => format!("properties.objects[{index}]"),
            REFERENCE_TYPE => format!("referenced object {index}"),
            other => format!("object {index} of type {other:?}"),
        };
        object::check(value, &component.name, &place)?;
    }
    for (mut value, base) in made {
        object::strip_namespace(&mut value);
        objects.push(RenderedObject {
            component: component.name.clone(),
            object: value,
            provenance: Provenance::new(base),
        });
    }
    attribute(input, component, &context, &mut objects);
    let mut made = objects;
    let mut beside = Vec::new();
    for applied in &component.traits {
        beside.extend(traits::apply(input.definitions, component, applied, &context, &mut made)?);
    }
    made.extend(beside);
    for one in &mut made {
        fold(one);
    }
    Ok(made)
}

/// What is delivered is what is seen there: `stringData` can only be written.
fn fold(made: &mut RenderedObject) {
    let at = |parent: &str, key: &str| {
        let mut path = FieldPath::root();
        path.push(parent);
        path.push(key);
        path
    };
    for key in fold_string_data(&mut made.object) {
        made.provenance.moved(&at("stringData", &key), at("data", &key));
    }
}

/// The objects that a component's own properties make, with who made them whole.
fn from_properties(
    input: &RenderInput<'_>,
    component: &EffectiveComponent,
    context: &Value,
) -> Result<Vec<(Value, Source)>, RenderError> {
    let source = stage_source(component, component.changed_by.last());
    let objects = match component.type_.as_str() {
        INLINE_TYPE => object::inline(component)?,
        _ => from_definition(input, component, context)?,
    };
    Ok(objects.into_iter().map(|object| (object, source.clone())).collect())
}

/// Whom the objects are owed to that a state of a component's properties makes.
fn stage_source(component: &EffectiveComponent, rule: Option<&Rule>) -> Source {
    match (rule, component.type_.as_str()) {
        (Some(rule), _) => {
            Source::Override { policy: rule.policy.clone(), rule: rule.place.clone(), trait_type: None }
        }
        (None, INLINE_TYPE) => Source::Inline,
        (None, other) => Source::Component { component_type: other.to_owned() },
    }
}

/// Where policies changed a component's properties, a field is owed to whoever set it: the states of the properties are
/// rendered one after the other, and compared.
fn attribute(
    input: &RenderInput<'_>,
    component: &EffectiveComponent,
    context: &Value,
    objects: &mut [RenderedObject],
) {
    if component.earlier.is_empty() || component.type_ == REFERENCE_TYPE {
        return;
    }
    let mut stages: Vec<(Vec<Value>, Source)> = Vec::with_capacity(component.earlier.len());
    for (rule, properties) in &component.earlier {
        let earlier = EffectiveComponent { properties: properties.clone(), ..component.clone() };
        // Properties that were incomplete until a policy completed them made nothing yet.
        let Ok(made) = from_properties(input, &earlier, context) else { continue };
        let made = made.into_iter().map(|(mut object, _)| {
            object::strip_namespace(&mut object);
            object
        });
        stages.push((made.collect(), stage_source(component, rule.as_ref())));
    }
    let last = stage_source(component, component.changed_by.last());
    for made in objects {
        let identity = object::identity(&made.object);
        let before = stages.iter().filter_map(|(objects, source)| {
            let found = objects.iter().find(|object| object::identity(object) == identity);
            found.map(|object| (object, source))
        });
        let mut known: Option<&Value> = None;
        for (object, source) in before.chain(std::iter::once((&made.object, &last))) {
            match known {
                None => made.provenance = Provenance::new(source.clone()),
                Some(known) => traits::record(&mut made.provenance, known, object, source),
            }
            known = Some(object);
        }
    }
}

fn component_type<'d>(
    definitions: &'d Definitions,
    component: &EffectiveComponent,
) -> Result<(&'d Schematic, String), RenderError> {
    let kind = DefinitionKind::Component;
    let Some(definition) = definitions.get(kind, &component.type_) else {
        let known = definitions.names(kind).chain([REFERENCE_TYPE, INLINE_TYPE]);
        return Err(RenderError::UnknownType {
            component: component.name.clone(),
            type_name: component.type_.clone(),
            advice: nearest::advice(&component.type_, known, "component types"),
        });
    };
    let by = changed_by(&component.changed_by);
    let owner = format!("component {:?} ({}){by}", component.name, component.type_);
    Ok((usable(definition, &owner)?, owner))
}

fn from_definition(
    input: &RenderInput<'_>,
    component: &EffectiveComponent,
    context: &Value,
) -> Result<Vec<Value>, RenderError> {
    let (schematic, owner) = component_type(input.definitions, component)?;
    let parameter = parameters(schematic, &component.properties, &owner)?;
    let mut scope = Scope::new(vec![("parameter", &parameter), ("context", context)]);
    schematic.prepare(&mut scope).map_err(|refusal| refused(refusal, &owner))?;
    let workload = schematic.workload(&scope).map_err(|refusal| refused(refusal, &owner))?;
    let outputs = schematic.outputs(&scope).map_err(|refusal| refused(refusal, &owner))?;
    Ok(workload.into_iter().chain(outputs).collect())
}

/// `, changed by policy "a", "b"`: a mistake may be theirs.
fn changed_by(rules: &[Rule]) -> String {
    if rules.is_empty() {
        return String::new();
    }
    let names: Vec<String> = rules.iter().map(|rule| format!("{:?}", rule.policy)).collect();
    format!(", changed by policy {}", names.join(", "))
}

fn usable<'d>(definition: &'d Definition, owner: &str) -> Result<&'d Schematic, RenderError> {
    definition
        .schematic
        .as_ref()
        .map_err(|problem| RenderError::Definition { owner: owner.to_owned(), problem: problem.clone() })
}

fn parameters(schematic: &Schematic, properties: &Value, owner: &str) -> Result<Value, RenderError> {
    schematic.parameters.check(properties).map_err(|(path, problem)| RenderError::Parameter {
        owner: owner.to_owned(),
        path,
        problem,
    })
}

fn refused(refusal: crate::definition::Refusal, owner: &str) -> RenderError {
    use crate::definition::Refusal;
    let owner = owner.to_owned();
    match refusal {
        Refusal::Check(message) => RenderError::Check { owner, message },
        Refusal::Template(place, problem) => RenderError::Template { owner, place, problem },
    }
}
