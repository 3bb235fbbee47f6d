//! The evaluator: walks the syntax tree, counting.

mod operators;
mod outside;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue,
    operators as op,
};
use regex::Regex;
use serde_json::Value;

use crate::error::CelErrorKind;
use crate::functions;
use crate::meter::{Fault, Meter, Outcome};
use crate::value::{Dict, Key, List, Text, Val};
use outside::Outside;

/// One evaluation of one expression.
pub(crate) struct Evaluator<'a> {
    variables: &'a [(&'a str, &'a Value)],
    /// Loop variables and accumulators. An accumulator may hold an error: `all` and `exists` go on after
    /// one, since a later item may decide.
    locals: Vec<(&'a str, Outcome<Val<'a>>)>,
    outside: Outside<'a>,
    pub(crate) meter: Meter,
    pub(crate) patterns: HashMap<String, Regex>,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(variables: &'a [(&'a str, &'a Value)], max_cost: u64) -> Self {
        Self {
            variables,
            locals: Vec::new(),
            outside: Outside::default(),
            meter: Meter::new(max_cost),
            patterns: HashMap::new(),
        }
    }

    /// The recursion is bounded: `parse` refuses deep trees.
    pub(crate) fn eval(&mut self, node: &'a IdedExpr) -> Outcome<Val<'a>> {
        self.meter.charge(1)?;
        match &node.expr {
            Expr::Literal(literal) => Ok(literal_value(literal)),
            Expr::Ident(name) => self.variable(name).map_err(|fault| fault.at(node.id)),
            Expr::Select(select) => {
                if let Some(found) = self.outside_field(select) {
                    return found.map_err(|fault| fault.at(node.id));
                }
                let operand = self.eval(&select.operand)?;
                let result = if select.test {
                    has(&operand, &select.field)
                } else {
                    self.select(operand, &select.field, &select.operand)
                };
                result.map_err(|fault| fault.at(node.id))
            }
            Expr::Call(call) => self.call(node, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(&map.entries, node.id),
            Expr::Comprehension(comprehension) => self.comprehension(node, comprehension),
            Expr::Struct(_) | Expr::Unspecified => Err(Fault::new("not an expression").at(node.id)),
        }
    }

    fn variable(&self, name: &'a str) -> Outcome<Val<'a>> {
        let name = name.trim_start_matches('.');
        if let Some((_, value)) = self.locals.iter().rev().find(|(local, _)| *local == name) {
            return value.clone();
        }
        if let Some((_, value)) = self.variables.iter().find(|(known, _)| *known == name) {
            return Ok(Val::from_json(value));
        }
        if let Some(known) = self.outside.variable(name) {
            return known;
        }
        if let Some(named) = functions::type_named(name) {
            return Ok(Val::Type(named));
        }
        let known: Vec<&str> = self.variables.iter().map(|(name, _)| *name).collect();
        Err(Fault::new(format!("there is no variable `{name}`; there are: {}", known.join(", "))))
    }

    fn select(&mut self, operand: Val<'a>, field: &str, from: &IdedExpr) -> Outcome<Val<'a>> {
        match operand {
            Val::Map(map) => map.field(field).ok_or_else(|| missing_field(&map, field, from)),
            // A selection on an optional stays optional.
            Val::Optional(None) => Ok(Val::Optional(None)),
            Val::Optional(Some(inner)) => Ok(optional_field(&inner, field)),
            other => Err(no_field(&other, field, from)),
        }
    }

    /// Split by kind of call: one function for all would have a stack frame as large as all together.
    fn call(&mut self, node: &'a IdedExpr, call: &'a CallExpr) -> Outcome<Val<'a>> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (op::CONDITIONAL, [condition, yes, no]) => {
                let branch = if self.condition(condition)? { yes } else { no };
                self.eval(branch)
            }
            (op::LOGICAL_AND, [left, right]) => self.logical(left, right, false).map(Val::Bool),
            (op::LOGICAL_OR, [left, right]) => self.logical(left, right, true).map(Val::Bool),
            (op::NOT_STRICTLY_FALSE, [inner]) => self.not_strictly_false(inner),
            (op::OPT_SELECT, [operand, field]) => self.optional_select(node, operand, field),
            (op::INDEX | op::OPT_INDEX, [operand, key]) => {
                self.index(node, operand, key, call.func_name == op::OPT_INDEX)
            }
            ("orValue" | "or", [alternative]) => self.or(node, call, alternative),
            _ => self.function(node, call),
        }
    }

    fn not_strictly_false(&mut self, inner: &'a IdedExpr) -> Outcome<Val<'a>> {
        match self.eval(inner) {
            Ok(Val::Bool(answer)) => Ok(Val::Bool(answer)),
            Err(fault) if fault.kind == CelErrorKind::Limit => Err(fault),
            _ => Ok(Val::Bool(true)),
        }
    }

    fn optional_select(
        &mut self,
        node: &'a IdedExpr,
        operand: &'a IdedExpr,
        field: &'a IdedExpr,
    ) -> Outcome<Val<'a>> {
        let from = self.eval(operand)?;
        match (&field.expr, from) {
            (Expr::Literal(LiteralValue::String(field)), Val::Optional(inner)) => {
                Ok(inner.map_or(Val::Optional(None), |inner| optional_field(&inner, field.inner())))
            }
            (Expr::Literal(LiteralValue::String(field)), from @ (Val::Map(_) | Val::Null)) => {
                Ok(optional_field(&from, field.inner()))
            }
            (_, other) => Err(needs("`.?`", "a map", operand, &other).at(node.id)),
        }
    }

    fn index(
        &mut self,
        node: &'a IdedExpr,
        operand: &'a IdedExpr,
        key: &'a IdedExpr,
        optional: bool,
    ) -> Outcome<Val<'a>> {
        let from = self.eval(operand)?;
        let key = self.eval(key)?;
        match operators::index(from, &key, &describe(operand)) {
            Ok(found @ Val::Optional(_)) => Ok(found),
            Ok(found) if optional => Ok(Val::some(found)),
            Err(fault) if optional && fault.kind == CelErrorKind::Missing => Ok(Val::Optional(None)),
            found => found.map_err(|fault| fault.at(node.id)),
        }
    }

    /// `or` and `orValue`, whose argument is evaluated only if needed.
    fn or(&mut self, node: &'a IdedExpr, call: &'a CallExpr, alternative: &'a IdedExpr) -> Outcome<Val<'a>> {
        let Some(target) = call.target.as_deref() else {
            return Err(Fault::new("this needs an optional before it").at(node.id));
        };
        match self.eval(target)? {
            Val::Optional(None) => self.eval(alternative),
            Val::Optional(Some(inner)) if call.func_name == "orValue" => Ok(inner.as_ref().clone()),
            some @ Val::Optional(Some(_)) => Ok(some),
            other => {
                Err(needs(&format!("`{}`", call.func_name), "an optional (`a.?b`)", target, &other)
                    .at(node.id))
            }
        }
    }

    fn function(&mut self, node: &'a IdedExpr, call: &'a CallExpr) -> Outcome<Val<'a>> {
        let spaced = functions::namespaced(call.target.as_deref(), &call.func_name);
        let mut values = Vec::with_capacity(call.args.len() + 1);
        if let (None, Some(target)) = (spaced, call.target.as_deref()) {
            values.push(self.eval(target)?);
        }
        for argument in &call.args {
            values.push(self.eval(argument)?);
        }
        self.dispatch(spaced.unwrap_or(&call.func_name), &values).map_err(|fault| fault.at(node.id))
    }

    fn dispatch(&mut self, name: &str, values: &[Val<'a>]) -> Outcome<Val<'a>> {
        operators::apply(name, values, &mut self.meter).unwrap_or_else(|| functions::call(name, values, self))
    }

    fn condition(&mut self, node: &'a IdedExpr) -> Outcome<bool> {
        match self.eval(node)? {
            Val::Bool(answer) => Ok(answer),
            other => Err(not_bool(node, &other)),
        }
    }

    /// `&&` and `||`: whichever side decides wins, even over an error on the other.
    fn logical(&mut self, left: &'a IdedExpr, right: &'a IdedExpr, decides: bool) -> Outcome<bool> {
        let first = self.condition(left);
        match first {
            Ok(answer) if answer == decides => return Ok(decides),
            Err(fault) if fault.kind == CelErrorKind::Limit => return Err(fault),
            _ => {}
        }
        match (first, self.condition(right)) {
            (_, Ok(answer)) if answer == decides => Ok(decides),
            (_, Err(fault)) if fault.kind == CelErrorKind::Limit => Err(fault),
            (Err(fault), _) | (Ok(_), Err(fault)) => Err(fault),
            (Ok(_), Ok(_)) => Ok(!decides),
        }
    }

    fn list(&mut self, list: &'a ListExpr) -> Outcome<Val<'a>> {
        let mut items = Vec::with_capacity(list.elements.len());
        for (index, element) in list.elements.iter().enumerate() {
            let value = self.eval(element)?;
            if list.optional_indices.contains(&index) {
                match value {
                    Val::Optional(inner) => items.extend(inner.map(|inner| inner.as_ref().clone())),
                    other => return Err(not_optional(&other).at(element.id)),
                }
            } else {
                items.push(value);
            }
        }
        Ok(Val::list(items))
    }

    fn map(&mut self, entries: &'a [IdedEntryExpr], node: u64) -> Outcome<Val<'a>> {
        let mut made = BTreeMap::new();
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(Fault::new("not a map").at(node));
            };
            let key = Key::of(&self.eval(&entry.key)?).map_err(|fault| fault.at(entry.key.id))?;
            let value = match (self.eval(&entry.value)?, entry.optional) {
                (value, false) => value,
                (Val::Optional(Some(inner)), true) => inner.as_ref().clone(),
                (Val::Optional(None), true) => continue,
                (other, true) => return Err(not_optional(&other).at(entry.value.id)),
            };
            if made.insert(key, value).is_some() {
                return Err(Fault::new("this key is there twice").at(entry.key.id));
            }
        }
        Ok(Val::map(made))
    }

    fn comprehension(&mut self, node: &'a IdedExpr, loop_: &'a ComprehensionExpr) -> Outcome<Val<'a>> {
        let range = match self.eval(&loop_.iter_range)? {
            Val::List(list) => list,
            Val::Map(map) => {
                self.meter.charge(map.len())?;
                List::Made(Rc::new(map.keys()))
            }
            other => {
                return Err(Fault::new(format!(
                    "{} is {}; only lists and maps have items",
                    describe(&loop_.iter_range),
                    other.type_name()
                ))
                .at(node.id));
            }
        };
        let goes_on_after_errors =
            matches!(&loop_.loop_cond.expr, Expr::Call(call) if call.func_name == op::NOT_STRICTLY_FALSE);
        let base = self.locals.len();
        let outcome = self.run_loop(loop_, &range, goes_on_after_errors);
        self.locals.truncate(base);
        outcome
    }

    fn run_loop(
        &mut self,
        loop_: &'a ComprehensionExpr,
        range: &List<'a>,
        goes_on_after_errors: bool,
    ) -> Outcome<Val<'a>> {
        let mut accumulator = self.eval(&loop_.accu_init);
        for item in range.iter() {
            self.meter.charge(1)?;
            self.locals.push((&loop_.accu_var, accumulator));
            if !self.condition(&loop_.loop_cond)? {
                accumulator = self.locals.pop().map_or_else(|| Err(Fault::new("lost")), |(_, value)| value);
                break;
            }
            self.locals.push((&loop_.iter_var, Ok(item)));
            let stepped = self.step(&loop_.loop_step, &loop_.accu_var);
            self.locals.pop();
            self.locals.pop();
            match stepped {
                Err(fault) if !goes_on_after_errors || fault.kind == CelErrorKind::Limit => {
                    return Err(fault);
                }
                stepped => accumulator = stepped,
            }
        }
        self.locals.push((&loop_.accu_var, accumulator));
        self.eval(&loop_.result)
    }

    /// A loop's step. `map` and `filter` append to their accumulator; done by the book that would copy the
    /// list for every item.
    fn step(&mut self, node: &'a IdedExpr, accu: &str) -> Outcome<Val<'a>> {
        match &node.expr {
            Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
                (op::CONDITIONAL, [condition, yes, no]) => {
                    self.meter.charge(1)?;
                    let branch = if self.condition(condition)? { yes } else { no };
                    self.step(branch, accu)
                }
                (op::ADD, [left, right]) if is_ident(left, accu) && accu.starts_with('@') => {
                    self.meter.charge(1)?;
                    let added = self.eval(right)?;
                    match (self.take_local(accu), added) {
                        (Some(Ok(Val::List(List::Made(mut whole)))), Val::List(added)) => {
                            self.meter.charge(added.len())?;
                            Rc::make_mut(&mut whole).extend(added.iter());
                            Ok(Val::List(List::Made(whole)))
                        }
                        (Some(left), right) => operators::apply(op::ADD, &[left?, right], &mut self.meter)
                            .unwrap_or_else(|| Err(Fault::new("can't add")))
                            .map_err(|fault| fault.at(node.id)),
                        (None, _) => Err(Fault::new("can't add").at(node.id)),
                    }
                }
                _ => self.eval(node),
            },
            Expr::Ident(name) if name == accu => {
                self.take_local(accu).unwrap_or_else(|| Err(Fault::new("lost")))
            }
            _ => self.eval(node),
        }
    }

    /// Moves a local's value out; only for accumulators, whose slot is dropped right after.
    fn take_local(&mut self, name: &str) -> Option<Outcome<Val<'a>>> {
        let slot = self.locals.iter_mut().rev().find(|(local, _)| *local == name)?;
        Some(std::mem::replace(&mut slot.1, Ok(Val::Null)))
    }
}

