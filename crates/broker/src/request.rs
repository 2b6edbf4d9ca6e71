//! A request: its header taken off, its API known, its body still bytes.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::protocol::{Decodable, StrBytes};

use crate::api::{Api, Serve};
use crate::listener::Listener;
use crate::response::Response;
use crate::wire::{WireError, WireReader};

/// Why a connection is closed instead of answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is not what it says it is.
    #[error("malformed {api} request: {error}")]
    Malformed {
        /// The API, or `header`.
        api: &'static str,
        /// What is wrong.
        error: WireError,
    },
    /// An API that is not announced, or a version outside of the announced range.
    #[error("api key {key} version {version} is not supported")]
    Unsupported {
        /// The API's key.
        key: i16,
        /// The version asked for.
        version: i16,
    },
    /// `kafka-protocol` could not decode the body.
    #[error("malformed {api} request: {reason}")]
    Decode {
        /// The API.
        api: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// `kafka-protocol` could not encode our answer: our fault.
    #[error("answer could not be encoded: {0}")]
    Encode(String),
    /// A request without records that is too large.
    #[error("{api} request of {len} bytes, at most {max} are taken")]
    TooLarge {
        /// The API.
        api: &'static str,
        /// Its bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A request that waited for other clients when its own was gone.
    #[error("{api} request was abandoned while it waited")]
    Abandoned {
        /// The API.
        api: &'static str,
    },
    /// A Produce without acknowledgement failed; closing is the only way to tell.
    #[error("produce with acks=0 failed with error code {code}")]
    UnacknowledgedFailed {
        /// The first partition's error code.
        code: i16,
    },
}

/// A request whose header was read.
///
/// ```text
/// api key i16 | api version i16 | correlation id i32 | client id, nullable classic string
/// | tagged fields, if the version is flexible | body
/// ```
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) api: &'static Api,
    pub(crate) api_index: usize,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    /// The client's name for itself; a slice of the frame.
    pub(crate) client_id: Option<StrBytes>,
    /// Where it came from, if over a socket.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) body: Bytes,
    /// Where it came in.
    pub(crate) listener: Arc<Listener>,
    /// Whether its records must be decoded.
    pub(crate) decodes: bool,
}

impl Request {
    /// Takes the header off a frame (its length field already gone).
    ///
    /// # Errors
    /// If the header is malformed or the API is not served. An unknown version of ApiVersions is
    /// not an error: it is answered with the versions we know.
    pub(crate) fn read(frame: Bytes, listener: &Arc<Listener>) -> Result<Self, Refusal> {
        let malformed = |error| Refusal::Malformed { api: "header", error };
        let listener = Arc::clone(listener);
        let mut reader = WireReader::new(frame, false);
        let key = reader.i16().map_err(malformed)?;
        let version = reader.i16().map_err(malformed)?;
        let correlation_id = reader.i32().map_err(malformed)?;
        let (api_index, api) = Api::find(key).ok_or(Refusal::Unsupported { key, version })?;
        if !api.serves(version) {
            return match api.serve {
                Serve::ApiVersions => {
                    let (client_id, peer, body, decodes) = (None, None, Bytes::new(), false);
                    Ok(Self {
                        api,
                        api_index,
                        version,
                        correlation_id,
                        client_id,
                        peer,
                        body,
                        listener,
                        decodes,
                    })
                }
                _ => Err(Refusal::Unsupported { key, version }),
            };
        }
        let client_id = reader.nullable_string().map_err(malformed)?;
        let mut reader = WireReader::new(reader.into_rest(), api.flexible(version));
        reader.tags().map_err(malformed)?;
        let (peer, body, decodes) = (None, reader.into_rest(), false);
        Ok(Self { api, api_index, version, correlation_id, client_id, peer, body, listener, decodes })
    }

    /// Whether answering may wait for the disk, or take long, so that it must not happen on a thread
    /// that serves sockets.
    pub(crate) fn may_block(&self) -> bool {
        self.decodes || matches!(self.api.serve, Serve::Control(..))
    }

    /// Lets go of the frame: what is still needed of it is held by slices of its own.
    pub(crate) fn release(&mut self) {
        (self.client_id, self.body) = (None, Bytes::new());
    }

    pub(crate) fn reader(&self) -> WireReader {
        WireReader::new(self.body.clone(), self.api.flexible(self.version))
    }

    pub(crate) fn malformed(&self, error: WireError) -> Refusal {
        Refusal::Malformed { api: self.api.name, error }
    }

    /// Decodes a control-plane body with `kafka-protocol`, behind the bounds guard.
    pub(crate) fn decode<T: Decodable>(&self) -> Result<T, Refusal> {
        let (Serve::Control(shape, _) | Serve::Waiting(shape, _)) = self.api.serve else {
            return Err(Refusal::Decode { api: self.api.name, reason: "it has its own codec".to_owned() });
        };
        shape.check(self.version, &self.body).map_err(|error| self.malformed(error))?;
        T::decode(&mut self.body.clone(), self.version)
            .map_err(|e| Refusal::Decode { api: self.api.name, reason: format!("{e:#}") })
    }

    pub(crate) fn response(&self, body: Bytes) -> Response {
        let flexible_header = self.api.flexible_response_header(self.version);
        Response::new(self.correlation_id, flexible_header, vec![body.into()], None)
    }
}
