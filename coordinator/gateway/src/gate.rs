//! Who may ask what: in front of every router.
//!
//! Relies on the table of `rama_api::endpoints`, on tokens, and on whoever carries requests over QUIC to
//! say who asks. What must stay true: a route that is not in the table is answered to nobody; without
//! a token or a certificate nothing is answered but up or down; a body is bounded before anybody
//! reads it.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use rama_api::endpoints::{self, Endpoint, Server};
use rama_api::{Access, Scope};

use crate::bounded::{self, OutOfBounds, Pace};
use crate::refusal::{Code, Refusal};
use crate::tokens::{Grant, Tokens};

/// What stands before a router.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Whose router it is.
    pub server: Server,
    /// Who is let in.
    pub door: Door,
    /// Longest body of requests with records, where it is set.
    pub body_bytes_max: Option<u64>,
    /// How slow a body may be.
    pub pace: Pace,
}

/// Who is let in, if nobody else has said who asks.
#[derive(Clone, Debug)]
pub enum Door {
    /// Anyone, to everything: nobody proves anything here.
    Open,
    /// Who has one of these tokens.
    Tokens(Tokens),
    /// Nobody but who is known already.
    Shut,
}

impl Gate {
    /// A gate before the router of a server.
    pub fn new(server: Server, door: Door) -> Gate {
        Gate {
            server,
            door,
            body_bytes_max: None,
            pace: Pace::default(),
        }
    }

    /// Puts it before a router, its fallbacks included.
    pub fn before(self, router: Router) -> Router {
        router.layer(from_fn_with_state(Arc::new(self), pass))
    }

    /// Who asks; none where nobody has to say.
    fn caller(&self, request: &Request) -> Result<Option<Grant>, Denied> {
        if let Some(grant) = request.extensions().get::<Grant>() {
            return Ok(Some(grant.clone()));
        }
        match &self.door {
            Door::Open => Ok(None),
            Door::Shut => Err(Denied::NoToken),
            Door::Tokens(tokens) => {
                let given = request.headers().get(header::AUTHORIZATION);
                let given = given.ok_or(Denied::NoToken)?.to_str().ok();
                let secret = given.and_then(bearer).ok_or(Denied::NotBearer)?;
                tokens.check(secret).map(Some).ok_or(Denied::BadToken)
            }
        }
    }

    fn longest(&self, endpoint: Option<&Endpoint>) -> u64 {
        let max = endpoint.map_or(endpoints::CONTROL_BYTES_MAX, |it| it.body_bytes_max);
        match self.body_bytes_max {
            Some(records) if max == endpoints::RECORDS_BYTES_MAX => records,
            _ => max,
        }
    }
}

/// The secret of `Bearer SECRET`.
fn bearer(text: &str) -> Option<&str> {
    let (scheme, secret) = text.trim().split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| secret.trim_start())
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Denied {
    /// No token was shown.
    NoToken,
    /// Something else was.
    NotBearer,
    /// One that is not known, or not any more.
    BadToken,
    /// Who asks may not.
    Scope {
        who: String,
        what: String,
        wanted: Scope,
    },
    /// Not in this module, or not beyond one.
    Module { who: String, module: String },
    /// The route has no line in the table.
    Unlisted { what: String },
}

async fn pass(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let path = path.as_ref().map(MatchedPath::as_str);
    let method = request.method().as_str();
    let endpoint = path.and_then(|path| endpoints::find(gate.server, method, path));
    let opens = endpoint.is_some_and(|endpoint| endpoint.access == Access::Open);
    if !opens {
        let judged = match gate.caller(&request) {
            Ok(grant) => judge(&gate, grant, &mut request, path, endpoint).await,
            Err(denied) => Err(denied),
        };
        if let Err(denied) = judged {
            return denied.into_response();
        }
    }
    let max = gate.longest(endpoint);
    if announced(&request).is_some_and(|bytes| bytes > max) {
        return Refusal::from(OutOfBounds::TooLong { max }).into_response();
    }
    let bound = |body: Body| bounded::bound(body, max, gate.pace);
    next.run(request.map(bound)).await
}

