//! Steps into what has fixed parts: fields of structs, halves of pairs, options.

use std::any::type_name;
use std::ops::ControlFlow;

use super::{Nav, Navigator, Next, Rewrite};
use crate::failure::{EventFailure, raise};

/// A field of a struct `R`, as two functions; [`field!`](crate::field) writes them.
pub struct Field<R, T> {
    get: fn(&R) -> &T,
    get_mut: fn(&mut R) -> &mut T,
    name: &'static str,
}

impl<R, T> Clone for Field<R, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, T> Copy for Field<R, T> {}

impl<R, T> Field<R, T> {
    /// A field by its two accessors and its name.
    pub const fn new(
        name: &'static str,
        get: fn(&R) -> &T,
        get_mut: fn(&mut R) -> &mut T,
    ) -> Field<R, T> {
        Field { get, get_mut, name }
    }
}

/// A field of a struct as a step: `field!(Order, status)`.
///
/// ```
/// use rama_runtime::{field, nav::inside};
/// #[rama_runtime::record(crate = rama_runtime)]
/// struct Order { status: String, lines: Vec<u64> }
///
/// let order = Order { status: "open".into(), lines: vec![4, 6] };
/// let lines = inside::<Order>().field(field!(Order, lines)).all();
/// assert_eq!(lines.select(&order), [4, 6]);
/// let closed = inside().field(field!(Order, status)).set("closed".to_owned()).apply(order);
/// assert_eq!(closed.unwrap().status, "closed");
/// ```
#[macro_export]
macro_rules! field {
    ($record:ty, $field:ident) => {
        $crate::nav::Field::<$record, _>::new(
            stringify!($field),
            |record| &record.$field,
            |record| &mut record.$field,
        )
    };
}

impl<R: 'static, T: Clone + 'static> Navigator<R> for Field<R, T> {
    type Target = T;

    fn select(&self, from: Option<&R>, next: &mut Next<'_, T>) -> ControlFlow<()> {
        match from {
            Some(record) => next(Some((self.get)(record))),
            None => ControlFlow::Continue(()),
        }
    }

    fn transform(&self, from: Option<R>, next: &mut Rewrite<'_, T>) -> Option<R> {
        let mut record = from?;
        let place = (self.get_mut)(&mut record);
        match next(Some(place.clone())) {
            Some(new) => *place = new,
            None => raise(EventFailure::Unsupported {
                message: format!(
                    "field {} of {} was removed, but a struct always has all its fields; make it \
                     an Option and remove what is in it: .field(..).some()",
                    self.name,
                    type_name::<R>()
                ),
            }),
        }
        Some(record)
    }
}

fn halved(name: &str) -> ! {
    raise(EventFailure::Unsupported {
        message: format!(
            "the {name} half of a pair was removed, but a pair has both; remove the pair"
        ),
    })
}

/// The first half of a pair, such as the key of a map's entry.
struct Left;

/// The other half.
struct Right;

impl<A: 'static, B: 'static> Navigator<(A, B)> for Left {
    type Target = A;

    fn select(&self, from: Option<&(A, B)>, next: &mut Next<'_, A>) -> ControlFlow<()> {
        match from {
            Some((left, _)) => next(Some(left)),
            None => ControlFlow::Continue(()),
        }
    }

    fn transform(&self, from: Option<(A, B)>, next: &mut Rewrite<'_, A>) -> Option<(A, B)> {
        let (left, right) = from?;
        match next(Some(left)) {
            Some(left) => Some((left, right)),
            None => halved("first"),
        }
    }
}

impl<A: 'static, B: 'static> Navigator<(A, B)> for Right {
    type Target = B;

    fn select(&self, from: Option<&(A, B)>, next: &mut Next<'_, B>) -> ControlFlow<()> {
        match from {
            Some((_, right)) => next(Some(right)),
            None => ControlFlow::Continue(()),
        }
    }

    fn transform(&self, from: Option<(A, B)>, next: &mut Rewrite<'_, B>) -> Option<(A, B)> {
        let (left, right) = from?;
        match next(Some(right)) {
            Some(right) => Some((left, right)),
            None => halved("last"),
        }
    }
}

/// What is in an option.
struct Inner;

impl<T: 'static> Navigator<Option<T>> for Inner {
    type Target = T;

    fn select(&self, from: Option<&Option<T>>, next: &mut Next<'_, T>) -> ControlFlow<()> {
        next(from.and_then(Option::as_ref))
    }

    fn transform(&self, from: Option<Option<T>>, next: &mut Rewrite<'_, T>) -> Option<Option<T>> {
        match from {
            Some(option) => Some(next(option)),
            None => next(None).map(Some),
        }
    }
}

impl<S: 'static, R: 'static, C: 'static, M> Nav<S, R, C, M> {
    /// A field of the struct: `.field(field!(Order, status))`. Of an absent struct none; put
    /// `.or_default()` before it to start from a default.
    pub fn field<T: Clone + 'static>(&self, field: Field<R, T>) -> Nav<S, T, C, M> {
        self.step(field)
    }
}

impl<S: 'static, A: 'static, B: 'static, C: 'static, M> Nav<S, (A, B), C, M> {
    /// The first of the pair: an entry's key.
    pub fn first(&self) -> Nav<S, A, C, M> {
        self.step(Left)
    }

    /// The last of the pair: an entry's value.
    pub fn last(&self) -> Nav<S, B, C, M> {
        self.step(Right)
    }
}

impl<S: 'static, T: 'static, C: 'static, M> Nav<S, Option<T>, C, M> {
    /// What is in the option: absent if it is `None`. Removing leaves `None` (spec P-48d).
    pub fn some(&self) -> Nav<S, T, C, M> {
        self.step(Inner)
    }
}
