//! `rama tokens`: who is answered over HTTP.
//!
//! Relies on `rama_gateway::tokens` for the file. What must stay true: a token is printed when it
//! is made and never again.

use std::path::PathBuf;

use rama_gateway::chain;
use rama_gateway::tokens::{Token, TokenError, TokenFile, wall_ms};
use serde_json::{Value, json};

use crate::args::Format;
use crate::args::tokens::{Create, File, Tokens};
use crate::client::settings;
use crate::error::{Exit, Failure, Result};
use crate::output::{self, columns};

pub fn run(format: Format, command: &Tokens) -> Result<()> {
    match command {
        Tokens::Create(args) => create(format, args),
        Tokens::List(file) => list(format, &open(file)?),
        Tokens::Revoke { name, file } => {
            let revoked = open(file)?.revoke(name).map_err(failure)?;
            output::print(format, &row(&revoked), || {
                format!("token {name} is revoked")
            })
        }
    }
}

fn create(format: Format, args: &Create) -> Result<()> {
    let file = open(&args.file)?;
    let life = args.expires.map(|life| life.as_millis() as u64);
    let ends = life.map(|life| wall_ms().saturating_add(life));
    let made = file.create(&args.name, &args.scopes, args.module.as_deref(), ends);
    let (token, secret) = made.map_err(failure)?;
    let mut row = row(&token);
    row["token"] = json!(secret);
    if format == Format::Table {
        eprintln!("token {} is in {}", token.name, file.path().display());
        eprintln!("this is the only time that it is shown:");
    }
    output::print(format, &row, || secret)
}

fn list(format: Format, file: &TokenFile) -> Result<()> {
    let tokens = file.read().map_err(failure)?;
    let rows: Vec<Value> = tokens.iter().map(row).collect();
    output::print_list(format, &rows, || {
        let cells = tokens.iter().map(|token| {
            let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.name()).collect();
            let ends = match token.expires_ms {
                None => "never".to_owned(),
                Some(end) if end <= wall_ms() => "expired".to_owned(),
                Some(end) => output::moment(end),
            };
            vec![
                token.name.clone(),
                scopes.join(","),
                token.module.clone().unwrap_or_else(|| "all".to_owned()),
                output::moment(token.created_ms),
                ends,
            ]
        });
        columns(&["NAME", "SCOPES", "MODULE", "CREATED", "EXPIRES"], cells)
    })
}

/// A token without anything secret.
fn row(token: &Token) -> Value {
    json!({
        "name": token.name,
        "scopes": token.scopes,
        "module": token.module,
        "createdMs": token.created_ms,
        "expiresMs": token.expires_ms,
    })
}

fn open(args: &File) -> Result<TokenFile> {
    if let Some(file) = &args.file {
        return Ok(TokenFile::new(file));
    }
    let config = settings(args.config.as_deref())?.config();
    let config = config.map_err(|error| Failure::new(Exit::Usage, error.what, error.hint))?;
    let file: PathBuf = config.security.tokens;
    if file.as_os_str().is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "could not tell where tokens are kept: security.tokens is not set",
            "name the file with --file, or as security.tokens in rama.toml",
        ));
    }
    Ok(TokenFile::new(&file))
}

fn failure(error: TokenError) -> Failure {
    let (exit, hint) = match &error {
        TokenError::Unknown(_) => (
            Exit::NotFound,
            "`rama tokens list` shows those that there are",
        ),
        TokenError::Exists(_) => (
            Exit::Refused,
            "choose another --name, or revoke it first: `rama tokens revoke NAME`",
        ),
        TokenError::Exposed { .. } => (Exit::Refused, "tokens are for their owner alone"),
        TokenError::Name(_) => (Exit::Usage, "choose another --name"),
        TokenError::Content { .. } => (Exit::Failed, "name the file that `rama tokens` wrote"),
        TokenError::File { .. } => (
            Exit::Failed,
            "does its directory exist, and may this user write there?",
        ),
    };
    Failure::new(exit, chain(&error), hint)
}
