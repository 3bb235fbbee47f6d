//! Steps as written: what they mean and what is refused.

use fleet_api::{Step, StepInput, StepOutput, StepRetry};
use fleet_workflow::{Graph, StepKind};
use jiff::SignedDuration;
use serde_json::json;

use crate::world::{deploy, step};

fn refusal(steps: &[Step], dag: bool) -> (&'static str, String) {
    let error = Graph::read(steps, dag).expect_err("it is read");
    (error.reason(), error.to_string())
}

#[test]
fn a_list_goes_step_by_step_and_a_dag_as_it_says() {
    let steps = [deploy("a", true), deploy("b", false), step("c", "suspend", json!({}), &["a"])];
    let after =
        |dag| Graph::read(&steps, dag).unwrap().nodes.into_iter().map(|node| node.after).collect::<Vec<_>>();
    assert_eq!(after(false), [vec![], vec![0], vec![0, 1]]);
    assert_eq!(after(true), [vec![], vec![], vec![0]]);
}

#[test]
fn what_is_not_written_has_a_default() {
    let steps = [Step { type_: "deploy".into(), ..Step::default() }];
    let graph = Graph::read(&steps, false).unwrap();
    let node = graph.node("step-0").expect("a name is made up");
    assert_eq!(node.timeout, SignedDuration::from_mins(30));
    assert!(matches!(&node.kind, StepKind::Deploy(deploy) if deploy.auto && deploy.policies.is_empty()));
    assert!(!node.kind.is_gated());
}

#[test]
fn a_gate_is_about_what_comes_up_to_the_next_gate() {
    let steps = [
        step("ask", "suspend", json!({}), &[]),
        deploy("one", true),
        deploy("two", true),
        deploy("three", false),
        deploy("four", true),
    ];
    let graph = Graph::read(&steps, false).unwrap();
    assert_eq!(graph.behind_gate("ask"), ["one", "two"]);
    assert_eq!(graph.behind_gate("three"), ["three"]);
    assert!(graph.behind_gate("nobody").is_empty());
}

// A user sees these words: each names the step, the cause and what is accepted.
#[test]
fn what_can_not_be_walked_is_refused_in_words() {
    let timeout = Step { timeout: Some("soon".into()), ..deploy("a", true) };
    let cases: Vec<(Vec<Step>, &str, &str)> = vec![
        (
            vec![step("a", "deplyo", json!({}), &[])],
            "UnknownStepType",
            "step \"a\": there is no step type \"deplyo\" (did you mean \"deploy\"?); types are deploy, suspend, step-group, check-metrics, request, webhook, notification, wait-for, depends-on-app",
        ),
        (
            vec![step("a", "apply-job", json!({}), &[])],
            "UnknownStepType",
            "step \"a\": there is no step type \"apply-job\"; types are deploy, suspend, step-group, check-metrics, request, webhook, notification, wait-for, depends-on-app",
        ),
        (
            vec![step("a", "deploy", json!({ "auto": "no" }), &[])],
            "InvalidStepProperties",
            "step \"a\": properties: auto: invalid type: string \"no\", expected a boolean",
        ),
        (
            vec![step("a", "deploy", json!({ "parallelism": 0 }), &[])],
            "InvalidStepProperties",
            "step \"a\": properties: parallelism: must be at least 1",
        ),
        (
            vec![step("a", "suspend", json!({ "duration": "5 minutes" }), &[])],
            "InvalidStepProperties",
            "step \"a\": properties: duration: \"5 minutes\" isn't a duration; write it like 90s, 30m, 1h30m or 2d",
        ),
        (
            vec![deploy("a", true), deploy("a", true)],
            "DuplicateStepName",
            "step \"a\" stands twice; give each step a name of its own",
        ),
        (
            vec![step("a", "deploy", json!({}), &["b"])],
            "UnknownStepDependency",
            "step \"a\": dependsOn names \"b\", which is no step of this workflow",
        ),
        (
            vec![
                step("a", "deploy", json!({}), &["b"]),
                step("b", "deploy", json!({}), &["a"]),
                deploy("c", true),
            ],
            "StepCycle",
            "steps wait for each other: a → b; take one of the dependsOn away",
        ),
        (
            vec![timeout],
            "InvalidTimeout",
            "step \"a\": timeout: \"soon\" isn't a duration; write it like 90s, 30m, 1h30m or 2d",
        ),
    ];
    for (steps, reason, message) in cases {
        assert_eq!(refusal(&steps, true), (reason, message.to_owned()));
    }
}

