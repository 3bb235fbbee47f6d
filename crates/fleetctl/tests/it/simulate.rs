//! `fleetctl simulate`: the same seed says the same, faults show, and what makes no sense is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetctl::environment::{Called, Environment};
use fleetctl::exit::Exit;
use fleetctl::output::Streams;
use serde_json::Value;

fn example() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/three-centres").display().to_string()
}

/// Exit code, stdout and stderr of a rehearsal.
async fn simulate(arguments: &[&str]) -> (Exit, String, String) {
    let (streams, out, err) = Streams::captured();
    let environment = Environment {
        redraws: false,
        streams,
        clock: Arc::new(jiff::Timestamp::now),
        seed: 1,
        kubeconfig: None,
        home: None,
        temporary: std::env::temp_dir(),
        executable: PathBuf::from("fleetctl"),
        process: 1,
        called: Called::Fleetctl,
    };
    let words = ["fleetctl", "simulate"].iter().chain(arguments).map(std::ffi::OsString::from);
    let exit = fleetctl::run(&environment, &words.collect::<Vec<_>>()).await;
    (exit, out.text(), err.text())
}

fn milliseconds(out: &str, about: &str, what: &str) -> u64 {
    let whole: Value = serde_json::from_str(out).unwrap();
    let entries = whole["timeline"].as_array().unwrap();
    let found = entries.iter().find(|entry| {
        entry["place"].as_str().unwrap().contains(about) && entry["what"].as_str().unwrap().starts_with(what)
    });
    found.unwrap_or_else(|| panic!("{about} {what}: {out}"))["at"].as_u64().unwrap()
}

/// Broken: what was rehearsed can't be shown to anybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_seed_gives_the_same_output() {
    let example = example();
    let rehearse = async |seed: &str| {
        simulate(&[
            "-f",
            &example,
            "--seed",
            seed,
            "--fault",
            "cluster2-beijing@2s=flap=7s for 1m",
            "--fault",
            "controller@5s=crash",
            "--fault",
            "cluster1-hangzhou@0s=slow=700ms",
        ])
        .await
    };
    let first = rehearse("7").await;
    assert_eq!(first.0, Exit::Done, "{first:?}");
    for _ in 0..3 {
        assert_eq!(rehearse("7").await, first);
    }
    let other = rehearse("8").await;
    assert_eq!(other.0, Exit::Done);
    assert_ne!(other.1, first.1, "the seed changes nothing");
}

/// What a rehearsal logs while it ends looks like a crash, above the result.
#[test]
fn a_rehearsal_that_went_well_says_nothing_else() {
    let ran = std::process::Command::new(env!("CARGO_BIN_EXE_fleetctl"))
        .args(["simulate", "-f", &example(), "--fault", "cluster2-beijing@2s=down for 5m"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!((ran.status.code(), said.as_ref()), (Some(0), ""));
}

/// A member that is down for five minutes is waited for, the one behind it comes after it, and no longer than it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_down_delays_what_comes_after_it() {
    let (exit, out, err) =
        simulate(&["-f", &example(), "-o", "json", "--fault", "cluster2-beijing@0s=down for 5m"]).await;
    assert_eq!(exit, Exit::Done, "{err}");
    assert!(milliseconds(&out, "cluster1-beijing in", "succeeded") < 10_000);
    let (second, third) = (
        milliseconds(&out, "cluster2-beijing in", "succeeded"),
        milliseconds(&out, "cluster1-hangzhou in", "delivering"),
    );
    assert!(second > 300_000 && second < 400_000 && third >= second, "{second} {third}");
}

/// Each fault shows as what it is; a script can tell by the exit code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_show_in_the_end() {
    let example = example();
    for (kind, exit, said) in [
        ("reject", Exit::Failed, "everything is rejected"),
        ("unhealthy for 2m", Exit::Done, ""),
        ("full for 1m", Exit::Done, ""),
        ("refuse for 1m", Exit::Done, ""),
    ] {
        let fault = format!("cluster1-beijing@0s={kind}");
        let (ended, out, err) = simulate(&["-f", &example, "--fault", &fault]).await;
        assert_eq!(ended, exit, "{kind}: {out}{err}");
        assert!(format!("{out}{err}").contains(said), "{kind}: {out}{err}");
    }
}

