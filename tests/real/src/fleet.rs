//! A hub and members that know each other.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use fleet_api::{ManagedCluster, crds, names};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::runtime::wait::Condition as _;
use kube::runtime::wait::conditions::is_crd_established;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::kubeconfig::User;
use crate::pki::Pki;
use crate::{
    Cluster, ClusterSpec, Controller, Etcd, Life, Room, controller, eventually, given, kubeconfig, tools,
    until,
};

/// The hub's namespace with the members' credentials.
pub const SYSTEM: &str = "fleetctl-system";
/// Under which name the tier applies.
const MANAGER: &str = "fleet-real";

/// Only one test at a time uses the user's clusters.
static GIVEN: Mutex<()> = Mutex::const_new(());

/// A hub and members. Dropped, everything ends that was started.
pub struct Fleet {
    /// The hub.
    pub hub: Cluster,
    /// The members, in the order of joining.
    pub members: Vec<Cluster>,
    room: Arc<Room>,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Fleet {
    /// The user that the controller is to hub and members.
    pub const CONTROLLER: &str = "fleetctl-controller";

    /// Starts clusters, gives the hub our kinds, and registers the members there.
    ///
    /// # Errors
    /// Where a cluster doesn't come up.
    pub async fn start(hub: ClusterSpec, members: impl IntoIterator<Item = ClusterSpec>) -> Result<Self> {
        let fleet = Self::clusters(hub, members).await?;
        fleet.install_kinds().await?;
        fleet.register_all().await?;
        Ok(fleet)
    }

    /// Starts clusters, and nothing more: no kinds, no members known.
    ///
    /// # Errors
    /// Where a cluster doesn't come up.
    pub async fn clusters(hub: ClusterSpec, members: impl IntoIterator<Item = ClusterSpec>) -> Result<Self> {
        let room = Arc::new(Room::new(
            std::thread::current().name().unwrap_or("fleet").rsplit("::").next().unwrap_or("fleet"),
        )?);
        let pki = Arc::new(Pki::new(&room.path().join("pki"))?);
        let etcd = Arc::new(Mutex::new(Etcd::start(&room, "etcd", None).await?));
        let one = |spec: ClusterSpec| {
            Cluster::start(spec, Arc::clone(&pki), Arc::clone(&room), Some(Arc::clone(&etcd)))
        };
        let members = futures::future::try_join_all(members.into_iter().map(one));
        let (hub, members) = futures::future::try_join(one(hub), members).await?;
        Ok(Self { hub, members, room, _turn: None })
    }

    /// An inert hub and the three members of the scenario, living; or the user's clusters, where the environment
    /// names them.
    ///
    /// # Errors
    /// Where a cluster doesn't come up.
    pub async fn three_centres() -> Result<Self> {
        let Some((given_hub, given_members)) = given::clusters()? else {
            return Self::start(ClusterSpec::new("hub", Life::Inert), three_centres()).await;
        };
        let turn = GIVEN.lock().await;
        let fleet = Self::given(given_hub, given_members).await?;
        Ok(Self { _turn: Some(turn), ..fleet })
    }

    /// A hub and the members of the scenario that somebody else runs, by their kubeconfigs. Dropped, they run on.
    ///
    /// # Errors
    /// Where one makes no sense, or a cluster doesn't answer.
    pub async fn given(hub: Value, members: Vec<Value>) -> Result<Self> {
        let room = Arc::new(Room::new("given")?);
        let hub = Cluster::given(&ClusterSpec::new("hub", Life::Inert), hub, &room)?;
        let members = three_centres().into_iter().zip(members);
        let members =
            members.map(|(spec, config)| Cluster::given(&spec, config, &room)).collect::<Result<Vec<_>>>()?;
        let fleet = Self { hub, members, room, _turn: None };
        fleet.install_kinds().await?;
        fleet.register_all().await?;
        Ok(fleet)
    }

    /// A hub and members `m1`, `m2`, …, all without controllers: enough for whatever isn't about workloads.
    ///
    /// # Errors
    /// Where a cluster doesn't come up.
    pub async fn small(members: usize) -> Result<Self> {
        let members = (1..=members).map(|number| ClusterSpec::new(&format!("m{number}"), Life::Bare));
        Self::start(ClusterSpec::new("hub", Life::Bare), members).await
    }

    /// Ends everything. A fleet that is dropped without this was part of a test that failed: its logs are kept.
    pub fn end(self) {
        self.room.pass();
    }

    /// Where its files are.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// A member by name or alias.
    ///
    /// # Errors
    /// Where there is none.
    pub fn member(&self, name: &str) -> Result<&Cluster> {
        let found = self.members.iter().find(|member| member.name() == name || member.alias() == name);
        found.with_context(|| format!("no member {name}"))
    }

    /// A member by name or alias.
    ///
    /// # Errors
    /// Where there is none.
    pub fn member_mut(&mut self, name: &str) -> Result<&mut Cluster> {
        let mut members = self.members.iter_mut();
        let found = members.find(|member| member.name() == name || member.alias() == name);
        found.with_context(|| format!("no member {name}"))
    }

    /// Gives the hub our kinds.
    ///
    /// # Errors
    /// Where it refuses them.
    pub async fn install_kinds(&self) -> Result<()> {
        let client = self.hub.client().await?;
        let api: Api<CustomResourceDefinition> = Api::all(client);
        for definition in crds::all()? {
            let name = definition.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            api.patch(name, &PatchParams::apply("fleetctl").force(), &Patch::Apply(&definition)).await?;
            until(api.clone(), name, "established", |crd| is_crd_established().matches_object(crd)).await?;
        }
        Ok(())
    }

    /// Makes all clusters members, in their order.
    ///
    /// # Errors
    /// Where the hub refuses one.
    pub async fn register_all(&self) -> Result<()> {
        for (order, member) in self.members.iter().enumerate() {
            // An API server that got our kinds a moment ago may not serve them yet.
            eventually("a member is registered", || self.register(member, order + 1)).await?;
        }
        Ok(())
    }

    /// Makes a cluster a member: its ManagedCluster and its credentials as a Secret.
    ///
    /// # Errors
    /// Where the hub refuses them.
    pub async fn register(&self, member: &Cluster, order: usize) -> Result<()> {
        let uid = uid(member).await?;
        let hub = self.hub.client().await?;
        let name = member.name();
        // Without an alias the value is null, which sets nothing.
        let alias = Some(member.alias()).filter(|alias| *alias != name);
        let annotations = json!({ names::JOIN_ORDER: order.to_string(), names::CLUSTER_ALIAS: alias });
        let cluster = json!({
            "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
            "metadata": { "name": name, "annotations": annotations },
            "spec": { "hubAcceptsClient": true },
        });
        let api: Api<ManagedCluster> = Api::all(hub.clone());
        api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&cluster)).await?;
        let condition = |kind: &str| json!({ "type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let status = json!({ "status": {
            "conditions": [condition("HubAcceptedManagedCluster"), condition("ManagedClusterJoined"), condition("ManagedClusterConditionAvailable")],
            "clusterClaims": [{ "name": names::CLUSTER_ID_CLAIM, "value": uid }],
        }});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await?;
        let secret = credentials(name, &as_controller(member)?)?;
        self.namespace(&self.hub, SYSTEM).await?;
        let api: Api<Secret> = Api::namespaced(hub, SYSTEM);
        api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&secret)).await?;
        Ok(())
    }

    /// Starts the built `fleetctl controller`, which may do everything on the hub.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn controller(&self) -> Result<Controller> {
        self.controller_with(&[])
    }

    /// [`Fleet::controller`] with further arguments.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn controller_with(&self, arguments: &[&str]) -> Result<Controller> {
        let path = self.room.path().join("controller.kubeconfig");
        kubeconfig::write(&path, &as_controller(&self.hub)?)?;
        Controller::start(&self.room, "controller", &path, arguments)
    }

    /// A replica of the controller with a name and log of its own, whose clock is ahead by so many seconds. `shifted` is
    /// this crate's program of that name.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn replica(&self, name: &str, shifted: &Path, seconds: i64) -> Result<Controller> {
        let path = self.room.path().join("controller.kubeconfig");
        kubeconfig::write(&path, &as_controller(&self.hub)?)?;
        let named = format!("--replica-name={name}");
        Controller::shifted(&self.room, name, &path, (shifted, seconds), &["--member-timeout=2s", &named])
    }

    /// [`Fleet::controller_with`], with the log that the program writes by itself: it costs what it costs a user.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn shipped_controller(&self, arguments: &[&str]) -> Result<Controller> {
        let path = self.room.path().join("controller.kubeconfig");
        kubeconfig::write(&path, &as_controller(&self.hub)?)?;
        let mut all: Vec<OsString> = vec!["controller".into(), "--kubeconfig".into(), path.into()];
        all.extend(arguments.iter().map(Into::into));
        Controller::run(&self.room, "controller", all, [])
    }

    /// Applies objects of YAML, server-side, as the user `kubectl` would.
    ///
    /// # Errors
    /// Where one is refused.
    pub async fn apply(&self, cluster: &Cluster, yaml: &str) -> Result<()> {
        let client = cluster.client().await?;
        for object in documents(yaml)? {
            // As in [`Fleet::register_all`]: the kind may be a moment old.
            let api = eventually("a kind is served", || api_of(&client, &object)).await?;
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            api.patch(name, &PatchParams::apply("kubectl").force(), &Patch::Apply(&object))
                .await
                .with_context(|| format!("applying {name} to {}", cluster.name()))?;
        }
        Ok(())
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// Where it is refused.
    pub async fn namespace(&self, cluster: &Cluster, name: &str) -> Result<()> {
        self.apply(cluster, &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}")).await
    }

    /// Runs stock kubectl with contexts `hub` and one per member.
    ///
    /// # Errors
    /// Where it fails, with what it said.
    pub fn kubectl(&self, line: &str) -> Result<String> {
        self.shell(&format!("kubectl {line}"))
    }

    /// Runs the built `fleetctl` with contexts `hub` and one per member.
    ///
    /// # Errors
    /// Where it fails, with what it said.
    pub fn fleetctl(&self, line: &str) -> Result<String> {
        self.shell(&format!("fleetctl {line}"))
    }

    /// Runs a line in a shell that has the built `fleetctl`, the pinned helm and kubectl on its PATH, in the workspace's folder.
    ///
    /// # Errors
    /// Where it fails, with what it said.
    pub fn shell(&self, line: &str) -> Result<String> {
        let output = self.try_shell(line)?;
        let (said, complaint) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("$ {line}\n{said}{complaint}({})", output.status);
        }
        Ok(said.into_owned())
    }

    /// [`Fleet::shell`], whatever comes of it.
    ///
    /// # Errors
    /// Where there is no shell.
    pub fn try_shell(&self, line: &str) -> Result<Output> {
        let mut all = vec![self.hub.kubeconfig().clone()];
        all.extend(self.members.iter().map(|member| member.kubeconfig().clone()));
        let path = self.room.path().join("kubeconfig");
        kubeconfig::write(&path, &kubeconfig::merge(&all))?;
        let programs = controller::program(&self.room)?;
        let helm = tools::program("helm", "helm")?;
        let folders = [&programs, &helm]
            .map(|program| program.parent().map(|f| f.display().to_string()).unwrap_or_default());
        Command::new("bash")
            .args(["-c", &format!("export PATH={}:$PATH; {line}", folders.join(":"))])
            .current_dir(tools::root()?)
            .env("HOME", self.room.path())
            .env("KUBECACHEDIR", self.room.path().join("cache"))
            .env("KUBECONFIG", &path)
            .env_remove("RUST_BACKTRACE")
            .output()
            .context("starting bash")
    }
}

