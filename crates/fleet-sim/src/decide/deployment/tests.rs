//! Rollouts in a member in memory.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::model::{Model, deployment, image};
use crate::object::{annotation, condition, int, name, pod_ready, text};
use crate::{Kind, Pods, Settings};

fn counts(status: &Value) -> [i64; 5] {
    ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"]
        .map(|field| status[field].as_i64().unwrap_or_default())
}

fn progressing(deployment: &Value) -> (String, String) {
    let found = condition(&deployment["status"], "Progressing").unwrap();
    (text(found, "/reason").to_owned(), text(found, "/message").to_owned())
}

fn settled(pods: Pods) -> Model {
    let mut model = Model::new(Settings { pods, ..Settings::default() }, 7);
    model.put(Kind::Deployment, deployment(5, "web:1", json!("25%"), json!("25%")));
    model.settle();
    model
}

/// If this fails, the plain case doesn't work: a Deployment is created and becomes ready.
#[test]
fn a_new_deployment_becomes_available() {
    for pods in [Pods::Full, Pods::Counted] {
        let model = settled(pods);
        let web = model.get(Kind::Deployment, "web");
        assert_eq!(counts(&web["status"]), [5, 5, 5, 5, 0]);
        assert_eq!(int(&web, "/status/observedGeneration"), int(&web, "/metadata/generation"));
        assert_eq!(annotation(&web, "deployment.kubernetes.io/revision"), Some("1"));
        assert_eq!(text(condition(&web["status"], "Available").unwrap(), "/status"), "True");
        assert_eq!(progressing(&web).0, "NewReplicaSetAvailable");
        let sets = model.all(Kind::ReplicaSet);
        assert_eq!(sets.len(), 1);
        let hash = text(&sets[0], "/metadata/labels/pod-template-hash");
        assert_eq!(name(&sets[0]), format!("web-{hash}"));
        assert_eq!(text(&sets[0], "/spec/selector/matchLabels/pod-template-hash"), hash);
        assert_eq!(annotation(&sets[0], "note"), Some("kept"));
        let made = model.all(Kind::Pod);
        assert_eq!(made.len(), if pods == Pods::Full { 5 } else { 0 });
        for pod in &made {
            assert!(pod_ready(pod) && name(pod).starts_with(&format!("web-{hash}-")));
            assert_eq!(text(pod, "/metadata/labels/pod-template-hash"), hash);
        }
    }
}

/// If this fails, a thousand members take longer than the budget: every write counts.
#[test]
fn it_takes_few_writes() {
    let model = settled(Pods::Counted);
    let web = [model.count("patch", Kind::Deployment), model.count("status", Kind::Deployment)];
    let set = [model.count("create", Kind::ReplicaSet), model.count("status", Kind::ReplicaSet)];
    assert_eq!((web[0], set[0], set[1]), (1, 1, 2));
    assert!(web[1] <= 3, "{web:?}");
}

/// If this fails, `rollout undo` makes a third ReplicaSet in place of taking the first, or revisions don't move.
#[test]
fn a_rollback_takes_the_old_replica_set() {
    for pods in [Pods::Full, Pods::Counted] {
        let mut model = settled(pods);
        let first = name(&model.all(Kind::ReplicaSet)[0]).to_owned();
        model.edit(Kind::Deployment, "web", &image("web:2"));
        model.settle();
        assert_eq!(model.all(Kind::ReplicaSet).len(), 2);
        assert_eq!(int(&model.get(Kind::ReplicaSet, &first), "/spec/replicas"), 0);
        assert_eq!(counts(&model.get(Kind::Deployment, "web")["status"]), [5, 5, 5, 5, 0]);
        // As `kubectl rollout undo` does it: the old template with its map in another order.
        model.edit(Kind::Deployment, "web", &image("web:1"));
        model.settle();
        assert_eq!(model.all(Kind::ReplicaSet).len(), 2);
        let set = model.get(Kind::ReplicaSet, &first);
        assert_eq!(int(&set, "/status/availableReplicas"), 5);
        assert_eq!(annotation(&set, "deployment.kubernetes.io/revision"), Some("3"));
        let web = model.get(Kind::Deployment, "web");
        assert_eq!(annotation(&web, "deployment.kubernetes.io/revision"), Some("3"));
        assert_eq!(
            progressing(&web),
            (
                "NewReplicaSetAvailable".to_owned(),
                format!("ReplicaSet \"{first}\" has successfully progressed."),
            )
        );
    }
}

