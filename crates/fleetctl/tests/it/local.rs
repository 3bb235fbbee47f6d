//! `fleetctl local` as a process of its own, with data on disk.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::support::client_of;

struct Data(tempfile::TempDir);

impl Data {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("fleet")
    }

    fn fleetctl(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetctl"));
        command.arg("local").args(words).arg("--data").arg(self.path()).env_remove("KUBECONFIG");
        command.output().unwrap()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if self.path().join("pid").exists() {
            self.fleetctl(&["down"]);
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// Up, seen, stopped and started members, down: and each twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_local_fleet() {
    let data = Data::new();
    assert_eq!(code(&data.fleetctl(&["status"])), Some(6));
    let up = data.fleetctl(&["up", "--detach", "--members", "b=second,a=first"]);
    assert_eq!(code(&up), Some(0), "{up:?}");
    let path = data.path();
    assert_eq!(text(&up.stdout), format!("export KUBECONFIG={}\n", path.join("kubeconfig").display()));
    let again = data.fleetctl(&["up"]);
    assert_eq!(code(&again), Some(4));
    assert!(text(&again.stderr).contains(&format!("pid {}", data.read("pid").trim())), "{again:?}");
    assert!(text(&again.stderr).contains(data.read("address").trim()), "{again:?}");

    assert_eq!(code(&data.fleetctl(&["stop", "first"])), Some(0));
    let status = text(&data.fleetctl(&["status"]).stdout);
    assert!(status.contains("a      first    stopped\nb      second   running"), "{status}");
    let unknown = data.fleetctl(&["start", "frist"]);
    assert_eq!(code(&unknown), Some(3));
    assert!(text(&unknown.stderr).contains("did you mean \"first\"?"), "{unknown:?}");

    let address = data.read("address");
    assert_eq!(code(&data.fleetctl(&["down"])), Some(0));
    assert_eq!(code(&data.fleetctl(&["down"])), Some(0));
    // What was stopped stays so, at the same address.
    assert_eq!(code(&data.fleetctl(&["up", "--detach"])), Some(0));
    assert_eq!(data.read("address"), address);
    let status = text(&data.fleetctl(&["status"]).stdout);
    assert!(status.contains("a      first    stopped"), "{status}");
    assert_eq!(code(&data.fleetctl(&["start", "a"])), Some(0));
    assert_eq!(code(&data.fleetctl(&["down"])), Some(0));
}

/// What was answered must still be there after a kill that nobody can prepare for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_lost_by_a_kill() {
    let data = Data::new();
    assert_eq!(code(&data.fleetctl(&["up", "--detach"])), Some(0));
    let kubeconfig = data.read("kubeconfig");
    let create = async |context: &str, name: &str| {
        let api: Api<Namespace> = Api::all(client_of(&kubeconfig, context).await);
        let namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        api.create(&PostParams::default(), &namespace).await.unwrap();
    };
    create("hub", "kept").await;
    create("mc-bj1", "kept-too").await;
    let killed = Command::new("kill").args(["-9", data.read("pid").trim()]).status().unwrap();
    assert!(killed.success());
    crate::support::eventually("the lock is free", async || code(&data.fleetctl(&["status"])) == Some(6))
        .await;
    assert_eq!(code(&data.fleetctl(&["up", "--detach"])), Some(0));
    // The same kubeconfig goes on working.
    for (context, name) in [("hub", "kept"), ("mc-bj1", "kept-too")] {
        let api: Api<Namespace> = Api::all(client_of(&kubeconfig, context).await);
        assert!(api.get_opt(name).await.unwrap().is_some(), "{name} on {context}");
    }
    assert_eq!(code(&data.fleetctl(&["down"])), Some(0));
}

/// Words that mean two members are refused before anything is made.
#[test]
fn members_that_are_not_distinct_leave_nothing_behind() {
    let data = Data::new();
    let cases = [
        ("a=x,a=y", "entry 2 (a=y): the name \"a\""),
        ("a=x,b=x", "entry 2 (b=x): the alias \"x\""),
        ("a=b,b=x", "entry 2 (b=x): the name \"b\""),
        ("a=all", "the alias \"all\" has a meaning of its own"),
        ("a=x,b=hub", "entry 2 (b=hub): the alias \"hub\""),
        ("local", "the name \"local\""),
    ];
    for (members, expected) in cases {
        for detach in [&[][..], &["--detach"]] {
            let refused = data.fleetctl(&[&["up", "--members", members], detach].concat());
            assert_eq!(code(&refused), Some(2), "{refused:?}");
            assert!(text(&refused.stderr).contains(expected), "{refused:?}");
            assert!(!data.path().exists(), "{members}");
        }
    }
}

/// Whoever ends a fleet by a signal has what was asked for.
#[test]
fn a_signal_is_an_orderly_end() {
    for signal in ["-INT", "-TERM"] {
        let data = Data::new();
        let mut up = Command::new(env!("CARGO_BIN_EXE_fleetctl"));
        up.args(["local", "up", "--memory", "--data"]).arg(data.path());
        let mut up =
            up.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(up.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("export KUBECONFIG="), "{line}");
        assert!(Command::new("kill").args([signal, &up.id().to_string()]).status().unwrap().success());
        assert_eq!(up.wait().unwrap().code(), Some(0), "{signal}");
    }
}

