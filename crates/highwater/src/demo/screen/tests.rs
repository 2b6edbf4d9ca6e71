use super::*;

#[test]
fn over_ssh_the_tunnel_line_names_the_server() {
    let line = tunnel(Some("10.0.0.9 50000 192.0.2.7 22"), Some("ann"), &[8080, 8081]);
    assert_eq!(line.as_deref(), Some("ssh -L 8080:127.0.0.1:8080 -L 8081:127.0.0.1:8081 ann@192.0.2.7"));
    assert_eq!(tunnel(None, Some("ann"), &[1]), None);
    assert_eq!(tunnel(Some("odd"), None, &[1]), None);
}

#[test]
fn the_screen_names_addresses_and_the_balance() {
    let frame = Frame {
        console: "http://127.0.0.1:8080".into(),
        kafka: "127.0.0.1:9092".into(),
        data_dir: "d".into(),
        tunnel: None,
    };
    let text = frame.lines(&Status::default(), &Charts::default()).join("\n");
    for part in ["http://127.0.0.1:8080", "127.0.0.1:9092", "lost 0", "doubled 0", "kill -9"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}
