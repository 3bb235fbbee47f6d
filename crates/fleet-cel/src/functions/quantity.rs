//! Kubernetes' quantities (`500m`, `1Gi`), exact to a billionth.

use std::fmt;

use crate::functions::unsuitable;
use crate::meter::{Fault, Outcome};
use crate::value::Val;

const NANO: i128 = 1_000_000_000;

/// A number of billionths. The suffix is not kept: `1Gi` and `1073741824` are the same quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity(i128);

impl Quantity {
    pub(crate) fn whole(number: i128) -> Self {
        Self(number.saturating_mul(NANO))
    }

    pub(crate) fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `<signed number><suffix>`; finer than a billionth rounds up, as Kubernetes does.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (sign, rest) = match text.as_bytes().first()? {
            b'-' => (-1, text.get(1..)?),
            b'+' => (1, text.get(1..)?),
            _ => (1, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at_checked(end)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 30 {
            return None;
        }
        let (multiplier, divisor) = scale(suffix)?;
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let places = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let scaled = digits.checked_mul(multiplier)?.checked_mul(NANO)?;
        let divisor = places.checked_mul(divisor)?;
        let rounded = scaled / divisor + i128::from(scaled % divisor != 0);
        Some(Self(sign * rounded))
    }

    fn whole_number(self) -> Option<i64> {
        (self.0 % NANO == 0).then(|| i64::try_from(self.0 / NANO).ok()).flatten()
    }
}

/// Multiplier and divisor of a suffix.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let decimal = |power: u32| 10_i128.checked_pow(power);
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (decimal(3)?, 1),
        "M" => (decimal(6)?, 1),
        "G" => (decimal(9)?, 1),
        "T" => (decimal(12)?, 1),
        "P" => (decimal(15)?, 1),
        "E" => (decimal(18)?, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            match u32::try_from(power) {
                Ok(power) => (decimal(power)?, 1),
                Err(_) => (1, decimal(power.unsigned_abs())?),
            }
        }
    })
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / NANO, (self.0 % NANO).unsigned_abs());
        match rest {
            0 => write!(f, "{whole}"),
            rest if rest % 1_000_000 == 0 => write!(f, "{}m", self.0 / 1_000_000),
            rest if rest % 1_000 == 0 => write!(f, "{}u", self.0 / 1_000),
            _ => write!(f, "{}n", self.0),
        }
    }
}

/// `None`: no such function for quantities.
pub(super) fn call<'a>(name: &str, value: Quantity, rest: &[Val<'a>]) -> Option<Outcome<Val<'a>>> {
    let too_large = || Fault::new("the quantity is too large");
    let operand = |with: &Val<'a>| match with {
        Val::Quantity(other) => Ok(*other),
        Val::Int(i) => Ok(Quantity::whole(i128::from(*i))),
        other => Err(unsuitable(name, &[Val::Quantity(value), other.clone()])),
    };
    Some(match (name, rest) {
        ("sign", []) => Ok(Val::Int(i64::try_from(value.0.signum()).unwrap_or(0))),
        ("isInteger", []) => Ok(Val::Bool(value.whole_number().is_some())),
        ("asInteger", []) => value.whole_number().map(Val::Int).ok_or_else(|| Fault::new("the quantity is no integer")),
        ("asApproximateFloat", []) => Ok(Val::Double(value.0 as f64 / NANO as f64)),
        ("isGreaterThan", [with]) => operand(with).map(|other| Val::Bool(value > other)),
        ("isLessThan", [with]) => operand(with).map(|other| Val::Bool(value < other)),
        ("compareTo", [with]) => operand(with).map(|other| Val::Int(value.cmp(&other) as i64)),
        ("add", [with]) => operand(with)
            .and_then(|other| value.0.checked_add(other.0).ok_or_else(too_large))
            .map(|sum| Val::Quantity(Quantity(sum))),
        ("sub", [with]) => operand(with)
            .and_then(|other| value.0.checked_sub(other.0).ok_or_else(too_large))
            .map(|rest| Val::Quantity(Quantity(rest))),
        _ => return None,
    })
}
