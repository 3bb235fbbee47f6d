//! The conditions of a status.

use serde_json::Value;

use crate::view::View;

/// One condition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Condition<'o> {
    status: &'o str,
    pub(crate) reason: &'o str,
    message: &'o str,
    pub(crate) observed_generation: Option<i64>,
}

impl<'o> Condition<'o> {
    pub(crate) fn is_true(&self) -> bool {
        self.status == "True"
    }

    pub(crate) fn is_false(&self) -> bool {
        self.status == "False"
    }

    /// The reason, or what to say when it has none.
    pub(crate) fn reason_or(&self, default: &'o str) -> &'o str {
        if self.reason.is_empty() { default } else { self.reason }
    }

    /// The message, or what to say when it has none; one line.
    pub(crate) fn message_or(&self, default: &str) -> String {
        if self.message.is_empty() { default.to_owned() } else { one_line(self.message) }
    }
}

/// The condition of that type, if the status has it.
pub(crate) fn condition<'o>(view: &View<'o>, kind: &str) -> Option<Condition<'o>> {
    let text = |item: &'o Value, name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
    let items = view.list(&["status", "conditions"]);
    items.iter().find(|item| text(item, "type") == kind).map(|item| Condition {
        status: text(item, "status"),
        reason: text(item, "reason"),
        message: text(item, "message"),
        observed_generation: item.get("observedGeneration").and_then(Value::as_i64),
    })
}

/// A text from elsewhere as one line of bounded length.
pub(crate) fn one_line(text: &str) -> String {
    const LENGTH: usize = 512;
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(LENGTH) {
        line.truncate(end);
        line.push('…');
    }
    line
}
