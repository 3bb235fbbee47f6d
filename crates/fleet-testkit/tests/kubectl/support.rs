//! A fleet behind its listener, and the real kubectl as a child process.
//!
//! Every test has a fleet, a home and a discovery cache of its own, so that none sees what another did.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Once, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_apiserver::pki::Authority;
use fleet_apiserver::{Identity, listen};
use fleet_testkit::Fleet;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The members, with their aliases.
const MEMBERS: [(&str, &str); 2] = [("mc-bj1", "cluster1-beijing"), ("mc-hz1", "cluster1-hangzhou")];
/// The context of a member, where workloads run.
pub(crate) const MEMBER: &str = "mc-bj1";
/// The context of the hub, where they don't.
pub(crate) const HUB: &str = "hub";

static TOLD: Once = Once::new();

/// A fleet behind a listener, and a folder for kubectl.
pub(crate) struct Stage {
    stop: CancellationToken,
    listener: Option<JoinHandle<()>>,
    fleet: Option<Fleet>,
    runtime: Option<Runtime>,
    folder: TempDir,
    /// What went wrong so far: a transcript goes on, so that one run tells of all of it.
    wrong: Mutex<Vec<String>>,
}

/// What a kubectl wrote, and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\n{}{}", self.code, self.out, self.err)
    }
}

