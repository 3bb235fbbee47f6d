//! The language, its limits and templates, as tables and laws.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

use fleet_cel::{CelErrorKind, Limits, Program, ProgramCache, Template};
use proptest::prelude::*;
use serde_json::{Value, json};

fn inputs() -> Value {
    json!({
        "name": "web", "replicas": 3, "ratio": 0.5, "big": u64::MAX, "none": null, "on": true,
        "env": {"B": "2", "A": "1"}, "list": [3, 1, 2], "words": ["a", "b"],
        "containers": [{"name": "web", "image": "nginx:1"}, {"name": "log", "image": "fluent:2"}],
    })
}

fn eval(source: &str) -> Result<Value, fleet_cel::CelError> {
    Program::compile(source, &Limits::default())?.evaluate(&[("p", &inputs()), ("other", &json!(1))])
}

/// What an expression means; a changed line changes what existing definitions render.
#[test]
fn expressions() {
    let cases = [
        ("p.replicas + 1", json!(4)),
        ("p.ratio * 2.0", json!(1.0)),
        ("p.big", json!(u64::MAX)),
        ("1 < 1.5 && 2u == 2 && p.replicas == 3.0", json!(true)),
        ("7 / 2", json!(3)),
        ("-7 % 3", json!(-1)),
        ("p.name + '-' + string(p.replicas)", json!("web-3")),
        ("p.replicas > 2 ? 'many' : 'few'", json!("many")),
        ("has(p.name) && !has(p.nope) && has(p.none)", json!(true)),
        ("p.containers.map(c, c.name)", json!(["web", "log"])),
        ("p.containers.filter(c, c.name == 'log')[0].image", json!("fluent:2")),
        ("p.containers.map(c, c.name != 'web', {'n': c.name})", json!([{"n": "log"}])),
        ("p.containers.exists(c, c.name == 'web')", json!(true)),
        ("p.containers.all(c, c.image.contains(':'))", json!(true)),
        ("p.list.exists_one(x, x > 2)", json!(true)),
        (
            "p.env.map(k, {'name': k, 'value': p.env[k]})",
            json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]),
        ),
        ("[[1, 2], [3]].map(a, a.map(b, b * 2))", json!([[2, 4], [6]])),
        ("'A' in p.env && 3 in p.list && !('z' in p.words)", json!(true)),
        ("{'a': 1, ?'b': p.?nope, ?'c': p.?name}", json!({"a": 1, "c": "web"})),
        ("[?p.?nope, ?p.?name]", json!(["web"])),
        ("p.?nope.?deep.orValue('x')", json!("x")),
        ("p.?env.?A.orValue('x')", json!("1")),
        ("p.?env[?'A'].orValue('x') + p.env[?'Z'].orValue('-')", json!("1-")),
        ("p.?nope.hasValue() || p.?name.hasValue()", json!(true)),
        ("optional.none().or(optional.of(2)).value()", json!(2)),
        ("optional.ofNonZeroValue('').orValue('empty')", json!("empty")),
        ("p.?nope", Value::Null),
        ("{1: 'a', true: 'b'}", json!({"1": "a", "true": "b"})),
        ("b'hi'", json!("aGk=")),
        ("type(1) == int && type(p.list) == list", json!(true)),
        // An error on one side doesn't matter where the other decides.
        ("p.nope || true", json!(true)),
        ("false && p.nope", json!(false)),
        ("[1, 2].exists(x, x == 2 || p.nope)", json!(true)),
        ("[{'a': 1}, {}].exists(x, x.a == 1)", json!(true)),
        ("[{}, {'a': 1}].exists(x, x.a == 1)", json!(true)),
        // Names that CEL can't write.
        ("{'namespace': 1}.namespace + {'a-b': 2}.`a-b` + {'a/b': 3}['a/b']", json!(6)),
        ("{'a-b.c': 1}.a__dash__b__dot__c + {'if': 2}.__if__ + {'a__b': 4}.a__underscores__b", json!(7)),
        ("has({'x-y': 1}.x__dash__y)", json!(true)),
        // Strings.
        ("'Héllo'.size()", json!(5)),
        ("'Héllo'.charAt(1) + 'Héllo'.substring(2, 4)", json!("éll")),
        ("'a,b,c'.split(',')", json!(["a", "b", "c"])),
        ("'a,b,c'.split(',', 2)", json!(["a", "b,c"])),
        ("'abc'.split('')", json!(["a", "b", "c"])),
        ("['a', 'b'].join('-')", json!("a-b")),
        ("'banana'.replace('a', 'o', 2)", json!("bonona")),
        ("'banana'.indexOf('an', 2) + 'banana'.lastIndexOf('an')", json!(6)),
        ("'MiX'.lowerAscii() + 'MiX'.upperAscii() + ' x '.trim()", json!("mixMIXx")),
        ("'ab'.reverse()", json!("ba")),
        ("'%s has %d at %.1f%% %x'.format(['x', 3, 2.5, 255])", json!("x has 3 at 2.5% ff")),
        ("'nginx:1.2'.matches('^[a-z]+:[0-9.]+$')", json!(true)),
        ("'a1b22'.findAll('[0-9]+')", json!(["1", "22"])),
        ("'a1b22'.find('[0-9]+')", json!("1")),
        // Lists and maps.
        ("p.list.sum() + p.list.min() + p.list.max()", json!(10)),
        ("[1, 2].isSorted() && !p.list.isSorted()", json!(true)),
        ("p.list.sort()", json!([1, 2, 3])),
        ("p.list.indexOf(2)", json!(2)),
        ("[1, 1.0, 2].distinct()", json!([1, 2])),
        ("[[1], [2, [3]]].flatten()", json!([1, 2, [3]])),
        ("p.list.slice(1, 3)", json!([1, 2])),
        ("lists.range(3)", json!([0, 1, 2])),
        ("p.env.keys() + p.env.values()", json!(["A", "B", "1", "2"])),
        ("p.env.merge({'B': '3'})", json!({"A": "1", "B": "3"})),
        ("p.containers.toMap('name', 'image')", json!({"web": "nginx:1", "log": "fluent:2"})),
        ("sets.equivalent([1, 2, 2], [2, 1]) && sets.contains([1, 2], [1])", json!(true)),
        ("math.greatest(1, 5, 3) + math.least([4, 2])", json!(7)),
        ("math.ceil(1.2) == 2.0", json!(true)),
        // Quantities.
        ("quantity('1Gi').isGreaterThan(quantity('1000M'))", json!(true)),
        ("quantity('500m').add(quantity('1.5')).asInteger()", json!(2)),
        ("isQuantity('1Xi') || isQuantity('1e3')", json!(true)),
        ("string(quantity('100m'))", json!("100m")),
        ("base64.encode(b'ab') + string(base64.decode('YWI='))", json!("YWI=ab")),
    ];
    for (source, expected) in cases {
        assert_eq!(eval(source).map_err(|e| e.to_string()), Ok(expected), "{source}");
    }
}

