//! Counts that may be given in percent: `maxSurge: 25%`.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// A count, or a share of a total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntOrPercent {
    /// A count.
    Int(i64),
    /// Hundredths of a total.
    Percent(u32),
}

/// How a share that is no whole number is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// As `maxSurge` is.
    Up,
    /// As `maxUnavailable` is.
    Down,
}

/// A value that is neither an integer nor a percentage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found} is neither an integer nor a percentage such as \"25%\"")]
pub struct IntOrPercentError {
    /// What was found.
    pub found: String,
}

impl IntOrPercent {
    /// Reads an `IntOrString` value.
    ///
    /// # Errors
    /// When it is neither an integer nor a string such as `25%`.
    pub fn from_value(value: &Value) -> Result<Self, IntOrPercentError> {
        match value {
            Value::String(text) => text.parse(),
            other => other
                .as_i64()
                .map(Self::Int)
                .ok_or_else(|| IntOrPercentError { found: other.to_string().chars().take(80).collect() }),
        }
    }

    /// The count that this is of `total`.
    #[must_use]
    pub fn of(self, total: i64, rounding: Rounding) -> i64 {
        match self {
            Self::Int(count) => count,
            Self::Percent(percent) => {
                let share = i128::from(percent) * i128::from(total);
                let whole = match rounding {
                    Rounding::Up => -(-share).div_euclid(100),
                    Rounding::Down => share.div_euclid(100),
                };
                i64::try_from(whole).unwrap_or(i64::MAX)
            }
        }
    }
}

impl FromStr for IntOrPercent {
    type Err = IntOrPercentError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_suffix('%')
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .map(Self::Percent)
            .ok_or_else(|| IntOrPercentError {
                found: format!("{:?}", text.chars().take(80).collect::<String>()),
            })
    }
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A rolling update makes the wrong number of pods when rounding goes the wrong way.
    #[test]
    fn shares_round_as_told() {
        let quarter = IntOrPercent::from_value(&json!("25%")).unwrap();
        assert_eq!((quarter.of(3, Rounding::Up), quarter.of(3, Rounding::Down)), (1, 0));
        assert_eq!((quarter.of(4, Rounding::Up), quarter.of(4, Rounding::Down)), (1, 1));
        assert_eq!((quarter.of(0, Rounding::Up), quarter.of(0, Rounding::Down)), (0, 0));
        assert_eq!(IntOrPercent::from_value(&json!(2)).unwrap().of(100, Rounding::Up), 2);
        for bad in [json!("2"), json!("%"), json!("-5%"), json!("1.5%"), json!(1.5), json!(null)] {
            assert!(IntOrPercent::from_value(&bad).is_err(), "{bad}");
        }
    }
}
