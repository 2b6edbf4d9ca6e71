//! ApiVersions (18): what this broker speaks.

use bytes::Bytes;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;

use crate::api::{APIS, encode};
use crate::errors::ErrorCode;
use crate::guard::{Shape, text};
use crate::request::{Refusal, Request};

/// Features in force, with their level (KIP-584).
pub(crate) const FEATURES: [(&str, i16); 0] = [];

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
    encode(&answer, if known { request.version } else { 0 })
}
