//! Bodies of requests within bounds: so many bytes, and not slower than a slow line.
//!
//! Relies on nothing but the clock. What must stay true: nothing beyond the bound is kept or handed on;
//! a body that breaks a bound ends with an error that says which; time that the reader takes does
//! not count against who sends.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{FromRequest, Request};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::refusal::{Code, Refusal};

/// How slow a body may be.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// What is waited for it at first.
    pub grace: Duration,
    /// And then for each so many bytes a second more.
    pub bytes_per_second: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            grace: Duration::from_secs(30),
            bytes_per_second: 16 << 10,
        }
    }
}

impl Pace {
    /// What is left of the time of a body of which so much has come, after so much waiting.
    fn left(&self, bytes: u64, waited: Duration) -> Duration {
        let earned = Duration::from_secs(bytes / u64::from(self.bytes_per_second.max(1)));
        (self.grace + earned).saturating_sub(waited)
    }
}

/// Why a body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    /// It is too long.
    #[error("the body is longer than {max} bytes")]
    TooLong {
        /// What is allowed.
        max: u64,
    },
    /// It takes too long.
    #[error("the body came too slowly: {bytes} bytes in {seconds} s")]
    TooSlow {
        /// What has come.
        bytes: u64,
        /// In which time.
        seconds: u64,
    },
}

impl From<OutOfBounds> for Refusal {
    fn from(bounds: OutOfBounds) -> Refusal {
        let text = format!("could not take the request: {bounds}");
        match bounds {
            OutOfBounds::TooLong { max } => Refusal::new(Code::TooLarge, text)
                .hint(format!("send at most {max} bytes to this path at once")),
            OutOfBounds::TooSlow { .. } => Refusal::new(Code::TooSlow, text),
        }
    }
}

/// The same body within bounds.
pub fn bound(body: Body, max: u64, pace: Pace) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let mut pieces = body.into_data_stream();
    Body::from_stream(async_stream::stream! {
        let (mut seen, mut waited) = (0_u64, Duration::ZERO);
        loop {
            let begun = Instant::now();
            let left = pace.left(seen, waited);
            let Ok(next) = tokio::time::timeout(left, pieces.next()).await else {
                let seconds = (waited + begun.elapsed()).as_secs();
                yield Err(OutOfBounds::TooSlow { bytes: seen, seconds }.into());
                return;
            };
            waited += begun.elapsed();
            match next {
                None => return,
                Some(Ok(piece)) => {
                    seen += piece.len() as u64;
                    if seen > max {
                        yield Err(OutOfBounds::TooLong { max }.into());
                        return;
                    }
                    yield Ok(piece);
                }
                Some(Err(error)) => {
                    yield Err::<Bytes, Box<dyn Error + Send + Sync>>(Box::new(error));
                    return;
                }
            }
        }
    })
}

/// The bound that an error comes from, if it does.
pub fn broken(error: &(dyn Error + 'static)) -> Option<OutOfBounds> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(bounds) = error.downcast_ref::<OutOfBounds>() {
            return Some(*bounds);
        }
        cause = error.source();
    }
    None
}

/// What is answered when a body cannot be read.
pub fn refusal(error: &(dyn Error + 'static)) -> Refusal {
    match broken(error) {
        Some(bounds) => bounds.into(),
        None => {
            let text = format!("could not read the request body: {}", crate::chain(error));
            Refusal::new(Code::Invalid, text)
        }
    }
}

/// A whole body, within the bounds of its route.
pub struct Whole(pub Bytes);

impl<S: Sync> FromRequest<S> for Whole {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Whole, Refusal> {
        // The gate has bounded it.
        let bytes = to_bytes(request.into_body(), usize::MAX).await;
        bytes.map(Whole).map_err(|error| refusal(&error))
    }
}
