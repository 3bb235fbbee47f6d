//! From an AdmissionReview to the author's annotation. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_api::names;
use serde_json::{Map, Value, json};

/// Annotations that decide what an Application delivers, as its spec does.
const CONTENT: [&str; 1] = [names::SERVICE_ACCOUNT];

/// The answer to an AdmissionReview (`admission.k8s.io/v1`): always allowed, with the annotation as it has to be.
/// `None` where it is none.
pub fn answer(review: &Value) -> Option<Value> {
    let request = review.get("request")?;
    let text = |at: &str| request.pointer(at).and_then(Value::as_str);
    let user = text("/userInfo/username")?;
    let object = request.get("object").filter(|object| object.is_object())?;
    let old = request.get("oldObject").filter(|old| old.is_object());
    let wanted = match old {
        Some(old) if text("/operation") == Some("UPDATE") && says_the_same(old, object) => author_of(old),
        _ => Some(user),
    };
    let mut response = json!({"uid": text("/uid")?, "allowed": true});
    if let Some((patch, response)) = patch(object, wanted).zip(response.as_object_mut()) {
        response.insert("patchType".to_owned(), "JSONPatch".into());
        response.insert("patch".to_owned(), STANDARD.encode(patch.to_string()).into());
    }
    Some(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}

fn author_of(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(names::AUTHOR)?.as_str()
}

/// Whether two states ask for the same: everything but metadata and status, and the annotations that count.
fn says_the_same(old: &Value, new: &Value) -> bool {
    let content = |object: &Value| -> Map<String, Value> {
        let fields = object.as_object().cloned().unwrap_or_default();
        fields.into_iter().filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status")).collect()
    };
    let annotation =
        |object: &Value, name: &str| object.get("metadata")?.get("annotations")?.get(name).cloned();
    content(old) == content(new) && CONTENT.iter().all(|name| annotation(old, name) == annotation(new, name))
}

/// What makes the annotation as it has to be; nothing where it is.
fn patch(object: &Value, wanted: Option<&str>) -> Option<Value> {
    if author_of(object) == wanted {
        return None;
    }
    let path = format!("/metadata/annotations/{}", names::AUTHOR.replace('~', "~0").replace('/', "~1"));
    let annotated = object.pointer("/metadata/annotations").is_some_and(Value::is_object);
    Some(match wanted {
        None => json!([{"op": "remove", "path": path}]),
        Some(author) if annotated => json!([{"op": "add", "path": path, "value": author}]),
        Some(author) => json!([
            {"op": "add", "path": "/metadata/annotations", "value": {names::AUTHOR: author}},
        ]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: u8, annotations: &Value) -> Value {
        json!({"kind": "Application", "metadata": {"name": "web", "annotations": annotations}, "spec": {"n": spec}, "status": {"x": spec}})
    }

    /// The patch that is sent, for the user `mia`.
    fn asked(operation: &str, old: &Value, new: &Value) -> Option<Value> {
        let review = json!({"request": {
            "uid": "u", "operation": operation, "userInfo": {"username": "mia"}, "object": new, "oldObject": old,
        }});
        let answer = answer(&review).unwrap();
        assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("u"), &json!(true)));
        let patch = answer["response"]["patch"].as_str()?;
        Some(serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap())
    }

    /// Whoever could write another's name there could approve what they wrote themselves.
    #[test]
    fn the_author_is_who_asks_and_nobody_else() {
        let path = "/metadata/annotations/fleetctl.dev~1author";
        let by = |who: &str| json!({names::AUTHOR: who});
        let set = |who: &str| Some(json!([{"op": "add", "path": path, "value": who}]));
        let none = json!({});
        // Created: whoever asks, whatever they claim.
        assert_eq!(asked("CREATE", &Value::Null, &object(1, &by("eve"))), set("mia"));
        let bare = json!({"metadata": {"name": "web"}, "spec": {}});
        let made = json!([{"op": "add", "path": "/metadata/annotations", "value": {names::AUTHOR: "mia"}}]);
        assert_eq!(asked("CREATE", &Value::Null, &bare), Some(made));
        // Changed: whoever asks. Unchanged: who it was, claims and removals taken back.
        assert_eq!(asked("UPDATE", &object(1, &by("bob")), &object(2, &by("bob"))), set("mia"));
        assert_eq!(asked("UPDATE", &object(1, &by("bob")), &object(1, &by("mia"))), set("bob"));
        assert_eq!(asked("UPDATE", &object(1, &by("bob")), &object(1, &none)), set("bob"));
        assert_eq!(asked("UPDATE", &object(1, &by("bob")), &object(1, &by("bob"))), None);
        assert_eq!(
            asked("UPDATE", &object(1, &none), &object(1, &by("eve"))),
            Some(json!([{"op": "remove", "path": path}]))
        );
        // As whom it delivers is part of what it says; a label isn't.
        let account = json!({names::AUTHOR: "bob", names::SERVICE_ACCOUNT: "deployer"});
        assert_eq!(asked("UPDATE", &object(1, &by("bob")), &object(1, &account)), set("mia"));
        let mut labelled = object(1, &by("bob"));
        labelled["metadata"]["labels"] = json!({"a": "b"});
        labelled["status"]["x"] = json!(9);
        assert_eq!(asked("UPDATE", &object(1, &by("bob")), &labelled), None);
        assert_eq!(asked("UPDATE", &object(1, &by("mia")), &object(2, &by("mia"))), None);
    }

    /// Whatever is sent, nothing panics.
    #[test]
    fn nonsense_is_no_review() {
        for nonsense in
            [json!(null), json!([]), json!({"request": {}}), json!({"request": {"uid": 1, "object": []}})]
        {
            assert_eq!(answer(&nonsense), None, "{nonsense}");
        }
    }
}
