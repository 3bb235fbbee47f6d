//! JSON templates: trees whose strings hold `${…}`.

mod scan;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use serde_json::{Map, Value};

use crate::error::{CelError, CelErrorKind, TemplateError};
use crate::limits::Limits;
use crate::program::Program;
use scan::Piece;

/// Deeper templates are refused; serde_json itself stops at 128.
const MAX_TREE_DEPTH: usize = 100;

/// A JSON tree with CEL expressions in its strings.
///
/// - A string that is exactly one `${expr}` becomes the expression's value, with its type.
/// - In other strings each `${expr}` is replaced by the text of its value, which must be a string, a number
///   or a boolean.
/// - `${?expr}` may be absent: where `expr` is `null` or reads a field that isn't there, the map entry or
///   list item that is exactly `${?expr}` is left out (at the root: `null`), and inside other text nothing
///   is put in.
/// - `${expr}` that is `null` stays `null`.
/// - `$${` is a literal `${`. A `$` that no `{` follows is itself.
/// - A map's key may hold `${…}` too; the result must be text. An entry whose key is exactly `${?expr}` is
///   left out with its value when the key is absent. Two entries with the same key are an error.
/// - Braces and quotes inside an expression are understood: `${ {"a": "}"} }` is one expression.
///
/// Rendering is deterministic: keys come out sorted whatever order they went in.
#[derive(Debug)]
pub struct Template {
    root: Node,
    variables: Vec<String>,
    limits: Limits,
}

/// All expressions of a template together may cost so many times [`Limits::max_cost`], as all rules of a
/// request may in Kubernetes.
const COST_FACTOR: u64 = 10;

/// What one rendering may still spend.
struct Budget {
    output: usize,
    cost: u64,
}

#[derive(Debug)]
enum Node {
    Plain(Value),
    Text(Vec<Part>),
    Whole(Box<Hole>),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug)]
enum Part {
    Text(String),
    Hole(Hole),
}

#[derive(Debug)]
struct Hole {
    program: Program,
    optional: bool,
    /// Where the expression stands in its string.
    offset: usize,
}

#[derive(Debug)]
struct Key {
    written: String,
    node: Node,
}

enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

impl Template {
    /// Compiles every expression in `tree`. The first error, in key order, is returned with its place.
    pub fn compile(tree: &Value, limits: &Limits) -> Result<Self, TemplateError> {
        let mut variables = Vec::new();
        let root = compile(tree, limits, &mut Vec::new(), &mut variables)?;
        variables.sort_unstable();
        variables.dedup();
        Ok(Self { root, variables, limits: *limits })
    }

    /// The variables that a rendering must bring, sorted.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(String::as_str)
    }

    /// The fields that are read directly off a variable by a name that stands in the text, as
    /// [`Program::selected_of`] finds them.
    pub fn selected_of(&self, variable: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![&self.root];
        while let Some(node) = open.pop() {
            match node {
                Node::Plain(_) => {}
                Node::Whole(hole) => found.extend(hole.program.selected_of(variable)),
                Node::Text(parts) => found.extend(parts.iter().flat_map(|part| match part {
                    Part::Text(_) => BTreeSet::new(),
                    Part::Hole(hole) => hole.program.selected_of(variable),
                })),
                Node::List(items) => open.extend(items),
                Node::Map(entries) => open.extend(entries.iter().flat_map(|(key, node)| [&key.node, node])),
            }
        }
        found
    }

    /// The tree with every expression replaced. [`Limits::max_cost`] holds for each expression and
    /// ten times that for all, [`Limits::max_output`] for the whole.
    pub fn render(&self, variables: &[(&str, &Value)]) -> Result<Value, TemplateError> {
        let mut budget =
            Budget { output: self.limits.max_output, cost: self.limits.max_cost.saturating_mul(COST_FACTOR) };
        let mut path = Vec::new();
        Ok(render(&self.root, variables, &mut path, &mut budget)?.unwrap_or(Value::Null))
    }
}

fn compile<'t>(
    tree: &'t Value,
    limits: &Limits,
    path: &mut Vec<Step<'t>>,
    variables: &mut Vec<String>,
) -> Result<Node, TemplateError> {
    if path.len() > MAX_TREE_DEPTH {
        return Err(TemplateError {
            path: shown(path),
            message: format!("the template is nested deeper than {MAX_TREE_DEPTH}"),
            span: 0..0,
            kind: CelErrorKind::Limit,
        });
    }
    Ok(match tree {
        Value::Null | Value::Bool(_) | Value::Number(_) => Node::Plain(tree.clone()),
        Value::String(text) => string(text, limits, path, variables)?,
        Value::Array(items) => {
            let mut nodes = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                nodes.push(compile(item, limits, path, variables)?);
                path.pop();
            }
            Node::List(nodes)
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let mut nodes = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                path.push(Step::Key(key));
                let node = string(key, limits, path, variables)?;
                nodes.push((Key { written: key.clone(), node }, compile(value, limits, path, variables)?));
                path.pop();
            }
            Node::Map(nodes)
        }
    })
}

