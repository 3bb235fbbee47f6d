//! Who does what and what goes wrong, when: all of it from a seed.

use std::fmt;
use std::time::Duration;

use fleet_sim::{Fault, Weather};

use super::asked::Says;
use super::chance::Chance;
use super::native::Act;
use super::wanted::{OnFailure, Wanted, WantedStep, What, app_name, member_name};

/// Something that somebody does or that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A user applies an application in a version.
    Edit(Wanted),
    /// A user answers what waits.
    Answer(usize, Answer),
    /// A user clears `status.workflow.suspend` by hand.
    ClearByHand(usize),
    /// A user suspends, resumes, ends or restarts the run, or deletes the application.
    Ask(usize, Request),
    /// A cluster leaves the fleet, or comes back.
    Membership(usize, bool),
    /// Somebody cordons a cluster, or lets it go.
    Cordon(usize, bool),
    /// Somebody changes or deletes an object of an application on a member.
    Drift {
        /// Whose.
        app: usize,
        /// Where.
        member: usize,
        /// Which one, of those that are there.
        which: usize,
        /// Deletes it; else changes it.
        deletes: bool,
    },
    /// Something is wrong with a member for a time.
    Fault(usize, Fault, Duration),
    /// Its workloads don't become ready for a time.
    Unwell(usize, Duration),
    /// All watches of a member (or, without one, of the hub) break.
    BreakWatches(Option<usize>),
    /// A replica dies at its n-th write from now on, before or after it is carried out, and stays away for a time.
    Crash {
        /// Which replica.
        replica: usize,
        /// At which write.
        writes: u64,
        /// After it.
        carried_out: bool,
        /// How long.
        away: Duration,
    },
    /// A user asks to go on without a target, or to try it again.
    Target {
        /// Of which application.
        app: usize,
        /// Where.
        member: usize,
        /// Tries it again; else goes on without it.
        again: bool,
    },
    /// What steps of an application wait for is opened or shut.
    Door(usize, bool),
    /// Somebody holds the drift of an application for a time.
    HoldDrift(usize, Duration),
    /// A member becomes what it was some actions ago: restored from an older copy. With it its resource versions may go
    /// back.
    Restore(usize, bool),
    /// From now on the servers that steps of an application ask say this.
    Says(usize, Says),
    /// Something about native objects and policies.
    Native(Act),
}

/// What a user says at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Yes,
    /// Yes to a plan that was never made.
    YesToAnother,
    /// No.
    No,
}

/// What a user asks of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// `workflow suspend`
    Suspend,
    /// `workflow resume`
    Resume,
    /// `workflow terminate`
    Terminate,
    /// `workflow restart`
    Restart,
    /// `workflow rollback`
    Rollback,
    /// `delete`
    Delete,
}

/// A whole scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// What it came from, and what all delays are drawn from.
    pub seed: u64,
    /// How many members there are.
    pub members: usize,
    /// How many controllers.
    pub replicas: usize,
    /// What goes wrong with single requests and events, on the way to members.
    pub weather: Weather,
    /// And on the way to the hub.
    pub hub_weather: Weather,
    /// It is about policies, not about applications.
    pub policies: bool,
    /// Each after so long a pause.
    pub actions: Vec<(Duration, Action)>,
}

impl Script {
    /// The script of a seed.
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0x5eed);
        let members = 1 + chance.below(3);
        let replicas = match chance.below(10) {
            0..=6 => 1,
            7 | 8 => 2,
            _ => 3,
        };
        let weather = weather(&mut chance, seed);
        let hub_weather = if chance.percent(30) { weather } else { Weather::default() };
        let apps = if chance.percent(25) { 2 } else { 1 };
        let mut wanted: Vec<Wanted> =
            (0..apps).map(|app| Wanted::first(&mut chance, app, members, 1)).collect();
        let mut actions: Vec<(Duration, Action)> =
            wanted.iter().map(|wanted| (Duration::ZERO, Action::Edit(wanted.clone()))).collect();
        let mut version = 1;
        for _ in 0..chance.between(2, 12) {
            let pause = pause(&mut chance);
            let app = chance.below(apps);
            let action = match chance.below(36) {
                0..=5 => {
                    version += 1;
                    let Some(now) = wanted.get_mut(app) else { continue };
                    *now = now.edited(&mut chance, members, version);
                    Action::Edit(now.clone())
                }
                6..=9 => Action::Answer(
                    app,
                    match chance.below(8) {
                        0 => Answer::No,
                        1 | 2 => Answer::YesToAnother,
                        _ => Answer::Yes,
                    },
                ),
                10 => Action::ClearByHand(app),
                11 => Action::Ask(app, Request::Suspend),
                12 => Action::Ask(app, Request::Resume),
                13 => {
                    Action::Ask(app, if chance.percent(50) { Request::Terminate } else { Request::Restart })
                }
                14 => Action::Ask(app, Request::Delete),
                15 => Action::Membership(chance.below(members), chance.percent(50)),
                16 => Action::Cordon(chance.below(members), chance.percent(60)),
                17 | 18 => Action::Drift {
                    app,
                    member: chance.below(members),
                    which: chance.below(4),
                    deletes: chance.percent(40),
                },
                19 | 20 => fault(&mut chance, members),
                21 => Action::Unwell(chance.below(members), Duration::from_secs(chance.between(1, 120))),
                22 => broken_watches(&mut chance, members),
                23 | 24 => crash(&mut chance, replicas),
                25..=27 => Action::Target { app, member: chance.below(members), again: chance.percent(50) },
                28 | 29 => Action::Door(app, chance.percent(50)),
                30 => Action::HoldDrift(app, Duration::from_secs(chance.between(5, 300))),
                31 => Action::Restore(chance.below(members), chance.percent(50)),
                32 | 33 => Action::Ask(app, Request::Rollback),
                _ => {
                    let says = match chance.below(6) {
                        0 | 1 => Says::Good,
                        2 => Says::Bad,
                        3 => Says::Nothing,
                        4 => Says::Broken,
                        _ => Says::Silent,
                    };
                    Action::Says(app, says)
                }
            };
            actions.push((pause, action));
        }
        Self { seed, members, replicas, weather, hub_weather, policies: false, actions }
    }
}

