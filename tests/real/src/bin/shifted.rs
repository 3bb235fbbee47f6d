//! `fleetctl` on a machine whose clock is wrong: `shifted SECONDS ARGUMENT…`, with how many seconds it is ahead.

use std::ffi::OsString;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use fleetctl::environment::{Called, Environment};
use fleetctl::log;
use fleetctl::output::Streams;
use jiff::{SignedDuration, Timestamp};

#[expect(clippy::disallowed_methods, reason = "it is a main of its own")]
fn main() -> anyhow::Result<ExitCode> {
    let mut said = std::env::args_os();
    let program = said.next().unwrap_or_default();
    let seconds = said.next().and_then(|text| text.to_str()?.parse().ok());
    let ahead = SignedDuration::from_secs(seconds.context("shifted SECONDS ARGUMENT…")?);
    let arguments: Vec<OsString> = std::iter::once(program).chain(said).collect();
    let environment = Environment {
        streams: Streams::standard(),
        // No clock comes near the end of time.
        clock: Arc::new(move || Timestamp::now().checked_add(ahead).unwrap_or(Timestamp::MAX)),
        seed: RandomState::new().build_hasher().finish(),
        kubeconfig: None,
        home: None,
        temporary: std::env::temp_dir(),
        executable: std::env::current_exe()?,
        process: std::process::id(),
        called: Called::Fleetctl,
        redraws: false,
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let variable = std::env::var("FLEETCTL_LOG").ok();
    let logging = {
        let _within = runtime.enter();
        log::start(&log::Settings::of(environment.called, &arguments, variable))
    };
    let exit = runtime.block_on(fleetctl::run(&environment, &arguments));
    logging.map_err(anyhow::Error::msg)?.end();
    Ok(ExitCode::from(exit.code()))
}
