//! Two replicas never hold one duty, whatever is delayed, lost, reordered, stalled or killed; and when that ends, every
//! duty is held again in bounded time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::duty::Duty;
use super::lease::Timing;
use super::membership::{Membership, Moment, Publication, Seen};

const DUTIES: usize = 24;

fn duties() -> Vec<Duty> {
    (0..DUTIES).map(|n| Duty::Application("demo".to_owned(), format!("app-{n}"))).collect()
}

/// One committed write of the store.
#[derive(Clone)]
struct Commit {
    seen: Seen,
    deleted: bool,
}

/// A write on its way.
struct Request {
    sent: Moment,
    publication: Publication,
    /// The version that it was made from; 0 where the Lease is to be created.
    expected: usize,
    answer: Option<Answer>,
}

#[derive(Clone, Copy)]
enum Answer {
    Written(usize),
    Refused,
}

struct Replica {
    name: String,
    /// Its clock began at another moment.
    offset: Duration,
    membership: Membership,
    /// How much of the store's log its watch has shown.
    shown: usize,
    request: Option<Request>,
    /// Requests that it has given up, and that may still be carried out.
    abandoned: Vec<Request>,
    stored: usize,
    due: Moment,
    holds: BTreeMap<Duty, u64>,
    /// A number for each unbroken validity, and when the present one ends: what the fence knows.
    generation: u64,
    fence: Moment,
    handing_over: Option<BTreeSet<String>>,
}

/// The store and its users. `now` is the true time, which nobody sees.
struct World {
    now: Duration,
    log: Vec<Commit>,
    current: BTreeMap<String, usize>,
    replicas: Vec<Replica>,
    born: usize,
    timing: Timing,
    /// Until then somebody may act whose Lease was deleted under it: nobody is started who never saw it.
    no_start_before: Duration,
}

impl Replica {
    fn now(&self, now: Duration) -> Moment {
        now + self.offset
    }

    /// What it may be writing for at this moment: the fence stops all the rest.
    fn acts_for(&self, now: Duration) -> impl Iterator<Item = &Duty> {
        let valid = self.now(now) < self.fence;
        self.holds
            .iter()
            .filter(move |(_, generation)| valid && **generation == self.generation)
            .map(|(duty, _)| duty)
    }

    fn end_all(&mut self) {
        self.holds.clear();
        self.generation += 1;
        self.fence = Moment::ZERO;
    }

    fn wake(&mut self, now: Duration, timing: &Timing) {
        let now = self.now(now);
        if self.membership.valid_until().is_some_and(|until| now >= until) {
            self.membership.lapse();
            self.end_all();
        }
        if self.request.as_ref().is_some_and(|request| now >= request.sent + timing.renew_deadline() / 3) {
            self.abandoned.extend(self.request.take());
        }
        if let Some(view) = self.handing_over.take() {
            let membership = &self.membership;
            self.holds.retain(|duty, _| membership.wins(duty, &view));
            self.membership.adopt(view);
        } else if self.shown > 0 && self.membership.alive() != *self.membership.view() {
            // What is under way has some time to end; nothing new is begun meanwhile.
            self.handing_over = Some(self.membership.alive());
        }
        for duty in duties() {
            let leaving = self.handing_over.as_ref().is_some_and(|view| !self.membership.wins(&duty, view));
            if !leaving && !self.holds.contains_key(&duty) && self.membership.may_begin(&duty, now) {
                self.holds.insert(duty, self.generation);
            }
        }
    }
}

impl World {
    fn new(timing: Timing) -> Self {
        Self {
            now: Duration::from_secs(1),
            log: Vec::new(),
            current: BTreeMap::new(),
            replicas: Vec::new(),
            born: 0,
            timing,
            no_start_before: Duration::ZERO,
        }
    }

