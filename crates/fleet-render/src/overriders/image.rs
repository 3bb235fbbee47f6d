//! Changes of images.

use fleet_api::propagation::{ImageComponent, ImageOverrider, OverrideOperator};
use fleet_json::FieldPath;
use serde_json::Value;

use super::error::Fault;
use super::reference::{ImageReference, LONGEST, check_digest};
use super::{Notes, containers};

pub(super) fn check(own: &ImageOverrider) -> Result<(), Fault> {
    if let Some(predicate) = &own.predicate {
        super::patch::pointer(&predicate.path).map_err(|fault| fault.below(".predicate.path"))?;
    }
    match (own.operator, own.component) {
        (OverrideOperator::Remove, ImageComponent::Repository) => Err(Fault::invalid(
            ".operator",
            "an image without a repository is none; replace it, or remove the registry or the tag",
        )),
        (OverrideOperator::Remove, _) => Ok(()),
        _ if own.value.len() > LONGEST => {
            Err(Fault::invalid(".value", format!("has more than {LONGEST} characters; no image is as long")))
        }
        _ if own.value.is_empty() => {
            Err(Fault::invalid(".value", format!("required: the text to {}", own.operator)))
        }
        _ => Ok(()),
    }
}

/// Changes the image at the predicate's path, or those of all containers.
pub(super) fn apply(object: &mut Value, own: &ImageOverrider, notes: &mut Notes) -> Result<(), Fault> {
    check(own)?;
    let pointers = match &own.predicate {
        Some(predicate) => match object.pointer(&predicate.path) {
            Some(Value::String(_)) => vec![predicate.path.clone()],
            Some(_) => {
                return Err(Fault::new("PathNotFound", format!("{} holds no text", predicate.path))
                    .below(".predicate.path"));
            }
            None => return Err(super::patch::missing(object, &predicate.path).below(".predicate.path")),
        },
        None => {
            let all = containers::pointers(object);
            if all.is_empty() {
                notes.push((
                    "NoContainers",
                    "it has no containers where workloads have theirs; say where with predicate.path"
                        .to_owned(),
                ));
            }
            all.into_iter().map(|(pointer, _)| format!("{pointer}/image")).collect()
        }
    };
    for pointer in pointers {
        // Templates may leave images out; whoever fills them in comes later.
        let Some(Value::String(text)) = object.pointer_mut(&pointer) else { continue };
        let place = FieldPath::from_pointer(&pointer).unwrap_or_default();
        *text = changed(text, own, &place, notes)?;
    }
    Ok(())
}

fn changed(text: &str, own: &ImageOverrider, place: &FieldPath, notes: &mut Notes) -> Result<String, Fault> {
    let wrong = |message: String| Fault::new("InvalidImage", message);
    let before = ImageReference::parse(text).map_err(|error| {
        wrong(format!("{place}: {error}; mend it in the object, or in an override before this one"))
    })?;
    let mut image = before.clone();
    let joined = |old: Option<&str>| format!("{}{}", old.unwrap_or_default(), own.value);
    match (own.component, own.operator) {
        (ImageComponent::Registry, OverrideOperator::Add) => {
            image.registry = Some(joined(image.registry.as_deref()));
            if let (Some(old), true) =
                (&before.registry, own.value.contains('.') && !own.value.starts_with('.'))
            {
                let now = image.registry.as_deref().unwrap_or_default();
                notes.push((
                    "RegistryAppended",
                    format!("{place}: add puts the text behind the registry {old}, which makes {now}; use replace to set another registry"),
                ));
            }
        }
        (ImageComponent::Registry, OverrideOperator::Replace) => image.registry = Some(own.value.clone()),
        (ImageComponent::Registry, OverrideOperator::Remove) => image.registry = None,
        (ImageComponent::Repository, OverrideOperator::Add) => image.repository.push_str(&own.value),
        (ImageComponent::Repository, _) => image.repository.clone_from(&own.value),
        (ImageComponent::Tag, OverrideOperator::Add) if image.tag.is_none() && image.digest.is_some() => {
            notes.push((
                "NoTag",
                format!(
                    "{place}: {text} is pinned by its digest and has no tag to add to; use replace to set one"
                ),
            ));
        }
        (ImageComponent::Tag, OverrideOperator::Add) => {
            image.tag = Some(joined(image.tag.as_deref()));
            image.digest = None;
        }
        (ImageComponent::Tag, OverrideOperator::Replace) => {
            let digest = own.value.strip_prefix('@').unwrap_or(&own.value);
            (image.tag, image.digest) = if check_digest(digest).is_ok() {
                (None, Some(digest.to_owned()))
            } else {
                (Some(own.value.clone()), None)
            };
        }
        (ImageComponent::Tag, OverrideOperator::Remove) => (image.tag, image.digest) = (None, None),
    }
    let made = image.to_string();
    match ImageReference::parse(&made) {
        Ok(read) if read == image => {}
        // It is an image, but not of the parts that were meant.
        Ok(read) => {
            let registry = match &read.registry {
                Some(registry) => format!("{registry} is read as its registry"),
                None => {
                    "no part of it is read as a registry, which has a dot, a port or is localhost".to_owned()
                }
            };
            notes.push(("ReadOtherwise", format!("{place}: {text} becomes {made}; {registry}")));
        }
        Err(error) => {
            let message =
                format!("{place}: {text} would become {made:?}: {}; change the value", error.problem);
            return Err(wrong(message).below(".value"));
        }
    }
    if let (Some(lost), None) = (&before.digest, &image.digest) {
        notes.push((
            "DigestLost",
            format!("{place}: {text} was pinned by {lost}, and {made} isn't; replace the tag with a digest to pin it"),
        ));
    }
    Ok(made)
}
