//! What keeps the workspace in shape, as a library, so that `cargo test` runs the same checks as
//! `cargo xtask tidy`.
//!
//! ```text
//!  files, cargo metadata ──► tidy ──► findings: file, line, what is wrong, what to do
//! ```

pub mod simulate;
pub mod tidy;
pub mod tools;
