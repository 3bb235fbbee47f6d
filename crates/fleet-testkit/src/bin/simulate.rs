//! Plays seeds of the simulation on all cores: what `cargo xtask simulate` runs.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fleet_testkit::sim::{self, Base, Script};

struct Arguments {
    from: u64,
    seeds: u64,
    threads: usize,
    verbose: bool,
}

fn arguments() -> anyhow::Result<Arguments> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut read = Arguments { from: 0, seeds: 1_000, threads: cores, verbose: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--verbose" {
            read.verbose = true;
            continue;
        }
        let value = words.next().with_context(|| format!("{word} wants a number"))?;
        let number: u64 = value.parse().with_context(|| format!("{word} {value}: that is no number"))?;
        match word.as_str() {
            "--from" => read.from = number,
            "--seeds" => read.seeds = number,
            "--seed" => (read.from, read.seeds) = (number, 1),
            "--threads" => read.threads = usize::try_from(number)?.max(1),
            other => bail!(
                "unknown argument {other}; there are --seeds N, --from SEED, --seed ONE, --threads N, --verbose"
            ),
        }
    }
    Ok(read)
}

#[allow(clippy::disallowed_methods, reason = "seeds per second are of the real clock")]
fn main() -> anyhow::Result<ExitCode> {
    let arguments = arguments()?;
    let base = Base::new()?;
    let end = arguments.from.saturating_add(arguments.seeds);
    let next = AtomicU64::new(arguments.from);
    let (done, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let (events, seconds) = (AtomicU64::new(0), AtomicU64::new(0));
    let failures = Mutex::new(Vec::new());
    let began = Instant::now();
    let mut out = std::io::stdout();
    std::thread::scope(|threads| -> anyhow::Result<()> {
        for _ in 0..arguments.threads {
            threads.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let script = Script::of(seed);
                    let found = match sim::run(&base, &script) {
                        Ok(outcome) => {
                            events.fetch_add(outcome.events as u64, Ordering::Relaxed);
                            seconds.fetch_add(outcome.seconds, Ordering::Relaxed);
                            outcome.violation.map(|violation| Ok((script, violation)))
                        }
                        Err(error) => {
                            Some(Err(format!("seed {seed}: the harness failed: {error:#}\n{script}")))
                        }
                    };
                    done.fetch_add(1, Ordering::Relaxed);
                    if let Some(found) = found {
                        failed.store(true, Ordering::Relaxed);
                        failures
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .push((seed, found));
                    }
                }
            });
        }
        let mut told = Instant::now();
        while done.load(Ordering::Relaxed) < arguments.seeds && !failed.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
            if told.elapsed() >= Duration::from_secs(10) {
                told = Instant::now();
                let count = done.load(Ordering::Relaxed);
                let rate = rate(count, began.elapsed());
                writeln!(out, "{count} of {} seeds, {rate:.1} a second", arguments.seeds)?;
            }
        }
        Ok(())
    })?;
    let (count, took) = (done.load(Ordering::Relaxed), began.elapsed());
    writeln!(
        out,
        "{count} seeds from {} on {} threads in {:.1} s: {:.1} seeds a second, {} writes judged, {} hours of virtual time",
        arguments.from,
        arguments.threads,
        took.as_secs_f64(),
        rate(count, took),
        events.load(Ordering::Relaxed),
        seconds.load(Ordering::Relaxed) / 3600,
    )?;
    let mut failures = failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failures.sort_by_key(|(seed, _)| *seed);
    let Some((seed, found)) = failures.into_iter().next() else {
        writeln!(out, "every rule held")?;
        return Ok(ExitCode::SUCCESS);
    };
    match found {
        Err(error) => writeln!(out, "\n{error}")?,
        Ok((script, violation)) => {
            writeln!(out, "\nseed {seed} breaks a rule: {violation}\n\n{script}\nshrinking …")?;
            let (fewest, violation) = sim::shrunk(&base, script, violation);
            writeln!(out, "\n{violation}\n\n{fewest}\nagain: cargo xtask simulate --seed {seed}")?;
        }
    }
    Ok(ExitCode::FAILURE)
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(0.001)
}
