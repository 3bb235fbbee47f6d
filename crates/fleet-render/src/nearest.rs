//! "Did you mean …?"

/// `; did you mean "x"?`, or the known names, or nothing: the end of a message about an unknown name.
pub(crate) fn advice<'n>(wanted: &str, known: impl IntoIterator<Item = &'n str>, what: &str) -> String {
    const SHOWN: usize = 12;
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted.to_lowercase(), &name.to_lowercase()), *name))
        .filter(|(distance, name)| {
            let longest = wanted.chars().count().max(name.chars().count());
            *distance <= (longest / 3).max(1)
        })
        .min();
    let listed = |names: &[&str]| {
        let shown: Vec<&str> = names.iter().copied().take(SHOWN).collect();
        let dots = if names.len() > SHOWN { ", …" } else { "" };
        format!("{}{dots}", shown.join(", "))
    };
    match (nearest, known.as_slice()) {
        (Some((_, name)), _) => format!("; did you mean {name:?}?"),
        (None, []) => format!("; there are no {what}"),
        (None, known) => format!("; {what}: {}", listed(known)),
    }
}
