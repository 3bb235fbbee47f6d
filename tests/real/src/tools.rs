//! Where the programs are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use xtask::tools;

/// Which release of Kubernetes a cluster runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// The newest that is supported.
    #[default]
    Newest,
    /// The oldest that is supported.
    Oldest,
}

/// The workspace's folder.
///
/// # Errors
/// Never where this crate lies in its workspace.
pub fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the workspace's folder")
}

/// A program of one of the modules in `tests/real/tools`.
///
/// # Errors
/// Where it isn't built.
pub fn program(module: &str, name: &str) -> Result<PathBuf> {
    let root = root()?;
    let folder = tools::folder(root, std::env::var_os(tools::FOLDER));
    let modules = tools::modules(root)?;
    let found = modules.iter().find(|known| known.name == module);
    let module = found.with_context(|| format!("tests/real/tools has no module {module}"))?;
    let path = module.built(&folder).join(name);
    ensure!(
        path.is_file(),
        "{} isn't built: run `cargo xtask tools` (minutes, needs Go), or set {} to a folder that has it",
        path.display(),
        tools::FOLDER
    );
    Ok(path)
}

/// A program of Kubernetes.
///
/// # Errors
/// Where it isn't built.
pub fn kubernetes(version: Version, name: &str) -> Result<PathBuf> {
    let module = match version {
        Version::Newest => "kubernetes",
        Version::Oldest => "kubernetes-oldest",
    };
    program(module, name)
}
