//! Discovery, OpenAPI, tables and reviews.

use http::Method;
use serde_json::{Value, json};

use crate::support::*;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

async fn accept(path: &str, accept: &str) -> Answer {
    ask(&server().await, MEMBER, Method::GET, path, &[("accept", accept)], "").await
}

#[tokio::test]
async fn discovery_comes_in_every_form() {
    let server = server().await;
    let version = get(&server, "/version").await.json();
    assert_eq!((&version["minor"], &version["gitVersion"]), (&json!("35"), &json!("v1.35.0+fleetctl")));
    let groups = get(&server, "/apis").await.json();
    let names: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().filter_map(|g| g["name"].as_str()).collect();
    assert!(names.contains(&"apps") && !names.contains(&""), "{names:?}");
    let core = get(&server, "/api/v1").await.json();
    let pods = core["resources"].as_array().unwrap().iter().find(|r| r["name"] == "pods").unwrap();
    assert_eq!(pods["shortNames"], json!(["po"]));
    assert!(core["resources"].as_array().unwrap().iter().any(|r| r["name"] == "pods/status"));

    let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let aggregated = ask(&server, MEMBER, Method::GET, "/apis", &[("accept", v2)], "").await;
    assert!(aggregated.headers["content-type"].to_str().unwrap().contains("v=v2;as=APIGroupDiscoveryList"));
    let apps = aggregated.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|g| g["metadata"]["name"] == "apps")
        .cloned()
        .unwrap();
    let deployments = apps["versions"][0]["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["resource"] == "deployments")
        .cloned()
        .unwrap();
    assert_eq!(deployments["responseKind"]["kind"], "Deployment");
    assert_eq!(deployments["subresources"].as_array().unwrap().len(), 2);
    let tag = aggregated.headers["etag"].to_str().unwrap();
    let headers = [("accept", v2), ("if-none-match", tag)];
    assert_eq!(ask(&server, MEMBER, Method::GET, "/apis", &headers, "").await.code, 304);
}

#[tokio::test]
async fn openapi_documents_are_named_by_their_content() {
    let server = server().await;
    let index = get(&server, "/openapi/v3").await.json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = get(&server, &url).await;
    assert!(document.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let document = document.json();
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    assert!(patch.to_string().contains("fieldValidation"));
    assert!(index["paths"]["api/v1"].is_object());
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let v2 = accept("/openapi/v2", protobuf).await;
    // Not the name that was asked for: Go can't read an '@' in the type of an answer.
    let readable = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    assert_eq!((v2.code, v2.headers["content-type"].to_str().unwrap()), (200, readable));
    let v2 = get(&server, "/openapi/v2").await.json();
    assert!(v2["definitions"]["io.k8s.api.apps.v1.Deployment"].is_object());
}

#[tokio::test]
async fn tables_and_metadata_are_answered_as_asked() {
    let server = server().await;
    post(&server, DEPLOYMENTS, &deployment("a")).await;
    let table = ask(&server, MEMBER, Method::GET, DEPLOYMENTS, &[("accept", TABLE)], "").await.json();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(
        table["rows"][0]["cells"].as_array().unwrap().len(),
        table["columnDefinitions"].as_array().unwrap().len()
    );
    let none = format!("{DEPLOYMENTS}/a?includeObject=None");
    let one = ask(&server, MEMBER, Method::GET, &none, &[("accept", TABLE)], "").await.json();
    assert!(one["rows"][0].get("object").is_none());
    let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = ask(&server, MEMBER, Method::GET, DEPLOYMENTS, &[("accept", partial)], "").await.json();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert!(list["items"][0].get("spec").is_none() && list["items"][0]["metadata"]["name"] == "a");
    assert_eq!(accept(DEPLOYMENTS, "application/vnd.kubernetes.protobuf").await.code, 406);
    assert_eq!(accept(DEPLOYMENTS, "application/json;as=Table;v=v1alpha1;g=meta.k8s.io").await.code, 406);
}

#[tokio::test]
async fn reviews_answer_who_and_whether() {
    let server = server().await;
    let who = post(&server, "/apis/authentication.k8s.io/v1/selfsubjectreviews", &json!({})).await;
    assert_eq!(
        (who.code, &who.json()["status"]["userInfo"]["username"]),
        (201, &json!("test")),
        "{}",
        who.text
    );
    let may = |user: Value| json!({"spec": {"user": user, "resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    assert_eq!(post(&server, path, &may(json!("somebody"))).await.json()["status"]["allowed"], false);
    let binding = json!({"metadata": {"name": "viewer"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "somebody"}]});
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(post(&server, bindings, &binding).await.code, 201);
    let status = post(&server, path, &may(json!("somebody"))).await.json()["status"].clone();
    let reason = r#"RBAC: allowed by ClusterRoleBinding "viewer" of ClusterRole "view" to User "somebody""#;
    assert_eq!(status, json!({"allowed": true, "reason": reason}));
    assert_eq!(post(&server, path, &may(json!("system:anonymous"))).await.json()["status"]["allowed"], false);
}
