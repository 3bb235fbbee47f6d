//! One cluster: an API server, and what makes it live.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::audit::Request;
use crate::kubeconfig::{self, User};
use crate::member::Living;
use crate::pki::Pki;
use crate::tools::{self, Version};
use crate::{Etcd, Process, Room, eventually, ports};

/// Which controllers a cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// None: objects are data. Namespaces don't finish their deletion.
    Bare,
    /// Those that no workload has: namespaces, garbage collection, ServiceAccounts. A hub that is inert.
    Inert,
    /// As [`Life::Inert`], and Deployments get their ReplicaSets. There is no node: those of no replicas become ready.
    Nodeless,
    /// All, with a scheduler, a node by kwok, and addresses for Ingresses and load balancers.
    Living,
}

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    pub(crate) name: String,
    pub(crate) alias: Option<String>,
    life: Life,
    version: Version,
    own_etcd: bool,
    quota: Option<u64>,
    audited: bool,
    flags: Vec<String>,
}

impl ClusterSpec {
    /// A cluster with the newest version.
    pub fn new(name: &str, life: Life) -> Self {
        let (name, flags) = (name.to_owned(), Vec::new());
        Self {
            name,
            alias: None,
            life,
            version: Version::Newest,
            own_etcd: false,
            quota: None,
            audited: false,
            flags,
        }
    }

    /// The human name under which it is registered.
    #[must_use]
    pub fn alias(mut self, alias: &str) -> Self {
        self.alias = Some(alias.to_owned());
        self
    }

    /// With the oldest version that is supported.
    #[must_use]
    pub fn oldest(mut self) -> Self {
        self.version = Version::Oldest;
        self
    }

    /// With an etcd that no other cluster uses, so that it can be lost or set back.
    #[must_use]
    pub fn own_etcd(mut self) -> Self {
        self.own_etcd = true;
        self
    }

    /// With an etcd of its own that refuses more than so many bytes.
    #[must_use]
    pub fn quota(mut self, bytes: u64) -> Self {
        self.quota = Some(bytes);
        self.own_etcd()
    }

    /// With a record of every request, for [`Cluster::audit`].
    #[must_use]
    pub fn audited(mut self) -> Self {
        self.audited = true;
        self
    }

    /// With one more flag for its API server.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }
}

/// A running cluster: one of ours, or the user's.
pub struct Cluster {
    name: String,
    alias: Option<String>,
    kubeconfig: Value,
    path: PathBuf,
    own: Option<Own>,
}

/// What we started, and may break.
struct Own {
    spec: ClusterSpec,
    pki: Arc<Pki>,
    room: Arc<Room>,
    etcd: Arc<Mutex<Etcd>>,
    api: Process,
    controllers: Vec<Process>,
    living: Option<Living>,
}

impl Cluster {
    /// One that somebody else runs.
    ///
    /// # Errors
    /// Where its kubeconfig can't be written down.
    pub(crate) fn given(spec: &ClusterSpec, mut kubeconfig: Value, room: &Room) -> Result<Self> {
        kubeconfig::rename(&mut kubeconfig, &spec.name)?;
        let path = room.path().join(format!("{}.kubeconfig", spec.name));
        kubeconfig::write(&path, &kubeconfig)?;
        Ok(Self { name: spec.name.clone(), alias: spec.alias.clone(), kubeconfig, path, own: None })
    }

    /// Starts one, and returns when its API server is ready and its controllers are started.
    ///
    /// # Errors
    /// Where a program isn't built or doesn't come up.
    pub(crate) async fn start(
        spec: ClusterSpec,
        pki: Arc<Pki>,
        room: Arc<Room>,
        shared: Option<Arc<Mutex<Etcd>>>,
    ) -> Result<Self> {
        let etcd = match shared {
            Some(etcd) if !spec.own_etcd => etcd,
            _ => Arc::new(Mutex::new(Etcd::start(&room, &format!("etcd-{}", spec.name), spec.quota).await?)),
        };
        let path = room.path().join(format!("{}.kubeconfig", spec.name));
        let mut refused = None;
        for _ in 0..3 {
            let port = ports::free()?;
            let server = format!("https://127.0.0.1:{port}");
            let user = User::Certificate(pki.admin.clone());
            let kubeconfig = kubeconfig::render(&spec.name, &server, &pki.authority(), &user);
            kubeconfig::write(&path, &kubeconfig)?;
            let api = api_server(&spec, &pki, &room, &etcd.lock().await.url(), port)?;
            let controllers = controllers(&spec, &pki, &room, &path)?;
            let (spec, pki, room, etcd) =
                (spec.clone(), Arc::clone(&pki), Arc::clone(&room), Arc::clone(&etcd));
            let (name, alias) = (spec.name.clone(), spec.alias.clone());
            let own = Own { spec, pki, room, etcd, api, controllers, living: None };
            let mut cluster = Self { name, alias, kubeconfig, path: path.clone(), own: Some(own) };
            // Its port may have been taken meanwhile.
            match cluster.restart().await {
                Ok(()) => return Ok(cluster),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) => Err(error),
            None => bail!("{} was never started", spec.name),
        }
    }

