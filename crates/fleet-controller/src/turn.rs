//! One turn for one Application: what it knows (`walk`, `facts`, `board`, `held`) and what it does (`reconcile`). Here is what
//! stands around it: the span that its log lines stand in, what is counted, and what a hanging one is known by.

pub(crate) mod board;
pub(crate) mod facts;
pub(crate) mod held;
pub(crate) mod reconcile;
pub(crate) mod walk;

use std::sync::Arc;

use fleet_api::Application;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::context::{AppKey, Context};
use crate::records::RecordError;
use crate::turn::reconcile::reconcile;

/// One turn, counted.
pub(crate) async fn turn(app: Arc<Application>, ctx: Arc<Context>) -> Result<Action, RecordError> {
    let key: AppKey = (app.namespace().unwrap_or_default(), app.name_any());
    let span = tracing::info_span!("turn", namespace = key.0, application = key.1);
    let under_way = UnderWay::begin(&ctx, &key);
    let outcome = reconcile(app, Arc::clone(&ctx)).instrument(span).await;
    under_way.end(if outcome.is_ok() { "done" } else { "failed" });
    outcome
}

/// Counts a turn even if it is dropped before its end.
struct UnderWay {
    ctx: Arc<Context>,
    began: Instant,
    outcome: &'static str,
    _known: crate::report::health::Turn,
}

impl UnderWay {
    fn begin(ctx: &Arc<Context>, key: &AppKey) -> Self {
        ctx.options.metrics.turn_begins();
        let _known = ctx.options.health.turn(key);
        Self { ctx: Arc::clone(ctx), began: Instant::now(), outcome: "failed", _known }
    }

    fn end(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.ctx.options.metrics.turn_ended(self.outcome, self.began.elapsed());
    }
}
