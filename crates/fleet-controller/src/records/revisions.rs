//! Revisions on the hub: immutable, in parts where they are long, in Secrets where they hold a Secret's values.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_api::application_revision::ApplicationRevisionSpec;
use fleet_api::{Application, ApplicationRevision, Packed, RevisionContent, names};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};

use super::{RecordError, label};
use crate::context::Context;
use crate::records::revision::Loaded;

/// The longest packed text in one object: etcd takes 1.5 MiB a request by default, a Secret 1 MiB.
const PART_LIMIT: usize = 1000 * 1024;
/// The type of content that stands in the Secret of the same name.
const IN_SECRET: &str = "secret";
/// The type of such Secrets.
const SECRET_TYPE: &str = "fleetctl.dev/revision";
/// The key in them.
const SECRET_KEY: &str = "content";
/// How often a name that an older Application of the same name still holds is asked for.
const TRIES: u32 = 5;

/// Reads a revision with all its parts.
pub(crate) async fn read_revision(
    client: &kube::Client,
    namespace: &str,
    name: &str,
) -> Result<Arc<Loaded>, RecordError> {
    let api: Api<ApplicationRevision> = Api::namespaced(client.clone(), namespace);
    let first = api.get(name).await?;
    let mut packed = part(client, namespace, &first).await?;
    for index in 2..=first.spec.parts {
        let next = api.get(&part_name(name, index)).await?;
        packed.data.push_str(&part(client, namespace, &next).await?.data);
    }
    let content: RevisionContent = packed.unpack()?;
    Ok(Arc::new(Loaded::new(name, &first.spec.hash, content)?))
}

fn part_name(name: &str, index: u32) -> String {
    if index <= 1 { name.to_owned() } else { format!("{name}-part-{index}") }
}

/// What one object holds, or the Secret beside it.
async fn part(
    client: &kube::Client,
    namespace: &str,
    revision: &ApplicationRevision,
) -> Result<Packed, RecordError> {
    if revision.spec.content.type_ != IN_SECRET {
        return Ok(revision.spec.content.clone());
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = secrets.get(&revision.name_any()).await?;
    let held = secret.data.unwrap_or_default().remove(SECRET_KEY).unwrap_or_default();
    let data = String::from_utf8_lossy(&held.0).into_owned();
    Ok(Packed { type_: "deflate".to_owned(), data })
}

/// Records a revision, unless it is there: its name is its content.
pub(crate) async fn create_revision(
    ctx: &Context,
    app: &Application,
    new: &Loaded,
) -> Result<(), RecordError> {
    let namespace = app.namespace().unwrap_or_default();
    let packed = Packed::pack(&new.content)?;
    let chunks: Vec<&str> = packed
        .data
        .as_bytes()
        .chunks(PART_LIMIT)
        // Base64 is ASCII, so any cut is between characters.
        .filter_map(|chunk| std::str::from_utf8(chunk).ok())
        .collect();
    let parts = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    let secret = holds_secret(&new.content);
    // The first part is written last: where it is, the others are.
    for (index, chunk) in chunks.iter().enumerate().rev() {
        let name = part_name(&new.name, u32::try_from(index + 1).unwrap_or(u32::MAX));
        let content = if secret {
            let mut holder = Secret {
                type_: Some(SECRET_TYPE.to_owned()),
                data: Some(BTreeMap::from([(SECRET_KEY.to_owned(), ByteString(chunk.as_bytes().to_vec()))])),
                ..Secret::default()
            };
            holder.metadata.name = Some(name.clone());
            label(&mut holder, app);
            create(&Api::namespaced(ctx.hub.client.clone(), &namespace), app, &holder).await?;
            Packed { type_: IN_SECRET.to_owned(), data: String::new() }
        } else {
            Packed { type_: packed.type_.clone(), data: (*chunk).to_owned() }
        };
        let spec = ApplicationRevisionSpec {
            application_name: app.name_any(),
            hash: new.hash.clone(),
            content,
            parts,
        };
        let mut revision = ApplicationRevision::new(&name, spec);
        label(&mut revision, app);
        revision.labels_mut().insert(names::REVISION_HASH.to_owned(), new.hash.clone());
        create(&Api::namespaced(ctx.hub.client.clone(), &namespace), app, &revision).await?;
    }
    Ok(())
}

/// Whether somebody who reads revisions would read a Secret's values there.
fn holds_secret(content: &RevisionContent) -> bool {
    // What differs on single clusters is among them, too: it differs from one of these.
    let mut objects = content.steps.iter().flat_map(|step| &step.objects).map(|(_, object)| object);
    objects.any(|object| object.get("kind").is_some_and(|kind| kind == "Secret"))
}

/// Creates an object whose name is its content. One that an older Application of the same name left goes first:
/// the hub's garbage collector would take it away later, under our feet.
async fn create<K>(api: &Api<K>, app: &Application, object: &K) -> Result<(), RecordError>
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + serde::Serialize,
{
    let mut tries = 0;
    loop {
        let refusal = match api.create(&PostParams::default(), object).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => status,
            Err(error) => return Err(error.into()),
        };
        let Some(there) = api.get_opt(&object.name_any()).await? else { continue };
        let ours = there.owner_references().iter().any(|owner| Some(&owner.uid) == app.uid().as_ref());
        if ours && there.meta().deletion_timestamp.is_none() {
            return Ok(());
        }
        tries += 1;
        if tries > TRIES {
            return Err(kube::Error::Api(refusal).into());
        }
        forget(api, &there).await?;
    }
}

async fn forget<K>(api: &Api<K>, there: &K) -> Result<(), RecordError>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let preconditions = Preconditions { uid: there.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(&there.name_any(), &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes a revision away with all that belongs to it. What can't be deleted now stays.
pub(crate) async fn forget_revision(ctx: &Context, namespace: &str, name: &str) {
    let api: Api<ApplicationRevision> = Api::namespaced(ctx.hub.client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(ctx.hub.client.clone(), namespace);
    let first = match api.get_opt(name).await {
        Ok(Some(first)) => first,
        Ok(None) => return,
        Err(error) => return tracing::debug!(%error, revision = name, "an old revision stays"),
    };
    for index in 1..=first.spec.parts {
        let part = part_name(name, index);
        if first.spec.content.type_ == IN_SECRET
            && let Err(error) = secrets.delete(&part, &DeleteParams::default()).await
        {
            tracing::debug!(%error, secret = part, "an old revision's Secret stays");
        }
        if let Err(error) = api.delete(&part, &DeleteParams::default()).await {
            tracing::debug!(%error, revision = part, "an old revision stays");
        }
    }
}
