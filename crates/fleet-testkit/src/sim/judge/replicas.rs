//! Two replicas never act for one Application at one time.

use super::Violation;
use crate::sim::record::{Record, Sent};

pub(super) fn alone(record: &Record) -> Option<Violation> {
    let mut last: std::collections::BTreeMap<&str, &Sent> = std::collections::BTreeMap::new();
    for sent in &record.sent {
        let Some(app) = sent.app.as_deref() else { continue };
        if let Some(before) = last.get(app)
            && before.replica != sent.replica
            && sent.began < before.ended
        {
            return Some(Violation {
                check: "two replicas never act for one Application",
                revision: sent.before,
                said: format!(
                    "{app}: replica {} sent {} {} to {} while {} {} of replica {} was under way",
                    sent.replica,
                    sent.method,
                    sent.name,
                    sent.cluster,
                    before.method,
                    before.name,
                    before.replica
                ),
            });
        }
        // Of those under way, the one that ends last.
        if last.get(app).is_none_or(|before| before.replica != sent.replica || before.ended <= sent.ended) {
            last.insert(app, sent);
        }
    }
    None
}
