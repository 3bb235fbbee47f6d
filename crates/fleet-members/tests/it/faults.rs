//! Members that are slow, silent, busy or wrong: what it costs, and whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_api::{ManagedCluster, ObjectId};
use fleet_members::{
    Member, MemberError, MemberEvent, Members, Options, Reachability, Transport, TransportError,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use kube::ResourceExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{WHO, config_map};

type Answer = BoxFuture<'static, Response<Body>>;
type Behaviour = Arc<dyn Fn(Request<Body>) -> Answer + Send + Sync>;

/// Members that behave as they are told, in process: time can be paused. Who they are they say at once, unless told
/// otherwise.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<BTreeMap<String, Behaviour>>>, Arc<Mutex<BTreeSet<String>>>);

impl Told {
    fn let_member(&self, name: &str, behaviour: impl Fn(Request<Body>) -> Answer + Send + Sync + 'static) {
        self.1.lock().unwrap().remove(name);
        self.0.lock().unwrap().insert(name.to_owned(), Arc::new(behaviour));
    }

    /// Lets a member do the same when it is asked who it is.
    fn in_everything(&self, name: &str) {
        self.1.lock().unwrap().insert(name.to_owned());
    }
}

impl Transport for Told {
    fn connect(&self, cluster: &ManagedCluster) -> Result<kube::Client, TransportError> {
        let (told, name) = (self.clone(), cluster.name_any());
        let service = tower::service_fn(move |request: Request<Body>| {
            let behaviour = Arc::clone(&told.0.lock().unwrap()[&name]);
            let asks_who = request.uri().path() == WHO && !told.1.lock().unwrap().contains(&name);
            let who = json!({"metadata": {"name": "kube-system", "uid": name}});
            async move {
                Ok::<_, std::convert::Infallible>(match asks_who {
                    true => json_of(200, &who),
                    false => behaviour(request).await,
                })
            }
        });
        Ok(kube::Client::new(service, "default"))
    }
}

fn json_of(code: u16, value: &Value) -> Response<Body> {
    Response::builder().status(code).body(Body::from(value.to_string().into_bytes())).unwrap()
}

fn fine(_: Request<Body>) -> Answer {
    async { json_of(200, &config_map("settings")) }.boxed()
}

fn hanging(_: Request<Body>) -> Answer {
    std::future::pending().boxed()
}

type Events = Arc<Mutex<Vec<MemberEvent>>>;

fn fleet(told: &Told, options: Options) -> (Members, Events) {
    let events = Events::default();
    let kept = Arc::clone(&events);
    let members = Members::new(
        Arc::new(told.clone()),
        Arc::new(|_: &str, _: &str, _: &str| Some(("configmaps".to_owned(), true))),
        options,
        Default::default(),
        Box::new(move |event| kept.lock().unwrap().push(event)),
    );
    (members, events)
}

fn join(members: &Members, name: &str) -> Arc<Member> {
    members.upsert(ManagedCluster::new(name, crate::support::accepted()));
    members.get(name).unwrap()
}

fn settings() -> ObjectId {
    ObjectId::new("v1", "ConfigMap", "demo", "settings")
}

/// A member that went down is asked now and then, everybody else is told at once, and its first answer counts.
#[tokio::test(start_paused = true)]
async fn a_breaker_opens_at_the_first_failure_and_closes_at_the_first_answer() {
    let told = Told::default();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    told.let_member("m1", move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        hanging(request)
    });
    told.in_everything("m1");
    let (members, events) = fleet(&told, Options::default());
    let m1 = join(&members, "m1");
    let began = Instant::now();
    assert!(matches!(m1.metadata(&settings()).await, Err(MemberError::Unreachable { .. })));
    assert_eq!(began.elapsed(), Duration::from_secs(10), "the first one learns it by its deadline");
    for _ in 0..100 {
        assert!(matches!(m1.metadata(&settings()).await, Err(MemberError::Unreachable { .. })));
    }
    assert_eq!(began.elapsed(), Duration::from_secs(10), "the others learn it at once");
    // Ten minutes later it has been probed some fifty times, by nobody's request.
    let before = asked.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let probes = asked.load(Ordering::SeqCst) - before;
    assert!((20..=70).contains(&probes), "{probes} probes in ten minutes");
    told.let_member("m1", fine);
    let back = Instant::now();
    while m1.reachability() != Reachability::Reachable {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(back.elapsed() < Duration::from_secs(30), "{:?} until its first answer counted", back.elapsed());
    m1.metadata(&settings()).await.unwrap();
    let events = events.lock().unwrap();
    let of = |wanted: &MemberEvent| events.iter().filter(|event| *event == wanted).count();
    assert_eq!(of(&MemberEvent::Unreachable { cluster: "m1".to_owned() }), 1);
    assert_eq!(of(&MemberEvent::Reachable { cluster: "m1".to_owned() }), 1);
}

/// One apply that hangs in an admission webhook must not make the whole member unreachable while it answers others.
#[tokio::test(start_paused = true)]
async fn one_hanging_request_does_not_speak_for_the_member() {
    let told = Told::default();
    told.let_member("m1", |request| match *request.method() == http::Method::PATCH {
        true => hanging(request),
        false => fine(request),
    });
    let (members, events) = fleet(&told, Options::default());
    let m1 = join(&members, "m1");
    let (id, object) = (settings(), config_map("settings"));
    let apply = m1.apply(&id, &object, "test", false);
    let reads = async {
        for _ in 0..9 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            m1.metadata(&id).await.unwrap();
        }
    };
    let (applied, ()) = tokio::join!(apply, reads);
    let error = applied.unwrap_err();
    assert!(matches!(&error, MemberError::Busy { message, .. } if message.contains("webhook")), "{error}");
    assert!(error.is_transient());
    assert_eq!(m1.reachability(), Reachability::Reachable);
    assert_eq!(*events.lock().unwrap(), [MemberEvent::Recognised { cluster: "m1".to_owned() }]);
}

