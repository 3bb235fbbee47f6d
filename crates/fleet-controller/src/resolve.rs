//! From an Application and what it refers to, to the content of a revision. Pure over a snapshot.

pub(crate) mod advice;
mod inline;
mod references;
mod staged;

use std::collections::BTreeMap;

use fleet_api::staged::STAGED;
use fleet_api::{
    Application, ApplicationSpec, ObjectId, Policy, Provenance, RevisionContent, StagedPlacement, Step,
    StepContent, Workflow, WorkflowMode, names,
};
use fleet_json::{ContentHash, LabelSelector};
use fleet_placement::Topology;
use fleet_plan::{ResourcePolicies, Subject};
use fleet_render::{Component, Definitions, Override, RenderInput, Trait, check, render};
use fleet_workflow::{Graph, StepKind, flatten, graph};
use serde_json::{Value, json};

use crate::Problem;
use crate::run::queue;

pub use references::{ObjectReference, Selection, references};
pub(crate) use staged::{BEHIND, CANNOT_BE_STAGED, WITHOUT};

/// Policy types that say where and how objects go.
const PLACING: [&str; 2] = ["topology", "override"];

/// What the hub holds, as far as an Application may refer to it.
pub trait Snapshot {
    /// An external policy in the Application's namespace.
    fn policy(&self, name: &str) -> Option<Policy>;
    /// The names of all of them, for advice.
    fn policy_names(&self) -> Vec<String>;
    /// An external workflow in the Application's namespace.
    fn workflow(&self, name: &str) -> Option<Workflow>;
    /// The names of all of them, for advice.
    fn workflow_names(&self) -> Vec<String>;
    /// What a reference finds: sanitised objects, in the order of their names.
    ///
    /// # Errors
    /// Where the kind isn't known on the hub.
    fn objects(&self, reference: &ObjectReference) -> Result<Vec<Value>, Problem>;
}

/// What would run: the content of a revision with everything read from it.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The content.
    pub content: RevisionContent,
    /// Its hash: what is rendered, where it goes and in which order. Not how it was written.
    pub hash: String,
}

/// Puts an Application together.
///
/// # Errors
/// The first thing that is missing or wrong.
pub fn resolve(
    app: &Application,
    snapshot: &dyn Snapshot,
    definitions: &Definitions,
) -> Result<Draft, Problem> {
    let namespace = app.metadata.namespace.as_deref().unwrap_or_default();
    let name = app.metadata.name.as_deref().unwrap_or_default();
    let spec = &app.spec;
    queue::rule(app)?;
    let carried = staged::read(app)?;
    let components = components(spec)?;
    let inline = inline_policies(spec)?;
    let (steps, dag) = steps(spec, snapshot, &inline)?;
    let graph = Graph::read(&steps, dag)?;
    let policies = used_policies(&graph, snapshot, &inline)?;
    inline::refuse_foreign_namespaces(&components, namespace, &policies)?;
    if carried.is_some() {
        staged::refuse_foreign(&components, &policies, namespace)?;
    }
    let mut resource_policies = ResourcePolicies::default();
    for (policy, (type_, properties)) in &policies {
        resource_policies.add(policy, type_, properties)?;
        if type_ == "topology" {
            Topology::parse(policy, properties)?;
        }
    }
    let mut contents = Vec::with_capacity(graph.nodes.len());
    for (node, written) in graph.nodes.iter().zip(flatten(&steps)?) {
        let group = node.group.and_then(|group| graph.nodes.get(group)).map(|group| group.name.clone());
        let mut content = StepContent { step: written.step, group, ..StepContent::default() };
        if let StepKind::Deploy(deploy) = &node.kind {
            let of_type = |wanted: &str| {
                let named =
                    deploy.policies.iter().filter(|p| policies.get(*p).is_some_and(|(t, _)| t == wanted));
                named.cloned().collect::<Vec<_>>()
            };
            content.topologies = of_type("topology");
            content.overrides = of_type("override");
            if content.topologies.is_empty() && carried.is_none() {
                return Err(no_topology(&node.name, &policies));
            }
            (content.objects, content.provenance) = rendered(&RenderStep {
                name,
                namespace,
                components: &components,
                overrides: &content.overrides,
                policies: &policies,
                snapshot,
                definitions,
            })?;
            agree(&content.objects, &components, &resource_policies)?;
            if let Some(carried) = &carried {
                staged::as_distributed(carried, &mut content.objects, namespace)?;
                content.variants = staged::variants(carried, &content.objects, namespace)?;
            }
        }
        contents.push(content);
    }
    let content = RevisionContent {
        spec: spec.clone(),
        definitions: used_definitions(&components, &policies, definitions),
        policies,
        steps: contents,
        dag,
        service_account: service_account(app)?,
    };
    Ok(Draft { hash: hash(&content, carried.as_ref()), content })
}

