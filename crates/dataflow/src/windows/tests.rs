use super::*;

fn windows(size_ms: i64, offset_ms: i64, zone: Option<&str>) -> Windows {
    let zone = zone.map(str::to_owned);
    Windows::new(&spec(WindowShape::Tumble, size_ms, offset_ms, zone)).unwrap()
}

fn spec(shape: WindowShape, size_ms: i64, offset_ms: i64, zone: Option<String>) -> WindowSpec {
    WindowSpec { time_column: 0, shape, size_ms, offset_ms, zone, processing_time: false }
}

fn utc(text: &str) -> i64 {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc().timestamp_millis()
}

#[test]
fn windows_floor_before_1970_and_with_any_offset() {
    for (offset, time, end) in [
        (0, 0, 10),
        (0, 9, 10),
        (0, 10, 20),
        (0, -1, 0),
        (0, -10, 0),
        (3, 2, 3),
        (3, 3, 13),
        (-3, 6, 7),
        (-3, 7, 17),
        (13, 2, 3),
    ] {
        assert_eq!(windows(10, offset, None).end_of(time), end, "offset {offset}, time {time}");
    }
    assert_eq!(windows(10, 0, None).closes_at(10), 9);
    let mut extreme = windows(10, 0, None);
    assert!(extreme.end_of(i64::MAX) >= i64::MAX - 10 && extreme.end_of(i64::MIN) <= i64::MIN + 20);
}

#[test]
fn nonsense_is_refused() {
    let spec = spec(WindowShape::Tumble, 0, 0, None);
    assert!(Windows::new(&spec).is_err());
    assert!(Windows::new(&WindowSpec { size_ms: 1, zone: Some("Mars/Olympus".to_owned()), ..spec }).is_err());
}

/// In Berlin the hour from 02:00 comes twice on 27 October 2024 (00:00 and 01:00 UTC).
#[test]
fn the_hour_repeated_in_autumn_is_one_window() {
    let mut berlin = windows(3_600_000, 0, Some("Europe/Berlin"));
    let end = berlin.end_of(utc("2024-10-27 00:30"));
    assert_eq!(end, utc("2024-10-27 03:00"));
    assert_eq!(berlin.end_of(utc("2024-10-27 01:30")), end);
    assert_eq!(berlin.closes_at(end), utc("2024-10-27 02:00") - 1, "the later of the two 02:59:59.999");
    assert_eq!(berlin.time_of_window(end), utc("2024-10-27 01:00") - 1);
}

/// In Berlin the hour from 02:00 is skipped on 31 March 2024 (01:00 UTC).
#[test]
fn the_hour_skipped_in_spring_leaves_no_window_open() {
    let mut berlin = windows(3_600_000, 0, Some("Europe/Berlin"));
    assert_eq!(berlin.end_of(utc("2024-03-31 00:30")), utc("2024-03-31 02:00"));
    assert_eq!(berlin.end_of(utc("2024-03-31 01:00")), utc("2024-03-31 04:00"));
    assert_eq!(
        berlin.closes_at(utc("2024-03-31 03:00")),
        utc("2024-03-31 01:00"),
        "in the gap: its first hour"
    );
    let mut day = windows(86_400_000, 0, Some("Europe/Berlin"));
    let end = day.end_of(utc("2024-03-31 10:00"));
    assert_eq!((day.start_of_window(end), end), (utc("2024-03-31 00:00"), utc("2024-04-01 00:00")));
    assert_eq!(day.closes_at(end), utc("2024-03-31 22:00") - 1);
}
