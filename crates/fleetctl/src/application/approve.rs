//! `workflow resume` and `reject`: record a decision on the plan that a gate is about, and wait until the gate has heard
//! of it.

use std::time::Duration;

use fleet_api::{Application, Approval, ApprovalSpec, Decision, Gate, GateOutcome, Run, StepState, names};
use fleet_json::ContentHash;
use futures::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;

use super::{Place, is_suspended_by_person, outdated, phase_of, steer, waiting, window};
use crate::access::Asker;
use crate::args::{ApprovalArgs, RejectionArgs};
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};

/// How long the controller may take to hear of an approval.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the Application may take to show what its Run says.
const SHOWN_SOON: Duration = Duration::from_secs(2);
/// How often one call decides: where who decided isn't proved, it must be said again.
const TRIES: usize = 5;
/// The longest that is waited until who decides can be proved: the policy that proves it was installed or changed a
/// moment ago.
const PROVED_SOON: SignedDuration = SignedDuration::from_secs(15);

pub(super) async fn run(environment: &Environment, place: &Place, arguments: &ApprovalArgs) -> Outcome {
    if arguments.override_window {
        let step = arguments.step.step.as_deref().unwrap_or_default();
        return window::open(environment, place, step, &arguments.reason).await;
    }
    let app = place.lasting("resume").await?;
    let run = place.run(&app).await?;
    let by_person = is_suspended_by_person(&app, &run);
    // What was asked for is looked at first: where it is refused, the run stays suspended.
    let approved = if by_person && waiting(&run).is_empty() {
        if arguments.step.step.is_some() || arguments.plan.is_some() || !arguments.reason.is_empty() {
            environment
                .streams
                .note("no gate waits: nothing was approved, and no plan or reason was recorded");
        }
        None
    } else {
        let wanted = (arguments.step.step.as_deref(), arguments.plan.as_deref());
        let step = gate(place, &app, &run, wanted)?;
        Some((step, agreed_plan(place, &app, &run, step, arguments.plan.as_deref()).await?))
    };
    if by_person {
        steer::lift(place, &app, names::SUSPEND, &run.name_any()).await?;
        environment.streams.note(&format!("run {} goes on where it was suspended by hand", run.name_any()));
    }
    if let Some((step, hash)) = approved {
        let asker = place.hub.asker().await;
        let request = Request::about(step, &hash, &asker, &arguments.reason);
        let heard = decide(environment, place, &run, &request, Decision::Approve).await?;
        environment.streams.note(&format!("approved plan {hash} (step {})", step.name));
        if let Heard::Counted { had, wanted } = heard {
            shown(place, &run.name_any(), &step.name, had).await;
            let said = format!(
                "{had} of {wanted} approvals of step {}; it waits for {} more",
                step.name,
                wanted - had
            );
            return environment.streams.line(&said);
        }
    }
    environment.streams.line(&format!("Successfully resume workflow: {}", place.name))
}

/// `workflow reject`
pub(super) async fn reject(environment: &Environment, place: &Place, arguments: &RejectionArgs) -> Outcome {
    let app = place.lasting("reject").await?;
    let run = place.run(&app).await?;
    if waiting(&run).is_empty() && is_suspended_by_person(&app, &run) {
        return Err(Failure::refused(format!(
            "no gate of {} waits: a person suspended run {}; end it with: {}",
            place.name,
            run.name_any(),
            place.command("workflow terminate")
        )));
    }
    let step = gate(place, &app, &run, (arguments.step.step.as_deref(), arguments.plan.as_deref()))?;
    let hash = agreed_plan(place, &app, &run, step, arguments.plan.as_deref()).await?;
    let asker = place.hub.asker().await;
    let request = Request::about(step, &hash, &asker, &arguments.reason);
    decide(environment, place, &run, &request, Decision::Reject).await?;
    environment.streams.note(&format!("rejected plan {hash} (step {})", step.name));
    environment.streams.line(&format!("Successfully reject workflow: {}", place.name))
}

