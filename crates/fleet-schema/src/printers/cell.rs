//! What several printers write into cells.

use serde_json::{Value, json};

pub(super) use crate::behaviour::tree::{at, int, items, map, some, text};

use super::duration::human_duration;

/// What stands where a value is missing.
pub(super) const NONE: &str = "<none>";
pub(super) const UNSET: &str = "<unset>";
pub(super) const UNKNOWN: &str = "<unknown>";

/// Unix seconds of an RFC 3339 time.
pub(super) fn unix(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

/// How long ago a time was, `<unknown>` if there's none.
pub(super) fn since(time: &str, now: i64) -> String {
    unix(time).map_or_else(|| UNKNOWN.to_owned(), |time| human_duration(now.saturating_sub(time)))
}

/// The age of an object.
pub(super) fn age(object: &Value, now: i64) -> Value {
    json!(since(text(object, &["metadata", "creationTimestamp"]), now))
}

/// The number below `path`, 0 if there's none.
pub(super) fn number(object: &Value, path: &[&str]) -> i64 {
    int(object, path).unwrap_or(0)
}

/// The text, or what stands for a missing one.
pub(super) fn or<'a>(text: &'a str, missing: &'a str) -> &'a str {
    if text.is_empty() { missing } else { text }
}

/// A scalar as text: strings bare.
pub(super) fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// How many entries the map at `key` has.
pub(super) fn size(object: &Value, key: &str) -> usize {
    object.get(key).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

/// Labels as `a=b,c=d`, sorted.
pub(super) fn labels(labels: Option<&Value>) -> String {
    let mut pairs: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", bare(value)))
        .collect();
    pairs.sort();
    or(&pairs.join(","), NONE).to_owned()
}

/// A label selector as `a=b,c in (d,e),f,!g`.
pub(super) fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector.filter(|value| !value.is_null()) else { return NONE.to_owned() };
    let mut parts: Vec<(String, String)> = map(selector, &["matchLabels"])
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), format!("{key}={}", bare(value))))
        .collect();
    for expression in items(selector, &["matchExpressions"]) {
        let key = text(expression, &["key"]);
        let mut values: Vec<String> = items(expression, &["values"]).iter().map(bare).collect();
        values.sort();
        let values = values.join(",");
        let part = match text(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return "<error>".to_owned(),
        };
        parts.push((key.to_owned(), part));
    }
    parts.sort_by(|left, right| left.0.cmp(&right.0));
    let joined = parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(",");
    or(&joined, NONE).to_owned()
}

/// Names and images of a pod spec's containers.
pub(super) fn containers(spec: Option<&Value>) -> [Value; 2] {
    let list = spec.map_or(&[][..], |spec| items(spec, &["containers"]));
    let join =
        |key: &str| json!(list.iter().map(|container| text(container, &[key])).collect::<Vec<_>>().join(","));
    [join("name"), join("image")]
}

/// Whether a condition of the type has the status True.
pub(super) fn condition(object: &Value, kind: &str) -> bool {
    items(object, &["status", "conditions"])
        .iter()
        .any(|condition| text(condition, &["type"]) == kind && text(condition, &["status"]) == "True")
}

/// Up to three of the texts, and how many more there are.
pub(super) fn at_most_three(list: &[String], count: usize) -> String {
    let shown = list.iter().take(3).cloned().collect::<Vec<_>>().join(",");
    if list.len() > 3 { format!("{shown} + {} more...", count.saturating_sub(3)) } else { shown }
}
