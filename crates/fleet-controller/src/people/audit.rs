//! The record of an Application: what happened and who decided, in a chain apart from the objects that it is about.
//!
//! ```text
//!  Run (written first) ──► happened::in_run ──► entries not on record ──► AuditLog, appended to
//! ```
//!
//! What is recorded follows from the Run alone, so a crash between the two writes loses nothing: the next turn finds
//! what is missing. Steps are recorded along with the next decision or the end of the run, so that a run of one step
//! costs one request.

mod happened;
mod signer;

use std::collections::BTreeSet;

use fleet_api::audit_log::{RECORD_LOST, SEGMENT_LIMIT};
use fleet_api::{Application, AuditEntry, AuditHead, AuditLog, AuditLogSpec, Run, names};
use fleet_json::ContentHash;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

pub use self::signer::{KeyError, Signer, check_public_key, verify_head};
use crate::context::Context;
use crate::turn::walk::Walk;

/// After what time a record that couldn't be written is tried again.
const AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// After what time a record that somebody else wrote is read anew.
const SOON: SignedDuration = SignedDuration::from_millis(50);
/// How often the record's last entry is tried before an Application goes.
const TRIES_AT_THE_END: usize = 3;
/// On a segment: the last Run of which everything is on record.
const COMPLETE: &str = "fleetctl.dev/audited-run";

/// What is known of an Application's record between turns.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// The end of the chain, once it was read.
    end: Option<End>,
    /// There was a chain before the first Run.
    continues: bool,
    /// The state of the Run that was looked at last, and what of that Run is on record.
    looked_at: Option<String>,
    run: String,
    known: BTreeSet<ContentHash>,
}

impl Audit {
    /// A Run before this one went on: what it has to say more is found when the record is read.
    pub(crate) fn look_again(&mut self) {
        self.end = None;
        self.continues = true;
        self.looked_at = None;
    }

    /// The end of the record, once it is known.
    pub(crate) fn head(&self) -> Option<AuditHead> {
        self.end.as_ref().map(|end| end.head.unsigned()).filter(|head| head.sequence > 0)
    }
}

#[derive(Debug, Default)]
struct End {
    /// 0 where there is no segment yet.
    segment: u32,
    entries: usize,
    head: AuditHead,
}

/// Records what the Run says and the record doesn't. Says when it is to be tried again; a record that can't be written
/// stops no rollout.
pub(crate) async fn keep(ctx: &Context, app: &Application, walk: &mut Walk) -> Timestamp {
    let Some(run) = &walk.run else { return Timestamp::MAX };
    if walk.audit.looked_at == run.metadata.resource_version {
        return Timestamp::MAX;
    }
    if walk.audit.run != run.name_any() {
        walk.audit.run = run.name_any();
        walk.audit.known.clear();
    }
    let mut missing = happened::in_run(run);
    missing.retain(|entry| !walk.audit.known.contains(&entry.key()));
    let version = run.metadata.resource_version.clone();
    if !missing.iter().any(happened::is_urgent) {
        walk.audit.looked_at = version;
        return Timestamp::MAX;
    }
    match append(ctx, app, walk, missing).await {
        Ok(()) => {
            walk.audit.looked_at = version;
            Timestamp::MAX
        }
        Err(error) => put_off(ctx, walk, &error),
    }
}

/// Records that an Application is gone.
pub(crate) async fn deleted(ctx: &Context, app: &Application, walk: &mut Walk, orphaned: usize) {
    let mut missing = walk.run.as_ref().map(happened::in_run).unwrap_or_default();
    missing.retain(|entry| !walk.audit.known.contains(&entry.key()));
    missing.push(AuditEntry {
        at: app.metadata.deletion_timestamp.as_ref().map_or_else(|| ctx.now(), |time| time.0),
        event: "ApplicationDeleted".to_owned(),
        about: walk.uid.clone(),
        message: match orphaned {
            0 => String::new(),
            some => format!("{some} objects stay on members, owned by nobody"),
        },
        ..AuditEntry::default()
    });
    // Nobody comes again: what hasn't been read since a restart, or was written by another replica, is read now.
    for _ in 0..TRIES_AT_THE_END {
        match append(ctx, app, walk, missing.clone()).await {
            Ok(()) => return,
            Err(error) => {
                put_off(ctx, walk, &error);
                if !is_raced(&error) {
                    return;
                }
            }
        }
    }
}

