//! Lengths, words and forms of files.

use super::{Finding, Source};

/// Lines outside tests above which a file is refused, and above which it is named.
const HARD_LIMIT: usize = 800;
const SOFT_LIMIT: usize = 400;

/// Places of one machine. Split here, so that this file passes its own check.
const PLACES: [&str; 5] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/", "target"),
    concat!(".libr", "ary"),
    concat!("/ho", "me/"),
];

/// Marks of unfinished work.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

/// Judges all files.
pub fn check(files: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        words(file, &mut findings);
        if file.path.ends_with(".rs") {
            forms(file, &mut findings);
        }
    }
    findings.extend(door_plates(files));
    findings
}

/// Files above the soft limit.
pub fn long_files(files: &[Source]) -> Vec<Finding> {
    let long = files.iter().map(|file| (file, lines_of_code(file))).filter(|(_, lines)| *lines > SOFT_LIMIT);
    long.map(|(file, lines)| whole(file, format!("{lines} lines; do two concepts live here?"))).collect()
}

fn whole(file: &Source, message: String) -> Finding {
    Finding { file: file.path.clone(), line: 0, message }
}

/// Lines of a Rust file that is no test, up to its tests.
fn lines_of_code(file: &Source) -> usize {
    let test =
        file.path.contains("/tests/") || file.path.ends_with("tests.rs") || file.path.contains("/benches/");
    if test || !file.path.ends_with(".rs") {
        return 0;
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let tests = lines.windows(2).position(|pair| matches!(pair, ["#[cfg(test)]", "mod tests {"]));
    tests.unwrap_or(lines.len())
}

fn words(file: &Source, findings: &mut Vec<Finding>) {
    for (at, line) in file.text.lines().enumerate() {
        let mut report = |message: String| {
            findings.push(Finding { file: file.path.clone(), line: at + 1, message });
        };
        for place in PLACES.iter().filter(|place| line.contains(**place)) {
            report(format!("names a place of one machine: {place}"));
        }
        if !file.path.ends_with(".jsonl") {
            for mark in MARKS.iter().filter(|mark| has_word(line, mark)) {
                report(format!("{mark}: finish it, or open an issue"));
            }
        }
    }
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|found| found == word)
}

fn forms(file: &Source, findings: &mut Vec<Finding>) {
    if file.path.ends_with("/mod.rs") {
        findings.push(whole(file, "write foo.rs beside foo/ instead of foo/mod.rs".to_owned()));
    }
    let lines = lines_of_code(file);
    if lines > HARD_LIMIT {
        findings.push(whole(file, format!("{lines} lines; at most {HARD_LIMIT}, split it by concept")));
    }
    for (at, line) in file.text.lines().enumerate() {
        if line.trim() == "#[ignore]" {
            let message = "an ignored test says why: #[ignore = \"…\"]".to_owned();
            findings.push(Finding { file: file.path.clone(), line: at + 1, message });
        }
    }
}

/// Every crate begins with what it is for.
fn door_plates(files: &[Source]) -> Vec<Finding> {
    let is_root = |path: &str| {
        let parts: Vec<&str> = path.split('/').collect();
        matches!(parts.as_slice(), ["crates", _, "src", "lib.rs" | "main.rs"])
    };
    let roots = files.iter().filter(|file| is_root(&file.path));
    let bare = roots.filter(|file| !file.text.starts_with("//! "));
    bare.map(|file| whole(file, "begins without //! docs that say what the crate is for".to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&[Source { path: path.into(), text: text.into() }]).len()
    }

    // Broken: the checks pass whatever stands in the files.
    #[test]
    fn each_rule_finds_what_it_is_for() {
        let long = "\n".repeat(HARD_LIMIT + 1);
        for (path, text, expected) in [
            ("README.md", "fine".to_owned(), 0),
            ("README.md", format!("see {}x", PLACES[0]), 1),
            ("README.md", format!("see {}x", PLACES[2]), 1),
            ("crates/a/src/b.rs", format!("// {}: later", MARKS[0]), 1),
            ("crates/a/src/b.rs", format!("// mktemp {}{}", MARKS[2], MARKS[2]), 0),
            ("crates/a/src/b.rs", long.clone(), 1),
            ("crates/a/src/b.rs", format!("#[cfg(test)]\nmod tests {{\n{long}"), 0),
            ("crates/a/tests/it.rs", long, 0),
            ("crates/a/src/b/mod.rs", String::new(), 1),
            ("crates/a/src/b.rs", "    #[ignore]\n".to_owned(), 1),
            ("crates/a/src/b.rs", "    #[ignore = \"needs a cluster\"]\n".to_owned(), 0),
            ("crates/a/src/lib.rs", "pub mod b;\n".to_owned(), 1),
            ("crates/a/src/main.rs", "//! What it is for.\n".to_owned(), 0),
        ] {
            assert_eq!(found(path, &text), expected, "{path}: {:.40}", text.trim());
        }
    }
}
