//! Panics anywhere in a play: a task that dies of one may have nobody who waits for it.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    /// What panicked on this thread since the play began; nothing is kept outside plays.
    static SEEN: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// From now on panics of this thread are kept.
pub(super) fn begin() {
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let kept =
                SEEN.with_borrow_mut(|seen| seen.as_mut().map(|seen| seen.push(panic.to_string())).is_some());
            if !kept {
                before(panic);
            }
        }));
    });
    SEEN.set(Some(Vec::new()));
}

/// What panicked.
pub(super) fn end() -> Vec<String> {
    SEEN.take().unwrap_or_default()
}
