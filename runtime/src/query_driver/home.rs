//! Where invocations began: what is left of each, and their answers.
//!
//! Relies on every event to tell its edges after what it emitted was sent. What must stay true: an
//! answer is given when nothing of the invocation is left to run, and only when there is exactly one
//! (spec Q-4); who stopped asking, and who has waited too long, costs nothing more.

use std::collections::BTreeMap;
use std::rc::Rc;

use rama_io::{Env, Tick};

use super::{Invocation, QueryMessage, Work, first_item, run_event, send};
use crate::error::{Error, ErrorKind};
use crate::gather::Reach;
use crate::limits;
use crate::message::Reply;
use crate::task_thread::Thread;

/// The invocations that began on a thread.
#[derive(Default)]
pub(super) struct Homes(BTreeMap<Invocation, Home>);

/// One invocation, where it began.
struct Home {
    query: u16,
    reply: Reply<Vec<u8>>,
    /// XOR of all that is left to run.
    remaining: u64,
    /// How many levels have been let go.
    level: u16,
    answers: Vec<Vec<u8>>,
    until: Tick,
}

impl Homes {
    pub(super) fn all(&self) -> Vec<(u16, Invocation)> {
        let all = self.0.iter();
        all.map(|(invocation, home)| (home.query, *invocation))
            .collect()
    }

    pub(super) fn due(&self) -> Option<Tick> {
        self.0.values().map(|home| home.until).min()
    }
}

/// Begins an invocation on a task.
pub(super) fn begin<E: Env>(
    thread: &Rc<Thread<E>>,
    (task, query): (u32, u16),
    args: &[u8],
    reply: Reply<Vec<u8>>,
) {
    let layout = thread.layout.clone();
    let definition = &layout.queries[usize::from(query)];
    let invocation = Invocation {
        home: task,
        number: thread.env.random_u64(),
    };
    let edge = thread.env.random_u64().max(1);
    let batch = match first_item(definition, args, invocation.origin(), edge) {
        Ok(batch) => batch,
        Err(error) => {
            let text = format!(
                "the arguments do not fit query {}: {error}",
                definition.name
            );
            let _ = reply.send(Err(Error::invalid(text)));
            return;
        }
    };
    let until = thread.env.now().after(thread.tuning().query_timeout);
    thread.queries.bound(until);
    let home = Home {
        query,
        reply,
        remaining: edge,
        level: 0,
        answers: Vec::new(),
        until,
    };
    thread.queries.homes.borrow_mut().0.insert(invocation, home);
    let at = (task, query, invocation);
    run_event(thread, at, |task, out| {
        definition.first.run(task, batch, out);
        0
    });
}

/// An event of an invocation ran.
pub(super) fn on_ran<E: Env>(
    thread: &Rc<Thread<E>>,
    at: (u16, Invocation),
    edges: u64,
    mut answers: Vec<Vec<u8>>,
) {
    let (query, invocation) = at;
    let levels = thread.layout.queries[usize::from(query)].levels;
    let level = {
        let homes = &mut thread.queries.homes.borrow_mut().0;
        let Some(home) = homes.get_mut(&invocation) else {
            return;
        };
        home.remaining ^= edges;
        home.answers.append(&mut answers);
        let forgotten = home.reply.is_canceled();
        if home.remaining != 0 && !forgotten {
            return;
        }
        if home.level == levels || forgotten {
            None
        } else {
            home.level += 1;
            Some(home.level)
        }
    };
    match level {
        Some(level) => let_go(thread, at, level),
        None => finish(thread, at),
    }
}

