//! What the daemons answer, as an OpenAPI 3.1 document.
//!
//! Relies on the table of routes and on the types of `rama_api` for schemas (JSON Schema 2020-12, which
//! OpenAPI 3.1 uses as it is). What must stay true: each line of the table is in the document of its
//! server, and nothing else.

#[cfg(test)]
mod tests;

use rama_api::endpoints::{Content, ENDPOINTS, Endpoint, Server};
use rama_api::{Access, Scope};
use rama_gateway::problem::{PROBLEM_JSON, Problem};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Where schemas are in the document.
const SCHEMAS: &str = "/components/schemas";

/// The document of a server.
pub(crate) fn document(server: Server) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.is_on(server)) {
        let operation = operation(endpoint, server, &mut generator);
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.to_lowercase()] = operation;
    }
    let what = match server {
        Server::Conductor => "a conductor",
        Server::Supervisor => "a supervisor",
        Server::Module => "a module",
    };
    let scopes: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": format!("Rama: what {what} answers"),
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!(
                "Errors are problem+json (RFC 9457). Where certificates or tokens are on, each \
                 operation wants a bearer token with the scope it names; scopes: {}.",
                scopes.join(", ")
            ),
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": {
                "Problem": {
                    "description": "Why not",
                    "content": {PROBLEM_JSON: {"schema": problem}},
                },
                "Elsewhere": {
                    "description": "Served by another supervisor",
                    "headers": {
                        "Location": {"schema": {"type": "string"}},
                        "Supervisor-Locations": {
                            "description": "A JSON list of host:port",
                            "schema": {"type": "string"},
                        },
                    },
                },
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn operation(endpoint: &Endpoint, server: Server, generator: &mut SchemaGenerator) -> Value {
    let (status, answer) = endpoint.answer;
    let mut said = json!({"description": endpoint.summary});
    if let Some(content) = content(answer, generator) {
        said["content"] = content;
    }
    let mut responses = json!({
        status.to_string(): said,
        "default": {"$ref": "#/components/responses/Problem"},
    });
    // Data is served by supervisors that run a worker of the module.
    if endpoint.path.starts_with("/rest/") && server != Server::Module {
        responses["308"] = json!({"$ref": "#/components/responses/Elsewhere"});
    }
    let mut operation = json!({
        "operationId": format!("{:?}", endpoint.id),
        "summary": endpoint.summary,
        "responses": responses,
        "security": security(endpoint.access),
    });
    let parameters = parameters(endpoint);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(content) = content(endpoint.body, generator) {
        operation["requestBody"] = json!({
            "required": true,
            "description": format!("At most {} bytes", endpoint.body_bytes_max),
            "content": content,
        });
    }
    operation
}

fn security(access: Access) -> Value {
    match access {
        Access::Open => json!([]),
        Access::Known => json!([{"token": []}]),
        Access::Scope(scope) | Access::ScopeOrProcess(scope) => json!([{"token": [scope.name()]}]),
    }
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let names = endpoint.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({
            "name": name, "in": "path", "required": true, "schema": {"type": "string"},
        }))
    });
    let query = endpoint.query.iter().map(|(name, what)| {
        json!({
            "name": name, "in": "query", "description": what, "schema": {"type": "string"},
        })
    });
    names.chain(query).collect()
}

/// Media types with their schemas.
fn content(content: Content, generator: &mut SchemaGenerator) -> Option<Value> {
    let json = |schema: Value| json!({"application/json": {"schema": schema}});
    let text = |kind: &str| json!({kind: {"schema": {"type": "string"}}});
    Some(match content {
        Content::Nothing => return None,
        Content::Json(of) => json(of(generator).into()),
        Content::Any => json(json!({})),
        Content::Path => json(json!({
            "type": "array",
            "description": "A path: keys and navigators, such as [\"key\", [\"sortedMapRange\", 1, 9]]",
        })),
        Content::Records => json!({
            "application/json": {"schema": records()},
            "application/x-ndjson": {"schema": {"type": "string"}},
        }),
        Content::Bytes => json!({"application/octet-stream": {}}),
        Content::Text => text("text/plain"),
        Content::Events => text("text/event-stream"),
    })
}

fn records() -> Value {
    json!({
        "type": "object",
        "description": "One of `data` and `records`",
        "properties": {
            "data": {"description": "A record"},
            "records": {"type": "array", "description": "Many"},
            "ackLevel": {"enum": ["ack", "appendAck", "none"], "default": "ack"},
        },
        "additionalProperties": false,
    })
}
