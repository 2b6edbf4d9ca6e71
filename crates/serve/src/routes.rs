//! Every route, once: the router and `/openapi.json` are made from one table.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post};

use crate::guard::guard;
use crate::server::Server;
use crate::{groups, openapi, page, pipelines, samples, tables, topics, transactions};

/// Bytes of a body other than events: a script, a topic's settings.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "ROUTES says what each does")]
pub enum Operation {
    Page,
    Health,
    Metrics,
    OpenApi,
    ListTopics,
    CreateTopic,
    DescribeTopic,
    AlterTopic,
    AddPartitions,
    DeleteRecords,
    DeleteTopic,
    IngestEvents,
    ReadRecords,
    ListGroups,
    DescribeGroup,
    ResetOffsets,
    DeleteGroup,
    ListTransactions,
    DescribeTransaction,
    AbortTransaction,
    AbortHangingTransaction,
    ListTables,
    ReadTable,
    StreamTable,
    ListPipelines,
    SubmitPipeline,
    DescribePipeline,
    StopPipeline,
    DropPipeline,
    CheckSql,
}

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Verb {
    Get,
    Post,
    Delete,
}

/// A route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Its method.
    pub verb: Verb,
    /// Its path; `{name}` stands for one segment.
    pub path: &'static str,
    /// What it does.
    pub operation: Operation,
    /// The same, for people.
    pub summary: &'static str,
    /// Names and meanings of its query parameters.
    pub query: &'static [(&'static str, &'static str)],
    /// Content types of its request body; empty: none.
    pub body: &'static [&'static str],
    /// Content type of its answer.
    pub answer: &'static str,
}

const JSON: &str = "application/json";
const SQL: &[&str] = &["application/sql", "text/plain"];
const EVENTS: &[&str] = &["application/json", "application/x-ndjson"];

const fn reads(path: &'static str, operation: Operation, summary: &'static str) -> Route {
    Route { verb: Verb::Get, path, operation, summary, query: &[], body: &[], answer: JSON }
}

const fn writes(
    path: &'static str,
    operation: Operation,
    summary: &'static str,
    body: &'static [&'static str],
) -> Route {
    Route { verb: Verb::Post, path, operation, summary, query: &[], body, answer: JSON }
}

const fn deletes(path: &'static str, operation: Operation, summary: &'static str) -> Route {
    Route { verb: Verb::Delete, path, operation, summary, query: &[], body: &[], answer: JSON }
}

const SCRIPT_QUERY: &[(&str, &str)] = &[
    ("name", "The pipeline's name; else SET 'pipeline.name' decides, else the file's stem."),
    ("file", "The script's file name, for messages."),
    ("var.K", "`${K}` in the script is replaced by the value."),
];