/// A member that asks for a pause gets it from everybody, and then goes on.
#[tokio::test(start_paused = true)]
async fn retry_after_is_kept() {
    let told = Told::default();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (kept, began) = (Arc::clone(&asked), Instant::now());
    told.let_member("m1", move |request| {
        let first = {
            let mut asked = kept.lock().unwrap();
            asked.push(began.elapsed());
            asked.len() == 1
        };
        match first {
            false => fine(request),
            true => {
                let status = json!({"kind": "Status", "status": "Failure", "code": 429, "reason": "TooManyRequests",
                    "message": "slow down", "details": {"retryAfterSeconds": 4}});
                async move { json_of(429, &status) }.boxed()
            }
        }
    });
    let (members, _) = fleet(&told, Options::default());
    let m1 = join(&members, "m1");
    let error = m1.metadata(&settings()).await.unwrap_err();
    assert!(matches!(error, MemberError::Busy { .. }), "{error}");
    let asks = futures::future::join_all((0..5).map(|_| {
        let m1 = Arc::clone(&m1);
        async move { m1.metadata(&settings()).await }
    }));
    assert!(asks.await.iter().all(Result::is_ok));
    let asked = asked.lock().unwrap();
    assert!(asked[1..].iter().all(|at| *at >= Duration::from_secs(4)), "{asked:?}");
    assert_eq!(m1.reachability(), Reachability::Reachable, "a busy member is no unreachable one");
}

/// A member gets no more at once than its budget, and a full budget ends in words.
#[tokio::test(start_paused = true)]
async fn the_budget_bounds_what_is_under_way() {
    let told = Told::default();
    let under_way = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counted = Arc::clone(&under_way);
    told.let_member("m1", move |request| {
        let counted = Arc::clone(&counted);
        async move {
            let now = counted.0.fetch_add(1, Ordering::SeqCst) + 1;
            counted.1.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(8)).await;
            counted.0.fetch_sub(1, Ordering::SeqCst);
            fine(request).await
        }
        .boxed()
    });
    let options = Options { requests_at_once: 4, ..Options::default() };
    let (members, _) = fleet(&told, options);
    let m1 = join(&members, "m1");
    let asks = (0..40).map(|_| {
        let m1 = Arc::clone(&m1);
        async move { m1.metadata(&settings()).await }
    });
    let answers = futures::future::join_all(asks).await;
    assert_eq!(under_way.1.load(Ordering::SeqCst), 4);
    let served = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(served, 16, "four rounds of eight seconds begin within thirty");
    assert!(
        answers.iter().flat_map(|answer| answer.as_ref().err()).all(|error| error.reason() == "MemberBusy")
    );
    assert_eq!(m1.reachability(), Reachability::Reachable);
}

