//! What an Application is put together from: manifests, and below them what the hub holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fleet_api::{
    Application, ClusterAccessPolicy, ComponentDefinition, ManagedCluster, Policy, TraitDefinition, Workflow,
};
use fleet_render::Definitions;
use fleet_schema::behaviour::referenced_content;
use k8s_openapi::api::core::v1::Namespace;
use kube::Resource;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::overlay::applied;
use super::{PreviewError, hub_identity};
use crate::Problem;
use crate::context::lock;
use crate::hub::ADMINISTRATORS;
use crate::hub::kinds::known_kinds;
use crate::resolve::{ObjectReference, Selection, Snapshot};

/// How many objects are asked for at once.
const PAGE: u32 = 500;

/// Manifests, over what a hub holds or over nothing.
pub struct World {
    given: Vec<Value>,
    pub(super) client: Option<kube::Client>,
    pub(super) hub_uid: String,
    pub(super) clusters: Vec<ManagedCluster>,
    access: Vec<Arc<ClusterAccessPolicy>>,
    /// Definitions for all namespaces.
    shared: Vec<Value>,
    tenants: BTreeMap<String, Tenant>,
    found: Vec<(ObjectReference, Result<Vec<Value>, Problem>)>,
    /// What couldn't be read and is taken for absent.
    notes: Vec<String>,
}

/// What one namespace of the hub holds.
pub(super) struct Tenant {
    policies: BTreeMap<String, Policy>,
    workflows: BTreeMap<String, Workflow>,
    pub(super) definitions: Definitions,
    labels: Value,
}

