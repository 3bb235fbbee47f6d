//! Credential plugins: commands that give a token (client.authentication.k8s.io), as kubeconfigs of cloud providers
//! have them. What runs is named in a Secret, so only what the administrator has allowed runs.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use kube::config::{ExecAuthCluster, ExecConfig};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::error::LinkError;

/// Tells the wall-clock time, which a token's end is written in.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A token that ends within this time is fetched anew while it is still in use.
const EARLY: SignedDuration = SignedDuration::from_secs(120);
/// A token that ends within this time isn't sent any more.
const MARGIN: SignedDuration = SignedDuration::from_secs(10);
/// The longest that a plugin may run.
const RUN_LIMIT: Duration = Duration::from_secs(30);
/// After a failure the plugin isn't run again for this long.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);
/// How much of what a failing plugin writes is shown.
const SHOWN: usize = 300;

/// Which credential plugins may run, and which environment variables a Secret may set for each. Everything else is
/// refused: whoever may write Secrets could run any command as the controller otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plugins(BTreeMap<String, BTreeSet<String>>);

/// `COMMAND` or `COMMAND:VARIABLE+VARIABLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedPlugin {
    command: String,
    variables: BTreeSet<String>,
}

impl FromStr for AllowedPlugin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (command, variables) = text.split_once(':').unwrap_or((text, ""));
        if command.trim().is_empty() {
            return Err("name the plugin's command, as COMMAND or COMMAND:VARIABLE+VARIABLE".to_owned());
        }
        let variables = variables.split('+').map(str::trim).filter(|name| !name.is_empty());
        Ok(Self { command: command.trim().to_owned(), variables: variables.map(str::to_owned).collect() })
    }
}

impl FromIterator<AllowedPlugin> for Plugins {
    fn from_iter<I: IntoIterator<Item = AllowedPlugin>>(allowed: I) -> Self {
        let mut all = BTreeMap::<String, BTreeSet<String>>::new();
        for plugin in allowed {
            all.entry(plugin.command).or_default().extend(plugin.variables);
        }
        Self(all)
    }
}

impl Plugins {
    /// Whether a plugin may run as it is written.
    ///
    /// # Errors
    /// In words, with the switch that would allow it.
    pub fn judge(&self, exec: &ExecConfig) -> Result<(), String> {
        let Some(command) = exec.command.as_deref().filter(|command| !command.is_empty()) else {
            return Err("its credential plugin names no command".to_owned());
        };
        let Some(variables) = self.0.get(command) else {
            return Err(format!(
                "the credential plugin {command:?} isn't allowed to run here; start the controller with \
                 --allow-exec-plugin {command}, or use a token"
            ));
        };
        for name in environment(exec).map(|(name, _)| name) {
            if !variables.contains(name) {
                return Err(format!(
                    "the credential plugin {command:?} may not get the variable {name} from a Secret; start the \
                     controller with --allow-exec-plugin {command}:{name}"
                ));
            }
        }
        Ok(())
    }
}

fn environment(exec: &ExecConfig) -> impl Iterator<Item = (&str, &str)> {
    let all = exec.env.iter().flatten();
    all.filter_map(|entry| Some((entry.get("name")?.as_str(), entry.get("value")?.as_str())))
}

/// A plugin that was allowed, and the token that it gave last.
pub(super) struct Plugin {
    exec: ExecConfig,
    /// What the plugin is told about the cluster, JSON.
    info: String,
    clock: Clock,
    state: Mutex<State>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _ends: DropGuard,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    run: Option<Run>,
    failed: Option<(Instant, LinkError)>,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    expires: Option<Timestamp>,
}

/// A run of the plugin, for all who wait for it.
type Run = Shared<BoxFuture<'static, Result<HeaderValue, LinkError>>>;