/// If this fails, a broken image takes the application down, or nobody is told that the rollout stands still.
#[test]
fn a_failing_image_stalls_and_is_reported() {
    for (broken, pods) in
        [("web:broken", Pods::Full), ("web-crash:2", Pods::Full), ("web:fail", Pods::Counted)]
    {
        let mut model = settled(pods);
        model.edit(Kind::Deployment, "web", &image(broken));
        model.run_for(Duration::from_secs(60));
        let web = model.get(Kind::Deployment, "web");
        // 5 with 25 %: 2 more, 1 missing.
        assert_eq!(counts(&web["status"]), [7, 3, 4, 4, 3], "{broken}");
        assert_eq!(text(condition(&web["status"], "Available").unwrap(), "/status"), "True");
        assert_eq!(progressing(&web).0, "ReplicaSetUpdated");
        model.run_for(Duration::from_secs(700));
        let late = model.get(Kind::Deployment, "web");
        let found = condition(&late["status"], "Progressing").unwrap();
        assert_eq!(
            (text(found, "/status"), text(found, "/reason")),
            ("False", "ProgressDeadlineExceeded"),
            "{broken}"
        );
        // Mended, it goes on.
        model.edit(Kind::Deployment, "web", &image("web:3"));
        model.settle();
        let web = model.get(Kind::Deployment, "web");
        assert_eq!(counts(&web["status"]), [5, 5, 5, 5, 0]);
        assert_eq!(progressing(&web).0, "NewReplicaSetAvailable");
    }
}

/// If this fails, `Recreate` runs two versions side by side.
#[test]
fn recreate_has_nothing_new_before_the_old_is_gone() {
    let mut model = settled(Pods::Full);
    model.edit(
        Kind::Deployment,
        "web",
        &json!({ "spec": { "strategy": { "type": "Recreate", "rollingUpdate": null } } }),
    );
    model.edit(Kind::Deployment, "web", &image("web:2"));
    model.settle_watched(3_000, Duration::from_secs(60), &mut |model| {
        let images: std::collections::BTreeSet<String> =
            model.all(Kind::Pod).iter().map(|pod| text(pod, "/spec/containers/0/image").to_owned()).collect();
        assert!(images.len() < 2, "{images:?}");
    });
    assert_eq!(counts(&model.get(Kind::Deployment, "web")["status"]), [5, 5, 5, 5, 0]);
    // Scaling in the middle of it must not stop it.
    model.edit(Kind::Deployment, "web", &image("web:3"));
    model.step(Duration::ZERO, &mut |_| {});
    model.edit(Kind::Deployment, "web", &json!({ "spec": { "replicas": 3 } }));
    model.settle();
    assert_eq!(counts(&model.get(Kind::Deployment, "web")["status"]), [3, 3, 3, 3, 0]);
}

