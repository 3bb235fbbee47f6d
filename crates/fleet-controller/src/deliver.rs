//! Jobs against members. Here: sending a step's objects to one target, one apply per object, in waves.

pub(crate) mod deletion;
pub(crate) mod drift;
pub(crate) mod late;
pub(crate) mod looks;
pub(crate) mod prune;
mod sharing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_api::{ObjectId, Target, names};
use fleet_json::has_shown_field;
use fleet_members::{Account, Acting, Conflict, Live, Member, MemberError};
use fleet_plan::{Claim, Desired, TargetPlan, desired, wave};
use fleet_workflow::{Delivery, Problem};
use futures::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use tracing::Instrument as _;

use crate::context::Context;
use crate::propagation;
use crate::turn::board::Board;
use crate::turn::walk::Walk;

/// How long to wait for a definition to be established, or for a deleted object to be gone.
const SETTLE: Duration = Duration::from_secs(30);

/// Everything that sending needs, detached from the turn that asked for it.
pub(crate) struct Job {
    pub(crate) board: Board,
    pub(crate) run: String,
    pub(crate) step: String,
    pub(crate) target: Target,
    pub(crate) application: String,
    pub(crate) namespace: String,
    pub(crate) owner: String,
    /// As whom it is sent; the controller's own account where there is none.
    pub(crate) account: Option<Account>,
    pub(crate) desired: Arc<Vec<Desired>>,
    /// What we delivered here before: fields of it that others took are drift and may be taken back.
    pub(crate) previous: BTreeMap<ObjectId, Arc<Value>>,
    /// What was begun to be sent here and not ended: the same holds of those objects that arrived.
    pub(crate) begun: Vec<Desired>,
    /// The hub, where the distribution may have delivered here before: its record tells what was ours.
    pub(crate) distributed: Option<kube::Client>,
    pub(crate) plan: TargetPlan,
    pub(crate) parallelism: usize,
}

impl Job {
    fn manager(&self) -> String {
        names::field_manager(&self.owner)
    }
}

/// Starts sending, unless it is under way.
pub(crate) fn start(ctx: &Arc<Context>, walk: &Walk, job: Job) {
    let key = (job.step.clone(), job.target.clone());
    if job.board.delivery(&key) == Delivery::Running {
        return;
    }
    job.board.set_delivery(&job.run, &key, Delivery::Running);
    let (ctx, app) = (Arc::clone(ctx), walk.key.clone());
    let span = tracing::debug_span!(
        "deliver",
        namespace = job.namespace,
        application = job.application,
        run = job.run,
        step = job.step,
        cluster = job.target.cluster
    );
    walk.hold.spawn(async move {
        let outcome = deliver(&ctx, &job).instrument(span).await;
        job.board.set_delivery(&job.run, &key, outcome);
        // Targets are sent to side by side, and what came of it shows within the same milliseconds: one turn for all.
        ctx.due.wake_soon(&app);
    });
}

async fn deliver(ctx: &Context, job: &Job) -> Delivery {
    let member = match ctx.members.get(&job.target.cluster) {
        Ok(member) => Acting::new(member, job.account.clone()),
        Err(error) => {
            let problem = Problem { reason: "Unreachable".to_owned(), message: error.to_string() };
            return Delivery::Unreachable(problem);
        }
    };
    let mut waves: BTreeMap<_, Vec<&Desired>> = BTreeMap::new();
    for object in job.desired.iter() {
        waves.entry(wave(&object.id)).or_default().push(object);
    }
    for (wave, objects) in waves {
        let mut sends = Vec::with_capacity(objects.len());
        for object in &objects {
            sends.push(send(&member, job, object).boxed());
        }
        let sends = futures::stream::iter(sends).buffer_unordered(job.parallelism.max(1));
        let outcomes: Vec<Result<(), Refusal>> = sends.collect().await;
        if let Some(refusal) = outcomes.into_iter().filter_map(Result::err).max_by_key(Refusal::weight) {
            return refusal.into_delivery();
        }
        if wave == fleet_plan::Wave::Definitions {
            for object in objects.into_iter().filter(|object| object.claim != Claim::Observe) {
                if let Err(refusal) = established(&member, object).await {
                    return refusal.into_delivery();
                }
            }
        }
    }
    Delivery::Applied
}

/// Why an object wasn't taken.
pub(crate) enum Refusal {
    /// Somebody holds the target: nothing was sent, and the state machine knows why.
    Held,
    Unreachable(Problem),
    Later(Problem),
    Final(Problem),
}