fn is_ident(node: &IdedExpr, name: &str) -> bool {
    matches!(&node.expr, Expr::Ident(ident) if ident == name)
}

fn literal_value(literal: &LiteralValue) -> Val<'_> {
    match literal {
        LiteralValue::Null => Val::Null,
        LiteralValue::Boolean(b) => Val::Bool(*b.inner()),
        LiteralValue::Int(i) => Val::Int(*i.inner()),
        LiteralValue::UInt(u) => Val::Uint(*u.inner()),
        LiteralValue::Double(d) => Val::Double(*d.inner()),
        LiteralValue::String(text) => Val::String(Text::Borrowed(text.inner())),
        LiteralValue::Bytes(bytes) => Val::Bytes(Rc::from(bytes.inner())),
    }
}

fn has<'a>(operand: &Val<'a>, field: &str) -> Outcome<Val<'a>> {
    Ok(Val::Bool(match operand {
        Val::Map(map) => map.field(field).is_some(),
        Val::Optional(Some(inner)) => return has(inner, field),
        Val::Optional(None) => false,
        other => {
            return Err(Fault::new(format!("has() needs a map's field, but this is {}", other.type_name())));
        }
    }))
}

fn optional_field<'a>(from: &Val<'a>, field: &str) -> Val<'a> {
    match from {
        Val::Map(map) => Val::Optional(map.field(field).map(Rc::new)),
        _ => Val::Optional(None),
    }
}

