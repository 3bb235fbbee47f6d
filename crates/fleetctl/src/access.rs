//! The user's own ways to clusters: kubeconfig contexts.

mod patience;
mod shared;

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::args::Global;
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};

/// Kubeconfig files, merged, and what the command line says about them.
pub struct Access {
    kubeconfig: Kubeconfig,
    files: String,
    global: Global,
    called: &'static str,
}

/// A cluster that can be asked.
#[derive(Clone)]
pub struct Cluster {
    /// Its client.
    pub client: kube::Client,
    /// The kubeconfig context.
    pub context: String,
    /// Its address.
    pub server: String,
    /// How long one request may take.
    pub deadline: Duration,
    /// The namespace, where the command line names none.
    pub default_namespace: String,
    /// This process is a pod of it.
    pub in_pod: bool,
    user: String,
    /// What to do where it doesn't answer.
    advice: &'static str,
}

const HUB_ADVICE: &str = "is it running? a local fleet starts with: fleetctl local up --detach";
const MEMBER_ADVICE: &str = "is it stopped or unreachable?";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The user's name.
    pub user: String,
    /// The user's groups.
    pub groups: Vec<String>,
}

impl Access {
    /// Reads the kubeconfig files.
    ///
    /// # Errors
    /// Where there is none, or one can't be read.
    pub fn load(environment: &Environment, global: &Global) -> Outcome<Self> {
        let paths = paths(environment, global);
        let must_exist = global.kubeconfig.is_some();
        let mut merged: Option<Kubeconfig> = None;
        for path in &paths {
            if !must_exist && !path.exists() {
                continue;
            }
            if must_exist && matches!(path.try_exists(), Ok(false)) {
                return Err(Failure::not_found(format!(
                    "kubeconfig {}: there is no such file; name another one with --kubeconfig",
                    path.display()
                )));
            }
            let one = Kubeconfig::read_from(path).map_err(|error| {
                Failure::failed(format!(
                    "kubeconfig {}: {}",
                    path.display(),
                    fleet_members::innermost(&error)
                ))
            })?;
            let whole = match merged {
                Some(before) => before.merge(one),
                None => Ok(one),
            };
            merged = Some(
                whole.map_err(|error| Failure::failed(format!("kubeconfig {}: {error}", path.display())))?,
            );
        }
        let files = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        let called = environment.called.as_str();
        match merged {
            Some(kubeconfig) => Ok(Self { kubeconfig, files, global: global.clone(), called }),
            None => Err(Failure::not_found(format!(
                "there is no kubeconfig ({files}); name one with --kubeconfig or $KUBECONFIG, or start a fleet here: {called} local up --detach"
            ))),
        }
    }

    /// The hub: the context of the command line, else the current one.
    ///
    /// # Errors
    /// Where there is no such context, or it can't be used.
    pub async fn hub(&self) -> Outcome<Cluster> {
        let named = self.global.context.clone().or_else(|| self.kubeconfig.current_context.clone());
        let named = named.filter(|name| !name.is_empty());
        let Some(context) = named else {
            if self.kubeconfig.contexts.is_empty() {
                return Err(Failure::usage(format!(
                    "{} has no contexts; is it a kubeconfig? name another one with --kubeconfig",
                    self.files
                )));
            }
            return Err(Failure::usage(format!(
                "no current context in {}; choose one with --context ({})",
                self.files,
                self.context_names().join(", ")
            )));
        };
        if !self.has(&context) {
            let advice = crate::nearest::advice(&context, &self.context_names(), "contexts");
            return Err(Failure::not_found(format!("no context {context:?} in {}{advice}", self.files)));
        }
        self.cluster(&context, self.global.request_timeout, HUB_ADVICE).await
    }

    /// A member: the context named as it or as its alias.
    ///
    /// # Errors
    /// Where there is none; other people's credentials are never used instead.
    pub async fn member(&self, name: &str, alias: Option<&str>, deadline: Duration) -> Outcome<Cluster> {
        let found = std::iter::once(name).chain(alias).find(|context| self.has(context));
        let Some(context) = found else {
            let or_alias = alias.map(|alias| format!(" or {alias:?}")).unwrap_or_default();
            return Err(Failure::refused(format!(
                "no kubeconfig context named {name:?}{or_alias} in {}; members are asked with your own credentials: add a context of that name (kubectl config set-context {name} --cluster=… --user=…)",
                self.files
            )));
        };
        self.cluster(context, deadline, MEMBER_ADVICE).await
    }

    /// The namespace that counts for a cluster.
    pub fn namespace(&self, cluster: &Cluster) -> String {
        self.global.namespace.clone().unwrap_or_else(|| cluster.default_namespace.clone())
    }