/// Whether the record isn't as it was thought to be.
fn is_raced(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(refusal) if matches!(refusal.code, 404 | 409 | 422))
}

fn put_off(ctx: &Context, walk: &mut Walk, error: &kube::Error) -> Timestamp {
    walk.audit.look_again();
    let raced = is_raced(error);
    if !raced {
        let (namespace, application) = (&walk.key.0, &walk.key.1);
        tracing::warn!(namespace, application, %error, "the record of an Application can't be written for now; may this account get, list, create and patch auditlogs.fleetctl.dev?");
    }
    ctx.now().checked_add(if raced { SOON } else { AGAIN }).unwrap_or(Timestamp::MAX)
}

async fn append(
    ctx: &Context,
    app: &Application,
    walk: &mut Walk,
    mut missing: Vec<AuditEntry>,
) -> Result<(), kube::Error> {
    let api: Api<AuditLog> = Api::namespaced(ctx.hub.client.clone(), &walk.key.0);
    let first = walk.run.as_ref().is_none_or(|run| run.spec.number == 1);
    let mut end = match walk.audit.end.take() {
        Some(end) => end,
        // Most have no record yet; where one is left of an Application of the same name, creating it anew fails.
        None if first && !walk.audit.continues && remembered(app, walk).is_none() => End::default(),
        None => {
            let found = read(ctx, walk, &api, &mut missing).await?;
            go_on(ctx, app, walk, found, &mut missing)
        }
    };
    for mut batch in batches(&end, missing) {
        if let Some(signer) = &ctx.options.audit_signer {
            signer.sign(&mut batch.head, &walk.key.0, &walk.key.1);
        }
        let known: Vec<ContentHash> = batch.entries.iter().map(AuditEntry::key).collect();
        let name = segment_name(walk, batch.segment);
        let (head, segment, entries) = (batch.head.clone(), batch.segment, batch.entries.len());
        if segment == end.segment {
            let patch = Patch::<AuditLog>::Json(patch(&end.head, batch));
            api.patch(&name, &PatchParams::default(), &patch).await?;
            end.entries += entries;
        } else {
            api.create(&PostParams::default(), &new_segment(walk, &name, batch)).await?;
            end.entries = entries;
        }
        (end.segment, end.head) = (segment, head);
        walk.audit.known.extend(known);
    }
    walk.audit.end = Some(end);
    Ok(())
}

/// What goes into one segment in one request.
#[derive(Debug)]
struct Batch {
    segment: u32,
    entries: Vec<AuditEntry>,
    head: AuditHead,
}

impl Batch {
    /// The last Run of which everything is on record with it.
    fn complete(&self) -> Option<&str> {
        let ended = self.entries.iter().rfind(|entry| entry.event == happened::RUN_ENDED)?;
        Some(&ended.run)
    }
}

/// Chains entries to an end, no more to a segment than it takes.
fn batches(end: &End, missing: Vec<AuditEntry>) -> Vec<Batch> {
    let room = if end.segment == 0 { 0 } else { SEGMENT_LIMIT.saturating_sub(end.entries) };
    let (mut segment, mut room, mut head) = (end.segment, room, end.head.clone());
    let mut all: Vec<Batch> = Vec::new();
    for entry in missing {
        if room == 0 {
            segment += 1;
            room = SEGMENT_LIMIT;
        }
        let entry = entry.chained(&head);
        head = entry.head();
        room -= 1;
        match all.last_mut().filter(|batch| batch.segment == segment) {
            Some(batch) => {
                batch.entries.push(entry);
                batch.head = head.clone();
            }
            None => all.push(Batch { segment, entries: vec![entry], head: head.clone() }),
        }
    }
    all
}

