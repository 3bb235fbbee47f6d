//! The README's five minutes by hand, line by line, with the program as it is built and the kubectl that is there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// One line to type and what is to come back; nothing said means nothing compared.
struct Line {
    typed: String,
    expected: Vec<String>,
}

/// The lines behind the heading, as the README shows them.
fn tour() -> Vec<Line> {
    let readme = include_str!("../../../../README.md");
    let tour = readme.split("## Five minutes by hand").nth(1).expect("the heading is there");
    let tour = tour.split("\n## ").next().unwrap_or_default();
    let mut lines: Vec<Line> = Vec::new();
    for line in tour.lines().filter_map(|line| line.strip_prefix("    ")) {
        match line.strip_prefix("$ ") {
            Some(typed) => {
                let typed = typed.split("  #").next().unwrap_or_default().trim_end().to_owned();
                lines.push(Line { typed, expected: Vec::new() });
            }
            None => lines.last_mut().expect("output follows a command").expected.push(line.to_owned()),
        }
    }
    lines
}

/// Ages differ, and three dots stand for anything.
fn fits(expected: &str, line: &str) -> bool {
    let is_age = |word: &str| {
        let digits = word.trim_end_matches(['s', 'm']);
        digits.len() < word.len()
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_ascii_digit() || c == 'm')
    };
    let (expected, line): (Vec<&str>, Vec<&str>) =
        (expected.split_whitespace().collect(), line.split_whitespace().collect());
    match expected.iter().position(|word| *word == "...") {
        None => {
            expected.len() == line.len()
                && expected.iter().zip(&line).all(|(a, b)| a == b || is_age(a) && is_age(b))
        }
        Some(dots) => expected.iter().take(dots).zip(&line).all(|(a, b)| a == b) && line.len() >= dots,
    }
}

/// The fleet of this test, ended whatever happens.
struct Room {
    folder: tempfile::TempDir,
}

impl Room {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, typed: &str) -> Output {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_fleetctl"));
        let programs = program.parent().map(Path::display).map(|path| path.to_string()).unwrap_or_default();
        Command::new("bash")
            .args(["-c", &format!("export PATH={programs}:$PATH; {typed}")])
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("KUBECACHEDIR", self.path().join("cache"))
            .env("KUBECONFIG", self.path().join("fleet/kubeconfig"))
            .env_remove("RUST_BACKTRACE")
            .output()
            .expect("bash is there")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.run("fleetctl local down --data ./fleet");
    }
}

#[test]
fn the_readmes_five_minutes_are_true() {
    let version = Command::new("kubectl").args(["version", "--client"]).output();
    let Ok(version) = version else {
        #[expect(
            clippy::disallowed_methods,
            reason = "whether a missing kubectl may pass is the caller's to say"
        )]
        let required = std::env::var("FLEETCTL_REQUIRE_KUBECTL").is_ok_and(|value| value == "1");
        assert!(!required, "kubectl isn't installed, and FLEETCTL_REQUIRE_KUBECTL=1 demands it");
        println!("SKIPPED: kubectl isn't installed, so the README's transcript was not run");
        return;
    };
    println!("{}", String::from_utf8_lossy(&version.stdout));
    let room = Room { folder: tempfile::tempdir().expect("a folder") };
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    std::os::unix::fs::symlink(examples, room.path().join("examples")).expect("linked");
    let tour = tour();
    assert!(tour.len() >= 10, "the tour has {} lines", tour.len());
    for line in tour.iter().filter(|line| !line.typed.starts_with("export ")) {
        let output = room.run(&line.typed);
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "$ {}\n{stdout}{stderr}", line.typed);
        if line.expected.is_empty() {
            continue;
        }
        let said: Vec<&str> = stdout.lines().collect();
        let as_expected =
            said.len() == line.expected.len() && line.expected.iter().zip(&said).all(|(a, b)| fits(a, b));
        assert!(as_expected, "$ {}\nexpected:\n{}\nsaid:\n{stdout}", line.typed, line.expected.join("\n"));
    }
}