    fn start(&mut self) {
        self.born += 1;
        let name = format!("replica-{}", self.born);
        let mut membership = Membership::new(&name, self.timing);
        let offset = Duration::from_secs(300 * (self.born as u64 % 3));
        let now = self.now + offset;
        // A list shows the newest of everything.
        let present: Vec<Seen> =
            self.current.values().map(|index| self.log[*index - 1].seen.clone()).collect();
        present.into_iter().for_each(|seen| membership.saw(seen, now));
        self.replicas.push(Replica {
            name,
            offset,
            membership,
            shown: self.log.len().max(1),
            request: None,
            abandoned: Vec::new(),
            stored: 0,
            due: now,
            holds: BTreeMap::new(),
            generation: 0,
            fence: Moment::ZERO,
            handing_over: None,
        });
        if self.log.is_empty() {
            // Nothing was there to be listed; the log is counted from one.
            let seen = self.seen("nobody", 0, BTreeSet::new(), true);
            self.log.push(Commit { seen, deleted: false });
        }
    }

    fn seen(&self, replica: &str, sequence: u64, view: BTreeSet<String>, released: bool) -> Seen {
        Seen {
            replica: replica.to_owned(),
            version: (self.log.len() + 1).to_string(),
            sequence,
            view: Some(view),
            released,
            duration: self.timing.duration(),
        }
    }

    fn commit(&mut self, seen: Seen, deleted: bool) -> usize {
        let name = seen.replica.clone();
        self.log.push(Commit { seen, deleted });
        if deleted {
            self.current.remove(&name);
        } else {
            self.current.insert(name, self.log.len());
        }
        self.log.len()
    }

    /// The server carries a request out.
    fn carry_out(&mut self, name: &str, request: &mut Request) {
        if request.answer.is_some() {
            return;
        }
        let stands = self.current.get(name).copied().unwrap_or_default();
        request.answer = Some(if stands == request.expected {
            let Publication { sequence, view } = request.publication.clone();
            let seen = self.seen(name, sequence, view, false);
            Answer::Written(self.commit(seen, false))
        } else {
            Answer::Refused
        });
    }

    fn send(&mut self, index: usize) {
        let now = self.now;
        let replica = &mut self.replicas[index];
        let local = replica.now(now);
        if replica.request.is_some() || (local < replica.due && !replica.membership.has_news()) {
            return;
        }
        let publication = replica.membership.publish(local);
        replica.due = local + self.timing.renew_every();
        replica.request = Some(Request { sent: local, publication, expected: replica.stored, answer: None });
    }

    fn answer(&mut self, index: usize) {
        let now = self.now;
        let replica = &mut self.replicas[index];
        let Some(request) = replica.request.take_if(|request| request.answer.is_some()) else { return };
        let local = replica.now(now);
        match request.answer {
            Some(Answer::Written(version)) => {
                replica.stored = version;
                if !replica.membership.answered(request.sent, local) {
                    replica.end_all();
                }
                replica.fence = replica.membership.valid_until().unwrap_or_default();
            }
            _ => {
                let stands = self.current.get(&replica.name).copied().unwrap_or_default();
                if stands == 0 && replica.stored != 0 {
                    replica.membership.lapse();
                    replica.end_all();
                }
                replica.stored = stands;
            }
        }
    }

    fn show(&mut self, index: usize, count: usize) {
        let now = self.now;
        let replica = &mut self.replicas[index];
        let local = replica.now(now);
        for commit in self.log.iter().skip(replica.shown).take(count) {
            replica.shown += 1;
            if commit.deleted {
                if commit.seen.released {
                    replica.membership.saw(commit.seen.clone(), local);
                }
                replica.membership.gone(&commit.seen.replica);
            } else {
                replica.membership.saw(commit.seen.clone(), local);
            }
        }
    }

    fn clear_away(&mut self, index: usize) {
        for (name, version) in self.replicas[index].membership.dead() {
            let stands = self.current.get(&name).copied().unwrap_or_default();
            if stands.to_string() == version {
                let seen = self.log[stands - 1].seen.clone();
                self.commit(seen, true);
            }
        }
    }

