//! Reading a quantity.

use super::{Format, MAX, Quantity, UNIT};

/// A text that is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no quantity: {problem}")]
pub struct QuantityError {
    /// The text, cut short.
    pub text: String,
    /// What is wrong, and what is expected.
    pub problem: String,
}

impl QuantityError {
    pub(super) fn new(text: &str, problem: impl Into<String>) -> Self {
        Self { text: text.chars().take(80).collect(), problem: problem.into() }
    }
}

/// What a suffix multiplies by.
enum Scale {
    /// A power of ten.
    Ten(i64),
    /// A power of two.
    Two(u32),
}

pub(super) fn parse(text: &str) -> Result<Quantity, QuantityError> {
    let error = |problem: &str| QuantityError::new(text, problem);
    if text.is_empty() {
        return Err(error("expected a number such as 100m or 1Gi"));
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at_checked(end).unwrap_or((unsigned, ""));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(error("expected digits, with at most one point"));
    }
    let (scale, format) = suffix_scale(suffix)
        .ok_or_else(|| error("the suffix must be one of n u m k M G T P E, Ki Mi Gi Ti Pi Ei, or e3"))?;
    let nanos = match scale {
        Scale::Ten(exponent) => decimal(whole, fraction, exponent),
        Scale::Two(exponent) => binary(whole, fraction, exponent),
    };
    Ok(Quantity { nanos: if negative { -nanos } else { nanos }, format })
}

fn suffix_scale(suffix: &str) -> Option<(Scale, Format)> {
    let decimal = |exponent| Some((Scale::Ten(exponent), Format::DecimalSi));
    let binary = |exponent| Some((Scale::Two(exponent), Format::BinarySi));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        other => {
            let exponent = other.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            Some((Scale::Ten(exponent.parse().ok()?), Format::DecimalExponent))
        }
    }
}

/// `whole.fraction × 10^exponent` in billionths, rounded up, capped.
fn decimal(whole: &str, fraction: &str, exponent: i64) -> i128 {
    let digits = || whole.bytes().chain(fraction.bytes()).map(|byte| i128::from(byte - b'0'));
    // Where the billionths end, counted in digits from the left.
    let end = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(exponent).saturating_add(9);
    let kept = usize::try_from(end).unwrap_or(0);
    let mut nanos: i128 = 0;
    for digit in digits().take(kept) {
        nanos = nanos * 10 + digit;
        if nanos > MAX {
            return MAX;
        }
    }
    if nanos > 0 {
        for _ in digits().count()..kept {
            nanos *= 10;
            if nanos > MAX {
                return MAX;
            }
        }
    }
    if digits().skip(kept).any(|digit| digit != 0) {
        nanos += 1;
    }
    nanos.min(MAX)
}

/// How many digits of a binary quantity's fraction count; any more round up.
const FRACTION_DIGITS: usize = 18;

/// `whole.fraction × 2^exponent` in billionths, rounded up, capped.
fn binary(whole: &str, fraction: &str, exponent: u32) -> i128 {
    let factor = 1_i128 << exponent;
    let mut units: i128 = 0;
    for byte in whole.bytes() {
        units = units * 10 + i128::from(byte - b'0');
        if units > i128::from(i64::MAX) {
            return MAX;
        }
    }
    let mut part: i128 = 0;
    for byte in fraction.bytes().chain(std::iter::repeat(b'0')).take(FRACTION_DIGITS) {
        part = part * 10 + i128::from(byte - b'0');
    }
    if fraction.bytes().skip(FRACTION_DIGITS).any(|byte| byte != b'0') {
        part += 1;
    }
    // A part is 10^-18, a billionth 10^-9: below 2^60 × 10^18 nothing overflows.
    let scaled = part * factor;
    let part = scaled / UNIT + i128::from(scaled % UNIT != 0);
    units.saturating_mul(factor).saturating_mul(UNIT).saturating_add(part).min(MAX)
}
