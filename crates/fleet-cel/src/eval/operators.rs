//! Arithmetic, comparison, membership and indexing.

use std::cmp::Ordering;
use std::rc::Rc;

use cel::common::ast::operators as op;

use crate::meter::{Fault, Meter, Outcome};
use crate::value::{Dict, Key, Val};

/// The value of an operator, or `None` if `name` isn't one.
pub(super) fn apply<'a>(name: &str, values: &[Val<'a>], meter: &mut Meter) -> Option<Outcome<Val<'a>>> {
    Some(match (name, values) {
        (op::LOGICAL_NOT, [value]) => match value {
            Val::Bool(answer) => Ok(Val::Bool(!answer)),
            other => Err(Fault::new(format!("`!` needs true or false, but this is {}", other.type_name()))),
        },
        (op::NEGATE, [value]) => match value {
            Val::Int(i) => i.checked_neg().map(Val::Int).ok_or_else(overflow),
            Val::Double(d) => Ok(Val::Double(-d)),
            other => Err(Fault::new(format!("`-` needs a number, but this is {}", other.type_name()))),
        },
        (op::EQUALS, [a, b]) => a.equals(b, meter).map(Val::Bool),
        (op::NOT_EQUALS, [a, b]) => a.equals(b, meter).map(|equal| Val::Bool(!equal)),
        (op::LESS, [a, b]) => compare(a, b, "<", meter, Ordering::is_lt),
        (op::LESS_EQUALS, [a, b]) => compare(a, b, "<=", meter, Ordering::is_le),
        (op::GREATER, [a, b]) => compare(a, b, ">", meter, Ordering::is_gt),
        (op::GREATER_EQUALS, [a, b]) => compare(a, b, ">=", meter, Ordering::is_ge),
        (op::IN, [item, within]) => contains(item, within, meter).map(Val::Bool),
        (op::ADD, [a, b]) => add(a, b, meter),
        (op::SUBSTRACT, [a, b]) => arithmetic(a, b, "-", i64::checked_sub, u64::checked_sub, |a, b| a - b),
        (op::MULTIPLY, [a, b]) => arithmetic(a, b, "*", i64::checked_mul, u64::checked_mul, |a, b| a * b),
        (op::DIVIDE, [a, b]) => zero(b, "divided")
            .and_then(|()| arithmetic(a, b, "/", i64::checked_div, u64::checked_div, |a, b| a / b)),
        (op::MODULO, [a, b]) => match (a, b) {
            (Val::Double(_), _) | (_, Val::Double(_)) => Err(mismatch("%", a, b)),
            _ => zero(b, "divided")
                .and_then(|()| arithmetic(a, b, "%", i64::checked_rem, u64::checked_rem, |a, _| a)),
        },
        _ => return None,
    })
}

fn overflow() -> Fault {
    Fault::new("the result doesn't fit 64 bits")
}

fn mismatch(sign: &str, a: &Val<'_>, b: &Val<'_>) -> Fault {
    let (a, b) = (a.type_name(), b.type_name());
    let advice = match (a, b) {
        ("int" | "uint" | "double", "int" | "uint" | "double") => {
            "; convert one with int(), uint() or double()"
        }
        ("string", _) | (_, "string") if sign == "+" => "; convert the other with string()",
        _ => "",
    };
    Fault::new(format!("`{sign}` can't take {a} and {b}{advice}"))
}

fn zero(b: &Val<'_>, what: &str) -> Outcome<()> {
    match b {
        Val::Int(0) | Val::Uint(0) => Err(Fault::new(format!("{what} by zero"))),
        _ => Ok(()),
    }
}

fn compare<'a>(
    a: &Val<'a>,
    b: &Val<'a>,
    sign: &str,
    meter: &mut Meter,
    holds: fn(Ordering) -> bool,
) -> Outcome<Val<'a>> {
    match (a, b, a.compare(b, meter)?) {
        (_, _, Some(order)) => Ok(Val::Bool(holds(order))),
        // NaN is neither less nor more.
        (Val::Double(_), _, None) | (_, Val::Double(_), None) if is_number(a) && is_number(b) => {
            Ok(Val::Bool(false))
        }
        _ => Err(mismatch(sign, a, b)),
    }
}

fn is_number(value: &Val<'_>) -> bool {
    matches!(value, Val::Int(_) | Val::Uint(_) | Val::Double(_))
}

