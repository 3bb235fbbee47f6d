//! Reads the environment, runs one command, ends with its exit code.

use std::env;
use std::ffi::OsString;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use fleetctl::environment::{Called, Environment};
use fleetctl::log;
use fleetctl::output::Streams;

/// As many open files and sockets as are asked for, where the system allows.
const DESCRIPTORS: u64 = 65_536;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = env::args_os().collect();
    if arguments.is_empty() {
        arguments.push("fleetctl".into());
    }
    let environment = environment(&arguments);
    // kube and the listener would each choose a provider; one for all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // One connection for each member, and as many again where they are served from here: the usual soft limit of 1,024
    // would end a large fleet. What can't be raised shows when it is reached.
    let _ = rlimit::increase_nofile_limit(DESCRIPTORS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            environment.streams.note(&format!("error: the runtime can't be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let logging = {
        let _within = runtime.enter();
        log::start(&log::Settings::of(environment.called, &arguments, log_variable()))
    };
    let logging = logging.unwrap_or_else(|why| {
        environment.streams.note(&format!("warning: traces aren't sent: {why}"));
        log::Logging::default()
    });
    let exit = runtime.block_on(fleetctl::run(&environment, &arguments));
    logging.end();
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

/// What to log (such as `info,fleet_controller=debug`), where a command isn't told by an argument.
#[allow(clippy::disallowed_methods, reason = "main hands the environment down")]
fn log_variable() -> Option<String> {
    env::var("FLEETCTL_LOG").ok().filter(|text| !text.is_empty())
}
