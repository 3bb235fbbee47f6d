//! Steps that measure: what is judged how, what is asked for when, and what is refused.

use fleet_api::{Measured, Outcome, RunPhase, StepPhase};
use fleet_workflow::graph::measure::What;
use fleet_workflow::measure::prometheus::{self, Answer, Judgement};
use fleet_workflow::measure::{Comparison, Condition, Hold, Reading, Sampling, Verdict, judge, take_in};
use fleet_workflow::{Check, CheckFact, Command, Graph, Problem, StepKind};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{World, deploy, read_again, step};

fn start() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn reading(outcome: Outcome) -> Reading {
    Reading { outcome, value: "[0.5]".to_owned(), ..Reading::default() }
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![Outcome::Successful, Outcome::Failed, Outcome::Inconclusive, Outcome::Error])
}

prop_compose! {
    fn samplings()(
        count in 1_u32..12,
        failure_limit in 0_u32..4,
        inconclusive_limit in 0_u32..4,
        error_limit in 0_u32..4,
        interval in 1_i64..100,
        delay in 0_i64..100,
    ) -> Sampling {
        Sampling {
            count,
            failure_limit,
            inconclusive_limit,
            error_limit,
            interval: SignedDuration::from_secs(interval),
            initial_delay: SignedDuration::from_secs(delay),
            hold: None,
        }
    }
}

/// Measures until there is a verdict; says it, and how many measurements it took.
fn run(sampling: &Sampling, seen: &[Outcome]) -> (Verdict, Measured) {
    let (mut measured, mut at) = (Measured::default(), start());
    for outcome in seen {
        match judge(sampling, &measured, start()) {
            Verdict::Continue(due) => at = at.max(due),
            verdict => return (verdict, measured),
        }
        take_in(&mut measured, &reading(*outcome), at);
    }
    (judge(sampling, &measured, start()), measured)
}

proptest! {
    // Broken: a failureLimit of 0 lets a failure pass, a limit is off by one, or a success comes before its count.
    #[test]
    fn limits_are_limits(sampling in samplings(), seen in prop::collection::vec(outcomes(), 0..40)) {
        let (verdict, measured) = run(&sampling, &seen);
        match verdict {
            Verdict::Succeeded => {
                prop_assert!(measured.judged() >= sampling.count);
                prop_assert!(measured.failed <= sampling.failure_limit);
                prop_assert!(measured.inconclusive <= sampling.inconclusive_limit);
            }
            Verdict::Failed { .. } => prop_assert!(
                measured.failed == sampling.failure_limit + 1 || measured.errors_in_a_row == sampling.error_limit + 1
            ),
            Verdict::Inconclusive { .. } => {
                prop_assert_eq!(measured.inconclusive, sampling.inconclusive_limit + 1);
                prop_assert!(measured.failed <= sampling.failure_limit);
            }
            Verdict::Continue(_) => prop_assert!(measured.judged() < sampling.count),
        }
        prop_assert!(measured.recent.len() <= 10, "the record grows without bound");
    }

    // Broken: what is measured depends on the order in which failures come, where nothing was cut short.
    #[test]
    fn success_doesnt_depend_on_the_order(sampling in samplings(), seen in prop::collection::vec(outcomes(), 1..12)) {
        let judged: Vec<Outcome> = seen.into_iter().filter(|outcome| *outcome != Outcome::Error).collect();
        let mut reversed = judged.clone();
        reversed.reverse();
        let succeeded = |seen: &[Outcome]| run(&Sampling { count: judged.len().max(1) as u32, ..sampling.clone() }, seen).0 == Verdict::Succeeded;
        prop_assert_eq!(succeeded(&judged), succeeded(&reversed));
    }

    // Broken: measuring goes on for ever, however it goes.
    #[test]
    fn there_is_an_end(sampling in samplings(), seen in prop::collection::vec(outcomes(), 200)) {
        let (verdict, _) = run(&sampling, &seen);
        prop_assert!(!matches!(verdict, Verdict::Continue(_)), "{verdict:?}");
    }

    // Broken: measurements come sooner than the interval, before the delay, or never.
    #[test]
    fn measurements_keep_their_distance(sampling in samplings(), seen in prop::collection::vec(outcomes(), 0..20)) {
        let (verdict, measured) = run(&sampling, &seen);
        if let Verdict::Continue(due) = verdict {
            let least = match measured.recent.last() {
                None => start().checked_add(sampling.initial_delay).unwrap(),
                Some(last) if last.outcome == Outcome::Error => last.at.unwrap().checked_add(sampling.interval.min(SignedDuration::from_secs(10))).unwrap(),
                Some(last) => last.at.unwrap().checked_add(sampling.interval).unwrap(),
            };
            prop_assert_eq!(due, least);
        }
    }

    // Broken: a bad answer of a server panics the process.
    #[test]
    fn any_answer_is_read_or_refused(text in "\\PC{0,64}", number in any::<f64>()) {
        let _ = serde_json::from_str::<Value>(&text).map(|body| prometheus::read(&body));
        let answer = Answer::Vector(vec![number]);
        let judgement = Judgement::Expressions { success: Some(Condition::read("result[0] < 1", "result").unwrap()), failure: None };
        let read = answer.judge(&judgement);
        prop_assert_eq!(read.outcome == Outcome::Inconclusive, number.is_nan());
    }
}

