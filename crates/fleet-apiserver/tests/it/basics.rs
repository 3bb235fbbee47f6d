//! Create, read, change and delete, as plain HTTP.

use http::Method;
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn an_object_is_created_read_listed_and_deleted() {
    let server = server().await;
    let created = post(&server, CONFIGMAPS, &configmap("a")).await;
    assert_eq!(created.code, 201, "{}", created.text);
    let object = created.json();
    assert_eq!(object["metadata"]["namespace"], "default");
    assert!(!object["metadata"]["uid"].as_str().unwrap().is_empty());
    assert!(object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(object["metadata"]["managedFields"][0]["operation"], "Update");

    let read = get(&server, &format!("{CONFIGMAPS}/a")).await;
    assert_eq!(read.text, created.text, "a get answers the bytes that were stored");

    let list = get(&server, CONFIGMAPS).await.json();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    let names: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect();
    assert_eq!(names, ["a", "kube-root-ca.crt"]);

    assert_eq!(post(&server, CONFIGMAPS, &configmap("a")).await.json()["reason"], "AlreadyExists");
    let gone = delete(&server, &format!("{CONFIGMAPS}/a"), "").await.json();
    assert_eq!((&gone["status"], &gone["details"]["uid"]), (&json!("Success"), &object["metadata"]["uid"]));
    let missing = get(&server, &format!("{CONFIGMAPS}/a")).await;
    assert_eq!((missing.code, missing.message().as_str()), (404, "configmaps \"a\" not found"));
}

#[tokio::test]
async fn clusters_are_apart_and_the_wildcard_sees_those_with_workloads() {
    let server = server().await;
    post(&server, CONFIGMAPS, &configmap("a")).await;
    let hub = ask(&server, HUB, Method::GET, &format!("{CONFIGMAPS}/a"), &[], "").await;
    assert_eq!(hub.code, 404);
    let all = ask(&server, "*", Method::GET, "/api/v1/namespaces", &[], "").await.json();
    let clusters: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["annotations"]["fleetctl.dev/cluster"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(clusters, vec![MEMBER; 4], "the hub is left out");
    let write = ask(&server, "*", Method::POST, CONFIGMAPS, &[], &configmap("b").to_string()).await;
    assert_eq!(write.code, 405);
    let unknown = ask(&server, "nowhere", Method::GET, "/api/v1/pods", &[], "").await;
    assert_eq!(unknown.code, 404);
    assert!(unknown.message().contains("nowhere"), "{}", unknown.text);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_with_the_place_and_the_cause() {
    let server = server().await;
    let text = |body: &'static str, kind: &'static str| (body, kind);
    for ((body, kind), code, part) in [
        (text("{\"a\": ", "application/json"), 400, "parse"),
        (text("", "application/json"), 400, "empty"),
        (text("a: b: c", "application/yaml"), 400, "yaml"),
        (text("[]", "application/json"), 400, "ConfigMap"),
        (text("x", "application/vnd.kubernetes.protobuf"), 400, "protobuf"),
        (text("x", "text/plain"), 415, "application/json"),
        (text("{\"kind\":\"Secret\",\"apiVersion\":\"v1\"}", "application/json"), 400, "Secret"),
        (text("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v2\"}", "application/json"), 400, "v2"),
        (text("{\"metadata\":{}}", "application/json"), 422, "metadata.name"),
        (text("{\"metadata\":{\"name\":\"A b\"}}", "application/json"), 422, "RFC 1123"),
        (
            text("{\"metadata\":{\"name\":\"a\",\"namespace\":\"other\"}}", "application/json"),
            400,
            "namespace",
        ),
        (
            text("{\"metadata\":{\"name\":\"a\",\"labels\":{\"a b\":\"c\"}}}", "application/json"),
            422,
            "metadata.labels",
        ),
    ] {
        let answer = ask(&server, MEMBER, Method::POST, CONFIGMAPS, &[("content-type", kind)], body).await;
        assert_eq!(answer.code, code, "{body}: {}", answer.text);
        assert_eq!(answer.json()["kind"], "Status");
        assert!(answer.message().contains(part), "{body}: {}", answer.message());
    }
    for (path, code) in [
        ("/api/v1/namespaces/default/nothings", 404),
        ("/apis/nowhere/v1", 404),
        ("/apis/apps/v1/deployments/a", 404),
        ("/api/v1/pods?fieldSelector=spec.image=a", 400),
        ("/api/v1/pods?labelSelector=a%20b", 400),
        ("/api/v1/pods?limit=x", 400),
        ("/api/v1/pods?resourceVersion=9999", 504),
        ("/api/v1/pods?continue=nonsense", 400),
    ] {
        assert_eq!(get(&server, path).await.code, code, "{path}");
    }
    let deep =
        format!("{{\"metadata\":{{\"name\":\"a\"}},\"data\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let answer = ask(&server, MEMBER, Method::POST, CONFIGMAPS, &[], &deep).await;
    assert_eq!(answer.code, 400, "{}", answer.text);
    let nowhere = post(&server, "/api/v1/namespaces/nowhere/configmaps", &configmap("a")).await;
    assert_eq!((nowhere.code, nowhere.message().as_str()), (404, "namespaces \"nowhere\" not found"));
}

#[tokio::test]
async fn unknown_and_doubled_fields_are_told_as_asked() {
    let server = server().await;
    let mut object = deployment("a");
    object["spec"]["foo"] = json!(1);
    let strict = post(&server, &format!("{DEPLOYMENTS}?fieldValidation=Strict"), &object).await;
    assert_eq!(strict.code, 400);
    assert!(
        strict.message().contains("strict decoding error: unknown field \"spec.foo\""),
        "{}",
        strict.text
    );
    let warned = post(&server, &format!("{DEPLOYMENTS}?fieldValidation=Warn"), &object).await;
    assert_eq!(warned.code, 201, "{}", warned.text);
    assert_eq!(warned.headers["warning"], "299 - \"unknown field \\\"spec.foo\\\"\"");
    assert!(warned.json()["spec"].get("foo").is_none(), "an unknown field isn't kept");
    let double = "{\"metadata\":{\"name\":\"b\"},\"data\":{\"a\":\"1\",\"a\":\"2\"}}";
    let path = format!("{CONFIGMAPS}?fieldValidation=Strict");
    let answer = ask(&server, MEMBER, Method::POST, &path, &[], double).await;
    assert!(answer.message().contains("duplicate field \"data.a\""), "{}", answer.text);
    let ignored = ask(&server, MEMBER, Method::POST, &path.replace("Strict", "Ignore"), &[], double).await;
    assert_eq!((ignored.code, &ignored.json()["data"]["a"]), (201, &json!("2")));
}

#[tokio::test]
async fn yaml_comes_in_and_goes_out() {
    let server = server().await;
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  y: \"yes\"\n";
    let headers = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let answer = ask(&server, MEMBER, Method::POST, CONFIGMAPS, &headers, body).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/yaml");
    assert!(answer.text.contains("kind: ConfigMap"), "{}", answer.text);
}

#[tokio::test]
async fn a_generated_name_begins_as_asked() {
    let server = server().await;
    let object = json!({"metadata": {"generateName": "job-"}});
    let one = post(&server, CONFIGMAPS, &object).await.json();
    let two = post(&server, CONFIGMAPS, &object).await.json();
    let name = one["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("job-") && name.len() == 9, "{name}");
    assert_ne!(name, two["metadata"]["name"].as_str().unwrap());
}

#[tokio::test]
async fn nobody_without_credentials_gets_in() {
    use fleet_apiserver::Identity;
    let server = server().await;
    for (path, code) in [("/api/v1/pods", 403), ("/apis", 403), ("/version", 200), ("/readyz", 200)] {
        let request = request(Method::GET, path, &[], "");
        let response = server.handle(MEMBER, Identity::anonymous(), request).await;
        assert_eq!(response.status().as_u16(), code, "{path}");
    }
}

#[tokio::test]
async fn workload_kinds_get_what_a_cluster_gives_them_and_the_hub_gives_nothing() {
    let server = server().await;
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}});
    let path = "/api/v1/namespaces/default/services";
    let member = post(&server, path, &service).await;
    assert_eq!(member.code, 201, "{}", member.text);
    assert!(member.json()["spec"]["clusterIP"].as_str().unwrap().starts_with("10.96."), "{}", member.text);
    let hub = ask(&server, HUB, Method::POST, path, &[], &service.to_string()).await.json();
    assert!(hub["spec"].get("clusterIP").is_none(), "{hub}");
    let ingress = json!({"metadata": {"name": "web"}, "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}});
    let path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
    assert_eq!(post(&server, path, &ingress).await.json()["spec"]["ingressClassName"], "nginx");
    let second = json!({"metadata": {"name": "other"}, "spec": {"clusterIP": member.json()["spec"]["clusterIP"], "ports": [{"port": 80}]}});
    let clash = post(&server, "/api/v1/namespaces/default/services", &second).await;
    assert_eq!(clash.code, 422, "{}", clash.text);
}

#[tokio::test]
async fn what_needs_a_process_says_that_there_is_none() {
    let server = server().await;
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(post(&server, "/api/v1/namespaces/default/pods", &pod).await.code, 201);
    let logs = get(&server, "/api/v1/namespaces/default/pods/a/log").await;
    assert_eq!(logs.code, 501);
    assert!(logs.message().contains("no process runs"), "{}", logs.text);
    let exec = post(&server, "/api/v1/namespaces/default/pods/a/exec", &json!({})).await;
    assert_eq!(exec.code, 501, "{}", exec.text);
    let metrics = get(&server, "/apis/metrics.k8s.io/v1beta1/pods").await;
    assert_eq!(metrics.code, 501, "kubectl top shows this: {}", metrics.text);
    let missing = get(&server, "/api/v1/namespaces/default/pods/b/log").await;
    assert_eq!(missing.code, 404, "{}", missing.text);
    let bound = post(
        &server,
        "/api/v1/namespaces/default/pods/a/binding",
        &json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}}),
    )
    .await;
    assert_eq!(bound.code, 201, "{}", bound.text);
    assert_eq!(
        get(&server, "/api/v1/pods?fieldSelector=spec.nodeName=n1").await.json()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let evicted =
        post(&server, "/api/v1/namespaces/default/pods/a/eviction", &json!({"metadata": {"name": "a"}}))
            .await;
    assert_eq!(evicted.code, 201, "{}", evicted.text);
    assert_eq!(get(&server, "/api/v1/namespaces/default/pods/a").await.code, 404);
}

/// Hostile YAML costs its sender an answer and nobody else anything.
#[tokio::test]
async fn hostile_yaml_is_refused_in_one_line() {
    let server = server().await;
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let earlier = vec![format!("*a{}", n - 1); 10].join(", ");
        laughs.push_str(&format!("a{n}: &a{n} [{earlier}]\n"));
    }
    let nested = format!("metadata:\n  name: a\ndata: {}", "[".repeat(10 * 1024 * 1024));
    for (what, body) in [
        ("a tab", "metadata:\n\tname: a\n"),
        ("a key twice", "metadata:\n  name: a\n  name: b\n"),
        ("an anchor that isn't there", "metadata:\n  name: *nowhere\n"),
        ("anchors of anchors", laughs.as_str()),
        ("10 MiB of nesting", nested.as_str()),
    ] {
        let headers = [("content-type", "application/yaml")];
        let answer = ask(&server, MEMBER, Method::POST, CONFIGMAPS, &headers, body).await;
        assert!(matches!(answer.code, 400 | 413), "{what}: {} {}", answer.code, answer.text);
        assert_eq!(answer.json()["kind"], "Status", "{what}");
        let said = answer.message();
        assert!(!said.is_empty() && said.len() < 2_000, "{what}: {said}");
    }
    assert_eq!(
        get(&server, CONFIGMAPS).await.json()["items"].as_array().map(Vec::len),
        Some(1),
        "only the root CA"
    );
}