/// Errors of the server say what they are, and only silence counts as unreachable.
#[tokio::test]
async fn answers_of_the_server_are_told_apart() {
    let status = |code: u16, reason: &str| json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "said"});
    for (code, body, reason) in [
        (500, status(500, "InternalError"), "MemberBusy"),
        (503, status(503, "ServiceUnavailable"), "MemberBusy"),
        (429, status(429, "TooManyRequests"), "MemberBusy"),
        (403, status(403, "Forbidden"), "Forbidden"),
        (200, json!("a page of a proxy"), "MemberBusy"),
    ] {
        let told = Told::default();
        told.let_member("m1", move |_| {
            let body = body.clone();
            async move { json_of(code, &body) }.boxed()
        });
        let (members, _) = fleet(&told, Options::default());
        let m1 = join(&members, "m1");
        let error = m1.metadata(&settings()).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{code}: {error}");
        assert_eq!(m1.reachability(), Reachability::Reachable, "{code}");
    }
}

/// Credentials that ran out fail nobody's rollout: it waits, and the words say what to do.
#[tokio::test]
async fn refused_credentials_are_waited_for() {
    let told = Told::default();
    let status = json!({"kind": "Status", "status": "Failure", "code": 401, "reason": "Unauthorized", "message": "expired"});
    told.let_member("m1", move |_| {
        let status = status.clone();
        async move { json_of(401, &status) }.boxed()
    });
    let (members, _) = fleet(&told, Options::default());
    let error = join(&members, "m1").metadata(&settings()).await.unwrap_err();
    assert!(error.is_transient());
    assert_eq!(
        error.to_string(),
        "cluster m1 doesn't answer: it refuses our credentials (expired); renew them: fleetctl cluster rotate m1"
    );
}

/// 30 % of 50 members swallow everything; the others' requests take what they took before (design invariant 5).
#[tokio::test(start_paused = true)]
async fn black_holes_cost_the_others_nothing() {
    let told = Told::default();
    let names: Vec<String> = (0..50).map(|n| format!("m{n}")).collect();
    let slow = |request| {
        async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            fine(request).await
        }
        .boxed()
    };
    for name in &names {
        told.let_member(name, slow);
    }
    let (members, _) = fleet(&told, Options::default());
    let all: Vec<_> = names.iter().map(|name| join(&members, name)).collect();
    let round = async |which: &[Arc<Member>]| {
        let asks = which.iter().flat_map(|member| (0..64).map(move |_| Arc::clone(member)));
        let asks = asks.map(|member| async move {
            let began = Instant::now();
            (member.metadata(&settings()).await.is_ok(), began.elapsed())
        });
        let mut took: Vec<Duration> = Vec::new();
        for (fine, time) in futures::future::join_all(asks).await {
            assert!(fine);
            took.push(time);
        }
        took.sort();
        (took[took.len() / 2], took[took.len() * 99 / 100], took[took.len() - 1])
    };
    let (holes, healthy) = all.split_at(15);
    let before = round(healthy).await;
    for hole in holes {
        told.let_member(hole.name(), hanging);
        told.in_everything(hole.name());
    }
    let lost = futures::future::join_all(
        holes
            .iter()
            .flat_map(|hole| (0..64).map(move |_| Arc::clone(hole)))
            .map(|hole| async move { hole.metadata(&settings()).await.is_err() }),
    );
    let (during, lost) = tokio::join!(round(healthy), lost);
    assert!(lost.iter().all(|lost| *lost));
    let after = round(healthy).await;
    println!(
        "35 healthy members, 64 requests each: p50/p99/max {before:?} without black holes, {during:?} with 15, {after:?} later"
    );
    assert_eq!((before, before), (during, after), "time is virtual, so it is the same to the millisecond");
}
