//! Manifests from files, folders and standard input.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fleet_api::crds;
use fleet_schema::builtin;
use serde_json::Value;

use crate::exit::{Failure, Outcome};

/// Files in folders that are manifests.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// How deep folders are looked through.
const DEEPEST: usize = 32;
/// The largest file.
const LONGEST: u64 = 64 * 1024 * 1024;

/// Reads everything; objects without a namespace get this one.
///
/// # Errors
/// The first file that isn't there or can't be read, by place.
pub(super) async fn read(files: &[PathBuf], recursive: bool, namespace: &str) -> Outcome<Vec<Value>> {
    let (files, namespace) = (files.to_vec(), namespace.to_owned());
    // Standard input may take its time.
    let reading = tokio::task::spawn_blocking(move || {
        let kinds = Kinds::ours()?;
        let mut objects = Vec::new();
        for file in &files {
            for (place, text) in texts(file, recursive)? {
                parse(&place, &text, &namespace, &kinds, &mut objects)?;
            }
        }
        if objects.is_empty() {
            let places: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            return Err(Failure::usage(format!(
                "{}: there are no manifests; name files with Applications",
                places.join(", ")
            )));
        }
        Ok(objects)
    });
    reading.await.map_err(|error| Failure::failed(format!("reading files: {error}")))?
}

/// The texts of a file, of a folder's files in the order of their names, or of standard input.
fn texts(file: &Path, recursive: bool) -> Outcome<Vec<(String, String)>> {
    if file == Path::new("-") {
        let text = std::io::read_to_string(std::io::stdin());
        let text = text.map_err(|error| Failure::failed(format!("standard input: {error}")))?;
        return Ok(vec![("standard input".to_owned(), text)]);
    }
    let shown = file.display();
    let about = match std::fs::metadata(file) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::not_found(format!("{shown}: there is no such file or folder")));
        }
        Err(error) => return Err(Failure::failed(format!("{shown}: {error}"))),
    };
    let mut paths = Vec::new();
    if about.is_dir() {
        folder(file, recursive, 0, &mut paths)?;
        if paths.is_empty() {
            let advice = if recursive { "" } else { "; -R looks into the folders in it, too" };
            return Err(Failure::not_found(format!(
                "{shown}: there is no .yaml, .yml or .json in this folder{advice}"
            )));
        }
    } else {
        paths.push(file.to_owned());
    }
    paths.into_iter().map(|path| text(&path).map(|text| (path.display().to_string(), text))).collect()
}

fn text(path: &Path) -> Outcome<String> {
    let said = |why: String| Failure::failed(format!("{}: {why}", path.display()));
    let about = std::fs::metadata(path).map_err(|error| said(error.to_string()))?;
    if about.is_file() && about.len() > LONGEST {
        return Err(said(format!("it has {} bytes; a manifest has {LONGEST} at most", about.len())));
    }
    let bytes = std::fs::read(path).map_err(|error| said(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| said("it is no UTF-8 text; is it a manifest?".to_owned()))
}

fn folder(path: &Path, recursive: bool, depth: usize, found: &mut Vec<PathBuf>) -> Outcome {
    let said = |error: std::io::Error| Failure::failed(format!("{}: {error}", path.display()));
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(said)? {
        entries.push(entry.map_err(said)?.path());
    }
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            if recursive && depth < DEEPEST {
                folder(&entry, recursive, depth + 1, found)?;
            }
        } else if entry.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
            found.push(entry);
        }
    }
    Ok(())
}

/// Our kinds: group, versions, kind, and whether it has namespaces.
struct Kinds(Vec<(String, Vec<String>, String, bool)>);

