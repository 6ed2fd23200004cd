//! Steps into lists: elements, indices, parts, and the places between elements.

use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow, RangeBounds};

use super::{Compose, Nav, Navigator, Next, Reads, Rewrite, Steps, WriteOnly, leads};
use crate::failure::{EventFailure, raise};

/// A list that was absent stays absent while nothing is in it (N-3).
fn unless_still_absent<T>(was: bool, list: Vec<T>) -> Option<Vec<T>> {
    (was || !list.is_empty()).then_some(list)
}

fn out_of_range(what: &str, index: usize, len: usize) -> ! {
    raise(EventFailure::Unsupported {
        message: format!(
            "{what} index {index} of a list with {len} elements; an element can be put at an \
             index up to the length"
        ),
    })
}

/// An element by its position, if there is one.
enum Nth {
    At(usize),
    Last,
}

impl Nth {
    fn of(&self, len: usize) -> Option<usize> {
        match self {
            Nth::At(index) => (*index < len).then_some(*index),
            Nth::Last => len.checked_sub(1),
        }
    }
}

impl<T: 'static> Navigator<Vec<T>> for Nth {
    type Target = T;

    fn select(&self, from: Option<&Vec<T>>, next: &mut Next<'_, T>) -> ControlFlow<()> {
        match from.and_then(|list| list.get(self.of(list.len())?)) {
            Some(element) => next(Some(element)),
            None => ControlFlow::Continue(()),
        }
    }

    fn transform(&self, from: Option<Vec<T>>, next: &mut Rewrite<'_, T>) -> Option<Vec<T>> {
        let mut list = from?;
        if let Some(index) = self.of(list.len()) {
            let old = list.remove(index);
            if let Some(new) = next(Some(old)) {
                list.insert(index, new);
            }
        }
        Some(list)
    }
}

/// Each element.
struct All;

impl<T: 'static> Navigator<Vec<T>> for All {
    type Target = T;

    fn select(&self, from: Option<&Vec<T>>, next: &mut Next<'_, T>) -> ControlFlow<()> {
        from.into_iter()
            .flatten()
            .try_for_each(|element| next(Some(element)))
    }

    fn transform(&self, from: Option<Vec<T>>, next: &mut Rewrite<'_, T>) -> Option<Vec<T>> {
        let list = from?.into_iter();
        Some(list.filter_map(|element| next(Some(element))).collect())
    }
}

/// Each element with its index.
struct IndexedVals;

impl<T: Clone + 'static> Navigator<Vec<T>> for IndexedVals {
    type Target = (usize, T);

    fn select(&self, from: Option<&Vec<T>>, next: &mut Next<'_, (usize, T)>) -> ControlFlow<()> {
        from.into_iter()
            .flatten()
            .enumerate()
            .try_for_each(|(index, element)| next(Some(&(index, element.clone()))))
    }

    /// Elements that keep their index keep their order; then each of the others is inserted at its
    /// new index, the smallest first.
    fn transform(
        &self,
        from: Option<Vec<T>>,
        next: &mut Rewrite<'_, (usize, T)>,
    ) -> Option<Vec<T>> {
        let (mut list, mut moved) = (Vec::new(), Vec::new());
        for (index, element) in from?.into_iter().enumerate() {
            match next(Some((index, element))) {
                Some((to, element)) if to == index => list.push(element),
                Some(pair) => moved.push(pair),
                None => {}
            }
        }
        moved.sort_by_key(|(to, _)| *to);
        for (to, element) in moved {
            if to > list.len() {
                out_of_range("an element was moved to", to, list.len());
            }
            list.insert(to, element);
        }
        Some(list)
    }
}

/// An index, if there is an element.
struct Index(usize);

impl<T: 'static> Navigator<Vec<T>> for Index {
    type Target = usize;

    fn select(&self, from: Option<&Vec<T>>, next: &mut Next<'_, usize>) -> ControlFlow<()> {
        if from.is_some_and(|list| self.0 < list.len()) {
            next(Some(&self.0))
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Another index moves the element there; none removes it.
    fn transform(&self, from: Option<Vec<T>>, next: &mut Rewrite<'_, usize>) -> Option<Vec<T>> {
        let mut list = from?;
        if self.0 < list.len() {
            let to = next(Some(self.0));
            let element = list.remove(self.0);
            match to {
                Some(to) if to <= list.len() => list.insert(to, element),
                Some(to) => out_of_range("an element was moved to", to, list.len()),
                None => {}
            }
        }
        Some(list)
    }
}

/// The place of a new element.
enum Gap {
    Before(usize),
    End,
}

impl<T: 'static> Navigator<Vec<T>> for Gap {
    type Target = T;

    fn select(&self, _from: Option<&Vec<T>>, _next: &mut Next<'_, T>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn transform(&self, from: Option<Vec<T>>, next: &mut Rewrite<'_, T>) -> Option<Vec<T>> {
        let was = from.is_some();
        let mut list = from.unwrap_or_default();
        if let Some(element) = next(None) {
            match self {
                Gap::Before(index) if *index <= list.len() => list.insert(*index, element),
                Gap::Before(index) => out_of_range("an element was put before", *index, list.len()),
                Gap::End => list.push(element),
            }
        }
        unless_still_absent(was, list)
    }
}