/// Past the capturing of the test harness: a skipped transcript must be seen.
fn shout(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment which kubectl is to be used"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The client: `FLEETCTL_KUBECTL`, or the one in `PATH`.
fn program() -> String {
    environment("FLEETCTL_KUBECTL").unwrap_or_else(|| "kubectl".to_owned())
}

#[expect(clippy::disallowed_methods, reason = "kubectl runs in real time")]
fn now() -> Timestamp {
    Timestamp::now()
}

impl Stage {
    /// A fleet of a hub and two members; nothing where there is no kubectl, unless `FLEETCTL_REQUIRE_KUBECTL=1`.
    pub(crate) fn start() -> Option<Self> {
        let probe = Command::new(program()).args(["version", "--client"]).stderr(Stdio::null()).output();
        if !probe.is_ok_and(|output| output.status.success()) {
            let required = environment("FLEETCTL_REQUIRE_KUBECTL").as_deref() == Some("1");
            TOLD.call_once(|| shout("*** kubectl is missing: the kubectl transcripts are SKIPPED ***"));
            assert!(!required, "FLEETCTL_REQUIRE_KUBECTL=1, but {} doesn't run", program());
            return None;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let stop = CancellationToken::new();
        let (fleet, listener, config) = runtime.block_on(Self::serve(stop.clone()));
        std::fs::create_dir(folder.path().join("home")).expect("a home");
        std::fs::write(folder.path().join("kubeconfig"), config.to_string()).expect("a kubeconfig");
        let stage = Self {
            stop,
            listener: Some(listener),
            fleet: Some(fleet),
            runtime: Some(runtime),
            folder,
            wrong: Mutex::default(),
        };
        TOLD.call_once(|| shout(&format!("kubectl of these transcripts:\n{}", stage.hub().ok("version"))));
        Some(stage)
    }

    async fn serve(stop: CancellationToken) -> (Fleet, JoinHandle<()>, Value) {
        let fleet = Fleet::start(&MEMBERS).await.expect("a fleet");
        let authority = Authority::in_memory(now()).expect("an authority");
        let serving = authority.server(&[], now()).expect("a certificate");
        let tls = Arc::new(authority.server_config(&serving).expect("TLS"));
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let api = fleet.api().clone();
        #[expect(clippy::disallowed_methods, reason = "the handle is kept, and awaited when the stage ends")]
        let listener = tokio::spawn(listen::serve(socket, tls, api, listen::Limits::default(), stop));
        let admin = authority
            .client("admin", "tester", &[Identity::MASTERS.to_owned()], now())
            .expect("a certificate");
        let nobody = authority.client("nobody", "nobody", &[], now()).expect("a certificate");
        let foreign = Authority::in_memory(now()).expect("another authority");
        let foreign_client =
            foreign.client("x", "tester", &[Identity::MASTERS.to_owned()], now()).expect("a certificate");
        let ca = STANDARD.encode(authority.certificate_pem());
        let url = |cluster: &str| match cluster {
            HUB => format!("https://{address}"),
            member => format!("https://{address}/clusters/{member}"),
        };
        let user = |name: &str, keyed: &fleet_apiserver::pki::KeyedCertificate| {
            json!({"name": name, "user": {
                "client-certificate-data": STANDARD.encode(&keyed.certificate_pem),
                "client-key-data": STANDARD.encode(&keyed.key_pem)}})
        };
        let mut clusters = Vec::new();
        let mut contexts = Vec::new();
        for name in [HUB].into_iter().chain(MEMBERS.iter().map(|(name, _)| *name)) {
            let cluster = json!({"server": url(name), "certificate-authority-data": ca});
            clusters.push(json!({"name": name, "cluster": cluster}));
            contexts.push(json!({"name": name, "context": {"cluster": name, "user": "admin"}}));
        }
        let wrong = STANDARD.encode(foreign.certificate_pem());
        clusters.push(json!({"name": "wrong-ca",
            "cluster": {"server": url(HUB), "certificate-authority-data": wrong}}));
        clusters.push(json!({"name": "no-cluster",
            "cluster": {"server": url("mc-none"), "certificate-authority-data": ca}}));
        contexts.push(json!({"name": "wrong-ca", "context": {"cluster": "wrong-ca", "user": "admin"}}));
        contexts.push(json!({"name": "no-cluster", "context": {"cluster": "no-cluster", "user": "admin"}}));
        contexts.push(json!({"name": "nobody", "context": {"cluster": HUB, "user": "nobody"}}));
        contexts.push(json!({"name": "foreign", "context": {"cluster": HUB, "user": "foreign"}}));
        contexts.push(json!({"name": "anonymous", "context": {"cluster": HUB, "user": "anonymous"}}));
        let users = [
            user("admin", &admin),
            user("nobody", &nobody),
            user("foreign", &foreign_client),
            json!({"name": "anonymous", "user": {"token": "nonsense"}}),
        ];
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": HUB,
            "clusters": clusters, "contexts": contexts, "users": users});
        (fleet, listener, config)
    }

    fn expect(&self, holds: bool, told: impl FnOnce() -> String) {
        if !holds {
            self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(told());
        }
    }

    /// Where kubectl runs: manifests are named relative to this folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, manifest(text)).expect("a file");
        path
    }

    /// kubectl with a context of one's choice.
    pub(crate) fn context<'a>(&'a self, context: &'a str) -> Kubectl<'a> {
        Kubectl { stage: self, context }
    }

    /// kubectl for the hub.
    pub(crate) fn hub(&self) -> Kubectl<'_> {
        self.context(HUB)
    }

    /// kubectl for a member.
    pub(crate) fn member(&self) -> Kubectl<'_> {
        self.context(MEMBER)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
        drop(self.fleet.take());
        if let (Some(runtime), Some(listener)) = (self.runtime.take(), self.listener.take()) {
            listener.abort();
            runtime.shutdown_background();
        }
        let wrong = std::mem::take(&mut *self.wrong.lock().unwrap_or_else(PoisonError::into_inner));
        let text = format!("{} wrong:\n{}", wrong.len(), wrong.join("\n"));
        if std::thread::panicking() {
            shout(&text);
        } else {
            assert!(wrong.is_empty(), "{text}");
        }
    }
}

/// kubectl in a context.
#[derive(Clone, Copy)]
pub(crate) struct Kubectl<'a> {
    stage: &'a Stage,
    context: &'a str,
}