impl Kinds {
    fn ours() -> Outcome<Self> {
        let all = crds::all().map_err(|error| Failure::failed(format!("our kinds: {error}")))?;
        let text = |value: &Value, at: &str| {
            value.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let kinds = all.iter().map(|definition| {
            let versions =
                definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
            (
                text(definition, "/spec/group"),
                versions.map(|version| text(version, "/name")).collect(),
                text(definition, "/spec/names/kind"),
                text(definition, "/spec/scope") == "Namespaced",
            )
        });
        Ok(Self(kinds.collect()))
    }

    /// Whether a kind has namespaces; nothing where it isn't known.
    ///
    /// # Errors
    /// Where its group is known and has no such kind.
    fn namespaced(&self, group: &str, version: &str, kind: &str) -> Result<Option<bool>, String> {
        let table = builtin();
        let known = table.kinds.iter().filter(|known| known.gvk.group == group);
        let known = known.map(|known| (known.gvk.version.clone(), known.gvk.kind.clone(), known.namespaced));
        let ours = self.0.iter().filter(|(ours, ..)| ours == group);
        let ours = ours.flat_map(|(_, versions, kind, namespaced)| {
            versions.iter().map(move |version| (version.clone(), kind.clone(), *namespaced))
        });
        let known: Vec<(String, String, bool)> = known.chain(ours).collect();
        let same: Vec<&(String, String, bool)> = known.iter().filter(|(_, known, _)| known == kind).collect();
        if let Some((.., namespaced)) = same.iter().find(|(known, ..)| known == version) {
            return Ok(Some(*namespaced));
        }
        let served = !group.is_empty() && known.is_empty();
        match same.first() {
            // A version of Kubernetes that is older or newer than this table: the members say whether they have it.
            Some((.., namespaced)) if !self.0.iter().any(|(ours, ..)| ours == group) => Ok(Some(*namespaced)),
            Some(_) => {
                let versions: BTreeSet<&str> = same.iter().map(|(version, ..)| version.as_str()).collect();
                let versions: Vec<String> =
                    versions.iter().map(|version| format!("{group}/{version}")).collect();
                Err(format!("apiVersion {group}/{version}: {kind} is of {}", versions.join(" or ")))
            }
            None if served => Ok(None),
            None => {
                let kinds: Vec<&str> = known.iter().map(|(_, kind, _)| kind.as_str()).collect();
                let group = if group.is_empty() { "the core group" } else { group };
                let advice = crate::nearest::advice(kind, &kinds, &format!("kinds of {group}"));
                Err(format!("{group} has no kind {kind:?}{advice}"))
            }
        }
    }
}

fn parse(place: &str, text: &str, namespace: &str, kinds: &Kinds, objects: &mut Vec<Value>) -> Outcome {
    let documents =
        crate::yaml::read_all(text).map_err(|error| Failure::failed(format!("{place}: {error}")))?;
    for (index, document) in documents.into_iter().enumerate() {
        let at = format!("{place}: document {}", index + 1);
        if document.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"))
            && let Some(Value::Array(items)) = document.get("items")
        {
            for (number, item) in items.iter().enumerate() {
                object(&format!("{at}: items[{number}]"), item.clone(), namespace, kinds, objects)?;
            }
            continue;
        }
        object(&at, document, namespace, kinds, objects)?;
    }
    Ok(())
}

fn object(at: &str, mut object: Value, namespace: &str, kinds: &Kinds, objects: &mut Vec<Value>) -> Outcome {
    let said = |why: String| Failure::failed(format!("{at}: {why}"));
    if !object.is_object() {
        return Err(said(
            "it is no object; a manifest is a map with apiVersion, kind and metadata".to_owned(),
        ));
    }
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    for (field, value) in [("apiVersion", &api_version), ("kind", &kind), ("metadata.name", &name)] {
        if value.is_empty() {
            return Err(said(format!("{field} is missing or no text; is it a manifest?")));
        }
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let namespaced =
        kinds.namespaced(group, version, &kind).map_err(|why| said(format!("{kind} {name}: {why}")))?;
    let own = text("/metadata/namespace");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        match namespaced {
            Some(false) => {
                metadata.remove("namespace");
            }
            _ if own.is_empty() => {
                metadata.insert("namespace".to_owned(), Value::from(namespace));
            }
            _ => {}
        }
    }
    objects.push(object);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Value>, String> {
        let mut objects = Vec::new();
        parse("a.yaml", text, "demo", &Kinds::ours().unwrap(), &mut objects)
            .map_err(|error| error.to_string())?;
        Ok(objects)
    }

    /// Broken: a mistake in a file is looked for by whoever wrote it, with no place to begin.
    #[test]
    fn mistakes_have_a_place() {
        let cases = [
            (
                "apiVersion: core.oam.dev/v1beta1\nkind: Aplication\nmetadata: { name: a }",
                "a.yaml: document 1: Aplication a: core.oam.dev has no kind \"Aplication\"; did you mean \"Application\"?",
            ),
            (
                "apiVersion: core.oam.dev/v1beta1\nkind: Policy\nmetadata: { name: a }",
                "Policy is of core.oam.dev/v1alpha1",
            ),
            ("a: 1\n---\n[1]", "a.yaml: document 1: apiVersion is missing"),
            ("[1]", "it is no object"),
            ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}", "metadata.name is missing"),
            ("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, name: b }", "a.yaml: "),
            ("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: [", "a.yaml: "),
        ];
        for (text, want) in cases {
            let said = parsed(text).unwrap_err();
            assert!(said.contains(want) && !said.contains('\n'), "{text}: {said}");
        }
        // Where the YAML itself is wrong, the line is told.
        let said = parsed("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: [").unwrap_err();
        assert!(said.contains("line") || said.contains(":4") || said.contains("4:"), "{said}");
    }

    /// Namespaces are filled in as kubectl does; lists are opened; kinds that nobody knows are let through.
    #[test]
    fn manifests_get_their_namespace() {
        let objects = parsed(
            "apiVersion: v1\nkind: List\nitems: [{ apiVersion: v1, kind: Namespace, metadata: { name: shop, namespace: x } },
             { apiVersion: apps/v1, kind: Deployment, metadata: { name: d } }]\n---\n
             { apiVersion: example.org/v1, kind: Widget, metadata: { name: w, namespace: other } }\n---\n
             { apiVersion: cluster.open-cluster-management.io/v1, kind: ManagedCluster, metadata: { name: m } }",
        )
        .unwrap();
        let namespaces: Vec<Option<&str>> = objects
            .iter()
            .map(|object| object.pointer("/metadata/namespace").and_then(Value::as_str))
            .collect();
        assert_eq!(namespaces, [None, Some("demo"), Some("other"), None]);
    }
}