/// Every refusal says what and where; people read these in a status.
#[test]
fn errors_name_the_cause_and_the_place() {
    let cases = [
        ("p.replcas", "`p` has no field \"replcas\"", CelErrorKind::Missing),
        ("p.env.C", "`p.env` has no field \"C\"; it has A, B", CelErrorKind::Missing),
        ("p.list[7]", "`p.list` has 3 items, so no item 7", CelErrorKind::Missing),
        ("p.env['C']", "has no key \"C\"", CelErrorKind::Missing),
        ("p.none.x", "`p.none` is null_type, so it has no field \"x\"", CelErrorKind::Missing),
        ("p.name.x", "`p.name` is string, so it has no field \"x\"", CelErrorKind::Evaluation),
        ("q.x", "there is no variable `q`; there are: p, other", CelErrorKind::Evaluation),
        ("p.replicas + p.name", "`+` can't take int and string; convert", CelErrorKind::Evaluation),
        ("p.ratio + 1", "`+` can't take double and int; convert", CelErrorKind::Evaluation),
        ("1 / 0", "divided by zero", CelErrorKind::Evaluation),
        ("9223372036854775807 + 1", "doesn't fit 64 bits", CelErrorKind::Evaluation),
        ("p.list.map(x, x.y)", "`x` is int", CelErrorKind::Evaluation),
        ("p.name ? 1 : 2", "must be true or false, but is string", CelErrorKind::Evaluation),
        (
            "p.name.lowerAsci()",
            "there is no function `lowerAsci`; did you mean `lowerAscii`?",
            CelErrorKind::Syntax,
        ),
        ("p.name.size(1)", "`size` doesn't take 2 arguments", CelErrorKind::Syntax),
        ("p.name.contains(1)", "needs a string here, but got int", CelErrorKind::Evaluation),
        ("'a'.matches('(')", "is no pattern", CelErrorKind::Evaluation),
        ("p.", "", CelErrorKind::Syntax),
        ("", "the expression is empty", CelErrorKind::Syntax),
        ("Foo{a: 1}", "there is no message type `Foo`", CelErrorKind::Syntax),
        ("{'a': 1, 'a': 2}", "this key is there twice", CelErrorKind::Evaluation),
        ("[1, 'a', 2, 'b', 3].sort()", "int and string have no order", CelErrorKind::Evaluation),
        ("0.0 / 0.0", "no number in JSON", CelErrorKind::Evaluation),
    ];
    for (source, expected, kind) in cases {
        let error = eval(source).expect_err(source);
        assert!(error.to_string().contains(expected), "{source}: {error}");
        assert_eq!(error.kind, kind, "{source}: {error}");
        assert!(!error.to_string().contains('\n'), "{source}: {error}");
    }
    let error = eval("1 + p.env.C").expect_err("no C");
    assert_eq!(error.excerpt(), ".C", "the place is the selection: {error:?}");
    assert_eq!(error.span, 9..11);
}

