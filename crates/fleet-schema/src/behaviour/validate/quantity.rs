//! Amounts of resources, as far as comparing them needs.

use serde_json::Value;

pub(super) const SYNTAX: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// The amount in billionths, `None` if it's no quantity. Beyond what 128 bits hold it is the largest one.
pub(super) fn parse(value: &Value) -> Option<i128> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (digits, suffix) = text.split_at_checked(end)?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (binary, power) = scale(suffix)?;
    let mut amount: i128 = 0;
    for digit in whole.chars().chain(fraction.chars()) {
        amount = amount.saturating_mul(10).saturating_add(i128::from(digit.to_digit(10)?));
    }
    let power = power + 9 - i32::try_from(fraction.len()).ok()?;
    amount = amount.saturating_mul(1i128.checked_shl(binary)?);
    let tens = 10i128.saturating_pow(power.unsigned_abs());
    amount = if power < 0 { amount / tens } else { amount.saturating_mul(tens) };
    Some(if negative { -amount } else { amount })
}

/// Binary and decimal exponent of a suffix.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "" => (0, 0),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => (0, suffix.strip_prefix(['e', 'E'])?.parse().ok().filter(|power| (-30..=30).contains(power))?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_compare_across_suffixes() {
        let nano = |value: Value| parse(&value);
        assert_eq!(nano(json!("1")), nano(json!("1000m")));
        assert_eq!(nano(json!(1)), nano(json!("1e0")));
        assert_eq!(nano(json!("1Ki")), nano(json!("1024")));
        assert_eq!(nano(json!("1.5Gi")), nano(json!("1536Mi")));
        assert!(nano(json!("-1")) < nano(json!("0")));
        for bad in ["", "x", "1x", "1..2", "1e", "1 Mi", "mi", "-"] {
            assert_eq!(nano(json!(bad)), None, "{bad}");
        }
        assert!(nano(json!("999999999999999999999999999999999999999999999Ei")).is_some());
    }
}
