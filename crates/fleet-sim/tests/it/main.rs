//! The simulator against a small API server in memory, in virtual time.

#[cfg(test)]
mod fake;
#[cfg(test)]
mod runs;
