//! `/rest/{module}/dead-letters`: records that a topology gave up on.
//!
//! Relies on the cluster's dead-letter depots. `GET` lists; `POST …/replay` and `…/drop` take
//! `{"ids": [...]}` or `{"all": true}` – one of them, so that an empty body never means
//! everything.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json as object;

use super::{Gateway, body, json};
use crate::metrics::Route;
use crate::names::no_module;
use crate::refusal::{Code, Refusal};

const WANTED: &str = r#"{"ids": ["<id>", ...]} or {"all": true}"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    ids: Option<Vec<String>>,
    #[serde(default)]
    all: bool,
}

/// What becomes of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settle {
    /// They are given to their topology again.
    Replay,
    /// They are forgotten.
    Drop,
}

pub(super) async fn list(State(gateway): State<Gateway>, Path(module): Path<String>) -> Response {
    let work = async {
        known(&gateway, &module)?;
        json(
            StatusCode::OK,
            &gateway.cluster.dead_letters(&module).await?,
        )
    };
    gateway.timed(Route::DeadLetters, work).await
}

pub(super) async fn replay(
    State(gateway): State<Gateway>,
    Path(module): Path<String>,
    bytes: Result<Bytes, BytesRejection>,
) -> Response {
    gateway
        .timed(
            Route::Settle,
            settle(&gateway, &module, bytes, Settle::Replay),
        )
        .await
}

pub(super) async fn drop(
    State(gateway): State<Gateway>,
    Path(module): Path<String>,
    bytes: Result<Bytes, BytesRejection>,
) -> Response {
    gateway
        .timed(
            Route::Settle,
            settle(&gateway, &module, bytes, Settle::Drop),
        )
        .await
}

async fn settle(
    gateway: &Gateway,
    module: &str,
    bytes: Result<Bytes, BytesRejection>,
    how: Settle,
) -> Result<Response, Refusal> {
    known(gateway, module)?;
    let cluster = &gateway.cluster;
    let ids = match body(bytes, WANTED)? {
        Which {
            ids: Some(ids),
            all: false,
        } => ids,
        Which {
            ids: None,
            all: true,
        } => {
            let letters = cluster.dead_letters(module).await?;
            letters.into_iter().map(|letter| letter.id).collect()
        }
        _ => {
            let detail = "could not tell which dead letters are meant";
            return Err(Refusal::new(Code::Invalid, detail).hint(format!("send {WANTED}")));
        }
    };
    let count = match how {
        Settle::Replay => cluster.replay_dead_letters(module, &ids).await?,
        Settle::Drop => cluster.drop_dead_letters(module, &ids).await?,
    };
    json(StatusCode::OK, &object!({ "count": count }))
}

fn known(gateway: &Gateway, module: &str) -> Result<(), Refusal> {
    match gateway.cluster.definition(module) {
        Ok(_) => Ok(()),
        Err(_) => Err(no_module(&gateway.cluster, module)),
    }
}