/// How the controller reaches a cluster: on ours as one of its own name, so that a record of requests tells it from
/// others.
fn as_controller(cluster: &Cluster) -> Result<Value> {
    let Ok(pki) = cluster.pki() else { return Ok(cluster.kubeconfig().clone()) };
    Ok(cluster.kubeconfig_as(&User::Certificate(pki.client(Fleet::CONTROLLER, &["system:masters"])?)))
}

/// What the three-centre scenario calls its members.
pub fn three_centres() -> [ClusterSpec; 3] {
    [("mc-bj1", "cluster1-beijing"), ("mc-bj2", "cluster2-beijing"), ("mc-hz1", "cluster1-hangzhou")]
        .map(|(name, alias)| ClusterSpec::new(name, Life::Living).alias(alias))
}

/// The identity of a cluster: the UID of its kube-system.
///
/// # Errors
/// Where it doesn't answer.
pub async fn uid(cluster: &Cluster) -> Result<String> {
    let api: Api<Namespace> = Api::all(cluster.client().await?);
    let system = until(api, "kube-system", "there", |namespace| namespace.is_some()).await?;
    Ok(system.and_then(|namespace| namespace.uid()).unwrap_or_default())
}

/// The Secret that makes a cluster reachable, from a kubeconfig with a certificate or a token in it.
///
/// # Errors
/// Where the kubeconfig has neither.
pub fn credentials(name: &str, kubeconfig: &Value) -> Result<Value> {
    let part = |pointer: &str| kubeconfig.pointer(pointer).and_then(Value::as_str);
    let (token, key) = (part("/users/0/user/token"), part("/users/0/user/client-key-data"));
    ensure!(
        token.is_some() || key.is_some(),
        "{name}: the kubeconfig must hold a client certificate with its key, or a token, as data"
    );
    let kind = if token.is_some() { "ServiceAccountToken" } else { "X509Certificate" };
    let mut data = json!({
        "ca.crt": part("/clusters/0/cluster/certificate-authority-data"),
        "tls.crt": part("/users/0/user/client-certificate-data"),
        "tls.key": key,
    });
    if let Some(data) = data.as_object_mut() {
        data.retain(|_, value| !value.is_null());
    }
    let mut text = json!({ "endpoint": part("/clusters/0/cluster/server"), "token": token });
    if let Some(text) = text.as_object_mut() {
        text.retain(|_, value| !value.is_null());
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": name, "labels": { names::CREDENTIAL_TYPE: kind } },
        "data": data, "stringData": text,
    }))
}

/// The documents of a YAML file.
///
/// # Errors
/// Where one isn't YAML.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    let parts = yaml.split("\n---").map(|part| part.trim().trim_start_matches("---"));
    parts.filter(|part| !part.trim().is_empty()).map(|part| Ok(serde_saphyr::from_str(part)?)).collect()
}

async fn api_of(client: &kube::Client, object: &Value) -> Result<Api<DynamicObject>> {
    let types: TypeMeta = serde_json::from_value(object.clone())?;
    let (resource, capabilities) =
        kube::discovery::pinned_kind(client, &GroupVersionKind::try_from(types)?).await?;
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("default");
    Ok(match capabilities.scope {
        kube::discovery::Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, &resource),
        kube::discovery::Scope::Cluster => Api::all_with(client.clone(), &resource),
    })
}