    fn own(&self) -> Result<&Own> {
        self.own
            .as_ref()
            .with_context(|| format!("{} is the user's cluster, and not ours to break", self.name))
    }

    fn own_mut(&mut self) -> Result<&mut Own> {
        let name = &self.name;
        self.own.as_mut().with_context(|| format!("{name} is the user's cluster, and not ours to break"))
    }

    /// Returns when its API server says that it is ready.
    ///
    /// # Errors
    /// Where it has ended, or isn't ready in time.
    pub async fn ready(&mut self) -> Result<()> {
        let client = self.client().await?;
        let what = format!("{} ready", self.name);
        let Some(own) = &mut self.own else { return Ok(()) };
        let api = std::cell::RefCell::new(&mut own.api);
        let asked = eventually(&what, || {
            let alive = api.borrow_mut().must_run();
            let client = client.clone();
            async move {
                // What has ended needs no second question.
                if let Err(error) = alive {
                    return Ok(Err(error));
                }
                let request = http::Request::get("/readyz").body(Vec::new())?;
                Ok(Ok(client.request_text(request).await.map(drop)?))
            }
        });
        asked.await?
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its alias, or its name.
    pub fn alias(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }

    /// Where its API server listens.
    pub fn server(&self) -> &str {
        self.kubeconfig.pointer("/clusters/0/cluster/server").and_then(Value::as_str).unwrap_or_default()
    }

    /// What signs its users' certificates.
    ///
    /// # Errors
    /// Where it is the user's cluster.
    pub fn pki(&self) -> Result<&Pki> {
        Ok(&self.own()?.pki)
    }

    /// A kubeconfig of one who may do everything; its context is named as the cluster.
    pub fn kubeconfig(&self) -> &Value {
        &self.kubeconfig
    }

    /// A kubeconfig of somebody else.
    pub fn kubeconfig_as(&self, user: &User) -> Value {
        kubeconfig::with_user(&self.kubeconfig, user)
    }

    /// The file with [`Cluster::kubeconfig`].
    pub fn kubeconfig_path(&self) -> &std::path::Path {
        &self.path
    }

    /// A new client that may do everything.
    ///
    /// # Errors
    /// Where it can't be made.
    pub async fn client(&self) -> Result<kube::Client> {
        kubeconfig::client(&self.kubeconfig).await
    }

    /// Stops its API server where it is (SIGSTOP): connections stay open, nothing answers.
    ///
    /// # Errors
    /// Where it doesn't run.
    pub fn pause(&self) -> Result<()> {
        self.own()?.api.pause()
    }

    /// Lets its API server go on.
    ///
    /// # Errors
    /// Where it doesn't run.
    pub fn resume(&self) -> Result<()> {
        self.own()?.api.resume()
    }

    /// Ends its API server at once.
    ///
    /// # Errors
    /// Where it is the user's cluster.
    pub fn kill(&mut self) -> Result<()> {
        self.own_mut()?.api.kill();
        Ok(())
    }

    /// Starts its API server again (ending it first, if it runs), and returns when it is ready.
    ///
    /// # Errors
    /// Where it doesn't come up.
    pub async fn restart(&mut self) -> Result<()> {
        let own = self.own_mut()?;
        own.api.kill();
        own.api.start()?;
        self.ready().await?;
        let client = self.client().await?;
        let own = self.own_mut()?;
        // Controllers may have given up meanwhile.
        for process in &mut own.controllers {
            process.start()?;
        }
        if own.spec.life == Life::Living && own.living.is_none() {
            own.living = Some(Living::start(&client).await?);
        }
        Ok(())
    }

    /// Every request that was answered so far, in order. Watches are there when they end.
    ///
    /// # Errors
    /// Where it isn't audited, or is the user's cluster.
    pub fn audit(&self) -> Result<Vec<Request>> {
        let text =
            std::fs::read_to_string(audit_log(&self.own()?.room, &self.name)).context("the audit log")?;
        // The last line may be half written.
        Ok(text.lines().filter_map(Request::parse).collect())
    }

    /// Its etcd.
    ///
    /// # Errors
    /// Where it is the user's cluster.
    pub fn etcd(&self) -> Result<Arc<Mutex<Etcd>>> {
        Ok(Arc::clone(&self.own()?.etcd))
    }

    /// Copies what it holds, for [`Cluster::restore`]. It doesn't answer meanwhile. It must have an etcd of its own.
    ///
    /// # Errors
    /// Where it has none of its own, or doesn't come back.
    pub async fn back_up(&mut self, name: &str) -> Result<PathBuf> {
        let own = self.own_etcd()?;
        let copy = own.etcd.lock().await.back_up(&own.room, name).await?;
        self.ready().await?;
        Ok(copy)
    }

    /// Makes it what it was at a copy; `None` makes it new, under the same address. It must have an etcd of its own.
    ///
    /// # Errors
    /// Where it has none of its own, or doesn't come back.
    pub async fn restore(&mut self, copy: Option<&std::path::Path>) -> Result<()> {
        let own = self.own_etcd()?;
        for process in &mut own.controllers {
            process.kill();
        }
        own.living = None;
        own.api.kill();
        own.etcd.lock().await.restore(copy).await?;
        self.restart().await
    }

    fn own_etcd(&mut self) -> Result<&mut Own> {
        let own = self.own_mut()?;
        anyhow::ensure!(
            own.spec.own_etcd,
            "{} shares its etcd; ask for ClusterSpec::own_etcd",
            own.spec.name
        );
        Ok(own)
    }
}

const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"], "rules": [{"level": "Metadata"}]}"#;

fn audit_log(room: &Room, name: &str) -> PathBuf {
    room.log(&format!("{name}-audit"))
}

fn api_server(spec: &ClusterSpec, pki: &Pki, room: &Room, etcd: &str, port: u16) -> Result<Process> {
    let file = |name: &str| pki.file(name).display().to_string();
    let mut flags = vec![
        format!("--etcd-servers={etcd}"),
        format!("--etcd-prefix=/{}", spec.name),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        // Tokens of ServiceAccounts hold for one cluster only, as anywhere.
        format!("--service-account-issuer=https://127.0.0.1:{port}"),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        format!("--service-account-key-file={}", file("accounts.pub")),
        "--allow-privileged=true".to_owned(),
        "--profiling=false".to_owned(),
        // Ends at once when asked.
        "--shutdown-delay-duration=0s".to_owned(),
    ];
    if spec.audited {
        let policy = room.path().join("audit-policy.json");
        std::fs::write(&policy, AUDIT_POLICY)?;
        flags.push(format!("--audit-policy-file={}", policy.display()));
        flags.push(format!("--audit-log-path={}", audit_log(room, &spec.name).display()));
        // Written before the answer is sent: what a client has seen is on record.
        flags.push("--audit-log-mode=blocking".to_owned());
    }
    flags.extend(spec.flags.iter().cloned());
    let name = format!("{}-kube-apiserver", spec.name);
    Ok(Process::new(&name, &tools::kubernetes(spec.version, "kube-apiserver")?, flags, room.log(&name)))
}

/// The controllers of a hub on which objects are data.
const INERT: [&str; 8] = [
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "validatingadmissionpolicy-status-controller",
    "legacy-serviceaccount-token-cleaner-controller",
];

fn controllers(spec: &ClusterSpec, pki: &Pki, room: &Room, path: &std::path::Path) -> Result<Vec<Process>> {
    let own = |name: &str, program: PathBuf, flags: Vec<OsString>| {
        let name = format!("{}-{name}", spec.name);
        let log = room.log(&name);
        Process::new(&name, &program, flags, log)
    };
    let kubeconfig = format!("--kubeconfig={}", path.display());
    let mut all = Vec::new();
    if spec.life != Life::Bare {
        let mut flags: Vec<OsString> = vec![
            kubeconfig.clone().into(),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
            "--profiling=false".into(),
            "--kube-api-qps=200".into(),
            "--kube-api-burst=400".into(),
            format!("--root-ca-file={}", pki.file("ca.crt").display()).into(),
            format!("--service-account-private-key-file={}", pki.file("accounts.key").display()).into(),
        ];
        let deployments = ["deployment-controller", "replicaset-controller"];
        let chosen = match spec.life {
            Life::Nodeless => Some([INERT.as_slice(), &deployments].concat()),
            Life::Inert => Some(INERT.to_vec()),
            Life::Bare | Life::Living => None,
        };
        if let Some(chosen) = chosen {
            flags.push(format!("--controllers={}", chosen.join(",")).into());
        }
        let program = tools::kubernetes(spec.version, "kube-controller-manager")?;
        all.push(own("kube-controller-manager", program, flags));
    }
    if spec.life == Life::Living {
        let flags = [kubeconfig.as_str(), "--leader-elect=false", "--secure-port=0", "--profiling=false"];
        let program = tools::kubernetes(spec.version, "kube-scheduler")?;
        all.push(own("kube-scheduler", program, flags.map(Into::into).to_vec()));
        let stages = tools::root()?.join("tests/real/stages");
        let mut flags: Vec<OsString> = vec![
            kubeconfig.into(),
            "--manage-all-nodes=false".into(),
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake".into(),
            "--node-lease-duration-seconds=40".into(),
        ];
        for stage in std::fs::read_dir(&stages).with_context(|| stages.display().to_string())? {
            flags.push(format!("--config={}", stage?.path().display()).into());
        }
        all.push(own("kwok", tools::program("kwok", "kwok")?, flags));
    }
    Ok(all)
}
