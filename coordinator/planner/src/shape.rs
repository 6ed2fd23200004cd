//! The numbers of a module instance: tasks ≥ threads ≥ workers, times replicas.
//!
//! Relies on the rules of spec operations §2.2 and §3.1. A `Shape` that exists is valid: it is made
//! by `Shape::new` only, also when it is read from a record. Each error names the numbers and the
//! fix, in the words of the command line.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{REPLICATION_MAX, TASKS_MAX};

/// Tasks, threads, workers and replicas of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Numbers", into = "Numbers")]
pub struct Shape {
    tasks: u32,
    threads: u32,
    workers: u32,
    replication: u32,
}

/// A shape as it is written down.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Numbers {
    tasks: u32,
    threads: u32,
    workers: u32,
    replication: u32,
}

/// Why four numbers are no shape.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// A zero.
    #[error("number of {what} must be at least 1: give {flag} a positive number")]
    Zero {
        /// Which number.
        what: &'static str,
        /// Its flag.
        flag: &'static str,
    },
    /// Tasks are 2^n, so that their number can double later.
    #[error(
        "number of tasks must be a power of two: --tasks {tasks} is not; use --tasks {below} or \
         --tasks {above}"
    )]
    TasksNotPowerOfTwo {
        /// What was asked.
        tasks: u32,
        /// The power of two below.
        below: u32,
        /// The power of two above.
        above: u64,
    },
    /// Over the limit.
    #[error("number of tasks must be at most {TASKS_MAX}: lower --tasks {tasks}")]
    TooManyTasks {
        /// What was asked.
        tasks: u32,
    },
    /// A thread without a task.
    #[error(
        "number of threads must be less than or equal to the number of tasks: --threads {threads} \
         with --tasks {tasks}; use --threads {tasks} or fewer"
    )]
    ThreadsOverTasks {
        /// Threads asked.
        threads: u32,
        /// Tasks asked.
        tasks: u32,
    },
    /// A worker without a thread.
    #[error(
        "number of workers must be less than or equal to the number of threads: --workers \
         {workers} with --threads {threads}; use --workers {threads} or fewer"
    )]
    WorkersOverThreads {
        /// Workers asked.
        workers: u32,
        /// Threads asked.
        threads: u32,
    },
    /// Over the limit.
    #[error(
        "replication factor must be at most {REPLICATION_MAX}: lower --replicationFactor \
         {replication}"
    )]
    TooManyReplicas {
        /// What was asked.
        replication: u32,
    },
}

impl Shape {
    /// Checks four numbers. `workers` counts processes per replica set, as `--workers` does.
    ///
    /// # Errors
    /// The first rule that they break, with the fix.
    pub fn new(
        tasks: u32,
        threads: u32,
        workers: u32,
        replication: u32,
    ) -> Result<Shape, ShapeError> {
        let numbers = [
            (tasks, "tasks", "--tasks"),
            (threads, "threads", "--threads"),
            (workers, "workers", "--workers"),
            (replication, "replicas", "--replicationFactor"),
        ];
        if let Some((_, what, flag)) = numbers.into_iter().find(|(number, _, _)| *number == 0) {
            return Err(ShapeError::Zero { what, flag });
        }
        if !tasks.is_power_of_two() {
            let above = u64::from(tasks).next_power_of_two();
            let below = u32::try_from(above / 2).expect("half of the next power fits");
            return Err(ShapeError::TasksNotPowerOfTwo {
                tasks,
                below,
                above,
            });
        }
        if tasks > TASKS_MAX {
            return Err(ShapeError::TooManyTasks { tasks });
        }
        if threads > tasks {
            return Err(ShapeError::ThreadsOverTasks { threads, tasks });
        }
        if workers > threads {
            return Err(ShapeError::WorkersOverThreads { workers, threads });
        }
        if replication > REPLICATION_MAX {
            return Err(ShapeError::TooManyReplicas { replication });
        }
        Ok(Shape {
            tasks,
            threads,
            workers,
            replication,
        })
    }

    /// Number of tasks, a power of two.
    #[must_use]
    pub fn tasks(&self) -> u32 {
        self.tasks
    }

    /// Number of task groups.
    #[must_use]
    pub fn threads(&self) -> u32 {
        self.threads
    }

    /// Worker processes per replica set.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.workers
    }

    /// Replicas of each task group.
    #[must_use]
    pub fn replication(&self) -> u32 {
        self.replication
    }

    /// Worker processes in all.
    #[must_use]
    pub fn processes(&self) -> u32 {
        self.workers * self.replication
    }

    /// The tasks of a group: every `threads`-th one, so that sizes differ by one at most.
    pub fn tasks_of(&self, group: u32) -> impl Iterator<Item = u32> + use<> {
        (group..self.tasks).step_by(self.threads as usize)
    }

    /// How many tasks a group has.
    #[must_use]
    pub fn tasks_count(&self, group: u32) -> u32 {
        self.tasks / self.threads + u32::from(group < self.tasks % self.threads)
    }
}

impl TryFrom<Numbers> for Shape {
    type Error = ShapeError;

    fn try_from(n: Numbers) -> Result<Shape, ShapeError> {
        Shape::new(n.tasks, n.threads, n.workers, n.replication)
    }
}

impl From<Shape> for Numbers {
    fn from(shape: Shape) -> Numbers {
        Numbers {
            tasks: shape.tasks,
            threads: shape.threads,
            workers: shape.workers,
            replication: shape.replication,
        }
    }
}
