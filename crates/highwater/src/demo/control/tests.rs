use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

#[derive(Default)]
struct Killed(AtomicU32);

impl Controlled for Killed {
    fn figures(&self) -> String {
        r#"{"lost":0}"#.into()
    }

    fn ask_kill(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn status(method: &str, path: &str, host: &str, origin: Option<&str>) -> (String, u32) {
    let demo = Killed::default();
    let request = Request {
        method: method.into(),
        path: path.into(),
        host: host.into(),
        origin: origin.map(str::to_owned),
    };
    let response = respond(&request, 9000, 8080, &demo);
    (response[9..12].to_owned(), demo.0.load(Ordering::SeqCst))
}

#[test]
fn only_the_nodes_page_and_plain_clients_are_answered() {
    let page = Some("http://127.0.0.1:8080");
    assert_eq!(status("GET", "/v1/demo", "127.0.0.1:9000", page), ("200".into(), 0));
    assert_eq!(status("POST", "/v1/demo/kill", "localhost:9000", page), ("202".into(), 1));
    assert_eq!(status("POST", "/v1/demo/kill", "127.0.0.1:9000", None), ("202".into(), 1));
    assert_eq!(
        status("POST", "/v1/demo/kill", "127.0.0.1:9000", Some("http://evil.test")),
        ("403".into(), 0)
    );
    assert_eq!(status("POST", "/v1/demo/kill", "evil.test:9000", None), ("403".into(), 0));
    assert_eq!(status("GET", "/other", "127.0.0.1:9000", None).0, "404");
}
