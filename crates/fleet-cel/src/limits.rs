//! What one expression may cost.

/// Bounds on one expression and one evaluation of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of expression text.
    pub max_length: usize,
    /// Nesting of the text (parentheses, calls, literals). A chain of operators or selections may be four
    /// times as long, which is more than anybody writes and still safe on a small stack.
    pub max_depth: u16,
    /// Units of work of one evaluation: one for each node visited and each list item or map entry made or
    /// compared, and one for every 16 bytes of text made or searched. Kubernetes grants 1,000,000 per call.
    pub max_cost: u64,
    /// Bytes of the result as JSON, roughly.
    pub max_output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_length: 4096, max_depth: 32, max_cost: 1_000_000, max_output: 1 << 20 }
    }
}