/// Nothing runs any more below `level`.
fn let_go<E: Env>(thread: &Rc<Thread<E>>, at: (u16, Invocation), level: u16) {
    let (query, invocation) = at;
    let layout = &thread.layout;
    let mut tasks = Vec::new();
    for gather in &layout.queries[usize::from(query)].gathers {
        if gather.level == level {
            match gather.reach {
                Reach::Everywhere => tasks.extend(0..layout.tasks),
                Reach::First => tasks.push(0),
                Reach::Origin => tasks.push(invocation.home),
            }
        }
    }
    tasks.sort_unstable();
    tasks.dedup();
    let works: Vec<u64> = tasks
        .iter()
        .map(|_| thread.env.random_u64().max(1))
        .collect();
    if let Some(home) = thread.queries.homes.borrow_mut().0.get_mut(&invocation) {
        home.remaining = works.iter().fold(0, |all, work| all ^ work);
    }
    for (task, work) in tasks.into_iter().zip(works) {
        send(thread, at, task, QueryMessage::Release { level, work });
    }
}

/// Nothing is left of an invocation but its answer.
fn finish<E: Env>(thread: &Rc<Thread<E>>, at: (u16, Invocation)) {
    let name = &thread.layout.queries[usize::from(at.0)].name;
    end(thread, at, |mut answers| match answers.len() {
        1 => {
            let answer = answers.pop().unwrap_or_default();
            if answer.len() > limits::QUERY_RESULT_BYTES {
                return Err(Error::rejected(format!(
                    "the result of query {name} has {} bytes, the limit is {}; ask for less, page by \
                     page",
                    answer.len(),
                    limits::QUERY_RESULT_BYTES
                )));
            }
            Ok(answer)
        }
        count => Err(Error::new(
            ErrorKind::Failed,
            format!(
                "query {name} came to {count} results instead of one; aggregate behind \
                 .origin_partition(), which answers also without values (spec Q-4)"
            ),
        )),
    });
}

/// An event of an invocation failed (spec Q-13).
pub(super) fn fail<E: Env>(thread: &Rc<Thread<E>>, at: (u16, Invocation), text: &str) {
    let name = &thread.layout.queries[usize::from(at.0)].name;
    let text = format!("query {name} failed: {text}");
    end(thread, at, |_| Err(Error::new(ErrorKind::Failed, text)));
}

/// A part of an invocation is lost with a link: the same query may succeed later (spec Q-13).
pub(super) fn lose<E: Env>(thread: &Rc<Thread<E>>, at: (u16, Invocation), text: &str) {
    let name = &thread.layout.queries[usize::from(at.0)].name;
    let text = format!("query {name} was given up: {text}; retry");
    end(thread, at, |_| {
        Err(Error::new(ErrorKind::Unavailable, text))
    });
}

/// Answers and forgets an invocation, here and where it kept something.
fn end<E: Env>(
    thread: &Rc<Thread<E>>,
    at: (u16, Invocation),
    answer: impl FnOnce(Vec<Vec<u8>>) -> crate::error::Result<Vec<u8>>,
) {
    let (query, invocation) = at;
    let ended = thread.queries.homes.borrow_mut().0.remove(&invocation);
    let Some(home) = ended else { return };
    // Who asked may have gone.
    let _ = home.reply.send(answer(home.answers));
    if thread.layout.queries[usize::from(query)].keeps_elsewhere {
        for task in 0..thread.layout.tasks {
            send(thread, at, task, QueryMessage::Over);
        }
    } else {
        thread.queries.push(Work::about(at, QueryMessage::Over));
    }
}

/// Ends what has taken too long.
pub(super) fn expire<E: Env>(thread: &Rc<Thread<E>>, now: Tick) {
    let late: Vec<(u16, Invocation)> = {
        let homes = &thread.queries.homes.borrow().0;
        let late = homes.iter().filter(|(_, home)| home.until <= now);
        late.map(|(invocation, home)| (home.query, *invocation))
            .collect()
    };
    for at in late {
        let name = &thread.layout.queries[usize::from(at.0)].name;
        let after = thread.tuning().query_timeout;
        let text = format!(
            "query {name} was given up after {after:?}; ask for less, or raise \
             topology.query.timeout.millis"
        );
        end(thread, at, |_| {
            Err(Error::new(ErrorKind::Unavailable, text))
        });
    }
}
