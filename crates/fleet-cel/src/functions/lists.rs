//! Lists: Kubernetes' list library, CEL's lists and sets extensions.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::functions::{int, text};
use crate::meter::{Fault, Meter, Outcome};
use crate::value::{Key, List, Val};

/// Longer ranges are refused at once instead of by running out.
const MAX_RANGE: i64 = 100_000;

/// `None`: no such function for lists.
pub(super) fn call<'a>(
    name: &str,
    list: &List<'a>,
    rest: &[Val<'a>],
    meter: &mut Meter,
) -> Option<Outcome<Val<'a>>> {
    if let Err(fault) = meter.charge(list.len()) {
        return Some(Err(fault));
    }
    Some(match (name, rest) {
        ("size", []) => Ok(Val::Int(i64::try_from(list.len()).unwrap_or(i64::MAX))),
        ("isSorted", []) => is_sorted(list, meter).map(Val::Bool),
        ("sum", []) => sum(list),
        ("min", []) => extreme(list, name, Ordering::is_lt, meter),
        ("max", []) => extreme(list, name, Ordering::is_gt, meter),
        ("indexOf", [item]) => position(list, item, meter, false),
        ("lastIndexOf", [item]) => position(list, item, meter, true),
        ("contains", [item]) => {
            position(list, item, meter, false).map(|at| Val::Bool(!matches!(at, Val::Int(-1))))
        }
        ("join", separator) => join(list, separator.first(), meter),
        ("first", []) => Ok(list.get(0).map_or(Val::Optional(None), Val::some)),
        ("last", []) => {
            let last = list.len().checked_sub(1).and_then(|last| list.get(last));
            Ok(last.map_or(Val::Optional(None), Val::some))
        }
        ("reverse", []) => {
            let mut items: Vec<_> = list.iter().collect();
            items.reverse();
            Ok(Val::list(items))
        }
        ("slice", [from, to]) => slice(list, from, to),
        ("distinct", []) => distinct(list, meter),
        ("flatten", depth) => depth.first().map_or(Ok(1), |depth| int(depth, name)).and_then(|depth| {
            let mut flat = Vec::new();
            flatten(list, depth.clamp(0, 32), &mut flat, meter)?;
            Ok(Val::list(flat))
        }),
        ("sort", []) => sort(list, meter),
        ("toMap", [key, value]) => to_map(list, key, value, meter),
        _ => return None,
    })
}

/// The sets extension: lists without regard to order and repetition.
pub(super) fn sets<'a>(name: &str, values: &[Val<'a>], meter: &mut Meter) -> Option<Outcome<Val<'a>>> {
    let [Val::List(a), Val::List(b)] = values else { return None };
    let within = |a: &List<'a>, b: &List<'a>, meter: &mut Meter| -> Outcome<usize> {
        let mut found = 0;
        for item in a.iter() {
            if !matches!(position(b, &item, meter, false)?, Val::Int(-1)) {
                found += 1;
            }
        }
        Ok(found)
    };
    Some(match name {
        "sets.contains" => within(b, a, meter).map(|found| Val::Bool(found == b.len())),
        "sets.intersects" => within(a, b, meter).map(|found| Val::Bool(found > 0)),
        "sets.equivalent" => within(a, b, meter)
            .and_then(|found| Ok(Val::Bool(found == a.len() && within(b, a, meter)? == b.len()))),
        _ => return None,
    })
}

/// `lists.range(n)`; its argument is no list, so `math` calls it.
pub(super) fn range<'a>(length: i64, meter: &mut Meter) -> Outcome<Val<'a>> {
    if !(0..=MAX_RANGE).contains(&length) {
        return Err(Fault::limit(format!("a range has 0 to {MAX_RANGE} items, not {length}")));
    }
    meter.charge(usize::try_from(length).unwrap_or(usize::MAX))?;
    Ok(Val::list((0..length).map(Val::Int).collect()))
}

fn ordered<'a>(a: &Val<'a>, b: &Val<'a>, meter: &mut Meter) -> Outcome<Ordering> {
    meter.charge(1)?;
    a.compare(b, meter)?.ok_or_else(|| {
        Fault::new(format!("{} and {} have no order between them", a.type_name(), b.type_name()))
    })
}

fn is_sorted(list: &List<'_>, meter: &mut Meter) -> Outcome<bool> {
    for (a, b) in list.iter().zip(list.iter().skip(1)) {
        if ordered(&a, &b, meter)?.is_gt() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sum<'a>(list: &List<'a>) -> Outcome<Val<'a>> {
    let too_large = || Fault::new("the sum doesn't fit 64 bits");
    let mut total = Val::Int(0);
    for (position, item) in list.iter().enumerate() {
        total = match (total, item) {
            (_, item @ (Val::Int(_) | Val::Uint(_) | Val::Double(_) | Val::Quantity(_))) if position == 0 => {
                item
            }
            (Val::Int(a), Val::Int(b)) => Val::Int(a.checked_add(b).ok_or_else(too_large)?),
            (Val::Uint(a), Val::Uint(b)) => Val::Uint(a.checked_add(b).ok_or_else(too_large)?),
            (Val::Double(a), Val::Double(b)) => Val::Double(a + b),
            (a, b) => {
                return Err(Fault::new(format!("`sum` can't add {} and {}", a.type_name(), b.type_name())));
            }
        };
    }
    Ok(total)
}