/// If this fails, `rollout pause` doesn't pause, or `scale` doesn't reach a paused Deployment.
#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut model = settled(Pods::Full);
    model.edit(Kind::Deployment, "web", &json!({ "spec": { "paused": true } }));
    model.edit(Kind::Deployment, "web", &image("web:2"));
    model.settle();
    assert_eq!(model.all(Kind::ReplicaSet).len(), 1);
    assert_eq!(progressing(&model.get(Kind::Deployment, "web")).0, "DeploymentPaused");
    model.edit(Kind::Deployment, "web", &json!({ "spec": { "replicas": 7 } }));
    model.settle();
    assert_eq!(counts(&model.get(Kind::Deployment, "web")["status"]), [7, 0, 7, 7, 0]);
    model.edit(Kind::Deployment, "web", &json!({ "spec": { "paused": null } }));
    model.settle();
    let web = model.get(Kind::Deployment, "web");
    assert_eq!(counts(&web["status"]), [7, 7, 7, 7, 0]);
    assert_eq!(progressing(&web).0, "NewReplicaSetAvailable");
}

/// If this fails, old ReplicaSets pile up, or the ones that a rollback needs are lost.
#[test]
fn the_history_is_limited_and_keeps_the_newest() {
    let mut model = settled(Pods::Counted);
    model.edit(Kind::Deployment, "web", &json!({ "spec": { "revisionHistoryLimit": 2 } }));
    for version in 2..8 {
        model.edit(Kind::Deployment, "web", &image(&format!("web:{version}")));
        model.settle();
    }
    let mut revisions: Vec<i64> = model
        .all(Kind::ReplicaSet)
        .iter()
        .map(|set| annotation(set, "deployment.kubernetes.io/revision").unwrap().parse().unwrap())
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, [5, 6, 7]);
}

/// If this fails, `minReadySeconds` means nothing: pods count as available at once.
#[test]
fn availability_waits_for_min_ready_seconds() {
    for pods in [Pods::Full, Pods::Counted] {
        let mut model = Model::new(Settings { pods, ..Settings::default() }, 3);
        let mut web = deployment(2, "web:1", json!(1), json!(0));
        web["spec"]["minReadySeconds"] = json!(30);
        model.put(Kind::Deployment, web);
        let start = model.now;
        model.settle_watched(3_000, Duration::from_secs(5), &mut |_| {});
        assert_eq!(counts(&model.get(Kind::Deployment, "web")["status"]), [2, 2, 2, 0, 2]);
        model.settle();
        assert_eq!(counts(&model.get(Kind::Deployment, "web")["status"]), [2, 2, 2, 2, 0]);
        assert!(model.now.duration_since(start).as_secs() >= 29);
    }
}

/// If this fails, what is deleted comes back, or leaves parts behind.
#[test]
fn lost_pods_come_back_and_deleted_deployments_do_not() {
    let mut model = settled(Pods::Full);
    let lost = name(&model.all(Kind::Pod)[2]).to_owned();
    model.delete(Kind::Pod, &lost);
    model.settle();
    assert_eq!(model.all(Kind::Pod).len(), 5);
    assert_eq!(counts(&model.get(Kind::Deployment, "web")["status"]), [5, 5, 5, 5, 0]);
    model.delete(Kind::Deployment, "web");
    model.settle();
    assert!(model.all(Kind::Pod).is_empty() && model.all(Kind::ReplicaSet).is_empty());
}

fn share() -> impl Strategy<Value = Value> {
    prop_oneof![(0..4_i64).prop_map(|n| json!(n)), (0..101_i64).prop_map(|n| json!(format!("{n}%")))]
}