// Broken: a state that must last is believed at once, or a blip ends it.
#[test]
fn what_must_last_lasts() {
    let hold =
        Hold { succeed_after: SignedDuration::from_secs(60), fail_after: SignedDuration::from_secs(30) };
    let sampling = Sampling {
        hold: Some(hold),
        interval: SignedDuration::from_secs(20),
        inconclusive_limit: 1,
        ..Sampling::default()
    };
    use Outcome::{Failed as F, Inconclusive as I, Successful as S};
    let verdict = |seen: &[Outcome]| run(&sampling, seen).0;
    assert!(matches!(verdict(&[S, S, S]), Verdict::Continue(_)));
    assert_eq!(verdict(&[S, S, S, S]), Verdict::Succeeded);
    assert!(matches!(verdict(&[S, S, F, S, S, S]), Verdict::Continue(_)), "a failure begins the time anew");
    assert_eq!(verdict(&[F, S, F, S, S, S, S]), Verdict::Succeeded, "short failures are borne");
    assert!(matches!(verdict(&[S, F, F]), Verdict::Continue(_)));
    assert!(matches!(verdict(&[S, F, F, F]), Verdict::Failed { reason: "MeasurementFailed", .. }));
    assert!(matches!(verdict(&[S, I, S, I]), Verdict::Inconclusive { .. }));
}