    fn delete_by_hand(&mut self, index: usize) {
        let name = self.replicas[index].name.clone();
        if let Some(stands) = self.current.get(&name).copied() {
            let seen = self.log[stands - 1].seen.clone();
            self.commit(seen, true);
            self.no_start_before = self.now + self.timing.duration();
        }
    }

    fn release(&mut self, index: usize) {
        let mut replica = self.replicas.remove(index);
        replica.end_all();
        if let Some(stands) = self.current.get(&replica.name).copied() {
            let mut seen = self.log[stands - 1].seen.clone();
            seen.released = true;
            seen.version = (self.log.len() + 1).to_string();
            self.commit(seen.clone(), false);
            self.commit(seen, true);
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let mut holders: BTreeMap<&Duty, &str> = BTreeMap::new();
        for replica in &self.replicas {
            for duty in replica.acts_for(self.now) {
                let before = holders.insert(duty, &replica.name);
                prop_assert!(before.is_none(), "{duty} is held by {} and {before:?}", replica.name);
            }
        }
        Ok(())
    }

    /// Everything works, and time passes.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        let step = Duration::from_millis(100);
        let bound = self.timing.duration() + self.timing.renew_every() * 3;
        let end = self.now + bound;
        while self.now < end {
            self.now += step;
            for index in 0..self.replicas.len() {
                self.carry_out_all(index);
                self.answer(index);
                self.show(index, usize::MAX);
                let (now, timing) = (self.now, self.timing);
                self.replicas[index].wake(now, &timing);
                self.send(index);
                self.clear_away(index);
                self.check()?;
            }
        }
        let held: BTreeSet<&Duty> = self.replicas.iter().flat_map(|r| r.acts_for(self.now)).collect();
        prop_assert!(self.replicas.is_empty() || held.len() == DUTIES, "{} of {DUTIES} are held", held.len());
        Ok(())
    }

    fn carry_out_all(&mut self, index: usize) {
        let name = self.replicas[index].name.clone();
        for mut request in std::mem::take(&mut self.replicas[index].abandoned) {
            self.carry_out(&name, &mut request);
        }
        if let Some(mut request) = self.replicas[index].request.take() {
            self.carry_out(&name, &mut request);
            self.replicas[index].request = Some(request);
        }
    }
}

#[derive(Debug, Clone)]
enum Happening {
    Time(u64),
    Start,
    /// The process does what is due; one that isn't picked is stalled.
    Wake(usize),
    Send(usize),
    CarryOut(usize),
    /// A request that was given up arrives after all.
    CarryOutLate(usize),
    Answer(usize),
    Show(usize, usize),
    Kill(usize),
    Release(usize),
    DeleteByHand(usize),
    ClearAway(usize),
    /// Everything works for a round.
    Calm(usize),
    /// For so many rounds everything works but this, and the last or the first is the quickest.
    Trouble(usize, Trouble, u64, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Stalled,
    WatchStalled,
    Unanswered,
    NotCarriedOut,
    None,
}

fn happening() -> impl Strategy<Value = Happening> {
    let who = 0..4_usize;
    prop_oneof![
        6 => (50..2500_u64).prop_map(Happening::Time),
        1 => Just(Happening::Start),
        8 => who.clone().prop_map(Happening::Wake),
        6 => who.clone().prop_map(Happening::Send),
        6 => who.clone().prop_map(Happening::CarryOut),
        2 => who.clone().prop_map(Happening::CarryOutLate),
        6 => who.clone().prop_map(Happening::Answer),
        8 => (who.clone(), 1..6_usize).prop_map(|(who, count)| Happening::Show(who, count)),
        1 => who.clone().prop_map(Happening::Kill),
        1 => who.clone().prop_map(Happening::Release),
        1 => who.clone().prop_map(Happening::DeleteByHand),
        2 => who.clone().prop_map(Happening::ClearAway),
        6 => who.clone().prop_map(Happening::Calm),
        6 => (who, trouble(), 1..80_u64, any::<bool>()).prop_map(|(who, trouble, rounds, last)| {
            Happening::Trouble(who, trouble, rounds, last)
        }),
    ]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        Just(Trouble::Stalled),
        Just(Trouble::WatchStalled),
        Just(Trouble::Unanswered),
        Just(Trouble::NotCarriedOut),
        Just(Trouble::None)
    ]
}

