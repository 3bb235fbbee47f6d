//! Time windows: when something may begin.

use fleet_api::{TimeWindow, TimeWindows};
use fleet_workflow::windows::{Opening, Windows, opening};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

fn window(cron: &str, duration: &str, zone: &str) -> TimeWindow {
    TimeWindow { cron: cron.into(), duration: duration.into(), time_zone: Some(zone.into()) }
}

fn allow(windows: &[TimeWindow]) -> TimeWindows {
    TimeWindows { allow: windows.to_vec(), deny: Vec::new() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn opens(windows: &TimeWindows, now: &str) -> String {
    match opening(&[&Windows::read(windows).unwrap()], at(now)) {
        Opening::Now => "now".into(),
        Opening::At(at, called) => format!("{at} {called}"),
        Opening::Never => "never".into(),
    }
}

// Broken: something begins outside its window, or waits although it is open.
#[test]
fn it_opens_within_and_not_without() {
    let nights = allow(&[window("0 22 * * 1-5", "8h", "Europe/Berlin")]);
    // A Sunday: the next night is that of Monday, 22:00 in Berlin.
    assert_eq!(
        opens(&nights, "2026-11-22T12:00:00Z"),
        "2026-11-23T21:00:00Z 2026-11-23 22:00 Mon (Europe/Berlin)"
    );
    assert_eq!(
        opens(&nights, "2026-11-23T20:59:59Z"),
        "2026-11-23T21:00:00Z 2026-11-23 22:00 Mon (Europe/Berlin)"
    );
    assert_eq!(opens(&nights, "2026-11-23T21:00:00Z"), "now");
    assert_eq!(opens(&nights, "2026-11-24T04:59:59.5Z"), "now");
    assert_eq!(
        opens(&nights, "2026-11-24T05:00:00Z"),
        "2026-11-24T21:00:00Z 2026-11-24 22:00 Tue (Europe/Berlin)"
    );
    // The night that begins on Friday lasts into Saturday.
    assert_eq!(opens(&nights, "2026-11-28T03:00:00Z"), "now");
    assert_eq!(opens(&TimeWindows::default(), "2026-11-22T12:00:00Z"), "now");
}

// Broken: a freeze has a gap between two of its windows, or is ended by an allowed time.
#[test]
fn what_is_denied_is_denied() {
    let freeze = TimeWindows {
        allow: vec![window("0 * * * *", "30m", "UTC")],
        deny: vec![window("0 0 20-31 12 *", "1d", "UTC"), window("0 0 1 1 *", "36h", "UTC")],
    };
    assert_eq!(opens(&freeze, "2026-12-19T10:10:00Z"), "now");
    assert_eq!(opens(&freeze, "2026-12-19T10:40:00Z"), "2026-12-19T11:00:00Z 2026-12-19 11:00 Sat (UTC)");
    // Through the year's end, to the noon of 2 January.
    assert_eq!(opens(&freeze, "2026-12-20T00:00:00Z"), "2027-01-02T12:00:00Z 2027-01-02 12:00 Sat (UTC)");
}

// Broken: two scopes that are both needed are taken for one that suffices, or a time when both are open isn't found.
#[test]
fn everything_that_is_asked_must_be_open() {
    let read = |windows: &TimeWindows| Windows::read(windows).unwrap();
    let mornings = read(&allow(&[window("0 6 * * *", "4h", "UTC")]));
    let thursdays = read(&allow(&[window("0 8 * * THU", "10h", "UTC")]));
    let never = read(&allow(&[window("0 12 * * *", "1h", "UTC")]));
    let now = at("2026-11-22T12:00:00Z");
    let Opening::At(both, _) = opening(&[&mornings, &thursdays], now) else { panic!("it is closed") };
    assert_eq!(both, at("2026-11-26T08:00:00Z"));
    assert_eq!(opening(&[&thursdays, &mornings], now), opening(&[&mornings, &thursdays], now));
    // Windows that never overlap: a moment up to which it is closed, far away, and no hang.
    let Opening::At(far, _) = opening(&[&mornings, &never], now) else { panic!("it is closed") };
    assert!(far > at("2030-01-01T00:00:00Z"), "{far}");
}

// Broken: the night when clocks change has no window, two, or one of another length.
#[test]
fn clocks_change_and_the_window_comes_once() {
    // 02:30 doesn't exist on 29 March 2026 in Berlin: it begins when the clock has moved on, 03:00 CEST.
    let night = allow(&[window("30 2 * * *", "2h", "Europe/Berlin")]);
    assert_eq!(
        opens(&night, "2026-03-29T00:00:00Z"),
        "2026-03-29T01:00:00Z 2026-03-29 03:00 Sun (Europe/Berlin)"
    );
    assert_eq!(opens(&night, "2026-03-29T02:59:59Z"), "now");
    assert_eq!(
        opens(&night, "2026-03-29T03:00:00Z"),
        "2026-03-30T00:30:00Z 2026-03-30 02:30 Mon (Europe/Berlin)"
    );
    // 02:30 comes twice on 25 October 2026: the first counts, and lasts two hours of elapsed time.
    assert_eq!(
        opens(&night, "2026-10-25T00:29:00Z"),
        "2026-10-25T00:30:00Z 2026-10-25 02:30 Sun (Europe/Berlin)"
    );
    assert_eq!(opens(&night, "2026-10-25T02:29:59Z"), "now");
    assert_eq!(
        opens(&night, "2026-10-25T02:30:00Z"),
        "2026-10-26T01:30:00Z 2026-10-26 02:30 Mon (Europe/Berlin)"
    );
    // Every hour means every hour, the one that comes twice included.
    let hourly = allow(&[window("0 * * * *", "1h", "Europe/Berlin")]);
    for minute in 0..240 {
        let now = at("2026-10-24T23:00:00Z").checked_add(SignedDuration::from_mins(minute)).unwrap();
        assert_eq!(opening(&[&Windows::read(&hourly).unwrap()], now), Opening::Now, "{now}");
    }
}

// Broken: what never opens is taken and waits for ever; what is wrong isn't said with its place.
#[test]
fn what_never_opens_is_refused_in_words() {
    let deny = |allow: &[TimeWindow], deny: &[TimeWindow]| TimeWindows {
        allow: allow.to_vec(),
        deny: deny.to_vec(),
    };
    for (windows, said) in [
        (allow(&[window("0 0 30 2 *", "1h", "UTC")]), "allow[0]: cron: \"0 0 30 2 *\" never comes"),
        (allow(&[window("0 0 31 4,6,9,11 *", "1h", "UTC")]), "never comes"),
        (deny(&[], &[window("0 0 30 2 *", "1h", "UTC")]), "deny[0]: cron"),
        (deny(&[], &[window("0 0 * * *", "24h", "UTC")]), "without a gap"),
        (deny(&[], &[window("* * * * *", "1m", "UTC")]), "without a gap"),
        (deny(&[window("0 9 * * 1", "1h", "UTC")], &[window("0 0 * * 1", "24h", "UTC")]), "without a gap"),
        (allow(&[window("0 22 * *", "1h", "UTC")]), "has 4 fields; write five"),
        (allow(&[window("0 0 22 * * *", "1h", "UTC")]), "has 6 fields"),
        (allow(&[window("61 22 * * *", "1h", "UTC")]), "can't be read"),
        (allow(&[window("@daily", "1h", "UTC")]), "write five"),
        (allow(&[window("0 22 * * *", "an hour", "UTC")]), "duration: \"an hour\""),
        (allow(&[window("0 22 * * *", "10s", "UTC")]), "from 1m to 366d"),
        (allow(&[window("0 22 * * *", "1h", "Mars/Olympus")]), "timeZone: \"Mars/Olympus\""),
        (allow(&vec![window("0 22 * * *", "1h", "UTC"); 17]), "at most 16"),
    ] {
        let refused = Windows::read(&windows).unwrap_err();
        assert!(refused.contains(said), "{windows:?}: {refused}");
    }
    // A leap day comes, if rarely.
    assert!(Windows::read(&allow(&[window("0 0 29 2 *", "1h", "UTC")])).is_ok());
}

fn zones() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
    ])
}

