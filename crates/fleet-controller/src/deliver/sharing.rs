//! The first delivery of an object that Applications share.

use fleet_members::{Acting, Live};
use fleet_plan::{Desired, Entry, Standing, sharing};
use serde_json::json;

use super::{Job, Refusal, ours_or_free};

/// How often it is looked at again when others are faster.
pub(super) const TRIES: u32 = 5;

/// What has become of it.
pub(super) enum Entered {
    /// It is ours to write; as it stands there.
    Owns(Option<Live>),
    /// Another owns it, and our label is on it.
    Shares,
}

/// Finds out whose an object is, and joins its sharers where another owns it and shares it.
pub(super) async fn enter(
    member: &Acting,
    job: &Job,
    object: &Desired,
    take_over: bool,
) -> Result<Entered, Refusal> {
    let id = &object.id;
    let mut tries = 0;
    loop {
        let live = member.metadata(id).await.map_err(|error| Refusal::of(id, &error))?;
        let Some(live) = live else { return Ok(Entered::Owns(None)) };
        match Standing::of(&live.labels).enter(&job.owner) {
            Entry::Owns | Entry::Free | Entry::Refused => {
                return ours_or_free(member, job, id, live, take_over).map(|live| Entered::Owns(Some(live)));
            }
            _ if live.deleting => {
                return ours_or_free(member, job, id, live, take_over).map(|live| Entered::Owns(Some(live)));
            }
            Entry::Shares => return Ok(Entered::Shares),
            Entry::Joins => {}
        }
        // With UID and resource version it can't make an object, nor join one that was passed or deleted meanwhile.
        let joining = json!({
            "apiVersion": id.api_version,
            "kind": id.kind,
            "metadata": {
                "name": id.name,
                "namespace": object.object.pointer("/metadata/namespace"),
                "uid": live.uid,
                "resourceVersion": live.resource_version,
                "labels": sharing::joining(&job.owner, &job.namespace, &job.application),
            },
        });
        tries += 1;
        match member.apply(id, &joining, &job.manager(), false).await {
            Ok(_) => return Ok(Entered::Shares),
            Err(error) if error.is_overtaken() && tries < TRIES => {}
            Err(error) => return Err(Refusal::of(id, &error)),
        }
    }
}
