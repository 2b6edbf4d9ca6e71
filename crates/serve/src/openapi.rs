//! `GET /openapi.json`: OpenAPI 3.1, made from the table of routes.

use axum::Json;
use serde_json::{Map, Value, json};

use crate::routes::{ROUTES, Route, Verb};

pub(crate) async fn openapi() -> Json<Value> {
    Json(document())
}

fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let verb = match route.verb {
            Verb::Get => "get",
            Verb::Post => "post",
            Verb::Delete => "delete",
        };
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[verb] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Highwater", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": { "Refusal": refusal() } },
    })
}

fn operation(route: &Route) -> Value {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let text = json!({ "type": "string" });
    let parameters: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text }))
        .chain(route.query.iter().map(
            |(name, meaning)| json!({ "name": name, "in": "query", "description": meaning, "schema": text }),
        ))
        .collect();
    let refused = json!({
        "description": "Refused.",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Refusal" } } },
    });
    let mut operation = json!({
        "operationId": format!("{:?}", route.operation),
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done.", "content": { route.answer: {} } },
            "4XX": refused,
            "5XX": refused,
        },
    });
    if !route.body.is_empty() {
        let content: Map<String, Value> =
            route.body.iter().map(|media| ((*media).to_owned(), json!({}))).collect();
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

fn refusal() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "hint"],
                "properties": {
                    "message": { "type": "string" },
                    "hint": { "type": "string" },
                    "retry_after_s": { "type": "integer" },
                    "file": { "type": "string" },
                    "line": { "type": "integer" },
                    "column": { "type": "integer" },
                    "text": { "type": "string" },
                },
            },
        },
    })
}
