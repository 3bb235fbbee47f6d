//! Durations as `k8s.io/apimachinery/pkg/util/duration` writes them.

/// A duration with two or three digits of precision: `9s`, `2m5s`, `5h3m`, `3d4h`, `2y10d`.
///
/// One second in the future (clocks differ) reads `0s`, more `<invalid>`.
pub fn human_duration(seconds: i64) -> String {
    if let Some(text) = negative(seconds) {
        return text;
    }
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        pair(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        pair(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if hours < 24 * 8 {
        pair(days, "d", hours % 24, "h")
    } else if hours < 24 * 365 * 2 {
        format!("{days}d")
    } else if hours < 24 * 365 * 8 {
        pair(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

/// A duration with one unit: `9s`, `2m`, `5h`, `3d`, `1y`.
pub fn short_human_duration(seconds: i64) -> String {
    if let Some(text) = negative(seconds) {
        return text;
    }
    let hours = seconds / 3600;
    if seconds < 60 {
        format!("{seconds}s")
    } else if seconds < 3600 {
        format!("{}m", seconds / 60)
    } else if hours < 24 {
        format!("{hours}h")
    } else if hours < 24 * 365 {
        format!("{}d", hours / 24)
    } else {
        format!("{}y", hours / 24 / 365)
    }
}

fn negative(seconds: i64) -> Option<String> {
    match seconds {
        ..-1 => Some("<invalid>".to_owned()),
        -1 => Some("0s".to_owned()),
        _ => None,
    }
}

fn pair(big: i64, big_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_kubectl_shows_them() {
        for (seconds, long, short) in [
            (-5, "<invalid>", "<invalid>"),
            (-1, "0s", "0s"),
            (0, "0s", "0s"),
            (9, "9s", "9s"),
            (119, "119s", "1m"),
            (120, "2m", "2m"),
            (125, "2m5s", "2m"),
            (599, "9m59s", "9m"),
            (600, "10m", "10m"),
            (3 * 3600 - 1, "179m", "2h"),
            (3 * 3600, "3h", "3h"),
            (5 * 3600 + 180, "5h3m", "5h"),
            (8 * 3600 + 59, "8h", "8h"),
            (47 * 3600, "47h", "1d"),
            (48 * 3600, "2d", "2d"),
            (76 * 3600, "3d4h", "3d"),
            (8 * 86_400 + 3600, "8d", "8d"),
            (729 * 86_400, "729d", "1y"),
            (730 * 86_400, "2y", "2y"),
            (740 * 86_400, "2y10d", "2y"),
            (8 * 365 * 86_400 + 86_400, "8y", "8y"),
        ] {
            assert_eq!(human_duration(seconds), long, "{seconds}");
            assert_eq!(short_human_duration(seconds), short, "{seconds}");
        }
    }
}
