//! ApiVersions (18): what this broker speaks.

use bytes::Bytes;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};

use crate::api::{APIS, encode, text as string};
use crate::errors::ErrorCode;
use crate::guard::{Shape, text};
use crate::request::{Refusal, Request};

/// Features in force, with the highest level known (KIP-584). Level 0 is known of all.
///
/// - `transaction.version` 2: records add their partitions to the transaction, its end raises the
///   producer's epoch (KIP-890).
pub(crate) const FEATURES: [(&str, i16); 1] = [("transaction.version", 2)];
/// Features never change.
const FEATURES_EPOCH: i64 = 0;
/// The first version that tells features.
const FEATURES_SINCE: i16 = 3;
/// The first version whose clients take a feature known from level 0 on (KAFKA-17011).
const LEVEL_ZERO_SINCE: i16 = 4;

pub(crate) static SHAPE: Shape = Shape { flexible_since: 3, fields: &[text().since(3), text().since(3)] };

/// Answers; an unknown version is answered in version 0 with error 35 and our ranges, so that the
/// client can ask again (KIP-511).
pub(crate) fn answer(request: &Request) -> Result<Bytes, Refusal> {
    let known = request.api.serves(request.version);
    if known {
        SHAPE.check(request.version, &request.body).map_err(|error| request.malformed(error))?;
    }
    let code = if known { ErrorCode::None } else { ErrorCode::UnsupportedVersion };
    let ranges = APIS.iter().map(|api| {
        ApiVersion::default()
            .with_api_key(api.key)
            .with_min_version(api.announced_min)
            .with_max_version(api.max)
    });
    let answer = ApiVersionsResponse::default().with_error_code(code.code()).with_api_keys(ranges.collect());
    let version = if known { request.version } else { 0 };
    encode(&with_features(answer, version), version)
}

fn with_features(answer: ApiVersionsResponse, version: i16) -> ApiVersionsResponse {
    if version < FEATURES_SINCE {
        return answer;
    }
    let supported = FEATURES
        .iter()
        .filter(|_| version >= LEVEL_ZERO_SINCE)
        .map(|(name, level)| SupportedFeatureKey::default().with_name(string(name)).with_max_version(*level));
    let finalized = FEATURES.iter().map(|(name, level)| {
        FinalizedFeatureKey::default()
            .with_name(string(name))
            .with_max_version_level(*level)
            .with_min_version_level(*level)
    });
    answer
        .with_supported_features(supported.collect())
        .with_finalized_features_epoch(FEATURES_EPOCH)
        .with_finalized_features(finalized.collect())
}