/// An empty part at one end, into which a list is spliced.
enum Edge {
    Beginning,
    End,
}

impl<T: 'static> Navigator<Vec<T>> for Edge {
    type Target = Vec<T>;

    fn select(&self, _from: Option<&Vec<T>>, _next: &mut Next<'_, Vec<T>>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn transform(&self, from: Option<Vec<T>>, next: &mut Rewrite<'_, Vec<T>>) -> Option<Vec<T>> {
        let was = from.is_some();
        let mut list = from.unwrap_or_default();
        let new = next(Some(Vec::new())).unwrap_or_default();
        let at = match self {
            Edge::Beginning => 0,
            Edge::End => list.len(),
        };
        list.splice(at..at, new);
        unless_still_absent(was, list)
    }
}

/// A part between two indices, which functions of the list give.
struct Sublist<F>(F);

impl<F> Sublist<F> {
    fn within<T>(&self, list: &[T]) -> (usize, usize)
    where
        F: Fn(&[T]) -> (usize, usize),
    {
        let (from, to) = (self.0)(list);
        let from = from.min(list.len());
        (from, to.clamp(from, list.len()))
    }
}

impl<T, F> Navigator<Vec<T>> for Sublist<F>
where
    T: Clone + 'static,
    F: Fn(&[T]) -> (usize, usize) + Send + Sync + 'static,
{
    type Target = Vec<T>;

    fn select(&self, from: Option<&Vec<T>>, next: &mut Next<'_, Vec<T>>) -> ControlFlow<()> {
        let list = from.map_or(&[][..], |list| list);
        let (from, to) = self.within(list);
        next(Some(&list[from..to].to_vec()))
    }

    fn transform(&self, from: Option<Vec<T>>, next: &mut Rewrite<'_, Vec<T>>) -> Option<Vec<T>> {
        let was = from.is_some();
        let mut list = from.unwrap_or_default();
        let (from, to) = self.within(&list);
        let tail = list.split_off(to);
        let part = list.split_off(from);
        list.extend(next(Some(part)).unwrap_or_default());
        list.extend(tail);
        unless_still_absent(was, list)
    }
}

/// The elements that satisfy a condition, as a list.
struct Filtered<F>(F);

impl<T, F> Navigator<Vec<T>> for Filtered<F>
where
    T: Clone + 'static,
    F: Fn(&T) -> bool + Send + Sync + 'static,
{
    type Target = Vec<T>;

    fn select(&self, from: Option<&Vec<T>>, next: &mut Next<'_, Vec<T>>) -> ControlFlow<()> {
        let list = from.into_iter().flatten();
        next(Some(&list.filter(|e| (self.0)(e)).cloned().collect()))
    }

    fn transform(&self, from: Option<Vec<T>>, next: &mut Rewrite<'_, Vec<T>>) -> Option<Vec<T>> {
        let mut list: Vec<Option<T>> = from?.into_iter().map(Some).collect();
        let mut part = Vec::new();
        let mut places = Vec::new();
        for (index, place) in list.iter_mut().enumerate() {
            if let Some(element) = place.take_if(|element| (self.0)(element)) {
                part.push(element);
                places.push(index);
            }
        }
        let mut part = VecDeque::from(next(Some(part)).unwrap_or_default());
        for index in places {
            list[index] = part.pop_front();
        }
        Some(list.into_iter().flatten().collect())
    }
}

/// Each longest run of elements that satisfy a condition.
struct Runs<F>(F);

impl<F> Runs<F> {
    fn of<T>(&self, list: &[T]) -> Vec<(usize, usize)>
    where
        F: Fn(&T) -> bool,
    {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (index, _) in list.iter().enumerate().filter(|(_, e)| (self.0)(e)) {
            match runs.last_mut() {
                Some(run) if run.1 == index => run.1 += 1,
                _ => runs.push((index, index + 1)),
            }
        }
        runs
    }
}