/// A hostile expression ends in a refusal, soon, instead of a hang, an overflow or no memory.
#[test]
fn limits_hold() {
    let long = "x".repeat(5000);
    let parens = format!("{}1{}", "(".repeat(1500), ")".repeat(1500));
    let lists = format!("{}1{}", "[".repeat(1500), "]".repeat(1500));
    let chain = vec!["1"; 2000].join("+");
    let dots = format!("p{}", ".a".repeat(2000));
    let unary = format!("{}1", "!-".repeat(2000));
    let ternary = format!("{}1", "true?1:".repeat(500));
    let growth = format!("'aaaaaaaaaa'{}", ".replace('a', 'aaaaaaaaaa')".repeat(100));
    let loops = "lists.range(1000).map(a, lists.range(1000).map(b, lists.range(1000).map(c, c)))".to_owned();
    let sizes = "lists.range(100000).map(a, lists.range(100000))".to_owned();
    let calls = format!("{}1{}", "size(".repeat(800), ")".repeat(800));
    for source in [long, lists, chain, dots, unary, ternary, growth, loops, sizes, calls] {
        let error = eval(&source).expect_err("limit");
        let shown: String = source.chars().take(40).collect();
        assert!(matches!(error.kind, CelErrorKind::Limit | CelErrorKind::Syntax), "{shown}: {error}");
    }
    // Redundant parentheses cost the parser no depth; whichever way it goes, it must end.
    let _ = eval(&parens);
    let small = Limits { max_output: 100, ..Limits::default() };
    let program = Program::compile("lists.range(1000)", &small).expect("compiles");
    assert_eq!(program.evaluate(&[]).expect_err("too large").kind, CelErrorKind::Limit);
}

/// Text is paid for before it is made: two replacements would make 700 MB here.
#[test]
fn text_is_paid_for_in_advance() {
    let (a, x, y) = ("a".repeat(900), "x".repeat(900), "y".repeat(900));
    let error = eval(&format!("'{a}'.replace('a', '{x}').replace('x', '{y}')")).expect_err("too large");
    assert!(error.message.starts_with("the expression costs more than 1000000 units"), "{error}");
}

