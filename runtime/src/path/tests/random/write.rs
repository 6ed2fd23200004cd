//! One random write, done to the store by the cursors of typed paths, and to the model.

use std::mem;

use serde_json::Value;

use super::Random;
use super::model::Node;
use super::shape::Shape;
use crate::path::Cursor;
use crate::schema_desc::ValueCodec;
use crate::task::Task;

/// What holds the location, which decides whether it can be removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Top,
    ByList,
    Otherwise,
}

/// Writes somewhere below the top.
pub(super) fn random(
    shape: &Shape,
    node: &mut Option<Node>,
    top: Cursor,
    task: &Task,
    random: &mut Random,
) {
    Writer { task, random }.write(shape, node, top, Held::Top);
}

struct Writer<'a> {
    task: &'a Task,
    random: &'a mut Random,
}

impl Writer<'_> {
    fn write(&mut self, shape: &Shape, place: &mut Option<Node>, cursor: Cursor, held: Held) {
        let (access, space) = cursor.enter(self.task);
        match self.random.below(12) {
            0 if held == Held::Otherwise => {
                cursor.remove(access, space, shape.is_value());
                *place = None;
                return;
            }
            1 if matches!(shape, Shape::Map(..) | Shape::Set(..) | Shape::List(_)) => {
                cursor.clear(access, space);
                if place.is_some() {
                    *place = Some(Node::empty(shape));
                }
                return;
            }
            _ => {}
        }
        match shape {
            Shape::Numbers => {
                let numbers: Vec<i64> = (0..self.random.below(4))
                    .map(|_| self.random.below(5) as i64 - 2)
                    .collect();
                let json = Value::from(numbers.clone());
                let bytes = (ValueCodec::of::<Vec<i64>>().from_json)(&json).expect("numbers");
                cursor.put_value(access, space, &bytes);
                *place = Some(Node::Numbers(numbers));
            }
            Shape::Map(keys, value, _) => {
                let key = keys.random(self.random);
                let element = value.arrive(keys.step(&cursor, &key));
                let bytes = keys.bytes(&key);
                let mut child = match place {
                    Some(Node::Map(elements)) => elements.remove(&bytes).map(|(_, node)| node),
                    _ => None,
                };
                self.write(value, &mut child, element, Held::Otherwise);
                if let Some(child) = child
                    && let Node::Map(elements) = place.get_or_insert_with(|| Node::empty(shape))
                {
                    elements.insert(bytes, (key, child));
                }
            }
            Shape::Set(keys, _) => {
                let key = keys.random(self.random);
                let element = keys.step(&cursor, &key);
                if self.random.one_in(3) {
                    element.remove(access, space, true);
                    if let Some(Node::Set(elements)) = place {
                        elements.remove(&keys.bytes(&key));
                    }
                } else {
                    element.put_value(access, space, &[]);
                    if let Node::Set(elements) = place.get_or_insert_with(|| Node::empty(shape)) {
                        elements.insert(keys.bytes(&key), key);
                    }
                }
            }
            Shape::List(value) => self.write_list(shape, value, place, cursor),
            Shape::Struct(fields) => {
                let (index, _) = Shape::field(fields, self.random);
                let field = fields[index].arrive(cursor.field(index as u8));
                let mut child = match place {
                    Some(Node::Struct(nodes)) => nodes[index].take(),
                    _ => None,
                };
                self.write(&fields[index], &mut child, field, Held::Otherwise);
                if (child.is_some() || place.is_some())
                    && let Node::Struct(nodes) = place.get_or_insert_with(|| Node::empty(shape))
                {
                    nodes[index] = child;
                }
            }
        }
    }

    /// Appends, writes an element, or removes the last one.
    fn write_list(
        &mut self,
        shape: &Shape,
        value: &Shape,
        place: &mut Option<Node>,
        cursor: Cursor,
    ) {
        let (access, space) = cursor.enter(self.task);
        let mut elements = match place {
            Some(Node::List(elements)) => mem::take(elements),
            _ => Vec::new(),
        };
        if self.random.one_in(6) && !elements.is_empty() {
            elements.pop();
            let last = elements.len() as u64;
            cursor
                .step::<u64>(&last)
                .erase(access, space, value.is_value());
            cursor.set_len(access, space, last);
        } else {
            let index = self.random.below(elements.len() as u64 + 1);
            let element = value.arrive(cursor.step::<u64>(&index));
            let mut child = elements.get(index as usize).cloned();
            self.write(value, &mut child, element, Held::ByList);
            match (child, elements.get_mut(index as usize)) {
                (Some(child), Some(old)) => *old = child,
                (Some(child), None) => elements.push(child),
                (None, _) => {}
            }
        }
        if place.is_some() || !elements.is_empty() {
            *place = Some(Node::empty(shape));
        }
        if let Some(Node::List(list)) = place {
            *list = elements;
        }
    }
}