// Broken: an answer of Prometheus is misread: no data passes for a success, one bad series of many is overlooked.
#[test]
fn answers_of_prometheus_are_judged() {
    let vector = |samples: &[&str]| {
        let series: Vec<Value> =
            samples.iter().map(|v| json!({"metric": {}, "value": [1_700_000_000, v]})).collect();
        json!({"status": "success", "data": {"resultType": "vector", "result": series}})
    };
    let scalar =
        json!({"status": "success", "data": {"resultType": "scalar", "result": [1_700_000_000, "4"]}});
    let by = |success: Option<&str>, failure: Option<&str>| Judgement::Expressions {
        success: success.map(|s| Condition::read(s, "result").unwrap()),
        failure: failure.map(|s| Condition::read(s, "result").unwrap()),
    };
    let each = |text: &str| Judgement::Each(Comparison::read(text).unwrap());
    for (body, judgement, expected) in [
        (vector(&["0.99"]), by(Some("result[0] >= 0.95"), None), Outcome::Successful),
        (vector(&["0.9"]), by(Some("result[0] >= 0.95"), None), Outcome::Failed),
        (vector(&["0.9"]), by(Some("result[0] >= 0.95"), Some("result[0] < 0.5")), Outcome::Inconclusive),
        (vector(&["0.4"]), by(Some("result[0] >= 0.95"), Some("result[0] < 0.5")), Outcome::Failed),
        // What both are true of has failed.
        (vector(&["0.97"]), by(Some("result[0] >= 0.95"), Some("result[0] < 0.98")), Outcome::Failed),
        (vector(&["0.4"]), by(None, Some("result[0] < 0.3")), Outcome::Successful),
        (vector(&["1", "0.2"]), by(Some("result.all(x, x > 0.5)"), None), Outcome::Failed),
        (vector(&["3"]), by(Some("result[0] == 3"), None), Outcome::Successful),
        (vector(&["+Inf"]), by(Some("result[0] > 1000000"), None), Outcome::Successful),
        (vector(&[]), by(Some("result[0] > 1"), None), Outcome::Inconclusive),
        (vector(&["NaN"]), by(None, Some("result[0] > 1")), Outcome::Inconclusive),
        (vector(&["1"]), by(Some("result[1] > 1"), None), Outcome::Error),
        (vector(&["1"]), by(Some("result[0]"), None), Outcome::Error),
        (scalar.clone(), by(Some("result > 3"), None), Outcome::Successful),
        (scalar, each(">=4"), Outcome::Successful),
        (vector(&["1", "2"]), each("< 2"), Outcome::Failed),
        (vector(&[]), each("< 2"), Outcome::Inconclusive),
    ] {
        let answer = prometheus::read(&body).unwrap();
        assert_eq!(answer.judge(&judgement).outcome, expected, "{body} {judgement:?}");
    }
    for (body, said) in [
        (json!({"status": "error", "error": "parse error at char 3"}), "parse error at char 3"),
        (json!({"data": {}}), "isn't one of Prometheus"),
        (json!([1, 2]), "isn't one of Prometheus"),
        (json!({"status": "success", "data": {"resultType": "matrix", "result": []}}), "\"matrix\""),
        (json!({"status": "success", "data": {"resultType": "vector", "result": {}}}), "without a list"),
        (vector(&["many"]), "no number"),
    ] {
        let refused = prometheus::read(&body).unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
}

fn metrics(more: Value) -> Value {
    let mut properties = json!({
        "metricServer": "http://prometheus:9090",
        "query": "up",
        "successCondition": "result[0] == 1",
    });
    for (key, value) in more.as_object().unwrap() {
        if value.is_null() {
            properties.as_object_mut().unwrap().remove(key);
        } else {
            properties[key] = value.clone();
        }
    }
    properties
}

fn refused(type_: &str, properties: Value) -> String {
    Graph::read(&[step("check", type_, properties, &[])], false).unwrap_err().to_string()
}

// Broken: a mistake in a step that measures is found out in the middle of a rollout instead of when it is applied.
#[test]
fn mistakes_are_said_when_they_are_applied() {
    for (type_, properties, said) in [
        ("check-metrics", metrics(json!({"successCondition": "result[0] >"})), "successCondition: "),
        (
            "check-metrics",
            metrics(json!({"successCondition": "rslt > 1"})),
            "\"rslt\" is unknown here; what was found is called result",
        ),
        ("check-metrics", metrics(json!({"successCondition": null})), "write successCondition"),
        (
            "check-metrics",
            metrics(json!({"metricServer": "ftp://prometheus"})),
            "metricServer: \"ftp://prometheus\"",
        ),
        ("check-metrics", metrics(json!({"metricServer": "http://me:pw@prometheus"})), "basicAuth"),
        ("check-metrics", metrics(json!({"metricServer": null})), "metricServer"),
        ("check-metrics", metrics(json!({"count": 0})), "count: 0"),
        (
            "check-metrics",
            metrics(json!({"count": 3, "failureLimit": 3})),
            "failureLimit: 3 can't be exceeded",
        ),
        ("check-metrics", metrics(json!({"failureLimit": 1})), "failureLimit: 1 can't be exceeded by 1"),
        ("check-metrics", metrics(json!({"count": 2, "inconclusiveLimit": 2})), "inconclusiveLimit"),
        ("check-metrics", metrics(json!({"interval": "soon"})), "interval: \"soon\""),
        ("check-metrics", metrics(json!({"interval": "1ms"})), "at least 1s"),
        ("check-metrics", metrics(json!({"condition": ">=1"})), "write one of them"),
        (
            "check-metrics",
            metrics(json!({"successCondition": null, "condition": "about 3"})),
            "isn't a comparison",
        ),
        ("check-metrics", metrics(json!({"queri": "up"})), "queri"),
        (
            "check-metrics",
            metrics(json!({"header": {"Authorization": {"secretRef": {"name": "x"}}}})),
            "header",
        ),
        ("request", json!({}), "url"),
        ("request", json!({"url": "http://x", "method": "BREW"}), "method: \"BREW\""),
        (
            "request",
            json!({"url": "http://x", "successCondition": "result.status == 200"}),
            "is called response",
        ),
        (
            "webhook",
            json!({"url": {"value": "http://x", "secretRef": {"name": "a", "key": "b"}}}),
            "either value or secretRef",
        ),
        ("notification", json!({}), "at least one of slack"),
        ("notification", json!({"slack": {"url": "http://x", "message": {}}}), "slack.message"),
        (
            "notification",
            json!({"slack": {"url": "http://x", "message": {"text": "hi"}}, "count": 2}),
            "count: a notification step doesn't take it",
        ),
        (
            "notification",
            json!({"email": {"from": {"address": "a@b", "host": ""}, "to": ["a@b"], "content": {"subject": "s", "body": "b"}}}),
            "email.from.host",
        ),
        (
            "wait-for",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "condition": "obj.data.ready == 'yes'"}),
            "is called object",
        ),
        (
            "wait-for",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "", "condition": "true"}),
            "name: must not be empty",
        ),
        ("depends-on-app", json!({}), "name"),
        ("request", json!({"url": "http://x/${parameter.a}"}), "is unknown here"),
        ("check-metrics", metrics(json!({"query": "up{app=\"${context.name\"}"})), "query"),
    ] {
        let message = refused(type_, properties);
        assert!(message.contains(said), "{type_}: {message}");
    }
    let mut short = step("check", "check-metrics", metrics(json!({"count": 10, "interval": "1m"})), &[]);
    short.timeout = Some("5m".to_owned());
    let message = Graph::read(&[short], false).unwrap_err().to_string();
    assert!(message.contains("measuring alone takes 9m"), "{message}");
}

