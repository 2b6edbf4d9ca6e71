use super::*;

#[test]
fn one_seed_gives_one_fleet() {
    let lines =
        |seed| Fleet::new(seed, 7).drive(1_000_000, 50).into_iter().map(|e| e.line).collect::<Vec<_>>();
    assert_eq!(lines(1), lines(1));
    assert_ne!(lines(1), lines(2));
}

#[test]
fn sequence_numbers_have_no_gap_and_lines_are_json() {
    let mut fleet = Fleet::new(3, 5);
    let mut next = [0; 5];
    let mut late = 0;
    for round in 0..400 {
        for event in fleet.drive(1_000_000 + round, 10) {
            let json: serde_json::Value = serde_json::from_str(&event.line).unwrap();
            assert_eq!(event.seq, next[event.vehicle], "{}", event.line);
            next[event.vehicle] += 1;
            assert_eq!(json["seq"], event.seq);
            assert_eq!(json["vehicle_id"], fleet.vehicle_id(event.vehicle));
            if json["event_time"].as_i64().unwrap() <= 1_000_000 + round - 5_000 {
                late += 1;
            }
        }
    }
    assert!((10..100).contains(&late), "{late} of 4000 events are late");
}
