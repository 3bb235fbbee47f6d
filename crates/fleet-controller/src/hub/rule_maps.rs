//! Rules that people give as data: ConfigMaps of the controller's own namespace that carry a label. Each entry of `data` is
//! YAML.

use std::collections::BTreeMap;

use fleet_health::RuleError;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::runtime::watcher;
use serde_json::Value;

/// Those with a label.
pub(crate) fn labelled(label: &str) -> watcher::Config {
    watcher::Config::default().labels(label)
}

/// Before the end of the first list it isn't known what there is.
pub(crate) fn is_known(event: &watcher::Event<ConfigMap>) -> bool {
    !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_))
}

/// The entries by where they stand (`ConfigMap fleetctl-system/ours, rules.yaml`), and those that aren't YAML.
pub(crate) fn entries<'m>(
    maps: impl IntoIterator<Item = &'m ConfigMap>,
) -> (BTreeMap<String, Value>, Vec<RuleError>) {
    let (mut entries, mut errors) = (BTreeMap::new(), Vec::new());
    for map in maps {
        let place = format!("ConfigMap {}/{}", map.namespace().unwrap_or_default(), map.name_any());
        for (entry, text) in map.data.iter().flatten() {
            let source = format!("{place}, {entry}");
            match serde_saphyr::from_str(text) {
                Ok(value) => {
                    entries.insert(source, value);
                }
                Err(error) => errors.push(RuleError {
                    source_name: source,
                    place: "the whole".to_owned(),
                    problem: format!("isn't YAML: {error}").lines().next().unwrap_or_default().to_owned(),
                }),
            }
        }
    }
    (entries, errors)
}
