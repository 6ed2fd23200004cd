//! What mirrors in other modules ask of a task thread.
//!
//! Relies on the checks of the decoder. What must stay true: the name of a mirror becomes a key, so
//! its length is bounded before it is used.

use std::time::Duration;

use super::{Answer, Awaited, Decoder, ask, odd};
use crate::error::Result;
use crate::limits;
use crate::message::{ClientRequest, Message};
use crate::mirror;
use crate::remote::frame::MirrorCall;
use crate::topology_def::Start;

impl Decoder<'_> {
    pub(super) fn mirror(
        &self,
        (task, depot): (u32, u16),
        consumer: String,
        call: MirrorCall,
    ) -> Result<(Message, Awaited)> {
        self.partition(task, depot)?;
        if consumer.len() > limits::MIRROR_NAME_BYTES_MAX {
            return Err(odd(format!("a mirror's name of {} bytes", consumer.len())));
        }
        let request = |request| ClientRequest::Mirror {
            task,
            depot,
            consumer,
            request,
        };
        Ok(match call {
            MirrorCall::Begin { start, value } => {
                let start = match start {
                    0 => Start::Beginning,
                    1 => Start::End,
                    2 => Start::Offset(value),
                    3 => Start::Timestamp(value),
                    4 => Start::Ago(Duration::from_millis(value)),
                    5 => Start::RecordsAgo(value),
                    other => return Err(odd(format!("start {other}"))),
                };
                ask(Answer::Count, |reply| {
                    request(mirror::Request::Begin { start, reply })
                })
            }
            MirrorCall::Pull { from, most } => ask(pulled, |reply| {
                request(mirror::Request::Pull { from, most, reply })
            }),
            MirrorCall::Release => ask(
                |()| Answer::Done,
                |reply| request(mirror::Request::Release { reply }),
            ),
        })
    }
}

fn pulled(pulled: mirror::Pulled) -> Answer {
    let first = pulled.first;
    let (bytes, ends) = pulled.records.into_parts();
    Answer::Pulled { first, bytes, ends }
}
