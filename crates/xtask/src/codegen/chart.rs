//! The chart's custom resource definitions, from the types of `fleet-api`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const FOLDER: &str = "charts/fleetctl/files/crds";
const HEAD: &str = "# Made by cargo xtask codegen from the types of fleet-api.\n";

/// Writes the files; what is no definition of ours any more goes.
pub(super) fn write(root: &Path) -> Result<()> {
    let (folder, files) = (root.join(FOLDER), files()?);
    std::fs::create_dir_all(&folder).with_context(|| format!("making {FOLDER}"))?;
    for name in present(&folder)? {
        if !files.contains_key(&name) {
            std::fs::remove_file(folder.join(&name)).with_context(|| format!("removing {FOLDER}/{name}"))?;
        }
    }
    for (name, text) in files {
        std::fs::write(folder.join(&name), text).with_context(|| format!("writing {FOLDER}/{name}"))?;
    }
    Ok(())
}

/// Whether the committed files are what [`write`] would write, and the chart has the program's version.
pub(super) fn check(root: &Path) -> Result<()> {
    let (folder, files) = (root.join(FOLDER), files()?);
    let advice = "run cargo xtask codegen";
    for name in present(&folder)? {
        ensure!(files.contains_key(&name), "{FOLDER}/{name} is no definition of ours; {advice}");
    }
    for (name, text) in files {
        let have = std::fs::read_to_string(folder.join(&name));
        let have = have.with_context(|| format!("reading {FOLDER}/{name}; {advice}"))?;
        ensure!(have == text, "{FOLDER}/{name} isn't what the types say; {advice}");
    }
    let chart = std::fs::read_to_string(root.join("charts/fleetctl/Chart.yaml")).context("the chart")?;
    let chart: Value = serde_saphyr::from_str(&chart).context("charts/fleetctl/Chart.yaml")?;
    for field in ["version", "appVersion"] {
        let have = chart.get(field).and_then(Value::as_str).unwrap_or_default();
        let want = env!("CARGO_PKG_VERSION");
        ensure!(have == want, "charts/fleetctl/Chart.yaml: {field} is {have:?}, the program's is {want:?}");
    }
    Ok(())
}

fn present(folder: &Path) -> Result<Vec<String>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Every file by its name.
fn files() -> Result<BTreeMap<String, String>> {
    fleet_api::crds::packaged()?.into_iter().map(file).collect()
}

fn file(crd: Value) -> Result<(String, String)> {
    let name = crd.pointer("/metadata/name").and_then(Value::as_str).context("a definition's name")?;
    let text = serde_saphyr::to_string(&crd).with_context(|| format!("writing {name} as YAML"))?;
    Ok((format!("{name}.yaml"), format!("{HEAD}{}\n", text.trim_end())))
}

#[cfg(test)]
mod tests {
    /// Broken: somebody changes a kind, and hubs that are installed by the chart don't get the change.
    #[test]
    fn the_chart_has_the_kinds_of_the_types() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        super::check(root).unwrap();
    }
}
