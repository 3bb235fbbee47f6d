//! The programs that the tests against real clusters run, built from pinned Go modules.
//!
//! Each folder of `tests/real/tools` is a Go module without code: its `tool` lines name the programs, its `require`
//! line for their module pins the version. What is built lies in `<tools>/<folder>-<version>/`, so a second run builds
//! nothing, and a changed version builds anew.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Says where built programs are kept; `.cache/tools` of the workspace where it isn't set.
pub const FOLDER: &str = "FLEETCTL_TOOLS";

const KUBERNETES: &str = "k8s.io/kubernetes";

/// One Go module with programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its folder below `tests/real/tools`, such as `kubernetes`.
    pub name: String,
    /// The module that the programs are of.
    pub path: String,
    /// Its version, such as `v1.35.4`.
    pub version: String,
}

impl Module {
    /// Reads a `go.mod`.
    ///
    /// # Errors
    /// Where it names no tool, or no version of the tool's module.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let lines = || text.lines().map(str::trim);
        let tool = lines()
            .find_map(|line| line.strip_prefix("tool ").filter(|tool| *tool != "("))
            .or_else(|| lines().skip_while(|line| *line != "tool (").nth(1))
            .with_context(|| format!("tests/real/tools/{name}/go.mod names no tool"))?;
        let required = lines().filter_map(|line| {
            let mut words = line.strip_prefix("require ").unwrap_or(line).split_whitespace();
            match (words.next(), words.next()) {
                (Some(path), Some(version)) if version.starts_with('v') => Some((path, version)),
                _ => None,
            }
        });
        let within = |path: &str| tool == path || tool.starts_with(&format!("{path}/"));
        let (path, version) =
            required.filter(|(path, _)| within(path)).max_by_key(|(path, _)| path.len()).with_context(
                || format!("tests/real/tools/{name}/go.mod requires no module that holds {tool}"),
            )?;
        Ok(Self { name: name.to_owned(), path: path.to_owned(), version: version.to_owned() })
    }

    /// Where its programs are, below the folder of built programs.
    pub fn built(&self, tools: &Path) -> PathBuf {
        tools.join(format!("{}-{}", self.name, self.version))
    }

    /// What tells a program its version; without it clients complain about v0.0.0.
    fn linked(&self) -> String {
        let mut flags = "-s -w".to_owned();
        if self.path == KUBERNETES {
            let mut numbers = self.version.trim_start_matches('v').split('.');
            let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
            for (key, value) in
                [("gitVersion", self.version.as_str()), ("gitMajor", major), ("gitMinor", minor)]
            {
                flags.push_str(&format!(" -X k8s.io/component-base/version.{key}={value}"));
            }
        }
        flags
    }

    fn build(&self, sources: &Path, tools: &Path) -> Result<()> {
        let unfinished = tools.join(format!("{}-{}.unfinished", self.name, self.version));
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished)?;
        }
        std::fs::create_dir_all(&unfinished)?;
        let status = Command::new("go")
            .args(["build", "-p", "2", "-trimpath", "-buildvcs=false", "-mod=readonly"])
            // Kubernetes until 1.30 brings the cloud providers' libraries otherwise.
            .args(["-tags", "providerless", "-ldflags", &self.linked(), "-o"])
            .arg(&unfinished)
            .arg("tool")
            .current_dir(sources.join(&self.name))
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .status()
            .context("running go")?;
        ensure!(
            status.success(),
            "building {} {} failed; go's own words stand above",
            self.name,
            self.version
        );
        std::fs::rename(&unfinished, self.built(tools))?;
        Ok(())
    }
}

/// The modules of the workspace, in order.
///
/// # Errors
/// Where a `go.mod` can't be read.
pub fn modules(root: &Path) -> Result<Vec<Module>> {
    let sources = root.join("tests/real/tools");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&sources).with_context(|| sources.display().to_string())? {
        let entry = entry?;
        let manifest = entry.path().join("go.mod");
        if manifest.is_file() {
            let text = std::fs::read_to_string(manifest)?;
            found.push(Module::parse(&entry.file_name().to_string_lossy(), &text)?);
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The folder of built programs.
pub fn folder(root: &Path, said: Option<OsString>) -> PathBuf {
    said.filter(|said| !said.is_empty()).map_or_else(|| root.join(".cache/tools"), |said| root.join(said))
}

/// Builds what is missing, and says what it does. Two runs at once wait for each other.
///
/// # Errors
/// Where Go isn't installed or a program can't be built.
pub fn run(root: &Path, said: Option<OsString>) -> Result<()> {
    let tools = folder(root, said);
    let sources = root.join("tests/real/tools");
    std::fs::create_dir_all(&tools).with_context(|| tools.display().to_string())?;
    let lock = std::fs::File::create(tools.join(".lock"))?;
    lock.lock().context("waiting for another build of the tools")?;
    let mut out = std::io::stdout().lock();
    let missing: Vec<Module> =
        modules(root)?.into_iter().filter(|module| !module.built(&tools).is_dir()).collect();
    if missing.is_empty() {
        writeln!(out, "all tools are built, in {}", tools.display())?;
        return Ok(());
    }
    match Command::new("go").arg("version").output() {
        Ok(said) if said.status.success() => write!(out, "{}", String::from_utf8_lossy(&said.stdout))?,
        _ => bail!(
            "go isn't installed; the real clusters are built from Go modules: install Go 1.26 or later and run `cargo xtask tools` again"
        ),
    }
    for (index, module) in missing.iter().enumerate() {
        writeln!(out, "building {} {} ({} of {})", module.name, module.version, index + 1, missing.len())?;
        out.flush()?;
        module.build(&sources, &tools)?;
    }
    writeln!(out, "all tools are built, in {}", tools.display())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Broken: the folder of built programs carries no version, and a new one is never built.
    #[test]
    fn the_version_is_that_of_the_module_of_the_tool() {
        let text = "module fleet.tools/etcd\n\ngo 1.26\n\ntool go.etcd.io/etcd/server/v3\n\nrequire (\n\tgo.etcd.io/bbolt v1.4.3 // indirect\n\tgo.etcd.io/etcd/server/v3 v3.6.6 // indirect\n)\n";
        let module = Module::parse("etcd", text).unwrap();
        assert_eq!((module.path.as_str(), module.version.as_str()), ("go.etcd.io/etcd/server/v3", "v3.6.6"));
        assert_eq!(module.built(Path::new("/t")), Path::new("/t/etcd-v3.6.6"));
    }

    // Broken: a module without a tool builds nothing and says nothing.
    #[test]
    fn a_module_without_tools_is_refused() {
        assert!(Module::parse("x", "module x\n\nrequire a.b/c v1.0.0\n").is_err());
    }

    // Broken: clients see a server of version v0.0.0.
    #[test]
    fn kubernetes_is_told_its_version() {
        let text = "tool (\n\tk8s.io/kubernetes/cmd/kube-apiserver\n\tk8s.io/kubernetes/cmd/kube-scheduler\n)\nrequire k8s.io/kubernetes v1.30.14\n";
        let flags = Module::parse("kubernetes-oldest", text).unwrap().linked();
        assert!(flags.contains("version.gitVersion=v1.30.14 "), "{flags}");
        assert!(flags.ends_with("version.gitMinor=30"), "{flags}");
    }
}
