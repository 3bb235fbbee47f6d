//! Which crate may use which. An arrow that isn't listed fails until the list is changed on purpose.

use serde_json::Value;

use super::Finding;

/// Crates without I/O. Arrows between them go from the second list to the first, and from both to `fleet-json`.
const BASE: [&str; 4] = ["fleet-api", "fleet-schema", "fleet-ssa", "fleet-cel"];
const PLANNERS: [&str; 6] =
    ["fleet-workflow", "fleet-plan", "fleet-placement", "fleet-propagation", "fleet-render", "fleet-health"];
const JSON: &str = "fleet-json";

/// What would bring a clock, a thread, a socket or a file into a crate without I/O.
const IMPURE: [&str; 16] = [
    "axum",
    "getrandom",
    "hyper",
    "hyper-util",
    "kube-client",
    "kube-runtime",
    "rand",
    "rcgen",
    "reqwest",
    "rusqlite",
    "rustls",
    "sqlx",
    "tokio",
    "tokio-rustls",
    "tokio-util",
    "tower",
];

/// Features of `kube` that bring a client.
const CLIENT_FEATURES: [&str; 5] = ["client", "runtime", "unstable-runtime", "ws", "config"];

fn is_pure(name: &str) -> bool {
    name == JSON || BASE.contains(&name) || PLANNERS.contains(&name)
}

/// Whether a crate may use another of the workspace.
fn allowed(from: &str, to: &str) -> bool {
    let base = || to == JSON || BASE.contains(&to);
    match from {
        "fleet-json" | "fleet-store" => false,
        // Its generated files are the custom resource definitions among others.
        "xtask" => to == "fleet-api",
        "fleet-api" | "fleet-schema" | "fleet-ssa" | "fleet-cel" | "fleet-sim" => to == JSON,
        "fleet-workflow" | "fleet-plan" | "fleet-placement" | "fleet-render" | "fleet-health" => base(),
        // Who takes an object comes before where it goes, and both read the same policy.
        "fleet-propagation" => base() || to == "fleet-placement",
        "fleet-apiserver" => {
            matches!(to, "fleet-store" | "fleet-schema" | "fleet-ssa" | "fleet-cel" | "fleet-json")
        }
        "fleet-members" => matches!(to, "fleet-api" | "fleet-health" | "fleet-json"),
        "fleet-controller" => to == "fleet-members" || is_pure(to),
        "fleetctl" => {
            let wired = ["fleet-controller", "fleet-apiserver", "fleet-sim", "fleet-store", "fleet-members"]
                .contains(&to);
            wired || is_pure(to)
        }
        "fleet-testkit" => to != "xtask" && to != "fleet-real",
        // Tests against real clusters; xtask knows where their programs are.
        "fleet-real" => to != "fleet-testkit" && to != "fleet-apiserver" && to != "fleet-sim",
        _ => false,
    }
}

/// Whether the tests of a crate may use another: what it may use itself, and for crates with I/O a fleet in
/// process.
fn allowed_in_tests(from: &str, to: &str) -> bool {
    let fleet = matches!(to, "fleet-apiserver" | "fleet-store" | "fleet-sim" | "fleet-testkit");
    allowed(from, to)
        || match from {
            "fleet-sim" | "fleet-members" | "fleet-controller" | "fleetctl" => fleet,
            "fleet-apiserver" => to == "fleet-testkit",
            _ => false,
        }
}

/// Judges what cargo says about the packages.
pub fn check(metadata: &Value) -> Vec<Finding> {
    let packages = metadata.get("packages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let names: Vec<String> = packages.iter().map(|package| text(package, "name")).collect();
    let mut findings = Vec::new();
    for package in packages {
        let from = text(package, "name");
        let file = format!("crates/{from}/Cargo.toml");
        let dependencies = package.get("dependencies").and_then(Value::as_array);
        for dependency in dependencies.map(Vec::as_slice).unwrap_or_default() {
            let to = text(dependency, "name");
            let in_tests = text(dependency, "kind") == "dev";
            let features = dependency.get("features").and_then(Value::as_array);
            let features: Vec<&str> = features.into_iter().flatten().filter_map(Value::as_str).collect();
            if let Some(message) = judge(&from, &to, in_tests, names.contains(&to), &features) {
                findings.push(Finding { file: file.clone(), line: 0, message });
            }
        }
    }
    findings
}

fn judge(from: &str, to: &str, in_tests: bool, ours: bool, features: &[&str]) -> Option<String> {
    if ours {
        let may = if in_tests { allowed_in_tests(from, to) } else { allowed(from, to) };
        let place = if in_tests { " in tests" } else { "" };
        return (!may).then(|| {
            format!("{from} may not use {to}{place}; if it should, list the arrow in xtask's tidy::arrows and in ARCHITECTURE.md")
        });
    }
    if !is_pure(from) {
        return None;
    }
    if IMPURE.contains(&to) {
        return Some(format!("{from} does no I/O and may not use {to}"));
    }
    let client = features.iter().any(|feature| CLIENT_FEATURES.contains(feature));
    (to == "kube" && (from != "fleet-api" || client))
        .then(|| format!("{from} may not use kube's client; only fleet-api uses kube, for the types"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(from: &str, dependency: Value) -> usize {
        let ours =
            ["fleet-json", "fleet-api", "fleet-plan", "fleet-apiserver", "fleet-controller", "fleet-testkit"];
        let packages: Vec<Value> = ours
            .iter()
            .map(|name| {
                let dependencies = if *name == from { vec![dependency.clone()] } else { vec![] };
                json!({ "name": name, "dependencies": dependencies })
            })
            .collect();
        check(&json!({ "packages": packages })).len()
    }

    // Broken: a crate without I/O gets a runtime, or the API server learns about Applications, and nobody notices.
    #[test]
    fn arrows_that_are_not_listed_are_found() {
        assert_eq!(found("fleet-plan", json!({ "name": "fleet-api", "kind": null })), 0);
        assert_eq!(found("fleet-api", json!({ "name": "fleet-plan", "kind": null })), 1);
        assert_eq!(found("fleet-apiserver", json!({ "name": "fleet-api", "kind": null })), 1);
        assert_eq!(found("fleet-controller", json!({ "name": "fleet-apiserver", "kind": null })), 1);
        assert_eq!(found("fleet-controller", json!({ "name": "fleet-testkit", "kind": "dev" })), 0);
        assert_eq!(found("fleet-controller", json!({ "name": "fleet-testkit", "kind": null })), 1);
        assert_eq!(found("fleet-plan", json!({ "name": "tokio", "kind": null })), 1);
        assert_eq!(found("fleet-plan", json!({ "name": "tokio", "kind": "dev" })), 1);
        assert_eq!(found("fleet-controller", json!({ "name": "tokio", "kind": null })), 0);
        assert_eq!(found("fleet-api", json!({ "name": "kube", "kind": null, "features": ["derive"] })), 0);
        assert_eq!(found("fleet-api", json!({ "name": "kube", "kind": null, "features": ["client"] })), 1);
        assert_eq!(found("fleet-plan", json!({ "name": "kube", "kind": null, "features": [] })), 1);
    }
}
