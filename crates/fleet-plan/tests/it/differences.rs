//! How plans of one gate differ.

use fleet_plan::{ResourcePolicies, difference};
use serde_json::Value;

use crate::site::{Site, config, deployment, here, id, plan_here, secret};

fn planned(rendered: &[Value], delivered: &[Value], owned: &[&str]) -> fleet_plan::Plan {
    let owned = owned.iter().map(|name| id("v1", "ConfigMap", "demo", name)).collect();
    let site = Site { rendered: rendered.to_vec(), delivered: delivered.to_vec(), owned, ..Site::default() };
    plan_here(site, &ResourcePolicies::default())
}

// Broken: whoever looked at another plan is told that it changed, and not how.
#[test]
fn what_comes_goes_and_changes_is_named() {
    let stands = [config("settings", "0"), deployment("web", "web:1")];
    let before = planned(
        &[config("settings", "1"), deployment("web", "web:1"), config("gone", "1")],
        &stands,
        &["old"],
    );
    let after = planned(
        &[config("settings", "1"), deployment("web", "web:2"), config("old", "1")],
        &stands,
        &["old", "gone"],
    );
    let said = difference(std::slice::from_ref(&before), &[after]);
    let at = here();
    assert_eq!(
        said,
        [
            format!(
                "~ Deployment web on {at} (change otherwise: .spec.template.spec.containers[name=\"web\"].image)"
            ),
            format!("~ ConfigMap gone on {at} (delete, not create)"),
            format!("~ ConfigMap old on {at} (create, not delete)"),
        ]
    );
    let same = std::slice::from_ref(&before);
    assert!(difference(same, same).is_empty());
}

#[test]
fn no_value_of_a_secret_shows() {
    let secret = |value: &str| vec![secret("token", &serde_json::json!({ "key": value }))];
    let (before, after) =
        (planned(&secret("b25l"), &secret("b2xk"), &[]), planned(&secret("dHdv"), &secret("b2xk"), &[]));
    let said = difference(&[before], &[after]).concat();
    assert!(said.contains("Secret token") && !said.contains("dHdv") && !said.contains("b25l"), "{said}");
}