/// Reads the end of the chain, and takes what is there out of what is missing. What a Run before this one had to say and
/// nobody came to record is added.
async fn read(
    ctx: &Context,
    walk: &mut Walk,
    api: &Api<AuditLog>,
    missing: &mut Vec<AuditEntry>,
) -> Result<End, kube::Error> {
    let mine = format!("{}={}", names::APPLICATION, names::short_label(&walk.key.1));
    let listed = api.list_metadata(&ListParams::default().labels(&mine)).await?;
    let prefix = segment_prefix(walk);
    let number = |name: &str| name.strip_prefix(&prefix).and_then(|rest| rest.parse::<u32>().ok());
    let newest =
        listed.items.iter().filter_map(|log| Some((number(&log.name_any())?, log))).max_by_key(|(n, _)| *n);
    let Some((segment, newest)) = newest else {
        // Nothing could be written so far: all that happened is missing.
        missing.splice(0..0, runs_before(ctx, walk, "").await?.iter().flat_map(happened::in_run));
        return Ok(End::default());
    };
    let complete = newest.annotations().get(COMPLETE).cloned().unwrap_or_default();
    let log = api.get(&newest.name_any()).await?;
    let mut known: BTreeSet<ContentHash> = log.spec.entries.iter().map(AuditEntry::key).collect();
    // A run may have begun in the segment before.
    if segment > 1 && log.spec.entries.len() < SEGMENT_LIMIT / 2 {
        let before = api.get_opt(&segment_name(walk, segment - 1)).await?;
        known.extend(before.iter().flat_map(|log| &log.spec.entries).map(AuditEntry::key));
    }
    let before = runs_before(ctx, walk, &complete).await?;
    missing.splice(0..0, before.iter().flat_map(happened::in_run));
    missing.retain(|entry| !known.contains(&entry.key()));
    walk.audit.known.extend(known);
    Ok(End { segment, entries: log.spec.entries.len(), head: log.spec.head })
}

/// Where the record goes on: where it ends, unless it had a later end once. What was taken away can't be made again; the
/// numbers go on after it, so that the gap shows for ever, and the first entry behind it says what happened.
fn go_on(ctx: &Context, app: &Application, walk: &Walk, found: End, missing: &mut Vec<AuditEntry>) -> End {
    let Some(once) = remembered(app, walk) else { return found };
    if once.sequence <= found.head.sequence {
        return found;
    }
    let message = format!(
        "the record had {} entries, and ended with entry {} when this was written: what stood between was taken away by somebody who could",
        once.sequence, found.head.sequence
    );
    tracing::error!(namespace = walk.key.0, application = walk.key.1, "{message}");
    missing.insert(
        0,
        AuditEntry {
            at: ctx.now(),
            event: RECORD_LOST.to_owned(),
            about: once.hash.clone(),
            message,
            ..AuditEntry::default()
        },
    );
    // In a segment of its own: what is left of the others stays as it was found.
    End { segment: found.segment, entries: SEGMENT_LIMIT, head: once.unsigned() }
}

/// The newest end of the record that other objects remember.
fn remembered<'a>(app: &'a Application, walk: &'a Walk) -> Option<&'a AuditHead> {
    let run = walk.run.as_ref().and_then(|run| run.spec.record.as_ref());
    let shown = app.status.as_ref().and_then(|status| status.record.as_ref());
    run.into_iter().chain(shown).max_by_key(|head| head.sequence)
}

/// The Runs before the newest that aren't on record whole, the oldest first; those that are forgotten can't be asked.
async fn runs_before(ctx: &Context, walk: &Walk, complete: &str) -> Result<Vec<Run>, kube::Error> {
    let api: Api<Run> = Api::namespaced(ctx.hub.client.clone(), &walk.key.0);
    let mut found = Vec::new();
    let newest = walk.run.as_ref().map(|run| (run.name_any(), run.spec.number));
    for name in newest.into_iter().flat_map(|(name, number)| names_before(&name, number, complete)) {
        let Some(run) = api.get_opt(&name).await? else { break };
        found.push(run);
    }
    found.reverse();
    Ok(found)
}

/// How the Runs before one are called, the newest first, down to the last that is on record whole.
fn names_before(name: &str, number: i64, complete: &str) -> Vec<String> {
    let Some(stem) = name.strip_suffix(&number.to_string()).filter(|_| name != complete) else {
        return Vec::new();
    };
    let before = (1..number).rev().map(|number| format!("{stem}{number}"));
    before.take_while(|name| name != complete).collect()
}

fn segment_prefix(walk: &Walk) -> String {
    names::derived_name(&walk.key.1, &format!("{}-", walk.owner))
}

fn segment_name(walk: &Walk, segment: u32) -> String {
    format!("{}{segment}", segment_prefix(walk))
}