/// The gate that is meant: the one named, else the only one whose plan was agreed to, else the one that waits longest.
fn gate<'r>(
    place: &Place,
    app: &Application,
    run: &'r Run,
    (step, plan): (Option<&str>, Option<&str>),
) -> Outcome<&'r StepState> {
    let gates = waiting(run);
    let Some(wanted) = step else {
        let agreed = |step: &&&StepState| {
            let known = step.gate.as_ref().map(|gate| gate.plan_hash.as_str()).unwrap_or_default();
            plan.is_some_and(|wanted| known.starts_with(wanted))
        };
        let meant: Vec<&StepState> = gates.iter().filter(agreed).copied().collect();
        if let [first, second, ..] = meant.as_slice() {
            return Err(Failure::usage(format!(
                "--plan {} begins the plans of steps {} and {}; write more of it, or name the step with --step",
                plan.unwrap_or_default(),
                first.name,
                second.name
            )));
        }
        return meant.first().or_else(|| gates.first()).copied().ok_or_else(|| {
            let phase = app.status.as_ref().map_or("unknown", |status| status.status.as_str());
            let said =
                run.status.as_ref().map(|status| status.message.clone()).filter(|said| !said.is_empty());
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            Failure::refused(format!(
                "workflow of {} isn't suspended: run {} is {} (phase {phase}){said}; look at it: {}",
                place.name,
                run.name_any(),
                phase_of(run).as_str(),
                place.command("status")
            ))
        });
    };
    if let Some(step) = gates.iter().find(|step| step.name == wanted) {
        return Ok(step);
    }
    let steps = run.status.as_ref().map(|status| status.steps.as_slice()).unwrap_or_default();
    match steps.iter().find(|step| step.name == wanted) {
        Some(step) => Err(match step.gate.as_ref().and_then(|gate| gate.approval.as_ref()) {
            Some(approval) => Failure::refused(format!(
                "step {wanted} was approved already, by {} (plan {}); look at it: {}",
                approval.approver,
                approval.plan_hash,
                place.command("status")
            )),
            None => Failure::refused(format!(
                "step {wanted} isn't suspended: it is {}; look at it: {}",
                step.phase.as_str(),
                place.command("status")
            )),
        }),
        None => {
            let known: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
            let advice = crate::nearest::advice(wanted, &known, "steps");
            Err(Failure::not_found(format!("run {} has no step {wanted:?}{advice}", run.name_any())))
        }
    }
}

async fn agreed_plan(
    place: &Place,
    app: &Application,
    run: &Run,
    step: &StepState,
    wanted: Option<&str>,
) -> Outcome<String> {
    let now = step.gate.as_ref().map(|gate| gate.plan_hash.clone()).unwrap_or_default();
    match wanted {
        Some(wanted) if !now.starts_with(wanted) => {
            let difference = Box::pin(outdated::difference(place, app, run, &step.name, wanted)).await;
            Err(changed(place, &step.name, &now, wanted, &difference))
        }
        _ => Ok(now),
    }
}

fn changed(place: &Place, step: &str, now: &str, before: &str, difference: &str) -> Failure {
    let look = place.command("plan");
    Failure::refused(format!(
        "the plan of step {step} is another one now: {now}, not {before}; nothing was decided; look at it: {look}, then decide again; {difference}"
    ))
}

/// What is approved, by whom.
pub(crate) struct Request<'a> {
    pub(crate) step: &'a str,
    pub(crate) hash: &'a str,
    pub(crate) asker: &'a Asker,
    pub(crate) reason: &'a str,
    /// How many decisions earlier gates of the step have used up.
    pub(crate) spent: usize,
}

impl<'a> Request<'a> {
    fn about(step: &'a StepState, hash: &'a str, asker: &'a Asker, reason: &'a str) -> Self {
        let spent = step.gate.as_ref().map_or(0, |gate| gate.spent.len());
        Self { step: &step.name, hash, asker, reason, spent }
    }
}

/// What became of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The gate ended with it: opened, or the run with it.
    Taken,
    /// It counts, and the gate waits for others.
    Counted {
        /// How many have approved.
        had: usize,
        /// How many must.
        wanted: usize,
    },
}