/// No object may be both only read and shared.
fn agree(
    objects: &[(String, Value)],
    components: &[Component],
    policies: &ResourcePolicies,
) -> Result<(), Problem> {
    for (component, object) in objects {
        let Some(id) = ObjectId::of(object) else { continue };
        let component_type =
            components.iter().find(|c| c.name == *component).map_or("", |c| c.type_.as_str());
        let subject = Subject { id: &id, component, component_type };
        if let Some((reads, shares)) = policies.contradiction(&subject) {
            let message = format!(
                "policies {reads:?} (read-only) and {shares:?} (shared-resource) both select {} {} of component {component:?}: it is either only read or shared; narrow one of the selectors",
                id.kind, id.name
            );
            return Err(Problem::wrong("ContradictingPolicies", message));
        }
    }
    Ok(())
}

/// The definitions of the types that components and overrides name: what a revision pins.
fn used_definitions(components: &[Component], policies: &Policies, definitions: &Definitions) -> Vec<Value> {
    let own = components.iter().flat_map(|component| component.traits.iter().map(|t| t.type_.as_str()));
    let overriding = policies
        .values()
        .filter(|(type_, _)| type_ == "override")
        .filter_map(|(_, properties)| properties.get("components")?.as_array())
        .flatten()
        .filter_map(|component| component.get("traits")?.as_array())
        .flatten()
        .filter_map(|patch| patch.get("type")?.as_str());
    let types = components.iter().map(|component| component.type_.as_str());
    definitions.only(types, own.chain(overriding)).to_values()
}

/// Hash of everything that decides what is delivered, where and in which order.
fn hash(content: &RevisionContent, carried: Option<&StagedPlacement>) -> String {
    let steps: Vec<Value> = content
        .steps
        .iter()
        .map(|step| {
            let topologies: Vec<_> =
                step.topologies.iter().filter_map(|name| content.policies.get(name)).collect();
            let mut written = step.step.clone();
            // Names of policies decide nothing; what they do stands in topologies and objects.
            if let Some(properties) = written.properties.as_mut().and_then(Value::as_object_mut) {
                properties.remove("policies");
            }
            // The steps of a group stand for themselves.
            written.sub_steps.clear();
            match &step.group {
                _ if carried.is_some() => {
                    json!([written, topologies, step.objects, step.group, step.variants])
                }
                None => json!([written, topologies, step.objects]),
                Some(group) => json!([written, topologies, step.objects, group]),
            }
        })
        .collect();
    let about_objects: Vec<_> =
        content.policies.values().filter(|(type_, _)| !PLACING.contains(&type_.as_str())).collect();
    if let Some(carried) = carried {
        // Which clusters there are is the policy's decision, and rolls out like any other.
        let placed = json!([content.dag, steps, about_objects, carried.clusters, carried.keeps]);
        return ContentHash::of_value(&placed).short();
    }
    match &content.service_account {
        None => ContentHash::of_value(&json!([content.dag, steps, about_objects])).short(),
        // Who delivers decides what can be: another account is another revision.
        Some(account) => ContentHash::of_value(&json!([content.dag, steps, about_objects, account])).short(),
    }
}