fn contains<'a>(item: &Val<'a>, within: &Val<'a>, meter: &mut Meter) -> Outcome<bool> {
    match within {
        Val::List(list) => {
            for candidate in list.iter() {
                if candidate.equals(item, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Val::Map(map) => Ok(Key::of(item).is_ok_and(|key| map.get(&key).is_some())),
        other => Err(Fault::new(format!("`in` needs a list or a map, but this is {}", other.type_name()))),
    }
}

fn add<'a>(a: &Val<'a>, b: &Val<'a>, meter: &mut Meter) -> Outcome<Val<'a>> {
    match (a, b) {
        (Val::String(left), Val::String(right)) => {
            meter.charge_text(left.len() + right.len())?;
            let mut joined = String::with_capacity(left.len() + right.len());
            joined.push_str(left);
            joined.push_str(right);
            Ok(Val::text(joined))
        }
        (Val::Bytes(left), Val::Bytes(right)) => {
            meter.charge_text(left.len() + right.len())?;
            Ok(Val::Bytes(Rc::from([left.as_ref(), right.as_ref()].concat())))
        }
        (Val::List(left), Val::List(right)) => {
            meter.charge(left.len() + right.len())?;
            Ok(Val::list(left.iter().chain(right.iter()).collect()))
        }
        _ => arithmetic(a, b, "+", i64::checked_add, u64::checked_add, |a, b| a + b),
    }
}

fn arithmetic<'a>(
    a: &Val<'a>,
    b: &Val<'a>,
    sign: &str,
    ints: fn(i64, i64) -> Option<i64>,
    uints: fn(u64, u64) -> Option<u64>,
    doubles: fn(f64, f64) -> f64,
) -> Outcome<Val<'a>> {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => ints(*a, *b).map(Val::Int).ok_or_else(overflow),
        (Val::Uint(a), Val::Uint(b)) => uints(*a, *b).map(Val::Uint).ok_or_else(overflow),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(doubles(*a, *b))),
        _ => Err(mismatch(sign, a, b)),
    }
}

/// `from[key]`; the name stands in the message.
pub(super) fn index<'a>(from: Val<'a>, key: &Val<'a>, name: &str) -> Outcome<Val<'a>> {
    match from {
        Val::List(list) => {
            let position = match key {
                Val::Int(i) => usize::try_from(*i).ok(),
                Val::Uint(u) => usize::try_from(*u).ok(),
                Val::Double(d) if d.fract() == 0.0 && *d >= 0.0 => Some(*d as usize),
                other => {
                    let message = format!("{name} is a list; {} is no index", other.type_name());
                    return Err(Fault::new(message));
                }
            };
            position.and_then(|position| list.get(position)).ok_or_else(|| {
                let shown = match key {
                    Val::Int(i) => i.to_string(),
                    Val::Uint(u) => u.to_string(),
                    _ => "that".to_owned(),
                };
                Fault::missing(format!("{name} has {} items, so no item {shown}", list.len()))
            })
        }
        Val::Map(map) => {
            let wanted = Key::of(key)?;
            map.get(&wanted).ok_or_else(|| {
                let shown = match &wanted {
                    Key::Text(text) => format!("{text:?}"),
                    Key::Number(n) => n.to_string(),
                    Key::Bool(b) => b.to_string(),
                };
                Fault::missing(format!("{name} has no key {shown}{}", known_keys(&map)))
            })
        }
        Val::Optional(None) => Ok(Val::Optional(None)),
        Val::Optional(Some(inner)) => match index(inner.as_ref().clone(), key, name) {
            Ok(found) => Ok(Val::some(found)),
            Err(fault) if fault.kind == crate::CelErrorKind::Missing => Ok(Val::Optional(None)),
            Err(fault) => Err(fault),
        },
        Val::Null => Err(Fault::missing(format!("{name} is null, so it has no items"))),
        other => Err(Fault::new(format!("{name} is {}, so it has no items", other.type_name()))),
    }
}

/// The first keys of a map, for messages.
pub(super) fn known_keys(map: &Dict<'_>) -> String {
    const SHOWN: usize = 8;
    let keys: Vec<String> = map
        .keys()
        .into_iter()
        .take(SHOWN)
        .map(|key| match key {
            Val::String(text) => text.chars().take(40).collect(),
            Val::Int(i) => i.to_string(),
            Val::Uint(u) => u.to_string(),
            Val::Bool(b) => b.to_string(),
            _ => String::new(),
        })
        .collect();
    match (keys.is_empty(), map.len() > SHOWN) {
        (true, _) => "; it is empty".to_owned(),
        (false, false) => format!("; it has {}", keys.join(", ")),
        (false, true) => format!("; it has {}, …", keys.join(", ")),
    }
}
