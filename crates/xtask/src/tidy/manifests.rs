//! What every manifest inherits from the workspace.

use super::{Finding, Source};

/// Lines that stand in the `[package]` of every crate.
const INHERITED: [&str; 6] = [
    "version.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "license.workspace = true",
    "repository.workspace = true",
    "publish.workspace = true",
];

/// Judges the manifests among the files.
pub fn check(files: &[Source]) -> Vec<Finding> {
    let manifests = files.iter().filter(|file| is_manifest(&file.path));
    manifests.flat_map(check_one).collect()
}

fn is_manifest(path: &str) -> bool {
    path.strip_prefix("crates/").is_some_and(|rest| rest.split('/').nth(1) == Some("Cargo.toml"))
}

fn check_one(file: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |line: usize, message: String| {
        findings.push(Finding { file: file.path.clone(), line, message });
    };
    let mut section = "";
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            if section.contains("dependencies.") {
                report(at + 1, "write the dependency on one line: name = { workspace = true }".to_owned());
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            seen.push((section, line));
            if section.ends_with("dependencies") && line.contains('=') && !line.contains("workspace = true") {
                let message = "versions stand in [workspace.dependencies] only; write { workspace = true }";
                report(at + 1, message.to_owned());
            }
        }
    }
    for line in INHERITED {
        if !seen.contains(&("package", line)) {
            report(0, format!("[package] needs: {line}"));
        }
    }
    if !seen.contains(&("lints", "workspace = true")) {
        report(0, "the workspace's lints aren't inherited; write [lints] with workspace = true".to_owned());
    }
    if !seen.iter().any(|(section, line)| *section == "package" && line.starts_with("description = ")) {
        report(0, "[package] needs a description".to_owned());
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        check(&[Source { path: "crates/fleet-new/Cargo.toml".into(), text: text.into() }]).len()
    }

    // Broken: a crate is built with another edition, without lints, or with a version of its own.
    #[test]
    fn what_is_not_inherited_is_found() {
        let inherited = INHERITED.join("\n");
        let good = format!(
            "[package]\nname = \"fleet-new\"\ndescription = \"x\"\n{inherited}\n\n[lints]\nworkspace = true\n\n\
             [dependencies]\n# why\nserde = {{ workspace = true, features = [\"rc\"] }}\n"
        );
        assert_eq!(found(&good), 0);
        assert_eq!(found(&good.replace("edition.workspace = true", "edition = \"2021\"")), 1);
        assert_eq!(found(&good.replace("[lints]\nworkspace = true", "")), 1);
        assert_eq!(found(&good.replace("description = \"x\"\n", "")), 1);
        assert_eq!(found(&good.replace("serde = { workspace = true,", "serde = { version = \"1\",")), 1);
        assert_eq!(found(&format!("{good}\n[dev-dependencies]\nserde = \"1\"\n")), 1);
        assert_eq!(found(&format!("{good}\n[dependencies.serde]\nversion = \"1\"\n")), 1);
    }
}