impl Plugin {
    pub(super) fn new(
        exec: ExecConfig,
        cluster: ExecAuthCluster,
        clock: Clock,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let mut spec = serde_json::json!({ "interactive": false });
        if exec.provide_cluster_info {
            let cluster = serde_json::to_value(cluster).unwrap_or_default();
            spec.as_object_mut().map(|spec| spec.insert("cluster".to_owned(), cluster));
        }
        let version = exec.api_version.as_deref().unwrap_or("client.authentication.k8s.io/v1");
        let info = serde_json::json!({ "apiVersion": version, "kind": "ExecCredential", "spec": spec });
        Arc::new(Self {
            exec,
            info: info.to_string(),
            clock,
            state: Mutex::default(),
            tasks,
            stop: stop.clone(),
            _ends: stop.drop_guard(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token that it gave, while that lasts; else a new one.
    ///
    /// # Errors
    /// [`LinkError::Plugin`].
    pub(super) async fn token(self: &Arc<Self>) -> Result<HeaderValue, LinkError> {
        let now = (self.clock)();
        let run = {
            let mut state = self.state();
            let lasts =
                |token: &Token, time: SignedDuration| token.expires.is_none_or(|end| now + time < end);
            let usable = state.token.as_ref().filter(|token| lasts(token, MARGIN)).cloned();
            if let Some(token) = &usable
                && lasts(token, EARLY)
            {
                return Ok(token.header.clone());
            }
            if let Some((at, error)) = &state.failed
                && at.elapsed() < FAILURE_PAUSE
            {
                return usable.map(|token| token.header).ok_or_else(|| error.clone());
            }
            let run = match &state.run {
                Some(run) => run.clone(),
                None => {
                    let run = self.start();
                    state.run = Some(run.clone());
                    run
                }
            };
            if let Some(token) = usable {
                return Ok(token.header);
            }
            run
        };
        run.await
    }

    /// The member has refused a token: it isn't used again.
    pub(super) fn forget(&self, refused: &HeaderValue) {
        let mut state = self.state();
        if state.token.as_ref().is_some_and(|token| token.header == *refused) {
            state.token = None;
        }
    }

    fn start(self: &Arc<Self>) -> Run {
        let plugin = Arc::clone(self);
        let running = async move {
            let outcome = plugin.run().await;
            let mut state = plugin.state();
            state.run = None;
            match outcome {
                Ok(token) => {
                    state.failed = None;
                    let header = token.header.clone();
                    state.token = Some(token);
                    Ok(header)
                }
                Err(why) => {
                    let error = plugin.error(why);
                    state.failed = Some((Instant::now(), error.clone()));
                    Err(error)
                }
            }
        };
        let task = self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(running));
        let stopped = self.error("it was stopped: the credentials have changed".to_owned());
        task.map(move |ended| match ended {
            Ok(Some(outcome)) => outcome,
            _ => Err(stopped),
        })
        .boxed()
        .shared()
    }

    fn error(&self, why: String) -> LinkError {
        LinkError::Plugin { command: self.exec.command.clone().unwrap_or_default(), why }
    }

    async fn run(&self) -> Result<Token, String> {
        let mut command = tokio::process::Command::new(self.exec.command.as_deref().unwrap_or_default());
        command
            .args(self.exec.args.iter().flatten())
            .envs(environment(&self.exec))
            .env("KUBERNETES_EXEC_INFO", &self.info)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = match tokio::time::timeout(RUN_LIMIT, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => {
                return Err(format!(
                    "it can't be started: {error}; is it installed where the controller runs?"
                ));
            }
            Err(_) => return Err(format!("it didn't end within {} s", RUN_LIMIT.as_secs())),
        };
        if !output.status.success() {
            let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(SHOWN).collect();
            return Err(format!("it failed ({}): {said}", output.status));
        }
        read(&output.stdout)
    }
}

#[derive(Deserialize)]
struct ExecCredential {
    status: Option<ExecCredentialStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredentialStatus {
    expiration_timestamp: Option<String>,
    token: Option<String>,
    client_certificate_data: Option<String>,
}

/// Reads what a plugin wrote; nothing of it shows in an error.
fn read(stdout: &[u8]) -> Result<Token, String> {
    let credential: ExecCredential = serde_json::from_slice(stdout)
        .map_err(|_| "what it wrote is no ExecCredential in JSON".to_owned())?;
    let status = credential.status.ok_or("its ExecCredential has no status")?;
    let Some(token) = status.token.filter(|token| !token.is_empty()) else {
        return Err(match status.client_certificate_data {
            Some(_) => "it gave a client certificate; only tokens are supported".to_owned(),
            None => "it gave no token".to_owned(),
        });
    };
    let header = super::bearer::header(&SecretString::from(token)).ok_or("its token can't be sent")?;
    let expires = status.expiration_timestamp.map(|end| end.parse::<Timestamp>());
    let expires = expires.transpose().map_err(|_| "its expirationTimestamp is no time".to_owned())?;
    Ok(Token { header, expires })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(yaml: serde_json::Value) -> ExecConfig {
        serde_json::from_value(yaml).unwrap()
    }

    /// A Secret must not be able to run what nobody allowed, nor to change what an allowed command does by its
    /// environment.
    #[test]
    fn only_what_is_allowed_runs() {
        let allowed: Plugins = ["aws:AWS_PROFILE", "gke-gcloud-auth-plugin"]
            .iter()
            .map(|text| text.parse::<AllowedPlugin>().unwrap())
            .collect();
        for (plugin, refused) in [
            (serde_json::json!({"command": "aws", "args": ["eks"]}), None),
            (serde_json::json!({"command": "aws", "env": [{"name": "AWS_PROFILE", "value": "x"}]}), None),
            (
                serde_json::json!({"command": "aws", "env": [{"name": "LD_PRELOAD", "value": "x"}]}),
                Some("--allow-exec-plugin aws:LD_PRELOAD"),
            ),
            (serde_json::json!({"command": "/tmp/aws"}), Some("--allow-exec-plugin /tmp/aws")),
            (serde_json::json!({"args": ["x"]}), Some("names no command")),
        ] {
            let judged = allowed.judge(&exec(plugin.clone()));
            match refused {
                None => assert_eq!(judged, Ok(()), "{plugin}"),
                Some(said) => assert!(judged.clone().unwrap_err().contains(said), "{plugin}: {judged:?}"),
            }
        }
        assert!(Plugins::default().judge(&exec(serde_json::json!({"command": "aws"}))).is_err());
    }

    #[test]
    fn what_a_plugin_writes_shows_nowhere() {
        for (written, said) in [
            ("hush", "no ExecCredential"),
            (r#"{"kind": "ExecCredential"}"#, "no status"),
            (r#"{"status": {"token": ""}}"#, "no token"),
            (r#"{"status": {"clientCertificateData": "hush"}}"#, "only tokens"),
            (r#"{"status": {"token": "hush", "expirationTimestamp": "hush"}}"#, "no time"),
            ("{\"status\": {\"token\": \"hush\\n\"}}", "can't be sent"),
        ] {
            let error = read(written.as_bytes()).err().unwrap();
            assert!(error.contains(said) && !error.contains("hush"), "{written}: {error}");
        }
    }
}
