//! Updates, patches, deletes and subresources.

use http::Method;
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn an_update_needs_the_latest_version_and_moves_the_generation_for_the_spec_only() {
    let server = server().await;
    let created = post(&server, DEPLOYMENTS, &deployment("a")).await;
    assert_eq!(created.code, 201, "{}", created.text);
    let mut object = created.json();
    assert_eq!(object["metadata"]["generation"], 1);
    assert_eq!(object["spec"]["replicas"], 1, "Go-coded defaults are filled in");
    let path = format!("{DEPLOYMENTS}/a");
    object["metadata"]["labels"]["x"] = json!("y");
    let labelled = put(&server, &path, &object).await.json();
    assert_eq!(labelled["metadata"]["generation"], 1);
    let stale = put(&server, &path, &object).await;
    assert_eq!((stale.code, stale.json()["reason"].as_str()), (409, Some("Conflict")));
    assert_eq!(
        stale.message(),
        "Operation cannot be fulfilled on deployments.apps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    let mut scaled = labelled.clone();
    scaled["spec"]["replicas"] = json!(3);
    scaled["status"] = json!({"replicas": 99});
    let scaled = put(&server, &path, &scaled).await.json();
    assert_eq!(scaled["metadata"]["generation"], 2);
    assert_ne!(scaled["status"]["replicas"], 99, "a plain update leaves the status alone");
    let same = put(&server, &path, &scaled).await.json();
    assert_eq!(same, scaled, "an update that changes nothing writes nothing");
    let mut other = scaled;
    other["metadata"]["uid"] = json!("somebody-else");
    assert_eq!(put(&server, &path, &other).await.code, 409);
}

#[tokio::test]
async fn four_kinds_of_patches_do_the_same() {
    let server = server().await;
    post(&server, DEPLOYMENTS, &deployment("a")).await;
    let path = format!("{DEPLOYMENTS}/a");
    let image = |answer: &Answer| {
        assert_eq!(answer.code, 200, "{}", answer.text);
        let object = answer.json();
        let containers = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1);
        containers[0]["image"].as_str().unwrap().to_owned()
    };
    let ops =
        json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "nginx:2"}]);
    assert_eq!(image(&patch(&server, &path, "json", &ops).await), "nginx:2");
    let strategic =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:3"}]}}}});
    let answer = patch(&server, &path, "strategic-merge", &strategic).await;
    assert_eq!(image(&answer), "nginx:3");
    assert_eq!(answer.json()["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"], 80);
    let merge =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:4"}]}}}});
    let answer = patch(&server, &path, "merge", &merge).await;
    assert_eq!(image(&answer), "nginx:4");
    assert!(answer.json()["spec"]["template"]["spec"]["containers"][0].get("ports").is_none());
    let apply = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:5"}]}}}});
    let answer = patch(&server, &format!("{path}?fieldManager=me&force=true"), "apply", &apply).await;
    assert_eq!(image(&answer), "nginx:5");

    let failed =
        patch(&server, &path, "json", &json!([{"op": "test", "path": "/spec/replicas", "value": 9}])).await;
    assert_eq!(failed.code, 422, "{}", failed.text);
    let malformed = patch(&server, &path, "json", &json!({"not": "a list"})).await;
    assert_eq!(malformed.code, 400, "{}", malformed.text);
    let strict =
        patch(&server, &format!("{path}?fieldValidation=Strict"), "merge", &json!({"spec": {"foo": 1}}))
            .await;
    assert!(strict.message().contains("unknown field \"spec.foo\""), "{}", strict.text);
    let renamed = patch(&server, &path, "merge", &json!({"metadata": {"name": "b"}})).await;
    assert_eq!(renamed.code, 422, "{}", renamed.text);
    let strange =
        ask(&server, MEMBER, Method::PATCH, &path, &[("content-type", "application/json")], "{}").await;
    assert_eq!(strange.code, 415, "{}", strange.text);
}

#[tokio::test]
async fn a_patch_that_names_a_version_is_not_tried_again() {
    let server = server().await;
    post(&server, CONFIGMAPS, &configmap("a")).await;
    let path = format!("{CONFIGMAPS}/a");
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"b": "2"}});
    assert_eq!(patch(&server, &path, "merge", &stale).await.code, 409);
    let patches = (0..20).map(|at| {
        let (server, path) = (server.clone(), path.clone());
        async move { patch(&server, &path, "merge", &json!({"data": {format!("k{at}"): "v"}})).await.code }
    });
    assert!(futures::future::join_all(patches).await.iter().all(|code| *code == 200));
    assert_eq!(get(&server, &path).await.json()["data"].as_object().unwrap().len(), 21);
}