    /// What the user types to call this program.
    pub fn called(&self) -> &'static str {
        self.called
    }

    /// Whether the user has a way of their own to a member.
    pub(crate) fn knows(&self, name: &str, alias: Option<&str>) -> bool {
        std::iter::once(name).chain(alias).any(|context| self.has(context))
    }

    fn has(&self, context: &str) -> bool {
        self.kubeconfig.contexts.iter().any(|entry| entry.name == context)
    }

    fn context_names(&self) -> Vec<String> {
        self.kubeconfig.contexts.iter().map(|entry| entry.name.clone()).collect()
    }

    async fn cluster(&self, context: &str, deadline: Duration, advice: &'static str) -> Outcome<Cluster> {
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
        let failed =
            |cause: String| Failure::failed(format!("context {context:?} in {}: {cause}", self.files));
        let mut config = kube::Config::from_custom_kubeconfig(self.kubeconfig.clone(), &options)
            .await
            .map_err(|error| failed(fleet_members::innermost(&error)))?;
        config.connect_timeout = Some(deadline);
        // Whoever waits for an answer wants to hear of a refusal at once, unless the server asks to come back.
        config.default_retry = false;
        let entry = self.kubeconfig.contexts.iter().find(|entry| entry.name == context);
        let user = entry.and_then(|entry| entry.context.as_ref()?.user.clone()).unwrap_or_default();
        let (server, default_namespace) = (config.cluster_url.to_string(), config.default_namespace.clone());
        let client = shared::client(config).map_err(|error| failed(fleet_members::innermost(&error)))?;
        let client = patience::patient(client, deadline);
        let server = server.trim_end_matches('/').to_owned();
        let context = context.to_owned();
        Ok(Cluster { client, context, server, deadline, default_namespace, in_pod: false, user, advice })
    }
}

impl Cluster {
    /// A cluster of this process.
    pub fn in_process(client: kube::Client, context: &str) -> Self {
        Self {
            client,
            context: context.to_owned(),
            server: "in process".to_owned(),
            deadline: Duration::from_secs(30),
            default_namespace: "default".to_owned(),
            in_pod: false,
            user: crate::embedded::ADMIN_USER.to_owned(),
            advice: "it is part of this process; this is a defect",
        }
    }

    /// The cluster that this process is a pod of.
    ///
    /// # Errors
    /// Where it is no pod.
    pub fn around(global: &Global) -> Outcome<Self> {
        let no_pod = |why: String| Failure::failed(format!("this is no pod ({why})"));
        let mut config =
            kube::Config::incluster().map_err(|error| no_pod(fleet_members::innermost(&error)))?;
        config.connect_timeout = Some(global.request_timeout);
        let (server, default_namespace) = (config.cluster_url.to_string(), config.default_namespace.clone());
        let client = shared::client(config).map_err(|error| no_pod(fleet_members::innermost(&error)))?;
        Ok(Self {
            client,
            context: "in the cluster".to_owned(),
            server: server.trim_end_matches('/').to_owned(),
            deadline: global.request_timeout,
            default_namespace,
            in_pod: true,
            user: String::new(),
            advice: HUB_ADVICE,
        })
    }

    /// A member by a client for it. `context` is what it is called in messages.
    pub(crate) fn of_member(client: kube::Client, context: &str, server: &str, deadline: Duration) -> Self {
        Self {
            client,
            context: context.to_owned(),
            server: server.to_owned(),
            deadline,
            default_namespace: "default".to_owned(),
            in_pod: false,
            user: String::new(),
            advice: MEMBER_ADVICE,
        }
    }

    /// Makes a request within the deadline.
    ///
    /// # Errors
    /// What the cluster answered, or that it doesn't.
    pub async fn ask<T>(
        &self,
        doing: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Outcome<T> {
        match tokio::time::timeout(self.deadline, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let failure = Failure::kube(doing, &error);
                if failure.exit == Exit::Unreachable {
                    Err(self.unreachable(&failure.message))
                } else {
                    Err(failure)
                }
            }
            Err(_) => Err(self.silent(doing)),
        }
    }

    /// It didn't answer in time.
    pub fn silent(&self, doing: &str) -> Failure {
        let seconds = self.deadline.as_secs_f64();
        self.unreachable(&format!("{doing}: no answer within {seconds} s"))
    }

    /// Where our kinds aren't there, it is the wrong cluster that was asked.
    pub(crate) fn no_hub(&self, failure: Failure) -> Failure {
        if failure.exit != Exit::NotFound {
            return failure;
        }
        Failure::not_found(format!(
            "context {:?} ({}) is no hub of a fleet: it doesn't have our kinds; choose the hub with --context",
            self.context, self.server
        ))
    }

    fn unreachable(&self, cause: &str) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!("{cause} (context {:?}, {}); {}", self.context, self.server, self.advice),
        )
    }

    /// Who this cluster takes us for; what the kubeconfig calls us where it doesn't tell.
    pub async fn asker(&self) -> Asker {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review =
            self.ask("who am I", api.create(&PostParams::default(), &SelfSubjectReview::default())).await;
        let told = review.ok().and_then(|review| review.status).and_then(|status| status.user_info);
        match told {
            Some(info) if info.username.as_deref().is_some_and(|name| !name.is_empty()) => {
                Asker { user: info.username.unwrap_or_default(), groups: info.groups.unwrap_or_default() }
            }
            _ => Asker { user: self.user.clone(), groups: Vec::new() },
        }
    }
}

fn paths(environment: &Environment, global: &Global) -> Vec<PathBuf> {
    if let Some(path) = &global.kubeconfig {
        return vec![path.clone()];
    }
    let listed = environment.kubeconfig.as_ref().filter(|value| !value.is_empty());
    match listed {
        Some(list) => std::env::split_paths(list).filter(|path| path != Path::new("")).collect(),
        None => environment.home.iter().map(|home| home.join(".kube").join("config")).collect(),
    }
}
