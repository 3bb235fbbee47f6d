//! A write as policies see it.

use std::cell::OnceCell;
use std::sync::Arc;

use fleet_cel::Question;
use fleet_store::Key;
use serde_json::{Map, Value, json};

use super::matching::Named;
use crate::cluster::Cluster;
use crate::convert;
use crate::dispatch::Call;
use crate::object::ObjectExt;
use crate::registry::Kind;

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }

    fn options(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Delete => "DeleteOptions",
        }
    }
}

/// One write, complete and about to be committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Review<'a> {
    pub(crate) operation: Operation,
    /// The object after it, as it is stored; `None` where it is deleted.
    pub(crate) object: Option<&'a Value>,
    /// The object before it; `None` where it is created.
    pub(crate) old: Option<&'a Value>,
    pub(crate) name: &'a str,
    /// Version and kind of the object, where it isn't of the resource's own (a Scale, an Eviction).
    pub(crate) form: Option<(&'a str, &'a str)>,
}

impl<'a> Review<'a> {
    pub(crate) fn create(object: &'a Value) -> Self {
        let (operation, name) = (Operation::Create, object.name());
        Self { operation, object: Some(object), old: None, name, form: None }
    }

    pub(crate) fn update(old: &'a Value, new: &'a Value) -> Self {
        let (operation, name) = (Operation::Update, new.name());
        Self { operation, object: Some(new), old: Some(old), name, form: None }
    }

    pub(crate) fn delete(old: &'a Value) -> Self {
        let (operation, name) = (Operation::Delete, old.name());
        Self { operation, object: None, old: Some(old), name, form: None }
    }
}

/// A write with everything that deciding about it needs.
pub(super) struct Subject<'a> {
    call: &'a Call<'a>,
    cluster: &'a Arc<Cluster>,
    review: &'a Review<'a>,
    namespace: OnceCell<Value>,
    versions: OnceCell<Vec<Arc<Kind>>>,
}

/// What a policy's expressions read.
pub(super) struct Facts {
    pub(super) object: Value,
    pub(super) old: Value,
    pub(super) request: Value,
    pub(super) namespace: Value,
    /// What `authorizer.requestResource` asks about.
    pub(super) question: Question,
}

impl<'a> Subject<'a> {
    pub(super) fn new(call: &'a Call<'_>, cluster: &'a Arc<Cluster>, review: &'a Review<'a>) -> Self {
        Self { call, cluster, review, namespace: OnceCell::new(), versions: OnceCell::new() }
    }

