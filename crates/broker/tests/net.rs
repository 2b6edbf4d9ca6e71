//! Connections: order, isolation from each other, limits, shutdown.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::{Buf, Bytes};
use common::{Node, batch, fetch, framed, produce};
use highwater_broker::BrokerOptions;
use highwater_env::MemoryBudget;

/// Long enough for a busy machine; a failure waits for it, a success never does.
const PATIENCE: Duration = Duration::from_secs(30);

fn connect(node: &Node) -> TcpStream {
    let socket = TcpStream::connect(node.addr).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// An answer's correlation id and body.
fn answer(socket: &mut TcpStream) -> (i32, Bytes) {
    let mut len = [0; 4];
    socket.read_exact(&mut len).unwrap();
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(len)).unwrap()];
    socket.read_exact(&mut frame).unwrap();
    let mut frame = Bytes::from(frame);
    (frame.get_i32(), frame)
}

/// Produce's answer in version 7, topic `t`: (error code, base offset).
fn produced(mut body: Bytes) -> (i16, i64) {
    body.advance(4 + 3 + 4 + 4);
    (body.get_i16(), body.get_i64())
}

fn assert_closed(socket: &mut TcpStream) {
    let mut rest = Vec::new();
    match socket.read_to_end(&mut rest) {
        Ok(_) => assert!(rest.is_empty(), "{} bytes before the end", rest.len()),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn pipelined_produces_are_answered_in_order() {
    let node = Node::start(BrokerOptions::default());
    node.topics.ensure("t").unwrap();
    let mut socket = connect(&node);
    let mut all = Vec::new();
    for id in 0..500 {
        all.extend_from_slice(&produce(id, "t", -1, &batch(&[format!("v{id}").as_bytes()])));
    }
    socket.write_all(&all).unwrap();
    for id in 0..500 {
        let (correlation_id, body) = answer(&mut socket);
        assert_eq!(correlation_id, id);
        assert_eq!(produced(body), (0, i64::from(id)));
    }
    let stats = node.broker.stats();
    assert!(stats.requests.contains(&("Produce", 500)), "{stats:?}");
    assert_eq!((stats.connections_open, stats.errors, stats.bytes_in), (1, 0, all.len() as u64));
}

#[test]
fn a_waiting_fetch_does_not_delay_later_appends_of_its_connection() {
    let node = Node::start(BrokerOptions::default());
    node.topics.ensure("t").unwrap();
    let mut socket = connect(&node);
    // The fetch waits for the record that the next request of the same connection brings.
    socket.write_all(&fetch(1, "t", 0, 60_000)).unwrap();
    socket.write_all(&produce(2, "t", -1, &batch(&[b"a"]))).unwrap();
    let (first, body) = answer(&mut socket);
    assert_eq!(first, 1);
    assert!(body.len() > 60);
    assert_eq!(answer(&mut socket).0, 2);
}

#[test]
fn a_reader_that_stops_reading_blocks_nobody() {
    let node = Node::start(BrokerOptions { requests_in_flight_max: 4, ..BrokerOptions::default() });
    node.topics.ensure("t").unwrap();
    let mut writer = connect(&node);
    for id in 0..32 {
        writer.write_all(&produce(id, "t", 1, &batch(&[&vec![b'x'; 500_000]]))).unwrap();
        assert_eq!(produced(answer(&mut writer).1).0, 0);
    }
    let mut lazy = connect(&node);
    // Far more answers than socket buffers hold; none is read.
    for id in 0..64 {
        lazy.write_all(&fetch(id, "t", 0, 0)).unwrap();
    }
    let mut other = connect(&node);
    for id in 0..32 {
        other.write_all(&produce(id, "t", -1, &batch(&[b"a"]))).unwrap();
        assert_eq!(produced(answer(&mut other).1).0, 0);
    }
    // And once it reads, it gets everything, in order.
    for id in 0..64 {
        let (correlation_id, body) = answer(&mut lazy);
        assert_eq!(correlation_id, id);
        assert!(body.len() > 8_000_000);
    }
}

#[test]
fn frames_beyond_the_limit_are_refused() {
    let node = Node::start(BrokerOptions { frame_bytes_max: 1000, ..BrokerOptions::default() });
    for len in [1001_i32, i32::MAX, 7, 0, -1, i32::MIN] {
        let mut socket = connect(&node);
        socket.write_all(&len.to_be_bytes()).unwrap();
        assert_closed(&mut socket);
    }
    // Counted once the socket is closed.
    while node.broker.stats().refusals < 6 {
        std::thread::yield_now();
    }
    assert_eq!(node.broker.stats().refusals, 6);
    let mut socket = connect(&node);
    socket.write_all(&framed(18, 0, 5, &[])).unwrap();
    assert_eq!(answer(&mut socket).0, 5);
}

#[test]
fn what_was_asked_before_is_answered_before_closing() {
    let node = Node::start(BrokerOptions::default());
    node.topics.ensure("t").unwrap();
    let mut socket = connect(&node);
    socket.write_all(&produce(1, "t", -1, &batch(&[b"a"]))).unwrap();
    socket.write_all(&framed(999, 0, 2, &[])).unwrap();
    assert_eq!(answer(&mut socket).0, 1);
    assert_closed(&mut socket);
}

/// Eight connections announce 4 MiB each; memory for two is there. All get through.
#[test]
fn frames_wait_for_memory() {
    let budget = MemoryBudget::root("test", 10 << 20);
    let node = Node::start_with(BrokerOptions::default(), budget.clone());
    let large = [("max.message.bytes".to_owned(), (5 << 20).to_string())];
    node.topics.create("t", 1, large.into()).unwrap();
    let records = batch(&[&vec![b'x'; 4 << 20]]);
    std::thread::scope(|scope| {
        for id in 0..8 {
            let (node, records) = (&node, &records);
            scope.spawn(move || {
                let mut socket = connect(node);
                socket.write_all(&produce(id, "t", -1, records)).unwrap();
                assert_eq!(produced(answer(&mut socket).1).0, 0);
            });
        }
    });
    drop(node);
    assert_eq!(budget.used(), 0);
}

#[test]
fn too_many_connections_are_refused() {
    let node = Node::start(BrokerOptions { connections_max: 1, ..BrokerOptions::default() });
    let mut first = connect(&node);
    first.write_all(&framed(18, 0, 1, &[])).unwrap();
    assert_eq!(answer(&mut first).0, 1);
    assert_closed(&mut connect(&node));
    assert_eq!(node.broker.stats().connections_refused, 1);
}

#[test]
fn shutdown_answers_waiting_fetches() {
    let mut node = Node::start(BrokerOptions::default());
    node.topics.ensure("t").unwrap();
    let mut socket = connect(&node);
    socket.write_all(&fetch(1, "t", 0, 60_000)).unwrap();
    // The second request shows that the first was read.
    socket.write_all(&produce(2, "t", 0, &batch(&[b"a"]))).unwrap();
    let (id, _) = answer(&mut socket);
    assert_eq!(id, 1);
    socket.write_all(&fetch(3, "t", 1, 60_000)).unwrap();
    while !node.broker.stats().requests.contains(&("Fetch", 2)) {
        std::thread::yield_now();
    }
    node.stop();
    assert_eq!(answer(&mut socket).0, 3);
    assert_closed(&mut socket);
}

#[test]
fn a_client_that_leaves_frees_its_place() {
    let node = Node::start(BrokerOptions::default());
    node.topics.ensure("t").unwrap();
    let mut socket = connect(&node);
    socket.write_all(&fetch(1, "t", 0, 60_000)).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(answer(&mut socket).0, 1);
    assert_closed(&mut socket);
    while node.broker.stats().connections_open > 0 {
        std::thread::yield_now();
    }
}

/// JoinGroup in version 3, group `g`, of a member whose id is not known yet.
fn join(correlation_id: i32) -> Bytes {
    let mut body = vec![0, 1, b'g'];
    body.extend(60_000_i32.to_be_bytes());
    body.extend(60_000_i32.to_be_bytes());
    body.extend([0, 0]);
    body.extend([&[0, 8][..], b"consumer", &[0, 0, 0, 1, 0, 5], b"range", &[0, 0, 0, 0]].concat());
    framed(11, 3, correlation_id, &body)
}

#[test]
fn a_join_that_waits_for_others_ends_with_its_connection() {
    let mut node = Node::start(BrokerOptions::default());
    let mut first = connect(&node);
    first.write_all(&join(1)).unwrap();
    let (_, mut joined) = answer(&mut first);
    joined.advance(4);
    assert_eq!((joined.get_i16(), joined.get_i32()), (0, 1));
    // The second waits for the first to join again, which it never does.
    let mut second = connect(&node);
    second.write_all(&join(1)).unwrap();
    second.shutdown(Shutdown::Write).unwrap();
    assert_closed(&mut second);
    // Nor does one hold up a stop.
    let mut third = connect(&node);
    third.write_all(&join(1)).unwrap();
    third.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(third.read_exact(&mut [0]).is_err());
    node.stop();
}