/// The ServiceAccount that an Application names.
pub(crate) fn service_account(app: &Application) -> Result<Option<String>, Problem> {
    let Some(name) = app.metadata.annotations.as_ref().and_then(|all| all.get(names::SERVICE_ACCOUNT)) else {
        return Ok(None);
    };
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric());
    if is_name {
        return Ok(Some(name.clone()));
    }
    let message = format!(
        "metadata.annotations[{}]: {name:?} is no name of a ServiceAccount; name one of this namespace",
        names::SERVICE_ACCOUNT
    );
    Err(Problem::wrong("InvalidServiceAccount", message))
}

pub(crate) fn components(spec: &ApplicationSpec) -> Result<Vec<Component>, Problem> {
    let mut components: Vec<Component> = Vec::with_capacity(spec.components.len());
    for written in &spec.components {
        let place = format!("spec.components[{}]", written.name);
        if components.iter().any(|component| component.name == written.name) {
            return Err(Problem::wrong("DuplicateComponent", format!("{place}: the name stands twice")));
        }
        if !written.inputs.is_empty() || !written.outputs.is_empty() {
            let message =
                format!("{place}: inputs and outputs aren't carried out by this version; remove them");
            return Err(Problem::wrong("UnsupportedComponentField", message));
        }
        if !written.depends_on.is_empty() {
            let message = format!(
                "{place}: dependsOn isn't carried out by this version; deliver in order with steps of a workflow instead"
            );
            return Err(Problem::wrong("UnsupportedComponentField", message));
        }
        components.push(Component {
            name: written.name.clone(),
            type_: written.type_.clone(),
            properties: written.properties.clone().unwrap_or(Value::Null),
            traits: written
                .traits
                .iter()
                .map(|t| Trait {
                    type_: t.type_.clone(),
                    properties: t.properties.clone().unwrap_or(Value::Null),
                })
                .collect(),
            depends_on: written.depends_on.clone(),
        });
    }
    Ok(components)
}

/// Policies by name: type and properties.
pub(crate) type Policies = BTreeMap<String, (String, Value)>;

pub(crate) fn inline_policies(spec: &ApplicationSpec) -> Result<Policies, Problem> {
    let mut policies = Policies::new();
    for (index, policy) in spec.policies.iter().enumerate() {
        let name = match policy.name.as_str() {
            "" => format!("{}-auto-gen-{index}", policy.type_),
            name => name.to_owned(),
        };
        if policy.type_ != STAGED {
            known_type(&name, &policy.type_)?;
        }
        let content = (policy.type_.clone(), policy.properties.clone().unwrap_or(Value::Null));
        if policies.insert(name.clone(), content).is_some() {
            return Err(Problem::wrong(
                "DuplicatePolicy",
                format!("spec.policies[{name}]: the name stands twice"),
            ));
        }
    }
    Ok(policies)
}

fn steps(
    spec: &ApplicationSpec,
    snapshot: &dyn Snapshot,
    inline: &Policies,
) -> Result<(Vec<Step>, bool), Problem> {
    let external = spec.workflow.as_ref().filter(|source| source.steps.is_empty());
    let Some((name, source)) = external.and_then(|source| Some((source.reference.as_ref()?, source))) else {
        return own_steps(spec, inline);
    };
    let workflow = snapshot.workflow(name).ok_or_else(|| {
        let near = suggestion(name, &snapshot.workflow_names());
        let message = format!("spec.workflow.ref: there is no Workflow {name:?} in this namespace{near}");
        Problem::awaited("WorkflowNotFound", message)
    })?;
    arranged(workflow.spec.steps, workflow.spec.mode.or_else(|| source.mode.clone()), inline)
}

/// The steps that stand in the Application itself, or follow from its policies.
pub(crate) fn own_steps(spec: &ApplicationSpec, inline: &Policies) -> Result<(Vec<Step>, bool), Problem> {
    let Some(source) = &spec.workflow else { return Ok((default_steps(inline)?, true)) };
    if let Some(name) = &source.reference {
        let message = format!("spec.workflow: both ref ({name:?}) and steps are given; keep one");
        return Err(Problem::wrong("AmbiguousWorkflow", message));
    }
    arranged(source.steps.clone(), source.mode.clone(), inline)
}