/// A port that is taken, and a folder that isn't ours, are said at once, and nothing is started or changed.
#[test]
fn what_stands_in_the_way_is_said() {
    let data = Data::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for words in [&["up", "--port", &port][..], &["up", "--detach", "--port", &port]] {
        let refused = data.fleetctl(words);
        assert_eq!(code(&refused), Some(4), "{refused:?}");
        let said = format!("error: port {port} is in use by another process");
        assert!(text(&refused.stderr).starts_with(&said), "{refused:?}");
    }
    let other = Data::new();
    std::fs::create_dir(other.path()).unwrap();
    std::fs::write(other.path().join("thesis.txt"), "chapter one").unwrap();
    let refused = other.fleetctl(&["up", "--detach"]);
    assert_eq!(code(&refused), Some(4), "{refused:?}");
    assert!(text(&refused.stderr).contains("isn't empty"), "{refused:?}");
    assert!(Path::new(&other.path()).join("thesis.txt").exists());
}

/// A kubeconfig of a person's own: without rights it opens nothing, with them what was bound, on hub and members, and
/// it follows the fleet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_local_fleet_have_what_is_bound_to_them() {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ListParams;

    let data = Data::new();
    let add = |name: &str| data.fleetctl(&["user", "add", name, "--groups", "team-web"]);
    let early = add("ann");
    assert_eq!(code(&early), Some(3), "{early:?}");
    assert!(text(&early.stderr).contains("is no data folder of a fleet"), "{early:?}");
    assert!(!data.path().exists(), "nothing is made");
    assert_eq!(code(&data.fleetctl(&["up", "--detach", "--members", "a=first"])), Some(0));
    for (words, expected) in [
        (&["user", "add", "system:admin"][..], "names with system: are Kubernetes' own"),
        (&["user", "add", "../ann"], "use letters, digits"),
        (&["user", "add", "ann", "--groups", "system:masters"], "--clusterrole=cluster-admin"),
        (&["user", "add", "ann", "--groups", "a,,b"], "a group has 1 to 64 characters"),
        (&["user", "add", "ann", "--expires", "30"], "has no unit"),
    ] {
        let refused = data.fleetctl(words);
        assert_eq!(code(&refused), Some(2), "{refused:?}");
        assert!(text(&refused.stderr).contains(expected), "{refused:?}");
    }
    let made = add("ann");
    assert_eq!(code(&made), Some(0), "{made:?}");
    let said = text(&made.stdout);
    assert!(said.contains("ann.kubeconfig: user ann of team-web, good until "), "{said}");
    assert!(said.contains("--clusterrole=fleetctl-approver --group=team-web"), "{said}");
    let again = add("ann");
    assert_eq!(code(&again), Some(4));
    assert!(text(&again.stderr).contains("exists already (good until "), "{again:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(data.path().join("ann.kubeconfig")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others could read the key");
    }

    let maps = async |context: &str| {
        let client = client_of(&data.read("ann.kubeconfig"), context).await;
        let api: Api<ConfigMap> = Api::namespaced(client, "default");
        api.list(&ListParams::default()).await.map(|list| list.items.len())
    };
    let admin = async |context: &str| client_of(&data.read("kubeconfig"), context).await;
    let refused = maps("hub").await.unwrap_err().to_string();
    assert!(refused.contains("User \"ann\" cannot list resource \"configmaps\""), "{refused}");
    let bind = async |context: &str, role: &str| {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": role, "namespace": "default" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "team-web" }],
        });
        crate::support::apply(&admin(context).await, &binding).await;
    };
    bind("hub", "view").await;
    maps("hub").await.unwrap();
    maps("a").await.unwrap_err();
    bind("a", "view").await;
    maps("a").await.unwrap();
    // Who views a namespace views its Applications, and only who was made an approver approves them.
    let may = async |verb: &str| {
        let review = json!({ "spec": { "resourceAttributes": {
            "group": "core.oam.dev", "resource": "applications", "verb": verb, "namespace": "default", "name": "web",
        } } });
        let review = serde_json::from_value(review).unwrap();
        let client = client_of(&data.read("ann.kubeconfig"), "hub").await;
        let api: Api<k8s_openapi::api::authorization::v1::SelfSubjectAccessReview> = Api::all(client);
        api.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
    };
    crate::support::eventually("viewers view applications", async || may("get").await).await;
    assert!(!may("approve").await);
    bind("hub", "fleetctl-approver").await;
    assert!(may("approve").await && !may("update").await);

    let list = text(&data.fleetctl(&["user", "list"]).stdout);
    assert!(list.starts_with("NAME") && list.contains("ann    team-web"), "{list}");
    // A member more, and another start: the same file goes on.
    assert_eq!(code(&data.fleetctl(&["down"])), Some(0));
    assert_eq!(code(&data.fleetctl(&["up", "--detach", "--members", "b=second"])), Some(0));
    maps("hub").await.unwrap();
    let refused = maps("b").await.unwrap_err().to_string();
    assert!(refused.contains("User \"ann\""), "{refused}");
    let removed = data.fleetctl(&["user", "remove", "ann"]);
    assert_eq!(code(&removed), Some(0), "{removed:?}");
    assert!(text(&removed.stdout).contains("a certificate can't be taken back"), "{removed:?}");
    assert_eq!(code(&data.fleetctl(&["user", "remove", "ann"])), Some(3));
    assert_eq!(code(&data.fleetctl(&["down"])), Some(0));
}
