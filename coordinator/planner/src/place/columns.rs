//! Which task groups the workers of each column hold.
//!
//! Threads per worker differ by one at most, and within that the tasks per worker are as even as
//! possible: larger groups (when threads do not divide tasks) fill up whatever column has least.
//! With the same threads and workers as before, every group stays in its column; otherwise groups
//! that shared a column stay neighbors, so that scaling splits columns before it mixes them.

use crate::plan::Plan;
use crate::shape::Shape;

/// The groups of every column, ascending.
pub(super) fn spread(shape: &Shape, previous: Option<&Plan>) -> Vec<Vec<u32>> {
    let same = previous.filter(|plan| {
        plan.shape.threads() == shape.threads()
            && plan.shape.workers() == shape.workers()
            && plan.shape.tasks() == shape.tasks()
    });
    if let Some(plan) = same {
        let first_set = plan.workers.iter().take(shape.workers() as usize);
        return first_set
            .map(|worker| worker.groups.iter().map(|held| held.group.0).collect())
            .collect();
    }
    let mut columns = match previous {
        None => deal(shape),
        Some(plan) => split(shape, plan),
    };
    for column in &mut columns {
        column.sort_unstable();
    }
    columns
}

/// How many large and how many small groups each column takes.
fn portions(shape: &Shape) -> Vec<(u32, u32)> {
    let workers = shape.workers();
    let least = shape.threads() / workers;
    let longer = shape.threads() % workers;
    let small_tasks = shape.tasks() / shape.threads();
    let mut large_left = shape.tasks() % shape.threads();
    // The longer columns stand last, so that group 0 (globals, ticks, coordinators) and with it the
    // extra work of task 0 lands in a short one where there is one.
    let threads: Vec<u32> = (0..workers)
        .map(|column| least + u32::from(column >= workers - longer))
        .collect();
    let mut large = vec![0; workers as usize];
    // Columns have one of two lengths, so filling rounds of equal load is filling by least load.
    while large_left > 0 {
        let load = |c: usize| threads[c] * small_tasks + large[c];
        let open = (0..threads.len()).filter(|c| large[*c] < threads[*c]);
        let lowest = open.clone().map(load).min();
        let lowest = lowest.expect("there are no more large groups than places");
        let chosen: Vec<usize> = open.filter(|c| load(*c) == lowest).collect();
        for column in chosen.into_iter().take(large_left as usize) {
            large[column] += 1;
            large_left -= 1;
        }
    }
    let pairs = threads.iter().zip(&large);
    pairs
        .map(|(threads, large)| (*large, threads - large))
        .collect()
}

/// Groups in turn: 0 to column 0, 1 to column 1 …
fn deal(shape: &Shape) -> Vec<Vec<u32>> {
    let mut left = portions(shape);
    let mut columns = vec![Vec::new(); left.len()];
    let large_count = shape.tasks() % shape.threads();
    let mut at = 0;
    for group in 0..shape.threads() {
        let is_large = group < large_count;
        let room = |part: &(u32, u32)| if is_large { part.0 } else { part.1 };
        while room(&left[at]) == 0 {
            at = (at + 1) % left.len();
        }
        let part = &mut left[at];
        if is_large {
            part.0 -= 1;
        } else {
            part.1 -= 1;
        }
        columns[at].push(group);
        at = (at + 1) % left.len();
    }
    columns
}

/// Groups in the order of the columns that hold their first task now.
fn split(shape: &Shape, previous: &Plan) -> Vec<Vec<u32>> {
    let before = column_of_group(previous);
    let column_before = |group: u32| before[(group % previous.shape.threads()) as usize];
    let large_count = shape.tasks() % shape.threads();
    let mut order: Vec<u32> = (0..shape.threads()).collect();
    order.sort_by_key(|group| (column_before(*group), *group));
    let mut large = order.iter().filter(|group| **group < large_count);
    let mut small = order.iter().filter(|group| **group >= large_count);
    let take = |(large_part, small_part): (u32, u32)| {
        let mut column: Vec<u32> = large.by_ref().take(large_part as usize).copied().collect();
        column.extend(small.by_ref().take(small_part as usize));
        column
    };
    portions(shape).into_iter().map(take).collect()
}

/// The column of every group of a plan.
pub(super) fn column_of_group(plan: &Plan) -> Vec<usize> {
    let mut columns = vec![0; plan.shape.threads() as usize];
    let first_set = plan.workers.iter().take(plan.shape.workers() as usize);
    for (column, worker) in first_set.enumerate() {
        for held in &worker.groups {
            columns[held.group.0 as usize] = column;
        }
    }
    columns
}
