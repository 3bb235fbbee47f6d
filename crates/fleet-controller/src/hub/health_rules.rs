//! Health of kinds that people judge by rules of their own: ConfigMaps of the controller's own namespace that carry the
//! label `fleetctl.dev/health-rules`.
//!
//! Each entry of `data` is a YAML list of [`fleet_health::KindRules`].

use fleet_health::{HealthRules, RuleError};
use fleet_members::Members;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::reflector::Store;
use kube::runtime::watcher;

use crate::hub::rule_maps;

/// What they are called where the hub's watches are told of.
pub(crate) const KIND: &str = "ConfigMaps with health rules";

/// Takes in what they say now.
pub(crate) fn changed(members: &Members, store: &Store<ConfigMap>, event: &watcher::Event<ConfigMap>) {
    if !rule_maps::is_known(event) {
        return;
    }
    let maps = store.state();
    let (rules, errors) = read_health_rules(maps.iter().map(AsRef::as_ref));
    for error in errors {
        tracing::warn!(%error, "health rules aren't used: what they are about is Unknown until they are mended");
    }
    members.judge_by(rules);
}

/// Reads rules as ConfigMaps hold them, and what is wrong with them. Objects of kinds whose rules can't be used are
/// [`fleet_health::HealthStatus::Unknown`]; where it isn't even clear which kind is meant, its objects are judged as if
/// nothing had been said.
#[must_use]
pub fn read_health_rules<'m>(maps: impl IntoIterator<Item = &'m ConfigMap>) -> (HealthRules, Vec<RuleError>) {
    let (sources, mut errors) = rule_maps::entries(maps);
    let (rules, wrong) = HealthRules::compile(sources.iter().map(|(name, value)| (name.as_str(), value)));
    errors.extend(wrong);
    (rules, errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Broken: one bad entry takes all the others away, or nobody learns which one it is.
    #[test]
    fn each_entry_stands_for_itself() {
        let text = |data: &[(&str, &str)]| ConfigMap {
            data: Some(data.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()),
            ..ConfigMap::default()
        };
        let mut map = text(&[
            (
                "good.yaml",
                "- kind: Certificate\n  group: cert-manager.io\n  rules: [{when: 'true', status: Healthy}]\n",
            ),
            ("no.yaml", "a: [1"),
            ("typo.yaml", "- kind: Widget\n  rules: [{when: 'sttus.ok', status: Healthy}]\n"),
        ]);
        map.metadata.name = Some("ours".to_owned());
        map.metadata.namespace = Some("fleetctl-system".to_owned());
        let (rules, errors) = read_health_rules([&map]);
        assert!(rules.judge_kind("cert-manager.io/v1", "Certificate") && rules.judge_kind("v1", "Widget"));
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("ConfigMap fleetctl-system/ours, no.yaml"), "{said:?}");
        assert!(said[1].contains("typo.yaml: [0].rules[0].when: there is no sttus"), "{said:?}");
    }
}
