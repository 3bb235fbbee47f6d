//! Takes the picture: reads the hub, changes nothing. What may not be read is noted, and the rest goes on.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::propagation::{GROUPS, PolicyKind};
use fleet_api::{
    Application, AuditLog, Inventory, ManagedCluster, Memory, ObjectId, ResourceTracker, RolloutWindow, crds,
    names, staged,
};
use fleet_controller::resolve::{ObjectReference, Selection, references};
use fleet_controller::{RuleError, read_health_rules, read_key_rules};
use fleet_members::Credentials;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind, ObjectList};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::findings::Finding;
use super::snapshot::{
    CredentialSecret, Definition, Holder, Leftovers, PolicyTold, Reference, Snapshot, standing,
};
use crate::access::Cluster;
use crate::application::of_application;
use crate::audit::chain::Chain;
use crate::exit::{Exit, Failure, Outcome};

/// The Lease of Kubernetes' own workload controllers.
const CONTROLLER_MANAGER: &str = "kube-controller-manager";
/// The component type that refers to objects of the hub.
const REF_OBJECTS: &str = "ref-objects";

/// Which Applications are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of the hub.
    All,
    /// One.
    One {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Reads everything that findings are made from.
///
/// # Errors
/// Where the hub doesn't answer at all, or the Application that was named isn't there.
pub(crate) async fn gather(hub: &Cluster, called: &str, now: Timestamp, scope: &Scope) -> Outcome<Snapshot> {
    let mut gathering =
        Gathering { hub, snapshot: Snapshot { called: called.to_owned(), now, ..Snapshot::default() } };
    gathering.snapshot.hub_time = gathering.hub_time().await?;
    gathering.definitions().await;
    gathering.controllers().await;
    gathering.members().await;
    gathering.windows().await;
    gathering.applications(scope).await?;
    gathering.references().await;
    gathering.inventories(scope).await;
    gathering.records().await;
    gathering.rules().await;
    gathering.policies().await;
    gathering.without_policy().await;
    Ok(gathering.snapshot)
}

/// What on the hub would start the workloads that an Application refers to, in words; nothing where the hub is inert,
/// or that can't be told.
pub(crate) async fn workloads_on_hub(
    hub: &Cluster,
    called: &str,
    now: Timestamp,
    app: &Application,
) -> Vec<Finding> {
    let mut snapshot = Snapshot { called: called.to_owned(), now, ..Snapshot::default() };
    snapshot.applications.push(app.clone());
    let mut gathering = Gathering { hub, snapshot };
    gathering.references().await;
    if gathering.snapshot.references.iter().any(Reference::is_workload) {
        gathering.controller_manager().await;
    }
    super::findings::of_workloads(&gathering.snapshot)
}

/// Whether workloads that stand on the hub would start there.
pub(crate) async fn workloads_start(hub: &Cluster, now: Timestamp) -> bool {
    let mut gathering = Gathering { hub, snapshot: Snapshot { now, ..Snapshot::default() } };
    gathering.controller_manager().await;
    gathering.snapshot.controller_manager
}

struct Gathering<'a> {
    hub: &'a Cluster,
    snapshot: Snapshot,
}