/// The deepest expressions that are allowed fit a stack far smaller than any thread of ours has.
#[test]
fn allowed_depth_needs_little_stack() {
    let nested =
        |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let sources = [
        nested("[", "]", 30),
        nested("size([", "])", 15),
        nested("[1].map(x, ", ")", 14),
        nested("[1].all(x, [2].exists(y, y == 2 && ", " == 1))", 7),
        vec!["1"; 120].join(" + "),
        vec!["true"; 120].join(" && "),
        vec!["p.name == 'x'"; 60].join(" || "),
        format!("{}1", "true ? 1 : ".repeat(20)),
        format!("p{}", ".?a".repeat(100)),
    ];
    let refused = [vec!["1"; 2048].join("+"), format!("p{}", ".a".repeat(2047)), "[".repeat(4096)];
    let run = move || {
        for source in refused {
            assert!(eval(&source).is_err());
        }
        let refused: Vec<_> = sources.iter().filter_map(|s| Some((s.clone(), eval(s).err()?))).collect();
        refused
            .into_iter()
            .filter(|(_, error)| error.kind == CelErrorKind::Limit)
            .map(|(s, _)| s)
            .collect::<Vec<_>>()
    };
    let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(run).expect("a thread");
    assert_eq!(thread.join().expect("no overflow"), Vec::<String>::new(), "these should be allowed");
}

/// Many expensive expressions in one template end as one would.
#[test]
fn a_template_has_one_budget() {
    let tree: Value = (0..100).map(|_| json!("${lists.range(90000).filter(x, x < 0)}")).collect();
    let template = Template::compile(&tree, &Limits::default()).expect("compiles");
    assert_eq!(template.render(&[]).unwrap_err().kind, CelErrorKind::Limit);
}

/// A loop that runs often but does little stays within the cost of its steps.
#[test]
fn useful_loops_fit() {
    let many: Value = (0..2000).map(|n| json!({"name": format!("c{n}")})).collect();
    let program =
        Program::compile("l.filter(c, c.name.endsWith('7')).map(c, c.name)", &Limits::default()).unwrap();
    assert_eq!(program.evaluate(&[("l", &many)]).unwrap().as_array().unwrap().len(), 200);
}

/// The rules of `${…}` that definitions rely on.
#[test]
fn templates() {
    let cases = [
        (json!({"a": "${p.replicas}"}), json!({"a": 3})),
        (json!({"a": "n=${p.replicas}, ${p.name}"}), json!({"a": "n=3, web"})),
        (json!(["${?p.nope}", "${?p.none}", "${p.none}", "${p.name}"]), json!([null, "web"])),
        (json!({"a": "${?p.nope.deep}", "b": 1}), json!({"b": 1})),
        (json!({"a": "x${?p.nope}y"}), json!({"a": "xy"})),
        (json!({"a": "$${p.name} costs $5 $"}), json!({"a": "${p.name} costs $5 $"})),
        (json!({"${p.name}-x": 1, "${?p.nope}": 2}), json!({"web-x": 1})),
        (json!("${ {'a': '}'} }"), json!({"a": "}"})),
        (json!("${ r'\\}' }"), json!("\\}")),
        (json!("${'''it's }'''}"), json!("it's }")),
        (json!("${?p.nope}"), Value::Null),
        (json!([1, true, null, 1.5, ""]), json!([1, true, null, 1.5, ""])),
        (json!({"a": "${p.env}"}), json!({"a": {"A": "1", "B": "2"}})),
    ];
    for (tree, expected) in cases {
        let template = Template::compile(&tree, &Limits::default()).expect("compiles");
        assert_eq!(template.render(&[("p", &inputs())]).map_err(|e| e.to_string()), Ok(expected), "{tree}");
    }
}