impl World {
    fn happen(&mut self, happening: &Happening) -> Result<(), TestCaseError> {
        let count = self.replicas.len();
        let pick = |who: usize| who % count;
        if let Happening::Time(millis) = happening {
            self.now += Duration::from_millis(*millis);
        }
        if matches!(happening, Happening::Start) && count < 4 && self.now >= self.no_start_before {
            self.start();
        }
        if count == 0 {
            return Ok(());
        }
        match *happening {
            Happening::Trouble(who, trouble, rounds, last) => {
                for _ in 0..rounds {
                    self.round(pick(who), trouble, last)?;
                }
            }
            Happening::Time(_) | Happening::Start => {}
            Happening::Wake(who) => {
                let (now, timing) = (self.now, self.timing);
                self.replicas[pick(who)].wake(now, &timing);
            }
            Happening::Send(who) => self.send(pick(who)),
            Happening::CarryOut(who) => {
                let index = pick(who);
                let name = self.replicas[index].name.clone();
                if let Some(mut request) = self.replicas[index].request.take() {
                    self.carry_out(&name, &mut request);
                    self.replicas[index].request = Some(request);
                }
            }
            Happening::CarryOutLate(who) => {
                let index = pick(who);
                let name = self.replicas[index].name.clone();
                if let Some(mut request) = self.replicas[index].abandoned.pop() {
                    self.carry_out(&name, &mut request);
                }
            }
            Happening::Answer(who) => self.answer(pick(who)),
            Happening::Show(who, count) => self.show(pick(who), count),
            Happening::Kill(who) => {
                let killed = self.replicas.remove(pick(who));
                let mut pending = killed.abandoned;
                pending.extend(killed.request);
                for mut request in pending {
                    self.carry_out(&killed.name, &mut request);
                }
            }
            Happening::Release(who) => self.release(pick(who)),
            Happening::DeleteByHand(who) => self.delete_by_hand(pick(who)),
            Happening::ClearAway(who) => self.clear_away(pick(who)),
            Happening::Calm(who) => {
                let index = pick(who);
                let (now, timing) = (self.now, self.timing);
                self.carry_out_all(index);
                self.answer(index);
                self.show(index, usize::MAX);
                self.replicas[index].wake(now, &timing);
                self.send(index);
            }
        }
        self.check()
    }

    /// A third of a second, the work of all interleaved.
    fn round(&mut self, who: usize, trouble: Trouble, last: bool) -> Result<(), TestCaseError> {
        self.now += Duration::from_millis(333);
        self.check()?;
        let mut order: Vec<usize> = (0..self.replicas.len()).collect();
        if last {
            order.reverse();
        }
        let troubled = |index: usize, kinds: &[Trouble]| index == who && kinds.contains(&trouble);
        for index in &order {
            if !troubled(*index, &[Trouble::Stalled, Trouble::NotCarriedOut]) {
                self.carry_out_all(*index);
            }
        }
        for index in &order {
            if !troubled(*index, &[Trouble::Stalled, Trouble::Unanswered]) {
                self.answer(*index);
            }
            if !troubled(*index, &[Trouble::Stalled, Trouble::WatchStalled]) {
                self.show(*index, usize::MAX);
            }
        }
        for index in &order {
            if !troubled(*index, &[Trouble::Stalled]) {
                let (now, timing) = (self.now, self.timing);
                self.replicas[*index].wake(now, &timing);
                self.check()?;
                self.send(*index);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// Two replicas that write the same Application at once undo each other's work; a duty that nobody takes up stands
    /// still.
    #[test]
    fn never_two_and_in_the_end_one(happenings in proptest::collection::vec(happening(), 0..120)) {
        let mut world = World::new(Timing::default());
        world.start();
        world.start();
        for happening in &happenings {
            world.happen(happening)?;
        }
        world.settle()?;
        world.check()?;
    }
}
