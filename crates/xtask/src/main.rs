//! Code generation and tidy checks: `cargo xtask codegen`.

mod codegen;

use std::path::Path;

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the workspace's folder")?;
    match arguments.split_first() {
        Some((command, rest)) if command == "codegen" => codegen::run(root, rest),
        Some((command, _)) => bail!("unknown command {command:?}; there is: codegen"),
        None => bail!("which command? There is: codegen"),
    }
}
