//! What was answered survives kill -9.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use fleet_store::{Options, Page, Range, Store};

use crate::support::{key, set};

/// Where the child finds its file; its presence makes the test below the child.
const FILE: &str = "FLEET_STORE_KILL_TEST_FILE";

/// If this fails, a crash loses commits that a client was told of.
#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the child's file comes by environment: the test runner owns the arguments"
)]
fn nothing_answered_is_lost() {
    if let Ok(path) = std::env::var(FILE) {
        child(path.as_ref());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::nothing_answered_is_lost", "--nocapture"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let answers =
            lines.filter_map(|line| line.strip_prefix("answered ").map(|n| n.parse::<u64>().unwrap()));
        let last = answers.take(60).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Store::sqlite(&path, Options::default()).unwrap();
        assert!(store.revision() >= last, "round {round}: answered {last}, kept {}", store.revision());
        let kept = store.list(&Range::everywhere("pods"), Page::default()).unwrap().entries;
        let revisions: std::collections::BTreeSet<u64> = kept.iter().map(|entry| entry.revision).collect();
        assert!(
            (2..=last).all(|revision| revisions.contains(&revision)),
            "round {round}: a hole before {last}"
        );
        assert!(kept.iter().all(|entry| entry.value == format!("v@{}", entry.revision)));
    }
}

/// Commits for ever, telling each answer; each object is written once.
fn child(path: &std::path::Path) {
    let store = Store::sqlite(path, Options::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        loop {
            let name = format!("p{}", store.revision());
            let several = (0..4).map(|n| key("a", "pods", "ns", &format!("{name}-{n}"))).collect::<Vec<_>>();
            let entries = futures::future::join_all(several.iter().map(|key| set(&store, key, "v"))).await;
            for entry in entries {
                // The parent is gone: so are we.
                if writeln!(std::io::stdout().lock(), "answered {}", entry.revision).is_err() {
                    return;
                }
            }
        }
    });
}
