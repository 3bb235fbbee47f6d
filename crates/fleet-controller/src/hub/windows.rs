//! `RolloutWindow`s: when something may begin on the fleet, and for whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use fleet_api::{Application, RolloutWindow, Selection, WindowRequest, names};
use fleet_workflow::FleetWindow;
use fleet_workflow::windows::{Windows, is_unreadable};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use serde_json::{Value, json};

use crate::context::{Context, lock};
use crate::hub::tenancy::{names_of, selects};
use crate::turn::walk::Walk;

type Read = Result<Windows, String>;

/// What windows say, read once for each version of an object.
#[derive(Default)]
pub(crate) struct ReadWindows(Mutex<BTreeMap<String, (Option<String>, Read)>>);

impl ReadWindows {
    fn of(&self, window: &RolloutWindow) -> Read {
        let (name, version) = (window.name_any(), window.resource_version());
        let mut known = lock(&self.0);
        if let Some((_, read)) = known.get(&name).filter(|(at, _)| version.is_some() && *at == version) {
            return read.clone();
        }
        let read = Windows::of_fleet(&window.spec);
        known.insert(name, (version, read.clone()));
        read
    }

    /// Forgets those that are gone.
    pub(crate) fn keep(&self, there: &BTreeSet<String>) {
        lock(&self.0).retain(|name, _| there.contains(name));
    }
}

/// The windows that concern an Application, and which of its clusters each is about.
pub(crate) fn facts(ctx: &Context, app: &Application, walk: &Walk) -> Vec<FleetWindow> {
    let mut all = ctx.hub.rollout_windows.state();
    all.sort_by_key(|window| window.name_any());
    let namespace = ctx.hub.namespaces.get(&ObjectRef::new(&walk.key.0));
    let labels = namespace.map_or_else(|| json!({}), |namespace| json!(namespace.labels()));
    let mine = all.into_iter().filter(|window| {
        may_select(&window.spec.namespaces, &[walk.key.0.as_str()], &labels)
            && may_select(&window.spec.applications, &[walk.key.1.as_str()], &json!(app.labels()))
    });
    mine.map(|window| FleetWindow {
        name: window.name_any(),
        message: window.spec.message.clone(),
        windows: ctx.hub.read_windows.of(&window),
        clusters: clusters(ctx, walk, &window),
    })
    .collect()
}

/// A freeze that can't be read must not count as none: what nobody can say whom it is about may be about everybody.
fn may_select(selection: &Selection, names: &[&str], labels: &Value) -> bool {
    is_unreadable(selection) || selects(selection, names, labels)
}

/// The clusters of a run that a window is about; nothing where it is about every step.
fn clusters(ctx: &Context, walk: &Walk, window: &Arc<RolloutWindow>) -> Option<BTreeSet<String>> {
    if window.spec.clusters.is_everything() || is_unreadable(&window.spec.clusters) {
        return None;
    }
    let concerned = |name: &String| match ctx.hub.clusters.get(&ObjectRef::new(name)) {
        Some(cluster) => selects(&window.spec.clusters, &names_of(&cluster), &json!(cluster.labels())),
        None => selects(&window.spec.clusters, &[name.as_str()], &Value::Null),
    };
    Some(walk.clusters().into_iter().filter(concerned).collect())
}

/// The step of this run that a person lets begin outside its windows, who, and why.
pub(crate) fn overridden(app: &Application, run: &str) -> Option<WindowRequest> {
    let text = app.annotations().get(names::OVERRIDE_WINDOW)?;
    WindowRequest::read(text).filter(|request| request.run == run)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Broken: a freeze with a slip in its selector freezes nothing, and nobody is told.
    #[test]
    fn who_may_be_meant_by_a_window_that_cant_be_read_is_meant() {
        let selection = |selector: Value| Selection { selector: Some(selector), ..Selection::default() };
        let slip =
            selection(json!({"matchExpressions": [{"key": "tier", "operator": "Is", "values": ["prod"]}]}));
        let labels = json!({"tier": "test"});
        assert!(may_select(&slip, &["web"], &labels));
        assert!(!may_select(&selection(json!({"matchLabels": {"tier": "prod"}})), &["web"], &labels));
        let spec = fleet_api::RolloutWindowSpec { applications: slip, ..Default::default() };
        let said = Windows::of_fleet(&spec).unwrap_err();
        assert!(said.starts_with("applications.selector: "), "{said}");
    }

    // Broken: a word about another run, or without a reason, opens a window.
    #[test]
    fn a_word_about_this_run_with_a_reason_counts() {
        let asked = |text: &str| {
            let mut app = Application::new("web", Default::default());
            app.annotations_mut().insert(names::OVERRIDE_WINDOW.to_owned(), text.to_owned());
            overridden(&app, "web-3").map(|asked| (asked.step, asked.by, asked.reason))
        };
        let counts = |by: &str| Some(("first".to_owned(), by.to_owned(), "security fix".to_owned()));
        assert_eq!(asked("web-3/first security fix"), counts(""));
        let named = r#"{"run": "web-3", "step": "first", "by": "ann", "reason": " security fix"}"#;
        assert_eq!(asked(named), counts("ann"));
        for (from, to) in
            [("web-3", "web-2"), (" security fix", ""), ("first", ""), ("by", "from"), ("}", "")]
        {
            assert_eq!(asked(&named.replace(from, to)), None, "{from}");
        }
        for text in
            ["web-2/first security fix", "web-3/first", "web-3/first  ", "web-3/ why", "first why", ""]
        {
            assert_eq!(asked(text), None, "{text}");
        }
    }
}
