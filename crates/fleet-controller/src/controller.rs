//! Wires watches, caches and turns together.

use std::sync::Arc;
use std::time::Duration;

use fleet_api::{
    Application, Approval, ClusterAccessPolicy, ComponentDefinition, DriftHold, ManagedCluster, Policy,
    RolloutWindow, Run, TraitDefinition, Workflow, names,
};
use fleet_members::{MemberEvent, Members, Transport};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{PredicateConfig, WatchStreamExt as _, watcher};
use kube::{Resource, ResourceExt as _};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::context::{AppKey, Context, Due, Options};
use crate::hub::health_rules;
use crate::hub::key_rules;
use crate::hub::referenced::Referenced;
use crate::hub::refusal;
use crate::hub::rule_maps;
use crate::hub::watches::{Lists, follow, followed, interrupted, watched, watched_by, within};
use crate::hub::{Hub, Input, Stores};
use crate::people::authors::AuthorSource;
use crate::propagation::Inbox;
use crate::records::RecordError;
use crate::replicas::{Driver, Shares};
use crate::report::events::{self, Events};
use crate::turn::turn;

/// How soon a turn is taken again that the hub refused for good: rights and admission have no watch.
const REFUSED: Duration = Duration::from_secs(5);

/// Why the controller can't run.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The hub doesn't answer the first question.
    #[error("the hub doesn't answer: {0}; check its address and the rights of this account")]
    Hub(#[source] kube::Error),
    /// The hub has no kube-system namespace to be told apart by.
    #[error("the hub's kube-system namespace has no UID; this isn't a Kubernetes API")]
    NoIdentity,
    /// Something on the hub couldn't be listed.
    #[error(
        "the hub didn't list {} within {} s; are the custom resource definitions there (--install-crds), and may this account list and watch them?",
        .kinds.join(", "), .timeout.as_secs()
    )]
    NotListed {
        /// What.
        kinds: Vec<String>,
        /// How long it was waited for.
        timeout: Duration,
    },
}

/// The engine, ready to run against a hub.
pub struct Controller {
    hub: kube::Client,
    transport: Arc<dyn Transport>,
    options: Options,
    shares: Shares,
}

impl Controller {
    /// A controller for a hub, reaching members by the transport.
    pub fn new(hub: kube::Client, transport: Arc<dyn Transport>, options: Options) -> Self {
        let shares = match &options.leases {
            Some(leases) => Shares::shared(&leases.replica, leases.timing),
            None => Shares::alone(),
        };
        Self { hub: crate::hub::deadline::bounded(hub), transport, options, shares }
    }

    /// What this replica does, for others that share their work in the same way.
    pub fn shares(&self) -> Shares {
        self.shares.clone()
    }

    /// Runs until `stop` is cancelled; everything that it started has ended then.
    ///
    /// # Errors
    /// Where the hub can't be used at all. Later failures are tried again.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), ControllerError> {
        let shares = self.shares.clone();
        let _ends = shares.end_with();
        if let Some(leases) = &self.options.leases {
            let bound = leases.timing.longest_request();
            self.options.members.request_timeout = self.options.members.request_timeout.min(bound);
        }
        let namespaces: Api<Namespace> = Api::all(self.hub.clone());
        let system = tokio::select! {
            system = namespaces.get("kube-system") => system.map_err(ControllerError::Hub)?,
            () = stop.cancelled() => return Ok(()),
        };
        let uid = names::hub_identity(&system.metadata).ok_or(ControllerError::NoIdentity)?.to_owned();
        let tasks = TaskTracker::new();
        let (due, woken) = Due::new();
        let due = Arc::new(due);

        let users = Users::default();
        let distribution = Arc::new(Inbox::new(&uid));
        let members = {
            let (due, distribution) = (Arc::clone(&due), Arc::clone(&distribution));
            let distribution_owner = distribution.owner().to_owned();
            let told = move |event: &MemberEvent| distribution.member(event);
            let notify = Box::new(move |event| {
                told(&event);
                match event {
                    MemberEvent::Object { cluster, owner, id } => due.object_changed(cluster, &owner, id),
                    MemberEvent::Synced { cluster } => due.resync(&cluster),
                    MemberEvent::Reachable { cluster }
                    | MemberEvent::Unreachable { cluster }
                    | MemberEvent::Recognised { cluster } => {
                        due.touched.touch(&cluster);
                        due.resync(&cluster);
                    }
                }
            });
            let mut options = self.options.members.clone();
            options.hub = Some(uid.clone());
            options.shown_of = distribution_owner;
            Members::new(self.transport, crate::known_kinds(), options, stop.clone(), notify)
        };
        let referenced = {
            let users = users.clone();
            let changed = Arc::new(move |input: &Input| users.changed(input));
            Referenced::new(self.hub.clone(), changed, stop.clone(), tasks.clone())
        };

