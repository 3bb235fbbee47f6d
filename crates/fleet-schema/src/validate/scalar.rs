//! The keywords that look at one value: limits, enum, pattern, format.

use serde_json::{Value, json};

use super::compare::equal;
use super::walk::Walk;
use super::{ErrorKind, FieldError, Mode, format};
use crate::schema::{Extras, Schema, SchemaType, number_value};

/// A number without a fraction, `1.0` included.
pub(super) fn is_integer(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        _ => false,
    }
}

pub(super) fn check(walk: &mut Walk, node: &Schema, value: &Value, mode: Mode) {
    if let Some(extras) = &node.rare {
        // Go's empty string is an absent value, which the kind's defaults fill.
        if mode == Mode::Custom || value.as_str() != Some("") {
            enumeration(walk, extras, value);
        }
        match value {
            Value::Number(_) => numbers(walk, extras, value),
            Value::String(text) => strings(walk, extras, text),
            Value::Array(items) => {
                if let Some(most) = extras.max_items.filter(|most| items.len() as u64 > *most) {
                    too_many(walk, items.len(), &format!("must have at most {most} items"));
                }
                if let Some(least) = extras.min_items.filter(|least| (items.len() as u64) < *least) {
                    let rest = format!("should have at least {least} items");
                    walk.in_body(ErrorKind::Invalid, json!(items.len()), &rest);
                }
            }
            Value::Object(map) => {
                if let Some(most) = extras.max_properties.filter(|most| map.len() as u64 > *most) {
                    too_many(walk, map.len(), &format!("must have at most {most} items"));
                }
                if let Some(least) = extras.min_properties.filter(|least| (map.len() as u64) < *least) {
                    let rest = format!("should have at least {least} properties");
                    walk.in_body(ErrorKind::Invalid, json!(map.len()), &rest);
                }
            }
            _ => {}
        }
    }
    if let Some(name) = &node.format {
        let fits = match value {
            Value::String(text) => format::fits(name, text),
            Value::Number(_) if node.ty == SchemaType::Integer => format::integer_fits(name, value),
            _ => true,
        };
        if !fits {
            let shown = value.as_str().map_or_else(|| value.to_string(), super::error::quoted);
            walk.in_body(ErrorKind::TypeInvalid, value.clone(), &format!("must be of type {name}: {shown}"));
        }
    }
}

/// Quantities are read as such when a built-in kind is decoded.
pub(super) fn quantity(walk: &mut Walk, value: &Value) {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.parse::<fleet_json::Quantity>().is_err() {
        let message = "quantities must match the regular expression \
                       '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        walk.report(FieldError::invalid(walk.path.clone(), value.clone(), message));
    }
}

fn too_many(walk: &mut Walk, found: usize, message: &str) {
    let error = FieldError::with_value(ErrorKind::TooMany, walk.path.clone(), json!(found), message);
    walk.report(error);
}

fn enumeration(walk: &mut Walk, extras: &Extras, value: &Value) {
    if extras.enumeration.is_empty() || extras.enumeration.iter().any(|allowed| equal(allowed, value)) {
        return;
    }
    let allowed: Vec<String> = extras
        .enumeration
        .iter()
        .map(|allowed| allowed.as_str().map_or_else(|| allowed.to_string(), str::to_owned))
        .collect();
    let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
    walk.report(FieldError::not_supported(walk.path.clone(), value.clone(), &allowed));
}

fn numbers(walk: &mut Walk, extras: &Extras, value: &Value) {
    let Some(number) = value.as_f64() else { return };
    let mut broken: Vec<String> = Vec::new();
    if let Some(least) = extras.minimum {
        if extras.exclusive_minimum && number <= least {
            broken.push(format!("should be greater than {}", number_value(least)));
        } else if number < least {
            broken.push(format!("should be greater than or equal to {}", number_value(least)));
        }
    }
    if let Some(most) = extras.maximum {
        if extras.exclusive_maximum && number >= most {
            broken.push(format!("should be less than {}", number_value(most)));
        } else if number > most {
            broken.push(format!("should be less than or equal to {}", number_value(most)));
        }
    }
    if let Some(step) = extras.multiple_of.filter(|step| *step > 0.0) {
        let quotient = number / step;
        if (quotient - quotient.round()).abs() > 1e-9 {
            broken.push(format!("should be a multiple of {}", number_value(step)));
        }
    }
    for rest in broken {
        walk.in_body(ErrorKind::Invalid, value.clone(), &rest);
    }
}

fn strings(walk: &mut Walk, extras: &Extras, text: &str) {
    let length = text.chars().count() as u64;
    if let Some(most) = extras.max_length.filter(|most| length > *most) {
        let error = FieldError::new(
            ErrorKind::TooLong,
            walk.path.clone(),
            format!("may not be more than {most} bytes"),
        );
        walk.report(error);
    }
    if let Some(least) = extras.min_length.filter(|least| length < *least) {
        walk.in_body(ErrorKind::Invalid, json!(text), &format!("should be at least {least} chars long"));
    }
    if let Some(pattern) = &extras.pattern
        && !pattern.matches(text)
    {
        walk.in_body(ErrorKind::Invalid, json!(text), &format!("should match '{}'", pattern.source()));
    }
}