fn extreme<'a>(
    list: &List<'a>,
    name: &str,
    better: fn(Ordering) -> bool,
    meter: &mut Meter,
) -> Outcome<Val<'a>> {
    let mut items = list.iter();
    let mut best = items.next().ok_or_else(|| Fault::new(format!("`{name}` of an empty list")))?;
    for item in items {
        if better(ordered(&item, &best, meter)?) {
            best = item;
        }
    }
    Ok(best)
}

fn position<'a>(list: &List<'a>, item: &Val<'a>, meter: &mut Meter, from_end: bool) -> Outcome<Val<'a>> {
    let mut found = -1;
    for (at, candidate) in list.iter().enumerate() {
        if candidate.equals(item, meter)? {
            found = i64::try_from(at).unwrap_or(i64::MAX);
            if !from_end {
                break;
            }
        }
    }
    Ok(Val::Int(found))
}

fn join<'a>(list: &List<'a>, separator: Option<&Val<'a>>, meter: &mut Meter) -> Outcome<Val<'a>> {
    let separator = separator.map_or(Ok(""), |separator| text(separator, "join"))?;
    let mut joined = String::new();
    for (at, item) in list.iter().enumerate() {
        let item = text(&item, "join")?.to_owned();
        meter.charge_text(item.len() + separator.len())?;
        if at > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&item);
    }
    Ok(Val::text(joined))
}

fn slice<'a>(list: &List<'a>, from: &Val<'a>, to: &Val<'a>) -> Outcome<Val<'a>> {
    let (from, to) = (int(from, "slice")?, int(to, "slice")?);
    match (usize::try_from(from), usize::try_from(to)) {
        (Ok(start), Ok(end)) if start <= end && end <= list.len() => {
            Ok(Val::list(list.iter().skip(start).take(end - start).collect()))
        }
        _ => Err(Fault::new(format!("a list of {} items has no slice from {from} to {to}", list.len()))),
    }
}

fn distinct<'a>(list: &List<'a>, meter: &mut Meter) -> Outcome<Val<'a>> {
    let mut kept: Vec<Val<'a>> = Vec::new();
    for item in list.iter() {
        let mut known = false;
        for other in &kept {
            if other.equals(&item, meter)? {
                known = true;
                break;
            }
        }
        if !known {
            kept.push(item);
        }
    }
    Ok(Val::list(kept))
}

fn flatten<'a>(list: &List<'a>, depth: i64, flat: &mut Vec<Val<'a>>, meter: &mut Meter) -> Outcome<()> {
    for item in list.iter() {
        meter.charge(1)?;
        match item {
            Val::List(inner) if depth > 0 => flatten(&inner, depth - 1, flat, meter)?,
            other => flat.push(other),
        }
    }
    Ok(())
}

/// Rust's sort demands a total order, so what has none is refused before.
fn sort<'a>(list: &List<'a>, meter: &mut Meter) -> Outcome<Val<'a>> {
    let mut items: Vec<_> = list.iter().collect();
    let rounds = items.len().max(2).ilog2() as usize;
    if let Some(first) = items.first() {
        for item in &items {
            ordered(first, item, meter)?;
            let length = if let Val::String(text) = item { text.len() / 16 } else { 0 };
            meter.charge((length + 1).saturating_mul(rounds))?;
        }
    }
    let mut paid = Meter::new(u64::MAX);
    items.sort_by(|a, b| ordered(a, b, &mut paid).unwrap_or(Ordering::Equal));
    Ok(Val::list(items))
}

/// `[{"n": "a", "v": 1}].toMap("n", "v")` is `{"a": 1}`: the way from a list to a map.
fn to_map<'a>(list: &List<'a>, key: &Val<'a>, value: &Val<'a>, meter: &mut Meter) -> Outcome<Val<'a>> {
    let (key, value) = (text(key, "toMap")?, text(value, "toMap")?);
    let mut made = BTreeMap::new();
    for item in list.iter() {
        meter.charge(1)?;
        let Val::Map(map) = &item else {
            return Err(Fault::new(format!(
                "`toMap` needs a list of maps, but it holds {}",
                item.type_name()
            )));
        };
        let part = |name: &str| {
            map.field(name).ok_or_else(|| Fault::missing(format!("an item has no field {name:?}")))
        };
        made.insert(Key::of(&part(key)?)?, part(value)?);
    }
    Ok(Val::map(made))
}
