//! Workflows that users want: made here from a seed, and nowhere else.

use std::collections::BTreeSet;

use crate::sim::chance::Chance;

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// It delivers.
    Deploy,
    /// It stops and asks; by itself it goes on after so many seconds, where that is said.
    Pause(Option<u64>),
    /// It waits until the hub's ConfigMap of this application is open.
    Door,
    /// It asks a server for metrics, so many times.
    Metrics(u32),
    /// It sends a request.
    Ask,
    /// It waits for another application.
    Depends(usize),
}

/// What becomes of a step when too many of its targets failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    Stop,
    /// Everybody has a turn, whoever fails.
    Continue,
    /// What was completed before comes back.
    Rollback,
}

/// Who has to approve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// How many.
    pub(crate) required: usize,
    /// Of [`super::RELEASERS`] only.
    pub(crate) releasers: bool,
    /// Not who changed it.
    pub(crate) no_author: bool,
    /// Within so many seconds.
    pub(crate) expires: Option<u64>,
}

/// Whether a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clause {
    /// `always`
    Always,
    /// In every other run.
    EvenRuns,
    /// Where an earlier step succeeded.
    Well(usize),
}

/// What becomes of what the revision no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletes {
    Asks,
    Prunes,
    Keeps,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedStep {
    pub(crate) what: What,
    pub(crate) members: BTreeSet<usize>,
    pub(crate) gated: bool,
    pub(crate) rule: Option<Rule>,
    /// Targets at once; all where it isn't said.
    pub(crate) at_once: Option<usize>,
    /// The member that goes first.
    pub(crate) canary: Option<usize>,
    /// Seconds that targets must stay healthy.
    pub(crate) soak: u64,
    /// What becomes of members that are silent for so many seconds: `Skip` or `Fail`; else they are waited for.
    pub(crate) silent: Option<(&'static str, u64)>,
    /// Who was passed over waits to be asked for.
    pub(crate) holds: bool,
    pub(crate) deletes: Deletes,
    /// How many targets may fail.
    pub(crate) may_fail: usize,
    pub(crate) on_failure: OnFailure,
    /// Which members go first, in this order.
    pub(crate) order: Vec<usize>,
    /// `onJoin`, where it isn't `CatchUp`.
    pub(crate) on_join: Option<&'static str>,
    pub(crate) clause: Option<Clause>,
    /// Seconds.
    pub(crate) timeout: Option<u64>,
    /// So many more tries, so many seconds apart.
    pub(crate) retry: Option<(u32, u64)>,
    /// Steps that it depends on.
    pub(crate) after: BTreeSet<usize>,
    /// It is one of the group's.
    pub(crate) grouped: bool,
    /// The step whose output it takes.
    pub(crate) takes: Option<usize>,
}

impl WantedStep {
    fn of(what: What) -> Self {
        Self {
            what,
            members: BTreeSet::new(),
            gated: false,
            rule: None,
            at_once: None,
            canary: None,
            soak: 0,
            silent: None,
            holds: false,
            deletes: Deletes::Asks,
            may_fail: 0,
            on_failure: OnFailure::Stop,
            order: Vec::new(),
            on_join: None,
            clause: None,
            timeout: None,
            retry: None,
            after: BTreeSet::new(),
            grouped: false,
            takes: None,
        }
    }

    /// Whether a person (or a time) is asked before it acts.
    pub(crate) fn asks(&self) -> bool {
        self.gated || matches!(self.what, What::Pause(_))
    }

    /// Whether it may be done, and the run with it, although something that it should have delivered isn't there.
    pub(crate) fn is_lenient(&self) -> bool {
        self.may_fail > 0 || self.on_join == Some("Ignore")
    }
}

fn rule(chance: &mut Chance) -> Rule {
    Rule {
        required: 1 + chance.below(2),
        releasers: chance.percent(40),
        no_author: chance.percent(40),
        expires: chance.percent(30).then(|| chance.between(60, 600)),
    }
}

/// Some of the members, in any order.
fn order(chance: &mut Chance, members: &BTreeSet<usize>) -> Vec<usize> {
    let mut left: Vec<usize> = members.iter().copied().collect();
    let mut order = Vec::new();
    if left.len() > 1 && chance.percent(30) {
        for _ in 0..=chance.below(left.len()) {
            order.push(left.remove(chance.below(left.len())));
        }
    }
    order
}

fn deploy(chance: &mut Chance, members: BTreeSet<usize>) -> WantedStep {
    let many = members.len() > 1;
    let silent =
        chance.percent(40).then(|| (if chance.percent(60) { "Skip" } else { "Fail" }, chance.between(5, 60)));
    let gated = chance.percent(30);
    let soak = if chance.percent(20) { chance.between(1, 30) } else { 0 };
    WantedStep {
        at_once: (many && chance.percent(40)).then_some(1),
        canary: members.first().copied().filter(|_| many && chance.percent(20)),
        soak,
        silent,
        holds: silent.is_some() && chance.percent(15),
        deletes: match chance.below(10) {
            0..=4 => Deletes::Prunes,
            5 => Deletes::Keeps,
            _ => Deletes::Asks,
        },
        may_fail: usize::from(many && chance.percent(20)),
        on_failure: match chance.below(10) {
            0 | 1 if many => OnFailure::Continue,
            2 | 3 => OnFailure::Rollback,
            _ => OnFailure::Stop,
        },
        order: order(chance, &members),
        on_join: match chance.below(10) {
            0 => Some("Append"),
            1 => Some("Ignore"),
            _ => None,
        },
        timeout: chance.percent(10).then(|| soak + chance.between(60, 900)),
        rule: (gated && chance.percent(40)).then(|| rule(chance)),
        gated,
        members,
        ..WantedStep::of(What::Deploy)
    }
}

/// A workflow, and whether it is a DAG. That of the second application may wait for the first.
pub(crate) fn workflow(chance: &mut Chance, app: usize, members: usize) -> (Vec<WantedStep>, bool) {
    let mut steps: Vec<WantedStep> = Vec::new();
    let mut all: Vec<usize> = (0..members).collect();
    // Sometimes not everywhere.
    if all.len() > 1 && chance.percent(30) {
        let gone = chance.below(all.len());
        all.remove(gone);
    }
    while !all.is_empty() {
        if chance.percent(10) {
            let rule = chance.percent(30).then(|| rule(chance));
            let by_itself = (rule.is_none() && chance.percent(40)).then(|| chance.between(5, 90));
            steps.push(WantedStep { rule, ..WantedStep::of(What::Pause(by_itself)) });
        }
        if chance.percent(10) {
            let timeout = Some(chance.between(60, 1_800));
            steps.push(WantedStep { timeout, ..WantedStep::of(What::Door) });
        }
        let asks = match chance.below(24) {
            0 | 1 => Some(What::Metrics(u32::try_from(chance.between(1, 3)).unwrap_or(1))),
            2 => Some(What::Ask),
            3..=8 if app > 0 => Some(What::Depends(0)),
            _ => None,
        };
        if let Some(what) = asks {
            let timeout = Some(chance.between(60, 1_800));
            steps.push(WantedStep { timeout, ..WantedStep::of(what) });
        }
        let take = 1 + chance.below(all.len());
        let members: BTreeSet<usize> = all.drain(..take).collect();
        steps.push(deploy(chance, members));
    }
    let dag = steps.len() > 1 && chance.percent(20);
    if !dag && steps.len() > 1 && chance.percent(25) {
        let first = chance.below(steps.len() - 1);
        let last = first + 1 + chance.below(steps.len() - first - 1);
        steps.iter_mut().take(last + 1).skip(first).for_each(|step| step.grouped = true);
    }
    for at in 0..steps.len() {
        let beside: Vec<usize> = (0..at).filter(|other| dag || same_group(&steps, *other, at)).collect();
        let after = (!beside.is_empty() && chance.percent(50)).then(|| chance.below(beside.len()));
        let clause = chance.percent(15).then(|| chance.below(4));
        let retry = chance
            .percent(15)
            .then(|| (u32::try_from(chance.between(1, 2)).unwrap_or(1), chance.between(5, 40)));
        if let Some(step) = steps.get_mut(at) {
            step.after.extend(after.and_then(|after| beside.get(after)));
            step.retry = retry.filter(|_| !matches!(step.what, What::Pause(_)));
        }
        // Who takes an output waits for whoever makes it; one that may be passed over makes none.
        let makers: Vec<usize> =
            before(&steps, dag, at).into_iter().filter(|maker| always_acts(&steps, *maker)).collect();
        let takes = chance.percent(15).then(|| chance.below(makers.len()));
        if let Some(step) = steps.get_mut(at) {
            step.takes = takes.and_then(|takes| makers.get(takes).copied());
        }
        let earlier: Vec<usize> = before(&steps, dag, at).into_iter().collect();
        if let Some(step) = steps.get_mut(at) {
            step.clause = match (clause, earlier.last()) {
                (Some(0), _) => Some(Clause::EvenRuns),
                (Some(1), Some(earlier)) => Some(Clause::Well(*earlier)),
                (Some(_), _) => Some(Clause::Always),
                (None, _) => None,
            };
        }
    }
    (steps, dag)
}

fn always_acts(steps: &[WantedStep], at: usize) -> bool {
    steps.get(at).is_some_and(|step| matches!(step.clause, None | Some(Clause::Always)))
}

fn same_group(steps: &[WantedStep], one: usize, two: usize) -> bool {
    let grouped = |at: usize| steps.get(at).is_some_and(|step| step.grouped);
    grouped(one) && grouped(two)
}

/// Every step that must be over before one may begin.
pub(crate) fn before(steps: &[WantedStep], dag: bool, at: usize) -> BTreeSet<usize> {
    let mut found: BTreeSet<usize> = BTreeSet::new();
    let mut left = vec![at];
    while let Some(next) = left.pop() {
        let implied = (0..next).filter(|other| !dag && !same_group(steps, *other, next));
        let said = steps.get(next).into_iter().flat_map(|step| step.after.iter().copied());
        for earlier in implied.chain(said) {
            if found.insert(earlier) {
                left.push(earlier);
            }
        }
    }
    found
}
