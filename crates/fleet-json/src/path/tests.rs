use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing;

fn item(name: &str) -> Segment {
    Segment::item("name", name)
}

/// Error messages and stored paths are read by people and scripts: the form is pinned.
#[test]
fn written_forms() {
    let image = FieldPath::of_fields(["spec", "containers"]).child(item("web")).child("image");
    assert_eq!(image.to_string(), r#".spec.containers[name="web"].image"#);
    assert_eq!(image.to_dotted(), r#"spec.containers[name="web"].image"#);
    let label = FieldPath::of_fields(["metadata", "labels", "example.com/role"]);
    assert_eq!(label.to_string(), r#".metadata.labels["example.com/role"]"#);
    assert_eq!(label.to_smd(), ".metadata.labels.example.com/role");
    let port = FieldPath::new(vec![
        "ports".into(),
        Segment::Item(vec![("port".into(), json!(80)), ("protocol".into(), json!("TCP"))]),
    ]);
    assert_eq!(port.to_string(), r#".ports[port=80,protocol="TCP"]"#);
    assert_eq!(FieldPath::new(vec![Segment::Element(json!("x"))]).to_dotted(), r#"[="x"]"#);
    assert_eq!((FieldPath::root().to_string(), FieldPath::root().to_dotted()), (".".into(), String::new()));
}

/// People write paths by hand, without quotes.
#[test]
fn lenient_forms_are_read() {
    let path = |text: &str| FieldPath::parse(text).unwrap();
    assert_eq!(path("spec.containers[name=web].image"), path(r#".spec.containers[name="web"].image"#));
    assert_eq!(path("a[example.com/role]"), FieldPath::of_fields(["a", "example.com/role"]));
    assert_eq!(path("a[0]").segments()[1], Segment::Index(0));
    assert_eq!(path("[\"0\"]"), FieldPath::of_fields(["0"]));
    assert_eq!(path(""), FieldPath::root());
}

/// A bad path is refused with the column, never guessed at.
#[test]
fn bad_paths_are_refused() {
    for (text, column) in [
        ("a..b", 3),
        ("a.", 3),
        ("a[", 3),
        ("a[1", 4),
        ("a[name=", 8),
        ("a[=]", 4),
        ("a]b", 4),
        ("a[99999999999999999999999]", 27),
        ("é[1]x", 5),
    ] {
        let error = FieldPath::parse(text).unwrap_err();
        assert_eq!(error.column, column, "{error}");
    }
    assert!(FieldPath::parse(&"[".repeat(100_000)).is_err());
    assert!(FieldPath::parse(&format!("a[={}", "[".repeat(10_000))).is_err());
}

/// Setting must create what is absent and refuse what is in the way.
#[test]
fn set_creates_parents() {
    let mut value = json!({"spec": null});
    let web = FieldPath::parse("spec.containers[name=web]").unwrap();
    web.child("image").set(&mut value, json!("nginx")).unwrap();
    FieldPath::parse("finalizers[=x]").unwrap().set(&mut value, json!("x")).unwrap();
    FieldPath::parse("list[0]").unwrap().set(&mut value, json!(1)).unwrap();
    assert_eq!(
        value,
        json!({
            "spec": {"containers": [{"name": "web", "image": "nginx"}]}, "finalizers": ["x"], "list": [1],
        })
    );
    let error = web.child("image").child("tag").set(&mut value, json!(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#".spec.containers[name="web"].image is a string, where a map was expected"#
    );
    assert!(FieldPath::parse("list[2]").unwrap().set(&mut value, json!(1)).is_err());
    assert_eq!(web.resolve(&value).unwrap().to_pointer().unwrap(), "/spec/containers/0");
    assert_eq!(web.remove(&mut value).unwrap()["image"], "nginx");
    assert_eq!(web.get(&value), None);
}

proptest! {
    #![proptest_config(testing::config())]

    /// A path that isn't read back as itself can't be stored.
    #[test]
    fn text_round_trip(path in testing::path()) {
        prop_assert_eq!(&FieldPath::parse(&path.to_string()).unwrap(), &path);
        prop_assert_eq!(FieldPath::parse(&path.to_dotted()).unwrap(), path);
    }

    /// No text makes the parser panic.
    #[test]
    fn any_text_is_read_or_refused(text in "[a-c.\\[\\]=\",0-9é\\\\]{0,20}") {
        let _ = FieldPath::parse(&text);
    }

    /// JSON patches and field paths must name the same place.
    #[test]
    fn pointer_round_trip(value in testing::json()) {
        let mut places = vec![(FieldPath::root(), &value)];
        while let Some((path, at)) = places.pop() {
            let pointer = path.to_pointer().unwrap();
            prop_assert_eq!(value.pointer(&pointer), Some(at));
            prop_assert_eq!(FieldPath::from_pointer_in(&pointer, &value).unwrap(), path.clone());
            prop_assert_eq!(path.get(&value), Some(at));
            match at {
                Value::Array(items) => places.extend(items.iter().enumerate().map(|(i, v)| (path.child(i), v))),
                Value::Object(map) => places.extend(map.iter().map(|(k, v)| (path.child(k.as_str()), v))),
                _ => {}
            }
        }
    }

    /// Sorted sets of paths need an order that agrees with equality.
    #[test]
    fn order_agrees_with_equality(a in testing::json(), b in testing::json()) {
        prop_assert_eq!(compare_values(&a, &b).is_eq(), a == b);
        prop_assert_eq!(compare_values(&a, &b), compare_values(&b, &a).reverse());
    }

    /// What was set must be found.
    #[test]
    fn set_then_get(path in testing::path(), value in testing::json()) {
        let mut root = Value::Null;
        if path.set(&mut root, value.clone()).is_ok() && !path.segments().iter().any(|s| matches!(s, Segment::Item(_) | Segment::Element(_))) {
            prop_assert_eq!(path.get(&root), Some(&value));
        }
    }
}
