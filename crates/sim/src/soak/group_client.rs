//! The requests of members of consumer groups, and those that commit offsets in a transaction.

use anyhow::{Result, ensure};
use highwater_env::Offset;

use super::client::{Connection, ProducerId, code};
use super::wire::{Answer, Body};

const SESSION_TIMEOUT_MS: i32 = 10_000;
/// Short: a member that is gone is not waited for until the node is killed again.
const REBALANCE_TIMEOUT_MS: i32 = 400;
const PROTOCOL: &str = "soak";

/// Who asks: a member, or nobody (generation -1, no id).
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    pub(super) group: &'a str,
    pub(super) generation: i32,
    pub(super) member_id: &'a str,
}

/// The answer to a JoinGroup.
pub(super) struct JoinAnswer {
    pub(super) code: i16,
    pub(super) generation: i32,
    pub(super) leader: String,
    pub(super) member_id: String,
    /// All members' ids; for the leader only.
    pub(super) members: Vec<String>,
}

impl Connection {
    /// JoinGroup, version 5.
    pub(super) fn join_group(&mut self, group: &str, member_id: &str) -> Result<JoinAnswer> {
        let mut body = Body::classic();
        body.text(Some(group)).i32(SESSION_TIMEOUT_MS).i32(REBALANCE_TIMEOUT_MS);
        body.text(Some(member_id)).text(None).text(Some("consumer"));
        body.array(1).text(Some(PROTOCOL)).records(&[]);
        let mut answer = self.call(11, 5, &body)?;
        answer.i32()?;
        let (code, generation, _protocol) = (answer.i16()?, answer.i32()?, answer.text()?);
        let (leader, member_id, mut members) = (answer.text()?, answer.text()?, Vec::new());
        for _ in 0..answer.array()? {
            members.push(answer.text()?);
            let (_instance_id, _metadata) = (answer.text()?, answer.records()?);
        }
        Ok(JoinAnswer { code, generation, leader, member_id, members })
    }

    /// SyncGroup, version 3: Kafka's error code and this member's assignment.
    pub(super) fn sync_group(
        &mut self,
        claim: Claim<'_>,
        assignments: &[(String, Vec<u8>)],
    ) -> Result<(i16, Vec<u8>)> {
        let mut body = claimed(claim);
        body.text(None).array(assignments.len());
        for (member_id, assignment) in assignments {
            body.text(Some(member_id)).records(assignment);
        }
        let mut answer = self.call(14, 3, &body)?;
        answer.i32()?;
        Ok((answer.i16()?, answer.records()?))
    }

    /// Heartbeat, version 3: Kafka's error code.
    pub(super) fn heartbeat(&mut self, claim: Claim<'_>) -> Result<i16> {
        let mut body = claimed(claim);
        body.text(None);
        let mut answer = self.call(12, 3, &body)?;
        answer.i32()?;
        answer.i16()
    }

    /// LeaveGroup, version 2: Kafka's error code.
    pub(super) fn leave_group(&mut self, claim: Claim<'_>) -> Result<i16> {
        let mut body = Body::classic();
        body.text(Some(claim.group)).text(Some(claim.member_id));
        let mut answer = self.call(13, 2, &body)?;
        answer.i32()?;
        answer.i16()
    }

    /// OffsetCommit, version 7: the first error code that is not 0, else 0.
    pub(super) fn commit_offsets(
        &mut self,
        claim: Claim<'_>,
        topic: &str,
        offsets: &[(i32, Offset)],
    ) -> Result<i16> {
        let mut body = claimed(claim);
        body.text(None);
        put_offsets(&mut body, topic, offsets);
        read_codes(self.call(8, 7, &body)?, offsets.len())
    }

    /// OffsetFetch, version 7, of stable offsets only: the next offset by partition, -1 for none.
    ///
    /// # Errors
    /// If the connection breaks; inside: Kafka's error code.
    pub(super) fn fetch_offsets(
        &mut self,
        group: &str,
        topic: &str,
        partitions: &[i32],
    ) -> Result<Result<Vec<(i32, Offset)>, i16>> {
        const REQUIRE_STABLE: i8 = 1;
        let mut body = Body::flexible();
        body.text(Some(group)).array(1).text(Some(topic)).array(partitions.len());
        for partition in partitions {
            body.i32(*partition);
        }
        body.tags().i8(REQUIRE_STABLE).tags();
        let mut answer = self.call(9, 7, &body)?;
        answer.i32()?;
        let (mut offsets, mut worst) = (Vec::new(), code::NONE);
        for _ in 0..answer.array()? {
            answer.text()?;
            for _ in 0..answer.array()? {
                let (partition, offset) = (answer.i32()?, answer.i64()?);
                let (_leader_epoch, _metadata) = (answer.i32()?, answer.text()?);
                worst = first_error(worst, answer.i16()?);
                answer.tags()?;
                offsets.push((partition, offset));
            }
            answer.tags()?;
        }
        worst = first_error(answer.i16()?, worst);
        Ok(if worst == code::NONE { Ok(offsets) } else { Err(worst) })
    }

    /// AddOffsetsToTxn, version 0: Kafka's error code.
    pub(super) fn add_offsets(
        &mut self,
        transactional_id: &str,
        producer: ProducerId,
        group: &str,
    ) -> Result<i16> {
        let mut body = Body::classic();
        body.text(Some(transactional_id)).i64(producer.id).i16(producer.epoch).text(Some(group));
        let mut answer = self.call(25, 0, &body)?;
        answer.i32()?;
        answer.i16()
    }

    /// TxnOffsetCommit, version 5 if the producer speaks the second version of transactions, else 3: the
    /// first error code that is not 0, else 0.
    pub(super) fn commit_offsets_in_transaction(
        &mut self,
        (transactional_id, producer, second): (&str, ProducerId, bool),
        claim: Claim<'_>,
        topic: &str,
        offsets: &[(i32, Offset)],
    ) -> Result<i16> {
        let mut body = Body::flexible();
        body.text(Some(transactional_id)).text(Some(claim.group)).i64(producer.id).i16(producer.epoch);
        body.i32(claim.generation).text(Some(claim.member_id)).text(None);
        put_offsets(&mut body, topic, offsets);
        body.tags();
        read_codes(self.call(28, if second { 5 } else { 3 }, &body)?, offsets.len())
    }
}

/// Group, generation and member, as most requests begin.
fn claimed(claim: Claim<'_>) -> Body {
    let mut body = Body::classic();
    body.text(Some(claim.group)).i32(claim.generation).text(Some(claim.member_id));
    body
}

fn put_offsets(body: &mut Body, topic: &str, offsets: &[(i32, Offset)]) {
    body.array(1).text(Some(topic)).array(offsets.len());
    for (partition, offset) in offsets {
        body.i32(*partition).i64(*offset).i32(-1).text(Some("")).tags();
    }
    body.tags();
}

/// The error codes of a commit's partitions, which are `count`.
fn read_codes(mut answer: Answer, count: usize) -> Result<i16> {
    answer.i32()?;
    let (mut worst, mut seen) = (code::NONE, 0);
    for _ in 0..answer.array()? {
        answer.text()?;
        for _ in 0..answer.array()? {
            answer.i32()?;
            worst = first_error(worst, answer.i16()?);
            answer.tags()?;
            seen += 1;
        }
        answer.tags()?;
    }
    ensure!(seen == count, "{count} offsets were committed, {seen} are answered");
    Ok(worst)
}

fn first_error(one: i16, other: i16) -> i16 {
    if one == code::NONE { other } else { one }
}
