//! Following steps through a value.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Comparison, Filter, Operand, Step};

/// `..` through a wide object could find more than anybody prints.
const MAX_FOUND: usize = 10_000;

pub(super) fn run<'v>(steps: &[Step], value: &'v Value) -> Vec<&'v Value> {
    let mut found = vec![value];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            apply(step, value, &mut next);
            next.truncate(MAX_FOUND);
        }
        found = next;
    }
    found
}

fn apply<'v>(step: &Step, value: &'v Value, out: &mut Vec<&'v Value>) {
    match step {
        Step::Field(name) => out.extend(value.get(name)),
        Step::Fields(names) => out.extend(names.iter().filter_map(|name| value.get(name))),
        Step::Index(index) => {
            if let Value::Array(items) = value {
                out.extend(position(*index, items.len()).and_then(|at| items.get(at)));
            }
        }
        Step::Slice { from, to, step } => {
            if let Value::Array(items) = value {
                let bound = |at: i64| match usize::try_from(at) {
                    Ok(at) => at.min(items.len()),
                    Err(_) => position(at, items.len()).unwrap_or(0),
                };
                let (from, to) = (from.map_or(0, bound), to.map_or(items.len(), bound));
                let step = usize::try_from(*step).unwrap_or(1).max(1);
                out.extend(items.get(from..to).unwrap_or_default().iter().step_by(step));
            }
        }
        Step::All => children(value, out),
        Step::Descend => descend(value, out, 0),
        Step::Filter(filter) => {
            if let Value::Array(items) = value {
                out.extend(items.iter().filter(|item| holds(filter, item)));
            }
        }
    }
}

fn position(index: i64, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(at) => Some(at),
        Err(_) => length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

/// Maps in the order of their names, so that the result doesn't hang on how the map was built.
fn children<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    match value {
        Value::Array(items) => out.extend(items),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(name, _)| name.as_str());
            out.extend(entries.into_iter().map(|(_, value)| value));
        }
        _ => {}
    }
}

fn descend<'v>(value: &'v Value, out: &mut Vec<&'v Value>, depth: usize) {
    if depth > crate::validate::MAX_VALUE_DEPTH || out.len() >= MAX_FOUND {
        return;
    }
    out.push(value);
    let mut below = Vec::new();
    children(value, &mut below);
    for value in below {
        descend(value, out, depth + 1);
    }
}

fn holds(filter: &Filter, item: &Value) -> bool {
    let left = operand(&filter.left, item);
    let Some((comparison, right)) = &filter.test else { return left.is_some() };
    let (Some(left), Some(right)) = (left, operand(right, item)) else { return false };
    let order = order(left, right);
    match comparison {
        Comparison::Equal => order == Some(Ordering::Equal),
        Comparison::NotEqual => order != Some(Ordering::Equal),
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}

fn operand<'v>(operand: &'v Operand, item: &'v Value) -> Option<&'v Value> {
    match operand {
        Operand::Literal(value) => Some(value),
        Operand::Path(steps) => run(steps, item).into_iter().next(),
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => (left == right).then_some(Ordering::Equal),
    }
}
