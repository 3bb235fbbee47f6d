//! The checks of `cargo xtask tidy` as ordinary tests: they hold on every `cargo test --workspace`.

#![allow(clippy::expect_used)]

use std::path::Path;

use xtask::tidy::{self, Finding};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace's folder")
}

fn none(findings: &[Finding]) {
    let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "\n{}", text.join("\n"));
}

// Broken: a crate uses one that it must not know (design section 3), or a crate without I/O gets some.
#[test]
fn arrows_between_crates_are_those_of_the_design() {
    let metadata = tidy::metadata(root()).expect("cargo metadata");
    assert!(
        metadata["packages"].as_array().is_some_and(|packages| packages.len() > 10),
        "few crates were found"
    );
    none(&tidy::arrows::check(&metadata));
}

// Broken: a crate has its own edition, licence, lints or versions.
#[test]
fn manifests_inherit_from_the_workspace() {
    none(&tidy::manifests::check(&tidy::read(root()).expect("the files")));
}

// Broken: files grow without bound, name places of one machine, or hold unfinished work.
#[test]
fn files_keep_the_rules() {
    let files = tidy::read(root()).expect("the files");
    assert!(files.iter().any(|file| file.path == "crates/xtask/src/tidy.rs"), "the files weren't found");
    none(&tidy::sources::check(&files));
}

// Broken: a document names a test as proof that isn't there any more.
#[test]
fn tests_that_documents_name_are_there() {
    none(&tidy::proofs::check(&tidy::read(root()).expect("the files")));
}
