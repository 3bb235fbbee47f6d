//! Text to syntax tree, within limits, and what can be checked without values.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::parser::PrattParser;

use crate::error::{CelError, CelErrorKind};
use crate::functions;
use crate::limits::Limits;

/// Operator chains may be this many times deeper than [`Limits::max_depth`].
const CHAIN_FACTOR: usize = 4;

fn parser(limits: &Limits) -> PrattParser {
    PrattParser::default()
        .max_recursion_depth(limits.max_depth)
        .max_expression_node_count(limits.max_length.saturating_mul(4))
        .error_recovery_limit(1)
        .enable_optional_syntax(true)
        .enable_ident_escape_syntax(true)
}

/// The syntax tree of `source`, how deep it is, and the names it reads from outside.
pub(crate) fn parse(source: &str, limits: &Limits) -> Result<(IdedExpr, usize, BTreeSet<String>), CelError> {
    let refuse = |kind, message: String, span| Err(CelError::new(kind, message, span, source).clamp());
    if source.len() > limits.max_length {
        let message =
            format!("the expression has {} bytes; at most {} are allowed", source.len(), limits.max_length);
        return refuse(CelErrorKind::Limit, message, 0..0);
    }
    if source.trim().is_empty() {
        return refuse(CelErrorKind::Syntax, "the expression is empty".to_owned(), 0..0);
    }
    // The parser is another project's; should a text make it panic, that text is refused and nothing else
    // is harmed.
    let parsed = catch_unwind(AssertUnwindSafe(|| parser(limits).parse(source)));
    let tree = match parsed {
        Ok(Ok(tree)) => tree,
        Ok(Err(errors)) => {
            let Some(first) = errors.errors.into_iter().next() else {
                return refuse(CelErrorKind::Syntax, "not an expression".to_owned(), 0..source.len());
            };
            let at = offset(source, first.pos);
            let message = first.msg.trim_start_matches("Syntax error: ").replace('\n', " ");
            let kind = if message.contains("recursion") || message.contains("node count") {
                CelErrorKind::Limit
            } else {
                CelErrorKind::Syntax
            };
            return refuse(kind, message, at..at);
        }
        Err(_) => {
            let message = "the parser can't read this expression".to_owned();
            return refuse(CelErrorKind::Syntax, message, 0..source.len());
        }
    };
    let allowed = usize::from(limits.max_depth) * CHAIN_FACTOR;
    let deep = depth(&tree);
    if deep > allowed {
        let message = format!("the expression is nested or chained deeper than {allowed}");
        return refuse(CelErrorKind::Limit, message, 0..source.len());
    }
    let mut check = Check { free: BTreeSet::new(), bound: Vec::new() };
    let checked = check.visit(&tree);
    let free = check.free;
    match checked {
        Ok(()) => Ok((tree, deep, free)),
        Err((node, message)) => {
            let span = span_of(source, node, limits);
            refuse(CelErrorKind::Syntax, message, span)
        }
    }
}

/// Where the node stands in the text.
///
/// The parser hands its table of positions out with errors only, so one is provoked behind the end; that
/// changes no node before it. Called when there is an error to explain, never otherwise.
pub(crate) fn span_of(source: &str, node: u64, limits: &Limits) -> std::ops::Range<usize> {
    let whole = 0..source.len();
    if node == 0 {
        return whole;
    }
    let provoked = format!("{source}\n)");
    let Ok(Err(errors)) = catch_unwind(AssertUnwindSafe(|| parser(limits).parse(&provoked))) else {
        return whole;
    };
    let table = errors.errors.into_iter().find_map(|error| error.source_info);
    match table.and_then(|table| table.offset_for(node)) {
        Some((start, end)) if (end as usize) <= source.len() => {
            // A selection stands at its dot; its name belongs to it.
            let name = source.get(end as usize..).unwrap_or_default();
            let dot = source.get(start as usize..end as usize).is_some_and(|text| text.ends_with(['.', '?']));
            let length = if dot { name.find(|c: char| !c.is_alphanumeric() && c != '_') } else { Some(0) };
            start as usize..end as usize + length.unwrap_or(name.len())
        }
        _ => whole,
    }
}

/// The parser counts lines from 1 and columns from 1, in bytes.
fn offset(source: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let column = usize::try_from(column - 1).unwrap_or(0);
    let before: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    before.saturating_add(column).min(source.len())
}

/// The direct parts of a node.
pub(crate) fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    fn entries(entries: &[cel::common::ast::IdedEntryExpr]) -> Vec<&IdedExpr> {
        entries
            .iter()
            .flat_map(|entry| match &entry.expr {
                EntryExpr::StructField(field) => vec![&field.value],
                EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
            })
            .collect()
    }
    match &node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(c) => {
            vec![&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => entries(&map.entries),
        Expr::Struct(made) => entries(&made.entries),
        Expr::Select(select) => vec![&select.operand],
    }
}

/// Measured without recursion, since it decides whether recursion is safe.
fn depth(tree: &IdedExpr) -> usize {
    let mut deepest = 0;
    let mut open = vec![(tree, 1_usize)];
    while let Some((node, level)) = open.pop() {
        deepest = deepest.max(level);
        open.extend(children(node).into_iter().map(|child| (child, level + 1)));
    }
    deepest
}

struct Check<'t> {
    free: BTreeSet<String>,
    bound: Vec<&'t str>,
}

impl<'t> Check<'t> {
    fn visit(&mut self, node: &'t IdedExpr) -> Result<(), (u64, String)> {
        match &node.expr {
            Expr::Unspecified => return Err((node.id, "something is missing here".to_owned())),
            Expr::Struct(made) => {
                return Err((node.id, format!("there is no message type `{}`", made.type_name)));
            }
            Expr::Ident(name) => {
                let name = name.trim_start_matches('.');
                if !self.bound.contains(&name) && functions::type_named(name).is_none() {
                    self.free.insert(name.to_owned());
                }
            }
            Expr::Call(call) => {
                let target = call.target.as_deref();
                let arguments = call.args.len() + usize::from(target.is_some());
                let spaced = functions::namespaced(target, &call.func_name);
                match spaced.map(|name| (name, call.args.len())) {
                    Some((name, count)) => functions::check(name, count),
                    None => functions::check(&call.func_name, arguments),
                }
                .map_err(|message| (node.id, message))?;
                if spaced.is_some() {
                    return call.args.iter().try_for_each(|argument| self.visit(argument));
                }
            }
            Expr::Comprehension(c) => {
                self.visit(&c.iter_range)?;
                self.visit(&c.accu_init)?;
                let before = self.bound.len();
                self.bound.push(&c.iter_var);
                self.bound.push(&c.accu_var);
                self.bound.extend(c.iter_var2.as_deref());
                self.visit(&c.loop_cond)?;
                self.visit(&c.loop_step)?;
                self.visit(&c.result)?;
                self.bound.truncate(before);
                return Ok(());
            }
            Expr::Literal(_) | Expr::List(_) | Expr::Map(_) | Expr::Select(_) => {}
        }
        children(node).into_iter().try_for_each(|child| self.visit(child))
    }
}
