//! Maps.

use std::collections::BTreeMap;

use crate::meter::{Meter, Outcome};
use crate::value::{Dict, Val};

/// `None`: no such function for maps.
pub(super) fn call<'a>(
    name: &str,
    map: &Dict<'a>,
    rest: &[Val<'a>],
    meter: &mut Meter,
) -> Option<Outcome<Val<'a>>> {
    if let Err(fault) = meter.charge(map.len()) {
        return Some(Err(fault));
    }
    Some(match (name, rest) {
        ("size", []) => Ok(Val::Int(i64::try_from(map.len()).unwrap_or(i64::MAX))),
        ("keys", []) => Ok(Val::list(map.keys())),
        ("values", []) => Ok(Val::list(map.entries().into_iter().map(|(_, value)| value).collect())),
        // The right one's entries win; one level only.
        ("merge", [Val::Map(other)]) => meter.charge(other.len()).map(|()| {
            let mut made: BTreeMap<_, _> = map.entries().into_iter().collect();
            made.extend(other.entries());
            Val::map(made)
        }),
        _ => return None,
    })
}
