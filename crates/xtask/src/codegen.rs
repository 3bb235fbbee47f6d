//! `cargo xtask codegen`: committed data from the facts of a real API server.
//!
//! ```text
//! cargo xtask codegen                            write charts/fleetctl/files/crds
//! cargo xtask codegen --kubernetes DIR           ... and crates/fleet-schema/data/kubernetes-1.35.jsonl
//! cargo xtask codegen --check                    the committed files are complete and in canonical form
//! cargo xtask codegen --check --kubernetes DIR   ... and the table of kinds is what DIR yields
//! ```
//!
//! DIR holds `discovery-core.json`, `discovery-groups.json`, `table-columns.json` and `openapi-v3/*.json`.

mod canonical;
mod chart;
mod definitions;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

const KUBERNETES: &str = "1.35";

/// Runs `codegen` with the arguments behind it.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let mut check = false;
    let mut inputs: Option<PathBuf> = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--check" => check = true,
            "--kubernetes" => {
                inputs = Some(rest.next().context("--kubernetes needs a folder behind it")?.into());
            }
            other => bail!("unknown argument {other:?}; codegen takes --check and --kubernetes DIR"),
        }
    }
    if check {
        chart::check(root)?
    } else {
        chart::write(root)?
    }
    let file = root.join(format!("crates/fleet-schema/data/kubernetes-{KUBERNETES}.jsonl"));
    match (check, inputs) {
        (false, None) => Ok(()),
        (false, Some(inputs)) => {
            let data = generate(&inputs)?;
            std::fs::create_dir_all(file.parent().context("the data folder")?)?;
            std::fs::write(&file, data).with_context(|| format!("writing {}", file.display()))
        }
        (true, inputs) => {
            let have = std::fs::read_to_string(&file).with_context(|| {
                format!("reading {}; make it with codegen --kubernetes DIR", file.display())
            })?;
            verify(&have).with_context(|| format!("checking {}", file.display()))?;
            if let Some(inputs) = inputs {
                ensure!(
                    generate(&inputs)? == have,
                    "{} isn't what {} yields; run codegen --kubernetes without --check",
                    file.display(),
                    inputs.display()
                );
            }
            Ok(())
        }
    }
}

fn generate(inputs: &Path) -> Result<String> {
    let schemas = definitions::collect(&inputs.join("openapi-v3"))?;
    let table = table::build(inputs, &schemas, KUBERNETES)?;
    let mut out = canonical::text(&table);
    out.push('\n');
    for (name, schema) in &schemas {
        out.push_str(name);
        out.push(' ');
        out.push_str(&canonical::text(schema));
        out.push('\n');
    }
    verify(&out).context("checking what was generated")?;
    Ok(out)
}

/// What can be known without the inputs: canonical form, sorted names, no reference to nothing.
fn verify(data: &str) -> Result<()> {
    ensure!(data.ends_with('\n'), "the last line has no end");
    let mut lines = data.lines();
    let table = lines.next().context("the file is empty")?;
    let table_value: Value = serde_json::from_str(table).context("line 1")?;
    ensure!(canonical::text(&table_value) == table, "line 1 isn't canonical JSON");
    let mut definitions: Vec<(&str, Value)> = Vec::new();
    for (at, line) in lines.enumerate() {
        let number = at + 2;
        let (name, text) =
            line.split_once(' ').with_context(|| format!("line {number}: no space after the name"))?;
        let value: Value = serde_json::from_str(text).with_context(|| format!("line {number}: {name}"))?;
        ensure!(canonical::text(&value) == text, "line {number}: {name} isn't canonical JSON");
        if let Some((before, _)) = definitions.last() {
            ensure!(*before < name, "line {number}: {name} is out of order");
        }
        definitions.push((name, value));
    }
    let known = |name: &str| definitions.binary_search_by(|(probe, _)| (*probe).cmp(name)).is_ok();
    for (name, value) in &definitions {
        definitions::references(value, &mut |target| {
            ensure!(known(target), "{name} refers to {target}, which isn't there");
            Ok(())
        })?;
    }
    table::schemas_of(&table_value, &mut |target| {
        ensure!(known(target), "the table refers to {target}, which isn't there");
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // A hand edit that breaks order, form or references would otherwise surface as a missing kind at run time.
    #[test]
    fn verify_refuses_what_is_not_canonical() {
        let good = "{\"groups\":[]}\na {\"$ref\":\"b\"}\nb {\"type\":\"object\"}\n";
        verify(good).unwrap();
        for bad in [
            "",
            "{\"groups\":[]}",
            "{ \"groups\":[]}\n",
            "{\"groups\":[]}\nb {}\na {}\n",
            "{\"groups\":[]}\na {\"$ref\":\"gone\"}\n",
            "{\"groups\":[]}\na {\"type\":\"object\",\"items\":{}}\n",
        ] {
            assert!(verify(bad).is_err(), "{bad:?} passes");
        }
    }
}