prop_compose! {
    fn any_window()(
        minute in 0_u8..60,
        hour in prop_oneof![Just("*".to_owned()), (0_u8..24).prop_map(|h| h.to_string())],
        day in prop_oneof![Just("*".to_owned()), (1_u8..29).prop_map(|d| d.to_string())],
        weekday in prop_oneof![Just("*".to_owned()), (0_u8..7).prop_map(|d| d.to_string())],
        minutes in 1_u32..3000,
        zone in zones(),
    ) -> TimeWindow {
        window(&format!("{minute} {hour} {day} * {weekday}"), &format!("{minutes}m"), zone)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // Broken: the next opening is said too late (something that may begin waits), too early, or isn't open.
    #[test]
    fn the_opening_is_the_first_moment_that_is_open(
        allowed in prop::collection::vec(any_window(), 0..3),
        denied in prop::collection::vec(any_window(), 0..3),
        second in 1_767_225_600_i64..1_830_000_000,
    ) {
        let Ok(windows) = Windows::read(&TimeWindows { allow: allowed, deny: denied }) else { return Ok(()) };
        let now = Timestamp::from_second(second).unwrap();
        let open = |at: Timestamp| opening(&[&windows], at) == Opening::Now;
        match opening(&[&windows], now) {
            Opening::Now => {}
            Opening::Never => prop_assert!(false, "what never opens is refused"),
            Opening::At(at, _) => {
                prop_assert!(at > now);
                prop_assert!(open(at), "it is said to open at {at}, and doesn't");
                let minute = SignedDuration::from_mins(1);
                let mut before = at.checked_sub(SignedDuration::from_secs(1)).unwrap();
                // Nothing between is open, looked at by the minute.
                for _ in 0..600 {
                    if before < now {
                        break;
                    }
                    prop_assert!(!open(before), "{before} is open before {at}");
                    before = before.checked_sub(minute).unwrap();
                }
            }
        }
    }

    // Broken: bad input panics or hangs.
    #[test]
    fn whatever_is_written_is_taken_or_refused(cron in "[-0-9*/,#LWA-Z? ]{0,24}", duration in "[0-9smhd.]{0,6}", zone in ".{0,12}") {
        let _ = Windows::read(&allow(&[window(&cron, &duration, &zone)]));
    }
}

// Broken: whoever wrote windows that never open is told of thousands of windows that nobody wrote.
#[test]
fn what_never_opens_is_refused_as_such() {
    let denied =
        |deny: TimeWindow, allow: &[TimeWindow]| TimeWindows { allow: allow.to_vec(), deny: vec![deny] };
    for written in [
        denied(window("0 0 * * *", "24h", "UTC"), &[window("0 22 * * *", "1h", "UTC")]),
        denied(window("* * * * *", "1h", "UTC"), &[]),
    ] {
        let refused = Windows::read(&written).unwrap_err();
        assert!(refused.starts_with("they never open: ") && refused.contains("leave a gap"), "{refused}");
    }
}
