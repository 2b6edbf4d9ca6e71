//! DeleteTopics (20).

use bytes::Bytes;
use highwater_env::TopicId;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::{ErrorCode, topic_error};
use crate::guard::{self, Shape, fixed, structs, texts};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 4,
    fields: &[structs(&[guard::text(), fixed(16)]).since(6), texts().until(5), fixed(4)],
};

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: DeleteTopicsRequest = request.decode()?;
    let by_name = asked.topic_names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name)));
    let results = by_name.chain(asked.topics).map(|topic| delete(broker, topic));
    encode(&DeleteTopicsResponse::default().with_responses(results.collect()), request.version)
}

fn delete(broker: &Broker, asked: DeleteTopicState) -> DeletableTopicResult {
    let by_id = asked.name.is_none();
    let topic = match &asked.name {
        Some(name) => broker.topics.get(&name.0),
        None => broker.topics.by_id(TopicId(asked.topic_id.as_u128())),
    };
    let result = DeletableTopicResult::default()
        .with_error_message(None)
        .with_name(asked.name)
        .with_topic_id(asked.topic_id);
    let deleted = match &topic {
        Some(topic) if topic.internal => Err((ErrorCode::InvalidTopic, "the topic is internal".to_owned())),
        Some(topic) => {
            let deleted = broker.topics.delete(&topic.name);
            deleted
                .map(|()| broker.groups.topic_deleted(&topic.name))
                .map_err(|error| (topic_error(&error), error.to_string()))
        }
        None if by_id => Err((ErrorCode::UnknownTopicId, "no topic has this id".to_owned())),
        None => Err((ErrorCode::UnknownTopicOrPartition, "no topic has this name".to_owned())),
    };
    let result = match &topic {
        Some(topic) => result
            .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
            .with_topic_id(Uuid::from_u128(topic.id.0)),
        None => result,
    };
    match deleted {
        Ok(()) => result,
        Err((code, message)) => {
            broker.count_error();
            result.with_error_code(code.code()).with_error_message(Some(StrBytes::from_string(message)))
        }
    }
}
