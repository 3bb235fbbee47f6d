//! Drift on members: noticed by watches, compared, then repaired or reported.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleet_api::{DriftState, ObjectId, StepPhase, Target, TargetPhase};
use fleet_json::FieldPath;
use fleet_members::{Acting, Live, Member, MemberError, Observed};
use fleet_plan::{Claim, Desired, DriftMode};
use serde_json::Value;

use crate::context::{AppKey, Context, Noted, OnDrift};
use crate::deliver;
use crate::hub::tenancy;
use crate::report::events;
use crate::report::metrics::Drift;
use crate::turn::board::{Board, Found};
use crate::turn::held::{self, Held};
use crate::turn::walk::Walk;

mod share;
mod writer;

/// How long to wait after a member refused a repair before looking again.
const AFTER_REFUSAL: Duration = Duration::from_secs(2);

/// Looks at what changed on the members since the last turn, or at everything after a restart.
pub(crate) fn check(ctx: &Arc<Context>, walk: &mut Walk, noted: &Noted) {
    let unchecked = std::mem::take(&mut walk.unchecked);
    let mut objects = std::mem::take(&mut walk.postponed.objects);
    objects.extend(noted.objects.iter().cloned());
    let whole = std::mem::take(&mut walk.postponed.targets);
    let mut resync = std::mem::take(&mut walk.postponed.clusters);
    resync.extend(noted.resync.iter().cloned());
    for target in targets(walk) {
        let cluster = &target.cluster;
        let everything = unchecked || resync.contains(cluster) || whole.contains(&target);
        let touched: BTreeSet<&ObjectId> =
            objects.iter().filter(|(place, _)| place == cluster).map(|(_, id)| id).collect();
        if !everything && touched.is_empty() {
            continue;
        }
        if in_flight(walk, &target) {
            // A person's edit meanwhile makes no event of its own later.
            let touched = touched.into_iter().map(|id| (cluster.clone(), id.clone()));
            walk.postponed.objects.extend(touched);
            if everything {
                walk.postponed.targets.insert(target);
            }
            continue;
        }
        // What is held is left as it is; everything there is compared when the hold ends.
        if walk.held.contains(cluster) {
            match held::hold(ctx, &walk.key, tenancy::named(walk), cluster) {
                None | Some(Held::Drift(_) | Held::Policy(_)) => {}
                Some(Held::Member(_) | Held::Access(_)) => continue,
            }
        }
        let Ok(member) = ctx.members.get(cluster) else { continue };
        let wanted = wanted(walk, &member, &target);
        if everything {
            wanted.iter().for_each(|desired| member.watch_when_served(&desired.id));
            trust_seal(walk, &member, &target, &wanted);
        }
        for desired in wanted.iter().filter(|d| everything || touched.contains(&d.id)) {
            look(ctx, walk, &member, desired);
        }
    }
}

/// Every target that something of ours is on, or goes to.
pub(crate) fn targets(walk: &Walk) -> Vec<Target> {
    let mut targets: Vec<Target> = walk.inventory.targets.iter().map(|entry| entry.target.clone()).collect();
    let steps = walk.run_status().map(|status| status.steps.as_slice()).unwrap_or_default();
    for state in steps.iter().flat_map(|step| &step.targets) {
        if !targets.contains(&state.target) {
            targets.push(state.target.clone());
        }
    }
    targets
}

/// Whether objects are being sent there right now: what is seen meanwhile is our own work.
fn in_flight(walk: &Walk, target: &Target) -> bool {
    let Some(status) = walk.run_status().filter(|status| !status.phase.is_over()) else { return false };
    status
        .steps
        .iter()
        .flat_map(|step| step.targets.iter().filter(|state| step.phase == StepPhase::Running || state.late))
        .any(|state| state.target == *target && state.phase == TargetPhase::Delivering)
}

