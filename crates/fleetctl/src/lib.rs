//! The command line.

pub mod embedded;
pub mod environment;
pub mod exit;
pub mod output;
pub mod yaml;
