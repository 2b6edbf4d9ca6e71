//! One connection to the node, and the requests the soak makes over it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use highwater_env::Offset;

use super::wire::{Answer, Body};

/// A node that is being recovered answers late; one that never answers is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The broker's own limit on waiting for the disk.
const PRODUCE_TIMEOUT_MS: i32 = 30_000;
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;

/// Kafka's error codes that mean something here.
pub(super) mod code {
    pub(crate) const NONE: i16 = 0;
    pub(crate) const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub(crate) const ILLEGAL_GENERATION: i16 = 22;
    pub(crate) const UNKNOWN_MEMBER_ID: i16 = 25;
    pub(crate) const REBALANCE_IN_PROGRESS: i16 = 27;
    pub(crate) const TOPIC_ALREADY_EXISTS: i16 = 36;
    pub(crate) const DUPLICATE_SEQUENCE_NUMBER: i16 = 46;
    pub(crate) const CONCURRENT_TRANSACTIONS: i16 = 51;
    pub(crate) const MEMBER_ID_REQUIRED: i16 = 79;
    pub(crate) const UNSTABLE_OFFSET_COMMIT: i16 = 88;
    /// "Try again": unknown topic, no leader yet, timed out, coordinator loading or not there, an
    /// earlier batch of the same window was refused, disk full.
    pub(crate) const RETRIABLE: &[i16] = &[3, 5, 6, 7, 14, 15, 16, 45, CONCURRENT_TRANSACTIONS, 56, 89];
}

/// One connection.
pub(super) struct Connection {
    stream: TcpStream,
    next_id: i32,
}

/// A producer's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProducerId {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// What became of one batch of a Produce.
#[derive(Clone, Copy, Debug)]
pub(super) struct Produced {
    pub(super) partition: i32,
    pub(super) code: i16,
    pub(super) offset: Offset,
}

/// What a Fetch found in one partition.
pub(super) struct Fetched {
    pub(super) partition: i32,
    pub(super) code: i16,
    pub(super) high_watermark: Offset,
    pub(super) last_stable_offset: Offset,
    pub(super) log_start_offset: Offset,
    /// `(producer id, first offset)`
    pub(super) aborted: Vec<(i64, Offset)>,
    pub(super) records: Vec<u8>,
}

