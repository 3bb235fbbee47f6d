//! "Did you mean …?"

/// `; did you mean "x"?`, or the known names, or that there are none: the end of a message about an unknown name.
pub(crate) fn advice<S: AsRef<str>>(wanted: &str, known: &[S], what: &str) -> String {
    const SHOWN: usize = 12;
    let mut names: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    names.sort_unstable();
    names.dedup();
    let near = |name: &&&str| {
        let longest = wanted.chars().count().max(name.chars().count());
        distance(wanted, name) <= (longest / 3).max(1)
    };
    let nearest = names.iter().filter(near).min_by_key(|name| distance(wanted, name));
    match nearest {
        Some(name) => format!("; did you mean {name:?}?"),
        None if names.is_empty() => format!("; there are no {what}"),
        None => {
            let dots = if names.len() > SHOWN { ", …" } else { "" };
            let shown: Vec<&str> = names.into_iter().take(SHOWN).collect();
            format!("; {what}: {}{dots}", shown.join(", "))
        }
    }
}

fn distance(a: &str, b: &str) -> usize {
    strsim::damerau_levenshtein(&a.to_lowercase(), &b.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn names_the_nearest_or_all() {
        let known = ["mc-bj1", "cluster1-beijing"];
        assert_eq!(advice("cluster1-bejing", &known, "members"), "; did you mean \"cluster1-beijing\"?");
        assert_eq!(advice("x", &known, "members"), "; members: cluster1-beijing, mc-bj1");
        assert_eq!(advice("x", &[] as &[&str], "members"), "; there are no members");
    }
}
