//! An API server just good enough: lists and watches over all members, creates, merge patches, deletes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fleet_sim::Members;
use futures::{StreamExt, stream};
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

type Answer = UnsyncBoxBody<Bytes, Infallible>;
/// Plural, member, namespace, name.
type Place = (String, String, String, String);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) version: u64,
    pub(crate) objects: BTreeMap<Place, Value>,
    /// Version, plural, what happened, the object with its member.
    log: Vec<(u64, String, &'static str, Value)>,
    /// Watches from before are expired.
    oldest: u64,
    pub(crate) requests: BTreeMap<String, usize>,
    /// Verb and plural to fail, and how often.
    pub(crate) failing: Option<(String, usize)>,
    /// Watches end when this changes.
    era: u64,
}

/// All members in one server.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), changed: Arc::new(watch::Sender::new(0)) }
    }

    fn client(&self, member: Option<&str>) -> kube::Client {
        let (fake, member) = (self.clone(), member.map(str::to_owned));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (fake, member) = (fake.clone(), member.clone());
            async move { Ok::<_, Infallible>(fake.answer(member, request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Waits until the members are as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&State) -> bool) {
        let mut changes = self.changed.subscribe();
        let reached = async {
            while !wanted(&self.state.lock().unwrap()) {
                changes.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(std::time::Duration::from_secs(120), reached).await.is_err() {
            let state = self.state.lock().unwrap();
            panic!("not reached: {what}; requests {:?}", state.requests);
        }
    }

    /// Forgets the past and ends all watches: what a restarted server does.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        state.oldest = state.version + 1;
        state.version += 1;
        state.log.clear();
        state.era += 1;
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    /// A user's write.
    pub(crate) fn put(&self, member: &str, plural: &str, body: Value) {
        let mut state = self.state.lock().unwrap();
        state.put(member, plural, body);
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    /// A user's edit.
    pub(crate) fn edit(&self, member: &str, plural: &str, name: &str, patch: &Value) {
        let mut body = self.get(member, plural, name);
        fleet_json::merge_patch(&mut body, patch);
        self.put(member, plural, body);
    }

    pub(crate) fn get(&self, member: &str, plural: &str, name: &str) -> Value {
        let state = self.state.lock().unwrap();
        let mut found = state.of(member, plural).into_iter();
        found
            .find(|object| object["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("no {plural} {name}"))
            .clone()
    }

    async fn answer(&self, member: Option<String>, request: Request<Body>) -> Response<Answer> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let mut pieces = path.split('/').skip(if path.starts_with("/apis/") { 4 } else { 3 });
        let mut plural = pieces.next().unwrap().to_owned();
        let mut namespace = String::new();
        if plural == "namespaces" {
            namespace = pieces.next().unwrap().to_owned();
            plural = pieces.next().unwrap().to_owned();
        }
        let name = pieces.next().unwrap_or_default().to_owned();
        let subresource = pieces.next().unwrap_or_default().to_owned();
        if query.contains("watch=true") {
            return self.watch(plural, &query);
        }
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let (code, answer) = {
            let mut state = self.state.lock().unwrap();
            let verb = format!(
                "{} {plural}{}",
                parts.method,
                if subresource.is_empty() { String::new() } else { format!("/{subresource}") }
            );
            *state.requests.entry(verb.clone()).or_default() += 1;
            let failing = state.failing.as_mut().filter(|(failing, left)| *failing == verb && *left > 0);
            if let Some((_, left)) = failing {
                *left -= 1;
                (500, status(500, "InternalError"))
            } else {
                let place = (plural, member.unwrap_or_default(), namespace, name);
                state.write(&parts.method, place, &subresource, body, &query)
            }
        };
        self.changed.send_modify(|count| *count += 1);
        Response::builder()
            .status(code)
            .body(Full::new(Bytes::from(answer.to_string())).boxed_unsync())
            .unwrap()
    }

    fn watch(&self, plural: String, query: &str) -> Response<Answer> {
        let from: u64 = query.split("resourceVersion=").nth(1).unwrap().parse().unwrap();
        let era = self.state.lock().unwrap().era;
        let events = stream::unfold(
            (self.clone(), self.changed.subscribe(), from),
            move |(fake, mut changes, from)| {
                let plural = plural.clone();
                async move {
                    loop {
                        changes.borrow_and_update();
                        let next = {
                            let state = fake.state.lock().unwrap();
                            if state.era != era {
                                return None;
                            }
                            if from < state.oldest {
                                Some((from, json!({ "type": "ERROR", "object": status(410, "Expired") })))
                            } else {
                                let start = state.log.partition_point(|(version, ..)| *version <= from);
                                let mut later = state.log[start..].iter();
                                later.find(|(_, of, ..)| *of == plural).map(|(version, _, kind, object)| {
                                    (*version, json!({ "type": kind, "object": object }))
                                })
                            }
                        };
                        if let Some((version, event)) = next {
                            return Some((format!("{event}\n"), (fake, changes, version)));
                        }
                        changes.changed().await.ok()?;
                    }
                }
            },
        );
        let frames = events.map(|line| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(line))));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

impl State {
    pub(crate) fn of(&self, member: &str, plural: &str) -> Vec<&Value> {
        let start = (plural.to_owned(), member.to_owned(), String::new(), String::new());
        let mine =
            self.objects.range(start..).take_while(|(place, _)| place.0 == plural && place.1 == member);
        mine.map(|(_, object)| object).collect()
    }

    pub(crate) fn count(&self, request: &str) -> usize {
        self.requests.get(request).copied().unwrap_or_default()
    }

    fn record(&mut self, member: &str, plural: &str, kind: &'static str, mut object: Value) {
        fleet_json::merge_patch(
            &mut object,
            &json!({ "metadata": { "annotations": { "fleetctl.dev/cluster": member } } }),
        );
        self.log.push((self.version, plural.to_owned(), kind, object));
    }

    fn put(&mut self, member: &str, plural: &str, mut body: Value) -> Value {
        self.version += 1;
        let text = |field: &str| body["metadata"][field].as_str().unwrap_or_default().to_owned();
        let place = (plural.to_owned(), member.to_owned(), text("namespace"), text("name"));
        assert!(
            body["metadata"]["annotations"].get("fleetctl.dev/cluster").is_none(),
            "the mark isn't stored"
        );
        let old = self.objects.get(&place);
        let generation = old.map_or(1, |old| {
            old["metadata"]["generation"].as_i64().unwrap() + i64::from(old.get("spec") != body.get("spec"))
        });
        let uid = old.map_or_else(
            || json!(format!("{member}-{}", self.version)),
            |old| old["metadata"]["uid"].clone(),
        );
        let metadata = json!({
            "uid": uid, "generation": generation, "resourceVersion": self.version.to_string(),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        });
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        fleet_json::merge_patch(&mut body, &json!({ "metadata": metadata }));
        self.objects.insert(place, body.clone());
        self.record(member, plural, kind, body.clone());
        body
    }

    fn delete(&mut self, place: &Place) {
        let Some(mut object) = self.objects.remove(place) else { return };
        self.version += 1;
        let uid = object["metadata"]["uid"].clone();
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.record(&place.1, &place.0, "DELETED", object);
        let owned = |object: &Value| object["metadata"]["ownerReferences"][0]["uid"] == uid;
        let parts: Vec<Place> =
            self.objects.iter().filter(|(_, object)| owned(object)).map(|(place, _)| place.clone()).collect();
        parts.iter().for_each(|part| self.delete(part));
    }

    fn write(
        &mut self,
        method: &Method,
        place: Place,
        subresource: &str,
        body: Value,
        query: &str,
    ) -> (u16, Value) {
        match (method.as_str(), self.objects.get(&place).cloned()) {
            ("GET", _) if place.3.is_empty() => {
                let wanted = self.objects.iter().filter(|(of, _)| of.0 == place.0);
                let items: Vec<Value> = wanted
                    .map(|(of, object)| {
                        let mut object = object.clone();
                        let mark = json!({ "metadata": { "annotations": { "fleetctl.dev/cluster": of.1 } } });
                        fleet_json::merge_patch(&mut object, &mark);
                        object
                    })
                    .collect();
                (200, json!({ "metadata": { "resourceVersion": self.version.to_string() }, "items": items }))
            }
            ("GET", Some(object)) => (200, object),
            ("POST", Some(mut pod)) if subresource == "binding" => {
                pod["spec"]["nodeName"] = body["target"]["name"].clone();
                self.put(&place.1, &place.0, pod);
                (201, status(201, ""))
            }
            ("POST", _) if place.3.is_empty() => {
                let named = (
                    place.0.clone(),
                    place.1.clone(),
                    place.2,
                    body["metadata"]["name"].as_str().unwrap().to_owned(),
                );
                if self.objects.contains_key(&named) {
                    return (409, status(409, "AlreadyExists"));
                }
                (201, self.put(&place.1, &place.0, body))
            }
            ("PATCH", None) if query.contains("force=true") => (201, self.put(&place.1, &place.0, body)),
            ("PATCH", Some(mut object)) => {
                let uid = body["metadata"].get("uid").cloned();
                if uid.is_some_and(|uid| uid != object["metadata"]["uid"]) {
                    return (409, status(409, "Conflict"));
                }
                let before = object.clone();
                fleet_json::merge_patch(&mut object, &body);
                if object == before {
                    return (200, object);
                }
                (200, self.put(&place.1, &place.0, object))
            }
            ("DELETE", Some(object)) => {
                if body["preconditions"]["uid"] != object["metadata"]["uid"] {
                    return (409, status(409, "Conflict"));
                }
                self.delete(&place);
                (200, status(200, ""))
            }
            _ => (404, status(404, "NotFound")),
        }
    }
}

fn status(code: u16, reason: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": if code < 400 { "Success" } else { "Failure" },
        "code": code, "reason": reason, "message": reason })
}

impl Members for Fake {
    fn watch_client(&self) -> kube::Client {
        self.client(None)
    }

    fn member(&self, name: &str) -> kube::Client {
        self.client(Some(name))
    }
}
