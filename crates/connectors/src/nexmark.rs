//! `nexmark`: the events of the Nexmark benchmark, made from a seed. Row `n` is the same whenever and
//! wherever it is made.
//!
//! The model is that of the benchmark's public generator (Tucker et al., "NEXMark: A Benchmark for Queries
//! over Data Streams", 2002, and <https://github.com/nexmark/nexmark>): of 50 events one is a person, three
//! are auctions, 46 are bids; half of the bids are for a hot auction.

mod event;
#[cfg(test)]
mod tests;
mod text;

use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, StructArray, TimestampMillisecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, SchemaRef, TimeUnit};
use highwater_env::Clock;
use highwater_stream::{
    ConnectorError, ErrorKind, Position, SourceBatch, SourceConnector, SourcePoll, SourceSpec, SplitId,
    SplitReader,
};

use crate::options::TableOptions;
use crate::pace::Pace;
use crate::timer::Timer;
use event::{Auction, Bid, Event, Events, Person};

/// Event time passes at this rate.
const EVENTS_PER_SECOND: u64 = 10_000;

/// The benchmark's events as one table, one split.
pub(crate) struct Nexmark {
    clock: Arc<dyn Clock>,
    timer: Arc<Timer>,
    schema: SchemaRef,
    events: Events,
    /// None: as fast as they are read.
    rows_per_second: Option<u64>,
    end: Option<u64>,
    table: String,
}

impl Nexmark {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        timer: Arc<Timer>,
        spec: &SourceSpec,
        options: TableOptions<'_>,
    ) -> Result<Self, ConnectorError> {
        let known = columns();
        for field in spec.declared.fields() {
            if let Some(message) = differs(&known, field) {
                return Err(options.error(message));
            }
        }
        let positive = |key: &str| match options.parsed::<u64>(key, "a number")? {
            Some(0) => Err(options.error(format!("option '{key}' is '0', expected at least 1"))),
            rate => Ok(rate),
        };
        let events = Events {
            seed: options.number("seed", 0)?,
            per_second: positive("events-per-second")?.unwrap_or(EVENTS_PER_SECOND),
        };
        Ok(Self {
            clock,
            timer,
            schema: SchemaRef::clone(&spec.physical),
            events,
            rows_per_second: positive("rows-per-second")?,
            end: options.parsed::<u64>("number-of-rows", "a number of rows")?,
            table: spec.table.clone(),
        })
    }
}

impl SourceConnector for Nexmark {
    fn splits(&mut self) -> Result<Vec<SplitId>, ConnectorError> {
        Ok(vec![SplitId("0".to_owned())])
    }

    fn is_bounded(&self) -> bool {
        self.end.is_some()
    }

    fn open(
        &mut self,
        _split: &SplitId,
        from: Option<Position>,
    ) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let first = from.map_or(0, |position| position.0);
        Ok(Box::new(Reader {
            pace: self
                .rows_per_second
                .map(|rate| Pace::new(Arc::clone(&self.clock), Arc::clone(&self.timer), first, rate)),
            schema: SchemaRef::clone(&self.schema),
            events: self.events,
            end: self.end.unwrap_or(u64::MAX),
            table: self.table.clone(),
            next: first,
        }))
    }
}

struct Reader {
    /// None: as fast as it is read.
    pace: Option<Pace>,
    schema: SchemaRef,
    events: Events,
    end: u64,
    table: String,
    next: u64,
}

impl SplitReader for Reader {
    fn poll(&mut self, rows_max: usize, waker: &Waker) -> Result<SourcePoll, ConnectorError> {
        if self.next >= self.end {
            return Ok(SourcePoll::End);
        }
        let due = match &self.pace {
            None => Some(u64::MAX),
            Some(pace) => pace.due(self.next, waker),
        };
        let Some(due) = due else { return Ok(SourcePoll::Pending) };
        let until = due.min(self.end).min(self.next.saturating_add(rows_max.max(1) as u64));
        let rows = batch(&self.schema, self.events, self.next..until)
            .map_err(|error| ConnectorError::new(ErrorKind::Config, &*self.table, error.to_string()))?;
        self.next = until;
        Ok(SourcePoll::Batch(SourceBatch {
            rows,
            kinds: None,
            next: Position(until),
            rejects: Vec::new(),
            skipped: 0,
        }))
    }
}

/// The columns a table may declare.
fn columns() -> Fields {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let row = |fields: &[(&str, &DataType)]| {
        let fields = fields.iter().map(|(name, ty)| Field::new(*name, (*ty).clone(), true));
        DataType::Struct(fields.collect())
    };
    let (long, text) = (&DataType::Int64, &DataType::Utf8);
    let person = row(&[
        ("id", long),
        ("name", text),
        ("emailAddress", text),
        ("creditCard", text),
        ("city", text),
        ("state", text),
        ("dateTime", &time),
        ("extra", text),
    ]);
    let auction = row(&[
        ("id", long),
        ("itemName", text),
        ("description", text),
        ("initialBid", long),
        ("reserve", long),
        ("dateTime", &time),
        ("expires", &time),
        ("seller", long),
        ("category", long),
        ("extra", text),
    ]);
    let bid = row(&[
        ("auction", long),
        ("bidder", long),
        ("price", long),
        ("channel", text),
        ("url", text),
        ("dateTime", &time),
        ("extra", text),
    ]);
    [("event_type", DataType::Int32), ("person", person), ("auction", auction), ("bid", bid)]
        .into_iter()
        .map(|(name, ty)| Field::new(name, ty, true))
        .collect()
}

