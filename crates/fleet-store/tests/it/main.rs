//! The store as its users see it, each rule for both backends where both have it.

#[cfg(test)]
mod files;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod support;
#[cfg(test)]
mod watching;