fn new_segment(walk: &Walk, name: &str, batch: Batch) -> AuditLog {
    let application = walk.key.1.clone();
    let label = names::short_label(&application);
    let complete = batch.complete().unwrap_or_default().to_owned();
    let spec = AuditLogSpec { application, segment: batch.segment, entries: batch.entries, head: batch.head };
    let mut log = AuditLog::new(name, spec);
    log.labels_mut().insert(names::APPLICATION.to_owned(), label);
    log.annotations_mut().insert(COMPLETE.to_owned(), complete);
    log
}

/// Appends only to the end that was seen: whoever came first is read, and nothing is recorded twice.
fn patch(before: &AuditHead, batch: Batch) -> json_patch::Patch {
    let mut steps = vec![json!({ "op": "test", "path": "/spec/head/hash", "value": before.hash })];
    if let Some(run) = batch.complete() {
        let path = format!("/metadata/annotations/{}", COMPLETE.replace('/', "~1"));
        steps.push(json!({ "op": "add", "path": path, "value": run }));
    }
    let added = batch.entries.into_iter();
    steps.extend(added.map(|entry| json!({ "op": "add", "path": "/spec/entries/-", "value": entry })));
    steps.push(json!({ "op": "add", "path": "/spec/head", "value": batch.head }));
    serde_json::from_value(json!(steps)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicas::{Duty, Shares};
    use fleet_api::verify_chain;

    /// Broken: where the record couldn't be written during a run, what happened in it is on record nowhere once the next
    /// run has begun.
    #[test]
    fn what_could_not_be_written_is_made_up_for() {
        assert_eq!(names_before("web-1a2b-3", 3, ""), ["web-1a2b-2", "web-1a2b-1"]);
        assert_eq!(names_before("web-1a2b-3", 3, "web-1a2b-1"), ["web-1a2b-2"]);
        assert!(names_before("web-1a2b-3", 3, "web-1a2b-2").is_empty());
        assert!(names_before("web-1a2b-3", 3, "web-1a2b-3").is_empty());
        assert!(names_before("web-1a2b-1", 1, "").is_empty());
    }

    fn happened(count: usize) -> Vec<AuditEntry> {
        let entry = |n: usize| AuditEntry {
            event: "StepStarted".to_owned(),
            step: n.to_string(),
            ..AuditEntry::default()
        };
        (0..count).map(entry).collect()
    }

    // Broken: two that append to one end both succeed, and the chain is none any more.
    #[test]
    fn only_the_end_that_was_seen_is_continued() {
        let first = batches(&End::default(), happened(2)).remove(0);
        let end = End { segment: 1, entries: 2, head: first.head.clone() };
        let hold = Shares::alone().hold(&Duty::Application("demo".to_owned(), "web".to_owned())).unwrap();
        let walk = Walk::new(&Application::new("web", Default::default()), "hub", hold);
        let segment = new_segment(&walk, "web-1", first);
        let mut document = serde_json::to_value(&segment).unwrap();
        let append = || patch(&end.head, batches(&end, happened(1)).remove(0));
        json_patch::patch(&mut document, &append()).unwrap();
        json_patch::patch(&mut document, &append()).unwrap_err();
        let log: AuditLog = serde_json::from_value(document).unwrap();
        assert_eq!(verify_chain(&log.spec.entries).unwrap(), log.spec.head);
        assert_eq!(log.spec.entries.len(), 3);
    }

    /// A segment that grows without end can't be written any more one day, and then nothing is on record.
    #[test]
    fn a_full_segment_is_followed_by_another() {
        let fresh = batches(&End::default(), happened(SEGMENT_LIMIT * 2 + 1));
        let sizes: Vec<(u32, usize)> = fresh.iter().map(|b| (b.segment, b.entries.len())).collect();
        assert_eq!(sizes, [(1, SEGMENT_LIMIT), (2, SEGMENT_LIMIT), (3, 1)]);
        let last = fresh.last().unwrap();
        let end = End { segment: 3, entries: SEGMENT_LIMIT - 1, head: last.head.clone() };
        let more = batches(&end, happened(3));
        let sizes: Vec<(u32, usize)> = more.iter().map(|b| (b.segment, b.entries.len())).collect();
        assert_eq!(sizes, [(3, 1), (4, 2)]);
        let all = fresh.iter().chain(&more).flat_map(|batch| &batch.entries);
        assert_eq!(verify_chain(all).unwrap(), more.last().unwrap().head);
    }
}
