//! What an evaluation may read besides values that are there: definitions, and an authorizer to ask.

use std::collections::HashMap;
use std::rc::Rc;

use cel::common::ast::{Expr, SelectExpr};

use super::Evaluator;
use crate::authority::{Asking, Authorizer, Question};
use crate::error::CelErrorKind;
use crate::meter::{Fault, Outcome};
use crate::program::Program;
use crate::value::Val;

/// The variable by which an authorizer is asked.
const AUTHORIZER: &str = "authorizer";
/// How deep definitions that read others may go in sum; each is bounded by itself as well, and all are on one stack.
const DEPTH: usize = 256;

#[derive(Default)]
pub(super) struct Outside<'a> {
    /// The map that definitions are fields of.
    map: &'a str,
    programs: &'a [(String, Program)],
    known: HashMap<&'a str, Outcome<Val<'a>>>,
    /// The depths of definitions under way, in sum.
    depth: usize,
    authorizer: Option<(&'a dyn Authorizer, Question)>,
}

impl<'a> Outside<'a> {
    /// What a name means that is no value.
    pub(super) fn variable(&self, name: &str) -> Option<Outcome<Val<'a>>> {
        if name == AUTHORIZER && self.authorizer.is_some() {
            return Some(Ok(Val::Asking(Rc::new(Asking::Authorizer(Question::default())))));
        }
        let map = name == self.map && !self.map.is_empty();
        map.then(|| Err(Fault::new(format!("`{name}` is read field by field: `{name}.x`"))))
    }
}

impl<'a> Evaluator<'a> {
    pub(crate) fn define(&mut self, map: &'a str, programs: &'a [(String, Program)]) {
        self.outside.map = map;
        self.outside.programs = programs;
    }

    pub(crate) fn ask(&mut self, authorizer: &'a dyn Authorizer, request: Question) {
        self.outside.authorizer = Some((authorizer, request));
    }

    pub(crate) fn authorizer(&self) -> Option<&'a dyn Authorizer> {
        self.outside.authorizer.as_ref().map(|(authorizer, _)| *authorizer)
    }

    /// Evaluates a whole program after another.
    pub(crate) fn run(&mut self, program: &'a Program) -> Outcome<Val<'a>> {
        self.locals.clear();
        self.outside.depth = program.depth();
        self.eval(program.tree())
    }

    /// A field that isn't part of any value; `None` for all others.
    pub(super) fn outside_field(&mut self, select: &'a SelectExpr) -> Option<Outcome<Val<'a>>> {
        if self.outside.map.is_empty() && self.outside.authorizer.is_none() {
            return None;
        }
        let Expr::Ident(name) = &select.operand.expr else { return None };
        if self.locals.iter().any(|(local, _)| local == name) {
            return None;
        }
        if let Some((_, request)) = self.outside.authorizer.as_ref().filter(|_| name == AUTHORIZER) {
            return Some(match select.field.as_str() {
                "requestResource" => Ok(Val::Asking(Rc::new(Asking::Resource(request.clone())))),
                other => Err(Fault::missing(format!("`authorizer` has no field {other:?}"))),
            });
        }
        if name != self.outside.map || self.outside.map.is_empty() {
            return None;
        }
        let found = self.outside.programs.iter().find(|(known, _)| *known == select.field);
        Some(match found {
            Some(_) if select.test => Ok(Val::Bool(true)),
            Some((name, program)) => self.defined(name, program),
            None => Err(Fault::missing(format!("`{name}` has no field {:?}", select.field))),
        })
    }

    /// A definition's value; made once.
    fn defined(&mut self, name: &'a str, program: &'a Program) -> Outcome<Val<'a>> {
        if let Some(known) = self.outside.known.get(name) {
            return known.clone();
        }
        let before = self.outside.depth;
        self.outside.depth += program.depth();
        if self.outside.depth > DEPTH {
            self.outside.depth = before;
            return Err(Fault::limit(format!(
                "variables that read each other are nested deeper than {DEPTH}"
            )));
        }
        // Its loops see none of those around it.
        let locals = std::mem::take(&mut self.locals);
        let value = self.eval(program.tree()).map_err(|fault| {
            let kind = fault.kind;
            let why = program.explain(fault);
            Fault { kind, ..Fault::new(format!("variable {name:?}: {why}")) }
        });
        self.locals = locals;
        self.outside.depth = before;
        // What ran out of its budget may be within the next expression's.
        if !value.as_ref().is_err_and(|fault| fault.kind == CelErrorKind::Limit) {
            self.outside.known.insert(name, value.clone());
        }
        value
    }
}