impl Refusal {
    fn weight(&self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Unreachable(_) => 1,
            Self::Later(_) => 2,
            Self::Final(_) => 3,
        }
    }

    fn into_delivery(self) -> Delivery {
        match self {
            Self::Held => Delivery::Idle,
            Self::Unreachable(problem) => Delivery::Unreachable(problem),
            Self::Later(problem) => Delivery::Refused { problem, retry: true },
            Self::Final(problem) => Delivery::Refused { problem, retry: false },
        }
    }

    pub(crate) fn of(id: &ObjectId, error: &MemberError) -> Self {
        let problem = |reason: &str, message: String| Problem { reason: reason.to_owned(), message };
        match error {
            MemberError::Held { .. } => Self::Held,
            MemberError::Unreachable { .. } => Self::Unreachable(problem("Unreachable", error.to_string())),
            MemberError::Busy { .. } => Self::Later(problem("MemberBusy", format!("{id}: {error}"))),
            MemberError::Conflicts { conflicts, cluster } => {
                let owners: Vec<String> =
                    conflicts.iter().map(|c| format!("{} (owned by {:?})", c.field, c.manager)).collect();
                let message = format!(
                    "{id} on {cluster}: fields are owned by others: {}; stop the other writer, or leave these fields out",
                    owners.join(", ")
                );
                Self::Final(problem("FieldConflict", message))
            }
            MemberError::Refused { message, cluster, .. } if error.is_immutable_field() => {
                let advice = "a field that can't be changed is changed; put it back, or allow recreation with a \
                              resource-update policy (strategy.recreateFields)";
                Self::Final(problem("ImmutableField", format!("{id} on {cluster}: {message}; {advice}")))
            }
            MemberError::Refused { code: 403, message, cluster, .. }
                if !message.contains("being terminated") =>
            {
                // Rights are refused in these words (apiserver, `responsewriters.ForbiddenMessage`); webhooks, policies,
                // quotas and the like refuse with the same code, and no right helps there.
                let right = message.contains(" cannot ") && message.contains("User \"");
                let (reason, advice) = if !right {
                    ("Denied", "a rule of that cluster refuses it: change the object, or the rule there")
                } else if message.contains("system:serviceaccount:") {
                    (
                        "Forbidden",
                        "it is delivered as that account: grant it the right there, or leave the object out",
                    )
                } else {
                    ("Forbidden", "give the account that fleetctl uses there this right")
                };
                Self::Final(problem(reason, format!("{id} on {cluster}: {message}; {advice}")))
            }
            MemberError::Refused { code: 400 | 422, message, cluster, .. } => {
                Self::Final(problem("Invalid", format!("{id} on {cluster}: {message}")))
            }
            // No version of the kind may be there yet, a namespace may be going away: this may pass.
            MemberError::Refused { .. } | MemberError::UnknownKind { .. } => {
                Self::Later(problem(error.reason(), format!("{id}: {error}")))
            }
        }
    }
}

/// Whether there are conflicts, and each is about a field that one of these objects has.
pub(crate) fn are_of(conflicts: &[Conflict], objects: &[&Value]) -> bool {
    let has = |field: &str| objects.iter().any(|object| has_shown_field(object, field));
    !conflicts.is_empty() && conflicts.iter().all(|conflict| has(&conflict.field))
}

