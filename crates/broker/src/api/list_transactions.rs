//! ListTransactions (66): all transactional ids that fit a filter.

use bytes::Bytes;
use highwater_coordinator::{TransactionFilter, TransactionState as State};
use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{
    ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use crate::api::{encode, text};
use crate::broker::Broker;
use crate::errors::ErrorCode;
use crate::guard::{Shape, fixed, numbers, text as text_field, texts};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape =
    Shape { flexible_since: 0, fields: &[texts(), numbers(8), fixed(8).since(1), text_field().since(2)] };

/// A pattern's program takes no more memory than this.
const PATTERN_BYTES_MAX: usize = 1 << 20;

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: ListTransactionsRequest = request.decode()?;
    let pattern = match asked.transactional_id_pattern.as_deref().filter(|pattern| !pattern.is_empty()) {
        None => None,
        Some(pattern) => match whole_match(pattern) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                tracing::debug!("transactional id pattern refused: {error}");
                broker.count_error();
                let code = ErrorCode::InvalidRegularExpression.code();
                return encode(&ListTransactionsResponse::default().with_error_code(code), request.version);
            }
        },
    };
    let named = |state: &State| asked.state_filters.iter().any(|name| **name == *state.name());
    let unknown: Vec<StrBytes> =
        asked.state_filters.iter().filter(|name| !State::is_known(name)).cloned().collect();
    let filter = TransactionFilter {
        states: State::ALL.into_iter().filter(named).collect(),
        producer_ids: asked.producer_id_filters.iter().map(|id| id.0).collect(),
        open_for_ms: (request.version >= 1 && asked.duration_filter >= 0).then_some(asked.duration_filter),
    };
    // States that are never seen here, and no others, were asked for: nothing fits.
    let nothing = !asked.state_filters.is_empty() && filter.states.is_empty();
    let found = if nothing { Vec::new() } else { broker.transactions.list(&filter) };
    let fits = |id: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(id));
    let states = found.iter().filter(|found| fits(&found.transactional_id)).map(|found| {
        TransactionState::default()
            .with_transactional_id(TransactionalId(text(&found.transactional_id)))
            .with_producer_id(ProducerId(found.producer.id))
            .with_transaction_state(text(found.state.name()))
    });
    let answer = ListTransactionsResponse::default()
        .with_unknown_state_filters(unknown)
        .with_transaction_states(states.collect());
    encode(&answer, request.version)
}

/// The pattern, which must match an id as a whole (KIP-1152). Matching takes linear time.
fn whole_match(pattern: &str) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_BYTES_MAX).build()
}