/// A server goes wrong for a time.
pub(super) fn fault(chance: &mut Chance, members: usize) -> Action {
    let fault = match chance.below(6) {
        0 | 1 => Fault::Down,
        2 => Fault::Slow(Duration::from_millis(chance.between(100, 12_000))),
        3 => Fault::Refuse,
        4 => Fault::Full,
        _ => Fault::Reject,
    };
    Action::Fault(chance.below(members), fault, Duration::from_secs(chance.between(1, 400)))
}

/// The watches of a member, or of the hub, break.
pub(super) fn broken_watches(chance: &mut Chance, members: usize) -> Action {
    let member = chance.below(members + 1);
    Action::BreakWatches((member < members).then_some(member))
}

/// A controller dies before or after one of its next writes.
pub(super) fn crash(chance: &mut Chance, replicas: usize) -> Action {
    Action::Crash {
        replica: chance.below(replicas),
        writes: chance.between(1, 12),
        carried_out: chance.percent(50),
        away: Duration::from_secs(chance.between(0, 40)),
    }
}

pub(super) fn pause(chance: &mut Chance) -> Duration {
    Duration::from_millis(match chance.below(4) {
        0 => chance.between(0, 30),
        1 => chance.between(30, 1_500),
        2 => chance.between(1_500, 15_000),
        _ => chance.between(15_000, 120_000),
    })
}

