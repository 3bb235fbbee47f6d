//! Whose a running object is.

use fleet_api::{ObjectId, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Deserialize as _;
use serde_json::Value;

use super::found::Member;
use crate::exit::Failure;
use crate::get::fetch::fetch;
use crate::get::request::Request;

/// How many owners are looked for above an object: a Pod, its Job, its CronJob, whatever made that.
const STEPS: usize = 4;

/// Whose an object is.
#[derive(Debug, PartialEq)]
pub(super) enum Whose {
    /// It can be adopted.
    Nobodys,
    /// A controller makes it.
    Controllers(OwnerReference),
    /// An Application owns it.
    Applications {
        /// `namespace/name`, as the labels say.
        application: String,
        /// Another engine of the same kinds set the labels.
        foreign: bool,
    },
    /// It is being deleted.
    Going,
}

/// Reads it from the object. `owner` is whose it will be: what is that already (the Application was lost) counts as
/// nobody's.
pub(super) fn whose(live: &Value, owner: Option<&str>) -> Whose {
    let label = |name: &str| live.pointer("/metadata/labels")?.get(name)?.as_str();
    let shown = || {
        let part = |name: &str| label(name).unwrap_or("?").to_owned();
        format!("{}/{}", part(names::APP_NAMESPACE), part(names::APP_NAME))
    };
    if live.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()) {
        return Whose::Going;
    }
    if let Some(by) = controller(live) {
        return Whose::Controllers(by);
    }
    match (label(names::OWNER), label(names::APP_NAME)) {
        (Some(known), _) if Some(known) == owner => Whose::Nobodys,
        (Some(_), _) => Whose::Applications { application: shown(), foreign: false },
        (None, Some(_)) => Whose::Applications { application: shown(), foreign: true },
        (None, None) => Whose::Nobodys,
    }
}

fn controller(live: &Value) -> Option<OwnerReference> {
    let references = live.pointer("/metadata/ownerReferences")?.as_array()?;
    let mut owners = references.iter().filter_map(|reference| OwnerReference::deserialize(reference).ok());
    owners.find(|owner| owner.controller == Some(true))
}

/// The refusal of an object that a controller makes: what is at the top of it is what can be adopted.
pub(super) async fn controlled(member: &Member, id: &ObjectId, by: OwnerReference) -> Failure {
    let first = format!("{} {}", by.kind, by.name);
    let mut top = by;
    for _ in 0..STEPS {
        let Ok(request) = Request::one(&top.api_version, &top.kind, &top.name) else { break };
        // What can't be looked at is the last that is known.
        let Ok(answer) = fetch(&member.cluster, &request, &member.namespace).await else { break };
        let above = answer.into_objects().next().and_then(|live| controller(&live));
        let Some(above) = above else { break };
        top = above;
    }
    Failure::refused(format!(
        "{id} on {} is made by {first}, which would make it anew as it wants; take {}/{} instead",
        member.label,
        top.kind.to_lowercase(),
        top.name
    ))
}

/// The refusal of an object that an Application owns.
pub(super) fn owned(member: &Member, id: &ObjectId, application: &str, foreign: bool) -> Failure {
    let what = match foreign {
        true => {
            "which another engine delivers; stop that one first and take over its Application (docs/moving-over.md)"
        }
        false => {
            "leave it out, or delete that Application first and let its objects be: fleetctl delete --orphan"
        }
    };
    Failure::refused(format!(
        "{id} on {} belongs to the application {application}{} {what}",
        member.label,
        if foreign { "," } else { ";" }
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labelled(labels: Value) -> Value {
        json!({ "metadata": { "name": "web", "labels": labels } })
    }

    /// Broken: what another application delivers is taken from it, or what was ours can't be had again.
    #[test]
    fn labels_say_whose_it_is() {
        let of =
            |application: &str, foreign| Whose::Applications { application: application.to_owned(), foreign };
        let ours = json!({ names::OWNER: "a", names::APP_NAME: "web", names::APP_NAMESPACE: "demo" });
        assert_eq!(whose(&labelled(ours.clone()), Some("a")), Whose::Nobodys);
        assert_eq!(whose(&labelled(ours.clone()), Some("b")), of("demo/web", false));
        assert_eq!(whose(&labelled(ours), None), of("demo/web", false));
        let foreign = json!({ names::APP_NAME: "web", names::APP_NAMESPACE: "demo" });
        assert_eq!(whose(&labelled(foreign), Some("a")), of("demo/web", true));
        assert_eq!(whose(&labelled(json!({ "app": "web" })), Some("a")), Whose::Nobodys);
    }

    /// Broken: a Pod is adopted that its ReplicaSet makes anew under another name.
    #[test]
    fn what_is_made_is_its_makers() {
        let mut live = labelled(json!({}));
        let reference = |controller: bool| json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": controller }]);
        live["metadata"]["ownerReferences"] = reference(true);
        assert!(matches!(whose(&live, None), Whose::Controllers(by) if by.name == "web-1"));
        live["metadata"]["ownerReferences"] = reference(false);
        assert_eq!(whose(&live, None), Whose::Nobodys);
        live["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(whose(&live, None), Whose::Going);
    }
}