// Broken: what other engines' steps say is read as something else.
#[test]
fn established_steps_are_read() {
    let read = |type_: &str, properties: Value| {
        let graph = Graph::read(&[step("check", type_, properties, &[])], false).unwrap();
        let StepKind::Measure(measure) = graph.nodes[0].kind.clone() else { panic!("no measure") };
        (*measure, graph.nodes[0].timeout)
    };
    let (measure, timeout) = read(
        "check-metrics",
        json!({"metricEndpoint": "http://p:9090", "query": "up", "condition": ">=1", "duration": "20m", "failDuration": "1m"}),
    );
    let hold =
        Hold { succeed_after: SignedDuration::from_mins(20), fail_after: SignedDuration::from_mins(1) };
    assert_eq!((measure.sampling.hold, timeout), (Some(hold), SignedDuration::from_mins(40)));
    let (measure, _) = read(
        "notification",
        json!({
            "slack": {"url": {"secretRef": {"name": "hooks", "key": "slack"}}, "message": {"text": "out: ${context.name}"}},
            "email": {
                "from": {"address": {"value": "a@example.org"}, "host": "smtp.example.org", "port": 465,
                         "password": {"secretRef": {"name": "mail", "key": "password"}}},
                "to": ["b@example.org"],
                "content": {"subject": "s", "body": "b"},
            },
        }),
    );
    assert_eq!(measure.secrets().len(), 2);
    let context = json!({"name": "web"});
    let rendered = measure.rendered(&[("context", &context)]).unwrap();
    let What::Notification(notification) = rendered.what else { panic!("no notification") };
    assert_eq!(notification.posts[0].2, json!({"text": "out: web"}));
}

fn measuring(properties: Value) -> World {
    let steps = [step("check", "check-metrics", properties, &[]), deploy("after", true)];
    World::new(Graph::read(&steps, false).unwrap(), &[vec![], vec!["m1"]])
}

fn taken(world: &mut World, number: u32, outcome: Outcome) {
    let state = Check::Taken(reading(outcome));
    world.facts.checks.insert("check".to_owned(), CheckFact { number: (0, number), state });
}

