//! Reading API objects as JSON: what is missing reads as empty, nothing panics.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

/// The text at a JSON pointer; empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a JSON pointer; 0 if there is none.
pub(crate) fn int(value: &Value, pointer: &str) -> i64 {
    int_or(value, pointer, 0)
}

/// The number at a JSON pointer, or a default. Counts of the API have 32 bits; holding what isn't to them keeps sums and
/// products from overflowing.
pub(crate) fn int_or(value: &Value, pointer: &str, default: i64) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).map_or(default, count)
}

/// A number held to what the API's counts can be.
pub(crate) fn count(number: i64) -> i64 {
    number.clamp(i32::MIN.into(), i32::MAX.into())
}

/// Whether the value at a JSON pointer is `true`.
pub(crate) fn flag(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// The list at a JSON pointer; empty if there is none.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(crate) fn name(value: &Value) -> &str {
    text(value, "/metadata/name")
}

pub(crate) fn namespace(value: &Value) -> &str {
    text(value, "/metadata/namespace")
}

pub(crate) fn uid(value: &Value) -> &str {
    text(value, "/metadata/uid")
}

pub(crate) fn label<'a>(value: &'a Value, key: &str) -> &'a str {
    value.pointer("/metadata/labels").and_then(|map| map.get(key)).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn annotation<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.pointer("/metadata/annotations").and_then(|map| map.get(key)).and_then(Value::as_str)
}

pub(crate) fn deleting(value: &Value) -> bool {
    value.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

/// The owner reference that says `controller: true`.
pub(crate) fn controller(value: &Value) -> Option<&Value> {
    list(value, "/metadata/ownerReferences").iter().find(|owner| flag(owner, "/controller"))
}

/// The reference that makes an object a part of its owner.
pub(crate) fn owner_reference(api_version: &str, kind: &str, owner: &Value) -> Value {
    json!([{
        "apiVersion": api_version, "kind": kind, "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// The condition of a type.
pub(crate) fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    list(status, "/conditions").iter().find(|condition| text(condition, "/type") == kind)
}

/// A pod that counts: neither finished nor going.
pub(crate) fn pod_active(pod: &Value) -> bool {
    !deleting(pod) && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

pub(crate) fn pod_ready(pod: &Value) -> bool {
    pod.get("status")
        .and_then(|status| condition(status, "Ready"))
        .is_some_and(|ready| text(ready, "/status") == "True")
}

/// From when on a ready pod counts as available.
pub(crate) fn pod_available_at(pod: &Value, min_ready_seconds: i64) -> Option<Timestamp> {
    let ready = condition(pod.get("status")?, "Ready").filter(|ready| text(ready, "/status") == "True")?;
    let since: Timestamp = text(ready, "/lastTransitionTime").parse().unwrap_or(Timestamp::UNIX_EPOCH);
    Some(after(since, Duration::from_secs(u64::try_from(min_ready_seconds).unwrap_or_default())))
}

/// A moment later than another; the end of time where it can't be told.
pub(crate) fn after(time: Timestamp, delay: Duration) -> Timestamp {
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    time.checked_add(delay).unwrap_or(Timestamp::MAX)
}

/// A moment as the API writes it: in whole seconds.
pub(crate) fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A map to change; whatever else was there becomes one.
fn map_mut(value: &mut Value) -> Option<&mut Map<String, Value>> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

/// Sets a field of a status.
pub(crate) fn set(status: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(map) = map_mut(status) {
        map.insert(field.to_owned(), value.into());
    }
}

/// Sets a count, leaving it out where it is 0, as the API does.
pub(crate) fn set_count(status: &mut Value, field: &str, count: i64) {
    if count != 0 {
        set(status, field, count);
    } else if let Some(map) = status.as_object_mut() {
        map.remove(field);
    }
}

/// What a condition is to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) kind: &'a str,
    pub(crate) status: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
}

/// Sets a condition; its transition time moves only when its status does. True if anything changed.
pub(crate) fn set_condition(
    status: &mut Value,
    said: Said<'_>,
    now: Timestamp,
    with_update_time: bool,
) -> bool {
    let old = condition(status, said.kind).cloned();
    let transition = match &old {
        Some(old) if text(old, "/status") == said.status => text(old, "/lastTransitionTime").to_owned(),
        _ => stamp(now),
    };
    let same = old.as_ref().is_some_and(|old| {
        text(old, "/status") == said.status
            && text(old, "/reason") == said.reason
            && text(old, "/message") == said.message
    });
    if same {
        return false;
    }
    let mut new = json!({ "type": said.kind, "status": said.status, "lastTransitionTime": transition });
    if with_update_time {
        set(&mut new, "lastUpdateTime", stamp(now));
    }
    for (field, words) in [("reason", said.reason), ("message", said.message)] {
        if !words.is_empty() {
            set(&mut new, field, words);
        }
    }
    if condition(status, said.kind).is_none() {
        let mut conditions = list(status, "/conditions").to_vec();
        conditions.push(new);
        set(status, "conditions", conditions);
    } else if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut)
        && let Some(place) = conditions.iter_mut().find(|condition| text(condition, "/type") == said.kind)
    {
        *place = new;
    }
    true
}

/// The object's status, or an empty one.
pub(crate) fn status_of(value: &Value) -> Value {
    value.get("status").filter(|status| status.is_object()).cloned().unwrap_or_else(|| json!({}))
}