/// The limits that strategy and size give, as the Kubernetes documentation words them.
fn limits(web: &Value) -> (i64, i64) {
    let replicas = int(web, "/spec/replicas");
    let of = |value: &Value, up: bool| match value.as_str() {
        Some(text) => {
            let percent = text.trim_end_matches('%').parse::<i64>().unwrap();
            (percent * replicas + if up { 99 } else { 0 }) / 100
        }
        None => value.as_i64().unwrap(),
    };
    let rolling = &web["spec"]["strategy"]["rollingUpdate"];
    let surge = of(&rolling["maxSurge"], true);
    let mut unavailable = of(&rolling["maxUnavailable"], false);
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    (replicas + surge, (replicas - unavailable).max(0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// If this fails, a rollout runs more pods than the surge allows or takes more away than may be missing: whatever the
    /// order in which things are seen, and however often the template changes on the way.
    #[test]
    fn a_rollout_keeps_to_surge_and_availability(
        replicas in 1..9_i64, surge in share(), unavailable in share(), seed in any::<u64>(),
        edits in prop::collection::vec((0..4_u8, 0..25_usize), 1..5),
    ) {
        let mut model = Model::new(Settings::default(), seed);
        model.put(Kind::Deployment, deployment(replicas, "web:0", surge, unavailable));
        model.settle();
        let (most, least) = limits(&model.get(Kind::Deployment, "web"));
        let mut check = |model: &Model| {
            let wanted: i64 = model.all(Kind::ReplicaSet).iter().map(|set| int(set, "/spec/replicas")).sum();
            let ready = model.all(Kind::Pod).iter().filter(|pod| pod_ready(pod)).count() as i64;
            assert!(wanted <= most, "{wanted} pods wanted, {most} allowed");
            assert!(ready >= least.min(replicas), "{ready} pods ready, {least} demanded");
        };
        for (version, steps) in edits {
            let tag = if version == 3 { "web:broken".to_owned() } else { format!("web:{version}") };
            model.edit(Kind::Deployment, "web", &image(&tag));
            for _ in 0..steps {
                model.step(Duration::from_secs(1), &mut check);
            }
        }
        model.edit(Kind::Deployment, "web", &image("web:last"));
        model.settle_watched(2_000, Duration::from_secs(60), &mut check);
        let web = model.get(Kind::Deployment, "web");
        prop_assert_eq!(counts(&web["status"]), [replicas, replicas, replicas, replicas, 0]);
        prop_assert_eq!(progressing(&web).0, "NewReplicaSetAvailable");
        prop_assert_eq!(model.all(Kind::Pod).len() as i64, replicas);
    }

    /// If this fails, some series of edits leaves a Deployment stuck, or running for ever.
    #[test]
    fn any_edits_come_to_rest_at_what_is_wanted(
        counted in any::<bool>(), seed in any::<u64>(),
        edits in prop::collection::vec((0..6_u8, 0..12_i64, 0..20_usize), 1..8),
    ) {
        let pods = if counted { Pods::Counted } else { Pods::Full };
        let mut model = Model::new(Settings { pods, ..Settings::default() }, seed);
        model.put(Kind::Deployment, deployment(3, "web:0", json!("25%"), json!("25%")));
        for (edit, number, steps) in edits {
            let patch = match edit {
                0 | 1 => json!({ "spec": { "replicas": number } }),
                2 => image(if number < 3 { "web:fail" } else { "web:crash" }),
                3 => json!({ "spec": { "paused": number % 2 == 0 } }),
                4 => json!({ "spec": { "strategy": { "type": if number % 2 == 0 { "Recreate" } else { "RollingUpdate" } } } }),
                _ => image(&format!("web:{number}")),
            };
            model.edit(Kind::Deployment, "web", &patch);
            for _ in 0..steps {
                model.step(Duration::from_secs(1), &mut |_| {});
            }
        }
        model.edit(Kind::Deployment, "web", &json!({ "spec": { "paused": false } }));
        model.edit(Kind::Deployment, "web", &image("web:last"));
        model.settle_watched(3_000, Duration::from_secs(60), &mut |_| {});
        let web = model.get(Kind::Deployment, "web");
        let wanted = int(&web, "/spec/replicas");
        prop_assert_eq!(counts(&web["status"]), [wanted, wanted, wanted, wanted, 0]);
        prop_assert_eq!(int(&web, "/status/observedGeneration"), int(&web, "/metadata/generation"));
        prop_assert_eq!(progressing(&web).0, "NewReplicaSetAvailable");
        let running: i64 = model.all(Kind::ReplicaSet).iter().map(|set| int(set, "/status/replicas")).sum();
        prop_assert_eq!(running, wanted);
    }
}
