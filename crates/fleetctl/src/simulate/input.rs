//! The files of a rehearsal: one Application, what it needs, and the members.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use fleet_api::names;
use serde_json::{Value, json};

use crate::embedded::MemberSpec;
use crate::exit::{Failure, Outcome};

/// Where the members of a rehearsal come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Files,
    Topologies,
    Invented,
}

/// A member, and what the files say of its ManagedCluster.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) spec: MemberSpec,
    /// Merged into its ManagedCluster.
    pub(super) said: Value,
}

/// What is rehearsed.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// In the order of applying; the Application is the last.
    pub(super) objects: Vec<Value>,
    pub(super) namespace: String,
    pub(super) application: String,
    pub(super) members: Vec<Member>,
    pub(super) origin: Origin,
}

impl Input {
    pub(super) fn read(files: &[PathBuf], namespace: &str) -> Outcome<Self> {
        let mut documents = Vec::new();
        for file in files {
            for (place, text) in texts(file)? {
                let read = crate::yaml::read_all(&text);
                let read = read.map_err(|cause| Failure::usage(format!("{place}: {cause}")))?;
                documents.extend(read.into_iter().map(|document| (place.clone(), document)));
            }
        }
        let mut objects = Vec::new();
        for (place, document) in documents {
            flatten(&place, document, &mut objects)?;
        }
        Self::of(objects, namespace)
    }

    fn of(objects: Vec<Value>, namespace: &str) -> Outcome<Self> {
        let is = |object: &Value, kind: &str, group: &str| {
            text(object, "/kind") == kind && text(object, "/apiVersion").split('/').next() == Some(group)
        };
        let is_cluster = |object: &Value| is(object, "ManagedCluster", "cluster.open-cluster-management.io");
        let is_app = |object: &Value| is(object, "Application", "core.oam.dev");
        let (clusters, objects): (Vec<_>, Vec<_>) = objects.into_iter().partition(is_cluster);
        let (apps, mut objects): (Vec<_>, Vec<_>) = objects.into_iter().partition(is_app);
        let app = match apps.as_slice() {
            [app] => app,
            [] => {
                return Err(Failure::usage(
                    "no Application is in the files; one is rehearsed at a time: name its file with -f",
                ));
            }
            several => {
                let names: Vec<&str> = several.iter().map(|app| text(app, "/metadata/name")).collect();
                return Err(Failure::usage(format!(
                    "{} Applications are in the files ({}); rehearse one at a time: leave the others out of -f",
                    several.len(),
                    names.join(", ")
                )));
            }
        };
        let own = text(app, "/metadata/namespace");
        let namespace = if own.is_empty() { namespace } else { own }.to_owned();
        let application = text(app, "/metadata/name").to_owned();
        let (members, origin) = members(&clusters, app, &objects);
        // What others refer to comes first.
        objects.sort_by_key(|object| match text(object, "/kind") {
            "Namespace" => 0,
            "CustomResourceDefinition" => 1,
            _ => 2,
        });
        objects.push(app.clone());
        for object in &mut objects {
            // Its owner has seen to it; whatever else was exported would be refused.
            for pointer in ["/metadata", ""] {
                if let Some(Value::Object(fields)) = object.pointer_mut(pointer) {
                    let unwanted: &[&str] = match pointer {
                        "" => &["status"],
                        _ => &["resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"],
                    };
                    unwanted.iter().for_each(|key| drop(fields.remove(*key)));
                }
            }
        }
        Ok(Self { objects, namespace, application, members, origin })
    }
}

/// A file, the files of a folder by name, or stdin; each with what it is called.
fn texts(path: &Path) -> Outcome<Vec<(String, String)>> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| unreadable(path, &error));
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Failure::failed(format!("stdin: {error}")))?;
        return Ok(vec![("stdin".to_owned(), text)]);
    }
    if !path.is_dir() {
        return Ok(vec![(path.display().to_string(), read(path)?)]);
    }
    let listed = std::fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
    let mut files: Vec<PathBuf> = listed.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.retain(|file| {
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        file.is_file() && matches!(ending, "yaml" | "yml" | "json")
    });
    files.sort();
    if files.is_empty() {
        return Err(Failure::not_found(format!("{}: no .yaml, .yml or .json file is in it", path.display())));
    }
    files.iter().map(|file| Ok((file.display().to_string(), read(file)?))).collect()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::not_found(format!("{}: there is no such file", path.display()))
        }
        _ => Failure::failed(format!("{}: {error}", path.display())),
    }
}

/// Takes a document, or the items of a list.
fn flatten(place: &str, document: Value, objects: &mut Vec<Value>) -> Outcome {
    let is_list = text(&document, "/kind").ends_with("List") && document.get("items").is_some();
    if let (true, Some(Value::Array(items))) = (is_list, document.get("items")) {
        return items.iter().try_for_each(|item| flatten(place, item.clone(), objects));
    }
    for field in ["/apiVersion", "/kind", "/metadata/name"] {
        if text(&document, field).is_empty() {
            let number = objects.len() + 1;
            return Err(Failure::usage(format!(
                "{place}: object {number} has no {}; it isn't a manifest",
                field.trim_start_matches('/').replace('/', ".")
            )));
        }
    }
    objects.push(document);
    Ok(())
}

