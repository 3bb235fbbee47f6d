//! Publishing: an Event for what is new, a higher count on the one that is there for what was told lately.
//!
//! kube's own recorder keeps every Event of the last six minutes whole, and walks through all of them for each one that
//! it publishes: with thousands of Applications that is most of what a controller holds and does. This one keeps a hash
//! and a name of the newest few.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as Written;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::runtime::events::{Event, EventType};
use serde_json::json;

use crate::context::Clock;

/// Who reports.
const CONTROLLER: &str = "fleetctl";
/// So long after it was told last the same is an Event of its own again (as client-go's, and kube's, recorder has it).
const SERIES: SignedDuration = SignedDuration::from_mins(6);
/// How often another name is tried.
const TRIES: u32 = 5;
/// How many Events are remembered at most: what is told again comes again soon.
const REMEMBERED: usize = 1024;

/// Writes Events to the hub.
pub(crate) struct Publisher {
    client: kube::Client,
    clock: Clock,
    told: Told,
    /// The nanosecond that the last Event is named by: no two have one name.
    stamp: i128,
}

impl Publisher {
    pub(crate) fn new(client: kube::Client, clock: Clock) -> Self {
        Self { client, clock, told: Told::default(), stamp: 0 }
    }

    /// Tells something about an object.
    ///
    /// # Errors
    /// Where the hub refuses or doesn't answer.
    pub(crate) async fn publish(
        &mut self,
        event: &Event,
        about: &ObjectReference,
    ) -> Result<(), kube::Error> {
        let now = (self.clock)();
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let api: Api<Written> = Api::namespaced(self.client.clone(), namespace);
        let key = key(event, about);
        if let Some((name, count)) = self.told.again(key, now) {
            let series = json!({ "series": { "count": count, "lastObservedTime": MicroTime(now) } });
            match api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&series)).await {
                Ok(_) => return Ok(()),
                // It is gone, as Events go after a while: told anew.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let mut tries = 0;
        loop {
            self.stamp = now.as_nanosecond().max(self.stamp + 1);
            let name = format!("{}.{:x}", about.name.as_deref().unwrap_or(CONTROLLER), self.stamp);
            match api.create(&PostParams::default(), &written(event, about, namespace, &name, now)).await {
                Ok(_) => {
                    self.told.first(key, name, now);
                    return Ok(());
                }
                // Another replica told something about it in the same instant.
                Err(kube::Error::Api(status)) if status.code == 409 && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

/// An Event in the form of the API.
fn written(event: &Event, about: &ObjectReference, namespace: &str, name: &str, now: Timestamp) -> Written {
    let type_ = match event.type_ {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    };
    Written {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        action: Some(event.action.clone()),
        reason: Some(event.reason.clone()),
        note: event.note.clone(),
        type_: Some(type_.to_owned()),
        event_time: Some(MicroTime(now)),
        regarding: Some(about.clone()),
        related: event.secondary.clone(),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(CONTROLLER.to_owned()),
        ..Written::default()
    }
}

/// What makes two Events the same: type, reason, subject, and what they are about; not the words.
fn key(event: &Event, about: &ObjectReference) -> u64 {
    let mut hasher = DefaultHasher::new();
    (matches!(event.type_, EventType::Warning), &event.reason, &event.action).hash(&mut hasher);
    for reference in [Some(about), event.secondary.as_ref()] {
        let named = reference.map(|r| (&r.kind, &r.namespace, &r.name, &r.uid));
        named.hash(&mut hasher);
    }
    hasher.finish()
}

/// What was told lately, the oldest first.
#[derive(Default)]
struct Told {
    known: HashMap<u64, Series>,
    order: VecDeque<u64>,
}

struct Series {
    name: String,
    count: i32,
    last: Timestamp,
}

impl Told {
    /// The Event that says this already, and how often it is said with this time.
    fn again(&mut self, key: u64, now: Timestamp) -> Option<(String, i32)> {
        let series = self.known.get_mut(&key).filter(|series| now.duration_since(series.last) < SERIES)?;
        series.count = series.count.saturating_add(1);
        series.last = now;
        Some((series.name.clone(), series.count))
    }

    /// It was told for the first time, or anew.
    fn first(&mut self, key: u64, name: String, now: Timestamp) {
        if self.known.insert(key, Series { name, count: 1, last: now }).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reason: &str, run: &str) -> Event {
        let secondary = ObjectReference { name: Some(run.to_owned()), ..ObjectReference::default() };
        Event {
            type_: EventType::Normal,
            reason: reason.to_owned(),
            note: None,
            action: "first".to_owned(),
            secondary: Some(secondary),
        }
    }

    fn about(name: &str) -> ObjectReference {
        ObjectReference { name: Some(name.to_owned()), ..ObjectReference::default() }
    }

    /// Told apart too little, one Application's Event would count another's up; too much, an object that is fought for
    /// would fill the hub.
    #[test]
    fn the_same_is_what_is_about_the_same() {
        let (first, web) = (event("StepStarted", "web-1"), about("web"));
        let worded = Event { note: Some("in other words".to_owned()), ..event("StepStarted", "web-1") };
        assert_eq!(key(&first, &web), key(&worded, &web));
        assert_ne!(key(&first, &web), key(&event("StepSucceeded", "web-1"), &web));
        assert_ne!(key(&first, &web), key(&event("StepStarted", "web-2"), &web));
        assert_ne!(key(&first, &web), key(&first, &about("shop")));
    }

    /// A controller that remembers every Event grows with each run.
    #[test]
    fn what_was_told_is_remembered_within_bounds() {
        let (mut told, now) = (Told::default(), Timestamp::UNIX_EPOCH);
        for key in 0..5000 {
            told.first(key, format!("event-{key}"), now);
        }
        assert_eq!((told.known.len(), told.order.len()), (REMEMBERED, REMEMBERED));
        assert!(told.again(0, now).is_none(), "the oldest went");
        assert_eq!(told.again(4999, now), Some(("event-4999".to_owned(), 2)));
        let later = now + SERIES + SERIES;
        assert!(told.again(4999, later).is_none(), "after a while it is news again");
        told.first(4999, "anew".to_owned(), later);
        assert_eq!(told.again(4999, later), Some(("anew".to_owned(), 2)));
        assert_eq!(told.order.len(), REMEMBERED, "and stands in the order once");
    }
}
