//! Values that are kept for long and looked at rarely.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// A JSON value kept as its text: a fifth to a tenth of the memory that its tree takes, and clones share it.
///
/// Two are equal where their texts are: the same entries in the same order, numbers written alike.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Compact(Arc<str>);

impl Compact {
    /// Keeps a value.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        Self(value.to_string().into())
    }

    /// The value, read anew.
    #[must_use]
    pub fn read(&self) -> Value {
        // What was written from a value is one.
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }

    /// Whether both are the same copy.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Default for Compact {
    fn default() -> Self {
        Self::of(&Value::Null)
    }
}

impl fmt::Debug for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Broken: what is delivered isn't what was kept.
        #[test]
        fn what_is_read_is_what_was_kept(value in any_value()) {
            let kept = Compact::of(&value);
            let null = value.is_null();
            prop_assert_eq!(kept.read(), value);
            prop_assert_eq!(kept.is_null(), null);
        }
    }

    #[test]
    fn nothing_is_null() {
        assert_eq!((Compact::default().read(), Compact::default().is_null()), (json!(null), true));
    }
}