/// Sends one object.
pub(crate) async fn send(member: &Acting, job: &Job, object: &Desired) -> Result<(), Refusal> {
    let id = &object.id;
    let refuse = |error: MemberError| Refusal::of(id, &error);
    if object.claim == Claim::Observe {
        // It is watched as ours to look at. Who delivers as somebody else must be able to read it as such.
        if member.account().is_some() {
            member.metadata(id).await.map_err(refuse)?;
        }
        return Ok(());
    }
    let path = member.path(id).await.map_err(refuse)?;
    member.watch(id, &path);
    let action = job.plan.actions.iter().find(|action| action.id == *id);
    let seen = member.observed(id).filter(|seen| seen.owner == job.owner && !seen.deleting);
    if let Some(seen) = &seen {
        let untouched = seen.managed.is_some() && job.board.expected(member.name(), id) == seen.managed;
        let marked = seen.sharers.contains(&job.owner) == (object.claim == Claim::Share);
        if seen.content == object.content.short() && untouched && marked {
            return Ok(());
        }
    }
    let take_over = action.is_some_and(|action| action.take_over);
    let seen_ours = seen.is_some();
    let shown = seen.as_ref().map(|seen| seen.content.clone());
    let live = match (seen, object.claim) {
        (Some(_), _) => None,
        (None, Claim::Share) => match sharing::enter(member, job, object, take_over).await? {
            sharing::Entered::Owns(live) => live,
            sharing::Entered::Shares => return Ok(()),
        },
        (None, Claim::Own | Claim::Observe) => {
            let live = member.metadata(id).await.map_err(refuse)?;
            live.map(|live| ours_or_free(member, job, id, live, take_over)).transpose()?
        }
    };
    if action.is_some_and(|action| action.recreate) {
        recreate(member, id).await?;
    }
    let shown = match &live {
        Some(live) if live.owner() == Some(&job.owner) => live.labels.get(names::CONTENT).cloned(),
        _ => shown,
    };
    let was_ours = live.as_ref().map_or(seen_ours, |live| live.owner() == Some(&job.owner));
    let mut force = live.as_ref().is_some_and(|live| live.owner().is_none());
    let mut made_namespace = false;
    let mut entries = 0;
    loop {
        let answer = member.apply(id, &object.object, &job.manager(), force).await;
        if let Err(MemberError::Conflicts { conflicts, .. }) = &answer
            && !force
            && (job.is_drift(object, shown.as_deref(), conflicts)
                || job.was_ours(member, id, conflicts).await?)
        {
            force = true;
            continue;
        }
        match answer {
            Ok(left) => {
                if was_ours && left.before_first_apply {
                    member.forget_unnamed(id).await.map_err(refuse)?;
                }
                job.board.expect(member.name(), id, left.managed);
                return Ok(());
            }
            // Who shares it was faster.
            Err(MemberError::Conflicts { .. })
                if object.claim == Claim::Share && !was_ours && entries < sharing::TRIES =>
            {
                entries += 1;
                match sharing::enter(member, job, object, take_over).await? {
                    sharing::Entered::Owns(live) => force = live.is_some_and(|live| live.owner().is_none()),
                    sharing::Entered::Shares => return Ok(()),
                }
            }
            Err(MemberError::Refused { code: 404, message, .. })
                if !made_namespace && !id.namespace.is_empty() && message.contains("namespaces") =>
            {
                let by = job.delivery();
                make_namespace(member, &job.target, &by).await.map_err(|error| Refusal::of(id, &error))?;
                made_namespace = true;
            }
            Err(error) => return Err(refuse(error)),
        }
    }
}

impl Job {
    fn delivery(&self) -> fleet_plan::Delivery<'_> {
        fleet_plan::Delivery {
            application: &self.application,
            namespace: &self.namespace,
            owner: &self.owner,
        }
    }

    /// Whether every field in conflict is one that our last delivery here set; what arrived of deliveries that didn't end
    /// is told by the content that the object shows.
    fn is_drift(&self, object: &Desired, shown: Option<&str>, conflicts: &[Conflict]) -> bool {
        let arrived =
            |begun: &&Desired| begun.id == object.id && Some(begun.content.short().as_str()) == shown;
        let arrived = self.begun.iter().filter(arrived).map(|begun| &begun.object);
        let previous = self.previous.get(&object.id).into_iter();
        let ours: Vec<&Value> = previous.chain(arrived).map(Arc::as_ref).collect();
        are_of(conflicts, &ours)
    }

    /// Whether every field in conflict is one that the distribution had set here before its policy got a Workflow.
    async fn was_ours(
        &self,
        member: &Acting,
        id: &ObjectId,
        conflicts: &[Conflict],
    ) -> Result<bool, Refusal> {
        let Some(hub) = &self.distributed else { return Ok(false) };
        let left = propagation::left(hub, id, member.name()).await.map_err(|error| {
            let message =
                format!("{id} on {}: what was delivered there before can't be read: {error}", member.name());
            Refusal::Later(Problem { reason: "RecordUnreadable".to_owned(), message })
        })?;
        let Some(left) = left else { return Ok(false) };
        member.has_lost(id, &self.manager(), left, conflicts).await.map_err(|error| Refusal::of(id, &error))
    }
}