fn members(clusters: &[Value], app: &Value, objects: &[Value]) -> (Vec<Member>, Origin) {
    if !clusters.is_empty() {
        let members = clusters.iter().map(|cluster| {
            let annotations = cluster.pointer("/metadata/annotations");
            let alias = annotations.and_then(|all| all.get(names::CLUSTER_ALIAS)).and_then(Value::as_str);
            let said = json!({
                "spec": cluster.get("spec").cloned().unwrap_or_else(|| json!({})),
                "metadata": {
                    "labels": cluster.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({})),
                    "annotations": annotations.cloned().unwrap_or_else(|| json!({})),
                },
            });
            Member { spec: member(text(cluster, "/metadata/name"), alias), said }
        });
        return (members.collect(), Origin::Files);
    }
    let inline = app.pointer("/spec/policies").and_then(Value::as_array).into_iter().flatten();
    let topologies = inline.chain(objects.iter().filter(|object| text(object, "/kind") == "Policy"));
    let topologies = topologies.filter(|policy| text(policy, "/type") == "topology");
    let mut named: Vec<String> = Vec::new();
    let mut labelled: BTreeSet<BTreeMap<String, String>> = BTreeSet::new();
    for policy in topologies {
        let clusters = policy.pointer("/properties/clusters").and_then(Value::as_array);
        for name in clusters.into_iter().flatten().filter_map(Value::as_str) {
            if name != names::LOCAL_CLUSTER && !named.iter().any(|known| known == name) {
                named.push(name.to_owned());
            }
        }
        let labels = policy.pointer("/properties/clusterLabelSelector").and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        let labels: BTreeMap<String, String> =
            labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
        if !labels.is_empty() {
            labelled.insert(labels);
        }
    }
    let numbered = |number: usize| format!("member-{number}");
    let mut members = Vec::new();
    for name in named {
        let spec = if is_label(&name) {
            member(&name, None)
        } else {
            member(&numbered(members.len() + 1), Some(&name))
        };
        members.push(Member { spec, said: json!({}) });
    }
    for labels in labelled {
        for _ in 0..2 {
            let spec = member(&numbered(members.len() + 1), None);
            members.push(Member { spec, said: json!({"metadata": {"labels": labels}}) });
        }
    }
    if !members.is_empty() {
        return (members, Origin::Topologies);
    }
    let members = (1..=3).map(|number| Member { spec: member(&numbered(number), None), said: json!({}) });
    (members.collect(), Origin::Invented)
}

fn member(name: &str, alias: Option<&str>) -> MemberSpec {
    MemberSpec { name: name.to_owned(), alias: alias.map(str::to_owned) }
}

fn is_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty()
        && name.len() <= 63
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(policies: Value) -> Value {
        json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application", "metadata": {"name": "web", "uid": "x"},
            "spec": {"components": [], "policies": policies}, "status": {}})
    }

    fn topology(properties: Value) -> Value {
        json!({"name": "where", "type": "topology", "properties": properties})
    }

    /// Broken: somebody rehearses on members that aren't theirs.
    #[test]
    fn members_are_those_of_the_files_then_those_that_are_named() {
        let names = |input: &Input| -> Vec<String> {
            input.members.iter().map(|member| member.spec.name.clone()).collect()
        };
        let cluster = json!({"apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
            "metadata": {"name": "mc-1", "labels": {"region": "north"}}});
        let named = app(json!([
            topology(json!({"clusters": ["east", "West 2"]})),
            topology(json!({"clusterLabelSelector": {"region": "north"}}))
        ]));
        let input = Input::of(vec![cluster, named.clone()], "default").unwrap();
        assert_eq!((names(&input), input.origin), (vec!["mc-1".to_owned()], Origin::Files));
        assert_eq!(input.members[0].said["metadata"]["labels"]["region"], "north");
        let input = Input::of(vec![named], "default").unwrap();
        assert_eq!(names(&input), ["east", "member-2", "member-3", "member-4"]);
        assert_eq!(input.members[1].spec.alias.as_deref(), Some("West 2"));
        assert_eq!(input.origin, Origin::Topologies);
        let input = Input::of(vec![app(json!([]))], "default").unwrap();
        assert_eq!((names(&input).len(), input.origin), (3, Origin::Invented));
        assert!(
            input.objects[0].pointer("/metadata/uid").is_none() && input.objects[0].get("status").is_none()
        );
    }

    #[test]
    fn one_application_is_rehearsed_at_a_time() {
        let none = Input::of(Vec::new(), "default").unwrap_err().to_string();
        assert!(none.contains("no Application"), "{none}");
        let two = Input::of(vec![app(json!([])), app(json!([]))], "default").unwrap_err().to_string();
        assert!(two.contains("2 Applications") && two.contains("web, web"), "{two}");
    }
}
