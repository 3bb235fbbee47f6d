//! A revision read from the hub, with what is derived from it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fleet_api::{ObjectId, Provenance, RevisionContent, StagedPlacement, StepContent, Target, Variant};
use fleet_placement::{PlacementError, Topology};
use fleet_plan::{Delivery, Desired, ResourcePolicies, Subject, prepare};
use fleet_workflow::Graph;
use serde_json::Value;

use crate::Problem;
use crate::context::lock;
use crate::hub::kinds;
use crate::resolve;

/// Objects by step and namespace, and by cluster where they differ there.
type Prepared = BTreeMap<(String, String, String), Arc<Vec<Desired>>>;

/// A revision ready for use.
pub struct Loaded {
    /// The ApplicationRevision's name.
    pub name: String,
    /// Its hash.
    pub hash: String,
    /// Its content.
    pub content: RevisionContent,
    /// Its steps.
    pub graph: Graph,
    /// Its policies about single objects.
    pub policies: ResourcePolicies,
    /// Types of its components.
    pub component_types: BTreeMap<String, String>,
    /// Where the policy that it carries says that everything goes.
    pub staged: Option<StagedPlacement>,
    prepared: Mutex<Prepared>,
}

impl Loaded {
    /// Reads a revision's content.
    ///
    /// # Errors
    /// Where this version can't read what another one wrote.
    pub fn new(name: &str, hash: &str, content: RevisionContent) -> Result<Self, Problem> {
        let graph = resolve::graph_of(&content)?;
        let mut policies = ResourcePolicies::default();
        for (policy, (type_, properties)) in &content.policies {
            policies.add(policy, type_, properties)?;
        }
        let components = content.spec.components.iter();
        let component_types = components.map(|c| (c.name.clone(), c.type_.clone())).collect();
        let staged =
            StagedPlacement::read(&content.spec).map_err(|error| Problem::wrong("InvalidStaging", error))?;
        Ok(Self {
            name: name.to_owned(),
            hash: hash.to_owned(),
            content,
            graph,
            policies,
            component_types,
            staged,
            prepared: Mutex::new(BTreeMap::new()),
        })
    }

    /// The objects of a step as they are to stand on a target; made once for all targets where they are the same.
    pub fn desired(&self, step: &str, target: &Target, delivery: &Delivery<'_>) -> Arc<Vec<Desired>> {
        let content = self.content.steps.iter().find(|content| content.step.name == step);
        let variant = content.and_then(|content| content.variants.get(&target.cluster));
        let cluster = variant.map(|_| target.cluster.clone()).unwrap_or_default();
        let key = (step.to_owned(), target.namespace.clone(), cluster);
        if let Some(prepared) = lock(&self.prepared).get(&key) {
            return Arc::clone(prepared);
        }
        let scoped = |id: &ObjectId| kinds::is_cluster_scoped(&id.api_version, &id.kind);
        let claim = |id: &ObjectId, component: &str| self.policies.claim(&self.subject(id, component));
        let objects: Cow<'_, [(String, Value)]> = match (content, variant) {
            (None, _) => Cow::Borrowed(&[]),
            (Some(content), None) => Cow::Borrowed(&content.objects),
            (Some(content), Some(variant)) => Cow::Owned(varied(content, variant)),
        };
        let prepared = Arc::new(prepare(&objects, target, delivery, &scoped, &claim));
        lock(&self.prepared).insert(key, Arc::clone(&prepared));
        prepared
    }

    /// Who set the fields of an object that a step delivers; nothing where the revision was recorded without.
    pub fn provenance(
        &self,
        step: &str,
        target: &Target,
        id: &ObjectId,
        delivery: &Delivery<'_>,
    ) -> Option<&Provenance> {
        let content = self.content.steps.iter().find(|content| content.step.name == step)?;
        let desired = self.desired(step, target, delivery);
        let found = desired.iter().find(|desired| desired.id.versionless() == id.versionless())?;
        let same = |(component, object): &(String, serde_json::Value)| {
            *component == found.component
                && ObjectId::of(object)
                    .is_some_and(|of| (of.group(), &of.kind, &of.name) == (id.group(), &id.kind, &id.name))
        };
        content.provenance.get(content.objects.iter().position(same)?)
    }

    /// What policies are asked about an object of a component.
    pub(crate) fn subject<'a>(&'a self, id: &'a ObjectId, component: &'a str) -> Subject<'a> {
        let component_type = self.component_types.get(component).map_or("", String::as_str);
        Subject { id, component, component_type }
    }

    /// The topologies of a step.
    ///
    /// # Errors
    /// Where a policy can't be read.
    pub fn topologies(&self, step: &str) -> Result<Vec<Topology>, PlacementError> {
        let content = self.content.steps.iter().find(|content| content.step.name == step);
        let mut read = Vec::new();
        for name in content.iter().flat_map(|content| &content.topologies) {
            if let Some((_, properties)) = self.content.policies.get(name) {
                read.push(Topology::parse(name, properties)?);
            }
        }
        Ok(read)
    }
}

/// A step's objects as they are on a cluster where they differ.
fn varied(content: &StepContent, variant: &Variant) -> Vec<(String, Value)> {
    let here = content.objects.iter().enumerate().filter(|(index, _)| !variant.without.contains(index));
    here.map(|(index, (component, object))| {
        let other = variant.objects.iter().find(|(of, _)| *of == index).map(|(_, other)| other);
        (component.clone(), other.unwrap_or(object).clone())
    })
    .collect()
}