        let (hub, namespaces) = (self.hub.clone(), self.options.namespaces.clone());
        let (applications, app_events) = watched::<Application>(within(&hub, &namespaces));
        let (policies, policy_events) = watched::<Policy>(within(&hub, &namespaces));
        let (workflows, workflow_events) = watched::<Workflow>(within(&hub, &namespaces));
        let (traits, trait_events) = watched::<TraitDefinition>(vec![Api::all(hub.clone())]);
        let (components, component_events) = watched::<ComponentDefinition>(vec![Api::all(hub.clone())]);
        let (clusters, cluster_events) = watched::<ManagedCluster>(vec![Api::all(hub.clone())]);
        let (approvals, approval_events) = watched::<Approval>(within(&hub, &namespaces));
        let (drift_holds, hold_events) = watched::<DriftHold>(within(&hub, &namespaces));
        let (access_policies, access_events) = watched::<ClusterAccessPolicy>(vec![Api::all(hub.clone())]);
        let (tenants, tenant_events) = watched::<Namespace>(vec![Api::all(hub.clone())]);
        let (rollout_windows, window_events) = watched::<RolloutWindow>(vec![Api::all(hub.clone())]);
        let (health_rules, rule_events) = watched_by(
            vec![Api::namespaced(hub.clone(), &self.options.own_namespace)],
            &rule_maps::labelled(fleet_api::names::HEALTH_RULES),
        );
        let (key_rules, key_events) = watched_by(
            vec![Api::namespaced(hub.clone(), &self.options.own_namespace)],
            &rule_maps::labelled(fleet_api::names::KEY_RULES),
        );
        members.judge_later();
        let run_events = followed::<PartialObjectMeta<Run>>(within(&hub, &namespaces));
        let stores = Stores {
            applications: applications.clone(),
            policies,
            workflows,
            traits,
            components,
            clusters,
            approvals,
            drift_holds,
            access_policies,
            namespaces: tenants,
            rollout_windows,
        };
        let hub = Hub::new(self.hub.clone(), uid, stores, referenced);
        let publisher = events::Publisher::new(self.hub.clone(), Arc::clone(&self.options.clock));
        let (metrics, health) = (self.options.metrics.clone(), self.options.health.clone());
        let (events, waiting) = Events::new(metrics.clone());
        let concurrency = self.options.concurrency;
        let ctx = Arc::new(Context::new(
            hub,
            members,
            self.options,
            (stop.clone(), tasks.clone()),
            Arc::clone(&due),
            events,
            shares.clone(),
            distribution,
        ));
        users.serve(&ctx);
        ctx.tasks.spawn(crate::clusters::keep(Arc::clone(&ctx)));
        ctx.tasks.spawn(crate::people::proof::follow::follow(Arc::clone(&ctx)));
        if ctx.options.author == AuthorSource::Webhook {
            ctx.tasks.spawn(crate::people::authors::webhook::follow(Arc::clone(&ctx)));
        }
        metrics.look_at(&Arc::downgrade(&ctx));
        let publishing = events::publish(publisher, waiting, metrics);
        let part = health.part("the publisher of Events".to_owned(), stop.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            let _part = part;
            publishing.await;
        }));

        follow(&ctx, "Policies", policy_events, |ctx, event| ctx.input_changed(event, Input::Policy));
        follow(&ctx, "Workflows", workflow_events, |ctx, event| ctx.input_changed(event, Input::Workflow));
        follow(&ctx, "TraitDefinitions", trait_events, |ctx, event| ctx.definitions_changed(event));
        follow(&ctx, "ComponentDefinitions", component_events, |ctx, event| ctx.definitions_changed(event));
        follow(&ctx, "ManagedClusters", cluster_events, cluster_changed);
        follow(&ctx, health_rules::KIND, rule_events, {
            let health_rules = health_rules.clone();
            move |ctx, event| health_rules::changed(&ctx.members, &health_rules, event)
        });
        follow(&ctx, key_rules::KIND, key_events, {
            let key_rules = key_rules.clone();
            move |ctx, event| key_rules::changed(&ctx.distribution, &key_rules, event)
        });
        follow(&ctx, "Approvals", approval_events, |ctx, event| {
            if let Some(approval) = applied(event) {
                let namespace = approval.namespace().unwrap_or_default();
                ctx.due.wake(&(namespace, approval.spec.application.clone()));
            }
        });
        follow(&ctx, "DriftHolds", hold_events, |ctx, event| match event {
            watcher::Event::Apply(hold) | watcher::Event::InitApply(hold) | watcher::Event::Delete(hold) => {
                let namespace = hold.namespace().unwrap_or_default();
                ctx.due.wake(&(namespace, hold.spec.application.clone()));
            }
            // Some may have gone while the watch was interrupted.
            watcher::Event::InitDone => {
                for app in ctx.hub.applications.state() {
                    ctx.due.wake(&(app.namespace().unwrap_or_default(), app.name_any()));
                }
            }
            watcher::Event::Init => {}
        });
        follow(&ctx, "Runs", run_events, |ctx, event| {
            if let watcher::Event::Delete(run) = event {
                run_deleted(ctx, run);
            }
        });
        follow(&ctx, "ClusterAccessPolicies", access_events, |ctx, event| {
            if !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_)) {
                ctx.everybody_looks_again(|_| true);
                ctx.distribution.access();
            }
        });
        follow(&ctx, "Namespaces", tenant_events, |ctx, event| {
            if let watcher::Event::Apply(namespace) = event {
                ctx.namespace_changed(&namespace.name_any());
            }
        });
        follow(&ctx, "RolloutWindows", window_events, |ctx, event| {
            if !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_)) {
                ctx.windows_changed();
            }
        });
        let lists = Lists::default()
            .with("Policies", &ctx.hub.policies)
            .with("Workflows", &ctx.hub.workflows)
            .with("TraitDefinitions", &ctx.hub.traits)
            .with("ComponentDefinitions", &ctx.hub.components)
            .with("ManagedClusters", &ctx.hub.clusters)
            .with("Approvals", &ctx.hub.approvals)
            .with("DriftHolds", &ctx.hub.drift_holds)
            .with("ClusterAccessPolicies", &ctx.hub.access_policies)
            .with("Namespaces", &ctx.hub.namespaces)
            .with("RolloutWindows", &ctx.hub.rollout_windows)
            .with(health_rules::KIND, &health_rules)
            .with(key_rules::KIND, &key_rules);
        let listed = lists.wait(&health, ctx.options.cache_sync_timeout, &stop).await;
        // The watch of Applications begins with the first turn.
        health.begin(["Applications"]);
        if listed.is_err() {
            stop.cancel();
            shares.end().await;
            tasks.close();
            tasks.wait().await;
            return listed;
        }
        ctx.tasks.spawn(crate::clusters::register::follow(Arc::clone(&ctx)));
        ctx.tasks.spawn(crate::propagation::follow(Arc::clone(&ctx)));
        if ctx.options.limits.is_any() {
            ctx.tasks.spawn(crate::run::line::keep(Arc::clone(&ctx)));
        }

        let lease = replica(&ctx);
        let begun = CancellationToken::new();
        let listed = begun.clone();
        let (noting, showing) = (Arc::clone(&ctx), Arc::clone(&ctx));
        let trigger = app_events
            .default_backoff()
            .inspect_err({
                let ctx = Arc::clone(&ctx);
                move |error| interrupted(&ctx, "Applications", error)
            })
            // The store wakes only one who waits for it, and that one is kube's controller.
            .inspect_ok(move |event| match event {
                watcher::Event::InitDone => {
                    health.listed("Applications");
                    listed.cancel();
                    showing.distribution.applications_listed();
                }
                watcher::Event::Apply(app) => {
                    showing.shown(app);
                    showing.due.application_changed(&key_of(app));
                    showing.distribution.application(key_of(app));
                }
                watcher::Event::Delete(app) => {
                    showing.due.application_changed(&key_of(app));
                    showing.distribution.application(key_of(app));
                    showing.line.look();
                }
                _ => {}
            })
            .applied_objects()
            .predicate_filter(worth_a_turn, PredicateConfig::default())
            .inspect_ok(move |app| noting.due.note(&(app.namespace().unwrap_or_default(), app.name_any())));
        let woken = futures::stream::unfold((woken, due), |(mut woken, due)| async move {
            woken.next(&due).await.map(|key| (key, (woken, due)))
        });
        let turns = kube::runtime::Controller::for_stream(trigger, applications)
            .with_config(Config::default().concurrency(concurrency))
            .reconcile_on(woken)
            .graceful_shutdown_on(stop.clone().cancelled_owned())
            .run(turn, failed, Arc::clone(&ctx));
        // kube's controller that is told to end before its first list waits for that list for ever.
        let ended_before_the_first = async {
            stop.cancelled().await;
            if begun.is_cancelled() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = turns.for_each(|_| std::future::ready(())) => {}
            () = ended_before_the_first => {}
        }
        stop.cancel();
        shares.end().await;
        tasks.close();
        tasks.wait().await;
        // Nothing is sent any more: others needn't wait until the Lease runs out.
        if let Some((release, driver)) = lease {
            release.cancel();
            let _ = driver.await;
        }
        Ok(())
    }
}

