//! Compiled programs, kept.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{CelError, Limits, Program};

/// Compiled programs by their text; the oldest goes when the cache is full. Shared between threads.
///
/// Texts that don't compile aren't kept.
#[derive(Debug)]
pub struct ProgramCache {
    limits: Limits,
    capacity: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    programs: HashMap<String, Arc<Program>>,
    order: VecDeque<String>,
}

impl ProgramCache {
    /// A cache of at most `capacity` programs, all compiled within `limits`.
    #[must_use]
    pub fn new(capacity: usize, limits: Limits) -> Self {
        Self { limits, capacity: capacity.max(1), kept: Mutex::default() }
    }

    /// The program of `source`, compiled now or earlier.
    pub fn get(&self, source: &str) -> Result<Arc<Program>, CelError> {
        // Nothing is left half done under this lock, so a poisoned one is as good.
        if let Some(known) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).programs.get(source) {
            return Ok(Arc::clone(known));
        }
        let program = Arc::new(Program::compile(source, &self.limits)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.programs.insert(source.to_owned(), Arc::clone(&program)).is_none() {
            kept.order.push_back(source.to_owned());
        }
        while kept.order.len() > self.capacity {
            if let Some(oldest) = kept.order.pop_front() {
                kept.programs.remove(&oldest);
            }
        }
        Ok(program)
    }

    /// How many programs are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).programs.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
