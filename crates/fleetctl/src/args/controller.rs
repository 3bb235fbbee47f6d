//! `controller`

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// `controller`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  fleetctl controller                      # in a pod, with its service account\n  \
    fleetctl controller --context hub --install-crds\n  \
    fleetctl controller --listen 0.0.0.0:8080 --log-format json --watch-namespaces shop,billing\n\n\
    Each setting may stand in the environment instead, as a Deployment prefers it; what is typed counts more."
)]
pub struct ControllerArgs {
    /// Apply the custom resource definitions first
    #[arg(long, env = "FLEETCTL_INSTALL_CRDS")]
    pub install_crds: bool,
    /// Run although another controller of the same kinds was found; each undoes the other's work
    #[arg(long, env = "FLEETCTL_BESIDE_ANOTHER_CONTROLLER")]
    pub beside_another_controller: bool,
    /// What it does at once, and for how long.
    #[command(flatten)]
    pub work: WorkArgs,
    /// How the work is shared.
    #[command(flatten)]
    pub replicas: super::replicas::ReplicaArgs,
    /// What is kept.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// What it tells.
    #[command(flatten)]
    pub tell: TellArgs,
}

/// How much at once, how long.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Work")]
pub struct WorkArgs {
    /// Watch Applications in these namespaces only; else in all
    #[arg(long, env = "FLEETCTL_WATCH_NAMESPACES", value_name = "NAME,…", value_delimiter = ',', value_parser = namespace)]
    pub watch_namespaces: Vec<String>,
    /// Where the Secrets with the members' credentials are; else fleetctl-system and vela-system
    #[arg(long = "credentials-namespace", env = "FLEETCTL_CREDENTIALS_NAMESPACE", value_name = "NAME,…", value_delimiter = ',', value_parser = namespace)]
    pub credentials_namespaces: Vec<String>,
    /// Credential plugins that those Secrets may name, each with the variables that they may set for it. Whoever may
    /// write the Secrets runs them, with arguments of their choice, as the controller
    #[arg(
        long = "allow-exec-plugin",
        env = "FLEETCTL_ALLOW_EXEC_PLUGIN",
        value_name = "COMMAND[:VARIABLE+…],…",
        value_delimiter = ','
    )]
    pub allow_exec_plugins: Vec<fleet_members::AllowedPlugin>,
    /// How many Applications are looked at at once
    #[arg(long, env = "FLEETCTL_CONCURRENCY", value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// How many requests one member gets at once
    #[arg(long, env = "FLEETCTL_MEMBER_REQUESTS", value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub member_requests: u16,
    /// How long one request to a member may take: 100ms to 10m
    #[arg(long, env = "FLEETCTL_MEMBER_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = member_timeout)]
    pub member_timeout: Duration,
    /// How long the first list of everything on the hub may take before the controller gives up: 1s to 1h
    #[arg(long, env = "FLEETCTL_CACHE_SYNC_TIMEOUT", value_name = "TIME", default_value = "2m", value_parser = cache_sync_timeout)]
    pub cache_sync_timeout: Duration,
    /// How long the deletion of an Application waits for members that don't answer: 1s to 7 days
    #[arg(long, env = "FLEETCTL_DELETION_DEADLINE", value_name = "TIME", default_value = "10m", value_parser = deletion_deadline)]
    pub deletion_deadline: Duration,
    /// What happens to drift that no apply-once policy speaks of
    #[arg(long, env = "FLEETCTL_DRIFT", value_name = "WHAT", default_value = "repair")]
    pub drift: Drift,
    /// Let steps that ask servers (check-metrics, request, webhook, notification) send to this machine itself, as a
    /// controller beside its servers needs; in a pod that would be the controller's own ports
    #[arg(long, env = "FLEETCTL_ALLOW_LOCAL_ADDRESSES")]
    pub allow_local_addresses: bool,
    /// How many runs act at once.
    #[command(flatten)]
    pub turns: super::turns::TurnArgs,
}

/// What is done about drift where no policy says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Drift {
    /// It is taken back
    Repair,
    /// It is reported and left
    Report,
}

/// What is kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What is kept")]
pub struct KeepArgs {
    /// How many runs of an Application are kept, with their approvals' record and their plans; up to twice as many are
    /// there before the oldest go
    #[arg(long, env = "FLEETCTL_KEPT_RUNS", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub kept_runs: u16,
    /// How many revisions of an Application are kept; one that a kept run, a target or the newest run needs stays
    /// beyond that
    #[arg(long, env = "FLEETCTL_KEPT_REVISIONS", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub kept_revisions: u16,
    /// Sign the end of every record (fleetctl audit) with this key: a file, or the PEM text itself, as a Secret puts it
    /// into the environment. Made with: openssl genpkey -algorithm ed25519
    #[arg(long, env = "FLEETCTL_AUDIT_KEY", value_name = "FILE", hide_env_values = true)]
    pub audit_key: Option<String>,
}

/// What it tells.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What it tells")]
pub struct TellArgs {
    /// Serve /metrics, /healthz and /readyz here, over plain HTTP; else nowhere. Port 0 takes a free one
    #[arg(long, env = "FLEETCTL_LISTEN", value_name = "ADDRESS:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Answer the API server here, over TLS, where it asks who changes Applications; else nobody's name is recorded.
    /// The certificate is made and renewed by itself
    #[arg(long, env = "FLEETCTL_WEBHOOK_LISTEN", value_name = "ADDRESS:PORT", value_parser = address)]
    pub webhook_listen: Option<SocketAddr>,
    /// Send traces to the collector at this base URL, over OTLP; else nowhere
    #[cfg(feature = "otlp")]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = collector)]
    pub otlp_endpoint: Option<String>,
    /// How log lines are written to stderr
    #[arg(long, env = "FLEETCTL_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace, also by part, as in info,fleet_members=debug
    #[arg(long, env = "FLEETCTL_LOG", value_name = "LEVEL", default_value = crate::log::CONTROLLER, value_parser = filter, hide_default_value = true)]
    pub log_level: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

pub(super) fn namespace(text: &str) -> Result<String, String> {
    let name = text.trim();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: Option<char>| c.is_some_and(|c| c != '-');
    if name.len() <= 63
        && name.chars().all(fits)
        && edge(name.chars().next())
        && edge(name.chars().next_back())
    {
        return Ok(name.to_owned());
    }
    Err(format!(
        "{name:?} is no namespace; write lower-case letters, digits and '-', with commas between names, or leave the setting out to watch all"
    ))
}

/// A time between two bounds, in words.
fn between(text: &str, shortest: Duration, longest: Duration, bounds: &str) -> Result<Duration, String> {
    let time = super::duration(text)?;
    if (shortest..=longest).contains(&time) { Ok(time) } else { Err(format!("it must be {bounds}")) }
}

fn member_timeout(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_millis(100), Duration::from_secs(600), "between 100ms and 10m")
}

fn cache_sync_timeout(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_secs(1), Duration::from_secs(3600), "between 1s and 1h")
}

fn deletion_deadline(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_secs(1), Duration::from_secs(7 * 86_400), "between 1s and 168h")
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "write an IP address and a port, as in 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080".to_owned()
    })
}

#[cfg(feature = "otlp")]
fn collector(text: &str) -> Result<String, String> {
    let parsed: Result<http::Uri, _> = text.parse();
    let fits =
        parsed.is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("write it as http://HOST:4318 or https://HOST:4318".to_owned())
    }
}

fn filter(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|error| {
        format!("{error}; write error, warn, info, debug or trace, or parts as in info,fleet_members=debug")
    })
}
