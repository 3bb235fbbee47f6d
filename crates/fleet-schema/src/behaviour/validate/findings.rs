//! Findings, worded as `field.Error` words them.

use fleet_json::quantity::Quantity;
use serde_json::Value;

const QUANTITY: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// What a check found, in the order found.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<(String, String)>);

impl Findings {
    pub(super) fn into_list(self) -> Vec<(String, String)> {
        self.0
    }

    fn add(&mut self, path: impl Into<String>, message: String) {
        self.0.push((path.into(), message));
    }

    pub(super) fn required(&mut self, path: impl Into<String>, detail: &str) {
        self.add(path, detailed("Required value", detail));
    }

    pub(super) fn invalid(&mut self, path: impl Into<String>, value: impl Into<Value>, detail: &str) {
        self.add(path, detailed(&format!("Invalid value: {}", value.into()), detail));
    }

    pub(super) fn duplicate(&mut self, path: impl Into<String>, value: impl Into<Value>) {
        self.add(path, format!("Duplicate value: {}", value.into()));
    }

    pub(super) fn not_found(&mut self, path: impl Into<String>, value: impl Into<Value>) {
        self.add(path, format!("Not found: {}", value.into()));
    }

    pub(super) fn forbidden(&mut self, path: impl Into<String>, detail: &str) {
        self.add(path, detailed("Forbidden", detail));
    }

    pub(super) fn too_long(&mut self, path: impl Into<String>, limit: usize) {
        self.add(path, format!("Too long: may not be more than {limit} bytes"));
    }

    /// One of the supported values, or a finding. Absent values are somebody else's finding.
    pub(super) fn one_of(&mut self, path: impl Into<String>, value: Option<&Value>, supported: &[&str]) {
        let Some(value) = value.filter(|value| !value.is_null()) else { return };
        if !value.as_str().is_some_and(|text| supported.contains(&text)) {
            let list = supported.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ");
            self.add(path, format!("Unsupported value: {value}: supported values: {list}"));
        }
    }

    /// A number that is absent or not negative.
    pub(super) fn not_negative(&mut self, path: impl Into<String>, value: Option<&Value>) {
        if let Some(number) = value.and_then(Value::as_i64)
            && number < 0
        {
            self.invalid(path, number, "must be greater than or equal to 0");
        }
    }
}

/// The amount of a resource, or a finding.
pub(super) fn quantity(path: &str, amount: &Value, found: &mut Findings) -> Option<Quantity> {
    let quantity = Quantity::from_value(amount).ok();
    if quantity.is_none() {
        found.invalid(path, amount.clone(), QUANTITY);
    }
    quantity
}

fn detailed(what: &str, detail: &str) -> String {
    if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") }
}