fn arranged(
    steps: Vec<Step>,
    mode: Option<WorkflowMode>,
    inline: &Policies,
) -> Result<(Vec<Step>, bool), Problem> {
    if steps.is_empty() { Ok((default_steps(inline)?, true)) } else { in_mode(steps, mode) }
}

/// Steps as their mode has them, and whether they are a DAG.
pub(crate) fn in_mode(
    mut steps: Vec<Step>,
    mode: Option<WorkflowMode>,
) -> Result<(Vec<Step>, bool), Problem> {
    let dag = is_dag(mode.as_ref().and_then(|mode| mode.steps.as_deref()), false)?;
    // What the mode says of sub-steps holds for every group that doesn't say it itself.
    let within = mode.and_then(|mode| mode.sub_steps).filter(|mode| !mode.is_empty());
    is_dag(within.as_deref(), true)?;
    for group in steps.iter_mut().filter(|step| !step.sub_steps.is_empty() && step.mode.is_none()) {
        group.mode.clone_from(&within);
    }
    Ok((steps, dag))
}

fn is_dag(mode: Option<&str>, unwritten: bool) -> Result<bool, Problem> {
    match mode {
        None | Some("") => Ok(unwritten),
        Some("StepByStep") => Ok(false),
        Some("DAG") => Ok(true),
        Some(other) => Err(fleet_workflow::WorkflowError::UnknownMode(other.to_owned()).into()),
    }
}

/// One deploy step per topology, each with all overrides.
fn default_steps(inline: &Policies) -> Result<Vec<Step>, Problem> {
    let named = |wanted: &str| -> Vec<String> {
        inline.iter().filter(|(_, (type_, _))| type_ == wanted).map(|(name, _)| name.clone()).collect()
    };
    let overrides = named("override");
    let steps: Vec<Step> = named("topology")
        .into_iter()
        .map(|topology| {
            let mut policies = overrides.clone();
            policies.push(topology.clone());
            Step {
                name: format!("deploy-{topology}"),
                type_: "deploy".to_owned(),
                properties: Some(json!({ "policies": policies })),
                ..Step::default()
            }
        })
        .collect();
    if steps.is_empty() {
        let message = "spec: neither a workflow nor a topology policy says where this goes; add a policy of type \
                       topology with the names of clusters";
        return Err(Problem::wrong("NoTopology", message));
    }
    Ok(steps)
}

/// Every policy that a step names, and those of the Application that are about single objects.
fn used_policies(graph: &Graph, snapshot: &dyn Snapshot, inline: &Policies) -> Result<Policies, Problem> {
    let mut used = Policies::new();
    for node in &graph.nodes {
        let StepKind::Deploy(deploy) = &node.kind else { continue };
        for name in &deploy.policies {
            let found = inline.get(name).cloned().or_else(|| {
                let policy = snapshot.policy(name)?;
                Some((policy.spec.type_, policy.spec.properties.unwrap_or(Value::Null)))
            });
            let policy = found.ok_or_else(|| {
                let mut known = snapshot.policy_names();
                known.extend(inline.keys().cloned());
                let near = suggestion(name, &known);
                let message =
                    format!("step {:?}: there is no policy {name:?} in this namespace{near}", node.name);
                Problem::awaited("PolicyNotFound", message)
            })?;
            used.insert(name.clone(), policy);
        }
    }
    let about_objects = |type_: &str| !PLACING.contains(&type_) && type_ != STAGED;
    for (name, policy) in inline.iter().filter(|(_, (type_, _))| about_objects(type_)) {
        used.insert(name.clone(), policy.clone());
    }
    for (name, (type_, _)) in &used {
        known_type(name, type_)?;
    }
    Ok(used)
}