/// Whose identity an object has: group, kind, namespace and name.
fn identity(object: &Value) -> (&str, &str, &str, &str) {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let group = text("/apiVersion").split_once('/').map_or("", |(group, _)| group);
    (group, text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

fn is_of(object: &Value, resource: &ApiResource) -> bool {
    let (group, kind, _, _) = identity(object);
    group == resource.group && kind == resource.kind
}

impl World {
    /// Manifests alone, each with its namespace filled in: no hub is asked.
    ///
    /// # Errors
    /// A manifest that can't be read.
    pub fn offline(given: Vec<Value>) -> Result<Self, PreviewError> {
        let mut world = Self {
            given,
            client: None,
            hub_uid: String::new(),
            clusters: Vec::new(),
            access: Vec::new(),
            shared: Vec::new(),
            tenants: BTreeMap::new(),
            found: Vec::new(),
            notes: Vec::new(),
        };
        world.clusters = typed(world.given_of::<ManagedCluster>(None))?;
        let access: Vec<ClusterAccessPolicy> = typed(world.given_of::<ClusterAccessPolicy>(None))?;
        world.access = access.into_iter().map(Arc::new).collect();
        for namespace in ADMINISTRATORS {
            world.shared.extend(world.given_of::<TraitDefinition>(Some(namespace)));
            world.shared.extend(world.given_of::<ComponentDefinition>(Some(namespace)));
        }
        Ok(world)
    }

    /// Manifests over what a hub holds. Nothing is written there.
    ///
    /// # Errors
    /// What the hub refused, or a manifest that can't be read.
    pub async fn of_hub(client: kube::Client, given: Vec<Value>) -> Result<Self, PreviewError> {
        let hub_uid = hub_identity(&client).await?;
        let mut world = Self::offline(given)?;
        world.hub_uid = hub_uid;
        world.client = Some(client);
        world.clusters = typed(world.laid_over::<ManagedCluster>(None).await?)?;
        let access: Vec<ClusterAccessPolicy> = typed(world.optional::<ClusterAccessPolicy>(None).await?)?;
        world.access = access.into_iter().map(Arc::new).collect();
        world.shared.clear();
        for namespace in ADMINISTRATORS {
            let traits = world.optional::<TraitDefinition>(Some(namespace)).await?;
            let components = world.optional::<ComponentDefinition>(Some(namespace)).await?;
            world.shared.extend(traits.into_iter().chain(components));
        }
        Ok(world)
    }

    /// The Applications among the manifests: namespace and name.
    pub fn applications(&self) -> Vec<(String, String)> {
        let resource = ApiResource::erase::<Application>(&());
        let given = self.given.iter().filter(|object| is_of(object, &resource)).map(identity);
        given.map(|(_, _, namespace, name)| (namespace.to_owned(), name.to_owned())).collect()
    }

    /// The members.
    pub fn clusters(&self) -> &[ManagedCluster] {
        &self.clusters
    }

    /// What couldn't be read and is taken for absent, in words.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether a namespace may deliver to a cluster.
    pub(super) fn admit(&self, namespace: &str, cluster: &str, named: Option<&str>) -> Result<(), Problem> {
        let found = self.clusters.iter().find(|known| known.metadata.name.as_deref() == Some(cluster));
        let Some(cluster) = found else { return Ok(()) };
        let empty = json!({});
        let labels = self.tenants.get(namespace).map_or(&empty, |tenant| &tenant.labels);
        crate::hub::tenancy::admit_by(&self.access, namespace, labels, cluster, named)
    }

    /// An Application as it is after the manifests were applied, and whether they change it.
    pub(super) async fn application(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Application>, PreviewError> {
        let resource = ApiResource::erase::<Application>(&());
        let live = self.get(&resource, namespace, name).await?;
        let given = self.given_object(&resource, namespace, name);
        let object = match (given, live) {
            (Some(given), live) => Some(laid(live.as_ref(), given)?),
            (None, live) => live,
        };
        object.map(one).transpose()
    }

    /// Reads what a namespace holds; once.
    pub(super) async fn read_tenant(&mut self, namespace: &str) -> Result<(), PreviewError> {
        if self.tenants.contains_key(namespace) {
            return Ok(());
        }
        let named = Some(namespace);
        let policies: Vec<Policy> = typed(self.laid_over::<Policy>(named).await?)?;
        let workflows: Vec<Workflow> = typed(self.laid_over::<Workflow>(named).await?)?;
        let traits = self.optional::<TraitDefinition>(named).await?;
        let components = self.optional::<ComponentDefinition>(named).await?;
        let objects: Vec<Value> = self.shared.iter().cloned().chain(traits).chain(components).collect();
        let labels = match (&self.client, self.access.is_empty()) {
            (Some(client), false) => {
                let namespaces: Api<Namespace> = Api::all(client.clone());
                let known = namespaces.get_metadata_opt(namespace).await.ok().flatten();
                json!(known.and_then(|known| known.metadata.labels).unwrap_or_default())
            }
            _ => json!({}),
        };
        let tenant = Tenant {
            policies: by_name(policies),
            workflows: by_name(workflows),
            definitions: Definitions::builtin().with_overrides(&objects),
            labels,
        };
        self.tenants.insert(namespace.to_owned(), tenant);
        Ok(())
    }

    pub(super) fn tenant(&self, namespace: &str) -> Option<&Tenant> {
        self.tenants.get(namespace)
    }

    /// Looks up what a reference finds; once.
    pub(super) async fn look_up(&mut self, reference: &ObjectReference) -> Result<(), PreviewError> {
        if self.found.iter().any(|(known, _)| known == reference) {
            return Ok(());
        }
        let found = match self.resource(reference).await {
            Ok((resource, namespaced)) => Ok(self.find(reference, &resource, namespaced).await?),
            Err(problem) => Err(problem),
        };
        self.found.push((reference.clone(), found));
        Ok(())
    }

    async fn resource(&self, reference: &ObjectReference) -> Result<(ApiResource, bool), Problem> {
        let ObjectReference { api_version, kind, .. } = reference;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        if let Some((plural, namespaced)) = known_kinds()(group, version, kind) {
            return Ok((ApiResource::from_gvk_with_plural(&gvk, &plural), namespaced));
        }
        let Some(client) = &self.client else { return Ok((ApiResource::from_gvk(&gvk), true)) };
        match kube::discovery::pinned_kind(client, &gvk).await {
            Ok((resource, capabilities)) => {
                Ok((resource, capabilities.scope == kube::discovery::Scope::Namespaced))
            }
            // Its definition may be among the manifests.
            Err(_) if self.given.iter().any(|object| identity(object).1 == kind) => {
                Ok((ApiResource::from_gvk(&gvk), true))
            }
            Err(error) => Err(Problem::awaited(
                "UnknownKind",
                format!(
                    "the hub has no kind {kind} in {api_version}: {error}; install its CustomResourceDefinition"
                ),
            )),
        }
    }

    async fn find(
        &self,
        reference: &ObjectReference,
        resource: &ApiResource,
        namespaced: bool,
    ) -> Result<Vec<Value>, PreviewError> {
        let namespace = if namespaced { reference.namespace.as_str() } else { "" };
        let mut objects: BTreeMap<String, Value> = BTreeMap::new();
        match &reference.selection {
            Selection::Name(name) => {
                objects
                    .extend(self.get(resource, namespace, name).await?.map(|object| (name.clone(), object)));
            }
            Selection::Labels(_) => {
                for object in self.list(resource, Some(namespace)).await? {
                    objects.insert(identity(&object).3.to_owned(), object);
                }
            }
        }
        for given in self
            .given
            .iter()
            .filter(|object| object.get("apiVersion").and_then(Value::as_str) == Some(&reference.api_version))
        {
            let (_, kind, place, name) = identity(given);
            let meant = match &reference.selection {
                Selection::Name(wanted) => wanted == name,
                Selection::Labels(_) => true,
            };
            if kind != reference.kind || place != namespace || !meant {
                continue;
            }
            let object = laid(objects.get(name), given)?;
            objects.insert(name.to_owned(), object);
        }
        let matches = |object: &&Value| match &reference.selection {
            Selection::Name(_) => true,
            Selection::Labels(labels) => labels.matches_value(object.pointer("/metadata/labels")),
        };
        Ok(objects.values().filter(matches).map(referenced_content).collect())
    }

    /// The objects of a kind, manifests laid over them; where the hub doesn't let us see them, manifests alone.
    async fn optional<K: Resource<DynamicType = ()>>(
        &mut self,
        namespace: Option<&str>,
    ) -> Result<Vec<Value>, PreviewError> {
        match self.laid_over::<K>(namespace).await {
            Err(PreviewError::Hub { cause: kube::Error::Api(status), .. }) if status.code == 403 => {
                self.notes.push(format!(
                    "{} can't be read ({}) and count as absent",
                    K::plural(&()),
                    status.message.lines().next().unwrap_or_default()
                ));
                Ok(self.given_of::<K>(namespace))
            }
            other => other,
        }
    }

    async fn laid_over<K: Resource<DynamicType = ()>>(
        &self,
        namespace: Option<&str>,
    ) -> Result<Vec<Value>, PreviewError> {
        let resource = ApiResource::erase::<K>(&());
        let mut objects: BTreeMap<String, Value> = BTreeMap::new();
        for object in self.list(&resource, namespace).await? {
            objects.insert(identity(&object).3.to_owned(), object);
        }
        for given in self.given_of::<K>(namespace) {
            let name = identity(&given).3.to_owned();
            let object = laid(objects.get(&name), &given)?;
            objects.insert(name, object);
        }
        Ok(objects.into_values().collect())
    }

    fn given_of<K: Resource<DynamicType = ()>>(&self, namespace: Option<&str>) -> Vec<Value> {
        let resource = ApiResource::erase::<K>(&());
        let wanted = |object: &&Value| {
            is_of(object, &resource) && namespace.is_none_or(|namespace| identity(object).2 == namespace)
        };
        self.given.iter().filter(wanted).cloned().collect()
    }

    fn given_object(&self, resource: &ApiResource, namespace: &str, name: &str) -> Option<&Value> {
        let wanted = |object: &&Value| {
            let (_, _, place, called) = identity(object);
            is_of(object, resource) && (place, called) == (namespace, name)
        };
        // Of two with one name the later is applied last.
        self.given.iter().rev().find(wanted)
    }

    async fn get(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, PreviewError> {
        let Some(client) = &self.client else { return Ok(None) };
        let api: Api<DynamicObject> = match namespace {
            "" => Api::all_with(client.clone(), resource),
            namespace => Api::namespaced_with(client.clone(), namespace, resource),
        };
        let got = api.get_opt(name).await;
        let got =
            got.map_err(|error| PreviewError::hub(format!("{} {namespace}/{name}", resource.kind), error))?;
        Ok(got.and_then(|object| whole(resource, object)))
    }

    async fn list(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
    ) -> Result<Vec<Value>, PreviewError> {
        let Some(client) = &self.client else { return Ok(Vec::new()) };
        let api: Api<DynamicObject> = match namespace.filter(|namespace| !namespace.is_empty()) {
            None => Api::all_with(client.clone(), resource),
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        };
        let mut all = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = api.list(&params).await;
            let page =
                page.map_err(|error| PreviewError::hub(format!("the list of {}", resource.plural), error))?;
            let next = page.metadata.continue_.filter(|token| !token.is_empty());
            all.extend(page.items.into_iter().filter_map(|object| whole(resource, object)));
            match next {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(all),
            }
        }
    }

    /// A view for [`crate::resolve::resolve`], with the Workflows and Policies of a namespace.
    pub(super) fn view<'w>(&'w self, namespace: &'w str) -> View<'w> {
        View { world: self, namespace, asked: Mutex::default() }
    }
}

/// The object after its manifest was applied.
fn laid(live: Option<&Value>, manifest: &Value) -> Result<Value, PreviewError> {
    applied(live, manifest).map_err(|cause| {
        let (_, kind, namespace, name) = identity(manifest);
        Problem::wrong("InvalidManifest", format!("{kind} {namespace}/{name}: {cause}")).into()
    })
}

/// Objects in lists don't say what they are.
fn whole(resource: &ApiResource, object: DynamicObject) -> Option<Value> {
    let mut value = serde_json::to_value(object).ok()?;
    let map = value.as_object_mut()?;
    map.insert("apiVersion".to_owned(), json!(resource.api_version));
    map.insert("kind".to_owned(), json!(resource.kind));
    Some(value)
}

fn one<K: DeserializeOwned>(object: Value) -> Result<K, PreviewError> {
    let (_, kind, namespace, name) = identity(&object);
    let place =
        if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") };
    K::deserialize(object)
        .map_err(|error| Problem::wrong("InvalidManifest", format!("{place}: {error}")).into())
}

fn typed<K: DeserializeOwned>(objects: Vec<Value>) -> Result<Vec<K>, PreviewError> {
    objects.into_iter().map(one).collect()
}

fn by_name<K: Resource>(objects: Vec<K>) -> BTreeMap<String, K> {
    objects.into_iter().filter_map(|object| Some((object.meta().name.clone()?, object))).collect()
}

/// What [`crate::resolve::resolve`] sees; notes what it asks for and isn't looked up yet.
pub(super) struct View<'w> {
    world: &'w World,
    namespace: &'w str,
    asked: Mutex<Vec<ObjectReference>>,
}

impl View<'_> {
    pub(super) fn into_asked(self) -> Vec<ObjectReference> {
        self.asked.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn tenant(&self) -> Option<&Tenant> {
        self.world.tenant(self.namespace)
    }
}

impl Snapshot for View<'_> {
    fn policy(&self, name: &str) -> Option<Policy> {
        self.tenant()?.policies.get(name).cloned()
    }

    fn policy_names(&self) -> Vec<String> {
        self.tenant().into_iter().flat_map(|tenant| tenant.policies.keys().cloned()).collect()
    }

    fn workflow(&self, name: &str) -> Option<Workflow> {
        self.tenant()?.workflows.get(name).cloned()
    }

    fn workflow_names(&self) -> Vec<String> {
        self.tenant().into_iter().flat_map(|tenant| tenant.workflows.keys().cloned()).collect()
    }

    fn objects(&self, reference: &ObjectReference) -> Result<Vec<Value>, Problem> {
        match self.world.found.iter().find(|(known, _)| known == reference) {
            Some((_, found)) => found.clone(),
            None => {
                lock(&self.asked).push(reference.clone());
                Ok(Vec::new())
            }
        }
    }
}
