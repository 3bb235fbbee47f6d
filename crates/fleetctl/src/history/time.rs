//! Times as people type them.

use jiff::{Span, Timestamp, tz::TimeZone};

use crate::exit::{Failure, Outcome};

/// RFC 3339, or how long before `now`.
///
/// # Errors
/// What is no time, or isn't past.
pub(super) fn parse(text: &str, now: Timestamp) -> Outcome<Timestamp> {
    let no_time = || {
        Failure::usage(format!(
            "--at {text:?} is no time; write it as 2026-11-22T09:30:00Z, or how long ago it is: 90s, 2h or 3d"
        ))
    };
    let at = match text.trim().parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => {
            let ago = text.trim().trim_end_matches("ago").trim();
            let span: Span = ago.parse().map_err(|_| no_time())?;
            if span.is_negative() {
                return Err(no_time());
            }
            // Days have 24 hours there.
            let then = now.to_zoned(TimeZone::UTC).checked_sub(span).map_err(|_| no_time())?;
            then.timestamp()
        }
    };
    if at > now {
        return Err(Failure::usage(format!("--at {text}: {at} is still to come; it is {now} now")));
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Broken: somebody asks what ran two hours ago, and is told what runs now.
    #[test]
    fn times_are_absolute_or_ago() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2h", "2026-11-22T10:00:00Z"),
            ("90s", "2026-11-22T11:58:30Z"),
            ("1h30m", "2026-11-22T10:30:00Z"),
            ("3d", "2026-11-19T12:00:00Z"),
            ("2 hours ago", "2026-11-22T10:00:00Z"),
            ("2026-11-21T08:00:00+02:00", "2026-11-21T06:00:00Z"),
        ] {
            assert_eq!(parse(text, now).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "soon", "-2h", "10:00", "2026-13-01T00:00:00Z", "99999999999h"] {
            let failure = parse(text, now).unwrap_err();
            assert_eq!(failure.exit, crate::exit::Exit::Usage, "{text}");
            assert!(failure.message.contains("--at"), "{failure}");
        }
        assert!(parse("2026-11-22T12:00:01Z", now).unwrap_err().message.contains("still to come"));
    }
}
