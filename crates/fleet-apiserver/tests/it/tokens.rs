//! Tokens of ServiceAccounts, and requests in somebody else's name.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleet_apiserver::{ApiServer, ClusterProfile, Identity, Options, TokenKey};
use fleet_store::Store;
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::support::{HUB, MEMBER, request};

const START: i64 = 1_770_000_000;
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

struct World {
    server: ApiServer,
    clock: Arc<AtomicI64>,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(AtomicI64::new(START));
        let shown = Arc::clone(&clock);
        let server = ApiServer::new(
            Store::memory(fleet_store::Options::default()),
            Options {
                clock: Arc::new(move || jiff::Timestamp::from_second(shown.load(Ordering::SeqCst)).unwrap()),
                seed: 1,
                version: String::new(),
                token_key: None,
                certificate_authority: String::new(),
                author: None,
                advisor: None,
            },
        );
        for cluster in [HUB, MEMBER] {
            server.create_cluster(cluster, ClusterProfile::default()).await.unwrap();
        }
        Self { server, clock }
    }

    async fn send(
        &self,
        cluster: &str,
        identity: Identity,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.server.handle(cluster, identity, request(method, path, headers, &body)).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn admin(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        self.send(HUB, Identity::admin("root"), method, path, &[], body).await
    }

    /// Asks with an `Authorization` header and nothing else.
    async fn with(&self, cluster: &str, authorization: &str, path: &str) -> (u16, Value) {
        let (method, body) = if path == WHO { (Method::POST, json!({})) } else { (Method::GET, Value::Null) };
        let headers = [("authorization", authorization)];
        self.send(cluster, Identity::anonymous(), method, path, &headers, &body).await
    }

    async fn ask_for(&self, account: &str, spec: Value) -> (u16, Value) {
        let path = format!("{ACCOUNTS}/{account}/token");
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        self.admin(Method::POST, &path, &body).await
    }

    async fn token(&self, account: &str, spec: Value) -> String {
        let (code, answer) = self.ask_for(account, spec).await;
        assert_eq!(code, 201, "{answer}");
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    async fn account(&self, name: &str) {
        let (code, answer) = self.admin(Method::POST, ACCOUNTS, &json!({"metadata": {"name": name}})).await;
        assert_eq!(code, 201, "{answer}");
    }

    async fn review(&self, token: &str, audiences: Value) -> Value {
        let body = json!({"spec": {"token": token, "audiences": audiences}});
        let (code, answer) =
            self.admin(Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews", &body).await;
        assert_eq!(code, 201, "{answer}");
        answer["status"].clone()
    }
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_token_speaks_for_its_account() {
    let world = World::new().await;
    world.account("bot").await;
    let (_, answer) = world.ask_for("bot", json!({"expirationSeconds": 600})).await;
    assert_eq!(
        (&answer["kind"], &answer["spec"]["expirationSeconds"]),
        (&json!("TokenRequest"), &json!(600))
    );
    assert_eq!(answer["status"]["expirationTimestamp"], "2026-02-02T02:50:00Z");
    let token = answer["status"]["token"].as_str().unwrap();
    let (code, who) = world.with(HUB, &format!("Bearer {token}"), WHO).await;
    assert_eq!(code, 201, "{who}");
    let user = &who["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:default:bot");
    assert_eq!(
        user["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    assert!(user["uid"].is_string() && user["extra"].is_object(), "{user}");
    let (code, answer) = world.with(HUB, &format!("bearer {token}"), "/api/v1/namespaces/default/pods").await;
    assert_eq!(code, 403, "{answer}");
    let binding = json!({"metadata": {"name": "bot"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "Group", "name": "system:serviceaccounts:default"}]});
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    assert_eq!(world.admin(Method::POST, path, &binding).await.0, 201);
    let (code, answer) = world.with(HUB, &format!("Bearer {token}"), "/api/v1/namespaces/default/pods").await;
    assert_eq!(code, 200, "{answer}");
    // Whom the connection has proved counts, whatever else is shown.
    let headers = [("authorization", "Bearer nonsense")];
    let (code, _) =
        world.send(HUB, Identity::admin("root"), Method::GET, "/api/v1/pods", &headers, &Value::Null).await;
    assert_eq!(code, 200);
}

/// Each of these would let somebody in who may not be.
#[tokio::test]
async fn a_token_that_is_not_good_is_told_why() {
    let world = World::new().await;
    world.account("bot").await;
    let good = world.token("bot", json!({})).await;
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (header, claims) = head.split_once('.').unwrap();
    let mut read: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    read["sub"] = json!("system:serviceaccount:kube-system:default");
    read["kubernetes.io"]["namespace"] = json!("kube-system");
    let forged = URL_SAFE_NO_PAD.encode(read.to_string());
    let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let symmetric = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let elsewhere = World::new().await;
    elsewhere.account("bot").await;
    let other_key = elsewhere.token("bot", json!({})).await;
    let other_audience = world.token("bot", json!({"audiences": ["vault"]})).await;
    for (token, why) in [
        (format!("Bearer {header}.{forged}.{signature}"), "was not issued by this server"),
        (format!("Bearer {unsigned}.{claims}."), "was not issued"),
        (format!("Bearer {unsigned}.{claims}.{signature}"), "was not issued"),
        (format!("Bearer {symmetric}.{claims}.{signature}"), "was not issued"),
        (format!("Bearer {head}.{}", &signature[1..]), "was not issued"),
        (format!("Bearer {other_key}"), "was not issued"),
        (format!("Bearer {other_audience}"), r#"for the audiences ["vault"]"#),
        ("Bearer ".to_owned(), "bearer tokens"),
        ("Bearer".to_owned(), "bearer tokens"),
        ("Bearer nonsense".to_owned(), "was not issued"),
        ("Bearer ..".to_owned(), "was not issued"),
        (format!("Bearer {}", "x.".repeat(20_000)), "was not issued"),
        ("Basic YWRtaW46YWRtaW4=".to_owned(), "only client certificates and bearer tokens"),
    ] {
        for path in [WHO, "/version"] {
            let (code, answer) = world.with(HUB, &token, path).await;
            assert_eq!((code, answer["reason"].as_str()), (401, Some("Unauthorized")), "{token}: {answer}");
            assert!(message(&answer).contains(why), "{token:.60}: {}", message(&answer));
        }
    }
    let bearer = format!("Bearer {good}");
    assert_eq!(world.with(HUB, &bearer, WHO).await.0, 201);
    let (code, answer) = world.with(MEMBER, &bearer, WHO).await;
    assert_eq!(code, 401, "another cluster: {answer}");
    // Not even one that was asked for with the other cluster's audience.
    let audience = format!("https://kubernetes.default.svc/clusters/{MEMBER}");
    let meant = world.token("bot", json!({"audiences": [audience]})).await;
    let (code, answer) = world.with(MEMBER, &format!("Bearer {meant}"), WHO).await;
    assert_eq!(code, 401, "{answer}");
    assert!(message(&answer).contains("was not issued by this server for this cluster"), "{answer}");
    // The hub's account of the same name isn't the member's.
    world.clock.fetch_add(3599, Ordering::SeqCst);
    assert_eq!(world.with(HUB, &bearer, WHO).await.0, 201);
    world.clock.fetch_add(1, Ordering::SeqCst);
    let (code, answer) = world.with(HUB, &bearer, WHO).await;
    assert_eq!(code, 401);
    assert!(message(&answer).contains("expired at 2026-02-02T03:40:00Z"), "{answer}");
}

/// A deleted account would go on, or come back to life by its name.
#[tokio::test]
async fn a_token_ends_with_its_account() {
    let world = World::new().await;
    world.account("bot").await;
    let bearer = format!("Bearer {}", world.token("bot", json!({})).await);
    assert_eq!(world.with(HUB, &bearer, WHO).await.0, 201);
    assert_eq!(world.admin(Method::DELETE, &format!("{ACCOUNTS}/bot"), &Value::Null).await.0, 200);
    let (code, answer) = world.with(HUB, &bearer, WHO).await;
    assert_eq!(code, 401);
    assert!(message(&answer).contains("default/bot of the token was deleted"), "{answer}");
    world.account("bot").await;
    assert_eq!(world.with(HUB, &bearer, WHO).await.0, 401, "another account of the same name");
}

#[tokio::test]
async fn token_requests_that_can_not_be_met_say_so() {
    let world = World::new().await;
    world.account("bot").await;
    for (spec, code, why) in [
        (json!({"expirationSeconds": 599}), 422, "may not specify a duration less than 10 minutes"),
        (json!({"expirationSeconds": -1}), 422, "less than 10 minutes"),
        (json!({"expirationSeconds": 1_u64 << 33}), 422, "larger than 2^32 seconds"),
        (json!({"expirationSeconds": "soon"}), 422, "larger than 2^32 seconds"),
        (json!({"boundObjectRef": {"kind": "Pod", "name": "a"}}), 422, "spec.boundObjectRef"),
    ] {
        let (got, answer) = world.ask_for("bot", spec).await;
        assert_eq!(got, code, "{answer}");
        assert!(message(&answer).contains(why), "{answer}");
    }
    assert_eq!(world.ask_for("nobody", json!({})).await.0, 404);
    let path = format!("{ACCOUNTS}/bot/token");
    let (code, _) = world.admin(Method::POST, &path, &json!({"kind": "Pod"})).await;
    assert_eq!(code, 400);
    let user = Identity::new("ann", []);
    let (code, answer) =
        world.send(HUB, user, Method::POST, &path, &[], &json!({"kind": "TokenRequest"})).await;
    assert_eq!(code, 403);
    assert!(message(&answer).contains(r#"cannot create resource "serviceaccounts/token""#), "{answer}");
}

#[tokio::test]
async fn token_reviews_tell_whom_a_token_names() {
    let world = World::new().await;
    world.account("bot").await;
    let token = world.token("bot", json!({"audiences": ["vault", "other"]})).await;
    let status = world.review(&token, json!(["vault", "unknown"])).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:bot");
    let status = world.review(&token, Value::Null).await;
    assert_eq!(status["authenticated"], false);
    assert!(status["error"].as_str().unwrap().contains("not for"), "{status}");
    assert_eq!(world.review("nonsense", Value::Null).await["authenticated"], false);
}

/// A key in the data folder outlives the process; so do tokens.
#[tokio::test]
async fn a_kept_key_keeps_tokens() {
    use fleet_apiserver::pki::{Authority, PkiError};
    let folder = tempfile::tempdir().unwrap();
    let now = jiff::Timestamp::from_second(START).unwrap();
    let key = || Authority::open(folder.path(), now).unwrap().token_key();
    let server = |key: TokenKey, store: Store| {
        let options = Options {
            clock: Arc::new(move || now),
            seed: 1,
            version: String::new(),
            token_key: Some(key),
            certificate_authority: String::new(),
            author: None,
            advisor: None,
        };
        ApiServer::new(store, options)
    };
    let store = Store::memory(fleet_store::Options::default());
    let mut world = World::new().await;
    world.server = server(key().unwrap(), store.clone());
    world.server.create_cluster(HUB, ClusterProfile::default()).await.unwrap();
    let bearer = format!("Bearer {}", world.token("default", json!({})).await);
    world.server = server(key().unwrap(), store);
    world.server.create_cluster(HUB, ClusterProfile::default()).await.unwrap();
    assert_eq!(world.with(HUB, &bearer, WHO).await.0, 201);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.path().join("sa.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others could make tokens");
    }
    std::fs::write(folder.path().join("sa.key"), "no key").unwrap();
    let refused = key().unwrap_err();
    assert!(matches!(refused, PkiError::TokenKey { .. }), "{refused}");
    assert!(refused.to_string().contains("delete it to start with a new key"), "{refused}");
}

async fn grant(world: &World, name: &str, rules: Value) {
    let (role, binding) = (
        json!({"metadata": {"name": name}, "rules": rules}),
        json!({"metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "User", "name": name}]}),
    );
    for (kind, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{kind}");
        assert_eq!(world.admin(Method::POST, &path, &object).await.0, 201);
    }
}

/// Whoever may speak for somebody would speak for anybody.
#[tokio::test]
async fn speaking_for_others_takes_the_right_to() {
    let world = World::new().await;
    let rule = |group: &str, resources: &[&str], names: &[&str]| json!({"apiGroups": [group], "resources": resources, "resourceNames": names, "verbs": ["impersonate"]});
    let rules = [
        rule("", &["users"], &["bob"]),
        rule("", &["groups"], &["devs"]),
        rule("", &["serviceaccounts"], &["bot"]),
        rule("authentication.k8s.io", &["uids"], &["7"]),
        rule("authentication.k8s.io", &["userextras/reason"], &["test"]),
    ];
    grant(&world, "ann", json!(rules)).await;
    let as_ann = async |headers: &[(&str, &str)]| {
        world.send(HUB, Identity::new("ann", []), Method::POST, WHO, headers, &json!({})).await
    };
    let user = ("impersonate-user", "bob");
    let (code, who) = as_ann(&[
        user,
        ("impersonate-group", "devs"),
        ("impersonate-uid", "7"),
        ("impersonate-extra-Reason", "test"),
    ])
    .await;
    assert_eq!(code, 201, "{who}");
    let info = json!({"username": "bob", "uid": "7", "groups": ["devs", "system:authenticated"],
        "extra": {"reason": ["test"]}});
    assert_eq!(who["status"]["userInfo"], info);
    let (_, who) = as_ann(&[("impersonate-user", "system:serviceaccount:default:bot")]).await;
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!(who["status"]["userInfo"]["groups"], groups);
    let prefix = r#"User "ann" cannot impersonate resource "#;
    for (headers, code, why) in [
        (vec![("impersonate-user", "root")], 403, r#"users "root" is forbidden: "#),
        (
            vec![user, ("impersonate-group", "system:masters")],
            403,
            r#"groups "system:masters" is forbidden: "#,
        ),
        (vec![user, ("impersonate-uid", "8")], 403, "uids.authentication.k8s.io"),
        (vec![user, ("impersonate-extra-reason", "other")], 403, "userextras/reason"),
        (vec![user, ("impersonate-extra-scopes", "test")], 403, "userextras/scopes"),
        (vec![("impersonate-user", "system:serviceaccount:default:other")], 403, "serviceaccounts"),
        (vec![("impersonate-group", "devs")], 400, "without a user to impersonate"),
        (vec![("impersonate-uid", "7")], 400, "without a user to impersonate"),
        (vec![("impersonate-user", "")], 400, "without a user to impersonate"),
    ] {
        let (got, answer) = as_ann(&headers).await;
        assert_eq!(got, code, "{headers:?}: {answer}");
        assert!(message(&answer).contains(why), "{headers:?}: {answer}");
        assert_eq!(code == 403, message(&answer).contains(prefix), "{answer}");
    }
    // What is asked then is asked as the other one.
    let (code, answer) =
        world.send(HUB, Identity::admin("root"), Method::GET, "/api/v1/pods", &[user], &Value::Null).await;
    assert_eq!(code, 403);
    assert!(message(&answer).contains(r#"User "bob" cannot list resource "pods""#), "{answer}");
}