#[tokio::test]
async fn dry_runs_leave_no_trace() {
    let server = server().await;
    let before = server.store().revision();
    let path = format!("{DEPLOYMENTS}?dryRun=All");
    let created = post(&server, &path, &deployment("a")).await;
    assert_eq!((created.code, &created.json()["spec"]["replicas"]), (201, &json!(1)), "{}", created.text);
    assert_eq!(server.store().revision(), before);
    post(&server, DEPLOYMENTS, &deployment("a")).await;
    let before = server.store().revision();
    let one = format!("{DEPLOYMENTS}/a?dryRun=All");
    let patched = patch(&server, &one, "merge", &json!({"spec": {"replicas": 7}})).await;
    assert_eq!((patched.code, &patched.json()["spec"]["replicas"]), (200, &json!(7)));
    assert_eq!(delete(&server, &one, "").await.code, 200);
    assert_eq!(delete(&server, &format!("{DEPLOYMENTS}/a"), "{\"dryRun\":[\"All\"]}").await.code, 200);
    assert_eq!(server.store().revision(), before);
    assert_eq!(post(&server, &path, &deployment("a")).await.code, 409);
    assert_eq!(post(&server, &format!("{DEPLOYMENTS}?dryRun=Maybe"), &deployment("b")).await.code, 422);
}

#[tokio::test]
async fn the_status_has_its_own_door() {
    let server = server().await;
    post(&server, DEPLOYMENTS, &deployment("a")).await;
    let path = format!("{DEPLOYMENTS}/a/status");
    let change = json!({"spec": {"replicas": 9}, "status": {"replicas": 1, "observedGeneration": 1}});
    let answer = patch(&server, &format!("{path}?fieldManager=controller"), "merge", &change).await;
    assert_eq!(answer.code, 200, "{}", answer.text);
    let object = answer.json();
    assert_eq!((&object["spec"]["replicas"], &object["status"]["replicas"]), (&json!(1), &json!(1)));
    assert_eq!(object["metadata"]["generation"], 1);
    let managers: Vec<(String, Value)> = object["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["manager"].as_str().unwrap().to_owned(), entry["subresource"].clone()))
        .collect();
    assert!(managers.contains(&("controller".into(), json!("status"))), "{managers:?}");
    let apply = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "status": {"readyReplicas": 1}});
    let applied = patch(&server, &format!("{path}?fieldManager=health"), "apply", &apply).await;
    assert_eq!(
        (applied.code, &applied.json()["status"]["readyReplicas"]),
        (200, &json!(1)),
        "{}",
        applied.text
    );
    assert_eq!(applied.json()["status"]["replicas"], 1);
}

#[tokio::test]
async fn scale_reads_and_writes_the_number() {
    let server = server().await;
    post(&server, DEPLOYMENTS, &deployment("a")).await;
    let path = format!("{DEPLOYMENTS}/a/scale");
    let scale = get(&server, &path).await.json();
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(1), &json!("app=a")));
    let answer = patch(&server, &path, "merge", &json!({"spec": {"replicas": 4}})).await;
    assert_eq!((answer.code, &answer.json()["spec"]["replicas"]), (200, &json!(4)), "{}", answer.text);
    let mut wanted = answer.json();
    wanted["spec"]["replicas"] = json!(2);
    assert_eq!(put(&server, &path, &wanted).await.code, 200);
    assert_eq!(put(&server, &path, &wanted).await.code, 409, "its version is stale by now");
    let object = get(&server, &format!("{DEPLOYMENTS}/a")).await.json();
    assert_eq!((&object["spec"]["replicas"], &object["metadata"]["generation"]), (&json!(2), &json!(3)));
    let negative = patch(&server, &path, "merge", &json!({"spec": {"replicas": -1}})).await;
    assert_eq!(negative.code, 422);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let server = server().await;
    let mut object = configmap("a");
    object["metadata"]["finalizers"] = json!(["example.com/hold", "example.com/too"]);
    post(&server, CONFIGMAPS, &object).await;
    let path = format!("{CONFIGMAPS}/a");
    let marked = delete(&server, &path, "").await;
    assert_eq!(marked.code, 200);
    assert!(marked.json()["metadata"]["deletionTimestamp"].is_string(), "{}", marked.text);
    let again = delete(&server, &path, "").await.json();
    assert_eq!(again["metadata"], marked.json()["metadata"], "a second delete changes nothing");
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/new"]}});
    assert_eq!(patch(&server, &path, "merge", &more).await.code, 422, "none can be added any more");
    let fewer = json!({"metadata": {"finalizers": ["example.com/too"]}});
    assert_eq!(patch(&server, &path, "merge", &fewer).await.code, 200);
    assert_eq!(patch(&server, &path, "merge", &json!({"metadata": {"finalizers": null}})).await.code, 200);
    assert_eq!(get(&server, &path).await.code, 404);
}

