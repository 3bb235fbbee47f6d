//! `"…%s…".format([…])` of CEL's strings extension.

use crate::functions::convert;
use crate::meter::{Fault, Meter, Outcome};
use crate::value::{List, Val};

/// Clauses `%s %d %f %e %x %X %o %b %%`, with a precision for `%f` and `%e` (`%.2f`).
pub(super) fn format<'a>(pattern: &str, arguments: &List<'a>, meter: &mut Meter) -> Outcome<Val<'a>> {
    let mut text = String::new();
    let mut next = 0;
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        if letters.next_if_eq(&'%').is_some() {
            text.push('%');
            continue;
        }
        let precision = if letters.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let precision: usize = digits.parse().unwrap_or(6);
            if precision > 100 {
                return Err(Fault::new("a precision of more than 100 digits"));
            }
            precision
        } else {
            6
        };
        let clause = letters.next().ok_or_else(|| Fault::new("the format ends in the middle of a clause"))?;
        let value = arguments
            .get(next)
            .ok_or_else(|| Fault::new(format!("the format has more clauses than the {next} arguments")))?;
        next += 1;
        let shown = clause_text(clause, precision, &value, meter, 0)?;
        meter.charge_text(shown.len())?;
        text.push_str(&shown);
    }
    meter.charge_text(text.len())?;
    Ok(Val::text(text))
}

fn clause_text(
    clause: char,
    precision: usize,
    value: &Val<'_>,
    meter: &mut Meter,
    depth: usize,
) -> Outcome<String> {
    meter.charge(1)?;
    if depth > 32 {
        return Err(Fault::limit("the value is nested too deep to be formatted"));
    }
    Ok(match (clause, value) {
        ('s', Val::List(list)) => {
            let mut shown = Vec::with_capacity(list.len());
            for item in list.iter() {
                shown.push(clause_text('s', precision, &item, meter, depth + 1)?);
            }
            format!("[{}]", shown.join(", "))
        }
        ('s', Val::Map(map)) => {
            let mut shown = Vec::with_capacity(map.len());
            for (key, value) in map.entries() {
                let key = clause_text('s', precision, &key.to_val(), meter, depth + 1)?;
                shown.push(format!("{key}: {}", clause_text('s', precision, &value, meter, depth + 1)?));
            }
            format!("{{{}}}", shown.join(", "))
        }
        ('s', Val::Null) => "null".to_owned(),
        ('s', Val::String(text)) => {
            meter.charge_text(text.len())?;
            text.to_string()
        }
        ('s', other) => {
            convert::plain(other).ok_or_else(|| Fault::new(format!("%s can't show {}", other.type_name())))?
        }
        ('d', Val::Int(i)) => i.to_string(),
        ('d', Val::Uint(u)) => u.to_string(),
        ('f', Val::Double(d)) => format!("{d:.precision$}"),
        ('f', Val::Int(i)) => format!("{:.precision$}", *i as f64),
        ('e', Val::Double(d)) => format!("{d:.precision$e}"),
        ('x', Val::Int(i)) => radix(*i, |n| format!("{n:x}")),
        ('X', Val::Int(i)) => radix(*i, |n| format!("{n:X}")),
        ('o', Val::Int(i)) => radix(*i, |n| format!("{n:o}")),
        ('b', Val::Int(i)) => radix(*i, |n| format!("{n:b}")),
        ('b', Val::Bool(b)) => u8::from(*b).to_string(),
        ('x', Val::Uint(u)) => format!("{u:x}"),
        ('X', Val::Uint(u)) => format!("{u:X}"),
        ('o', Val::Uint(u)) => format!("{u:o}"),
        ('b', Val::Uint(u)) => format!("{u:b}"),
        ('x', Val::String(text)) => {
            meter.charge_text(text.len().saturating_mul(2))?;
            text.bytes().map(|byte| format!("{byte:02x}")).collect()
        }
        (clause, value) => {
            return Err(Fault::new(format!("the clause %{clause} can't show {}", value.type_name())));
        }
    })
}

fn radix(number: i64, shown: impl Fn(u64) -> String) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", shown(number.unsigned_abs()))
}
