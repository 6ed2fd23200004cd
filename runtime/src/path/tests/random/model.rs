//! What the interpreter keeps: nested maps, by encoded key so that they are in order.

use std::collections::BTreeMap;

use serde_json::Value;

use super::shape::Shape;

/// What is at a location where something is, or was and has been emptied.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Numbers(Vec<i64>),
    /// By encoded key: the key, and what is there.
    Map(BTreeMap<Vec<u8>, (Value, Node)>),
    Set(BTreeMap<Vec<u8>, Value>),
    List(Vec<Node>),
    Struct(Vec<Option<Node>>),
}

impl Node {
    /// A structure of this shape without elements.
    pub(super) fn empty(shape: &Shape) -> Node {
        match shape {
            Shape::Numbers => unreachable!("a value is there or not, never empty"),
            Shape::Map(..) => Node::Map(BTreeMap::new()),
            Shape::Set(..) => Node::Set(BTreeMap::new()),
            Shape::List(_) => Node::List(Vec::new()),
            Shape::Struct(fields) => Node::Struct(vec![None; fields.len()]),
        }
    }

    /// Whether a node can be found, given whether something above it counts. What was emptied is
    /// still there where a header says so (P-19), otherwise only what has something in it.
    pub(super) fn found(&self, shape: &Shape, counted: bool) -> bool {
        if counted || shape.keeps_header() {
            return true;
        }
        match (self, shape) {
            (Node::Numbers(_), _) => true,
            (Node::Map(elements), Shape::Map(_, value, _)) => {
                elements.values().any(|(_, node)| node.found(value, false))
            }
            (Node::Set(elements), _) => !elements.is_empty(),
            (Node::Struct(nodes), Shape::Struct(fields)) => {
                let mut fields = nodes.iter().zip(fields);
                fields.any(|(node, shape)| node.as_ref().is_some_and(|n| n.found(shape, false)))
            }
            _ => unreachable!("a node of another shape"),
        }
    }
}
