//! Code generation, tidy checks and test tools: `cargo xtask codegen`, `cargo xtask tidy`, `cargo xtask tools`, and
//! the simulation: `cargo xtask simulate`.

mod codegen;

use std::path::Path;

use anyhow::{Context, Result, bail};
use xtask::{simulate, tidy, tools};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the workspace's folder")?;
    match arguments.split_first() {
        Some((command, rest)) if command == "codegen" => codegen::run(root, rest),
        Some((command, [])) if command == "tidy" => tidy::run(root),
        Some((command, [])) if command == "tools" => tools::run(root, std::env::var_os(tools::FOLDER)),
        Some((command, rest)) if command == "simulate" => {
            simulate::run(root, std::env::var_os("CARGO"), rest)
        }
        Some((command, _)) => bail!("unknown command {command:?}; there are: codegen, simulate, tidy, tools"),
        None => bail!("which command? There are: codegen, simulate, tidy, tools"),
    }
}