#[test]
fn a_step_that_waits_for_itself_or_for_a_later_one_in_a_list_is_a_cycle() {
    assert_eq!(refusal(&[step("a", "deploy", json!({}), &["a"])], true).0, "StepCycle");
    assert_eq!(refusal(&[step("a", "deploy", json!({}), &["b"]), deploy("b", true)], false).0, "StepCycle");
}

// Unknown properties are refused, as a wrong name would otherwise silently open a gate (`auto` misspelt).
#[test]
fn a_misspelt_property_is_refused() {
    let (reason, message) = refusal(&[step("a", "deploy", json!({ "Auto": false }), &[])], false);
    assert_eq!(reason, "InvalidStepProperties");
    assert!(message.contains("unknown field `Auto`"), "{message}");
}

fn group(name: &str, sub_steps: &[Step]) -> Step {
    let sub_steps = sub_steps.iter().map(|step| serde_json::to_value(step).unwrap()).collect();
    Step { sub_steps, properties: None, ..step(name, "step-group", json!({}), &[]) }
}

fn makes(name: &str, output: &str, value_from: &str) -> Step {
    Step {
        outputs: vec![StepOutput { name: output.into(), value_from: value_from.into() }],
        ..deploy(name, true)
    }
}

fn takes(name: &str, from: &str, key: &str) -> Step {
    Step {
        inputs: vec![StepInput { from: from.into(), parameter_key: key.into() }],
        ..step(name, "suspend", json!({}), &[])
    }
}

fn asks(name: &str, condition: &str) -> Step {
    Step { condition: Some(condition.into()), ..deploy(name, true) }
}

fn retries(name: &str, limit: u32, interval: &str) -> Step {
    let retry = StepRetry { limit, interval: Some(interval.into()), factor: None };
    Step { retry: Some(retry), ..deploy(name, true) }
}

// Said when the Application is applied, not in the middle of a rollout: each names step, field, cause and way out.
#[test]
fn what_a_step_may_not_say_is_told_when_it_is_read() {
    let deep = "status.all(a, status.all(b, status.all(c, a + b == c)))";
    let cases: Vec<(Vec<Step>, &str, &str)> = vec![
        (vec![asks("a", "status.")], "InvalidCondition", "step \"a\": if: "),
        (vec![asks("a", "1 + 1")], "InvalidCondition", "must be true or false, but is int"),
        (vec![asks("a", "1 / 0 == 1")], "InvalidCondition", "step \"a\": if: "),
        (vec![asks("a", "stauts.b.failed")], "InvalidCondition", "there is no variable `stauts`"),
        (
            vec![deploy("b-c", true), asks("a", "status.b-c.failed")],
            "InvalidCondition",
            "a name with a dash is written status[\"a-b\"]",
        ),
        (
            vec![deploy("first", true), asks("a", "status.frist.failed")],
            "InvalidCondition",
            "looks at step \"frist\", which there isn't (did you mean \"first\"?)",
        ),
        (
            vec![asks("a", "status.b.failed"), deploy("b", true)],
            "InvalidCondition",
            "looks at step \"b\", which needn't be over by then; add it to dependsOn",
        ),
        (vec![asks("a", "status.a.failed")], "InvalidCondition", "looks at the step itself"),
        (vec![asks("a", deep)], "InvalidCondition", "loop less deeply"),
        (
            vec![asks("a", "inputs.x == 1")],
            "InvalidCondition",
            "reads inputs.x, which isn't among the step's inputs; add it: inputs: [{from: x}]",
        ),
        (vec![retries("a", 21, "1s")], "InvalidRetry", "limit: 21 is more than 20"),
        (vec![retries("a", 1, "2h")], "InvalidRetry", "interval: 2h isn't between 1s and 1h"),
        (
            vec![Step { retry: Some(StepRetry::default()), ..group("g", &[deploy("a", true)]) }],
            "InvalidRetry",
            "a group isn't tried again as a whole",
        ),
        (
            vec![makes("a", "clusters", "output.clusters"), takes("b", "cluster", "message")],
            "InvalidInput",
            "no step makes an output \"cluster\" (did you mean \"clusters\"?)",
        ),
        (
            vec![takes("b", "x", "message"), makes("a", "x", "output.total")],
            "InvalidInput",
            "step \"b\": inputs: \"x\" is made by step \"a\", which comes after this one; write \"a\" before it",
        ),
        (
            vec![
                makes("a", "x", "output.total"),
                Step { properties: Some(json!({})), type_: "deploy".into(), ..takes("b", "x", "policies") },
            ],
            "InvalidInput",
            "a deploy step takes no value into its properties",
        ),
        (
            vec![makes("a", "x", "output.total"), takes("b", "x", "message[")],
            "InvalidInput",
            "parameterKey: ",
        ),
        (vec![makes("a", "x", "output.")], "InvalidOutput", "outputs: x: valueFrom: "),
        (
            vec![makes("a", "x", "output.total"), makes("b", "x", "output.total")],
            "DuplicateOutput",
            "steps \"a\" and \"b\" both make an output \"x\"",
        ),
        (vec![group("g", &[])], "InvalidStepGroup", "a group without steps does nothing"),
        (
            vec![group("g", &[group("h", &[deploy("a", true)])])],
            "InvalidStepGroup",
            "a group within a group; groups go one level deep",
        ),
        (
            vec![Step { sub_steps: vec![json!({"type": "deploy"})], ..deploy("a", true) }],
            "InvalidStepGroup",
            "a step of type deploy holds none; write type: step-group",
        ),
        (
            vec![Step { sub_steps: vec![json!({"name": 5})], ..group("g", &[]) }],
            "InvalidStepGroup",
            "step \"g\": subSteps: [0]: ",
        ),
        (
            vec![Step { sub_steps: vec![json!({"type": "deploy", "timout": "5s"})], ..group("g", &[]) }],
            "InvalidStepGroup",
            "a step has no field \"timout\"",
        ),
        (
            vec![Step { mode: Some("dag".into()), ..group("g", &[deploy("a", true)]) }],
            "InvalidStepGroup",
            "mode: \"dag\" doesn't exist; write StepByStep or DAG",
        ),
        (
            vec![deploy("a", true), group("g", &[deploy("a", true)])],
            "DuplicateStepName",
            "step \"a\" stands twice",
        ),
        (
            vec![group("g", &[step("a", "deploy", json!({}), &["g"])])],
            "StepCycle",
            "steps wait for each other: g → a",
        ),
        (
            vec![
                group("g", &[step("a", "deploy", json!({}), &["h"])]),
                Step { depends_on: vec!["g".into()], ..group("h", &[deploy("b", true)]) },
            ],
            "StepCycle",
            "steps wait for each other: ",
        ),
        ((0..501).map(|at| deploy(&format!("s{at}"), true)).collect(), "WorkflowTooLong", "501 steps"),
    ];
    for (steps, reason, words) in cases {
        let (said, message) = refusal(&steps, false);
        assert_eq!(said, reason, "{message}");
        assert!(message.contains(words), "{message}\nlacks: {words}");
    }
}

