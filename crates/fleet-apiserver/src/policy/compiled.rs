//! A policy with its expressions compiled, and what is wrong with them.

use std::collections::BTreeSet;

use fleet_cel::{Limits, Program};
use serde_json::Value;

use super::matching::Matcher;
use super::{list, text};
use crate::object::ObjectExt;
use crate::status::Cause;

/// One expression may be longer than elsewhere: a policy's are written once and read by people.
const LIMITS: Limits =
    Limits { max_length: 16 << 10, max_depth: 32, max_cost: 1_000_000, max_output: 64 << 10 };

/// A policy, ready to be judged by.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) constraints: Matcher,
    /// Version and kind of its parameters.
    pub(super) param: Option<(String, String)>,
    pub(super) conditions: Vec<(String, Program)>,
    pub(super) variables: Vec<(String, Program)>,
    pub(super) validations: Vec<Validation>,
    pub(super) annotations: Vec<(String, Program)>,
    /// Whether what can't be judged is refused.
    pub(super) fails_closed: bool,
    /// Why nothing can be judged by it. Such a policy isn't taken; one that is there all the same refuses.
    pub(super) broken: Option<String>,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Validation {
    pub(super) expression: Program,
    pub(super) message: Option<String>,
    pub(super) message_expression: Option<Program>,
    pub(super) reason: Option<String>,
}

impl Policy {
    /// Reads a policy that was taken.
    pub(super) fn read(object: &Value) -> Self {
        let (policy, causes) = Self::compile(object);
        let broken = causes.first().map(|cause| format!("{}: {}", cause.field, cause.message));
        Self { broken, ..policy }
    }

    /// Compiles a policy; what can't be compiled is a cause that names the place.
    pub(super) fn compile(object: &Value) -> (Self, Vec<Cause>) {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let param = spec.get("paramKind").filter(|param| param.is_object());
        let mut compiler = Compiler { params: param.is_some(), variables: Vec::new(), causes: Vec::new() };
        let empty = Value::Null;
        let constraints = spec.get("matchConstraints").unwrap_or(&empty);
        let constraints = Matcher::read(constraints).unwrap_or_else(|why| {
            compiler.refuse("spec.matchConstraints", &why);
            Matcher::default()
        });
        let conditions = compiler.named(spec, "matchConditions", "name", "expression", Scope::Conditions);
        let variables = compiler.named(spec, "variables", "name", "expression", Scope::Variables);
        let mut validations = Vec::new();
        for (at, rule) in list(spec, "/validations").iter().enumerate() {
            let place = format!("spec.validations[{at}]");
            let expression =
                compiler.program(text(rule, "/expression"), &format!("{place}.expression"), Scope::Rules);
            let told = text(rule, "/messageExpression");
            let message_expression = (!told.trim().is_empty())
                .then(|| compiler.program(told, &format!("{place}.messageExpression"), Scope::Messages))
                .flatten();
            let owned = |at: &str| Some(text(rule, at)).filter(|text| !text.is_empty()).map(str::to_owned);
            if let Some(expression) = expression {
                let (message, reason) = (owned("/message"), owned("/reason"));
                validations.push(Validation { expression, message, message_expression, reason });
            }
        }
        let annotations = compiler.named(spec, "auditAnnotations", "key", "valueExpression", Scope::Rules);
        let policy = Self {
            name: object.name().to_owned(),
            constraints,
            param: param
                .map(|param| (text(param, "/apiVersion").to_owned(), text(param, "/kind").to_owned())),
            conditions,
            variables,
            validations,
            annotations,
            fails_closed: text(spec, "/failurePolicy") != "Ignore",
            broken: None,
        };
        (policy, compiler.causes)
    }
}

/// Where an expression stands, which decides what it may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Before variables are there.
    Conditions,
    /// Variables see those before them.
    Variables,
    Rules,
    /// Messages may ask nobody.
    Messages,
}

struct Compiler {
    params: bool,
    variables: Vec<String>,
    causes: Vec<Cause>,
}

impl Compiler {
    /// A list of named expressions.
    fn named(
        &mut self,
        spec: &Value,
        field: &str,
        name: &str,
        expression: &str,
        scope: Scope,
    ) -> Vec<(String, Program)> {
        let mut seen = BTreeSet::new();
        let mut programs = Vec::new();
        for (at, item) in list(spec, &format!("/{field}")).iter().enumerate() {
            let place = format!("spec.{field}[{at}]");
            let called = text(item, &format!("/{name}")).to_owned();
            if !seen.insert(called.clone()) {
                let why = format!("Duplicate value: {called:?}");
                self.causes.push(Cause::field("FieldValueDuplicate", format!("{place}.{name}"), why));
            }
            if scope == Scope::Variables && !is_identifier(&called) {
                let why = format!("Invalid value: {called:?}: name is not a valid CEL identifier");
                self.causes.push(Cause::field("FieldValueInvalid", format!("{place}.{name}"), why));
            }
            let source = text(item, &format!("/{expression}"));
            if let Some(program) = self.program(source, &format!("{place}.{expression}"), scope) {
                programs.push((called.clone(), program));
            }
            if scope == Scope::Variables {
                self.variables.push(called);
            }
        }
        programs
    }

    fn program(&mut self, source: &str, place: &str, scope: Scope) -> Option<Program> {
        if source.trim().is_empty() {
            let why = "Required value: expression is not specified".to_owned();
            self.causes.push(Cause::field("FieldValueRequired", place, why));
            return None;
        }
        let compiled = Program::compile(source.trim(), &LIMITS).map_err(|error| error.to_string());
        match compiled.and_then(|program| self.undeclared(&program, scope).map(|()| program)) {
            Ok(program) => Some(program),
            Err(error) => {
                self.refuse(place, &format!("{:?}: compilation failed: {error}", source.trim()));
                None
            }
        }
    }

    fn refuse(&mut self, place: &str, why: &str) {
        self.causes.push(Cause::field("FieldValueInvalid", place, format!("Invalid value: {why}")));
    }

    /// Whether the expression reads only what is there.
    fn undeclared(&self, program: &Program, scope: Scope) -> Result<(), String> {
        let mut known = vec!["object", "oldObject", "request", "namespaceObject"];
        if self.params {
            known.push("params");
        }
        if scope != Scope::Messages {
            known.push("authorizer");
        }
        if scope != Scope::Conditions {
            known.push("variables");
        }
        if let Some(unknown) = program.variables().find(|name| !known.contains(name)) {
            let why = match unknown {
                "params" => "; the policy has no paramKind",
                "authorizer" => "; messages can't ask it",
                "variables" => "; matchConditions are judged before there are any",
                _ => "",
            };
            return Err(format!("undeclared reference to '{unknown}'{why}; there are: {}", known.join(", ")));
        }
        let mut fields = program.selected_of("variables").into_iter();
        let undefined = fields.find(|name| !self.variables.contains(name));
        undefined.map_or(Ok(()), |name| {
            Err(format!("undefined field '{name}': no variable of that name stands before it"))
        })
    }
}

fn is_identifier(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let reserved = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    name.chars().all(plain) && name.starts_with(|c: char| !c.is_ascii_digit()) && !reserved.contains(&name)
}
