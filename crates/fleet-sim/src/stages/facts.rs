//! What stages ask about an object, as words.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::Kind;
use crate::object::{annotation, condition, controller, deleting, int, label, list, text};
use crate::settings::{FAIL, held};

/// What becomes of an image when it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Image {
    /// It runs.
    Good,
    /// It can't be pulled.
    Unpullable,
    /// It ends with an error.
    Crashing,
}

#[derive(Debug, Default, Deserialize)]
struct Images {
    outcomes: Vec<Outcome>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    outcome: Image,
    contains: Vec<String>,
}

static IMAGES: LazyLock<Images> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../stages/images.json")).unwrap_or_default());

/// The worst outcome of the containers of a pod or pod template, or what the annotations of either object say.
pub(crate) fn image_of(template: &Value, also: &Value) -> Image {
    let said = annotation(template, FAIL).or_else(|| annotation(also, FAIL));
    match said {
        Some("true" | "crash") => return Image::Crashing,
        Some("pull") => return Image::Unpullable,
        _ => {}
    }
    let containers = list(template, "/spec/containers").iter().chain(list(template, "/spec/initContainers"));
    containers
        .map(|container| by_name(text(container, "/image")))
        .find(|image| *image != Image::Good)
        .unwrap_or(Image::Good)
}

pub(super) fn image(pod: &Value) -> Image {
    image_of(pod, &Value::Null)
}

/// What becomes of one container. A fault that the annotation brings, or one of an init container, hits them all.
pub(super) fn image_of_container(pod: &Value, container: &Value) -> Image {
    let own = by_name(text(container, "/image"));
    let some_is_bad =
        list(pod, "/spec/containers").iter().any(|one| by_name(text(one, "/image")) != Image::Good);
    if some_is_bad && annotation(pod, FAIL).is_none() { own } else { image(pod) }
}

/// By the last part of the image's name with its tag: registries and folders may be called as they like.
fn by_name(image: &str) -> Image {
    let name = image.rsplit('/').next().unwrap_or_default().split('@').next().unwrap_or_default();
    let hit = |outcome: &&Outcome| outcome.contains.iter().any(|part| name.contains(part.as_str()));
    IMAGES.outcomes.iter().find(hit).map_or(Image::Good, |outcome| outcome.outcome)
}

/// The highest restart count of a pod's containers.
pub(super) fn restarts(pod: &Value) -> i64 {
    list(pod, "/status/containerStatuses")
        .iter()
        .map(|status| int(status, "/restartCount"))
        .max()
        .unwrap_or_default()
}

/// The facts of an object, as the tables name them.
pub(super) fn of(kind: Kind, object: &Value) -> BTreeMap<&'static str, String> {
    let mut facts = BTreeMap::new();
    let phase = text(object, "/status/phase");
    facts.insert("deleting", deleting(object).to_string());
    facts.insert("hold", held(object).to_string());
    facts.insert("phase", phase.to_owned());
    let is_true = |kind: &str| {
        let status = object.get("status").and_then(|status| condition(status, kind));
        status.is_some_and(|condition| text(condition, "/status") == "True").to_string()
    };
    match kind {
        Kind::Pod => {
            facts.insert("scheduled", is_true("PodScheduled"));
            let image = match image(object) {
                Image::Good => "good",
                Image::Unpullable => "unpullable",
                Image::Crashing => "crashing",
            };
            facts.insert("image", image.to_owned());
            let waiting = list(object, "/status/containerStatuses")
                .iter()
                .map(|status| text(status, "/state/waiting/reason"))
                .find(|reason| !reason.is_empty());
            facts.insert("waiting", waiting.unwrap_or_default().to_owned());
            facts.insert("restart", text(object, "/spec/restartPolicy").to_owned());
            let owner = controller(object).map(|owner| text(owner, "/kind")).unwrap_or_default();
            facts.insert("owner", owner.to_owned());
        }
        Kind::Node => {
            facts.insert("ready", is_true("Ready"));
            facts.insert("simulated", (label(object, crate::seed::SIMULATED) == "true").to_string());
        }
        _ => {
            facts.insert("type", text(object, "/spec/type").to_owned());
            let none = list(object, "/status/loadBalancer/ingress").is_empty();
            facts.insert("address", if none { "none" } else { "given" }.to_owned());
        }
    }
    facts
}
