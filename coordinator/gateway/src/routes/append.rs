//! `POST /rest/{module}/depot/{depot}/append`: one record into a depot, or many.
//!
//! Relies on the cluster for durability: nothing is answered before the level asked for is reached
//! (spec D-15). The answer for one record is the map of ack returns as in Rama (D-19); its position
//! is in two headers, so that clients of Rama are not disturbed by it.
//!
//! Many records come as `records` in place of `data`, or as JSON lines. They are answered by a list
//! (or lines) with one member per record, in order: its position and returns, or its problem; the
//! status is 200 when all are appended as asked and 207 otherwise. What must stay true: a batch with
//! a record that cannot be appended at all is refused before anything of it is.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rama_runtime::{AckLevel, Appended};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Gateway, Shape, body, json, whole};
use crate::metrics::Route;
use crate::problem::Problem;
use crate::refusal::{Code, Refusal};
use crate::{names, tagged};

/// Records of one request. The bytes of a request are bounded by `http.body_bytes_max`.
pub const BATCH_RECORDS_MAX: usize = 10_000;

/// Media types of a body that has one record on each line.
const JSON_LINES: [&str; 3] = [
    "application/x-ndjson",
    "application/jsonl",
    "application/x-jsonlines",
];

const WANTED: &str = r#"{"data": <record>, "ackLevel": "ack" | "appendAck" | "none"}, or "records": [<record>, ...] for "data""#;
const PARTITION: HeaderName = HeaderName::from_static("rama-partition");
const OFFSET: HeaderName = HeaderName::from_static("rama-offset");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default, deserialize_with = "present")]
    data: Option<Value>,
    records: Option<Vec<Value>>,
    #[serde(default, rename = "ackLevel", alias = "ack_level", alias = "ack")]
    ack_level: Level,
}

/// A null that was sent is a record; one that was not is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Ack levels by Rama's names, and ours.
#[derive(Clone, Copy, Default, Deserialize)]
enum Level {
    #[default]
    #[serde(rename = "ack")]
    Ack,
    #[serde(rename = "appendAck", alias = "append_ack", alias = "append-ack")]
    AppendAck,
    #[serde(rename = "none")]
    None,
}

impl From<Level> for AckLevel {
    fn from(level: Level) -> AckLevel {
        match level {
            Level::Ack => AckLevel::Ack,
            Level::AppendAck => AckLevel::AppendAck,
            Level::None => AckLevel::None,
        }
    }
}

/// What a query may say.
#[derive(Deserialize)]
pub(super) struct Parameters {
    int64: Option<String>,
    /// For bodies that have no place for it.
    #[serde(default, rename = "ackLevel")]
    ack_level: Level,
}

/// What becomes of one record of many.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Appended {
        partition: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
        returns: Value,
    },
    Failed {
        problem: Problem,
    },
}

pub(super) async fn append(
    State(gateway): State<Gateway>,
    Path((module, depot)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Response {
    let Parameters { int64, ack_level } = parameters;
    let to = Depot {
        gateway: &gateway,
        module: &module,
        name: &names::canonical(names::Kind::Depot, &depot),
        shape: Shape { int64 },
    };
    let work = async {
        if is_json_lines(&headers) {
            let records = lines(&whole(bytes)?)?;
            let outcomes = to.many(records, ack_level).await?;
            return as_lines(&outcomes);
        }
        match body(bytes, WANTED)? {
            Body {
                data: Some(data),
                records: None,
                ack_level,
            } => to.one(data, ack_level).await,
            Body {
                data: None,
                records: Some(records),
                ack_level,
            } => {
                let outcomes = to.many(records, ack_level).await?;
                json(status(&outcomes), &outcomes)
            }
            _ => {
                let detail = "could not tell what to append: one of `data` and `records` is wanted";
                Err(Refusal::new(Code::Invalid, detail).hint(format!("send {WANTED}")))
            }
        }
    };
    gateway.timed(Route::Append, work).await
}

/// Where a request appends to.
struct Depot<'a> {
    gateway: &'a Gateway,
    module: &'a str,
    name: &'a str,
    shape: Shape,
}

impl Depot<'_> {
    async fn one(&self, data: Value, ack: Level) -> Result<Response, Refusal> {
        let data = tagged::decode(data)?;
        let cluster = &self.gateway.cluster;
        let sent = cluster.append_json(self.module, self.name, &data, ack.into());
        let appended = sent.await.map_err(|error| self.explained(error))?;
        let offset = appended.offset;
        let partition = appended.partition;
        let mut response = json(StatusCode::OK, &self.returns(appended))?;
        if let Some(offset) = offset {
            let headers = response.headers_mut();
            headers.insert(PARTITION, HeaderValue::from(partition));
            headers.insert(OFFSET, HeaderValue::from(offset));
        }
        Ok(response)
    }

    async fn many(&self, records: Vec<Value>, ack: Level) -> Result<Vec<Outcome>, Refusal> {
        if records.len() > BATCH_RECORDS_MAX {
            let (count, max) = (records.len(), BATCH_RECORDS_MAX);
            let detail = format!("could not append {count} records at once, nothing was appended");
            let hint = format!("send at most {max} records in a request");
            return Err(Refusal::new(Code::TooLarge, detail).hint(hint));
        }
        let records = records.into_iter().map(tagged::decode);
        let records = records.collect::<Result<Vec<Value>, Refusal>>()?;
        let cluster = &self.gateway.cluster;
        let sent = cluster.append_json_many(self.module, self.name, &records, ack.into());
        let answers = sent.await.map_err(|error| self.explained(error))?;
        let outcome = |answer: rama_runtime::Result<Appended>| match answer {
            Ok(appended) => Outcome::Appended {
                partition: appended.partition,
                offset: appended.offset,
                returns: self.returns(appended),
            },
            Err(error) => Outcome::Failed {
                problem: Refusal::from(error).into(),
            },
        };
        Ok(answers.into_iter().map(outcome).collect())
    }

    fn returns(&self, appended: Appended) -> Value {
        self.shape.apply(appended.returns.into_iter().collect())
    }

    fn explained(&self, error: rama_runtime::Error) -> Refusal {
        let cluster = &self.gateway.cluster;
        names::explain(
            error.into(),
            cluster,
            self.module,
            names::Kind::Depot,
            self.name,
        )
    }
}

fn is_json_lines(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    JSON_LINES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(kind))
}

/// The records of a body that has one on each line; empty lines are none.
fn lines(bytes: &[u8]) -> Result<Vec<Value>, Refusal> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let filled = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let record = |(index, line)| {
        serde_json::from_slice(line).map_err(|error| {
            let detail = format!("could not read line {} of the body: {error}", index + 1);
            Refusal::new(Code::Invalid, detail).hint("nothing was appended; send JSON, one a line")
        })
    };
    // One more than is taken is enough to see that there are too many.
    filled.take(BATCH_RECORDS_MAX + 1).map(record).collect()
}

fn status(outcomes: &[Outcome]) -> StatusCode {
    let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed { .. });
    if outcomes.iter().any(failed) {
        StatusCode::MULTI_STATUS
    } else {
        StatusCode::OK
    }
}

fn as_lines(outcomes: &[Outcome]) -> Result<Response, Refusal> {
    let line = |outcome| serde_json::to_string(outcome);
    let lines: Result<Vec<String>, _> = outcomes.iter().map(line).collect();
    let lines = lines
        .map_err(|error| Refusal::new(Code::Invalid, format!("could not write JSON: {error}")))?;
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    let kind = [(header::CONTENT_TYPE, JSON_LINES[0])];
    Ok((status(outcomes), kind, text).into_response())
}
