//! Durations as Go writes them (`time.ParseDuration`), with days (`1d`) as well.

use jiff::SignedDuration;

/// The longest duration that is accepted: ten years.
const LONGEST_SECONDS: f64 = 10.0 * 366.0 * 86_400.0;

/// Reads `90s`, `1h30m`, `1.5h`, `2d`.
///
/// # Errors
/// A sentence that says what is wrong and what is accepted.
pub fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let refuse = || format!("{text:?} isn't a duration; write it like 90s, 30m, 1h30m or 2d");
    let mut seconds = 0.0_f64;
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refuse)?;
        let (number, tail) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| refuse())?;
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        seconds += number
            * match unit {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return Err(refuse()),
            };
        rest = tail;
    }
    if seconds > LONGEST_SECONDS {
        return Err(format!("{text:?} is longer than ten years"));
    }
    SignedDuration::try_from_secs_f64(seconds).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, seconds) in [("90s", 90), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172_800), ("0", 0)] {
            assert_eq!(parse_duration(text), Ok(SignedDuration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("250ms"), Ok(SignedDuration::from_millis(250)));
    }

    #[test]
    fn anything_else_is_refused_in_words() {
        for text in ["", "5", "m", "5x", "1h-3m", "∞", "99999999d", "1..5h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
