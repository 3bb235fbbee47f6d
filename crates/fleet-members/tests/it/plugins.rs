//! Credential plugins: run when they are needed, and no oftener.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use fleet_members::{AllowedPlugin, Credentials, Identity, RemoteOptions};
use jiff::Timestamp;
use kube::config::ExecConfig;
use serde_json::json;

use crate::support::{Fake, answer, eventually, options};

/// A plugin that counts its runs in a file and gives `token-<run>` for as long as it is told.
struct Script {
    folder: tempfile::TempDir,
    now: Arc<AtomicI64>,
}

impl Script {
    fn new(body: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin");
        let counting = format!(
            "#!/bin/sh\ncd {}\necho run >> runs\nN=$(wc -l < runs | tr -d ' ')\n{body}\n",
            folder.path().display()
        );
        std::fs::write(&path, counting).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, now: Arc::new(AtomicI64::new(1_800_000_000)) }
    }

    /// Gives tokens that end after so many seconds of the injected clock's start.
    fn giving(ends_after: i64) -> Self {
        let end = Timestamp::from_second(1_800_000_000 + ends_after).unwrap();
        Self::new(&format!(
            r#"echo '{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{{"token":"token-'$N'","expirationTimestamp":"{end}"}}}}'"#
        ))
    }

    fn path(&self) -> String {
        self.folder.path().join("plugin").display().to_string()
    }

    fn runs(&self) -> usize {
        runs(self.folder.path())
    }

    fn options(&self) -> RemoteOptions {
        let mut options = options();
        options.plugins = [self.path().parse::<AllowedPlugin>().unwrap()].into_iter().collect();
        let now = Arc::clone(&self.now);
        options.clock = Arc::new(move || Timestamp::from_second(now.load(Ordering::SeqCst)).unwrap());
        options
    }

    fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    fn credentials(&self, fake: &Fake) -> Credentials {
        let exec: ExecConfig =
            serde_json::from_value(json!({"command": self.path(), "provideClusterInfo": true})).unwrap();
        let authority = Some(fake.authority.certificate_pem().to_owned());
        Credentials::new(&fake.endpoint(), authority, Identity::Plugin(Box::new(exec))).unwrap()
    }
}

fn runs(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("runs")).unwrap_or_default().lines().count()
}

/// A server that keeps the tokens that it got, and accepts all but one.
async fn keeping(refused: Option<&'static str>) -> (Fake, Arc<Mutex<Vec<String>>>) {
    let tokens: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&tokens);
    let fake = Fake::answering(move |request| {
        let token = request.headers()["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
        kept.lock().unwrap().push(token.clone());
        match refused == Some(token.as_str()) {
            true => answer(401, &json!({"kind": "Status", "status": "Failure", "reason": "Unauthorized", "code": 401})),
            false => answer(200, &json!({"major": "1", "minor": "35", "gitVersion": "v1.35.0", "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""})),
        }
    })
    .await;
    (fake, tokens)
}

/// The cloud's token lasts minutes: it is used while it lasts, fetched anew before it ends, and many requests at once
/// run the plugin once.
#[tokio::test]
async fn a_token_is_used_while_it_lasts_and_fetched_anew_before_it_ends() {
    let script = Script::giving(600);
    let (fake, tokens) = keeping(None).await;
    let client = script.credentials(&fake).client_with(&script.options()).unwrap();
    assert_eq!(script.runs(), 0, "nothing runs before it is needed");
    let asked = futures::future::join_all((0..20).map(|_| client.apiserver_version())).await;
    assert!(asked.iter().all(Result::is_ok), "{asked:?}");
    assert_eq!(script.runs(), 1);
    // Two minutes before its end it still serves, while the next one is fetched.
    script.pass(500);
    client.apiserver_version().await.unwrap();
    assert_eq!(tokens.lock().unwrap().last().unwrap(), "token-1");
    eventually("the next token", || script.runs() == 2).await;
    // Ended, it isn't sent any more.
    script.pass(600);
    client.apiserver_version().await.unwrap();
    assert_ne!(tokens.lock().unwrap().last().unwrap(), "token-1");
}

/// A token that the member refuses (revoked, or its clock is ahead) is fetched anew once; the request goes on.
#[tokio::test]
async fn a_refused_token_is_fetched_anew_once() {
    let script = Script::giving(6_000);
    let (fake, tokens) = keeping(Some("token-1")).await;
    let client = script.credentials(&fake).client_with(&script.options()).unwrap();
    client.apiserver_version().await.unwrap();
    assert_eq!(*tokens.lock().unwrap(), ["token-1", "token-2"]);
    assert_eq!(script.runs(), 2);
    // One that is refused for good isn't fetched again and again for the same request.
    let script = Script::new(
        r#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"token-1"}}'"#,
    );
    let client = script.credentials(&fake).client_with(&script.options()).unwrap();
    assert!(matches!(client.apiserver_version().await, Err(kube::Error::Api(status)) if status.code == 401));
    assert_eq!(script.runs(), 2);
}

/// A failing plugin says why, and isn't run for each request.
#[tokio::test]
async fn a_failing_plugin_says_why_and_is_not_run_again_at_once() {
    let script = Script::new("echo 'no profile named dev' >&2; exit 3");
    let (fake, _) = keeping(None).await;
    let client = script.credentials(&fake).client_with(&script.options()).unwrap();
    for _ in 0..5 {
        let error = format!("{:?}", client.apiserver_version().await.unwrap_err());
        assert!(error.contains("no profile named dev"), "{error}");
    }
    assert_eq!(script.runs(), 1);
    assert_eq!(fake.accepted(), 0, "without a token nothing is asked");
}

/// What a Secret names runs only where the administrator said so.
#[tokio::test]
async fn what_is_not_allowed_does_not_run() {
    let script = Script::giving(600);
    let (fake, _) = keeping(None).await;
    let credentials = script.credentials(&fake);
    let error = credentials.client_with(&options()).err().unwrap().to_string();
    assert!(error.contains("--allow-exec-plugin"), "{error}");
    assert!(credentials.client().is_err());
    assert_eq!(script.runs(), 0);
}
