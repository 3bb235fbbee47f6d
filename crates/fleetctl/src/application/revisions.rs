//! Revisions as people name them: by name, by hash, or by a run that delivered them.

use std::sync::Arc;

use fleet_api::{ApplicationRevision, Run, names};
use fleet_controller::{Loaded, read_revision, rollback};
use kube::ResourceExt as _;
use kube::api::Api;

use super::{Place, of_application};
use crate::exit::{Failure, Outcome};

/// The shortest beginning of a hash that is taken for it.
const SHORTEST_HASH: usize = 6;

/// What is kept of an Application: its runs, the oldest first, and the names of its revisions.
pub(crate) struct Kept {
    pub(crate) runs: Vec<Run>,
    names: Vec<String>,
}

impl Kept {
    /// Reads it from the hub. Runs of an Application of the same name that is gone don't count, where `uid` is given.
    pub(crate) async fn of(place: &Place, uid: Option<&str>) -> Outcome<Self> {
        let mine = of_application(&place.name);
        let runs = place.hub.ask("the list of Runs", place.runs().list(&mine)).await;
        let mut runs = runs.map_err(|failure| place.hub.no_hub(failure))?.items;
        runs.retain(|run| {
            run.spec.application == place.name && uid.is_none_or(|uid| run.spec.application_uid == uid)
        });
        runs.sort_by_key(|run| run.spec.number);
        let api: Api<ApplicationRevision> = Api::namespaced(place.hub.client.clone(), &place.namespace);
        let listed = place.hub.ask("the list of ApplicationRevisions", api.list_metadata(&mine)).await?;
        let mut names: Vec<String> = listed
            .items
            .iter()
            .filter_map(|part| part.labels().get(names::REVISION_HASH))
            .map(|hash| names::derived_name(&place.name, hash))
            .collect();
        names.sort();
        names.dedup();
        Ok(Self { runs, names })
    }

    /// The newest run.
    pub(crate) fn newest(&self) -> Option<&Run> {
        self.runs.last()
    }

    /// The name of the revision that somebody means.
    pub(crate) fn named(&self, place: &Place, said: &str) -> Outcome<String> {
        let is_number = said.len() < SHORTEST_HASH && said.chars().all(|c| c.is_ascii_digit());
        if let Some(number) = said.parse::<i64>().ok().filter(|_| is_number) {
            let run = self.runs.iter().find(|run| run.spec.number == number);
            let known = run.map(|run| run.spec.revision.clone());
            let known = known.ok_or_else(|| {
                let numbers: Vec<String> = self.runs.iter().map(|run| run.spec.number.to_string()).collect();
                Failure::not_found(format!(
                    "run {number} of {} isn't kept; kept are: {}; look at them: {}",
                    place.name,
                    if numbers.is_empty() { "none".to_owned() } else { numbers.join(", ") },
                    place.command("history")
                ))
            })?;
            return if self.names.contains(&known) { Ok(known) } else { Err(self.gone(place, &known)) };
        }
        if self.names.iter().any(|name| name == said) {
            return Ok(said.to_owned());
        }
        let prefix = format!("{}-", place.name);
        let hash = said.strip_prefix(&prefix).unwrap_or(said);
        let begins = |name: &&String| name.strip_prefix(&prefix).is_some_and(|known| known.starts_with(hash));
        let found: Vec<&String> = self.names.iter().filter(begins).collect();
        match found.as_slice() {
            [only] if hash.len() >= SHORTEST_HASH => Ok((*only).clone()),
            [] => Err(self.gone(place, said)),
            several => {
                let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                Err(Failure::refused(format!(
                    "{said:?} doesn't say which revision: give {SHORTEST_HASH} digits of its hash or more, as many as tell it from others: {}",
                    names.join(", ")
                )))
            }
        }
    }

    fn gone(&self, place: &Place, said: &str) -> Failure {
        let advice = crate::nearest::advice(said, &self.names, "revisions");
        Failure::not_found(format!(
            "{} has no revision {said:?} any more{advice}; look at its runs: {}",
            place.name,
            place.command("history")
        ))
    }

    /// `web-abc (run 3, failed)`
    pub(crate) fn described(&self, revision: &str) -> String {
        match rollback::run_of(&self.runs, revision) {
            None => format!("{revision} (no run of it is kept)"),
            Some(run) => {
                let phase = super::phase_of(run).as_str();
                format!("{revision} (run {}, {phase})", run.spec.number)
            }
        }
    }
}

/// A revision with all its parts.
pub(crate) async fn read(place: &Place, name: &str) -> Outcome<Arc<Loaded>> {
    read_revision(&place.hub.client, &place.namespace, name)
        .await
        .map_err(|said| Failure::failed(format!("revision {name} can't be read: {said}")))
}
