//! What can be known of an expression without values.

use std::collections::BTreeSet;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators as op};

use crate::Program;
use crate::parse::children;
use crate::value::unescaped;

impl Program {
    /// The fields that are read directly off a variable by a name that stands in the text: `a` and `b` of
    /// `status.a.phase == status["b"].phase`. A name that is computed isn't among them.
    #[must_use]
    pub fn selected_of(&self, variable: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![self.tree()];
        while let Some(node) = open.pop() {
            if let Some(name) = selected(node, variable) {
                found.insert(name);
            }
            open.extend(children(node));
        }
        found
    }

    /// What an evaluation costs at most, where every list and map from outside has `items` items: as
    /// [`crate::Limits::max_cost`] counts, less what text costs. An expression with loops in loops may be refused by
    /// it before anybody evaluates it.
    #[must_use]
    pub fn worst_cost(&self, items: u64) -> u64 {
        cost(self.tree(), items)
    }
}

fn selected(node: &IdedExpr, variable: &str) -> Option<String> {
    let is_variable = |node: &IdedExpr| matches!(&node.expr, Expr::Ident(name) if name == variable);
    let named = |node: &IdedExpr| match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    };
    match &node.expr {
        Expr::Select(select) if is_variable(&select.operand) => {
            let field = select.field.as_str();
            Some(if field.contains("__") { unescaped(field) } else { field.to_owned() })
        }
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (op::INDEX | op::OPT_INDEX | op::OPT_SELECT, [operand, key]) if is_variable(operand) => {
                named(key)
            }
            (op::IN, [key, operand]) if is_variable(operand) => named(key),
            _ => None,
        },
        _ => None,
    }
}

/// The recursion is bounded: `parse` refuses deep trees.
fn cost(node: &IdedExpr, items: u64) -> u64 {
    let own = match &node.expr {
        Expr::Comprehension(c) => {
            let each = cost(&c.loop_cond, items).saturating_add(cost(&c.loop_step, items)).saturating_add(1);
            let outside = [&c.iter_range, &c.accu_init, &c.result];
            let outside = outside.iter().fold(0_u64, |sum, part| sum.saturating_add(cost(part, items)));
            return size(&c.iter_range, items).saturating_mul(each).saturating_add(outside);
        }
        Expr::List(_) | Expr::Map(_) => size(node, items).saturating_add(1),
        // One for the visit, one for what it does.
        _ => 2,
    };
    children(node).into_iter().fold(own, |sum, part| sum.saturating_add(cost(part, items)))
}

/// How many items a list or map has at most.
fn size(node: &IdedExpr, items: u64) -> u64 {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    match &node.expr {
        Expr::List(list) => count(list.elements.len()),
        Expr::Map(map) => count(map.entries.len()),
        Expr::Comprehension(c) => size(&c.iter_range, items),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (op::ADD, [left, right]) => size(left, items).saturating_add(size(right, items)),
            (op::CONDITIONAL, [_, yes, no]) => size(yes, items).max(size(no, items)),
            ("range" | "lists.range", [length]) => match &length.expr {
                Expr::Literal(LiteralValue::Int(length)) => u64::try_from(*length.inner()).unwrap_or(0),
                _ => items,
            },
            _ => items,
        },
        _ => items,
    }
}

#[cfg(test)]
mod tests {
    use crate::{Limits, Program};

    fn program(text: &str) -> Program {
        Program::compile(text, &Limits::default()).expect(text)
    }

    // Broken: a condition that looks at a step which doesn't exist is found out in the middle of a rollout.
    #[test]
    fn names_that_stand_in_the_text_are_found() {
        let text = r#"status.a.failed && status["b-c"].phase == "failed" || status.d__dash__e.x || status.?f.orValue(1) == 2
            || "g" in status || has(status.h) || [1].exists(x, status.i.y == x) || other.z"#;
        let found: Vec<String> = program(text).selected_of("status").into_iter().collect();
        assert_eq!(found, ["a", "b-c", "d-e", "f", "g", "h", "i"]);
    }

    // Broken: an expression that loops in loops is found out by the limit of its evaluation, long after it was applied.
    #[test]
    fn loops_in_loops_cost_what_they_multiply() {
        let one = program("status.all(s, status[s].succeeded)").worst_cost(100);
        let two = program("status.all(s, status.all(t, status[t].succeeded))").worst_cost(100);
        let three = program("status.all(s, status.all(t, status.all(u, s + t == u)))").worst_cost(100);
        assert!((100..2_000).contains(&one), "{one}");
        assert!((10_000..200_000).contains(&two), "{two}");
        assert!(three > 1_000_000, "{three}");
        assert!(
            program("[1, 2, 3].all(x, x > 0)").worst_cost(1_000_000) < 100,
            "a list that is written is as long as it is"
        );
        assert!(
            program("lists.range(10000).all(x, lists.range(10000).all(y, x == y))").worst_cost(1) > 1_000_000
        );
    }

    // Broken: the estimate promises less than what is charged, and lets through what can't be evaluated.
    #[test]
    fn the_estimate_is_no_less_than_the_cost() {
        let items: Vec<u32> = (0..50).collect();
        let list = serde_json::json!(items);
        for text in [
            "l.all(x, x >= 0)",
            "l.map(x, x + 1).filter(y, y > 2).size() > 3",
            "l.exists(x, l.exists(y, x + y == 98))",
            "l.map(x, [x, x]).size() == 50",
            "(l + l).all(x, x in l)",
        ] {
            let estimate = program(text).worst_cost(50);
            let limits = Limits { max_cost: estimate, ..Limits::default() };
            let within = Program::compile(text, &limits).expect(text).evaluate(&[("l", &list)]);
            // `in` compares with each item, which the estimate doesn't see into.
            assert!(within.is_ok() || text.contains(" in "), "{text}: {estimate}: {within:?}");
        }
    }
}
