//! Who changed an object, one after the other: the annotation [`crate::names::AUTHORS`].
//!
//! The last author alone would not do: whoever touches an object after somebody else would make them forgotten, and
//! they could approve what they wrote. It is written by admission only.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// How many people an object remembers; of those before them it is remembered only that there were some.
pub const REMEMBERED: usize = 20;

/// When somebody changed an object last, by user name. The empty name stands for everybody who was forgotten.
pub type Changes = BTreeMap<String, Timestamp>;

/// The annotation's value after a change by a user, from the one before (`None`: none, or it can't be read).
///
/// The value is a JSON object from user names to times (RFC 3339).
pub fn after(before: Option<&str>, user: &str, at: Timestamp) -> String {
    let mut changes = before.and_then(read).unwrap_or_default();
    // Clocks of several webhooks may differ; what comes later is later.
    let at = changes.values().max().map_or(at, |newest| at.max(*newest));
    changes.insert(user.to_owned(), at);
    while changes.keys().filter(|name| !name.is_empty()).count() > REMEMBERED {
        let people = changes.iter().filter(|(name, _)| !name.is_empty());
        let Some((name, at)) = people.min_by_key(|(_, at)| **at).map(|(name, at)| (name.clone(), *at)) else {
            break;
        };
        changes.remove(&name);
        let forgotten = changes.entry(String::new()).or_insert(at);
        *forgotten = at.max(*forgotten);
    }
    serde_json::to_string(&changes).unwrap_or_default()
}

/// What the annotation says; `None` where it makes no sense.
pub fn read(annotation: &str) -> Option<Changes> {
    serde_json::from_str(annotation).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Broken: whoever comes after an author takes them off the record.
    #[test]
    fn everybody_is_remembered() {
        let first = after(None, "ada", time(1));
        let then = after(Some(&first), "bot", time(2));
        let again = after(Some(&then), "ada", time(3));
        assert_eq!(
            read(&again).unwrap(),
            Changes::from([("ada".to_owned(), time(3)), ("bot".to_owned(), time(2))])
        );
        // A clock that is behind makes nothing earlier than what was there before it.
        assert_eq!(read(&after(Some(&again), "eve", time(1))).unwrap()["eve"], time(3));
        assert_eq!(read("nonsense"), None);
    }

    /// Broken: with enough accounts somebody pushes their own name out, and nothing tells.
    #[test]
    fn that_some_were_forgotten_is_remembered() {
        let mut value = after(None, "ada", time(1));
        for n in 0..REMEMBERED + 1 {
            value = after(Some(&value), &format!("bot-{n:02}"), time(2 + n as i64));
        }
        let changes = read(&value).unwrap();
        assert_eq!(changes.len(), REMEMBERED + 1);
        assert_eq!(changes[""], time(2), "ada, then bot-00 were the oldest");
        assert!(!changes.contains_key("ada") && changes.contains_key("bot-20"));
    }
}