/// What is to stand on a target now: what was delivered there last.
fn wanted(walk: &Walk, member: &Member, target: &Target) -> Vec<Desired> {
    // What another application owns may have the same content, and is none of what arrived from us.
    let shows = |desired: &Desired| {
        let ours = |seen: &Observed| desired.claim == Claim::Share || seen.owner == walk.owner;
        let seen = member.observed(&desired.id);
        seen.is_some_and(|seen| seen.content == desired.content.short() && ours(&seen))
    };
    let mut wanted = walk.delivered_last(target, shows);
    wanted.retain(|desired| desired.claim != Claim::Observe);
    wanted
}

/// After a restart: where the recorded seal fits what is seen, nothing needs to be read.
fn trust_seal(walk: &Walk, member: &Arc<Member>, target: &Target, wanted: &[Desired]) {
    let Some(status) = walk.run_status() else { return };
    let states = status.steps.iter().rev().flat_map(|step| &step.targets);
    let sealed = states.filter(|state| state.target == *target).find(|state| !state.seal.is_empty());
    let Some(sealed) = sealed else { return };
    let seen = seal(wanted, |id| member.observed(id).and_then(|seen| seen.managed));
    if seen.as_deref() == Some(&sealed.seal) {
        for desired in wanted.iter().filter(|desired| desired.claim == Claim::Own) {
            let managed = member.observed(&desired.id).and_then(|seen| seen.managed);
            walk.board.expect(member.name(), &desired.id, managed);
        }
    }
}

/// Hash over everything that we left on a target; nothing where that isn't known of some object. What is seen isn't
/// asked: somebody may have changed it already.
pub(crate) fn seal_left(board: &Board, cluster: &str, wanted: &[Desired]) -> Option<String> {
    seal(wanted, |id| board.expected(cluster, id))
}

/// Hash over what we own of each object that is ours alone; who owns what is shared may change at any time.
fn seal(wanted: &[Desired], owned: impl Fn(&ObjectId) -> Option<u64>) -> Option<String> {
    let mut parts = Vec::with_capacity(wanted.len());
    for desired in wanted.iter().filter(|desired| desired.claim == Claim::Own) {
        parts.push((&desired.id, owned(&desired.id)?));
    }
    parts.sort();
    fleet_json::ContentHash::of(&parts).ok().map(|hash| hash.short())
}

fn look(ctx: &Arc<Context>, walk: &Walk, member: &Arc<Member>, desired: &Desired) {
    let id = &desired.id;
    let seen = member.observed(id);
    if seen.is_none() && !member.observes([id].into_iter()) {
        // The first list hasn't arrived: its end asks for another look.
        return;
    }
    if let Some(seen) = &seen {
        if seen.deleting {
            return;
        }
        if is_as_left(walk, member, desired, seen) {
            walk.board.report_drift(member.name(), id, None);
            member.watch_closely(id, false);
            return;
        }
    }
    let Some(revision) = walk.revision.as_ref() else { return };
    let mode = match ctx.options.on_drift {
        OnDrift::Repair => revision.policies.drift_mode(&revision.subject(id, &desired.component)),
        OnDrift::Report => DriftMode::Report,
    };
    let part = match desired.claim {
        Claim::Share => share::part(seen.as_deref(), &walk.owner),
        Claim::Own | Claim::Observe => share::Part::Owner,
    };
    if part == share::Part::Sharer {
        walk.board.report_drift(member.name(), id, None);
        return;
    }
    let Some(repairing) = walk.board.begin_repair(member.name(), id) else { return };
    // What was deleted by hand and is only to be reported is compared like anything else.
    let enters = part == share::Part::Outside && (seen.is_some() || mode != DriftMode::Report);
    let target = Target::new(member.name(), id.namespace.as_str());
    let repair = Repair {
        ctx: Arc::clone(ctx),
        board: walk.board.clone(),
        member: Acting::new(Arc::clone(member), tenancy::account(ctx, walk, member.name())),
        desired: desired.clone(),
        owner: walk.owner.clone(),
        manager: walk.manager(),
        mode,
        run: walk.run_name().to_owned(),
        app: walk.key.clone(),
    };
    let (ctx, app) = (Arc::clone(ctx), walk.key.clone());
    walk.hold.spawn(async move {
        let again = match enters {
            true => repair.enter(target).await,
            false => repair.carry_out().await,
        };
        drop(repairing);
        match again {
            Next::Settled => {}
            Next::Tell => ctx.due.wake(&app),
            Next::LookAgain => {
                let name = repair.member.name().to_owned();
                ctx.due.object_changed(name, &repair.owner, repair.desired.id.clone());
            }
        }
    });
}