fn asked(commands: &[Command]) -> bool {
    commands.contains(&Command::Check { step: "check".to_owned() })
}

// Broken: a crash makes the engine measure again what is on record, count it twice, or forget to go on.
#[test]
fn a_measurement_on_record_is_never_taken_again() {
    let mut world = measuring(metrics(json!({"count": 3, "interval": "30s", "initialDelay": "10s"})));
    let turned = world.settle();
    assert!(!asked(&turned.commands), "the delay comes first");
    assert_eq!(turned.wake_at, Some(world.now.checked_add(SignedDuration::from_secs(10)).unwrap()));
    world.pass(10);
    assert!(asked(&world.turn().commands));
    // The process dies before it is taken: it is asked for again.
    world.crash();
    assert!(asked(&world.settle().commands));
    taken(&mut world, 1, Outcome::Successful);
    let turned = world.turn();
    assert!(!asked(&turned.commands));
    assert_eq!(turned.wake_at, Some(world.now.checked_add(SignedDuration::from_secs(30)).unwrap()));
    // The fact still stands on the board: it says nothing of the second.
    let before = world.status.clone();
    assert_eq!(world.turn().status, before, "a turn without news changes nothing");
    world.crash();
    world.facts.checks.clear();
    assert!(!asked(&world.settle().commands), "the time hasn't come, restart or not");
    world.pass(30);
    assert!(asked(&world.turn().commands));
    world
        .facts
        .checks
        .insert("check".to_owned(), CheckFact { number: (0, 2), state: Check::Running(None, None) });
    assert!(!asked(&world.turn().commands), "it is under way");
    taken(&mut world, 2, Outcome::Successful);
    world.turn();
    world.pass(30);
    world.turn();
    taken(&mut world, 3, Outcome::Successful);
    world.settle();
    assert_eq!(world.phases(), [StepPhase::Succeeded, StepPhase::Running]);
    let measured = world.status.steps[0].measured.clone().unwrap();
    assert_eq!((measured.successful, measured.recent.len()), (3, 3));
}

// Broken: a failure delivers further, or says neither why nor how to go on.
#[test]
fn a_failure_stops_what_comes_after() {
    let mut world = measuring(metrics(json!({"count": 5})));
    world.settle();
    taken(&mut world, 1, Outcome::Failed);
    world.settle();
    assert_eq!(world.phases(), [StepPhase::Failed, StepPhase::Skipped]);
    assert_eq!(world.status.reason, "MeasurementFailed");
    assert!(
        world.status.message.contains("[0.5]") && world.status.message.contains("workflow restart"),
        "{}",
        world.status.message
    );
}

// Broken: a server that is out of order is asked for ever, or one bad minute of it ends a rollout.
#[test]
fn a_server_that_is_out_of_order_is_given_up() {
    let mut world = measuring(metrics(json!({"count": 2, "consecutiveErrorLimit": 2})));
    world.settle();
    for (number, outcome) in
        [Outcome::Error, Outcome::Error, Outcome::Successful, Outcome::Error, Outcome::Error]
            .iter()
            .enumerate()
    {
        taken(&mut world, u32::try_from(number).unwrap() + 1, *outcome);
        world.turn();
        assert_eq!(world.phases()[0], StepPhase::Running, "{}", world.status.message);
        world.pass(60);
        assert!(asked(&world.turn().commands));
    }
    taken(&mut world, 6, Outcome::Error);
    world.settle();
    assert_eq!(world.phases(), [StepPhase::Failed, StepPhase::Skipped]);
    assert_eq!(world.status.reason, "MeasurementError");
    assert!(
        world.status.message.contains("couldn't be measured 3 times in a row"),
        "{}",
        world.status.message
    );
}