/// A gate is shown with its plan, and waits for whoever is to answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_wait_for_who_is_to_answer() {
    let example = example();
    let (exit, out, err) = simulate(&["-f", &example, "--approve", "never", "--until", "1h"]).await;
    assert_eq!(exit, Exit::Waiting, "{out}");
    assert!(out.contains("4 to create on cluster2-beijing"), "{out}");
    assert!(err.contains("workflowSuspending"), "{err}");
    let (exit, out, _) =
        simulate(&["-f", &example, "--approve", "deploy-cluster2-beijing=10m", "-o", "json"]).await;
    assert_eq!(exit, Exit::Done);
    assert_eq!(milliseconds(&out, "deploy-cluster2-beijing", "plan "), 600_000);
}

/// Broken: a gate that is reached in the first seconds can't be passed in a rehearsal, since the policy that proves
/// approvals is no older than the rehearsal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_at_the_beginning_is_answered_by_as_many_as_it_demands() {
    let folder = tempfile::tempdir().unwrap();
    let app = |approval: &str| {
        format!(
            "apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata: {{name: p, namespace: demo}}\nspec:\n  components:\n  - name: cm\n    type: k8s-objects\n    properties: {{objects: [{{apiVersion: v1, kind: ConfigMap, metadata: {{name: p}}, data: {{k: v1}}}}]}}\n  policies:\n  - {{name: all, type: topology, properties: {{clusters: [alpha, beta]}}}}\n  workflow:\n    steps:\n    - {{name: go, type: deploy, properties: {{policies: [all], approval: {approval}}}}}\n"
        )
    };
    for (approval, approvers) in
        [("{}", 1), ("{required: 2, groups: [release], excludeAuthor: true, expiresAfter: 30m}", 2)]
    {
        let file = folder.path().join("app.yaml");
        std::fs::write(&file, app(approval)).unwrap();
        let (exit, out, err) = simulate(&["-f", &file.display().to_string()]).await;
        assert_eq!(exit, Exit::Done, "{approval}: {out}{err}");
        for number in 1..=approvers {
            assert!(out.contains(&format!("approved by rehearsal-{number}")), "{approval}: {out}");
        }
    }
}

/// Place, cause, next step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let app = "apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata: {name: web}\nspec: {components: []}\n";
    let two = file("two.yaml", &format!("{app}---\n{app}"));
    let none = file("none.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    let torn = file("torn.yaml", "a: [");
    let odd = file("odd.yaml", "a: 1\n");
    let strange =
        file("strange.yaml", &format!("apiVersion: x.io/v1\nkind: Thing\nmetadata: {{name: a}}\n---\n{app}"));
    let example = example();
    for (arguments, exit, said) in [
        (vec!["-f", &two], Exit::Usage, "2 Applications"),
        (vec!["-f", &none], Exit::Usage, "no Application"),
        (vec!["-f", &torn], Exit::Usage, "torn.yaml"),
        (vec!["-f", &odd], Exit::Usage, "no apiVersion"),
        (vec!["-f", &strange], Exit::Usage, "CustomResourceDefinition"),
        (vec!["-f", "missing.yaml"], Exit::NotFound, "missing.yaml"),
        (vec!["-f", &example, "--fault", "cluster9@3s=down"], Exit::NotFound, "cluster9"),
        (vec!["-f", &example, "--fault", "cluster2-beijing@soon=down"], Exit::Usage, "is no time"),
        (vec!["-f", &example, "--fault", "cluster2-beijing@2h=down"], Exit::Usage, "--until"),
        (vec!["-f", &example, "--until", "0s"], Exit::Usage, "no time at all"),
        (
            vec!["-f", &example, "--approve", "deploy-cluster2-bejing=10m"],
            Exit::NotFound,
            "--approve: no step is named \"deploy-cluster2-bejing\"; did you mean \"deploy-cluster2-beijing\"",
        ),
        (vec!["-f", &example, "--approve", "perhaps"], Exit::Usage, "STEP=TIME"),
        (vec![], Exit::Usage, "--filename"),
    ] {
        let (ended, out, err) = simulate(&arguments).await;
        assert_eq!(ended, exit, "{arguments:?}: {out}{err}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
}