/// Records the decision and waits until the gate has taken, counted or refused it. Where it is refused only since it came
/// too soon after a change of the policy that proves who decides, it is made anew once it counts.
pub(crate) async fn decide(
    environment: &Environment,
    place: &Place,
    run: &Run,
    request: &Request<'_>,
    decision: Decision,
) -> Outcome<Heard> {
    let mut instead_of = String::new();
    let mut tries = 0;
    loop {
        tries += 1;
        let name = approval_name(&run.name_any(), request, decision, &instead_of);
        let made = record(place, run, request, decision, &name).await?;
        // The same person decided the same before, perhaps a moment ago in another window; unless it wasn't proved who.
        if made.is_none() && tries < TRIES && is_unproved(place, run, request.step, &name).await? {
            instead_of = name;
            continue;
        }
        let told = Told { request, approval: &name, decision, made };
        match heard(place, &run.name_any(), &told).await? {
            Verdict::Heard(heard) => return Ok(heard),
            Verdict::TooSoon { wait, .. } if tries < TRIES && wait <= PROVED_SOON => {
                environment.streams.note(&format!(
                    "the policy that proves who approves was changed a moment ago; it is said again in {} s, when it counts",
                    wait.as_secs()
                ));
                tokio::time::sleep(wait.unsigned_abs()).await;
                instead_of = name;
            }
            Verdict::TooSoon { failure, .. } => return Err(failure),
        }
    }
}

/// Whether a decision stands refused because nobody could prove who made it.
async fn is_unproved(place: &Place, run: &Run, step: &str, approval: &str) -> Outcome<bool> {
    let name = run.name_any();
    let run = place.hub.ask(&format!("Run {name}"), place.runs().get(&name)).await?;
    let steps = run.status.iter().flat_map(|status| &status.steps).filter(|known| known.name == step);
    let mut refused = steps.filter_map(|step| step.gate.as_ref()).flat_map(|gate| &gate.refused);
    Ok(refused.any(|refusal| refusal.approval == approval && refusal.reason == "NotProven"))
}

/// Makes the Approval, and says when by the hub's clock; nothing where it is there already.
async fn record(
    place: &Place,
    run: &Run,
    request: &Request<'_>,
    decision: Decision,
    name: &str,
) -> Outcome<Option<Timestamp>> {
    let mut approval = Approval::new(
        name,
        ApprovalSpec {
            application: place.name.clone(),
            run: run.name_any(),
            step: request.step.to_owned(),
            plan_hash: request.hash.to_owned(),
            decision,
            approver: request.asker.user.clone(),
            groups: request.asker.groups.clone(),
            reason: request.reason.to_owned(),
        },
    );
    approval.labels_mut().insert(names::APPLICATION.to_owned(), names::short_label(&place.name));
    approval.owner_references_mut().extend(run.owner_ref(&()));
    let api: Api<Approval> = Api::namespaced(place.hub.client.clone(), &place.namespace);
    let params = PostParams { field_manager: Some("fleetctl".to_owned()), ..PostParams::default() };
    match tokio::time::timeout(place.hub.deadline, api.create(&params, &approval)).await {
        Ok(Ok(made)) => Ok(Some(made.creation_timestamp().map(|time| time.0).unwrap_or_default())),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 && status.reason == "AlreadyExists" => {
            Ok(None)
        }
        Ok(Err(error)) => Err(Failure::kube("the approval", &error)),
        Err(_) => Err(place.hub.silent("the approval")),
    }
}

/// One name for one decision: who decides the same about the same plan twice at once has decided once. `instead_of` is
/// the one that wasn't proved.
fn approval_name(run: &str, request: &Request<'_>, decision: Decision, instead_of: &str) -> String {
    let decided =
        json!([run, request.step, request.hash, request.asker.user, decision, instead_of, request.spent]);
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let step: String = request.step.chars().map(plain).collect();
    names::derived_name(
        &format!("{run}-{}", step.trim_matches('-')),
        &ContentHash::of_value(&decided).short(),
    )
}

