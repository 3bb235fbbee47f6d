//! Reads the environment, runs one command, ends with its exit code.

use std::env;
use std::ffi::OsString;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use fleetctl::environment::{Called, Environment};
use fleetctl::output::Streams;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = env::args_os().collect();
    if arguments.is_empty() {
        arguments.push("fleetctl".into());
    }
    let environment = environment(&arguments);
    log();
    // kube and the listener would each choose a provider; one for all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            environment.streams.note(&format!("error: the runtime can't be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let exit = runtime.block_on(fleetctl::run(&environment, &arguments));
    // A question that nobody answered is still being read.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ExitCode::from(exit.code())
}

/// The only place that looks at the world.
#[allow(clippy::disallowed_methods, reason = "main hands clock and environment down")]
fn environment(arguments: &[OsString]) -> Environment {
    let program = arguments.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let streams = Streams::standard();
    let terminal = env::var("TERM").unwrap_or_default();
    Environment {
        redraws: streams.out_is_terminal && terminal != "dumb" && !terminal.is_empty(),
        streams,
        clock: Arc::new(jiff::Timestamp::now),
        seed: RandomState::new().build_hasher().finish(),
        kubeconfig: env::var_os("KUBECONFIG"),
        home: env::var_os("HOME").or_else(|| env::var_os("USERPROFILE")).map(PathBuf::from),
        temporary: env::temp_dir(),
        executable: env::current_exe().unwrap_or_else(|_| PathBuf::from(&program)),
        process: std::process::id(),
        called: Called::by(&program),
    }
}

/// Warnings go to stderr; `FLEETCTL_LOG` (such as `info,fleet_controller=debug`) says otherwise.
fn log() {
    let filter =
        EnvFilter::try_from_env("FLEETCTL_LOG").unwrap_or_else(|_| EnvFilter::new("warn,kube_client=off"));
    let _ = tracing_subscriber::fmt()
        // A log that can't be written (the disk is full) must not end whoever writes to it.
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .try_init();
}