/// Every route of the server, the gateway's included.
pub const ROUTES: &[Route] = &[
    Route { answer: "text/html", ..reads("/", Operation::Page, "The page.") },
    reads("/healthz", Operation::Health, "Whether the node answers."),
    Route {
        answer: "text/plain",
        ..reads("/metrics", Operation::Metrics, "Figures in Prometheus' text format.")
    },
    reads("/openapi.json", Operation::OpenApi, "This description."),
    reads("/v1/topics", Operation::ListTopics, "All topics with offsets and rates."),
    writes("/v1/topics", Operation::CreateTopic, "Makes a topic: {name, partitions, configs}.", &[JSON]),
    reads("/v1/topics/{topic}", Operation::DescribeTopic, "A topic's partitions, offsets, rate and configs."),
    writes(
        "/v1/topics/{topic}/configs",
        Operation::AlterTopic,
        "Changes some configs: {configs: {name: value}}; null is the default again.",
        &[JSON],
    ),
    writes(
        "/v1/topics/{topic}/partitions",
        Operation::AddPartitions,
        "Adds partitions: {partitions}, how many in all.",
        &[JSON],
    ),
    writes(
        "/v1/topics/{topic}/delete-records",
        Operation::DeleteRecords,
        "Deletes records below an offset: {partition, before}; without them of each partition, and all.",
        &[JSON],
    ),
    deletes("/v1/topics/{topic}", Operation::DeleteTopic, "Deletes a topic and its records."),
    Route {
        query: &[("key", "The field whose value becomes the record's key.")],
        ..writes(
            "/v1/topics/{topic}/events",
            Operation::IngestEvents,
            "Takes one event, an array, or one event per line; gzip is understood. Answers once they are durable.",
            EVENTS,
        )
    },
    Route {
        query: &[
            ("partition", "0 if absent."),
            ("from", "An offset, `start`, or `tail` (the default: the newest records)."),
            ("limit", "Records, 1 to 1000; 100 if absent."),
        ],
        ..reads("/v1/topics/{topic}/records", Operation::ReadRecords, "Records of a partition.")
    },
    reads("/v1/groups", Operation::ListGroups, "All consumer groups with their lag and how fast they read."),
    reads("/v1/groups/{group}", Operation::DescribeGroup, "A group's members, offsets and lag."),
    writes(
        "/v1/groups/{group}/offsets",
        Operation::ResetOffsets,
        "Sets how far a group without members has read: {topic, partition, to}.",
        &[JSON],
    ),
    deletes("/v1/groups/{group}", Operation::DeleteGroup, "Forgets a group without members."),
    Route {
        query: &[("open", "`true`: only those with an open transaction.")],
        ..reads(
            "/v1/transactions",
            Operation::ListTransactions,
            "Transactional ids, at most 10000, and open transactions of none of them.",
        )
    },
    reads(
        "/v1/transactions/{id}",
        Operation::DescribeTransaction,
        "A transactional id, its producer and where its open transaction writes.",
    ),
    writes(
        "/v1/transactions/{id}/abort",
        Operation::AbortTransaction,
        "Aborts the open transaction and fences its producer.",
        &[],
    ),
    writes(
        "/v1/topics/{topic}/abort-transaction",
        Operation::AbortHangingTransaction,
        "Aborts a hanging transaction in one partition: {partition, producer_id}.",
        &[JSON],
    ),
    reads("/v1/tables", Operation::ListTables, "All materialized tables."),
    Route {
        query: &[
            ("limit", "Rows, 1 to 10000; 100 if absent."),
            ("key", "The primary key's value; repeated for a key of several columns, in their order."),
            ("key.COLUMN", "The value of one column of the primary key."),
            ("after", "A `position` of an ingest answer: waits until a committed epoch covers it."),
            ("timeout_ms", "How long to wait for `after`; 10000 if absent."),
        ],
        ..reads("/v1/tables/{table}", Operation::ReadTable, "Rows of the last committed epoch.")
    },
    Route {
        query: &[("uncommitted", "`true`: changes as they are computed, before their epoch commits.")],
        answer: "text/event-stream",
        ..reads(
            "/v1/tables/{table}/stream",
            Operation::StreamTable,
            "Events `snapshot`, then `changes`; `overflow` before a new snapshot for a slow subscriber; `end`.",
        )
    },
    reads("/v1/pipelines", Operation::ListPipelines, "All pipelines with their figures."),
    Route {
        query: SCRIPT_QUERY,
        ..writes("/v1/pipelines", Operation::SubmitPipeline, "Starts a pipeline; the body is SQL.", SQL)
    },
    reads(
        "/v1/pipelines/{pipeline}",
        Operation::DescribePipeline,
        "A pipeline's state, operators and balance.",
    ),
    writes(
        "/v1/pipelines/{pipeline}/stop",
        Operation::StopPipeline,
        "Stops a pipeline after a final epoch.",
        &[],
    ),
    deletes(
        "/v1/pipelines/{pipeline}",
        Operation::DropPipeline,
        "Stops a pipeline; forgets its state and tables.",
    ),
    Route {
        query: SCRIPT_QUERY,
        ..writes("/v1/sql/check", Operation::CheckSql, "Compiles a script without starting it.", SQL)
    },
];

pub(crate) fn router(server: &Server) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        if let Some(handler) = handler(route.operation) {
            router = router.route(route.path, handler);
        }
    }
    router
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(server.clone())
        .merge(server.gateway().routes())
        .layer(from_fn_with_state(server.clone(), guard))
}

/// None for the gateway's own.
fn handler(operation: Operation) -> Option<MethodRouter<Server>> {
    Some(match operation {
        Operation::Page => get(page::page),
        Operation::Health => get(samples::health),
        Operation::Metrics => get(samples::metrics),
        Operation::OpenApi => get(openapi::openapi),
        Operation::ListTopics => get(topics::list),
        Operation::CreateTopic => post(topics::create),
        Operation::DescribeTopic => get(topics::describe),
        Operation::AlterTopic => post(topics::alter),
        Operation::AddPartitions => post(topics::add_partitions),
        Operation::DeleteRecords => post(topics::delete_records),
        Operation::DeleteTopic => delete(topics::delete),
        Operation::ReadRecords => get(topics::records),
        Operation::ListGroups => get(groups::list),
        Operation::DescribeGroup => get(groups::describe),
        Operation::ResetOffsets => post(groups::reset_offsets),
        Operation::DeleteGroup => delete(groups::delete),
        Operation::ListTransactions => get(transactions::list),
        Operation::DescribeTransaction => get(transactions::describe),
        Operation::AbortTransaction => post(transactions::abort),
        Operation::AbortHangingTransaction => post(transactions::abort_hanging),
        Operation::ListTables => get(tables::list),
        Operation::ReadTable => get(tables::read),
        Operation::StreamTable => get(tables::stream),
        Operation::ListPipelines => get(pipelines::list),
        Operation::SubmitPipeline => post(pipelines::submit),
        Operation::DescribePipeline => get(pipelines::describe),
        Operation::StopPipeline => post(pipelines::stop),
        Operation::DropPipeline => delete(pipelines::remove),
        Operation::CheckSql => post(pipelines::check),
        Operation::IngestEvents => return None,
    })
}
