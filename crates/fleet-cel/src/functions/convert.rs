//! Conversions and functions for any value.

use std::rc::Rc;

use fleet_json::Quantity;

use crate::functions::{base64, quantity};
use crate::meter::{Fault, Meter, Outcome};
use crate::value::Val;

/// `None`: no such function for this value.
pub(super) fn call<'a>(name: &str, value: &Val<'a>, meter: &mut Meter) -> Option<Outcome<Val<'a>>> {
    Some(match name {
        "dyn" => Ok(value.clone()),
        "type" => Ok(Val::Type(value.type_name())),
        "int" => int(value)?.map(Val::Int),
        "uint" => uint(value)?.map(Val::Uint),
        "double" => double(value)?.map(Val::Double),
        "bool" => match value {
            Val::Bool(b) => Ok(Val::Bool(*b)),
            Val::String(text) => match &**text {
                "true" | "True" | "TRUE" | "t" | "1" => Ok(Val::Bool(true)),
                "false" | "False" | "FALSE" | "f" | "0" => Ok(Val::Bool(false)),
                other => Err(unreadable("bool", other)),
            },
            _ => return None,
        },
        "string" => string(value, meter)?,
        "bytes" => match value {
            Val::Bytes(_) => Ok(value.clone()),
            Val::String(text) => {
                meter.charge_text(text.len()).map(|()| Val::Bytes(Rc::from(text.as_bytes())))
            }
            _ => return None,
        },
        "size" => match value {
            Val::Bytes(bytes) => Ok(Val::Int(i64::try_from(bytes.len()).unwrap_or(i64::MAX))),
            _ => return None,
        },
        "base64.encode" => match value {
            Val::Bytes(bytes) => meter.charge_text(bytes.len()).map(|()| Val::text(base64::encode(bytes))),
            Val::String(text) => {
                meter.charge_text(text.len()).map(|()| Val::text(base64::encode(text.as_bytes())))
            }
            _ => return None,
        },
        "base64.decode" => match value {
            Val::String(text) => meter.charge_text(text.len()).and_then(|()| {
                let bytes = base64::decode(text).ok_or_else(|| Fault::new("this is no base64"))?;
                Ok(Val::Bytes(Rc::from(bytes)))
            }),
            _ => return None,
        },
        "quantity" => match value {
            Val::String(text) => Quantity::parse(text).map(Val::Quantity).map_err(|_| {
                Fault::new(format!("{:?} is no quantity", text.chars().take(40).collect::<String>()))
            }),
            Val::Int(i) => Ok(Val::Quantity(quantity::whole(*i))),
            _ => return None,
        },
        "isQuantity" => match value {
            Val::String(text) => Ok(Val::Bool(Quantity::parse(text).is_ok())),
            _ => Ok(Val::Bool(false)),
        },
        "hasValue" => match value {
            Val::Optional(inner) => Ok(Val::Bool(inner.is_some())),
            _ => return None,
        },
        "value" => match value {
            Val::Optional(Some(inner)) => Ok(inner.as_ref().clone()),
            Val::Optional(None) => Err(Fault::missing("the optional holds no value")),
            _ => return None,
        },
        "optional.of" => Ok(Val::some(value.clone())),
        "optional.ofNonZeroValue" => {
            Ok(if value.is_zero() { Val::Optional(None) } else { Val::some(value.clone()) })
        }
        _ => return None,
    })
}

fn unreadable(kind: &str, text: &str) -> Fault {
    let shown: String = text.chars().take(40).collect();
    Fault::new(format!("{shown:?} is no {kind}"))
}

fn int(value: &Val<'_>) -> Option<Outcome<i64>> {
    Some(match value {
        Val::Int(i) => Ok(*i),
        Val::Uint(u) => i64::try_from(*u).map_err(|_| Fault::new(format!("{u} is too large for int"))),
        // Both bounds are exact doubles; everything between fits.
        Val::Double(d) if *d > -9_223_372_036_854_775_808.0 && *d < 9_223_372_036_854_775_808.0 => {
            Ok(*d as i64)
        }
        Val::Double(d) => Err(Fault::new(format!("{d} doesn't fit int"))),
        Val::String(text) => text.parse().map_err(|_| unreadable("int", text)),
        _ => return None,
    })
}

fn uint(value: &Val<'_>) -> Option<Outcome<u64>> {
    Some(match value {
        Val::Uint(u) => Ok(*u),
        Val::Int(i) => u64::try_from(*i).map_err(|_| Fault::new(format!("{i} is negative"))),
        Val::Double(d) if *d > -1.0 && *d < 18_446_744_073_709_551_616.0 => Ok(*d as u64),
        Val::Double(d) => Err(Fault::new(format!("{d} doesn't fit uint"))),
        Val::String(text) => text.parse().map_err(|_| unreadable("uint", text)),
        _ => return None,
    })
}

fn double(value: &Val<'_>) -> Option<Outcome<f64>> {
    Some(match value {
        Val::Double(d) => Ok(*d),
        Val::Int(i) => Ok(*i as f64),
        Val::Uint(u) => Ok(*u as f64),
        Val::String(text) => text.parse().map_err(|_| unreadable("double", text)),
        _ => return None,
    })
}

fn string<'a>(value: &Val<'a>, meter: &mut Meter) -> Option<Outcome<Val<'a>>> {
    Some(match value {
        Val::String(_) => Ok(value.clone()),
        Val::Bytes(bytes) => meter.charge_text(bytes.len()).and_then(|()| {
            let text = std::str::from_utf8(bytes).map_err(|_| Fault::new("the bytes are no UTF-8"))?;
            Ok(Val::text(text))
        }),
        other => Ok(Val::text(plain(other)?)),
    })
}

/// The text of a scalar, as `string()` and interpolation write it.
pub(crate) fn plain(value: &Val<'_>) -> Option<String> {
    Some(match value {
        Val::Bool(b) => b.to_string(),
        Val::Int(i) => i.to_string(),
        Val::Uint(u) => u.to_string(),
        Val::Double(d) => d.to_string(),
        Val::String(text) => text.to_string(),
        Val::Quantity(q) => q.to_string(),
        Val::Type(name) => (*name).to_owned(),
        _ => return None,
    })
}
