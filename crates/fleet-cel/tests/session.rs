//! Sittings: variables made once, one budget, and questions to an authorizer.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::{Cell, RefCell};

use fleet_cel::{Authorizer, CHECK_COST, CelErrorKind, Decision, Limits, Program, Question, Session};
use serde_json::{Value, json};

fn program(text: &str) -> Program {
    Program::compile(text, &Limits::default()).unwrap()
}

/// Allows `approve` on Applications to the one who asks and to nobody else; remembers what it was asked.
#[derive(Default)]
struct Book {
    asked: RefCell<Vec<Question>>,
    times: Cell<usize>,
}

impl Authorizer for Book {
    fn decide(&self, question: &Question) -> Decision {
        self.asked.borrow_mut().push(question.clone());
        self.times.set(self.times.get() + 1);
        if question.verb == "broken" {
            return Decision { error: Some("no answer".to_owned()), ..Decision::default() };
        }
        let allowed = question.verb == "approve" && question.service_account.is_none();
        Decision { allowed, reason: format!("about {}", question.verb), error: None }
    }
}

fn request() -> Question {
    let text = |text: &str| text.to_owned();
    Question {
        group: text("core.oam.dev"),
        resource: text("applications"),
        name: text("web"),
        ..Question::default()
    }
}

fn asked(text: &str) -> (Result<Value, fleet_cel::CelError>, Vec<Question>) {
    let (book, program) = (Book::default(), program(text));
    let value = Session::new(&[], 10_000_000).with_authorizer(&book, request()).evaluate(&program);
    (value, book.asked.into_inner())
}

/// A policy that asks for a right must ask for exactly that one.
#[test]
fn questions_arrive_as_they_were_put() {
    let text = "authorizer.group('apps').resource('deployments').subresource('scale').namespace('prod').name('web').check('update').allowed()";
    let (value, questions) = asked(text);
    assert_eq!(value.unwrap(), json!(false));
    let put = questions.first().unwrap();
    assert_eq!(
        (put.group.as_str(), put.resource.as_str(), put.subresource.as_str(), put.namespace.as_str()),
        ("apps", "deployments", "scale", "prod")
    );
    assert_eq!((put.name.as_str(), put.verb.as_str(), put.path.as_str()), ("web", "update", ""));
    let cases = [
        ("authorizer.requestResource.check('approve').allowed()", json!(true)),
        ("authorizer.requestResource.check('approve').reason()", json!("about approve")),
        ("authorizer.requestResource.check('broken').errored()", json!(true)),
        ("authorizer.requestResource.check('broken').error()", json!("no answer")),
        ("authorizer.requestResource.check('broken').allowed()", json!(false)),
        ("authorizer.path('/healthz').check('get').allowed()", json!(false)),
        (
            "authorizer.serviceAccount('a', 'b').group('').resource('pods').check('approve').allowed()",
            json!(false),
        ),
        ("['get', 'approve'].exists(v, authorizer.requestResource.check(v).allowed())", json!(true)),
        ("type(1) == int", json!(true)),
    ];
    for (text, expected) in cases {
        assert_eq!(asked(text).0.unwrap(), expected, "{text}");
    }
    let (_, questions) = asked("authorizer.serviceAccount('a', 'b').path('/x').check('get').allowed()");
    assert_eq!(questions.first().unwrap().service_account, Some(("a".to_owned(), "b".to_owned())));
}

/// Nonsense is an error of the expression, not an answer.
#[test]
fn nonsense_is_no_answer() {
    for text in [
        "authorizer",
        "authorizer.allowed()",
        "authorizer.group('apps').check('get').allowed()",
        "authorizer.group(1).resource('x').check('get').allowed()",
        "authorizer.other",
        "authorizer.serviceAccount('', 'x').path('/').check('get').allowed()",
        "'text'.allowed()",
        "authorizer.group('apps').resource('pods').check('get')",
    ] {
        assert!(asked(text).0.is_err(), "{text}");
    }
    assert!(program("authorizer.path('/').check('get').allowed()").evaluate_bool(&[]).is_err());
}

/// Questions cost: nobody asks a thousand in one request.
#[test]
fn questions_cost() {
    let (value, questions) =
        asked("[1, 2, 3, 4].exists(v, authorizer.requestResource.check('get').allowed())");
    assert_eq!(value.unwrap_err().kind, CelErrorKind::Limit);
    assert_eq!(questions.len(), 1_000_000 / CHECK_COST);
}

/// A variable is made once, when it is first read, and never where nobody reads it.
#[test]
fn variables_are_made_once_and_when_read() {
    let object = json!({"a": {"b": 2}});
    let variables = [("object", &object)];
    let definitions = [
        ("ask".to_owned(), program("authorizer.requestResource.check('approve').allowed()")),
        ("broken".to_owned(), program("object.nothing.there")),
        ("twice".to_owned(), program("variables.ask && object.a.b == 2")),
    ];
    let wrong = ["variables.unknown", "variables", "variables.twice.more"].map(program);
    let looped = program("[{'ask': 1}].all(variables, variables.ask == 1)");
    let (read, broken) = (
        program("variables.twice && variables.ask && has(variables.broken)"),
        program("variables.broken == 1"),
    );
    let book = Book::default();
    let mut session = Session::new(&variables, 10_000_000)
        .with_definitions("variables", &definitions)
        .with_authorizer(&book, request());
    assert!(session.evaluate_bool(&read).unwrap());
    assert!(session.evaluate_bool(&read).unwrap());
    assert_eq!(book.times.get(), 1);
    let error = session.evaluate_bool(&broken).unwrap_err();
    assert!(
        error.to_string().contains("variable \"broken\"") && error.kind == CelErrorKind::Missing,
        "{error}"
    );
    for text in &wrong {
        assert!(session.evaluate(text).is_err(), "{text:?}");
    }
    // A loop's variable of the same name is the loop's.
    assert!(session.evaluate_bool(&looped).unwrap());
}

/// The budget is the sitting's: many cheap expressions end, too.
#[test]
fn one_budget_for_all() {
    let list = json!(vec![0; 1000]);
    let variables = [("list", &list)];
    let walk = program("list.all(x, x == 0)");
    let mut session = Session::new(&variables, 20_000);
    let ends = (0..100).find_map(|_| session.evaluate_bool(&walk).err()).unwrap();
    assert_eq!((ends.kind, session.left()), (CelErrorKind::Limit, 0));
}

/// Variables that read each other can't exhaust the stack.
#[test]
fn long_chains_of_variables_are_refused() {
    let deep = format!("{}1{}", "(".repeat(25), ")".repeat(25));
    let mut definitions = vec![("v0".to_owned(), program(&deep))];
    for at in 1..500 {
        let sum = vec!["1"; 60].join(" + ");
        definitions.push((format!("v{at}"), program(&format!("variables.v{} + {sum}", at - 1))));
    }
    let last = program("variables.v499 == 0");
    std::thread::scope(|scope| {
        let run = || {
            Session::new(&[], 100_000_000).with_definitions("variables", &definitions).evaluate_bool(&last)
        };
        let small = std::thread::Builder::new().stack_size(1 << 20).spawn_scoped(scope, run).unwrap();
        assert_eq!(small.join().unwrap().unwrap_err().kind, CelErrorKind::Limit);
    });
}