/// Waits for a moment until the Application shows as many approvals as the Run, which is written first: who looks at it
/// after this sees what was said here. Where it doesn't, nothing is wrong.
async fn shown(place: &Place, run: &str, step: &str, had: usize) {
    let mut changes = std::pin::pin!(watch_object(place.applications(), &place.name).default_backoff());
    let caught_up = async {
        loop {
            match changes.try_next().await {
                Ok(Some(Some(app))) if shows(&app, run, step, had) => return,
                Ok(Some(None)) => return,
                Ok(_) | Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    // Late is no failure: the decision counts.
    let _ = tokio::time::timeout(SHOWN_SOON, caught_up).await;
}

fn shows(app: &Application, run: &str, step: &str, had: usize) -> bool {
    let Some(workflow) = app.status.as_ref().and_then(|status| status.workflow.as_ref()) else {
        return false;
    };
    let steps = workflow.all_steps().filter(|known| known.name == step);
    let mut gates = steps.filter_map(|step| step.gate.as_ref());
    // Another run, or a gate that is no more, has gone past it.
    workflow.run != run || gates.all(|gate| gate.approvals.len() >= had || !gate.is_shut())
}

/// A decision that was recorded.
struct Told<'a> {
    request: &'a Request<'a>,
    approval: &'a str,
    decision: Decision,
    /// When it was made, by the hub's clock; nothing where it was there before.
    made: Option<Timestamp>,
}

/// What a gate makes of a decision.
enum Verdict {
    Heard(Heard),
    /// It doesn't count, and made anew so much later it would.
    TooSoon {
        wait: SignedDuration,
        failure: Failure,
    },
}

async fn heard(place: &Place, run: &str, told: &Told<'_>) -> Outcome<Verdict> {
    let changes = watch_object(place.runs(), run).default_backoff();
    let verdict = tokio::time::timeout(PATIENCE, async {
        let mut changes = std::pin::pin!(changes);
        // The watch tries again by itself; what ends this is the time.
        loop {
            match changes.try_next().await {
                Ok(Some(Some(run))) => {
                    if let Some(verdict) = verdict(place, &run, told) {
                        return verdict;
                    }
                }
                Ok(Some(None)) => {
                    let gone = format!(
                        "run {run} is gone: the application was deleted or made anew; look at it: {}",
                        place.command("status")
                    );
                    return Err(Failure::refused(gone));
                }
                Ok(None) | Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    verdict.await.unwrap_or_else(|_| {
        Err(Failure::new(
            Exit::Waiting,
            format!(
                "approval {} is recorded, but the controller hasn't taken it within {} s; is it running? look at it: {}",
                told.approval,
                PATIENCE.as_secs(),
                place.command("status")
            ),
        ))
    })
}

fn verdict(place: &Place, run: &Run, told: &Told<'_>) -> Option<Outcome<Verdict>> {
    let status = run.status.as_ref()?;
    let step = status.steps.iter().find(|step| step.name == told.request.step)?;
    let gate = step.gate.clone().unwrap_or_default();
    if let Some(verdict) = gate_verdict(place, &gate, told) {
        return Some(verdict);
    }
    status.phase.is_over().then(|| {
        Err(Failure::refused(format!(
            "run {} is {} meanwhile; the decision counts for nothing; look at it: {}",
            run.name_any(),
            status.phase.as_str(),
            place.command("status")
        )))
    })
}

fn gate_verdict(place: &Place, gate: &Gate, told: &Told<'_>) -> Option<Outcome<Verdict>> {
    let Told { request, approval, decision, made } = told;
    let (step, created) = (request.step, made.is_some());
    let counts = |record: &fleet_api::ApprovalRecord| record.approval == *approval;
    if let Some(taken) = &gate.approval {
        let mine = counts(taken) || gate.approvals.iter().any(counts);
        return Some(match mine {
            true if created => Ok(Verdict::Heard(Heard::Taken)),
            true => Err(Failure::refused(format!(
                "step {step} was approved already, by you (approval {approval})"
            ))),
            false => Err(Failure::refused(format!(
                "step {step} was approved already, by {} (plan {})",
                taken.approver, taken.plan_hash
            ))),
        });
    }
    if let Some(no) = &gate.rejection {
        return Some(match counts(no) && *decision == Decision::Reject {
            true => Ok(Verdict::Heard(Heard::Taken)),
            false => Err(Failure::refused(format!(
                "step {step} was rejected, by {}{}; start again with: {}",
                no.approver,
                if no.reason.is_empty() { String::new() } else { format!(": {}", no.reason) },
                place.command("workflow restart")
            ))),
        });
    }
    if gate.outcome == GateOutcome::Expired {
        return Some(Err(Failure::refused(format!(
            "the gate of step {step} expired before enough had approved; start again with: {}",
            place.command("workflow restart")
        ))));
    }
    if gate.approvals.iter().any(counts) {
        let (had, wanted) = (gate.approvals.len(), gate.required.unwrap_or(1) as usize);
        return Some(match created {
            true => Ok(Verdict::Heard(Heard::Counted { had, wanted })),
            false => Err(Failure::refused(format!(
                "you have approved this plan of step {step} already (approval {approval}): {had} of {wanted}; somebody else must, too"
            ))),
        });
    }
    let refusal = gate.refused.iter().find(|refusal| refusal.approval == *approval)?;
    let failure = match refusal.reason.as_str() {
        "StalePlan" => Failure::refused(format!(
            "the plan of step {step} is another one now: {}, not {}; nothing was decided; look at it: {}, then decide again",
            gate.plan_hash,
            request.hash,
            place.command("plan")
        )),
        _ => Failure::refused(format!(
            "the decision doesn't count: {}; look at it: {}",
            refusal.message,
            place.command("status")
        )),
    };
    let wait = refusal.counts_from.zip(*made).map(|(from, made)| from.duration_since(made));
    Some(match wait {
        Some(wait) if wait.is_positive() => Ok(Verdict::TooSoon { wait, failure }),
        _ => Err(failure),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_api::{StepStatus, WorkflowStatus};

    /// Objects' names are bounded, and two decisions must never share one.
    #[test]
    fn approvals_have_names_of_their_own() {
        let asker = Asker { user: "ann".into(), groups: Vec::new() };
        let name = |step: &str, hash: &str| {
            approval_name(
                "web-1",
                &Request { step, hash, asker: &asker, reason: "", spent: 0 },
                Decision::Approve,
                "",
            )
        };
        assert!(name("Deploy To_BJ", "abc").starts_with("web-1-deploy-to-bj-"));
        assert_ne!(name("a", "abc"), name("a", "abd"));
        assert_eq!(name("a", "abc"), name("a", "abc"));
        assert!(name(&"x".repeat(400), "abc").len() <= 253);
        let other = |decision: Decision, again: &str| {
            approval_name(
                "web-1",
                &Request { step: "a", hash: "abc", asker: &asker, reason: "", spent: 0 },
                decision,
                again,
            )
        };
        assert_ne!(name("a", "abc"), other(Decision::Reject, ""));
        assert_ne!(name("a", "abc"), other(Decision::Approve, "web-1-a-1"));
    }

    /// Broken: `1 of 2 approvals`, says the command, and `status` right after it `0 of 2`.
    #[test]
    fn what_is_shown_has_caught_up_with_what_was_heard() {
        let shown = |approvals: usize| {
            let approvals = vec![fleet_api::ApprovalRecord::default(); approvals];
            let gate = Gate { plan_hash: "abc".into(), required: Some(2), approvals, ..Gate::default() };
            let step = StepStatus { name: "go".into(), gate: Some(gate), ..StepStatus::default() };
            let group = StepStatus { name: "group".into(), sub_steps: vec![step], ..StepStatus::default() };
            let workflow =
                WorkflowStatus { run: "web-1".into(), steps: vec![group], ..WorkflowStatus::default() };
            let mut app = Application::new("web", Default::default());
            app.status.get_or_insert_default().workflow = Some(workflow);
            app
        };
        assert!(!shows(&shown(0), "web-1", "go", 1));
        assert!(shows(&shown(1), "web-1", "go", 1) && shows(&shown(2), "web-1", "go", 1));
        assert!(shows(&shown(0), "web-2", "go", 1), "another run has begun");
        assert!(!shows(&Application::new("web", Default::default()), "web-1", "go", 1));
    }

    /// Broken: who approves right after the installation has approved for nothing, and saying it again changes nothing.
    #[tokio::test]
    async fn what_came_too_soon_is_said_again_when_it_counts() {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, std::convert::Infallible>>()
        });
        let hub = crate::access::Cluster::in_process(kube::Client::new(service, "default"), "hub");
        let place = Place { hub, namespace: "demo".into(), name: "web".into(), called: "fleetctl" };
        let asker = Asker { user: "ann".into(), groups: Vec::new() };
        let request = Request { step: "a", hash: "abc", asker: &asker, reason: "", spent: 0 };
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let verdict = |counts_from: Option<Timestamp>, made: Option<Timestamp>| {
            let refusal = fleet_api::Refusal {
                approval: "mine".into(),
                reason: "NotProven".into(),
                counts_from,
                ..fleet_api::Refusal::default()
            };
            let gate = Gate { plan_hash: "abc".into(), refused: vec![refusal], ..Gate::default() };
            let told = Told { request: &request, approval: "mine", decision: Decision::Approve, made };
            gate_verdict(&place, &gate, &told).unwrap()
        };
        let Ok(Verdict::TooSoon { wait, .. }) = verdict(Some(at(105)), Some(at(101))) else {
            panic!("it isn't said again")
        };
        assert_eq!(wait, SignedDuration::from_secs(4));
        assert!(verdict(None, Some(at(101))).is_err(), "time changes nothing");
        assert!(verdict(Some(at(105)), None).is_err(), "it was there before");
    }
}
