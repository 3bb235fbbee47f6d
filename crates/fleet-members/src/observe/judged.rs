//! By which rules what is seen is judged: the built-in ones, and those that people gave for kinds of their own.

use std::sync::Arc;

use fleet_health::HealthRules;
use tokio::sync::watch;

use super::Kind;
use crate::{Member, Members};

/// The rules that people gave; none as long as it isn't known whether there are any.
#[derive(Debug)]
pub(crate) struct Judges(watch::Sender<Option<Arc<HealthRules>>>);

impl Default for Judges {
    fn default() -> Self {
        Self(watch::Sender::new(Some(Arc::default())))
    }
}

/// The rules by which a place is judged, and a word when there are others.
pub(super) struct Judging {
    /// What counts.
    pub(super) rules: Arc<HealthRules>,
    later: watch::Receiver<Option<Arc<HealthRules>>>,
}

impl Judges {
    /// What counts now; the built-in rules alone where that isn't known yet.
    pub(crate) fn now(&self) -> Arc<HealthRules> {
        self.0.borrow().clone().unwrap_or_default()
    }

    /// Waits until it is known what counts.
    pub(super) async fn judging(&self) -> Judging {
        let mut later = self.0.subscribe();
        let known = later.wait_for(Option::is_some).await.map(|known| known.clone());
        Judging { rules: known.ok().flatten().unwrap_or_default(), later }
    }
}

impl Judging {
    /// Waits until objects of a kind are judged otherwise.
    pub(super) async fn others(&mut self, kind: &Kind) {
        let rules = &self.rules;
        let differ = |now: &Option<Arc<HealthRules>>| {
            now.as_ref().is_some_and(|now| !rules.judge_alike(now, &kind.0, &kind.1))
        };
        if self.later.wait_for(differ).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Members {
    /// Nothing is judged until [`Members::judge_by`] has said by which rules.
    pub fn judge_later(&self) {
        self.judges().0.send_replace(None);
    }

    /// By which rules objects are judged from now on. Those of kinds whose rules changed are looked at anew.
    pub fn judge_by(&self, rules: HealthRules) {
        self.judges().0.send_replace(Some(Arc::new(rules)));
    }
}

impl Member {
    /// Whether a kind is seen by its metadata alone.
    pub(crate) fn by_metadata(&self, kind: &Kind) -> bool {
        is_seen_by_metadata(&self.shared.judges.now(), kind)
    }
}

/// Values of Secrets and the like needn't get here where nobody asks for them.
pub(super) fn is_seen_by_metadata(rules: &HealthRules, kind: &Kind) -> bool {
    fleet_health::is_judged_by_metadata(&kind.0, &kind.1) && !rules.judge_kind(&kind.0, &kind.1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(status: &str) -> HealthRules {
        let written = json!([{"kind": "ConfigMap", "rules": [{"when": "true", "status": status}]}]);
        HealthRules::compile([("test", &written)]).0
    }

    /// Broken: what was judged by the old rules stands for ever, or everything is listed anew since one kind has others.
    #[tokio::test]
    async fn only_a_kind_whose_rules_changed_is_judged_anew() {
        let judges = Judges::default();
        let config: Kind = ("v1".to_owned(), "ConfigMap".to_owned());
        let other: Kind = ("apps/v1".to_owned(), "Deployment".to_owned());
        let mut judging = judges.judging().await;
        assert!(is_seen_by_metadata(&judging.rules, &config));
        judges.0.send_replace(Some(Arc::new(rules("Degraded"))));
        judging.others(&config).await;
        assert!(!is_seen_by_metadata(&judges.now(), &config));
        let (mut judging, mut elsewhere) = (judges.judging().await, judges.judging().await);
        judges.0.send_replace(Some(Arc::new(rules("Degraded"))));
        assert!(futures::FutureExt::now_or_never(judging.others(&config)).is_none(), "they say the same");
        judges.0.send_replace(Some(Arc::new(rules("Healthy"))));
        judging.others(&config).await;
        assert!(futures::FutureExt::now_or_never(elsewhere.others(&other)).is_none());
    }

    /// Broken: at a start things are called healthy by conventions that somebody replaced.
    #[tokio::test]
    async fn nothing_is_judged_before_it_is_known_how() {
        let judges = Judges::default();
        judges.0.send_replace(None);
        assert!(futures::FutureExt::now_or_never(judges.judging()).is_none());
        judges.0.send_replace(Some(Arc::new(rules("Healthy"))));
        assert!(judges.judging().await.rules.judge_kind("v1", "ConfigMap"));
    }
}