/// Keeps this replica's Lease in the background, where there are others; it ends at once when it is dropped.
fn replica(ctx: &Arc<Context>) -> Option<(CancellationToken, AbortOnDropHandle<()>)> {
    let leases = ctx.options.leases.clone()?;
    let driver =
        Driver::new(ctx.hub.client.clone(), leases, Arc::clone(&ctx.options.clock), ctx.shares.clone());
    let (release, mut changes) = (CancellationToken::new(), ctx.shares.changes());
    // No task of the tracker: it outlives them all.
    #[expect(
        clippy::disallowed_methods,
        reason = "the handle is kept, and aborts the task when it is dropped"
    )]
    let driving = AbortOnDropHandle::new(tokio::spawn(driver.run(release.clone())));
    let ctx = Arc::clone(ctx);
    let tasks = ctx.tasks.clone();
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = ctx.stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
            for app in ctx.hub.applications.state() {
                ctx.due.wake(&(app.namespace().unwrap_or_default(), app.name_any()));
            }
            for cluster in ctx.hub.clusters.state() {
                ctx.due.touched.touch(&cluster.name_any());
            }
        }
    });
    Some((release, driving))
}

fn applied<K>(event: &watcher::Event<K>) -> Option<&K> {
    match event {
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => Some(object),
        _ => None,
    }
}

