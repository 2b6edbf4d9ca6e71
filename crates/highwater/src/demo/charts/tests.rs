use super::*;

#[test]
fn a_stream_of_changes_becomes_lines() {
    let mut charts = Charts::default();
    let row = |region: &str, at: &str, events: u32| {
        format!(r#"{{"op":"+I","row":{{"region":"{region}","window_start":"{at}","events":{events}}}}}"#)
    };
    charts.take(&row("north", "00:01", 5));
    charts.take(&format!(r#"{{"changes":[{},{}]}}"#, row("north", "00:03", 7), row("north", "00:02", 6)));
    charts.take(r#"{"op":"-U","row":{"region":"north","window_start":"00:03","events":7}}"#);
    charts.take(&row("north", "00:03", 8));
    charts.take(r#"{"rows":[{"host":"h","window_start":"00:00","cpu_percent":12.5}]}"#);
    charts.take("not json");
    let lines: Vec<_> = charts.regions().collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].1.iter().map(|p| p.height).collect::<Vec<_>>(), [5.0, 6.0, 8.0]);
    assert_eq!(charts.host()[0].height, 12.5);
}

#[test]
fn sparklines_end_now() {
    assert_eq!(sparkline([0.0, 4.0, 8.0].into_iter(), 5), "  ▁▅█");
    assert_eq!(sparkline([1.0, 2.0].into_iter(), 1), "█");
    assert_eq!(sparkline(std::iter::empty::<f64>(), 2), "  ");
}