impl<T, F> Navigator<Vec<T>> for Runs<F>
where
    T: Clone + 'static,
    F: Fn(&T) -> bool + Send + Sync + 'static,
{
    type Target = Vec<T>;

    fn select(&self, from: Option<&Vec<T>>, next: &mut Next<'_, Vec<T>>) -> ControlFlow<()> {
        let list = from.map_or(&[][..], |list| list);
        let mut runs = self.of(list).into_iter();
        runs.try_for_each(|(from, to)| next(Some(&list[from..to].to_vec())))
    }

    fn transform(&self, from: Option<Vec<T>>, next: &mut Rewrite<'_, Vec<T>>) -> Option<Vec<T>> {
        let old = from?;
        let runs = self.of(&old);
        let (mut list, mut rest, mut at) = (Vec::new(), old.into_iter(), 0);
        for (from, to) in runs {
            list.extend(rest.by_ref().take(from - at));
            let run = rest.by_ref().take(to - from).collect();
            list.extend(next(Some(run)).unwrap_or_default());
            at = to;
        }
        list.extend(rest);
        Some(list)
    }
}

impl<S: 'static, T: 'static, C: 'static, M> Nav<S, Vec<T>, C, M> {
    /// The element at `index`, if there is one. Removing it moves the later ones up.
    pub fn nth(&self, index: usize) -> Nav<S, T, C, M> {
        self.step(Nth::At(index))
    }

    /// The first element, if there is one.
    pub fn first(&self) -> Nav<S, T, C, M> {
        self.step(Nth::At(0))
    }

    /// The last element, if there is one.
    pub fn last(&self) -> Nav<S, T, C, M> {
        self.step(Nth::Last)
    }

    /// Each element.
    pub fn all(&self) -> Nav<S, T, C, M> {
        self.step(All)
    }

    /// Each element with its index; a changed index moves the element.
    pub fn indexed_vals(&self) -> Nav<S, (usize, T), C, M>
    where
        T: Clone,
    {
        self.step(IndexedVals)
    }

    /// The index itself, if there is an element; another index moves the element there.
    pub fn index(&self, index: usize) -> Nav<S, usize, C, M> {
        self.step(Index(index))
    }

    /// The place before the first element.
    pub fn before_elem(&self) -> Nav<S, T, C, M::Mode>
    where
        M: Compose<WriteOnly>,
    {
        self.step(Gap::Before(0))
    }

    /// The place after the last element.
    pub fn after_elem(&self) -> Nav<S, T, C, M::Mode>
    where
        M: Compose<WriteOnly>,
    {
        self.step(Gap::End)
    }

    /// The place before the element at `index`. Beyond the end of the list the event fails.
    pub fn before_index(&self, index: usize) -> Nav<S, T, C, M::Mode>
    where
        M: Compose<WriteOnly>,
    {
        self.step(Gap::Before(index))
    }

    /// An empty list at the beginning; what is written there is spliced in.
    pub fn beginning(&self) -> Nav<S, Vec<T>, C, M::Mode>
    where
        M: Compose<WriteOnly>,
    {
        self.step(Edge::Beginning)
    }

    /// An empty list at the end; what is written there is spliced in.
    pub fn end(&self) -> Nav<S, Vec<T>, C, M::Mode>
    where
        M: Compose<WriteOnly>,
    {
        self.step(Edge::End)
    }

    /// The elements whose indices lie in `indices`, as a list; what is written there may be longer
    /// or shorter. Indices beyond the end are the end.
    pub fn sublist(&self, indices: impl RangeBounds<usize>) -> Nav<S, Vec<T>, C, M>
    where
        T: Clone,
    {
        let from = match indices.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(from) => from.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match indices.end_bound() {
            Bound::Included(to) => to.saturating_add(1),
            Bound::Excluded(to) => *to,
            Bound::Unbounded => usize::MAX,
        };
        self.step(Sublist(move |_: &[T]| (from, to)))
    }

    /// The same between indices that functions give: `start` of the list, `end` of the list and
    /// the start.
    pub fn sublist_dynamic(
        &self,
        start: impl Fn(&[T]) -> usize + Send + Sync + 'static,
        end: impl Fn(&[T], usize) -> usize + Send + Sync + 'static,
    ) -> Nav<S, Vec<T>, C, M>
    where
        T: Clone,
    {
        self.step(Sublist(move |list: &[T]| {
            let from = start(list);
            (from, end(list, from))
        }))
    }

    /// The elements from which `path` leads anywhere, as a list; what is written there goes back to
    /// their places in order.
    pub fn filtered_list<U, D, L: Reads>(&self, path: &Nav<T, U, D, L>) -> Nav<S, Vec<T>, C, M>
    where
        T: Clone,
        U: 'static,
        D: 'static,
    {
        let path: Steps<T, U, D> = path.steps.clone();
        self.step(Filtered(move |element: &T| leads(&path, Some(element))))
    }

    /// Each longest run of elements that satisfy `wanted`, as a list.
    pub fn continuous_subseqs(
        &self,
        wanted: impl Fn(&T) -> bool + Send + Sync + 'static,
    ) -> Nav<S, Vec<T>, C, M>
    where
        T: Clone,
    {
        self.step(Runs(wanted))
    }
}
