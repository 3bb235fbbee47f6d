//! The tests that documents name as proof are there.

use std::collections::BTreeSet;

use super::{Finding, Source};

/// Documents whose tables name tests in their last column.
const DOCUMENTS: [&str; 2] = ["docs/invariants.md", "docs/mistakes.md"];

/// Judges the documents among the files.
pub fn check(files: &[Source]) -> Vec<Finding> {
    let known = names(files);
    let mut findings = Vec::new();
    for document in files.iter().filter(|file| DOCUMENTS.contains(&file.path.as_str())) {
        for (at, line) in document.text.lines().enumerate() {
            let missing = named(line).into_iter().filter(|name| !is_known(&known, name));
            findings.extend(missing.map(|name| Finding {
                file: document.path.clone(),
                line: at + 1,
                message: format!("there is no test {name:?}; name the one that proves it now"),
            }));
        }
    }
    findings
}

/// What functions, modules and tests that macros make are called.
fn names(files: &[Source]) -> BTreeSet<&str> {
    let sources = files.iter().filter(|file| file.path.ends_with(".rs"));
    let mut names = BTreeSet::new();
    for line in sources.flat_map(|file| file.text.lines()) {
        let mut words = line.split(|c: char| !is_word(c)).filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            if matches!(word, "fn" | "mod") {
                names.extend(words.next());
            }
        }
        // A macro's test: its name and a colon alone on a line.
        names.extend(line.trim().split_once(':').map(|(name, _)| name).filter(|name| is_name(name)));
    }
    names
}

/// The tests that stand in the last column of a table's row.
fn named(line: &str) -> Vec<&str> {
    let row = line.strip_prefix('|').and_then(|row| row.trim_end().strip_suffix('|'));
    let Some((_, last)) = row.and_then(|row| row.rsplit_once('|')) else { return Vec::new() };
    let quoted = last.split('`').skip(1).step_by(2);
    quoted
        .filter(|text| text.contains(['_', ':']) && text.chars().all(|c| is_word(c) || ":*…".contains(c)))
        .collect()
}

/// Whether each part of a path is known; a part that ends in `…` is cut short, `*` is all of them.
fn is_known(known: &BTreeSet<&str>, path: &str) -> bool {
    path.split("::").filter(|part| !part.is_empty() && *part != "*").all(|part| {
        match part.strip_suffix('…') {
            Some(start) => known.iter().any(|name| name.starts_with(start)),
            None => known.contains(part),
        }
    })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_name(text: &str) -> bool {
    text.contains('_') && text.chars().all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Broken: a test is renamed, and a document goes on naming one that nobody runs.
    #[test]
    fn tests_that_are_gone_are_found() {
        let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
        let code = "mod gates;\nasync fn a_gate_opens() {}\n    a_macro_made_it:\n";
        let rows = "| a | `gates::a_gate_opens`, `gates::a_gate…`, `gates::*` |\n| b | `a_macro_made_it` |\n\
                    | `no_test` | `gates::a_gate_shuts` |\n| c | `fleet-plan` `it_was_renamed` |\n";
        let found = check(&[source("crates/a/tests/it/main.rs", code), source("docs/mistakes.md", rows)]);
        let lines: Vec<usize> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [3, 4], "{found:?}");
    }
}
