//! Server-side apply.

use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn an_apply_creates_repeats_and_conflicts() {
    let server = server().await;
    let path = format!("{DEPLOYMENTS}/a?fieldManager=one");
    let created = patch(&server, &path, "apply", &deployment("a")).await;
    assert_eq!(created.code, 201, "{}", created.text);
    assert_eq!(created.json()["metadata"]["managedFields"][0]["operation"], "Apply");
    let again = patch(&server, &path, "apply", &deployment("a")).await;
    assert_eq!((again.code, again.text), (200, created.text), "nothing changed, nothing was written");

    let mut other = deployment("a");
    other["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    let two = format!("{DEPLOYMENTS}/a?fieldManager=two");
    let refused = patch(&server, &two, "apply", &other).await;
    assert_eq!((refused.code, refused.json()["reason"].as_str()), (409, Some("Conflict")));
    let cause = refused.json()["details"]["causes"][0].clone();
    assert_eq!(cause["reason"], "FieldManagerConflict");
    assert_eq!(cause["field"], ".spec.template.spec.containers[name=\"web\"].image");
    assert!(cause["message"].as_str().unwrap().contains("\"one\""), "{cause}");
    let forced = patch(&server, &format!("{two}&force=true"), "apply", &other).await;
    assert_eq!(
        (forced.code, forced.json()["spec"]["template"]["spec"]["containers"][0]["image"].as_str()),
        (200, Some("other"))
    );
}

#[tokio::test]
async fn what_is_no_longer_applied_goes() {
    let server = server().await;
    let path = format!("{CONFIGMAPS}/a?fieldManager=one");
    let with =
        |data| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    patch(&server, &path, "apply", &with(json!({"a": "1", "b": "2"}))).await;
    patch(&server, &format!("{CONFIGMAPS}/a"), "merge", &json!({"data": {"c": "3"}})).await;
    let after = patch(&server, &path, "apply", &with(json!({"a": "1"}))).await;
    assert_eq!(after.json()["data"], json!({"a": "1", "c": "3"}), "what others own stays");
}

/// An engine that applies with the uid it knows must never bring back, or overwrite, an object of that name.
#[tokio::test]
async fn an_apply_with_a_uid_is_for_that_object_only() {
    let server = server().await;
    let path = format!("{CONFIGMAPS}/a?fieldManager=one");
    let mut object = configmap("a");
    object["metadata"]["uid"] = json!("11111111-1111-1111-1111-111111111111");
    let absent = patch(&server, &path, "apply", &object).await;
    assert_eq!((absent.code, absent.json()["reason"].as_str()), (409, Some("Conflict")), "{}", absent.text);
    let created = post(&server, CONFIGMAPS, &configmap("a")).await.json();
    let other = patch(&server, &path, "apply", &object).await;
    assert_eq!(other.code, 409, "{}", other.text);
    object["metadata"]["uid"] = created["metadata"]["uid"].clone();
    assert_eq!(patch(&server, &path, "apply", &object).await.code, 200);
}

#[tokio::test]
async fn an_apply_that_says_too_little_is_refused() {
    let server = server().await;
    let nobody = patch(&server, &format!("{CONFIGMAPS}/a"), "apply", &configmap("a")).await;
    assert_eq!(nobody.code, 422);
    assert!(nobody.message().contains("fieldManager"), "{}", nobody.text);
    let path = format!("{CONFIGMAPS}/a?fieldManager=me");
    let kindless = patch(&server, &path, "apply", &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(kindless.code, 400, "{}", kindless.text);
    let renamed = patch(&server, &path, "apply", &configmap("b")).await;
    assert_eq!(renamed.code, 400, "{}", renamed.text);
    let mut unknown = configmap("a");
    unknown["foo"] = json!(1);
    let unknown = patch(&server, &format!("{path}&fieldValidation=Strict"), "apply", &unknown).await;
    assert!(unknown.message().contains("unknown field \"foo\""), "{}", unknown.text);
}

/// If this fails, applying again what stands there is a change: whoever relies on when an admission policy was last
/// changed doubts what was proved since, after each start.
#[tokio::test]
async fn an_apply_of_what_stands_there_writes_nothing_where_defaults_are_put_back() {
    let server = server().await;
    let path =
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/p?fieldManager=one&force=true";
    let rule =
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"},
        "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]}});
    let created = patch(&server, path, "apply", &policy).await;
    assert_eq!(created.code, 201, "{}", created.text);
    assert_eq!(created.json()["spec"]["matchConstraints"]["resourceRules"][0]["scope"], "*");
    let again = patch(&server, path, "apply", &policy).await;
    assert_eq!((again.code, again.text), (200, created.text));
    // Somebody else who takes a share of it is news, though nothing else is.
    let shared = patch(&server, &path.replace("=one", "=two"), "apply", &policy).await;
    assert_eq!(
        shared.json()["metadata"]["managedFields"].as_array().map(Vec::len),
        Some(2),
        "{}",
        shared.text
    );
}