/// What the one read before the first delivery finds must be ours, or free to be taken over.
fn ours_or_free(
    member: &Acting,
    job: &Job,
    id: &ObjectId,
    live: Live,
    take_over: bool,
) -> Result<Live, Refusal> {
    let cluster = member.name();
    let problem = |reason: &str, message: String| Problem { reason: reason.to_owned(), message };
    if live.deleting {
        let message = format!("{id} on {cluster} is being deleted; it is made anew once it is gone");
        return Err(Refusal::Later(problem("BeingDeleted", message)));
    }
    match live.owner() {
        Some(owner) if owner == job.owner => Ok(live),
        Some(_) if !live.labels.contains_key(names::APP_NAME) => {
            let message = format!(
                "{id} on {cluster} is distributed by a policy (kubectl get propagation -A); take it out of the policy's selectors, or out of the application"
            );
            Err(Refusal::Final(problem("OwnedByPolicy", message)))
        }
        Some(_) => {
            let label = |name: &str| live.labels.get(name).map_or("?", String::as_str);
            let other = format!("{}/{}", label(names::APP_NAMESPACE), label(names::APP_NAME));
            let advice = if other == format!("{}/{}", job.namespace, job.application) {
                format!(
                    " of another hub; deliver it from one hub only, or, where this hub replaces the other: kubectl annotate \
                     namespace kube-system {}=UID (that of the other's kube-system), and start the controllers anew",
                    names::HUB_ID
                )
            } else {
                "; deliver it from one application only, or under another name; or let both share it with a \
                 shared-resource policy each"
                    .to_owned()
            };
            let message = format!("{id} on {cluster} belongs to the application {other}{advice}");
            Err(Refusal::Final(problem("OwnedByAnotherApplication", message)))
        }
        None if take_over => Ok(live),
        None => {
            let message = format!(
                "{id} is on {cluster} already and no application owns it; delete it there, or add a take-over policy that selects it"
            );
            Err(Refusal::Final(problem("ExistsAlready", message)))
        }
    }
}

/// Makes a target's namespace on a member that has none.
pub(crate) async fn make_namespace(
    member: &Acting,
    target: &Target,
    by: &fleet_plan::Delivery<'_>,
) -> Result<(), MemberError> {
    let namespace = desired::namespace_object(target, by);
    let manager = names::field_manager(by.owner);
    match member.apply(&namespace.id, &namespace.object, &manager, false).await {
        // Somebody else made it meanwhile; it is theirs.
        Ok(_) | Err(MemberError::Conflicts { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Deletes an object and waits until it is gone.
async fn recreate(member: &Acting, id: &ObjectId) -> Result<(), Refusal> {
    let refuse = |error: MemberError| Refusal::of(id, &error);
    let Some(live) = member.metadata(id).await.map_err(refuse)? else { return Ok(()) };
    member.delete(id, &live).await.map_err(refuse)?;
    let gone = settle(member, || member.observed(id).is_none_or(|seen| seen.uid != live.uid)).await;
    if gone {
        return Ok(());
    }
    let message = format!("{id} on {} is deleted to be made anew, and isn't gone yet", member.name());
    Err(Refusal::Later(Problem { reason: "BeingDeleted".to_owned(), message }))
}

async fn established(member: &Arc<Member>, object: &Desired) -> Result<(), Refusal> {
    let ready =
        settle(member, || member.observed(&object.id).is_some_and(|seen| seen.health.is_healthy())).await;
    if ready {
        return Ok(());
    }
    let message = format!("{} on {} isn't established yet", object.id, member.name());
    Err(Refusal::Later(Problem { reason: "NotEstablished".to_owned(), message }))
}

/// Waits until what the observer sees is as wanted, woken by its events.
async fn settle(member: &Arc<Member>, wanted: impl Fn() -> bool) -> bool {
    let wait = async {
        loop {
            let changed = member.changed();
            if wanted() {
                return;
            }
            changed.await;
        }
    };
    tokio::time::timeout(SETTLE, wait).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Broken: who is told to grant a right grants it, and the cluster's rule refuses all the same.
    #[test]
    fn rights_are_advised_where_rights_are_missing_only() {
        let refused = |message: &str| {
            let id = ObjectId::of(&serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "a", "namespace": "demo"}}));
            let error = MemberError::Refused {
                cluster: "m1".into(),
                code: 403,
                reason: "Forbidden".into(),
                message: message.into(),
            };
            match Refusal::of(&id.unwrap(), &error) {
                Refusal::Final(problem) => (problem.reason, problem.message),
                _ => panic!("{message}"),
            }
        };
        let right = "configmaps is forbidden: User \"fleet\" cannot create resource \"configmaps\" in API group \"\" in the namespace \"demo\"";
        let (reason, message) = refused(right);
        assert!(reason == "Forbidden" && message.ends_with("this right"), "{message}");
        for rule in [
            "admission webhook \"images.example.org\" denied the request: no such registry",
            "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'small' with binding 'all' denied request: too large",
            "configmaps \"a\" is forbidden: exceeded quota: few, requested: count/configmaps=1",
        ] {
            let (reason, message) = refused(rule);
            assert!(reason == "Denied" && message.ends_with("or the rule there"), "{message}");
        }
    }
}