#[tokio::test]
async fn deletes_keep_to_their_preconditions_and_propagation() {
    let server = server().await;
    post(&server, CONFIGMAPS, &configmap("a")).await;
    let path = format!("{CONFIGMAPS}/a");
    for body in
        [json!({"preconditions": {"uid": "other"}}), json!({"preconditions": {"resourceVersion": "1"}})]
    {
        assert_eq!(delete(&server, &path, &body.to_string()).await.code, 409);
    }
    let unknown = delete(&server, &path, "{\"propagationPolicy\":\"Sideways\"}").await;
    assert_eq!(unknown.code, 422, "{}", unknown.text);
    let marked = delete(&server, &path, "{\"propagationPolicy\":\"Foreground\"}").await.json();
    assert_eq!(marked["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    for at in 0..3 {
        let mut object = configmap(&format!("c{at}"));
        object["metadata"]["labels"] = json!({"set": "yes"});
        post(&server, CONFIGMAPS, &object).await;
    }
    let gone = delete(&server, &format!("{CONFIGMAPS}?labelSelector=set%3Dyes"), "").await.json();
    assert_eq!(gone["items"].as_array().unwrap().len(), 3);
    assert_eq!(get(&server, &format!("{CONFIGMAPS}?labelSelector=set")).await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_namespace_waits_for_its_content() {
    let server = server().await;
    post(&server, "/api/v1/namespaces", &json!({"metadata": {"name": "demo"}})).await;
    let path = "/api/v1/namespaces/demo";
    let going = delete(&server, path, "").await.json();
    assert_eq!(going["status"]["phase"], "Terminating");
    let late = post(&server, "/api/v1/namespaces/demo/configmaps", &configmap("a")).await;
    assert_eq!(late.code, 403);
    assert!(late.message().contains("because it is being terminated"), "{}", late.text);
    let mut done = get(&server, path).await.json();
    done["spec"]["finalizers"] = json!([]);
    assert_eq!(put(&server, &format!("{path}/finalize"), &done).await.code, 200);
    assert_eq!(get(&server, path).await.code, 404);
    assert_eq!(delete(&server, "/api/v1/namespaces/default", "").await.code, 403);
}

#[tokio::test]
async fn built_in_rules_name_every_field_that_is_wrong() {
    let server = server().await;
    let mut object = deployment("a");
    object["spec"]["replicas"] = json!("three");
    let wrong = post(&server, DEPLOYMENTS, &object).await;
    assert_eq!(wrong.code, 400);
    assert!(wrong.message().contains("spec.replicas"), "{}", wrong.text);
    let missing = post(&server, DEPLOYMENTS, &json!({"metadata": {"name": "a"}, "spec": {}})).await;
    assert_eq!(missing.code, 422, "{}", missing.text);
    assert!(!missing.json()["details"]["causes"].as_array().unwrap().is_empty());
    post(&server, DEPLOYMENTS, &deployment("a")).await;
    let change = json!({"spec": {"selector": {"matchLabels": {"app": "other"}}, "template": {"metadata": {"labels": {"app": "other"}}}}});
    let immutable = patch(&server, &format!("{DEPLOYMENTS}/a"), "merge", &change).await;
    assert_eq!(immutable.code, 422, "{}", immutable.text);
    assert!(immutable.message().contains("field is immutable"), "{}", immutable.text);
}