pub(super) fn weather(chance: &mut Chance, seed: u64) -> Weather {
    if chance.percent(50) {
        return Weather::default();
    }
    Weather {
        seed,
        lost: chance.between(0, 40),
        unanswered: chance.between(0, 40),
        late: chance.between(0, 300),
        longest: Duration::from_millis(chance.between(1, 3_000)),
        twice: chance.between(0, 60),
        broken: chance.between(0, 20),
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.policies { "policies, " } else { "" };
        writeln!(f, "seed {}: {what}{} members, {} replicas", self.seed, self.members, self.replicas)?;
        for (way, weather) in [("members", self.weather), ("the hub", self.hub_weather)] {
            if weather != Weather::default() {
                writeln!(
                    f,
                    "  on the way to {way}, per thousand: {} lost, {} unanswered, {} late by up to {:?}, {} twice, {} broken",
                    weather.lost,
                    weather.unanswered,
                    weather.late,
                    weather.longest,
                    weather.twice,
                    weather.broken
                )?;
            }
        }
        let mut at = Duration::ZERO;
        for (pause, action) in &self.actions {
            at += *pause;
            writeln!(f, "  {:>9.3}s  {action}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

fn write_step(f: &mut fmt::Formatter<'_>, at: usize, step: &WantedStep) -> fmt::Result {
    write!(f, "\n{:15}{at}: ", "")?;
    match step.what {
        What::Deploy => {
            let members: Vec<String> = step.members.iter().map(|m| member_name(*m)).collect();
            f.write_str(&members.join("+"))?;
        }
        What::Pause(None) => f.write_str("stops")?,
        What::Pause(Some(seconds)) => write!(f, "stops for {seconds}s")?,
        What::Door => f.write_str("waits for its door")?,
        What::Metrics(count) => write!(f, "asks for metrics {count} times")?,
        What::Ask => f.write_str("asks a server")?,
        What::Depends(other) => write!(f, "waits for {}", app_name(other))?,
    }
    if step.grouped {
        f.write_str(", grouped")?;
    }
    if !step.after.is_empty() {
        write!(f, ", after {:?}", step.after)?;
    }
    if step.gated {
        f.write_str(", behind a gate")?;
    }
    if let Some(rule) = &step.rule {
        write!(f, ", {rule:?}")?;
    }
    if let Some(clause) = step.clause {
        write!(f, ", if {clause:?}")?;
    }
    if let Some(at_once) = step.at_once {
        write!(f, ", {at_once} at once")?;
    }
    if let Some(member) = step.canary {
        write!(f, ", {} first", member_name(member))?;
    }
    if step.soak > 0 {
        write!(f, ", soaked {}s", step.soak)?;
    }
    if let Some((what, after)) = step.silent {
        write!(f, ", {what} who is silent for {after}s")?;
    }
    if step.holds {
        f.write_str(", who returns is held")?;
    }
    if step.may_fail > 0 {
        write!(f, ", {} may fail", step.may_fail)?;
    }
    match step.on_failure {
        OnFailure::Stop => {}
        OnFailure::Continue => f.write_str(", all have a turn")?,
        OnFailure::Rollback => f.write_str(", goes back when it fails")?,
    }
    if !step.order.is_empty() {
        write!(f, ", in the order {:?}", step.order)?;
    }
    if let Some(maker) = step.takes {
        write!(f, ", takes what {maker} makes")?;
    }
    if let Some(on_join) = step.on_join {
        write!(f, ", onJoin {on_join}")?;
    }
    if let Some(seconds) = step.timeout {
        write!(f, ", within {seconds}s")?;
    }
    if let Some((limit, interval)) = step.retry {
        write!(f, ", {limit} more tries after {interval}s")?;
    }
    if step.what == What::Deploy {
        write!(f, ", deletes: {:?}", step.deletes)?;
    }
    Ok(())
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edit(wanted) => {
                write!(f, "{} becomes: configs {:?}", app_name(wanted.app), wanted.configs)?;
                if let Some(image) = wanted.image {
                    write!(f, ", image {image}")?;
                }
                if wanted.secret {
                    f.write_str(", a secret")?;
                }
                if wanted.dag {
                    f.write_str(", as a DAG")?;
                }
                if wanted.queues {
                    f.write_str(", newer ones wait")?;
                }
                if let Some(version) = wanted.publish {
                    write!(f, ", published as v{version}")?;
                }
                wanted.steps.iter().enumerate().try_for_each(|(at, step)| write_step(f, at, step))
            }
            Self::Answer(app, Answer::Yes) => write!(f, "somebody approves what waits of {}", app_name(*app)),
            Self::Answer(app, Answer::YesToAnother) => {
                write!(f, "somebody approves another plan of {}", app_name(*app))
            }
            Self::Answer(app, Answer::No) => write!(f, "somebody rejects what waits of {}", app_name(*app)),
            Self::ClearByHand(app) => write!(f, "somebody sets suspend of {} to false", app_name(*app)),
            Self::Ask(app, request) => write!(f, "somebody asks {}: {request:?}", app_name(*app)),
            Self::Membership(member, true) => write!(f, "{} joins", member_name(*member)),
            Self::Membership(member, false) => write!(f, "{} leaves", member_name(*member)),
            Self::Cordon(member, true) => write!(f, "{} is cordoned", member_name(*member)),
            Self::Cordon(member, false) => write!(f, "{} is let go", member_name(*member)),
            Self::Drift { app, member, which, deletes } => {
                let what = if *deletes { "deletes" } else { "changes" };
                write!(f, "somebody {what} object {which} of {} on {}", app_name(*app), member_name(*member))
            }
            Self::Fault(member, fault, lasts) => {
                write!(f, "{} is {fault:?} for {lasts:?}", member_name(*member))
            }
            Self::Unwell(member, lasts) => write!(f, "{} is unwell for {lasts:?}", member_name(*member)),
            Self::BreakWatches(None) => f.write_str("watches of the hub break"),
            Self::BreakWatches(Some(member)) => write!(f, "watches of {} break", member_name(*member)),
            Self::Crash { replica, writes, carried_out, away } => {
                let when = if *carried_out { "after" } else { "before" };
                write!(f, "replica {replica} dies {when} its write {writes} from now, for {away:?}")
            }
            Self::Target { app, member, again } => {
                let what = if *again { "retry" } else { "skip" };
                write!(f, "somebody asks {}: {what} {}", app_name(*app), member_name(*member))
            }
            Self::Door(app, open) => {
                let what = if *open { "opened" } else { "shut" };
                write!(f, "what {} waits for is {what}", app_name(*app))
            }
            Self::HoldDrift(app, lasts) => write!(f, "drift of {} is held for {lasts:?}", app_name(*app)),
            Self::Restore(member, rewinds) => {
                let versions = if *rewinds { ", and its resource versions go back" } else { "" };
                write!(f, "{} is restored from an older copy{versions}", member_name(*member))
            }
            Self::Native(act) => write!(f, "{act}"),
            Self::Says(app, says) => write!(f, "servers say of {}: {says:?}", app_name(*app)),
        }
    }
}
