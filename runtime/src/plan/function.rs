//! Functions that clients name and tasks run (spec P-34): the module registers their code, a plan
//! carries their name, a fingerprint of their types and an encoded argument.
//!
//! What must stay true: a function runs only on bytes of the types it was registered with; what is
//! not registered is refused with the names of what is.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use rama_wire::{Record, RecordError};

use super::SelectError;
use crate::schema_desc::ValueCodec;

/// A function of the module that clients may use in what they select: from a value of type `I`, and
/// an argument of type `A` if it takes one, to an `O`. One that answers a `bool` filters as well.
///
/// Named once, as a constant. Its code is given in `define`, so that it runs on the task:
///
/// ```
/// # use rama_runtime::{Function, Map, Module, PState, Setup};
/// const FUNDS: PState<Map<u64, Map<u64, i64>>> = PState::named("$$funds");
/// const ABOVE: Function<i64, bool, i64> = Function::named("above");
/// const IN_EURO: Function<i64, String> = Function::named("in_euro");
///
/// # struct M;
/// # impl Module for M {
/// fn define(&self, m: &mut Setup) {
///     m.function(ABOVE, |cents, limit| cents > limit);
///     m.function(IN_EURO, |cents, ()| format!("{}.{:02} €", cents / 100, cents % 100));
/// #   m.stream("funds").pstate(FUNDS);
/// }
/// # }
/// # rama_runtime::Definition::of(&M)?;
/// // What a client selects: the accounts of owner 7 with more than 100 € each, as text.
/// let rich = FUNDS.key(&7).all().filter(ABOVE.with(100_00)).view(IN_EURO);
/// # let _ = rich;
/// # Ok::<(), rama_runtime::DefinitionError>(())
/// ```
///
/// A closure is refused by the compiler, because it cannot be sent to a task:
///
/// ```compile_fail,E0277
/// # use rama_runtime::{Map, PState};
/// # const FUNDS: PState<Map<u64, Map<u64, i64>>> = PState::named("$$funds");
/// let rich = FUNDS.key(&7).all().filter(|cents: &i64| *cents > 100);
/// ```
pub struct Function<I, O, A = ()> {
    name: &'static str,
    types: PhantomData<fn(&I, &A) -> O>,
}

impl<I, O, A> Clone for Function<I, O, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I, O, A> Copy for Function<I, O, A> {}

impl<I, O, A> Function<I, O, A> {
    /// The function of this name.
    pub const fn named(name: &'static str) -> Function<I, O, A> {
        Function {
            name,
            types: PhantomData,
        }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<I: Record, O: Record, A: Record> Function<I, O, A> {
    /// The function with its argument.
    pub fn with(&self, argument: A) -> Applied<I, O> {
        Applied {
            name: self.name,
            fingerprint: fingerprint::<I, O, A>(),
            argument: argument.to_bytes(),
            types: PhantomData,
        }
    }
}

/// A [`Function`] with its argument, ready to be sent.
pub struct Applied<I, O> {
    name: &'static str,
    fingerprint: u64,
    argument: Vec<u8>,
    types: PhantomData<fn(&I) -> O>,
}

/// What filters and views of clients take: a [`Function`] without an argument, or one with it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be evaluated where the data is",
    label = "not a registered function from `{I}` to `{O}`",
    note = "a closure cannot be sent to a task: name it, `const F: Function<{I}, {O}> = Function::named(\"f\")`, and register its code in `define`, `m.function(F, |value, ()| …)`",
    note = "a function that takes an argument is sent with it: `F.with(argument)`"
)]
pub trait Callable<I, O> {
    /// The function with its argument.
    #[doc(hidden)]
    fn applied(self) -> Applied<I, O>;
}

impl<I: Record, O: Record> Callable<I, O> for Function<I, O> {
    fn applied(self) -> Applied<I, O> {
        self.with(())
    }
}

impl<I, O> Callable<I, O> for Applied<I, O> {
    fn applied(self) -> Applied<I, O> {
        self
    }
}

impl<I, O> Applied<I, O> {
    pub(crate) fn call(self, role: Role) -> Call {
        Call {
            role,
            name: self.name.to_owned(),
            fingerprint: self.fingerprint,
            argument: self.argument,
        }
    }
}