fn is_as_left(walk: &Walk, member: &Arc<Member>, desired: &Desired, seen: &Observed) -> bool {
    let expected = walk.board.expected(member.name(), &desired.id);
    seen.owner == walk.owner
        && seen.content == desired.content.short()
        && expected.is_some()
        && expected == seen.managed
}

struct Repair {
    ctx: Arc<Context>,
    board: Board,
    member: Acting,
    desired: Desired,
    owner: String,
    manager: String,
    mode: DriftMode,
    run: String,
    app: AppKey,
}

/// Whether the end of it is told: when the member answers again or is let go, everything there is looked at again.
fn is_told_of(error: &MemberError) -> bool {
    matches!(error, MemberError::Unreachable { .. } | MemberError::Held { .. })
}

enum Next {
    Settled,
    Tell,
    LookAgain,
}

/// Whether the object says that we applied it.
fn applied_by(live: &Value, manager: &str) -> bool {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries.into_iter().flatten().any(|entry| {
        let says = |key: &str, value: &str| entry.get(key).and_then(Value::as_str) == Some(value);
        says("manager", manager) && says("operation", "Apply")
    })
}

/// What differs, and who wrote there.
struct Difference {
    /// Empty where the object was deleted.
    fields: Vec<String>,
    manager: Option<String>,
}

impl Difference {
    fn words(&self) -> String {
        if self.fields.is_empty() { "it was deleted".to_owned() } else { self.fields.join(", ") }
    }

    fn who(&self) -> String {
        self.manager.as_ref().map_or_else(|| "somebody".to_owned(), |manager| format!("{manager:?}"))
    }
}

impl Repair {
    async fn carry_out(&self) -> Next {
        let (cluster, id) = (self.member.name(), &self.desired.id);
        let before = self.member.observed(id).map(|seen| seen.resource_version.clone());
        let live = match self.member.get(id).await {
            Ok(live) => live,
            Err(error) => {
                tracing::debug!(cluster, object = %id, %error, "drift can't be looked at");
                return self.after(&error).await;
            }
        };
        let differs = match &live {
            None => Difference { fields: Vec::new(), manager: None },
            Some(live) => {
                let owner = live.pointer("/metadata/labels").and_then(|l| l.get(fleet_api::names::OWNER));
                if owner.and_then(|o| o.as_str()).is_some_and(|owner| owner != self.owner) {
                    let fields = vec![format!("metadata.labels[{}]", fleet_api::names::OWNER)];
                    let message = format!("{id} on {cluster} was taken over by another application");
                    self.report(DriftState::Refused, &Difference { fields, manager: None }, message);
                    return Next::Tell;
                }
                let found = fleet_plan::drift(id, &self.desired.object, live);
                let nothing_differs = found.is_empty();
                let found: Vec<_> = found
                    .into_iter()
                    .map(|drift| drift.path)
                    .filter(|path| match &self.mode {
                        DriftMode::ReportFields(fields) => !fields.iter().any(|f| path.starts_with(f)),
                        DriftMode::Repair | DriftMode::Report => true,
                    })
                    .collect();
                if nothing_differs && self.mode == DriftMode::Repair && self.is_dispossessed(live) {
                    // What we send no more would stay, since nothing says that it was ours; and the next change of a
                    // field that isn't ours any more would show nowhere.
                    Difference { fields: vec!["metadata.managedFields".to_owned()], manager: None }
                } else if found.is_empty() {
                    return self.as_it_should_be(before.as_deref());
                } else {
                    let manager = writer::of(live, &found, &self.manager);
                    Difference { fields: found.iter().map(FieldPath::to_dotted).collect(), manager }
                }
            }
        };
        self.tell(Drift::Found, "");
        if self.mode == DriftMode::Report {
            let why = match self.ctx.options.on_drift {
                OnDrift::Repair => "apply-once",
                OnDrift::Report => "--drift report",
            };
            let message = format!("{id} on {cluster} differs and is left so ({why}): {}", differs.words());
            self.report(DriftState::Reported, &differs, message);
            return self.left_as_it_is(before.as_deref());
        }
        if let Some(next) = self.left_by_hold(&differs) {
            return match next {
                Next::Tell => self.left_as_it_is(before.as_deref()),
                other => other,
            };
        }
        self.repair(&differs).await
    }

