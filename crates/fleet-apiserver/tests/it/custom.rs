//! Kinds that custom resource definitions add.

use fleet_apiserver::{ApiServer, ClusterProfile};
use fleet_store::Store;
use http::Method;
use serde_json::{Value, json};

use crate::support::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn definition() -> Value {
    let schema = json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 0},
                    "color": {"type": "string", "default": "red"},
                    "replicas": {"type": "integer"},
                },
                "x-kubernetes-validations": [
                    {"rule": "self.size < 100", "message": "too big"},
                    {"rule": "self.size >= oldSelf.size", "message": "widgets don't shrink"},
                ],
            },
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "ready": {"type": "boolean"}}},
        },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [
                {
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                    "selectableFields": [{"jsonPath": ".spec.color"}],
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                },
                {"name": "v1beta1", "served": true, "storage": false, "schema": {"openAPIV3Schema": schema}},
            ],
        },
    })
}

fn widget(name: &str, size: i64) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size, "nonsense": 1}})
}

async fn with_widgets() -> ApiServer {
    let server = server().await;
    let answer = post(&server, DEFINITIONS, &definition()).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
    let conditions = answer.json()["status"]["conditions"].clone();
    assert!(conditions.to_string().contains("Established"), "{conditions}");
    server
}

#[tokio::test]
async fn a_definition_is_served_at_once() {
    let server = with_widgets().await;
    let created = post(&server, WIDGETS, &widget("a", 5)).await;
    assert_eq!(created.code, 201, "{}", created.text);
    let object = created.json();
    assert_eq!(object["spec"], json!({"size": 5, "color": "red"}), "pruned and completed");
    assert_eq!(object["metadata"]["generation"], 1);
    let older = get(&server, "/apis/example.com/v1beta1/namespaces/default/widgets/a").await.json();
    assert_eq!((&older["apiVersion"], &older["spec"]), (&json!("example.com/v1beta1"), &object["spec"]));
    let list = get(&server, "/apis/example.com/v1beta1/widgets").await.json();
    assert_eq!(
        (&list["kind"], &list["items"][0]["apiVersion"]),
        (&json!("WidgetList"), &json!("example.com/v1beta1"))
    );
    assert_eq!(ask(&server, HUB, Method::GET, WIDGETS, &[], "").await.code, 404, "on its own cluster only");
    let resources = get(&server, "/apis/example.com/v1").await.json();
    let names: Vec<&str> =
        resources["resources"].as_array().unwrap().iter().filter_map(|r| r["name"].as_str()).collect();
    assert_eq!(names, ["widgets", "widgets/scale", "widgets/status"]);
    let openapi = get(&server, "/openapi/v3/apis/example.com/v1").await;
    assert!(openapi.text.contains("com.example.v1.Widget"), "{}", openapi.text);
}

#[tokio::test]
async fn schema_and_rules_are_kept_to() {
    let server = with_widgets().await;
    for (body, part) in [
        (json!({"metadata": {"name": "a"}, "spec": {}}), "spec.size: Required value"),
        (json!({"metadata": {"name": "a"}, "spec": {"size": "x"}}), "must be of type integer"),
        (widget("a", -1), "greater than or equal to 0"),
        (widget("a", 100), "too big"),
    ] {
        let answer = post(&server, WIDGETS, &body).await;
        assert_eq!(answer.code, 422, "{}", answer.text);
        assert!(answer.message().contains(part), "{}", answer.message());
    }
    let strict = post(&server, &format!("{WIDGETS}?fieldValidation=Strict"), &widget("a", 5)).await;
    assert!(strict.message().contains("unknown field \"spec.nonsense\""), "{}", strict.text);
    post(&server, WIDGETS, &widget("a", 5)).await;
    let smaller = patch(&server, &format!("{WIDGETS}/a"), "merge", &json!({"spec": {"size": 4}})).await;
    assert!(smaller.message().contains("widgets don't shrink"), "{}", smaller.text);
    let strategic = patch(&server, &format!("{WIDGETS}/a"), "strategic-merge", &json!({})).await;
    assert_eq!(strategic.code, 415);
}