/// A run that goes away while its Application stays: where it is the one that goes on, another one has to.
fn run_deleted(ctx: &Context, run: &PartialObjectMeta<Run>) {
    let owner = run.owner_references().iter().find(|owner| owner.kind == "Application");
    let Some((owner, uid)) = owner.zip(run.uid()) else { return };
    let key: AppKey = (run.namespace().unwrap_or_default(), owner.name.clone());
    let app = ctx.hub.applications.get(&ObjectRef::new(&key.1).within(&key.0));
    if app.is_some_and(|app| app.uid().as_ref() == Some(&owner.uid)) {
        ctx.due.run_lost(&key, uid);
    }
    // It may have been what others wait for in line.
    ctx.line.look();
}

fn cluster_changed(ctx: &Arc<Context>, event: &watcher::Event<ManagedCluster>) {
    let changed = match event {
        watcher::Event::InitApply(cluster) => ctx.members.upsert(cluster.clone()),
        watcher::Event::Apply(cluster) => {
            let moved = ctx.members.upsert(cluster.clone());
            ctx.due.touched.touch(&cluster.name_any());
            moved
        }
        watcher::Event::Delete(cluster) => {
            ctx.members.remove(&cluster.name_any());
            true
        }
        // Only now does the store have what was listed.
        watcher::Event::InitDone => {
            ctx.hub.clusters.state().iter().for_each(|cluster| ctx.due.touched.touch(&cluster.name_any()));
            false
        }
        watcher::Event::Init => false,
    };
    if changed {
        ctx.place_anew();
    }
    if !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_)) {
        ctx.distribution.clusters();
    }
}