    /// Whether somebody cleared our entry in managedFields, or took fields from it; they may have given back the values.
    fn is_dispossessed(&self, live: &Value) -> bool {
        let (cluster, id) = (self.member.name(), &self.desired.id);
        let left = self.board.expected(cluster, id);
        let seen = self.member.observed(id).and_then(|seen| seen.managed);
        !applied_by(live, &self.manager) || left.is_some_and(|left| Some(left) != seen)
    }

    fn report(&self, state: DriftState, differs: &Difference, message: String) {
        let (cluster, id) = (self.member.name(), &self.desired.id);
        let news = self.board.report_drift(cluster, id, Some(self.found(state, differs, message.clone())));
        if news && matches!(state, DriftState::Reported | DriftState::Held) {
            self.tell(Drift::Held, &message);
        }
    }

    fn tell(&self, what: Drift, note: &str) {
        events::drifted(&self.ctx, &self.app, self.member.name(), &self.desired.id, what, note);
    }

    fn found(&self, state: DriftState, differs: &Difference, message: String) -> Found {
        let (fields, manager) = (differs.fields.clone(), differs.manager.clone());
        Found { state, fields, manager, since: self.ctx.now(), message }
    }

    /// What somebody holds is reported and left.
    fn left_by_hold(&self, differs: &Difference) -> Option<Next> {
        let (cluster, id) = (self.member.name(), &self.desired.id);
        let named = self.member.account().map(|account| account.name.as_str());
        let hold = match held::hold(&self.ctx, &self.app, named, cluster)? {
            Held::Drift(hold) => hold,
            // What it has is put right.
            Held::Policy(_) => return None,
            // When the member is let go, everything there is looked at again.
            Held::Member(_) | Held::Access(_) => return Some(Next::Settled),
        };
        let message = format!(
            "{id} on {cluster} differs ({}, by {}) and is left until {}: {}",
            differs.words(),
            differs.who(),
            hold.spec.until,
            hold.spec.reason
        );
        self.report(DriftState::Held, differs, message);
        Some(Next::Tell)
    }

    /// What is reported stays until it differs no more: that must be seen, also where it happened meanwhile.
    fn left_as_it_is(&self, before: Option<&str>) -> Next {
        let id = &self.desired.id;
        self.member.watch_closely(id, true);
        let seen = self.member.observed(id).map(|seen| seen.resource_version.clone());
        if seen.as_deref() == before { Next::Tell } else { Next::LookAgain }
    }

