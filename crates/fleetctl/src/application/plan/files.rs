//! Manifests from files, folders and standard input.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fleet_api::crds;
use fleet_json::FieldPath;
use fleet_json::path::Segment;
use fleet_schema::{KindInfo, SchemaRef, builtin, crd, unknown_field_message, unknown_fields};
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

/// The kinds that are known here: Kubernetes' and ours, with their schemas.
struct Kinds {
    ours: Vec<KindInfo>,
}

impl Kinds {
    fn ours() -> Outcome<Self> {
        let wrong = |why: String| Failure::failed(format!("our kinds: {why}"));
        let mut ours = Vec::new();
        for mut definition in crds::all().map_err(|error| wrong(error.to_string()))? {
            crd::set_defaults(&mut definition);
            let read = crd::parse(&definition).map_err(|errors| {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                wrong(errors.join("; "))
            })?;
            ours.extend(read.kinds);
        }
        Ok(Self { ours })
    }

    fn of_group<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a KindInfo> {
        builtin().kinds.iter().chain(&self.ours).filter(move |known| known.gvk.group == group)
    }

    /// A kind; nothing where it isn't known, or in another version of Kubernetes than this table: members say
    /// whether they have it.
    ///
    /// # Errors
    /// Where its group is known and has no such kind, or not in this version.
    fn find<'a>(&'a self, group: &'a str, version: &str, kind: &str) -> Result<Option<&'a KindInfo>, String> {
        let same: Vec<&KindInfo> = self.of_group(group).filter(|known| known.gvk.kind == kind).collect();
        if let Some(known) = same.iter().find(|known| known.gvk.version == version) {
            return Ok(Some(known));
        }
        if let [first, ..] = same.as_slice() {
            if !first.custom {
                return Ok(Some(first));
            }
            let versions: BTreeSet<&str> = same.iter().map(|known| known.gvk.version.as_str()).collect();
            let versions: Vec<String> = versions.iter().map(|version| format!("{group}/{version}")).collect();
            return Err(format!("apiVersion {group}/{version}: {kind} is of {}", versions.join(" or ")));
        }
        let known: Vec<&str> = self.of_group(group).map(|known| known.gvk.kind.as_str()).collect();
        if !group.is_empty() && known.is_empty() {
            return Ok(None);
        }
        let group = if group.is_empty() { "the core group" } else { group };
        let advice = crate::nearest::advice(kind, &known, &format!("kinds of {group}"));
        Err(format!("{group} has no kind {kind:?}{advice}"))
    }
}

/// What a server says of fields of our kinds that it doesn't know, as `kubectl apply` asks it to. Kubernetes' own kinds may
/// have fields that are newer than this table.
///
/// # Errors
/// All such fields.
fn check_fields(kind: &KindInfo, object: &Value) -> Result<(), String> {
    let Some(schema) = kind.schema().filter(|_| kind.custom) else { return Ok(()) };
    let unknown: Vec<String> =
        unknown_fields(schema, object).iter().map(|path| unknown_field(schema, path)).collect();
    if unknown.is_empty() { Ok(()) } else { Err(unknown.join(", ")) }
}

fn unknown_field(schema: SchemaRef<'_>, path: &FieldPath) -> String {
    let said = unknown_field_message(path);
    let Some((Segment::Field(last), parents)) = path.segments().split_last() else { return said };
    let parent = parents.iter().try_fold(schema, |at, segment| match segment {
        Segment::Field(name) => at.property(name).or_else(|| at.additional()),
        _ => at.item(),
    });
    let known: Vec<&str> = parent
        .map(|parent| parent.node().properties.iter().map(|(name, _)| name.as_ref()).collect())
        .unwrap_or_default();
    format!("{said}{}", crate::nearest::advice(last, &known, "fields here"))
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
    let known = kinds.find(group, version, &kind).map_err(|why| said(format!("{kind} {name}: {why}")))?;
    if let Some(known) = known {
        check_fields(known, &object).map_err(|why| said(format!("{kind} {name}: {why}")))?;
    }
    let own = text("/metadata/namespace");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        match known.map(|known| known.namespaced) {
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
            (
                "apiVersion: core.oam.dev/v1alpha1\nkind: Workflow\nmetadata: { name: a }\nsteps: [{ type: deploy, dependOn: [x], retry: { limit: 2, foo: 1 } }]",
                "Workflow a: unknown field \"steps[0].dependOn\"; did you mean \"dependsOn\"?, unknown field \"steps[0].retry.foo\"; fields here: factor, interval, limit",
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