#[test]
fn the_steps_of_a_group_follow_it_and_end_before_it() {
    let inner = [deploy("a", true), step("b", "deploy", json!({}), &["a"]), deploy("c", true)];
    let steps = [deploy("first", true), group("g", &inner), deploy("last", true)];
    let graph = Graph::read(&steps, false).unwrap();
    let names: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["first", "g", "a", "b", "c", "last"]);
    let after: Vec<_> = graph.nodes.iter().map(|node| node.after.clone()).collect();
    assert_eq!(after, [vec![], vec![0], vec![], vec![2], vec![], vec![1]], "a DAG within, a list without");
    assert_eq!(graph.order(), [0, 2, 3, 4, 1, 5]);
    assert!(graph.concurrent(2, 4) && !graph.concurrent(2, 3) && !graph.concurrent(4, 5));
    let list = Step { mode: Some("StepByStep".into()), ..group("g", &inner) };
    let graph = Graph::read(&[list], false).unwrap();
    assert_eq!(
        graph.nodes.iter().map(|node| node.after.clone()).collect::<Vec<_>>(),
        [vec![], vec![], vec![1], vec![2]]
    );
}

// Broken: one approval covers what comes after a gate that nobody has opened yet.
#[test]
fn a_gate_within_a_group_stops_what_comes_after_the_group() {
    let open =
        [step("ask", "suspend", json!({}), &[]), group("g", &[deploy("a", true)]), deploy("last", true)];
    assert_eq!(Graph::read(&open, false).unwrap().behind_gate("ask"), ["a", "last"]);
    let gated = [
        step("ask", "suspend", json!({}), &[]),
        group("g", &[deploy("a", true), deploy("b", false)]),
        deploy("last", true),
    ];
    assert_eq!(Graph::read(&gated, false).unwrap().behind_gate("ask"), ["a"]);
}

