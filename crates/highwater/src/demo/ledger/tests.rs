use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;

/// A node that answers every request with the same JSON.
fn node_answering(bodies: Vec<String>) -> NodeApi {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = NodeApi::new(format!("http://{}", listener.local_addr().unwrap()));
    std::thread::spawn(move || {
        for body in bodies {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    api
}

fn answer(partition: i32, last_offset: i64) -> Accepted {
    Accepted {
        accepted: 0,
        rejected: 0,
        positions: vec![super::super::api::PartitionRange { partition, last_offset }],
    }
}

#[test]
fn an_unanswered_batch_is_split_into_landed_and_missing() {
    let mut fleet = Fleet::new(1, 2);
    let mut ledger = Ledger::new(2);
    let events = fleet.drive(1_000, 4);
    let landed = format!(r#"{{"records":[{{"offset":10,"value":{}}}]}}"#, events[1].line);
    let as_text = serde_json::json!({"records": [{"offset": 11, "value": events[2].line}]}).to_string();
    let api = node_answering(vec![landed, as_text, r#"{"records":[]}"#.into()]);
    ledger.acknowledge(&[], &answer(0, 9));
    let missing = ledger.settle(&api, "fleet", 1, &fleet, events).unwrap();
    assert_eq!(missing.iter().map(|e| (e.vehicle, e.seq)).collect::<Vec<_>>(), [(0, 0), (1, 1)]);
    assert_eq!(ledger.acknowledged(), 2);
    assert_eq!(ledger.position("fleet"), "fleet:0@12");
}

#[test]
fn lost_doubled_and_exchanged_events_are_told_apart() {
    let mut fleet = Fleet::new(1, 4);
    let mut ledger = Ledger::new(4);
    let events = fleet.drive(1_000, 8);
    ledger.acknowledge(&events, &answer(0, 7));
    let row = |id: &str, events: u64, seq_sum: u64| serde_json::json!({"vehicle_id": id, "events": events, "seq_sum": seq_sum});
    let rows = serde_json::json!({"rows": [
        row("V0000", 2, 1), row("V0001", 1, 0), row("V0002", 3, 2), row("V0003", 2, 0)]});
    let api = node_answering(vec![rows.to_string()]);
    let balance = ledger.compare(&api, "fleet", "vehicle_health", &fleet).unwrap();
    assert_eq!(balance, Balance { acknowledged: 8, processed: 8, lost: 1, doubled: 1, mixed_up: 1 });
}

#[test]
fn positions_survive_a_query_string() {
    assert_eq!(percent_encoded("fleet:0=12,1=3 ~"), "fleet%3A0%3D12%2C1%3D3%20~");
}