/// A definition's author finds the mistake from the message.
#[test]
fn template_errors_have_a_path() {
    let compile = |tree: Value| Template::compile(&tree, &Limits::default());
    let error = compile(json!({"spec": {"a.b": ["x", "${1 +}"]}})).unwrap_err();
    assert_eq!(error.path, "spec[\"a.b\"][1]");
    let error = compile(json!({"a": "${p.name"})).unwrap_err();
    assert_eq!(error.to_string(), "a: `${` has no closing `}`");
    let render = |tree: Value| compile(tree).unwrap().render(&[("p", &inputs())]).unwrap_err();
    let error = render(json!({"spec": {"n": "x${p.nope}"}}));
    assert!(error.to_string().starts_with("spec.n: `p` has no field \"nope\""), "{error}");
    assert_eq!(error.span, 4..9);
    let error = render(json!({"n": "x${p.env}"}));
    assert!(error.to_string().contains("a map can't be put into text"), "{error}");
    let error = render(json!({"${p.replicas}": 1}));
    assert!(error.to_string().contains("the key must be text"), "{error}");
    let error = render(json!({"${p.name}": 1, "web": 2}));
    assert!(error.to_string().contains("two entries have the key"), "{error}");
    let mut deep = json!("x");
    for _ in 0..110 {
        deep = json!([deep]);
    }
    assert_eq!(compile(deep).unwrap_err().kind, CelErrorKind::Limit);
}

/// The cache stays as small as it was told.
#[test]
fn the_cache_is_bounded() {
    let cache = ProgramCache::new(3, Limits::default());
    for n in 0..10 {
        assert_eq!(cache.get(&format!("{n}")).unwrap().evaluate(&[]).unwrap(), json!(n));
    }
    assert_eq!(cache.len(), 3);
    assert!(cache.get("1 +").is_err());
    assert_eq!(cache.len(), 3);
}

/// Words that make deep, odd and nearly right expressions more likely than bare random text does.
fn token() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "p",
        ".",
        "?",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "'",
        "\"",
        "'''",
        "\\",
        "r'",
        "b\"",
        "1",
        "0.5",
        "2u",
        "-",
        "!",
        "&&",
        "||",
        "==",
        "in",
        "has(",
        ".map(x,",
        ".all(x,",
        ".filter(",
        "x",
        ",",
        ":",
        "null",
        "true",
        " ",
        "\n",
        "//",
        "$",
        "${",
        "é",
        "name",
        ".?",
        "[?",
        "size(",
        "'a'",
        "`a`",
        "optional.of(",
        ".orValue(",
        "lists.range(9)",
        ".format([",
        ".matches('",
        ".replace('a',",
        "string(",
        "as",
        "if",
        ";",
        "@",
        "\u{0}",
        "0x",
        "1e",
        "\\u12",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// No text panics: compiled, evaluated, rendered, and every error's place lies within the text.
    #[test]
    fn no_text_panics(arbitrary in ".{0,60}", tokens in prop::collection::vec(token(), 0..40)) {
        for source in [arbitrary, tokens.concat()] {
            match Program::compile(&source, &Limits::default()) {
                Ok(program) => {
                    let _ = program.evaluate(&[("p", &inputs())]);
                }
                Err(error) => {
                    prop_assert!(error.source.get(error.span.clone()).is_some(), "{error:?}");
                }
            }
            if let Ok(template) = Template::compile(&json!({ "a": source }), &Limits::default()) {
                let _ = template.render(&[("p", &inputs())]);
            }
        }
    }

    /// Plain data is no template: it comes out as it went in.
    #[test]
    fn text_without_holes_is_kept(text in "[^$]{0,40}") {
        let tree = json!({ "k": [text] });
        let template = Template::compile(&tree, &Limits::default()).unwrap();
        prop_assert_eq!(template.render(&[]).unwrap(), tree);
    }

    /// Any text can be written in a template by escaping.
    #[test]
    fn escaping_is_complete(text in "[${}a?]{0,20}") {
        let tree = json!(text.replace("${", "$${"));
        let rendered = Template::compile(&tree, &Limits::default()).unwrap().render(&[]).unwrap();
        prop_assert_eq!(rendered, json!(text));
    }

    /// Sums equal Rust's, and overflow is an error rather than a wrong number.
    #[test]
    fn arithmetic_is_checked(a: i64, b: i64) {
        let program = Program::compile("a + b", &Limits::default()).unwrap();
        let result = program.evaluate(&[("a", &json!(a)), ("b", &json!(b))]);
        prop_assert_eq!(result.ok(), a.checked_add(b).map(|sum| json!(sum)));
    }
}
