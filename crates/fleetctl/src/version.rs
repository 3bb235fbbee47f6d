//! `fleetctl version`

use serde_json::json;

use crate::args::{Output, VersionArgs};
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};

/// The Kubernetes version whose API the embedded hub and members serve.
const KUBERNETES: &str = "1.35";

pub(crate) fn run(environment: &Environment, arguments: &VersionArgs) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    let facts = json!({ "version": version, "kubernetes": KUBERNETES });
    match arguments.output.output {
        Some(format) => environment.streams.print(&write(format, &facts)?),
        None => {
            environment.streams.line(&format!("fleetctl {version} (embedded Kubernetes API {KUBERNETES})"))
        }
    }
}

/// A value in a format for programs.
pub(crate) fn write(format: Output, value: &serde_json::Value) -> Outcome<String> {
    match format {
        Output::Json => {
            let text =
                serde_json::to_string_pretty(value).map_err(|error| Failure::failed(error.to_string()))?;
            Ok(text + "\n")
        }
        Output::Yaml => crate::yaml::write(value).map_err(Failure::failed),
    }
}
