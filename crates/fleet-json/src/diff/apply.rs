//! Applying differences: the inverse of `diff`.

use serde_json::Value;

use super::{Change, ChangeKind};
use crate::path::{FieldPath, PathError, Segment};

/// Applies the differences that [`super::diff`] or [`super::diff_with`] found: `before` becomes `after`.
///
/// # Errors
/// When `value` isn't the one that the differences were found in; some may have been applied by then.
pub fn apply_changes(value: &mut Value, changes: &[Change]) -> Result<(), PathError> {
    let is_removal = |change: &&Change| matches!(change.change, ChangeKind::Removed(_));
    for Change { path, change } in changes.iter().filter(|change| !is_removal(change)) {
        match change {
            ChangeKind::Changed { to, .. } => path.set(value, to.clone())?,
            ChangeKind::Added(added) => path.set(value, added.clone())?,
            ChangeKind::Removed(_) | ChangeKind::Reordered { .. } => {}
        }
    }
    // From the back, so that positions still to be removed don't move.
    for Change { path, .. } in changes.iter().filter(is_removal).rev() {
        path.remove(value);
    }
    for Change { path, change } in changes {
        if let ChangeKind::Reordered { to } = change
            && let Some(Value::Array(list)) = path.get_mut(value)
        {
            let order: Vec<Segment> = to
                .iter()
                .filter_map(|name| FieldPath::parse(name).ok())
                .filter_map(|path| path.into_segments().pop())
                .collect();
            list.sort_by_key(|item| position(&order, item));
        }
    }
    Ok(())
}

fn position(order: &[Segment], item: &Value) -> usize {
    order.iter().position(|name| name.names(item)).unwrap_or(usize::MAX)
}