impl Gathering<'_> {
    /// What the hub answers; nothing, and a note, where it doesn't.
    async fn ask<T>(
        &mut self,
        what: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Option<T> {
        match self.hub.ask(what, request).await {
            Ok(answer) => Some(answer),
            // Without the definition there is nothing of the kind: that is found elsewhere.
            Err(failure) if failure.exit == Exit::NotFound => None,
            Err(failure) => {
                self.snapshot.unread.push((what.to_owned(), failure.to_string()));
                None
            }
        }
    }

    async fn all<K>(&mut self, what: &str, api: &Api<K>, params: &ListParams) -> Vec<K>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let listed: Option<ObjectList<K>> = self.ask(what, api.list(params)).await;
        listed.map(|listed| listed.items).unwrap_or_default()
    }

    /// The `Date` of any answer (RFC 9110, section 6.6.1). The hub that doesn't answer this ends the command.
    async fn hub_time(&self) -> Outcome<Option<Timestamp>> {
        let request = http::Request::get("/version").body(kube::client::Body::empty());
        let request = request.map_err(|error| Failure::failed(error.to_string()))?;
        let answer = self.hub.ask("the hub", self.hub.client.send(request)).await?;
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        let time = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        Ok(time.map(|time| time.timestamp()))
    }

    async fn definitions(&mut self) {
        let wanted = crds::all().unwrap_or_default();
        let api: Api<CustomResourceDefinition> = Api::all(self.hub.client.clone());
        let found = self.ask("custom resource definitions", api.list(&ListParams::default())).await;
        let Some(found) = found else { return };
        let found: BTreeMap<String, Value> = found
            .items
            .into_iter()
            .filter_map(|crd| Some((crd.name_any(), serde_json::to_value(crd).ok()?)))
            .collect();
        self.snapshot.definitions = wanted
            .into_iter()
            .map(|wanted| {
                // Both through the same types: what they leave out is no difference.
                let typed = serde_json::from_value::<CustomResourceDefinition>(wanted.clone());
                let wanted = typed.ok().and_then(|crd| serde_json::to_value(crd).ok()).unwrap_or(wanted);
                let name = wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                Definition { found: found.get(name).cloned(), wanted }
            })
            .collect();
    }

    async fn controllers(&mut self) {
        let client = self.hub.client.clone();
        let ours: Api<Lease> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
        let labelled =
            ListParams::default().labels(&format!("{}={}", names::REPLICA, names::REPLICA_CONTROLLER));
        let leases = self.all("leases of the controller", &ours, &labelled).await;
        self.snapshot.leases = leases.iter().map(holder).collect();
        self.snapshot.leases.sort_by_key(|holder| std::cmp::Reverse(holder.renewed));
        self.controller_manager().await;
        let nodes: Api<Node> = Api::all(client.clone());
        let listed = self.ask("nodes", nodes.list_metadata(&ListParams::default())).await;
        self.snapshot.nodes = listed.map_or(0, |listed| listed.items.len());
        let others = crate::beside::others(&client, self.hub.deadline, self.snapshot.now).await;
        self.snapshot.rivals = others.into_iter().map(|other| other.evidence).collect();
    }

    async fn controller_manager(&mut self) {
        let system: Api<Lease> = Api::namespaced(self.hub.client.clone(), "kube-system");
        let manager = self.ask("leases in kube-system", system.get_opt(CONTROLLER_MANAGER)).await.flatten();
        let now = self.snapshot.now;
        self.snapshot.controller_manager = manager.is_some_and(|lease| holder(&lease).is_alive(now));
    }

    async fn members(&mut self) {
        let client = self.hub.client.clone();
        let clusters: Api<ManagedCluster> = Api::all(client.clone());
        self.snapshot.clusters = self.all("members", &clusters, &ListParams::default()).await;
        let labelled = ListParams::default().labels(names::CREDENTIAL_TYPE);
        let secrets: Api<Secret> = Api::all(client);
        let secrets = self.all("secrets", &secrets, &labelled).await;
        self.snapshot.secrets = secrets
            .iter()
            .map(|secret| CredentialSecret {
                namespace: secret.namespace().unwrap_or_default(),
                name: secret.name_any(),
                problem: Credentials::read(secret).err().map(|error| error.to_string()),
            })
            .collect();
    }

    async fn windows(&mut self) {
        let windows: Api<RolloutWindow> = Api::all(self.hub.client.clone());
        self.snapshot.windows = self.all("rolloutwindows", &windows, &ListParams::default()).await;
    }

    async fn applications(&mut self, scope: &Scope) -> Outcome {
        let client = self.hub.client.clone();
        self.snapshot.applications = match scope {
            Scope::All => self.all("applications", &Api::all(client), &ListParams::default()).await,
            Scope::One { namespace, name } => {
                let api: Api<Application> = Api::namespaced(client, namespace);
                let found = self.ask("the application", api.get_opt(name)).await.flatten();
                let missing = self.snapshot.definitions.iter().any(|definition| definition.found.is_none());
                if found.is_none() && !missing && self.snapshot.unread.is_empty() {
                    return Err(Failure::not_found(format!(
                        "no Application {name:?} in namespace {namespace}"
                    )));
                }
                found.into_iter().collect()
            }
        };
        Ok(())
    }

    /// The hub objects that Applications refer to by name, kind by kind.
    async fn references(&mut self) {
        let mut wanted: BTreeMap<(String, String, String), Vec<(String, ObjectReference)>> = BTreeMap::new();
        // The status of what a policy's own Application carries is the members' together.
        let own = self.snapshot.applications.iter().filter(|app| staged::policy_of(app).is_none());
        for app in own {
            let namespace = app.namespace().unwrap_or_default();
            let mine = format!("{namespace}/{}", app.name_any());
            for component in app.spec.components.iter().filter(|component| component.type_ == REF_OBJECTS) {
                // What makes no sense is said by the controller.
                let properties = component.properties.as_ref().unwrap_or(&Value::Null);
                let read = references(&component.name, properties, &namespace).unwrap_or_default();
                for reference in read {
                    let key =
                        (reference.api_version.clone(), reference.kind.clone(), reference.namespace.clone());
                    wanted.entry(key).or_default().push((mine.clone(), reference));
                }
            }
        }
        for ((api_version, kind, namespace), asked) in wanted {
            let Some(found) = self.objects(&api_version, &kind, &namespace).await else { continue };
            for (application, reference) in asked {
                let Selection::Name(name) = reference.selection else { continue };
                let object = found.get(&name).or_else(|| found.get(&format!("/{name}")));
                let standing = object.map(standing);
                let (api_version, kind, namespace) = (api_version.clone(), kind.clone(), namespace.clone());
                let reference =
                    Reference { application, api_version, kind, namespace, name, found: standing };
                self.snapshot.references.push(reference);
            }
        }
    }

    /// The objects of a kind in a namespace, by name; of a kind without namespaces by `/name`.
    async fn objects(
        &mut self,
        api_version: &str,
        kind: &str,
        namespace: &str,
    ) -> Option<BTreeMap<String, Value>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let client = self.hub.client.clone();
        let (resource, namespaced) = match fleet_controller::known_kinds()(group, version, kind) {
            Some((plural, namespaced)) => (ApiResource::from_gvk_with_plural(&gvk, &plural), namespaced),
            None => {
                let found = self.ask(kind, kube::discovery::pinned_kind(&client, &gvk)).await?;
                (found.0, found.1.scope == kube::discovery::Scope::Namespaced)
            }
        };
        let (api, mark): (Api<DynamicObject>, &str) = if namespaced {
            (Api::namespaced_with(client, namespace, &resource), "")
        } else {
            (Api::all_with(client, &resource), "/")
        };
        let what = format!("{} in {namespace}", resource.plural);
        let listed: ObjectList<DynamicObject> = self.ask(&what, api.list(&ListParams::default())).await?;
        let named = listed.items.into_iter().filter_map(|object| {
            let name = format!("{mark}{}", object.name_any());
            // Secrets and the like are only looked for: nothing of theirs is kept.
            let value = serde_json::to_value(object).ok()?;
            let kept = ["metadata", "spec", "status"]
                .iter()
                .filter_map(|key| Some(((*key).to_owned(), value.get(key)?.clone())));
            Some((name, Value::Object(kept.collect())))
        });
        Some(named.collect())
    }

    /// The records of what happened to the Applications.
    async fn records(&mut self) {
        let apps = self.snapshot.applications.iter();
        let apps: Vec<(String, String)> =
            apps.map(|app| (app.namespace().unwrap_or_default(), app.name_any())).collect();
        // Each by itself: together they could be more than fits into memory.
        for (namespace, name) in apps {
            let api: Api<AuditLog> = Api::namespaced(self.hub.client.clone(), &namespace);
            let unread = self.snapshot.unread.len();
            let what = format!("auditlogs in {namespace}");
            let segments = self.all(&what, &api, &of_application(&name)).await;
            let found = Chain::from_segments(&namespace, &name, segments);
            if let Some(why) = found.and_then(|chain| chain.check().err()) {
                self.snapshot.broken_records.push((format!("{namespace}/{name}"), why));
            }
            if self.snapshot.unread.len() > unread {
                // What may not be read here may not be read for the next either: once is enough to say so.
                return;
            }
        }
    }

    /// Policies about native objects, of every group that the hub serves.
    async fn policies(&mut self) {
        for (group, kind) in GROUPS.into_iter().flat_map(|group| PolicyKind::ALL.map(|kind| (group, kind))) {
            let api: Api<DynamicObject> = Api::all_with(self.hub.client.clone(), &kind.resource(group));
            let what = format!("{}.{group}", kind.plural());
            let listed = self.all(&what, &api, &ListParams::default()).await;
            self.snapshot.policies.extend(listed.iter().map(|policy| PolicyTold::read(&what, policy)));
        }
    }

    /// What is on record of members and had a policy that isn't there any more.
    async fn without_policy(&mut self) {
        let kinds = GROUPS.map(|group| format!(".{group}"));
        if self.snapshot.unread.iter().any(|(what, _)| kinds.iter().any(|kind| what.ends_with(kind))) {
            return;
        }
        let trackers: Api<ResourceTracker> = Api::all(self.hub.client.clone());
        let shards = ListParams::default().labels(names::SHARD);
        let mut found: BTreeMap<(String, bool), BTreeSet<String>> = BTreeMap::new();
        for tracker in self.all("resourcetrackers", &trackers, &shards).await {
            let (Ok(inventory), Some(memory)) = (tracker.spec.inventory.unpack(), &tracker.spec.memory)
            else {
                continue;
            };
            let (inventory, Ok(memory)): (Inventory, _) = (inventory, memory.unpack()) else { continue };
            let memory: Memory = memory;
            let gone = memory.objects.iter().filter(|(_, remembered)| {
                let policy = remembered.policy.as_ref();
                policy.is_some_and(|policy| !self.snapshot.policies.iter().any(|told| told.is(policy)))
            });
            let gone: BTreeMap<&ObjectId, bool> =
                gone.map(|(id, remembered)| (id, remembered.orphaned)).collect();
            for entry in &inventory.targets {
                for id in entry.objects.keys() {
                    let Some(orphaned) = gone.get(id) else { continue };
                    let there = (entry.target.cluster.clone(), *orphaned);
                    found.entry(there).or_default().insert(id.to_string());
                }
            }
        }
        let left = found.into_iter().map(|((cluster, orphaned), objects)| Leftovers {
            cluster,
            objects: objects.into_iter().collect(),
            orphaned,
        });
        self.snapshot.leftovers = left.collect();
    }

    /// Rules that people give as data: of health, and of keys that belong to members.
    async fn rules(&mut self) {
        let api: Api<ConfigMap> = Api::all(self.hub.client.clone());
        let labelled = |label: &str| ListParams::default().labels(label);
        let health = self.all("configmaps with health rules", &api, &labelled(names::HEALTH_RULES)).await;
        let keys = self.all("configmaps with rules of keys", &api, &labelled(names::KEY_RULES)).await;
        let told = |errors: Vec<RuleError>| {
            let one = |error: RuleError| (error.source_name, format!("{}: {}", error.place, error.problem));
            errors.into_iter().map(one).collect()
        };
        self.snapshot.broken_health_rules = told(read_health_rules(&health).1);
        self.snapshot.broken_key_rules = told(read_key_rules(&keys).1);
    }

    /// Inventories whose Application isn't there any more.
    async fn inventories(&mut self, scope: &Scope) {
        if *scope != Scope::All || self.snapshot.unread.iter().any(|(what, _)| what == "applications") {
            return;
        }
        let trackers: Api<ResourceTracker> = Api::all(self.hub.client.clone());
        let trackers = self.all("resourcetrackers", &trackers, &ListParams::default()).await;
        let there: BTreeSet<(String, String)> = self
            .snapshot
            .applications
            .iter()
            .map(|app| (app.namespace().unwrap_or_default(), app.name_any()))
            .collect();
        let lost = trackers.iter().filter(|tracker| {
            let of = (tracker.spec.application_namespace.clone(), tracker.spec.application_name.clone());
            let distribution = tracker.spec.type_ == fleet_api::DISTRIBUTION;
            !distribution && tracker.spec.total > 0 && !there.contains(&of)
        });
        self.snapshot.lost_inventories = lost
            .map(|tracker| {
                let of = format!("{}/{}", tracker.spec.application_namespace, tracker.spec.application_name);
                (tracker.name_any(), of)
            })
            .collect();
    }
}

fn holder(lease: &Lease) -> Holder {
    let spec = lease.spec.clone().unwrap_or_default();
    Holder {
        identity: spec.holder_identity.unwrap_or_else(|| lease.name_any()),
        renewed: spec.renew_time.map(|time| time.0),
        seconds: spec.lease_duration_seconds.map_or(15, i64::from),
    }
}
