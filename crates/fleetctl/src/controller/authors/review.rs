//! From an AdmissionReview to the author's annotation. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_api::{authorship, names};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Annotations that decide what an Application delivers, as its spec does.
const CONTENT: [&str; 1] = [names::SERVICE_ACCOUNT];

/// What the server alone writes.
const OURS: [&str; 2] = [names::AUTHOR, names::AUTHORS];

/// The answer to an AdmissionReview (`admission.k8s.io/v1`) at a time: always allowed, with the annotations as they have
/// to be. `None` where it is none.
pub fn answer(review: &Value, now: Timestamp) -> Option<Value> {
    let request = review.get("request")?;
    let text = |at: &str| request.pointer(at).and_then(Value::as_str);
    let user = text("/userInfo/username")?;
    let object = request.get("object").filter(|object| object.is_object())?;
    let old = request.get("oldObject").filter(|old| old.is_object());
    let before = |name: &str| old.and_then(|old| annotation(old, name));
    let wanted = match old {
        Some(old) if text("/operation") == Some("UPDATE") && says_the_same(old, object) => {
            OURS.map(|name| (name, before(name).map(str::to_owned)))
        }
        _ => {
            let history = authorship::after(before(names::AUTHORS), user, now);
            [(names::AUTHOR, Some(user.to_owned())), (names::AUTHORS, Some(history))]
        }
    };
    let mut response = json!({"uid": text("/uid")?, "allowed": true});
    let warning = fleet_controller::advise(object);
    if let (Some(warning), Some(response)) = (warning, response.as_object_mut()) {
        response.insert("warnings".to_owned(), json!([warning]));
    }
    let patch = patch(object, &wanted);
    if let (false, Some(response)) = (patch.is_empty(), response.as_object_mut()) {
        response.insert("patchType".to_owned(), "JSONPatch".into());
        response.insert("patch".to_owned(), STANDARD.encode(Value::Array(patch).to_string()).into());
    }
    Some(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(name)?.as_str()
}

/// Whether two states ask for the same: everything but metadata and status, and the annotations that count.
fn says_the_same(old: &Value, new: &Value) -> bool {
    let content = |object: &Value| -> Map<String, Value> {
        let fields = object.as_object().cloned().unwrap_or_default();
        fields.into_iter().filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status")).collect()
    };
    content(old) == content(new) && CONTENT.iter().all(|name| annotation(old, name) == annotation(new, name))
}

/// What makes the annotations as they have to be; nothing where they are.
fn patch(object: &Value, wanted: &[(&str, Option<String>)]) -> Vec<Value> {
    let wrong: Vec<_> =
        wanted.iter().filter(|(name, value)| annotation(object, name) != value.as_deref()).collect();
    if !wrong.is_empty() && !object.pointer("/metadata/annotations").is_some_and(Value::is_object) {
        let all: Map<String, Value> = wrong
            .iter()
            .filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?.into())))
            .collect();
        return vec![json!({"op": "add", "path": "/metadata/annotations", "value": all})];
    }
    let step = |(name, value): &(&str, Option<String>)| {
        let path = format!("/metadata/annotations/{}", name.replace('~', "~0").replace('/', "~1"));
        match value {
            Some(value) => json!({"op": "add", "path": path, "value": value}),
            None => json!({"op": "remove", "path": path}),
        }
    };
    wrong.into_iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: u8, annotations: &Value) -> Value {
        json!({"kind": "Application", "metadata": {"name": "web", "annotations": annotations}, "spec": {"n": spec}, "status": {"x": spec}})
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The annotations as they are kept, for the user `mia` at second 9.
    fn asked(operation: &str, old: &Value, new: &Value) -> Value {
        let review = json!({"request": {
            "uid": "u", "operation": operation, "userInfo": {"username": "mia"}, "object": new, "oldObject": old,
        }});
        let answer = answer(&review, at(9)).unwrap();
        assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("u"), &json!(true)));
        let mut kept = new.clone();
        if let Some(patch) = answer["response"]["patch"].as_str() {
            let patch =
                serde_json::from_slice::<json_patch::Patch>(&STANDARD.decode(patch).unwrap()).unwrap();
            assert!(!patch.0.is_empty());
            json_patch::patch(&mut kept, &patch).unwrap();
        }
        kept["metadata"]["annotations"].clone()
    }

    /// Whoever could write another's name there, or make theirs forgotten, could approve what they wrote themselves.
    #[test]
    fn the_author_is_who_asks_and_nobody_else() {
        let by = |who: &str, all: &[(&str, i64)]| {
            let history = all.iter().fold(None, |before: Option<String>, (user, second)| {
                Some(authorship::after(before.as_deref(), user, at(*second)))
            });
            json!({names::AUTHOR: who, names::AUTHORS: history})
        };
        let mia = by("mia", &[("mia", 9)]);
        // Created: whoever asks, whatever they claim.
        assert_eq!(asked("CREATE", &Value::Null, &object(1, &by("eve", &[("eve", 1)]))), mia);
        assert_eq!(asked("CREATE", &Value::Null, &json!({"metadata": {"name": "web"}, "spec": {}})), mia);
        // Changed: whoever asks, beside those before. Unchanged: who it was, claims and removals taken back.
        let bob = by("bob", &[("bob", 1)]);
        let both = by("mia", &[("bob", 1), ("mia", 9)]);
        assert_eq!(asked("UPDATE", &object(1, &bob), &object(2, &bob)), both);
        assert_eq!(asked("UPDATE", &object(1, &bob), &object(2, &json!({}))), both);
        assert_eq!(asked("UPDATE", &object(1, &bob), &object(1, &mia)), bob);
        assert_eq!(asked("UPDATE", &object(1, &bob), &object(1, &json!({}))), bob);
        assert_eq!(asked("UPDATE", &object(1, &bob), &object(1, &bob)), bob);
        assert_eq!(asked("UPDATE", &object(1, &json!({})), &object(1, &mia)), json!({}));
        // As whom it delivers is part of what it says; a label isn't.
        let mut account = bob.clone();
        account[names::SERVICE_ACCOUNT] = json!("deployer");
        assert_eq!(asked("UPDATE", &object(1, &bob), &object(1, &account))[names::AUTHOR], "mia");
        let mut labelled = object(1, &bob);
        labelled["metadata"]["labels"] = json!({"a": "b"});
        labelled["status"]["x"] = json!(9);
        assert_eq!(asked("UPDATE", &object(1, &bob), &labelled), bob);
    }

    /// Broken: what can never run is applied, and the API server that asked isn't told to warn.
    #[test]
    fn what_can_never_run_is_warned_of() {
        let app = json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
            "metadata": {"name": "web", "namespace": "demo"},
            "spec": {"components": [], "workflow": {"steps": [{"name": "go", "type": "suspend", "if": "status ==="}]}}});
        let review = json!({"request": {
            "uid": "u", "operation": "CREATE", "userInfo": {"username": "mia"}, "object": app}});
        let answer = answer(&review, at(9)).unwrap();
        assert_eq!(answer["response"]["allowed"], json!(true));
        let said = answer["response"]["warnings"][0].as_str().unwrap();
        assert!(said.contains("go") && said.len() < 600, "{said}");
    }

    /// Whatever is sent, nothing panics.
    #[test]
    fn nonsense_is_no_review() {
        for nonsense in
            [json!(null), json!([]), json!({"request": {}}), json!({"request": {"uid": 1, "object": []}})]
        {
            assert_eq!(answer(&nonsense, at(1)), None, "{nonsense}");
        }
    }
}
