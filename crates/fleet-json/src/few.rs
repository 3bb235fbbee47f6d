//! Many things named in one line.

use std::fmt::Display;

/// The first so many things, and how many more there are: `a, b and 3 more`.
///
/// ```
/// assert_eq!(fleet_json::few(["a", "b", "c"], 2), "a, b and 1 more");
/// assert_eq!(fleet_json::few(["a", "b"], 2), "a, b");
/// ```
pub fn few<T: Display>(things: impl IntoIterator<Item = T>, most: usize) -> String {
    let mut things = things.into_iter();
    let named: Vec<String> = things.by_ref().take(most).map(|thing| thing.to_string()).collect();
    let named = named.join(", ");
    match things.count() {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