    /// Nothing differs: what is seen now is how it should be.
    fn as_it_should_be(&self, before: Option<&str>) -> Next {
        let (cluster, id) = (self.member.name(), &self.desired.id);
        let Some(seen) = self.member.observed(id) else { return Next::Settled };
        if before != Some(seen.resource_version.as_str()) {
            return Next::LookAgain;
        }
        // What is only reported isn't taken back either: fields may be somebody else's by now, and change again.
        let theirs = self.mode == DriftMode::Report;
        if !theirs {
            self.board.expect(cluster, id, seen.managed);
        }
        self.member.watch_closely(id, theirs);
        self.board.report_drift(cluster, id, None);
        Next::Tell
    }

    async fn repair(&self, differs: &Difference) -> Next {
        let (cluster, id) = (self.member.name(), &self.desired.id);
        let wait = self.board.repair_wait(cluster, id);
        if !wait.is_zero() {
            let message = format!(
                "{id} on {cluster}: {} keeps changing {}; taken back again in {} s; stop the other writer, leave these fields out, or let it be with an apply-once policy",
                differs.who(),
                differs.words(),
                wait.as_secs().max(1)
            );
            let found = self.found(DriftState::Fought, differs, message.clone());
            self.board.report_drift(cluster, id, Some(found.clone()));
            // A fight is told once, however long it lasts.
            if self.board.fight(cluster, id, found) {
                self.tell(Drift::Fought, &message);
            }
            self.ctx.due.wake(&self.app);
            // Another run may deliver something else meanwhile, and a deletion waits for nobody's patience.
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.board.closed() => return Next::Settled,
            }
            if !self.board.is_about(&self.run) {
                return Next::LookAgain;
            }
            if let Some(next) = self.left_by_hold(differs) {
                return next;
            }
        }
        if !self.board.begin_sending_repair(&self.run, cluster, id) {
            // Another run may want something else there.
            return if self.board.is_about(&self.run) { Next::Settled } else { Next::LookAgain };
        }
        let outcome = self.send().await;
        self.board.end_sending_repair(cluster, id);
        match outcome {
            Ok(left) => {
                if left.before_first_apply
                    && let Err(error) = self.member.forget_unnamed(id).await
                {
                    tracing::warn!(cluster, object = %id, %error, "fields stay owned by nobody in particular");
                }
                let differs = differs.words();
                self.board.expect(cluster, id, left.managed);
                self.board.repaired(cluster, id);
                self.member.watch_closely(id, false);
                self.tell(Drift::Repaired, &format!("{id} on {cluster}: {differs}"));
                Next::Tell
            }
            Err(error) => {
                if is_told_of(&error) {
                    tracing::debug!(cluster, object = %id, %error, "drift can't be repaired");
                } else {
                    let message = format!(
                        "{id} on {cluster}: drift ({}) can't be repaired yet: {error}; tried again",
                        differs.words()
                    );
                    self.report(DriftState::Refused, differs, message);
                    self.ctx.due.wake(&self.app);
                }
                self.after(&error).await
            }
        }
    }

    /// Looks again after a while, unless something tells when that is worth it.
    async fn after(&self, error: &MemberError) -> Next {
        if is_told_of(error) {
            return Next::Settled;
        }
        tokio::select! {
            () = tokio::time::sleep(AFTER_REFUSAL) => Next::LookAgain,
            () = self.board.closed() => Next::Settled,
        }
    }

    /// These fields are ours by our last delivery, so they are taken back; with the namespace where it went too.
    async fn send(&self) -> Result<Live, MemberError> {
        let id = &self.desired.id;
        match self.member.apply(id, &self.desired.object, &self.manager, true).await {
            Err(MemberError::Refused { code: 404, message, .. })
                if !id.namespace.is_empty() && message.contains("namespaces") =>
            {
                let by = fleet_plan::Delivery {
                    application: &self.app.1,
                    namespace: &self.app.0,
                    owner: &self.owner,
                };
                let target = Target::new(self.member.name(), id.namespace.as_str());
                deliver::make_namespace(&self.member, &target, &by).await?;
                self.member.apply(id, &self.desired.object, &self.manager, true).await
            }
            other => other,
        }
    }
}