// Broken: what nobody can say goes on by itself, or a person's word doesn't count.
#[test]
fn a_person_decides_what_is_inconclusive() {
    let mut world = measuring(metrics(json!({})));
    world.settle();
    taken(&mut world, 1, Outcome::Inconclusive);
    world.settle();
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Suspending, "Inconclusive"));
    assert!(world.status.message.contains("workflow resume"), "{}", world.status.message);
    let before = world.status.clone();
    assert_eq!(world.turn().status, before, "a turn without news changes nothing");
    world.status = read_again(&world.status);
    let hash = world.status.steps[0].gate.clone().unwrap().plan_hash;
    world.approve("check", &hash);
    world.settle();
    assert_eq!(world.phases()[0], StepPhase::Succeeded);
    assert!(world.status.steps[0].message.contains("accepted by ada"), "{}", world.status.steps[0].message);
}

// Broken: one measurement that a person let count stands for all five, or the first yes answers every later question.
#[test]
fn who_accepts_one_measurement_accepts_no_other() {
    let mut world = measuring(metrics(json!({"count": 5, "interval": "30s"})));
    world.settle();
    taken(&mut world, 1, Outcome::Inconclusive);
    world.settle();
    let approve = |world: &mut World| {
        world.status = read_again(&world.status);
        let hash = world.status.steps[0].gate.clone().unwrap().plan_hash;
        world.approve("check", &hash);
        world.pass(600);
        world.settle()
    };
    assert!(asked(&approve(&mut world).commands), "the rest is measured: {}", world.status.message);
    assert_eq!(world.phases()[0], StepPhase::Running);
    for number in 2..=3 {
        taken(&mut world, number, Outcome::Successful);
        world.settle();
        world.pass(30);
    }
    taken(&mut world, 4, Outcome::Inconclusive);
    world.settle();
    assert_eq!(world.phases()[0], StepPhase::Suspending, "{}", world.status.message);
    assert!(asked(&approve(&mut world).commands));
    taken(&mut world, 5, Outcome::Successful);
    world.settle();
    assert_eq!(world.phases()[0], StepPhase::Succeeded);
    let said = &world.status.steps[0].message;
    assert!(said.contains("2 of 5 measurements") && said.contains("accepted by ada"), "{said}");
}

// Broken: a no at a question of a measurement is taken for a no to nothing, and the run goes on or waits for ever.
#[test]
fn who_rejects_what_is_inconclusive_fails_it() {
    let mut world = measuring(metrics(json!({})));
    world.settle();
    taken(&mut world, 1, Outcome::Inconclusive);
    world.settle();
    let hash = world.status.steps[0].gate.clone().unwrap().plan_hash;
    world.status = read_again(&world.status);
    world.decide("ada", &[], fleet_api::Decision::Reject, "check", &hash);
    world.settle();
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Terminated, "Rejected"));
    assert_eq!(world.phases(), [StepPhase::Failed, StepPhase::Skipped]);
    let step = &world.status.steps[0];
    assert!(step.message.contains("was rejected by ada"), "{}", step.message);
    assert_eq!(step.measured.as_ref().map(|measured| measured.inconclusive), Some(1), "what was found stays");
    let before = world.status.clone();
    assert_eq!(world.turn().status, before);
}

// Broken: a server that never answers holds the run for ever, or suspending measures on.
#[test]
fn time_and_people_end_it() {
    let mut world = measuring(metrics(json!({})));
    world.settle();
    let waits = Problem { reason: "NoAnswer".into(), message: "prometheus:9090 is silent".into() };
    let state = Check::Running(Some(waits), None);
    world.facts.checks.insert("check".to_owned(), CheckFact { number: (0, 1), state });
    let turned = world.turn();
    assert!(world.status.message.contains("prometheus:9090 is silent"), "{}", world.status.message);
    world.now = turned.wake_at.unwrap();
    world.turn();
    assert_eq!(world.status.steps[0].reason, "Timeout");
    assert!(world.status.steps[0].message.contains("prometheus:9090 is silent"));

    let mut world = measuring(metrics(json!({})));
    world.facts.suspend = true;
    assert!(!asked(&world.settle().commands));
    world.facts.suspend = false;
    assert!(asked(&world.settle().commands));
    world.facts.suspend = true;
    assert!(!asked(&world.turn().commands));
    world.facts.suspend = false;
    world.facts.terminate = true;
    assert!(world.turn().commands.is_empty());
    assert_eq!(world.status.phase, RunPhase::Terminated);
}
