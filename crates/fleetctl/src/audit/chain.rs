//! A record as it stands on the hub, in several objects, and as it is exported: JSON lines, its end before its entries.

use std::path::Path;

use fleet_api::{AuditEntry, AuditHead, AuditLog, verify_chain};
use kube::ResourceExt as _;
use kube::api::Api;
use serde::{Deserialize, Serialize};

use crate::application::{Place, of_application};
use crate::exit::{Failure, Outcome};

/// The whole record of an Application.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(super) namespace: String,
    pub(super) application: String,
    pub(super) head: AuditHead,
    pub(super) entries: Vec<AuditEntry>,
}

/// The first line of an export.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Header {
    namespace: String,
    application: String,
    head: AuditHead,
}

impl Chain {
    /// Reads it from the hub.
    ///
    /// # Errors
    /// Nothing is on record, or it can't be read.
    pub(super) async fn of(place: &Place) -> Outcome<Self> {
        Self::find(place).await?.ok_or_else(|| Self::missing(place))
    }

    /// Reads it from the hub; nothing where nothing is on record.
    pub(super) async fn find(place: &Place) -> Outcome<Option<Self>> {
        let api: Api<AuditLog> = Api::namespaced(place.hub.client.clone(), &place.namespace);
        let doing = format!("the record of {}/{}", place.namespace, place.name);
        let listed = place.hub.ask(&doing, api.list(&of_application(&place.name))).await;
        let segments = listed.map_err(|failure| place.hub.no_hub(failure))?.items;
        Ok(Self::from_segments(&place.namespace, &place.name, segments))
    }

    /// What is said where nothing is on record.
    pub(super) fn missing(place: &Place) -> Failure {
        Failure::not_found(format!(
            "nothing is on record of Application {} in namespace {}; a run writes at its first gate or its end",
            place.name, place.namespace
        ))
    }

    /// The record of an Application of which nothing is on record.
    pub(super) fn empty(place: &Place) -> Self {
        Self {
            namespace: place.namespace.clone(),
            application: place.name.clone(),
            head: AuditHead::default(),
            entries: Vec::new(),
        }
    }

    /// Puts it together from the objects that hold it; nothing where none does.
    pub(crate) fn from_segments(
        namespace: &str,
        application: &str,
        mut segments: Vec<AuditLog>,
    ) -> Option<Self> {
        segments.retain(|log| log.spec.application == application);
        segments.sort_by_key(|log| (log.spec.segment, log.name_any()));
        let head = segments.last()?.spec.head.clone();
        Some(Self {
            namespace: namespace.to_owned(),
            application: application.to_owned(),
            head,
            entries: segments.into_iter().flat_map(|log| log.spec.entries).collect(),
        })
    }

    /// What else on the hub remembers as the end of the record: the Application and its Runs, as far as they are there.
    pub(super) async fn remembered(place: &Place) -> Outcome<Vec<(String, AuditHead)>> {
        let doing = format!("what remembers the record of {}/{}", place.namespace, place.name);
        let app = place.hub.ask(&doing, place.applications().get_opt(&place.name)).await?;
        let shown = app.and_then(|app| app.status?.record);
        let runs = place.hub.ask(&doing, place.runs().list(&of_application(&place.name))).await?.items;
        let runs = runs.into_iter().filter(|run| run.spec.application == place.name);
        let runs = runs.filter_map(|run| Some((format!("Run {}", run.name_any()), run.spec.record?)));
        Ok(shown.map(|head| (format!("Application {}", place.name), head)).into_iter().chain(runs).collect())
    }

    /// What it is.
    pub(super) fn about(&self) -> String {
        format!("the record of {}/{}", self.namespace, self.application)
    }

    /// Whether each entry follows from the one before, up to the end that it names.
    ///
    /// # Errors
    /// In words: where it doesn't.
    pub(crate) fn check(&self) -> Result<(), String> {
        let end = verify_chain(&self.entries).map_err(|error| error.to_string())?;
        if (end.sequence, &end.hash) != (self.head.sequence, &self.head.hash) {
            return Err(format!(
                "it says that its end is entry {}, and its last entry is {}",
                self.head.sequence, end.sequence
            ));
        }
        Ok(())
    }

    /// Reads an export.
    pub(super) fn from_file(file: &Path) -> Outcome<Self> {
        let bytes = super::read(file)?;
        let text = String::from_utf8_lossy(&bytes);
        let no_export = |line: usize, error: &dyn std::fmt::Display| {
            Failure::usage(format!(
                "{}, line {line}: {error}; an export is made with: fleetctl audit export APP",
                file.display()
            ))
        };
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (_, first) = lines.next().ok_or_else(|| no_export(1, &"it is empty"))?;
        let header: Header = serde_json::from_str(first).map_err(|error| no_export(1, &error))?;
        let mut entries = Vec::new();
        for (at, line) in lines {
            entries.push(serde_json::from_str(line).map_err(|error| no_export(at + 1, &error))?);
        }
        let Header { namespace, application, head } = header;
        Ok(Self { namespace, application, head, entries })
    }

    /// Writes an export.
    pub(super) fn to_lines(&self) -> Outcome<String> {
        let header = Header {
            namespace: self.namespace.clone(),
            application: self.application.clone(),
            head: self.head.clone(),
        };
        let failed =
            |error: serde_json::Error| Failure::failed(format!("the record can't be written: {error}"));
        let mut text = serde_json::to_string(&header).map_err(failed)?;
        text.push('\n');
        for entry in &self.entries {
            text.push_str(&serde_json::to_string(entry).map_err(failed)?);
            text.push('\n');
        }
        Ok(text)
    }
}