#[tokio::test]
async fn subresources_columns_and_selectable_fields_follow_the_definition() {
    let server = with_widgets().await;
    post(&server, WIDGETS, &widget("a", 5)).await;
    let path = format!("{WIDGETS}/a");
    let status = patch(
        &server,
        &format!("{path}/status"),
        "merge",
        &json!({"spec": {"size": 9}, "status": {"replicas": 2}}),
    )
    .await;
    assert_eq!(status.code, 200, "{}", status.text);
    assert_eq!(
        (&status.json()["spec"]["size"], &status.json()["status"]["replicas"]),
        (&json!(5), &json!(2))
    );
    assert_eq!(
        get(&server, &format!("{path}/scale")).await.code,
        500,
        "it has no number yet, as Kubernetes says"
    );
    let scaled = patch(&server, &path, "merge", &json!({"spec": {"replicas": 1}, "status": {"replicas": 7}}))
        .await
        .json();
    assert_eq!((&scaled["status"]["replicas"], &scaled["metadata"]["generation"]), (&json!(2), &json!(2)));
    let scale = get(&server, &format!("{path}/scale")).await.json();
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["replicas"]), (&json!(1), &json!(2)));
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = ask(&server, MEMBER, Method::GET, WIDGETS, &[("accept", table)], "").await.json();
    let names: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(names, ["Name", "Size", "Age"]);
    assert_eq!((&table["rows"][0]["cells"][0], &table["rows"][0]["cells"][1]), (&json!("a"), &json!(5)));
    let found = |color: &str| format!("{WIDGETS}?fieldSelector=spec.color%3D{color}");
    assert_eq!(get(&server, &found("red")).await.json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(get(&server, &found("blue")).await.json()["items"], json!([]));
    assert_eq!(get(&server, &format!("{WIDGETS}?fieldSelector=spec.size%3D5")).await.code, 400);
}

#[tokio::test]
async fn a_definition_takes_its_objects_with_it() {
    let server = with_widgets().await;
    let mut held = widget("held", 1);
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    post(&server, WIDGETS, &held).await;
    post(&server, WIDGETS, &widget("free", 1)).await;
    let path = format!("{DEFINITIONS}/widgets.example.com");
    assert_eq!(delete(&server, &path, "").await.code, 200);
    assert_eq!(get(&server, &format!("{WIDGETS}/free")).await.code, 404);
    assert_eq!(get(&server, &path).await.code, 200, "it waits for the object that is held");
    patch(&server, &format!("{WIDGETS}/held"), "merge", &json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(get(&server, &path).await.code, 404);
    assert_eq!(get(&server, WIDGETS).await.code, 404);
}

#[tokio::test]
async fn a_bad_definition_names_the_place() {
    let server = server().await;
    let at = |pointer: &str, value: Value| {
        let mut definition = definition();
        *definition.pointer_mut(pointer).unwrap() = value;
        definition
    };
    const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    for (body, part) in [
        (at("/metadata/name", json!("other.example.com")), "metadata.name"),
        (
            at(&format!("{SPEC}/x-kubernetes-validations/0/rule"), json!("self.size <")),
            "x-kubernetes-validations[0].rule",
        ),
        (at("/spec/versions/0/storage", json!(false)), "spec.versions"),
        (at(&format!("{SPEC}/properties/size/type"), json!("strange")), "size"),
    ] {
        let answer = post(&server, DEFINITIONS, &body).await;
        assert_eq!(answer.code, 422, "{}", answer.text);
        assert!(answer.message().contains(part), "{part}: {}", answer.message());
    }
}

#[tokio::test]
async fn a_changed_definition_is_served_as_changed_and_names_clash() {
    let server = with_widgets().await;
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let ops = json!([{"op": "remove", "path": "/spec/versions/1"}]);
    assert_eq!(patch(&server, &path, "json", &ops).await.code, 200);
    assert_eq!(get(&server, "/apis/example.com/v1beta1/widgets").await.code, 404);
    let mut other = definition();
    other["metadata"]["name"] = json!("gadgets.example.com");
    other["spec"]["names"]["plural"] = json!("gadgets");
    let answer = post(&server, DEFINITIONS, &other).await.json();
    assert!(answer["status"]["conditions"].to_string().contains("KindConflict"), "{answer}");
    assert_eq!(get(&server, "/apis/example.com/v1/gadgets").await.code, 404);
}

#[tokio::test]
async fn definitions_are_served_again_after_a_restart() {
    let store = Store::memory(fleet_store::Options::default());
    let first = server_over(store.clone()).await;
    post(&first, DEFINITIONS, &definition()).await;
    post(&first, WIDGETS, &widget("a", 5)).await;
    let second = server_over(store).await;
    assert_eq!(get(&second, &format!("{WIDGETS}/a")).await.code, 200);
    second.remove_cluster(MEMBER).await.unwrap();
    assert_eq!(get(&second, &format!("{WIDGETS}/a")).await.code, 404);
    second.create_cluster(MEMBER, ClusterProfile { workloads: true }).await.unwrap();
    assert_eq!(get(&second, WIDGETS).await.code, 404, "nothing is left of it");
}
