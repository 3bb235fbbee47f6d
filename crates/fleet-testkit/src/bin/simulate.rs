//! Plays seeds of the simulation: what `cargo xtask simulate` runs. Progress goes to stderr, what was found to stdout.

use std::convert::Infallible;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fleet_testkit::sim::{self, Base, Script, Violation};

/// A third of the time goes into memory otherwise.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often it is said how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

struct Arguments {
    from: u64,
    seeds: u64,
    jobs: usize,
    keeps_going: bool,
    applications: bool,
    policies: bool,
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut read =
        Arguments { from: 0, seeds: 1_000, jobs: 1, keeps_going: false, applications: true, policies: true };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--keep-going" {
            read.keeps_going = true;
            continue;
        }
        if word == "--only" {
            match words.next().as_deref() {
                Some("applications") => read.policies = false,
                Some("policies") => read.applications = false,
                _ => bail!("--only wants applications or policies"),
            }
            continue;
        }
        if !matches!(word.as_str(), "--from" | "--seeds" | "--seed" | "--jobs") {
            bail!(
                "unknown argument {word}; there are --seeds N, --from SEED, --seed ONE, --only applications|policies, --jobs N, --keep-going"
            );
        }
        let value = words.next().with_context(|| format!("{word} wants a number"))?;
        let number: u64 = value.parse().with_context(|| format!("{word} {value}: that is no number"))?;
        match word.as_str() {
            "--from" => read.from = number,
            "--seeds" => read.seeds = number,
            "--seed" => (read.from, read.seeds) = (number, 1),
            _ => read.jobs = usize::try_from(number)?.max(1),
        }
    }
    Ok(read)
}

/// What is wrong with a seed.
enum Found {
    Broken(Box<Script>, Violation),
    Harness(String),
}

#[derive(Default)]
struct Tally {
    done: AtomicU64,
    ended: AtomicBool,
    events: AtomicU64,
    seconds: AtomicU64,
    /// The sum of all digests.
    digest: AtomicU64,
    found: Mutex<Vec<(u64, Found)>>,
}

impl Tally {
    fn play(&self, base: &Base, script: Script, keeps_going: bool) {
        let seed = script.seed;
        let found = match sim::run(base, &script) {
            Ok(outcome) => {
                self.events.fetch_add(outcome.events as u64, Ordering::Relaxed);
                self.seconds.fetch_add(outcome.seconds, Ordering::Relaxed);
                self.digest.fetch_add(outcome.digest, Ordering::Relaxed);
                outcome.violation.map(|violation| Found::Broken(Box::new(script), violation))
            }
            Err(error) => {
                Some(Found::Harness(format!("seed {seed}: the harness failed: {error:#}\n{script}")))
            }
        };
        self.done.fetch_add(1, Ordering::Relaxed);
        let Some(found) = found else { return };
        if !keeps_going {
            self.ended.store(true, Ordering::Relaxed);
        }
        let said = match &found {
            Found::Broken(script, violation) => {
                let only = if script.policies { "policies" } else { "applications" };
                format!("seed {seed} ({only}): {violation}")
            }
            Found::Harness(error) => error.lines().next().unwrap_or_default().to_owned(),
        };
        let _ = writeln!(std::io::stderr(), "{said}");
        self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((seed, found));
    }

    fn rate(&self, took: Duration) -> f64 {
        self.done.load(Ordering::Relaxed) as f64 / took.as_secs_f64().max(0.001)
    }
}

#[allow(clippy::disallowed_methods, reason = "seeds per second are of the real clock")]
fn main() -> anyhow::Result<ExitCode> {
    let arguments = arguments()?;
    let base = Base::new()?;
    let end = arguments.from.saturating_add(arguments.seeds);
    let next = AtomicU64::new(arguments.from);
    let tally = Tally::default();
    let began = Instant::now();
    std::thread::scope(|threads| -> anyhow::Result<()> {
        // Nothing is ever sent: the channel closes when the last job is over.
        let (working, over) = mpsc::channel::<Infallible>();
        for _ in 0..arguments.jobs {
            let working = working.clone();
            let (tally, next, base, arguments) = (&tally, &next, &base, &arguments);
            threads.spawn(move || {
                let _working = working;
                while !tally.ended.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    if arguments.applications {
                        tally.play(base, Script::of(seed), arguments.keeps_going);
                    }
                    if arguments.policies {
                        tally.play(base, Script::of_policies(seed), arguments.keeps_going);
                    }
                }
            });
        }
        drop(working);
        while let Err(RecvTimeoutError::Timeout) = over.recv_timeout(TOLD_EVERY) {
            let (count, rate) = (tally.done.load(Ordering::Relaxed), tally.rate(began.elapsed()));
            let scripts = u64::from(arguments.applications) + u64::from(arguments.policies);
            let all = arguments.seeds.saturating_mul(scripts);
            writeln!(std::io::stderr(), "{count} of {all} scripts, {rate:.1} a second")?;
        }
        Ok(())
    })?;
    let took = began.elapsed();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{} scripts of seeds from {} in {:.1} s: {:.1} a second, {} writes judged, {} hours of virtual time, digest {:016x}",
        tally.done.load(Ordering::Relaxed),
        arguments.from,
        took.as_secs_f64(),
        tally.rate(took),
        tally.events.load(Ordering::Relaxed),
        tally.seconds.load(Ordering::Relaxed) / 3600,
        tally.digest.load(Ordering::Relaxed),
    )?;
    let mut found = tally.found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.sort_by_key(|(seed, _)| *seed);
    if found.len() > 1 {
        let seeds: Vec<String> = found.iter().map(|(seed, _)| seed.to_string()).collect();
        writeln!(out, "{} seeds break a rule: {}", seeds.len(), seeds.join(", "))?;
    }
    match found.into_iter().next() {
        None => {
            writeln!(out, "every rule held")?;
            return Ok(ExitCode::SUCCESS);
        }
        Some((_, Found::Harness(error))) => writeln!(out, "\n{error}")?,
        Some((seed, Found::Broken(script, violation))) => {
            writeln!(out, "\nseed {seed} breaks a rule: {violation}\n\n{script}\nshrinking …")?;
            let (fewest, violation) = sim::shrunk(&base, *script, violation);
            let only = if fewest.policies { "policies" } else { "applications" };
            writeln!(
                out,
                "\n{violation}\n\n{fewest}\nagain: cargo xtask simulate --seed {seed} --only {only}"
            )?;
        }
    }
    Ok(ExitCode::FAILURE)
}