fn needs(what: &str, needed: &str, operand: &IdedExpr, got: &Val<'_>) -> Fault {
    Fault::new(format!("{what} needs {needed}, but {} is {}", describe(operand), got.type_name()))
}

fn not_bool(node: &IdedExpr, got: &Val<'_>) -> Fault {
    let message = format!("{} must be true or false, but is {}", describe(node), got.type_name());
    Fault::new(message).at(node.id)
}

fn not_optional(value: &Val<'_>) -> Fault {
    Fault::new(format!("`?` needs an optional (`a.?b`), but this is {}", value.type_name()))
}

fn missing_field(map: &Dict<'_>, field: &str, from: &IdedExpr) -> Fault {
    let name = describe(from);
    let known = operators::known_keys(map);
    Fault::missing(format!("{name} has no field {field:?}{known}"))
}

fn no_field(value: &Val<'_>, field: &str, from: &IdedExpr) -> Fault {
    let name = describe(from);
    let message = format!("{name} is {}, so it has no field {field:?}", value.type_name());
    // `null` is what an absent object reads as.
    if matches!(value, Val::Null) { Fault::missing(message) } else { Fault::new(message) }
}

/// A short name for a node: `parameter.env`, else what it is.
fn describe(node: &IdedExpr) -> String {
    let mut segments = Vec::new();
    let mut at = node;
    loop {
        match &at.expr {
            Expr::Ident(name) if !name.starts_with('@') => {
                segments.push(name.as_str());
                segments.reverse();
                return format!("`{}`", segments.join("."));
            }
            Expr::Select(select) if !select.test => {
                segments.push(&select.field);
                at = &select.operand;
            }
            _ => return "the value".to_owned(),
        }
    }
}
