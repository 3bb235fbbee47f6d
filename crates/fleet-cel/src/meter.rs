//! The running cost of one evaluation.

use crate::error::CelErrorKind;

/// What stopped an evaluation, and at which node of the syntax tree (0: not known).
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) kind: CelErrorKind,
    pub(crate) message: String,
    pub(crate) node: u64,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { kind: CelErrorKind::Evaluation, message: message.into(), node: 0 }
    }

    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self { kind: CelErrorKind::Missing, message: message.into(), node: 0 }
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self { kind: CelErrorKind::Limit, message: message.into(), node: 0 }
    }

    /// Says where, unless something deeper has said it already.
    pub(crate) fn at(mut self, node: u64) -> Self {
        if self.node == 0 {
            self.node = node;
        }
        self
    }
}

/// The result of everything that runs inside an evaluation.
pub(crate) type Outcome<T> = Result<T, Fault>;

/// Counts work against [`crate::Limits::max_cost`].
#[derive(Debug)]
pub(crate) struct Meter {
    left: u64,
    max: u64,
}

impl Meter {
    pub(crate) fn new(max: u64) -> Self {
        Self { left: max, max }
    }

    pub(crate) fn charge(&mut self, units: usize) -> Outcome<()> {
        let units = u64::try_from(units).unwrap_or(u64::MAX);
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Fault::limit(format!(
                    "the expression costs more than {} units; make its lists shorter or its loops fewer",
                    self.max
                )))
            }
        }
    }

    /// What may still be spent.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Charges for text that is made, searched or compared. Call it before the work is done.
    pub(crate) fn charge_text(&mut self, bytes: usize) -> Outcome<()> {
        self.charge(bytes / 16 + 1)
    }
}
