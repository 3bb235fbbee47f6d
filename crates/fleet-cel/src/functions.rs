//! The function libraries: one table of names, one file for each library.

pub(crate) mod base64;
mod convert;
mod format;
mod lists;
mod maps;
mod math;
pub(crate) mod quantity;
mod strings;

use cel::common::ast::{Expr, IdedExpr, operators as op};

use crate::authority;
use crate::eval::Evaluator;
use crate::meter::{Fault, Outcome};
use crate::value::Val;

/// Name, fewest and most arguments, the receiver counted (`size(x)` and `x.size()` are the same).
const TABLE: &[(&str, usize, usize)] = &[
    ("size", 1, 1),
    ("contains", 2, 2),
    ("startsWith", 2, 2),
    ("endsWith", 2, 2),
    ("matches", 2, 2),
    ("int", 1, 1),
    ("uint", 1, 1),
    ("double", 1, 1),
    ("string", 1, 1),
    ("bool", 1, 1),
    ("bytes", 1, 1),
    ("type", 1, 1),
    ("dyn", 1, 1),
    ("charAt", 2, 2),
    ("indexOf", 2, 3),
    ("lastIndexOf", 2, 3),
    ("join", 1, 2),
    ("lowerAscii", 1, 1),
    ("upperAscii", 1, 1),
    ("replace", 3, 4),
    ("split", 2, 3),
    ("substring", 2, 3),
    ("trim", 1, 1),
    ("reverse", 1, 1),
    ("format", 2, 2),
    ("strings.quote", 1, 1),
    ("find", 2, 2),
    ("findAll", 2, 3),
    ("isSorted", 1, 1),
    ("sum", 1, 1),
    ("min", 1, 1),
    ("max", 1, 1),
    ("flatten", 1, 2),
    ("distinct", 1, 1),
    ("sort", 1, 1),
    ("slice", 3, 3),
    ("first", 1, 1),
    ("last", 1, 1),
    ("lists.range", 1, 1),
    ("sets.contains", 2, 2),
    ("sets.equivalent", 2, 2),
    ("sets.intersects", 2, 2),
    ("quantity", 1, 1),
    ("isQuantity", 1, 1),
    ("sign", 1, 1),
    ("asInteger", 1, 1),
    ("asApproximateFloat", 1, 1),
    ("isInteger", 1, 1),
    ("isGreaterThan", 2, 2),
    ("isLessThan", 2, 2),
    ("compareTo", 2, 2),
    ("add", 2, 2),
    ("sub", 2, 2),
    ("math.least", 1, 64),
    ("math.greatest", 1, 64),
    ("math.abs", 1, 1),
    ("math.ceil", 1, 1),
    ("math.floor", 1, 1),
    ("math.round", 1, 1),
    ("math.sign", 1, 1),
    ("base64.encode", 1, 1),
    ("base64.decode", 1, 1),
    ("keys", 1, 1),
    ("values", 1, 1),
    ("merge", 2, 2),
    ("toMap", 3, 3),
    ("orValue", 2, 2),
    ("or", 2, 2),
    ("hasValue", 1, 1),
    ("value", 1, 1),
    ("optional.of", 1, 1),
    ("optional.none", 0, 0),
    ("optional.ofNonZeroValue", 1, 1),
];

const OPERATORS: &[&str] = &[
    op::CONDITIONAL,
    op::LOGICAL_AND,
    op::LOGICAL_OR,
    op::LOGICAL_NOT,
    op::SUBSTRACT,
    op::ADD,
    op::MULTIPLY,
    op::DIVIDE,
    op::MODULO,
    op::EQUALS,
    op::NOT_EQUALS,
    op::GREATER_EQUALS,
    op::LESS_EQUALS,
    op::GREATER,
    op::LESS,
    op::NEGATE,
    op::INDEX,
    op::OPT_INDEX,
    op::OPT_SELECT,
    op::NOT_STRICTLY_FALSE,
    op::IN,
];

const TYPES: &[&str] = &[
    "null_type",
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "optional_type",
    "type",
];