/// Whether who asks may; whoever is not asked who they are may all that is listed.
async fn judge(
    gate: &Gate,
    grant: Option<Grant>,
    request: &mut Request,
    path: Option<&str>,
    endpoint: Option<&Endpoint>,
) -> Result<(), Denied> {
    let what = format!("{} {}", request.method(), request.uri().path());
    let Some(endpoint) = endpoint else {
        // Without a path, or with a method that it has not: the router says so, but only to
        // those who are known.
        return match path {
            Some(path) if !is_listed(gate.server, path) => Err(Denied::Unlisted { what }),
            _ => Ok(()),
        };
    };
    let Some((grant, wanted)) = grant.zip(endpoint.access.scope()) else {
        return Ok(());
    };
    let process = grant.process && matches!(endpoint.access, Access::ScopeOrProcess(_));
    if !process && !grant.scopes.iter().any(|scope| scope.covers(wanted)) {
        let who = grant.who;
        return Err(Denied::Scope { who, what, wanted });
    }
    let Some(only) = grant.module else {
        return Ok(());
    };
    if module(request).await.as_deref() == Some(only.as_str()) {
        return Ok(());
    }
    Err(Denied::Module {
        who: grant.who,
        module: only,
    })
}

/// The module that a path names.
async fn module(request: &mut Request) -> Option<String> {
    let (mut parts, body) = std::mem::take(request).into_parts();
    let names = RawPathParams::from_request_parts(&mut parts, &()).await;
    *request = Request::from_parts(parts, body);
    let names = names.ok()?;
    let module = names.iter().find(|(name, _)| *name == "module");
    module.map(|(_, module)| module.to_owned())
}

/// Whether a path has a line, by whatever method.
fn is_listed(server: Server, path: &str) -> bool {
    let mut all = endpoints::ENDPOINTS.iter();
    all.any(|endpoint| endpoint.is_on(server) && endpoint.path == path)
}

/// What a request says of the length of its body.
fn announced(request: &Request) -> Option<u64> {
    // A request of this method has none, and its header would be about the answer.
    if request.method() == Method::HEAD {
        return None;
    }
    let length = request.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let challenge = match &self {
            Denied::NoToken | Denied::NotBearer => Some(r#"Bearer realm="rama""#.to_owned()),
            Denied::BadToken => Some(r#"Bearer realm="rama", error="invalid_token""#.to_owned()),
            Denied::Scope { wanted, .. } => Some(format!(
                r#"Bearer realm="rama", error="insufficient_scope", scope="{wanted}""#
            )),
            Denied::Module { .. } | Denied::Unlisted { .. } => None,
        };
        tracing::debug!(denied = ?self, "a request is refused");
        let mut response = self.refusal().into_response();
        if let Some(challenge) = challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl Denied {
    fn refusal(self) -> Refusal {
        match self {
            Denied::NoToken => Refusal::new(
                Code::Unauthorized,
                "could not tell who asks: the request has no token",
            ),
            Denied::NotBearer => Refusal::new(
                Code::Unauthorized,
                "could not tell who asks: the header Authorization does not say `Bearer TOKEN`",
            ),
            Denied::BadToken => Refusal::new(
                Code::Unauthorized,
                "could not tell who asks: this token is not known, was revoked, or has expired",
            ),
            Denied::Scope { who, what, wanted } => Refusal::new(
                Code::Forbidden,
                format!("{who} may not ask for {what}: that needs the scope {wanted}"),
            )
            .hint(format!(
                "use a token with the scope {wanted} (`rama tokens create --scope {wanted}`), or an \
                 operator's certificate"
            )),
            Denied::Module { who, module } => Refusal::new(
                Code::Forbidden,
                format!("{who} is for module {module} alone"),
            )
            .hint("use a token that was made without --module, or for this one"),
            Denied::Unlisted { what } => Refusal::new(
                Code::Forbidden,
                format!("nobody may ask for {what}: no scope is set for it"),
            )
            .hint("this is a mistake of the server: report it"),
        }
    }
}
