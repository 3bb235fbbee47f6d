//! `cargo xtask tidy`: rules about files, manifests and arrows between crates.
//!
//! - [`arrows`]: which crate may use which
//! - [`manifests`]: what every `Cargo.toml` inherits
//! - [`proofs`]: the tests that documents name
//! - [`sources`]: lengths, words and forms of files

pub mod arrows;
pub mod manifests;
pub mod proofs;
pub mod sources;

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the root.
    pub file: String,
    /// The line, from 1; 0 where it is about the whole file.
    pub line: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

/// A text file of the workspace.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its path from the root, with `/`.
    pub path: String,
    /// What stands in it.
    pub text: String,
}

/// The text files of the workspace, less what `.gitignore` leaves out.
///
/// # Errors
/// When a folder or a file can't be read.
pub fn read(root: &Path) -> Result<Vec<Source>> {
    let ignore = std::fs::read_to_string(root.join(".gitignore")).context("reading .gitignore")?;
    let ignored: Vec<&str> = ignore.lines().filter_map(|line| line.trim().strip_prefix('/')).collect();
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let listed = std::fs::read_dir(root.join(&folder)).with_context(|| format!("reading {folder}/"))?;
        for entry in listed {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if name == ".git" || ignored.iter().any(|ignored| ignored.trim_end_matches('/') == path) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if let Ok(text) = String::from_utf8(std::fs::read(entry.path())?) {
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// What cargo says about the workspace's packages.
///
/// # Errors
/// When cargo can't be run or doesn't understand the workspace.
pub fn metadata(root: &Path) -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("running cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("reading cargo metadata")
}

/// Everything that is wrong, in order.
///
/// # Errors
/// When the workspace can't be read.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let files = read(root)?;
    let metadata = metadata(root)?;
    let mut findings = arrows::check(&metadata);
    findings.extend(manifests::check(&files));
    findings.extend(proofs::check(&files));
    findings.extend(sources::check(&files));
    findings.sort();
    Ok(findings)
}

/// Runs the checks and prints what was found, with files that have grown long as a hint.
///
/// # Errors
/// When something is wrong.
pub fn run(root: &Path) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for hint in sources::long_files(&read(root)?) {
        writeln!(out, "hint: {hint}")?;
    }
    let findings = check(root)?;
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    ensure!(findings.is_empty(), "{} to mend", findings.len());
    Ok(())
}
