//! Kubernetes' quantity library (`500m`, `1Gi`).

use fleet_json::Quantity;
use fleet_json::quantity::Format;

use crate::functions::unsuitable;
use crate::meter::{Fault, Outcome};
use crate::value::Val;

const UNIT: i128 = 1_000_000_000;

/// A whole number as a quantity.
pub(super) fn whole(number: i64) -> Quantity {
    Quantity::from_units(number, Format::DecimalSi)
}

fn whole_number(value: Quantity) -> Option<i64> {
    (value.nanos() % UNIT == 0).then(|| value.units())
}

/// `None`: no such function for quantities. Sums are capped as Kubernetes caps them.
pub(super) fn call<'a>(name: &str, value: Quantity, rest: &[Val<'a>]) -> Option<Outcome<Val<'a>>> {
    let operand = |with: &Val<'a>| match with {
        Val::Quantity(other) => Ok(*other),
        Val::Int(i) => Ok(whole(*i)),
        other => Err(unsuitable(name, &[Val::Quantity(value), other.clone()])),
    };
    Some(match (name, rest) {
        ("sign", []) => Ok(Val::Int(i64::try_from(value.nanos().signum()).unwrap_or(0))),
        ("isInteger", []) => Ok(Val::Bool(whole_number(value).is_some())),
        ("asInteger", []) => {
            whole_number(value).map(Val::Int).ok_or_else(|| Fault::new("the quantity is no integer"))
        }
        ("asApproximateFloat", []) => Ok(Val::Double(value.nanos() as f64 / UNIT as f64)),
        ("isGreaterThan", [with]) => operand(with).map(|other| Val::Bool(value > other)),
        ("isLessThan", [with]) => operand(with).map(|other| Val::Bool(value < other)),
        ("compareTo", [with]) => operand(with).map(|other| Val::Int(value.cmp(&other) as i64)),
        ("add", [with]) => operand(with).map(|other| Val::Quantity(value.plus(other))),
        ("sub", [with]) => operand(with).map(|other| Val::Quantity(value.minus(other))),
        _ => return None,
    })
}