fn string(
    text: &str,
    limits: &Limits,
    path: &[Step<'_>],
    variables: &mut Vec<String>,
) -> Result<Node, TemplateError> {
    let pieces = scan::pieces(text).map_err(|(at, message)| TemplateError {
        path: shown(path),
        message,
        span: at,
        kind: CelErrorKind::Syntax,
    })?;
    let mut parts = Vec::with_capacity(pieces.len());
    for piece in pieces {
        parts.push(match piece {
            Piece::Text(text) => Part::Text(text),
            Piece::Hole { source, optional, offset } => {
                let program =
                    Program::compile(source, limits).map_err(|error| located(error, offset, path))?;
                variables.extend(program.variables().map(str::to_owned));
                Part::Hole(Hole { program, optional, offset })
            }
        });
    }
    Ok(match parts.pop() {
        None => Node::Plain(Value::String(String::new())),
        Some(Part::Text(text)) if parts.is_empty() => Node::Plain(Value::String(text)),
        Some(Part::Hole(hole)) if parts.is_empty() => Node::Whole(Box::new(hole)),
        Some(last) => {
            parts.push(last);
            Node::Text(parts)
        }
    })
}

/// `None`: left out.
fn render<'t>(
    node: &'t Node,
    variables: &[(&str, &Value)],
    path: &mut Vec<Step<'t>>,
    budget: &mut Budget,
) -> Result<Option<Value>, TemplateError> {
    let value = match node {
        Node::Plain(value) => {
            spend(budget, text_len(value), path)?;
            value.clone()
        }
        Node::Whole(hole) => {
            let Some(value) = fill(hole, variables, path, budget)? else { return Ok(None) };
            spend(budget, size(&value), path)?;
            value
        }
        Node::Text(parts) => {
            let mut text = String::new();
            for part in parts {
                match part {
                    Part::Text(plain) => text.push_str(plain),
                    Part::Hole(hole) => text.push_str(&piece(hole, variables, path, budget)?),
                }
            }
            spend(budget, text.len(), path)?;
            Value::String(text)
        }
        Node::List(nodes) => {
            let mut items = Vec::with_capacity(nodes.len());
            for (index, node) in nodes.iter().enumerate() {
                path.push(Step::Index(index));
                items.extend(render(node, variables, path, budget)?);
                path.pop();
            }
            Value::Array(items)
        }
        Node::Map(entries) => {
            let mut map = Map::new();
            for (key, node) in entries {
                path.push(Step::Key(&key.written));
                let name = match render(&key.node, variables, path, budget)? {
                    Some(Value::String(name)) => Some(name),
                    Some(_) => return Err(refuse("the key must be text; use string()", path)),
                    None => None,
                };
                if let Some(name) = name
                    && let Some(value) = render(node, variables, path, budget)?
                    && map.insert(name.clone(), value).is_some()
                {
                    return Err(refuse(&format!("two entries have the key {name:?}"), path));
                }
                path.pop();
            }
            Value::Object(map)
        }
    };
    Ok(Some(value))
}

/// A hole's value; `None` where an optional one is absent.
fn fill(
    hole: &Hole,
    variables: &[(&str, &Value)],
    path: &[Step<'_>],
    budget: &mut Budget,
) -> Result<Option<Value>, TemplateError> {
    match hole.program.evaluate_within(variables, &mut budget.cost) {
        Ok(Value::Null) if hole.optional => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(error) if hole.optional && error.kind == CelErrorKind::Missing => Ok(None),
        Err(error) => Err(located(error, hole.offset, path)),
    }
}

/// A hole's value as part of a longer text.
fn piece(
    hole: &Hole,
    variables: &[(&str, &Value)],
    path: &[Step<'_>],
    budget: &mut Budget,
) -> Result<String, TemplateError> {
    let kind = match fill(hole, variables, path, budget)? {
        None => return Ok(String::new()),
        Some(Value::String(text)) => return Ok(text),
        Some(Value::Number(number)) => return Ok(number.to_string()),
        Some(Value::Bool(answer)) => return Ok(answer.to_string()),
        Some(Value::Null) => "null",
        Some(Value::Array(_)) => "a list",
        Some(Value::Object(_)) => "a map",
    };
    let source = hole.program.source();
    let message = format!("{kind} can't be put into text; use join(), string() or `${{?…}}`");
    let error = CelError::new(CelErrorKind::Evaluation, message, 0..source.len(), source);
    Err(located(error, hole.offset, path))
}

fn located(error: CelError, offset: usize, path: &[Step<'_>]) -> TemplateError {
    TemplateError {
        path: shown(path),
        message: error.to_string(),
        span: error.span.start + offset..error.span.end + offset,
        kind: error.kind,
    }
}

fn refuse(message: &str, path: &[Step<'_>]) -> TemplateError {
    TemplateError {
        path: shown(path),
        message: message.to_owned(),
        span: Range::default(),
        kind: CelErrorKind::Evaluation,
    }
}

fn spend(budget: &mut Budget, bytes: usize, path: &[Step<'_>]) -> Result<(), TemplateError> {
    budget.output = budget.output.checked_sub(bytes).ok_or_else(|| TemplateError {
        path: shown(path),
        message: "the template's result is too large".to_owned(),
        span: 0..0,
        kind: CelErrorKind::Limit,
    })?;
    Ok(())
}

fn text_len(value: &Value) -> usize {
    value.as_str().map_or(4, str::len)
}

/// Roughly the bytes of a value; its depth was bounded when it was made.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 4,
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + size(value)).sum::<usize>() + 4,
        scalar => text_len(scalar),
    }
}

fn shown(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        // Writing to a String can't fail.
        let _ = match step {
            Step::Index(index) => write!(text, "[{index}]"),
            Step::Key(key) if plain_key(key) && text.is_empty() => write!(text, "{key}"),
            Step::Key(key) if plain_key(key) => write!(text, ".{key}"),
            Step::Key(key) => write!(text, "[{key:?}]"),
        };
    }
    text
}

fn plain_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'))
}
