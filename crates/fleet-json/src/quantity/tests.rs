use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing;

fn q(text: &str) -> Quantity {
    Quantity::parse(text).unwrap()
}

/// A quantity that comes out differently than on a real API server shows as drift.
#[test]
fn canonical_forms() {
    for (text, expected) in [
        ("0", "0"),
        ("0.0", "0"),
        ("-0", "0"),
        ("0Ki", "0"),
        ("100m", "100m"),
        ("0.1", "100m"),
        ("1000m", "1"),
        ("1.5", "1500m"),
        ("+1", "1"),
        ("1k", "1k"),
        ("1000", "1k"),
        ("1500", "1500"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("1000e0", "1e3"),
        ("1.5e3", "1500"),
        ("12e-3", "12e-3"),
        ("1Ki", "1Ki"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("512Ki", "512Ki"),
        ("0.5Ki", "512"),
        ("1025", "1025"),
        ("100n", "100n"),
        ("0.1n", "1n"),
        ("0.0000000001", "1n"),
        (".5", "500m"),
        ("5.", "5"),
        ("8Ei", "9223372036854775807"),
        ("1000E", "9223372036854775807"),
        ("7E", "7E"),
        ("-1.5", "-1500m"),
        ("-0.1n", "-1n"),
        ("1e-12", "1e-9"),
        ("1e99", "9223372036854775807e0"),
        ("0e99", "0"),
        ("0.1Ki", "102400m"),
        ("1100Ki", "1100Ki"),
        ("2047Mi", "2047Mi"),
        ("1.0001Ki", "1024102400u"),
    ] {
        let expected = expected.strip_suffix("e0").unwrap_or(expected);
        assert_eq!(q(text).to_string(), expected, "{text}");
    }
}

/// What is no quantity must be refused, not read as something near.
#[test]
fn bad_quantities_are_refused() {
    for text in [
        "",
        "x",
        "1x",
        "1 Gi",
        "1gi",
        "1KI",
        ".",
        "-",
        "1.2.3",
        "--1",
        "1e",
        "1e+",
        "1ee3",
        "12ei",
        "1e9999999999",
        "é",
    ] {
        assert!(Quantity::parse(text).is_err(), "{text:?} was read");
    }
    assert!(Quantity::from_value(&json!(true)).is_err());
    assert_eq!(Quantity::from_value(&json!(2)).unwrap(), q("2"));
    assert_eq!(Quantity::from_value(&json!(0.5)).unwrap(), q("500m"));
}

/// Sums and comparisons decide quotas.
#[test]
fn arithmetic() {
    assert!(q("1Gi") > q("1G"));
    assert_eq!(q("1024Mi"), q("1Gi"));
    assert_eq!(q("100m").plus(q("0.9")).to_string(), "1");
    assert_eq!(q("1Gi").plus(q("512Mi")).to_string(), "1536Mi");
    assert_eq!(q("0").plus(q("1Mi")).to_string(), "1Mi");
    assert_eq!(q("1").minus(q("1500m")).to_string(), "-500m");
    assert_eq!(q("8Ei").plus(q("8Ei")), q("8Ei"));
    assert_eq!((q("1500m").units(), q("-1500m").units(), q("1500m").millis()), (2, -2, 1500));
}

proptest! {
    #![proptest_config(testing::config())]

    /// The canonical form has the same amount, and is its own canonical form.
    #[test]
    fn canonical_form_keeps_the_amount(text in "[+-]?[0-9]{1,22}(\\.[0-9]{0,12})?(|n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e-?[0-9]{1,2})") {
        let quantity = q(&text);
        let written = quantity.to_string();
        prop_assert_eq!(q(&written), quantity);
        prop_assert_eq!(q(&written).to_string(), written);
    }

    /// Ordering must be that of the numbers, whatever the suffix.
    #[test]
    fn order_is_that_of_the_numbers(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
        let milli = |n: i64| q(&format!("{n}m"));
        prop_assert_eq!(milli(a).cmp(&milli(b)), a.cmp(&b));
        prop_assert_eq!(q(&format!("{a}Ki")).cmp(&q(&format!("{}", b * 1024))), a.cmp(&b));
        prop_assert_eq!(milli(a).plus(milli(b)), milli(a + b));
        prop_assert_eq!(milli(a), Quantity::from_millis(a));
    }

    /// No text makes the parser panic.
    #[test]
    fn any_text_is_read_or_refused(text in "[+0-9.eEKimn-]{0,40}") {
        let _ = Quantity::parse(&text);
    }
}
