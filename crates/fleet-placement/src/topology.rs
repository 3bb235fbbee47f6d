//! What a topology policy says.

use fleet_json::{FieldPath, LabelSelector, Segment, SelectorError};
use serde_json::{Map, Value};

use crate::error::PlacementError;
use crate::target::LOCAL;

const CLUSTERS: &str = "clusters";
const SELECTOR: &str = "clusterLabelSelector";
const NAMESPACE: &str = "namespace";
const ALLOW_EMPTY: &str = "allowEmpty";

/// The properties of a policy of type `topology`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// The policy's name, for errors.
    pub policy: String,
    /// Names or aliases; when there are any, the selector isn't looked at, as existing manifests expect.
    pub clusters: Vec<String>,
    /// The labels of the clusters to take.
    pub cluster_label_selector: Option<LabelSelector>,
    /// The namespace on the clusters; `None`: the application's.
    pub namespace: Option<String>,
    /// Whether a selector may choose no cluster.
    pub allow_empty: bool,
}

impl Topology {
    /// Reads the `properties` of a topology policy, strictly.
    ///
    /// # Errors
    /// On an unknown property, a value of another type, the reserved name `local`, or when neither
    /// `clusters` nor `clusterLabelSelector` is given.
    pub fn parse(policy_name: &str, properties: &Value) -> Result<Self, PlacementError> {
        let nothing_chosen = || PlacementError::NothingChosen { policy: policy_name.to_owned() };
        let reader = Reader { policy: policy_name };
        let map = match properties {
            Value::Object(map) => map,
            Value::Null => return Err(nothing_chosen()),
            other => return Err(reader.wrong(reader.root(), "a map", other)),
        };
        let known = [CLUSTERS, SELECTOR, NAMESPACE, ALLOW_EMPTY];
        if let Some(name) = map.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(PlacementError::unknown_property(policy_name, name, &known));
        }
        let topology = Self {
            policy: policy_name.to_owned(),
            clusters: reader.clusters(map)?,
            cluster_label_selector: reader.selector(map)?,
            namespace: reader.namespace(map)?,
            allow_empty: reader.allow_empty(map)?,
        };
        if topology.clusters.is_empty() && topology.cluster_label_selector.is_none() {
            return Err(nothing_chosen());
        }
        Ok(topology)
    }
}

struct Reader<'p> {
    policy: &'p str,
}

impl Reader<'_> {
    fn root(&self) -> FieldPath {
        FieldPath::of_fields(["properties"])
    }

    fn error(&self, path: FieldPath, problem: String) -> PlacementError {
        PlacementError::Properties { policy: self.policy.to_owned(), path, problem }
    }

    fn wrong(&self, path: FieldPath, expected: &str, found: &Value) -> PlacementError {
        let found = match found {
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "a map".to_owned(),
            scalar => scalar.to_string().chars().take(80).collect(),
        };
        self.error(path, format!("expected {expected}, found {found}"))
    }

    fn clusters(&self, map: &Map<String, Value>) -> Result<Vec<String>, PlacementError> {
        let path = self.root().child(CLUSTERS);
        let items = match map.get(CLUSTERS) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.wrong(path, "a list of cluster names", other)),
        };
        let read = |(index, item): (usize, &Value)| {
            let path = path.child(index);
            match item.as_str().map(str::trim) {
                Some(LOCAL) => Err(PlacementError::LocalReserved { policy: self.policy.to_owned(), path }),
                Some(name) if !name.is_empty() => Ok(name.to_owned()),
                _ => Err(self.wrong(path, "the name or alias of a cluster", item)),
            }
        };
        items.iter().enumerate().map(read).collect()
    }

    fn selector(&self, map: &Map<String, Value>) -> Result<Option<LabelSelector>, PlacementError> {
        let path = self.root().child(SELECTOR);
        match map.get(SELECTOR) {
            None | Some(Value::Null) => Ok(None),
            Some(value @ Value::Object(_)) => {
                LabelSelector::from_json(value).map(Some).map_err(|error| match error {
                    SelectorError::Json { path: inner, problem } => self.error(path.join(&inner), problem),
                    SelectorError::Text { problem, .. } => self.error(path, problem),
                })
            }
            Some(other) => Err(self.wrong(path, "a map of labels", other)),
        }
    }

    fn namespace(&self, map: &Map<String, Value>) -> Result<Option<String>, PlacementError> {
        let path = self.root().child(Segment::from(NAMESPACE));
        match map.get(NAMESPACE) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(name)) if name.is_empty() => Ok(None),
            Some(Value::String(name)) if is_dns_label(name) => Ok(Some(name.clone())),
            Some(Value::String(name)) => Err(self.error(
                path,
                format!(
                    "{name:?} is no namespace name: expected at most 63 lower-case letters, digits and '-', \
                     starting and ending with a letter or digit"
                ),
            )),
            Some(other) => Err(self.wrong(path, "the name of a namespace", other)),
        }
    }

    fn allow_empty(&self, map: &Map<String, Value>) -> Result<bool, PlacementError> {
        match map.get(ALLOW_EMPTY) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(allowed)) => Ok(*allowed),
            Some(other) => Err(self.wrong(self.root().child(ALLOW_EMPTY), "true or false", other)),
        }
    }
}

fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= 63 && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests;