fn known_type(policy: &str, type_: &str) -> Result<(), Problem> {
    let known: Vec<String> =
        PLACING.iter().chain(&fleet_plan::policies::TYPES).map(|known| (*known).to_owned()).collect();
    if known.iter().any(|known| known == type_) {
        return Ok(());
    }
    let near = suggestion(type_, &known);
    let message =
        format!("policy {policy:?}: there is no policy type {type_:?}{near}; types are {}", known.join(", "));
    Err(Problem::wrong("UnknownPolicyType", message))
}

fn no_topology(step: &str, policies: &Policies) -> Problem {
    let topologies: Vec<&str> = policies
        .iter()
        .filter(|(_, (type_, _))| type_ == "topology")
        .map(|(name, _)| name.as_str())
        .collect();
    let advice = if topologies.is_empty() {
        String::new()
    } else {
        format!(" (there are: {})", topologies.join(", "))
    };
    Problem::wrong(
        "NoTopology",
        format!(
            "step {step:?}: none of its policies is a topology, so nothing says where it delivers; name one{advice}"
        ),
    )
}

struct RenderStep<'a> {
    name: &'a str,
    namespace: &'a str,
    components: &'a [Component],
    overrides: &'a [String],
    policies: &'a Policies,
    snapshot: &'a dyn Snapshot,
    definitions: &'a Definitions,
}

type Rendered = (Vec<(String, Value)>, Vec<Provenance>);

fn rendered(step: &RenderStep<'_>) -> Result<Rendered, Problem> {
    let mut overrides = Vec::with_capacity(step.overrides.len());
    for name in step.overrides {
        if let Some((_, properties)) = step.policies.get(name) {
            overrides.push(Override::parse(name, properties)?);
        }
    }
    let overrides: Vec<&Override> = overrides.iter().collect();
    // Mistakes first, then what isn't there yet; and an override may change what is referred to.
    let mut referenced = BTreeMap::new();
    for component in check(step.components, &overrides, step.definitions)? {
        if component.type_ == fleet_render::REFERENCE_TYPE {
            let found = find(&component.name, &component.properties, step.namespace, step.snapshot)?;
            referenced.insert(component.name, found);
        }
    }
    let empty: &[Value] = &[];
    let objects = |component: &str| referenced.get(component).map_or(empty, Vec::as_slice);
    let rendered = render(&RenderInput {
        app_name: step.name,
        app_namespace: step.namespace,
        components: step.components,
        overrides: &overrides,
        objects: &objects,
        definitions: step.definitions,
    })?;
    Ok(rendered.into_iter().map(|made| ((made.component, made.object), made.provenance)).unzip())
}

/// The objects that a ref-objects component refers to.
fn find(
    component: &str,
    properties: &Value,
    namespace: &str,
    snapshot: &dyn Snapshot,
) -> Result<Vec<Value>, Problem> {
    let mut objects: Vec<Value> = Vec::new();
    for reference in references(component, properties, namespace)? {
        let found = snapshot.objects(&reference)?;
        if found.is_empty() {
            let message = format!(
                "component {component:?}: {reference} doesn't exist on the hub yet; apply it, and this goes on by itself"
            );
            return Err(Problem::awaited("ObjectNotFound", message));
        }
        for object in found {
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
    }
    Ok(objects)
}

fn suggestion(name: &str, known: &[String]) -> String {
    match fleet_placement::nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!(" (did you mean {near:?}?)"),
        None => String::new(),
    }
}

/// Reads the graph of a stored revision.
///
/// # Errors
/// Where the stored steps can't be read by this version.
pub fn graph_of(content: &RevisionContent) -> Result<Graph, graph::WorkflowError> {
    // A group holds its steps.
    let steps = content.steps.iter().filter(|content| content.group.is_none());
    let steps: Vec<Step> = steps.map(|content| content.step.clone()).collect();
    Graph::read(&steps, content.dag)
}

/// A selector in the two forms that references take.
pub(crate) fn read_selector(value: &Value) -> Result<LabelSelector, String> {
    LabelSelector::from_json(value).map_err(|error| error.to_string())
}
