//! UpdateFeatures (57): features have the level this program was made with.

use bytes::Bytes;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use crate::api::api_versions::FEATURES;
use crate::api::{encode, text as string};
use crate::broker::Broker;
use crate::errors::ErrorCode;
use crate::guard::{Shape, fixed, structs, text};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 0,
    fields: &[
        fixed(4),
        structs(&[text(), fixed(2), fixed(1).until(0), fixed(1).since(1)]),
        fixed(1).since(1),
    ],
};

/// The last version that answers for each feature; later ones answer for all together.
const RESULTS_UNTIL: i16 = 1;

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: UpdateFeaturesRequest = request.decode()?;
    let refused: Vec<Option<String>> = asked.feature_updates.iter().map(refusal).collect();
    broker.count_errors(refused.iter().flatten().count());
    let answer = UpdateFeaturesResponse::default().with_error_message(None);
    if request.version > RESULTS_UNTIL {
        let answer = match refused.into_iter().flatten().next() {
            Some(message) => answer
                .with_error_code(ErrorCode::InvalidUpdateVersion.code())
                .with_error_message(Some(string(&message))),
            None => answer,
        };
        return encode(&answer, request.version);
    }
    let results = asked.feature_updates.into_iter().zip(refused).map(|(update, refused)| {
        let result = UpdatableFeatureResult::default().with_error_message(None).with_feature(update.feature);
        match refused {
            Some(message) => result
                .with_error_code(ErrorCode::InvalidUpdateVersion.code())
                .with_error_message(Some(string(&message))),
            None => result,
        }
    });
    encode(&answer.with_results(results.collect()), request.version)
}

/// Why an update is refused; one to the level that is in force is not.
fn refusal(update: &FeatureUpdateKey) -> Option<String> {
    let (name, asked) = (&*update.feature, update.max_version_level);
    let level = FEATURES.iter().find(|(feature, _)| *feature == name).map(|(_, level)| *level);
    match level {
        Some(level) if level == asked => None,
        Some(level) => Some(format!("feature {name} has level {level} and keeps it, {asked} was asked for")),
        None => Some(format!("feature {name} is not known")),
    }
}