/// A number that differs when any of the types does.
fn fingerprint<I: Record, O: Record, A: Record>() -> u64 {
    let (input, output) = (I::fingerprint(), O::fingerprint());
    input.rotate_left(1) ^ output.rotate_left(2) ^ A::fingerprint()
}

/// What becomes of a function's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It says whether the row stays.
    Filter,
    /// It takes the value's place.
    View,
}

/// A function applied to the value of each row of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) fingerprint: u64,
    pub(crate) argument: Vec<u8>,
}

type Run = dyn Fn(&[u8], &[u8]) -> Result<Vec<u8>, RecordError> + Send + Sync;

/// A registered function.
#[derive(Clone)]
pub struct FunctionDef {
    /// Its name.
    pub name: String,
    /// A number that differs when any of its types does.
    pub fingerprint: u64,
    /// What it takes.
    pub input: ValueCodec,
    /// The argument it takes besides; of type `()` when none.
    pub argument: ValueCodec,
    /// What it answers.
    pub output: ValueCodec,
    run: Arc<Run>,
}

impl fmt::Debug for FunctionDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (input, argument) = (&self.input, &self.argument);
        write!(
            f,
            "{}({input:?}, {argument:?}) -> {:?}",
            self.name, self.output
        )
    }
}

impl FunctionDef {
    /// The function and its code.
    pub fn of<I: Record, O: Record, A: Record>(
        function: Function<I, O, A>,
        run: impl Fn(&I, &A) -> O + Send + Sync + 'static,
    ) -> FunctionDef {
        FunctionDef {
            name: function.name.to_owned(),
            fingerprint: fingerprint::<I, O, A>(),
            input: ValueCodec::of::<I>(),
            argument: ValueCodec::of::<A>(),
            output: ValueCodec::of::<O>(),
            run: Arc::new(move |value, argument| {
                Ok(run(&I::decode(value)?, &A::decode(argument)?).to_bytes())
            }),
        }
    }

    /// Whether it can say yes or no.
    pub fn filters(&self) -> bool {
        self.output.desc.name() == bool::type_name()
    }
}

/// The functions that a module registers.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    by_name: BTreeMap<String, FunctionDef>,
}

impl FromIterator<FunctionDef> for Functions {
    fn from_iter<T: IntoIterator<Item = FunctionDef>>(functions: T) -> Functions {
        let functions = functions.into_iter();
        Functions {
            by_name: functions
                .map(|function| (function.name.clone(), function))
                .collect(),
        }
    }
}

impl Functions {
    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &FunctionDef> {
        self.by_name.values()
    }

    /// The function of this name.
    ///
    /// # Errors
    /// The names there are.
    pub fn named(&self, name: &str) -> Result<&FunctionDef, SelectError> {
        self.by_name.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
            SelectError::NoFunction {
                name: name.to_owned(),
                known: match known.as_slice() {
                    [] => "no functions".to_owned(),
                    _ => known.join(", "),
                },
            }
        })
    }

    /// Checks that a task can run these calls.
    pub(super) fn check(&self, calls: &[Call]) -> Result<(), SelectError> {
        for call in calls {
            let function = self.named(&call.name)?;
            if function.fingerprint != call.fingerprint {
                return Err(SelectError::OtherFunction {
                    name: call.name.clone(),
                    registered: format!("{function:?}"),
                });
            }
            if call.role == Role::Filter && !function.filters() {
                return Err(SelectError::BadPlan {
                    what: "a filter by a function that does not say yes or no",
                });
            }
        }
        Ok(())
    }

    /// What these calls, which were checked, make of a value: nothing when a filter says no.
    pub(super) fn run(&self, calls: &[Call], value: &[u8]) -> Result<Option<Vec<u8>>, SelectError> {
        let mut value = value.to_vec();
        for call in calls {
            let function = self.named(&call.name)?;
            let answer = (function.run)(&value, &call.argument)?;
            match call.role {
                Role::View => value = answer,
                Role::Filter if bool::decode(&answer)? => {}
                Role::Filter => return Ok(None),
            }
        }
        Ok(Some(value))
    }
}