impl Connection {
    /// # Errors
    /// If nobody answers.
    pub(super) fn open(node: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&node, CONNECT_TIMEOUT)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, next_id: 0 })
    }

    /// Sends a request without waiting for its answer.
    pub(super) fn send(&mut self, key: i16, version: i16, body: &Body) -> Result<()> {
        let flexible = usize::from(body.is_flexible());
        let mut frame = Vec::with_capacity(body.bytes.len() + 20);
        frame.extend(i32::try_from(10 + 4 + flexible + body.bytes.len())?.to_be_bytes());
        frame.extend(key.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(self.next_id.to_be_bytes());
        frame.extend(4_i16.to_be_bytes());
        frame.extend(b"soak");
        frame.resize(frame.len() + flexible, 0);
        frame.extend(&body.bytes);
        self.next_id = self.next_id.wrapping_add(1);
        Ok(self.stream.write_all(&frame)?)
    }

    /// Reads the next answer.
    pub(super) fn receive(&mut self, flexible: bool) -> Result<Answer> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        let len = usize::try_from(i32::from_be_bytes(len))?;
        ensure!((4..=ANSWER_BYTES_MAX).contains(&len), "an answer of {len} bytes");
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes)?;
        let mut answer = Answer::new(bytes, flexible);
        answer.i32()?;
        answer.tags()?;
        Ok(answer)
    }

    /// Sends a request and reads its answer.
    pub(super) fn call(&mut self, key: i16, version: i16, body: &Body) -> Result<Answer> {
        self.send(key, version, body)?;
        self.receive(body.is_flexible())
    }

    /// CreateTopics, version 2. Fine if it is there.
    pub(super) fn create_topic(&mut self, name: &str, partitions: i32) -> Result<()> {
        let mut body = Body::classic();
        body.array(1).text(Some(name)).i32(partitions).i16(1).array(0).array(0).i32(30_000).i8(0);
        let mut answer = self.call(19, 2, &body)?;
        answer.i32()?;
        ensure!(answer.array()? == 1, "one topic was asked for");
        answer.text()?;
        match answer.i16()? {
            code::NONE | code::TOPIC_ALREADY_EXISTS => Ok(()),
            code => bail!("topic {name} cannot be created: error code {code}"),
        }
    }

    /// InitProducerId, version 1.
    ///
    /// # Errors
    /// If the connection breaks; inside: Kafka's error code.
    pub(super) fn init_producer(
        &mut self,
        transactional_id: Option<&str>,
    ) -> Result<Result<ProducerId, i16>> {
        let mut body = Body::classic();
        body.text(transactional_id).i32(TRANSACTION_TIMEOUT_MS);
        let mut answer = self.call(22, 1, &body)?;
        answer.i32()?;
        let code = answer.i16()?;
        let producer = ProducerId { id: answer.i64()?, epoch: answer.i16()? };
        Ok(if code == code::NONE { Ok(producer) } else { Err(code) })
    }

    /// The body of a Produce, version 7 (12 if flexible), of encoded batches by partition.
    pub(super) fn produce_body(
        flexible: bool,
        transactional_id: Option<&str>,
        topic: &str,
        batches: &[(i32, &[u8])],
    ) -> Body {
        let mut body = if flexible { Body::flexible() } else { Body::classic() };
        body.text(transactional_id).i16(-1).i32(PRODUCE_TIMEOUT_MS).array(1).text(Some(topic));
        body.array(batches.len());
        for (partition, records) in batches {
            body.i32(*partition).records(records).tags();
        }
        body.tags().tags();
        body
    }

    pub(super) fn send_produce(&mut self, body: &Body) -> Result<()> {
        self.send(0, if body.is_flexible() { 12 } else { 7 }, body)
    }

    /// The answer to the oldest Produce under way.
    pub(super) fn receive_produce(&mut self, flexible: bool) -> Result<Vec<Produced>> {
        let mut answer = self.receive(flexible)?;
        let mut produced = Vec::new();
        for _ in 0..answer.array()? {
            answer.text()?;
            for _ in 0..answer.array()? {
                let (partition, code, offset) = (answer.i32()?, answer.i16()?, answer.i64()?);
                produced.push(Produced { partition, code, offset });
                let (_append_time, _start) = (answer.i64()?, answer.i64()?);
                if flexible {
                    for _ in 0..answer.array()? {
                        let (_index, _why) = (answer.i32()?, answer.text()?);
                        answer.tags()?;
                    }
                    answer.text()?;
                    answer.tags()?;
                }
            }
            answer.tags()?;
        }
        Ok(produced)
    }

    /// AddPartitionsToTxn, version 0: an error code for each partition.
    pub(super) fn add_partitions(
        &mut self,
        transactional_id: &str,
        producer: ProducerId,
        topic: &str,
        partitions: &[i32],
    ) -> Result<Vec<i16>> {
        let mut body = Body::classic();
        body.text(Some(transactional_id)).i64(producer.id).i16(producer.epoch).array(1).text(Some(topic));
        body.array(partitions.len());
        for partition in partitions {
            body.i32(*partition);
        }
        let mut answer = self.call(24, 0, &body)?;
        answer.i32()?;
        let mut codes = Vec::new();
        for _ in 0..answer.array()? {
            answer.text()?;
            for _ in 0..answer.array()? {
                answer.i32()?;
                codes.push(answer.i16()?);
            }
        }
        Ok(codes)
    }

    /// EndTxn, version 1 or 5: who the producer is from now on.
    ///
    /// # Errors
    /// If the connection breaks; inside: Kafka's error code.
    pub(super) fn end_transaction(
        &mut self,
        transactional_id: &str,
        producer: ProducerId,
        commit: bool,
        second: bool,
    ) -> Result<Result<ProducerId, i16>> {
        let mut body = if second { Body::flexible() } else { Body::classic() };
        body.text(Some(transactional_id)).i64(producer.id).i16(producer.epoch).i8(i8::from(commit)).tags();
        let mut answer = self.call(26, if second { 5 } else { 1 }, &body)?;
        answer.i32()?;
        match answer.i16()? {
            code::NONE if second => Ok(Ok(ProducerId { id: answer.i64()?, epoch: answer.i16()? })),
            code::NONE => Ok(Ok(producer)),
            code => Ok(Err(code)),
        }
    }

    /// Fetch, version 5.
    pub(super) fn fetch(
        &mut self,
        topic: &str,
        from: &[(i32, Offset)],
        committed: bool,
        wait_ms: i32,
    ) -> Result<Vec<Fetched>> {
        const BYTES_MAX: i32 = 1 << 20;
        let mut body = Body::classic();
        body.i32(-1)
            .i32(wait_ms)
            .i32(1)
            .i32(8 * BYTES_MAX)
            .i8(i8::from(committed))
            .array(1)
            .text(Some(topic));
        body.array(from.len());
        for (partition, offset) in from {
            body.i32(*partition).i64(*offset).i64(-1).i32(BYTES_MAX);
        }
        let mut answer = self.call(1, 5, &body)?;
        answer.i32()?;
        let mut fetched = Vec::new();
        for _ in 0..answer.array()? {
            answer.text()?;
            for _ in 0..answer.array()? {
                fetched.push(read_fetched(&mut answer)?);
            }
        }
        Ok(fetched)
    }
}

