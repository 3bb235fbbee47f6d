//! No Secret's value leaves the objects that hold it (design invariant 11).

use fleet_testkit::{Engine, Fleet};
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;

use crate::small::{app, gated, message};

const PLAIN: &str = "correct-horse-battery-staple";
const CHANGED: &str = "tr0ub4dor-and-three";

/// Everything that is written down on the hub about an Application, packed or not, as text.
async fn written_down(fleet: &Fleet) -> anyhow::Result<String> {
    let kinds = [
        ("core.oam.dev", "v1beta1", "Application", "applications"),
        ("core.oam.dev", "v1beta1", "ApplicationRevision", "applicationrevisions"),
        ("core.oam.dev", "v1beta1", "ResourceTracker", "resourcetrackers"),
        ("fleetctl.dev", "v1alpha1", "Run", "runs"),
        ("fleetctl.dev", "v1alpha1", "Approval", "approvals"),
        ("", "v1", "ConfigMap", "configmaps"),
        ("events.k8s.io", "v1", "Event", "events"),
    ];
    let mut text = String::new();
    for (group, version, kind, plural) in kinds {
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        let api: Api<DynamicObject> = Api::all_with(fleet.client("hub"), &resource);
        for object in api.list(&ListParams::default()).await?.items {
            let value = serde_json::to_value(&object)?;
            for packed in ["/spec/content", "/spec/inventory"] {
                let packed = value.pointer(packed).map(|packed| serde_json::from_value(packed.clone()));
                if let Some(Ok(packed)) = packed {
                    let packed: fleet_api::Packed = packed;
                    text += &packed.unpack::<serde_json::Value>().map(|v| v.to_string()).unwrap_or_default();
                }
            }
            text += &value.to_string();
        }
    }
    Ok(text)
}

fn holds(text: &str, value: &str) -> bool {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(value);
    text.contains(value) || text.contains(encoded.trim_end_matches('='))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_of_a_secret_leaves_the_objects_that_hold_it() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let secret = |value: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "demo"},
            "type": "Opaque", "stringData": {"password": value, "user": "somebody"}})
    };
    fleet.apply("hub", &secret(PLAIN)).await?;
    fleet.apply("hub", &gated(&[("v1", "Secret", "login")], &["m1"])).await?;
    for (number, value) in [(1, PLAIN), (2, CHANGED)] {
        if number == 2 {
            fleet.apply("hub", &secret(value)).await?;
        }
        let waiting = fleet.wait_run("web", number, "workflowSuspending").await?;
        let run = fleet.run_of(&waiting).await?;
        let plan = fleet_controller::gate_plan(&fleet.client("hub"), &waiting, &run, "go").await;
        let plan = serde_json::to_string(&plan.map_err(anyhow::Error::msg)?)?;
        assert!(plan.contains("login") && !holds(&plan, PLAIN) && !holds(&plan, CHANGED), "{plan}");
        if number == 2 {
            assert!(
                plan.contains("password") && !plan.contains("user"),
                "the key that changes is named: {plan}"
            );
        }
        fleet.approve(&waiting).await?;
        fleet.wait_run("web", number, "running").await?;
    }
    let there = fleet.get("m1", "v1", "Secret", "login").await?.expect("delivered");
    assert!(holds(&there.to_string(), CHANGED));
    // A person's edit is drift, and what is told about it names the field only.
    let edit = json!({"stringData": {"password": "guessed-by-hand"}});
    fleet.merge("m1", "v1", "Secret", "login", &edit).await?;
    fleet
        .wait_object("m1", "v1", "Secret", "login", |there| {
            there.is_some_and(|there| holds(&there.to_string(), CHANGED))
        })
        .await?;
    let text = written_down(&fleet).await?;
    assert!(text.contains("login"), "what is looked for would be found: the Secret is named");
    for value in [PLAIN, CHANGED, "guessed-by-hand"] {
        assert!(!holds(&text, value), "{value} is written down outside of Secrets");
    }
    engine.stop().await?;
    Ok(())
}

/// A revision that stands in a Secret is read again after a restart: the next step delivers it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_with_a_secret_survives_a_restart() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let mut manifest = app(&[], &["m1"]);
    manifest["spec"]["components"] = json!([{"name": "raw", "type": "k8s-objects", "properties": {"objects": [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"password": PLAIN}}]}}]);
    manifest["spec"]["workflow"] = json!({"steps": [
        {"name": "go", "type": "deploy", "properties": {"auto": false, "policies": ["where"]}}]});
    fleet.apply("hub", &manifest).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    engine.kill().await;
    let engine = Engine::start(&fleet);
    fleet.approve(&waiting).await?;
    fleet.wait_phase("web", "running").await?;
    let there = fleet.get("m1", "v1", "Secret", "login").await?.expect("delivered");
    assert!(holds(&there.to_string(), PLAIN));
    engine.stop().await?;
    Ok(())
}

/// Broken: a hub whose rights or rules keep the controller from recording a revision with a Secret stops the Application,
/// and only the controller's log says so; or what was mended isn't noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_the_hub_refuses_is_told_on_the_application() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let group = "admissionregistration.k8s.io/v1";
    let policy = json!({"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "no-records"},
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}]},
            "validations": [{"expression": "!has(object.type) || object.type != 'fleetctl.dev/revision'",
                "reason": "Forbidden", "message": "no revisions here"}]}});
    let binding = json!({"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "no-records"}, "spec": {"policyName": "no-records", "validationActions": ["Deny"]}});
    fleet.apply("hub", &policy).await?;
    fleet.apply("hub", &binding).await?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "demo"},
        "stringData": {"password": PLAIN}});
    fleet.apply("hub", &secret).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &app(&[("v1", "Secret", "login")], &["m1"])).await?;
    let said = |app: &fleet_api::Application| {
        let conditions = app.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        conditions.iter().find(|condition| condition.type_ == "Recorded").cloned()
    };
    let told = fleet.wait("web", |app| said(app).is_some()).await?;
    let condition = said(&told).expect("it is there");
    assert_eq!((condition.is_true(), condition.reason.as_str()), (false, "HubRefuses"));
    for what in ["no revisions here", "--set referenced.secrets=true"] {
        assert!(condition.message.contains(what) && message(&told).contains(what), "{condition:?}");
    }
    fleet.resource("hub", &binding).await?.delete("no-records", &Default::default()).await?;
    let done = fleet.wait_phase("web", "running").await?;
    assert!(said(&done).is_none(), "{:?}", said(&done));
    engine.stop().await?;
    Ok(())
}