/// Whether a change of an Application asks for a turn: our own writes of status don't, but a person's hand on
/// `status.workflow.suspend` does.
fn worth_a_turn(app: &Application) -> Option<u64> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    app.metadata.generation.hash(&mut hasher);
    app.metadata.annotations.hash(&mut hasher);
    // A RolloutWindow may select by them.
    app.metadata.labels.hash(&mut hasher);
    app.metadata.finalizers.hash(&mut hasher);
    app.metadata.deletion_timestamp.is_some().hash(&mut hasher);
    let workflow = app.status.as_ref().and_then(|status| status.workflow.as_ref());
    workflow.map(|workflow| (workflow.suspend, &workflow.gate)).hash(&mut hasher);
    Some(hasher.finish())
}

fn failed(app: Arc<Application>, error: &RecordError, _: Arc<Context>) -> Action {
    tracing::warn!(application = app.name_any(), namespace = app.namespace(), %error, "a turn failed; it is taken again");
    Action::requeue(if refusal::refusal(error).is_some() { REFUSED } else { Duration::from_secs(1) })
}

impl Context {
    /// Applications are put together and placed anew.
    fn everybody_looks_again(&self, whose: impl Fn(&Application) -> bool) {
        let apps = self.hub.applications.state();
        let keys = apps.iter().filter(|app| whose(app));
        self.due.inputs_changed(keys.map(|app| (app.namespace().unwrap_or_default(), app.name_any())));
    }
}

fn key_of(app: &Application) -> AppKey {
    (app.namespace().unwrap_or_default(), app.name_any())
}

impl Context {
    /// When something may begin has changed: whatever waits for its time looks again.
    fn windows_changed(&self) {
        let there = self.hub.rollout_windows.state();
        self.hub.read_windows.keep(&there.iter().map(|window| window.name_any()).collect());
        self.time_may_have_come(|_| true);
    }

    fn time_may_have_come(&self, whose: impl Fn(&Application) -> bool) {
        for app in self.hub.applications.state().into_iter().filter(|app| whose(app)) {
            let workflow = app.status.as_ref().and_then(|status| status.workflow.as_ref());
            if workflow.is_none_or(|workflow| !workflow.finished) {
                self.due.wake(&key_of(&app));
            }
        }
    }

    /// Labels of a namespace may open members to it, or the time of its rollouts.
    fn namespace_changed(&self, name: &str) {
        let is_there = |app: &Application| app.namespace().as_deref() == Some(name);
        if !self.hub.access_policies.is_empty() {
            self.everybody_looks_again(is_there);
            self.distribution.access();
        }
        if !self.hub.rollout_windows.is_empty() {
            self.time_may_have_come(is_there);
        }
    }
}

impl Context {
    /// Who is in the fleet has changed: every Application is looked at again.
    pub(crate) fn place_anew(&self) {
        let everybody = self.hub.applications.state();
        let keys = everybody.iter().map(|app| (app.namespace().unwrap_or_default(), app.name_any()));
        self.due.inputs_changed(keys);
    }

    /// A changed definition starts no run where one is pinned; the next one takes it up. Who waits for it looks again.
    fn definitions_changed<K>(&self, event: &watcher::Event<K>) {
        self.hub.forget_definitions();
        if !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_)) {
            self.everybody_looks_again(|_| true);
        }
    }

    fn input_changed<K: Resource<DynamicType = ()>>(
        &self,
        event: &watcher::Event<K>,
        input: fn(String, String) -> Input,
    ) {
        let (watcher::Event::Apply(object)
        | watcher::Event::InitApply(object)
        | watcher::Event::Delete(object)) = event
        else {
            return;
        };
        let input = input(object.namespace().unwrap_or_default(), object.name_any());
        self.due.inputs_changed(self.hub.inputs.users(&input));
    }
}

/// Tells the users of an input; set up before the context that knows them exists.
#[derive(Clone, Default)]
struct Users(Arc<std::sync::OnceLock<std::sync::Weak<Context>>>);

impl Users {
    fn serve(&self, ctx: &Arc<Context>) {
        // Set once, right after the context is made.
        let _ = self.0.set(Arc::downgrade(ctx));
    }

    fn changed(&self, input: &Input) {
        if let Some(ctx) = self.0.get().and_then(std::sync::Weak::upgrade) {
            ctx.due.inputs_changed(ctx.hub.inputs.users(input));
        }
    }
}