/// What is wrong with a declared column.
fn differs(known: &Fields, declared: &Field) -> Option<String> {
    let name = declared.name();
    let Some(field) = known.iter().find(|field| field.name() == name) else {
        let names: Vec<&str> = known.iter().map(|field| field.name().as_str()).collect();
        return Some(format!("column {name}: nexmark has {}", names.join(", ")));
    };
    match (field.data_type(), declared.data_type()) {
        (DataType::Struct(known), DataType::Struct(fields)) => fields
            .iter()
            .find_map(|field| differs(known, field))
            .map(|message| format!("column {name}: {message}")),
        (known, found) if known == found => None,
        (known, found) => Some(format!("column {name} is {found}, expected {known}")),
    }
}

fn batch(
    schema: &SchemaRef,
    events: Events,
    rows: Range<u64>,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let made: Vec<Event> = rows.map(|row| events.event(row)).collect();
    let columns = schema.fields().iter().map(|field| column(&made, field));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(made.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect(), &options)
}

fn column(events: &[Event], field: &Field) -> ArrayRef {
    let DataType::Struct(fields) = field.data_type() else {
        let numbers = events.iter().map(|event| match event {
            Event::Person(_) => 0,
            Event::Auction(_) => 1,
            Event::Bid(_) => 2,
        });
        return Arc::new(Int32Array::from_iter_values(numbers));
    };
    let row = match field.name().as_str() {
        "person" => parts(events, fields, Event::person, person_field),
        "auction" => parts(events, fields, Event::auction, auction_field),
        _ => parts(events, fields, Event::bid, bid_field),
    };
    Arc::new(row)
}

/// A field of one kind of event.
enum Value<'a> {
    Long(i64),
    Text(&'a str),
}

fn parts<'a, T: 'a>(
    events: &'a [Event],
    fields: &Fields,
    of: impl Fn(&'a Event) -> Option<&'a T>,
    get: impl Fn(&'a T, &str) -> Value<'a>,
) -> StructArray {
    let nulls = NullBuffer::from_iter(events.iter().map(|event| of(event).is_some()));
    let arrays = fields.iter().map(|field| -> ArrayRef {
        let values = || events.iter().map(|event| of(event).map(|part| get(part, field.name())));
        let longs = || {
            values().map(|value| match value {
                Some(Value::Long(long)) => Some(long),
                _ => None,
            })
        };
        match field.data_type() {
            DataType::Int64 => Arc::new(longs().collect::<Int64Array>()),
            DataType::Utf8 => Arc::new(
                values()
                    .map(|value| match value {
                        Some(Value::Text(text)) => Some(text),
                        _ => None,
                    })
                    .collect::<StringArray>(),
            ),
            _ => Arc::new(longs().collect::<TimestampMillisecondArray>()),
        }
    });
    let arrays: Vec<ArrayRef> = arrays.collect();
    if arrays.is_empty() {
        return StructArray::new_empty_fields(events.len(), Some(nulls));
    }
    StructArray::new(fields.clone(), arrays, Some(nulls))
}

fn person_field<'a>(person: &'a Person, name: &str) -> Value<'a> {
    match name {
        "id" => Value::Long(person.id),
        "name" => Value::Text(&person.name),
        "emailAddress" => Value::Text(&person.email_address),
        "creditCard" => Value::Text(&person.credit_card),
        "city" => Value::Text(person.city),
        "state" => Value::Text(person.state),
        "dateTime" => Value::Long(person.time_ms),
        _ => Value::Text(&person.extra),
    }
}

fn auction_field<'a>(auction: &'a Auction, name: &str) -> Value<'a> {
    match name {
        "id" => Value::Long(auction.id),
        "itemName" => Value::Text(&auction.item_name),
        "description" => Value::Text(&auction.description),
        "initialBid" => Value::Long(auction.initial_bid),
        "reserve" => Value::Long(auction.reserve),
        "dateTime" => Value::Long(auction.time_ms),
        "expires" => Value::Long(auction.expires_ms),
        "seller" => Value::Long(auction.seller),
        "category" => Value::Long(auction.category),
        _ => Value::Text(&auction.extra),
    }
}

fn bid_field<'a>(bid: &'a Bid, name: &str) -> Value<'a> {
    match name {
        "auction" => Value::Long(bid.auction),
        "bidder" => Value::Long(bid.bidder),
        "price" => Value::Long(bid.price),
        "channel" => Value::Text(&bid.channel),
        "url" => Value::Text(&bid.url),
        "dateTime" => Value::Long(bid.time_ms),
        _ => Value::Text(&bid.extra),
    }
}
