//! The known name that a misspelt one probably means.

/// The name in `known` that is most like `name`, if any is like it: at most a third of its letters differ.
#[must_use]
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let wanted = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            let length = wanted.chars().count().max(candidate.chars().count());
            *distance <= (length / 3).max(1)
        })
        .min()
        .map(|(_, candidate)| candidate)
}