/// The type value that a name stands for, where no variable has the name.
pub(crate) fn type_named(name: &str) -> Option<&'static str> {
    TYPES.iter().copied().find(|known| *known == name)
}

/// The function behind `math.least(…)`, which parses as a call on a variable `math`.
pub(crate) fn namespaced(target: Option<&IdedExpr>, function: &str) -> Option<&'static str> {
    let Some(Expr::Ident(space)) = target.map(|target| &target.expr) else { return None };
    TABLE.iter().map(|(name, ..)| *name).find(|name| {
        name.strip_prefix(space.as_str()).and_then(|rest| rest.strip_prefix('.')) == Some(function)
    })
}

/// Whether a function of this name takes so many arguments; if not, what to say.
pub(crate) fn check(name: &str, arguments: usize) -> Result<(), String> {
    if OPERATORS.contains(&name) {
        return Ok(());
    }
    match TABLE.iter().chain(authority::TABLE).find(|(known, ..)| *known == name) {
        Some((_, least, most)) if (*least..=*most).contains(&arguments) => Ok(()),
        Some(_) => Err(format!("`{name}` doesn't take {arguments} arguments, its receiver counted")),
        None => {
            let macros = ["has", "all", "exists", "exists_one", "map", "filter"];
            let known = TABLE.iter().map(|(known, ..)| *known).chain(macros);
            let nearest = known
                .map(|known| (strsim::damerau_levenshtein(known, name), known))
                .filter(|(distance, _)| *distance <= 3)
                .min();
            let advice = nearest.map_or(String::new(), |(_, known)| format!("; did you mean `{known}`?"));
            if macros.contains(&name) {
                return Err(format!("`{name}` doesn't take these arguments"));
            }
            let shown: String = name.chars().take(60).collect();
            Err(format!("there is no function `{shown}`{advice}"))
        }
    }
}

/// Calls a function; `check` has seen to the number of arguments.
pub(crate) fn call<'a>(name: &str, values: &[Val<'a>], evaluator: &mut Evaluator<'a>) -> Outcome<Val<'a>> {
    let authorizer = evaluator.authorizer();
    let meter = &mut evaluator.meter;
    match values {
        [] => match name {
            "optional.none" => Ok(Val::Optional(None)),
            _ => Err(unsuitable(name, values)),
        },
        [first, rest @ ..] => {
            let found = match first {
                _ if name.starts_with("math.") => math::call(name, values, meter),
                _ if name == "lists.range" => math::range(first, meter),
                _ if name.starts_with("sets.") => lists::sets(name, values, meter),
                Val::String(text) => strings::call(name, text, rest, meter, &mut evaluator.patterns),
                Val::List(list) => lists::call(name, list, rest, meter),
                Val::Map(map) => maps::call(name, map, rest, meter),
                Val::Quantity(value) => quantity::call(name, *value, rest),
                Val::Asking(asking) => authority::call(name, asking, rest, meter, authorizer),
                _ => None,
            };
            found
                .or_else(|| convert::call(name, first, &mut evaluator.meter))
                .unwrap_or_else(|| Err(unsuitable(name, values)))
        }
    }
}

fn unsuitable(name: &str, values: &[Val<'_>]) -> Fault {
    let types: Vec<&str> = values.iter().map(Val::type_name).collect();
    Fault::new(format!("`{name}` can't take {}", types.join(", ")))
}

/// An argument that must be an integer.
fn int(value: &Val<'_>, name: &str) -> Outcome<i64> {
    match value {
        Val::Int(i) => Ok(*i),
        Val::Uint(u) => {
            i64::try_from(*u).map_err(|_| Fault::new(format!("`{name}` got {u}, which is too large")))
        }
        other => Err(Fault::new(format!("`{name}` needs an int here, but got {}", other.type_name()))),
    }
}

/// An argument that must be text.
pub(crate) fn text<'v>(value: &'v Val<'_>, name: &str) -> Outcome<&'v str> {
    match value {
        Val::String(text) => Ok(text),
        other => Err(Fault::new(format!("`{name}` needs a string here, but got {}", other.type_name()))),
    }
}