impl Connection {
    /// ListOffsets, version 1: where the partition begins.
    pub(super) fn earliest_offset(&mut self, topic: &str, partition: i32) -> Result<Offset> {
        const EARLIEST: i64 = -2;
        let mut body = Body::classic();
        body.i32(-1).array(1).text(Some(topic)).array(1).i32(partition).i64(EARLIEST);
        let mut answer = self.call(2, 1, &body)?;
        ensure!(answer.array()? == 1, "one topic was asked for");
        answer.text()?;
        ensure!(answer.array()? == 1 && answer.i32()? == partition, "one partition was asked for");
        let (code, _timestamp, offset) = (answer.i16()?, answer.i64()?, answer.i64()?);
        ensure!(code == code::NONE, "start of {topic} partition {partition}: error code {code}");
        Ok(offset)
    }

    /// DeleteRecords, version 1: Kafka's error code.
    pub(super) fn delete_records(&mut self, topic: &str, partition: i32, below: Offset) -> Result<i16> {
        let mut body = Body::classic();
        body.array(1).text(Some(topic)).array(1).i32(partition).i64(below).i32(PRODUCE_TIMEOUT_MS);
        let mut answer = self.call(21, 1, &body)?;
        answer.i32()?;
        ensure!(answer.array()? == 1, "one topic was asked for");
        answer.text()?;
        ensure!(answer.array()? == 1 && answer.i32()? == partition, "one partition was asked for");
        let _low_watermark = answer.i64()?;
        answer.i16()
    }
}

fn read_fetched(answer: &mut Answer) -> Result<Fetched> {
    let (partition, code) = (answer.i32()?, answer.i16()?);
    let (high_watermark, last_stable_offset, log_start_offset) =
        (answer.i64()?, answer.i64()?, answer.i64()?);
    let aborted = (0..answer.array()?).map(|_| Ok((answer.i64()?, answer.i64()?))).collect::<Result<_>>()?;
    let records = answer.records()?;
    Ok(Fetched { partition, code, high_watermark, last_stable_offset, log_start_offset, aborted, records })
}