impl Kubectl<'_> {
    fn command(&self, line: &str, extra: &[(&str, &str)]) -> Command {
        let folder = self.stage.folder();
        let mut command = Command::new(program());
        command
            .args(["--context", self.context, "--request-timeout", "20s"])
            .args(words(line))
            .current_dir(folder)
            .env("HOME", folder.join("home"))
            .env("KUBECONFIG", folder.join("kubeconfig"))
            .env("KUBECACHEDIR", folder.join("cache"))
            .env("TMPDIR", folder)
            .env_remove("KUBERNETES_SERVICE_HOST")
            .env_remove("KUBERNETES_SERVICE_PORT")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.envs(extra.iter().copied());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, line: &str) -> Ended {
        self.run_with(line, "", &[])
    }

    /// Runs it to its end with this on standard input and more environment.
    pub(crate) fn run_with(&self, line: &str, input: &str, extra: &[(&str, &str)]) -> Ended {
        let mut command = self.command(line, extra);
        if !input.is_empty() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().expect("kubectl starts");
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(manifest(input).as_bytes()).expect("kubectl reads");
        }
        finish(child)
    }

    /// Runs it; it must succeed. Answers what it wrote to standard output.
    pub(crate) fn ok(&self, line: &str) -> String {
        self.ok_with(line, "")
    }

    /// The same with something on standard input.
    pub(crate) fn ok_with(&self, line: &str, input: &str) -> String {
        let ended = self.run_with(line, input, &[]);
        self.stage.expect(ended.code == 0, || format!("kubectl {line}\n{ended}"));
        ended.out
    }

    /// Runs it; it must fail with 1 and say all these words. Answers standard error.
    pub(crate) fn fails(&self, line: &str, words: &[&str]) -> String {
        self.fails_with(line, "", words)
    }

    /// The same with something on standard input.
    pub(crate) fn fails_with(&self, line: &str, input: &str, words: &[&str]) -> String {
        let ended = self.run_with(line, input, &[]);
        self.stage.expect(ended.code == 1, || format!("kubectl {line} didn't fail with 1\n{ended}"));
        for word in words {
            self.stage
                .expect(ended.err.contains(word), || format!("kubectl {line} doesn't say {word:?}\n{ended}"));
        }
        ended.err
    }

    /// Runs it; it must write exactly these lines to standard output, by columns: runs of blanks count as one, and
    /// `…` stands for any rest of a line or any one word.
    pub(crate) fn prints(&self, line: &str, wanted: &str) {
        self.prints_with(line, "", wanted);
    }

    /// The same with something on standard input.
    pub(crate) fn prints_with(&self, line: &str, input: &str, wanted: &str) {
        let out = self.ok_with(line, input);
        self.stage.expect(same(&out, wanted), || format!("kubectl {line} printed\n{out}\nwanted\n{wanted}"));
    }

    /// Starts it and leaves it running.
    pub(crate) fn start(&self, line: &str) -> Running {
        let mut child = self.command(line, &[]).spawn().expect("kubectl starts");
        let (tell, lines) = std::sync::mpsc::channel();
        let out = child.stdout.take().expect("piped");
        let reader = std::thread::spawn(move || {
            for line in std::io::BufRead::lines(std::io::BufReader::new(out)).map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines, seen: Vec::new(), reader: Some(reader) }
    }
}

/// A kubectl under way.
pub(crate) struct Running {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    seen: Vec<String>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Waits for a line that matches; answers it.
    pub(crate) fn line(&mut self, wanted: &str) -> String {
        let patience = std::time::Duration::from_secs(20);
        loop {
            match self.lines.recv_timeout(patience) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if same_line(&line, wanted) {
                        return line;
                    }
                }
                Err(why) => {
                    let _ = self.child.kill();
                    let mut told = String::new();
                    if let Some(mut err) = self.child.stderr.take() {
                        let _ = std::io::Read::read_to_string(&mut err, &mut told);
                    }
                    panic!("no line {wanted:?} among {:#?} ({why}); {told}", self.seen);
                }
            }
        }
    }

    /// Waits for its end; answers the exit code.
    pub(crate) fn end(mut self) -> i32 {
        self.child.wait().expect("kubectl ends").code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// kubectl takes what begins with a brace for JSON; a comment lets it see YAML in flow style.
fn manifest(text: &str) -> String {
    let yaml = text.starts_with('{') && !text.starts_with("{\"");
    if yaml { format!("# YAML\n{text}") } else { text.to_owned() }
}

fn finish(child: Child) -> Ended {
    let output = child.wait_with_output().expect("kubectl ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Words as a shell would see them, with single and double quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn same(out: &str, wanted: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    };
    let (out, wanted) = (lines(out), lines(wanted));
    out.len() == wanted.len() && out.iter().zip(&wanted).all(|(line, wanted)| same_line(line, wanted))
}

fn same_line(line: &str, wanted: &str) -> bool {
    let mut line = line.split_whitespace();
    let mut wanted = wanted.split_whitespace().peekable();
    while let Some(word) = wanted.next() {
        if word == "…" && wanted.peek().is_none() {
            return true;
        }
        match line.next() {
            Some(seen) if word == "…" || seen == word => {}
            Some(seen) => match word.split_once('…') {
                Some((head, tail)) if seen.starts_with(head) && seen.ends_with(tail) => {}
                _ => return false,
            },
            None => return false,
        }
    }
    line.next().is_none()
}