// As established workflows have it: who takes a value waits for whoever makes it, without saying so.
#[test]
fn an_input_is_a_dependency() {
    let graph = Graph::read(&[takes("b", "x", "message"), makes("a", "x", "output.total")], true).unwrap();
    assert_eq!(graph.nodes[0].after, [1]);
    assert_eq!(graph.order(), [1, 0]);
}

// Broken: a step takes away what no step reaches any more once everything else is done, and the next waits for that
// step: neither ends.
#[test]
fn what_is_left_goes_with_a_step_that_nobody_waits_for() {
    let conditional = |name: &str, after: &[&str]| Step {
        condition: Some("always".to_owned()),
        ..step(name, "deploy", json!({}), after)
    };
    let read = |steps: &[Step], dag| Graph::read(steps, dag).unwrap().clearing_step();
    let first = step("first", "deploy", json!({}), &[]);
    assert_eq!(read(&[first.clone(), conditional("last", &[])], false), Some(1), "one by one it is the last");
    assert_eq!(
        read(&[first.clone(), conditional("last", &[])], true),
        Some(0),
        "side by side, the one without an if"
    );
    assert_eq!(read(&[first.clone(), conditional("last", &["first"])], true), Some(1));
    let pause = step("pause", "suspend", json!({}), &[]);
    assert_eq!(read(&[first, pause], false), Some(0));
}

// Broken: a step whose turn comes after the gates and hours of waiting fails for what stood there from the beginning.
#[test]
fn what_can_only_fail_is_refused_before_anything_begins() {
    let measure = |type_: &str, properties: serde_json::Value| step("a", type_, properties, &[]);
    let object = |kind: &str, namespace: &str, cluster: &str| {
        json!({"apiVersion": "v1", "kind": kind, "name": "x", "namespace": namespace, "cluster": cluster,
               "condition": "true"})
    };
    let refused = |step: Step| {
        // What is on record is read all the same.
        let graph = Graph::read(&[step], true).expect("it is read");
        graph.refuse_hopeless("demo", "web").err().map(|error| (error.reason(), error.to_string()))
    };
    let asks = |condition: &str| Step { condition: Some(condition.into()), ..deploy("a", true) };
    let outputs = |value: &str| {
        let made = StepOutput { name: "o".into(), value_from: value.into() };
        Step { outputs: vec![made], ..deploy("a", true) }
    };
    let no_time = Step { timeout: Some("0s".into()), ..step("a", "suspend", json!({}), &[]) };
    for (written, reason, said) in [
        (asks("context.nosuch == 'x'"), "InvalidCondition", "context has no field \"nosuch\"; it has: name,"),
        (asks("context.appName2 == 'x'"), "InvalidCondition", "did you mean \"appName\"?"),
        (outputs("context.planHash"), "InvalidOutput", "o: valueFrom: context has no field \"planHash\""),
        (
            outputs("output.nosuch"),
            "InvalidOutput",
            "o: valueFrom: output has no field \"nosuch\"; it has: targets,",
        ),
        (no_time, "InvalidTimeout", "must be more than nothing"),
        (
            measure("request", json!({"url": "http://x/${context.cause}"})),
            "InvalidStepProperties",
            "context has no field \"cause\"",
        ),
        (measure("wait-for", object("Secret", "", "")), "InvalidStepProperties", "on a Secret would tell"),
        (measure("wait-for", object("Secret", "", "m1")), "InvalidStepProperties", "on a Secret would tell"),
        (measure("wait-for", object("ConfigMap", "other", "")), "InvalidStepProperties", "\"other\" isn't"),
        (measure("depends-on-app", json!({"name": "web"})), "InvalidStepProperties", "wait for itself"),
        (
            measure("depends-on-app", json!({"name": "web", "namespace": "demo"})),
            "InvalidStepProperties",
            "wait for itself",
        ),
    ] {
        let (code, message) = refused(written).expect(said);
        assert_eq!(code, reason, "{message}");
        assert!(message.contains(said), "{message}");
    }
    for fine in [
        asks("context.appLabels.?tier.orValue('') == 'gold' && context.stepName == 'a'"),
        asks("context[context.name] == 'x' || always"),
        outputs("context.runNumber"),
        measure("request", json!({"url": "http://x/${context.planHash}"})),
        measure("wait-for", object("ConfigMap", "demo", "")),
        measure("wait-for", object("ConfigMap", "${context.namespace}", "")),
        measure("wait-for", object("ConfigMap", "other", "m1")),
        measure("depends-on-app", json!({"name": "web", "namespace": "other"})),
    ] {
        assert_eq!(refused(fine.clone()), None, "{fine:?}");
    }
}
