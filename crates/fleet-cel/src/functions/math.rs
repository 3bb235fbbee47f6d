//! CEL's math extension, as far as templates and rules need it.

use std::cmp::Ordering;

use crate::functions::{lists, unsuitable};
use crate::meter::{Fault, Meter, Outcome};
use crate::value::{List, Val};

/// `None`: no such function for numbers.
pub(super) fn call<'a>(name: &str, values: &[Val<'a>], meter: &mut Meter) -> Option<Outcome<Val<'a>>> {
    Some(match (name, values) {
        ("math.least", [Val::List(list)]) => extreme(name, &items(list), Ordering::is_lt, meter),
        ("math.greatest", [Val::List(list)]) => extreme(name, &items(list), Ordering::is_gt, meter),
        ("math.least", values) => extreme(name, values, Ordering::is_lt, meter),
        ("math.greatest", values) => extreme(name, values, Ordering::is_gt, meter),
        ("math.abs", [Val::Int(i)]) => {
            i.checked_abs().map(Val::Int).ok_or_else(|| Fault::new("the result doesn't fit 64 bits"))
        }
        ("math.abs", [Val::Double(d)]) => Ok(Val::Double(d.abs())),
        ("math.abs" | "math.ceil" | "math.floor" | "math.round", [Val::Uint(u)]) => Ok(Val::Uint(*u)),
        ("math.ceil" | "math.floor" | "math.round", [Val::Int(i)]) => Ok(Val::Int(*i)),
        ("math.ceil", [Val::Double(d)]) => Ok(Val::Double(d.ceil())),
        ("math.floor", [Val::Double(d)]) => Ok(Val::Double(d.floor())),
        ("math.round", [Val::Double(d)]) => Ok(Val::Double(d.round())),
        ("math.sign", [Val::Int(i)]) => Ok(Val::Int(i.signum())),
        ("math.sign", [Val::Uint(u)]) => Ok(Val::Uint((*u).min(1))),
        ("math.sign", [Val::Double(d)]) => Ok(Val::Double(if *d == 0.0 { 0.0 } else { d.signum() })),
        _ => return None,
    })
}

/// `lists.range(n)`, called on a number.
pub(super) fn range<'a>(value: &Val<'a>, meter: &mut Meter) -> Option<Outcome<Val<'a>>> {
    match value {
        Val::Int(length) => Some(lists::range(*length, meter)),
        _ => None,
    }
}

fn items<'a>(list: &List<'a>) -> Vec<Val<'a>> {
    list.iter().collect()
}

fn extreme<'a>(
    name: &str,
    values: &[Val<'a>],
    better: fn(Ordering) -> bool,
    meter: &mut Meter,
) -> Outcome<Val<'a>> {
    meter.charge(values.len())?;
    let mut best: Option<&Val<'a>> = None;
    for value in values {
        if !matches!(value, Val::Int(_) | Val::Uint(_) | Val::Double(_)) {
            return Err(unsuitable(name, values));
        }
        let wins = match best {
            None => true,
            Some(best) => value.compare(best, meter)?.is_some_and(better),
        };
        if wins {
            best = Some(value);
        }
    }
    best.cloned().ok_or_else(|| Fault::new(format!("`{name}` of nothing")))
}