    pub(super) fn named(&self) -> Named<'_> {
        let is_namespace = self.call.kind.is("", "namespaces");
        Named {
            operation: self.review.operation.as_str(),
            subresource: &self.call.path.subresource,
            name: self.review.name,
            namespaced: !is_namespace && !self.call.path.namespace.is_empty(),
        }
    }

    /// The kind in every version that it is served in, that of the request first.
    pub(super) fn versions(&self) -> &[Arc<Kind>] {
        self.versions.get_or_init(|| {
            let mut kinds = vec![Arc::clone(&self.call.kind)];
            kinds.extend(self.call.registry.versions_of(&self.call.kind));
            kinds
        })
    }

    /// Whether labels of the object, before or after, are as wanted. What has no object has no labels.
    pub(super) fn labels_match(&self, selector: &fleet_json::LabelSelector) -> bool {
        let objects = [self.review.object, self.review.old];
        objects.into_iter().flatten().any(|object| selector.matches_value(object.meta("labels")))
    }

    /// Whether the namespace's labels are as wanted. What lies in none is always meant.
    pub(super) fn namespace_matches(&self, selector: &fleet_json::LabelSelector) -> bool {
        if self.call.kind.is("", "namespaces") {
            let object = self.review.object.or(self.review.old);
            return selector.matches_value(object.and_then(|object| object.meta("labels")));
        }
        self.call.path.namespace.is_empty() || selector.matches_value(self.namespace().meta("labels"))
    }

    /// The namespace's name; that of a Namespace is its own.
    pub(super) fn namespace_name(&self) -> &str {
        if self.call.kind.is("", "namespaces") { self.review.name } else { &self.call.path.namespace }
    }

    /// The Namespace that the object is in; null where it is in none.
    fn namespace(&self) -> &Value {
        self.namespace.get_or_init(|| {
            if self.call.path.namespace.is_empty() {
                return Value::Null;
            }
            let key = Key {
                cluster: Arc::clone(&self.cluster.name),
                resource: "namespaces".into(),
                namespace: Arc::default(),
                name: self.call.path.namespace.as_str().into(),
            };
            let entry = self.call.server.store.get(&key);
            entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()).map_or(Value::Null, shown)
        })
    }

    /// What expressions read, with the object in the version that was matched.
    pub(super) fn facts(&self, kind: &Kind) -> Facts {
        let version = |object: Option<&Value>| match object {
            None => Value::Null,
            Some(object) => {
                let mut object = shown(object.clone());
                if self.review.form.is_none() {
                    convert::from_stored(kind, &mut object);
                }
                object
            }
        };
        Facts {
            object: version(self.review.object),
            old: version(self.review.old),
            request: self.request(kind),
            namespace: self.namespace().clone(),
            question: Question {
                group: kind.group().to_owned(),
                resource: kind.plural.clone(),
                subresource: self.call.path.subresource.clone(),
                namespace: self.namespace_name().to_owned(),
                name: self.review.name.to_owned(),
                ..Question::default()
            },
        }
    }

    /// The request, as `request` shows it: what is empty isn't there.
    fn request(&self, kind: &Kind) -> Value {
        let (call, review) = (self.call, self.review);
        let form = |of: &Kind| match review.form {
            Some((api_version, kind)) => {
                let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
                json!({"group": group, "version": version, "kind": kind})
            }
            None => json!({"group": of.group(), "version": of.gvk.version, "kind": of.kind()}),
        };
        let resource =
            |of: &Kind| json!({"group": of.group(), "version": of.gvk.version, "resource": of.plural});
        let dry_run = call.query.dry_run().unwrap_or_default();
        let mut request = json!({
            "kind": form(kind),
            "resource": resource(kind),
            "requestKind": form(&call.kind),
            "requestResource": resource(&call.kind),
            "operation": review.operation.as_str(),
            "userInfo": self.user(),
            "dryRun": dry_run,
            "options": self.options(dry_run),
        });
        let sub = call.path.subresource.as_str();
        let texts = [
            ("name", review.name),
            ("namespace", self.namespace_name()),
            ("subResource", sub),
            ("requestSubResource", sub),
        ];
        if let Some(fields) = request.as_object_mut() {
            for (name, value) in texts.into_iter().filter(|(_, value)| !value.is_empty()) {
                fields.insert(name.to_owned(), json!(value));
            }
        }
        request
    }

    fn user(&self) -> Value {
        let identity = &self.call.identity;
        let mut user = json!({"username": identity.user, "groups": identity.groups});
        if let Some(fields) = user.as_object_mut() {
            if !identity.uid.is_empty() {
                fields.insert("uid".to_owned(), json!(identity.uid));
            }
            if !identity.extra.is_empty() {
                fields.insert("extra".to_owned(), json!(identity.extra));
            }
        }
        user
    }

    fn options(&self, dry_run: bool) -> Value {
        let operation = self.review.operation;
        let mut options = Map::new();
        if operation == Operation::Delete
            && let Ok(Value::Object(said)) = serde_json::from_slice(&self.call.body)
        {
            options = said;
        }
        options.insert("kind".into(), operation.options().into());
        options.insert("apiVersion".into(), "meta.k8s.io/v1".into());
        if operation != Operation::Delete
            && let Ok(manager) = self.call.field_manager()
        {
            options.insert("fieldManager".into(), manager.into());
        }
        if dry_run {
            options.insert("dryRun".into(), json!(["All"]));
        }
        Value::Object(options)
    }
}

/// An object without who owns which of its fields, which would cost more to read than all the rest.
fn shown(mut object: Value) -> Value {
    object.take_meta("managedFields");
    object
}
