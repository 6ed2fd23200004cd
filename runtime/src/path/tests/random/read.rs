//! One random path as JSON, and what the interpreter finds by it.

use serde_json::{Value, json};

use super::Random;
use super::model::Node;
use super::shape::{Keys, Shape};

/// A path, and the values it leads to.
pub(super) fn random(
    shape: &Shape,
    node: Option<&Node>,
    random: &mut Random,
) -> (Value, Vec<Value>) {
    let mut reader = Reader {
        random,
        path: Vec::new(),
        must: false,
    };
    let found = reader.read(shape, node, false);
    (Value::Array(reader.path), found)
}

struct Reader<'a> {
    random: &'a mut Random,
    path: Vec<Value>,
    /// Whether the last key must be there.
    must: bool,
}

type Pairs = Vec<(Value, Value)>;

fn pairs(elements: impl IntoIterator<Item = (Value, Value)>) -> Vec<Value> {
    let elements = elements.into_iter();
    elements.map(|(key, value)| json!([key, value])).collect()
}

impl Reader<'_> {
    fn say(&mut self, step: Value) {
        self.path.push(step);
    }

    /// `counted`: whether something above keeps a count. Then everything below has a header.
    fn read(&mut self, shape: &Shape, node: Option<&Node>, counted: bool) -> Vec<Value> {
        let nested = !self.path.is_empty();
        match shape {
            Shape::Numbers => self.numbers(node),
            Shape::Map(keys, value, tracked) => {
                let counted = counted || (*tracked && nested);
                self.map((*keys, value), node, counted)
            }
            Shape::Set(keys, _) => {
                let elements = match node {
                    Some(Node::Set(elements)) => elements.values().cloned().collect(),
                    _ => Vec::new(),
                };
                self.set(*keys, elements)
            }
            Shape::List(value) => self.list(value, node),
            Shape::Struct(fields) => {
                let (index, name) = Shape::field(fields, self.random);
                self.say(json!(name));
                let field = match node {
                    Some(Node::Struct(nodes)) => nodes[index].as_ref(),
                    _ => None,
                };
                self.read(&fields[index], field, counted)
            }
        }
    }

    /// Steps inside a value.
    fn numbers(&mut self, node: Option<&Node>) -> Vec<Value> {
        let numbers = match node {
            Some(Node::Numbers(numbers)) => Some(numbers),
            _ => None,
        };
        let Some(list) = numbers.map_or((!self.must).then(Vec::new), |list| Some(list.clone()))
        else {
            return Vec::new();
        };
        let n = self.random.below(4) as usize;
        let small = n as i64 - 2;
        let each = |list: Vec<i64>| list.into_iter().map(Value::from).collect();
        match self.random.below(8) {
            0 => {
                self.say(json!(["all"]));
                each(list)
            }
            1 => {
                self.path
                    .extend([json!(["all"]), json!(["filterLessThan", small])]);
                each(list.into_iter().filter(|number| *number < small).collect())
            }
            2 => {
                self.say(json!(["view", "size"]));
                vec![json!(list.len())]
            }
            3 => {
                self.say(json!(["sublist", 1, n]));
                vec![json!(list.get(1..n.min(list.len())).unwrap_or_default())]
            }
            4 => {
                self.say(json!(["last"]));
                each(list.last().copied().into_iter().collect())
            }
            5 => {
                self.say(json!(["subselect", ["all"], ["filterEqual", small]]));
                let same: Vec<i64> = list.into_iter().filter(|number| *number == small).collect();
                vec![json!(same)]
            }
            6 => {
                self.say(json!(["multiPath", ["first"], ["view", "size"]]));
                let first = list.first().map(|number| json!(number));
                first.into_iter().chain([json!(list.len())]).collect()
            }
            _ => vec![numbers.map_or(Value::Null, |numbers| json!(numbers))],
        }
    }

    fn map(
        &mut self,
        (keys, value): (Keys, &Shape),
        node: Option<&Node>,
        counted: bool,
    ) -> Vec<Value> {
        let elements = match node {
            Some(Node::Map(elements)) => Some(elements),
            _ => None,
        };
        let there = || {
            let all = elements.into_iter().flatten();
            all.filter(|(_, (_, node))| node.found(value, counted))
        };
        match self.random.below(8) {
            0 => {
                self.say(json!(["mapKeys"]));
                there().map(|(_, (key, _))| key.clone()).collect()
            }
            1 => {
                self.say(json!(["view", "size"]));
                vec![json!(there().count())]
            }
            2 => {
                let key = keys.random(self.random);
                self.say(json!(["view", "contains", key]));
                vec![json!(there().any(|(_, (there, _))| *there == key))]
            }
            3 | 4 if value.is_value() => {
                let all = there().map(|(_, (key, node))| match node {
                    Node::Numbers(numbers) => (key.clone(), json!(numbers)),
                    _ => unreachable!("a node of another shape"),
                });
                let all = all.collect();
                self.entries(keys, all)
            }
            _ => {
                let key = keys.random(self.random);
                let must = self.random.one_in(3);
                self.say(json!([if must { "must" } else { "key" }, key]));
                let element = elements.and_then(|all| all.get(&keys.bytes(&key)));
                let element = element.map(|(_, node)| node);
                self.must = must && value.is_value();
                let found = self.read(value, element, counted);
                let there = element.is_some_and(|node| node.found(value, counted));
                if must && !there { Vec::new() } else { found }
            }
        }
    }

    /// Entries of a map whose elements are values: all, an end, or a range.
    fn entries(&mut self, keys: Keys, all: Pairs) -> Vec<Value> {
        match self.random.below(6) {
            0 => {
                self.say(json!(["all"]));
                pairs(all)
            }
            1 => {
                self.say(json!(["mapVals"]));
                all.into_iter().map(|(_, value)| value).collect()
            }
            2 => {
                self.say(json!(["first"]));
                pairs(all.into_iter().take(1))
            }
            3 => {
                self.say(json!(["last"]));
                pairs(all.into_iter().next_back())
            }
            _ => {
                let part = self.range("sortedMapRange", keys, all);
                match self.random.below(5) {
                    0 => {
                        self.say(json!(["mapVals"]));
                        part.into_iter().map(|(_, value)| value).collect()
                    }
                    1 => {
                        self.say(json!(["mapKeys"]));
                        part.into_iter().map(|(key, _)| key).collect()
                    }
                    2 => {
                        self.say(json!(["view", "size"]));
                        vec![json!(part.len())]
                    }
                    3 => {
                        self.say(json!(["all"]));
                        pairs(part)
                    }
                    _ => vec![Value::Array(pairs(part))],
                }
            }
        }
    }

    fn set(&mut self, keys: Keys, all: Vec<Value>) -> Vec<Value> {
        match self.random.below(7) {
            0 => {
                self.say(json!(["all"]));
                all
            }
            1 => {
                self.say(json!(["first"]));
                all.into_iter().take(1).collect()
            }
            2 => {
                self.say(json!(["last"]));
                all.into_iter().next_back().into_iter().collect()
            }
            3 => {
                self.say(json!(["view", "size"]));
                vec![json!(all.len())]
            }
            4 => {
                let element = keys.random(self.random);
                self.say(json!(["setElem", element]));
                all.into_iter().filter(|there| *there == element).collect()
            }
            _ => {
                let all = all.into_iter().map(|element| (element, Value::Null));
                let part = self.range("sortedSetRange", keys, all.collect());
                let elements = part.into_iter().map(|(element, _)| element);
                vec![elements.collect()]
            }
        }
    }

    fn list(&mut self, value: &Shape, node: Option<&Node>) -> Vec<Value> {
        let nodes = match node {
            Some(Node::List(nodes)) => nodes.as_slice(),
            _ => &[],
        };
        let values = || {
            let numbers = nodes.iter().filter_map(|node| match node {
                Node::Numbers(numbers) => Some(json!(numbers)),
                _ => None,
            });
            numbers.collect::<Vec<Value>>()
        };
        match self.random.below(6) {
            0 => {
                self.say(json!(["view", "size"]));
                vec![json!(nodes.len())]
            }
            1 if value.is_value() => {
                self.say(json!(["all"]));
                values()
            }
            2 if value.is_value() => {
                self.say(json!(["last"]));
                values().pop().into_iter().collect()
            }
            3 if value.is_value() => {
                let (from, to) = (self.random.below(4), self.random.below(4));
                self.say(json!(["sublist", from, to]));
                let part = values().into_iter().take(to as usize).skip(from as usize);
                vec![part.collect()]
            }
            _ => {
                let index = self.random.below(nodes.len() as u64 + 1);
                self.say(json!(["nth", index]));
                self.read(value, nodes.get(index as usize), true)
            }
        }
    }

    /// A part of sorted elements, by each of the six range navigators (N-10 … N-14).
    fn range(&mut self, name: &str, keys: Keys, all: Pairs) -> Pairs {
        let (a, b) = (keys.random(self.random), keys.random(self.random));
        let (a_bytes, b_bytes) = (keys.bytes(&a), keys.bytes(&b));
        let (first, last) = (self.random.one_in(2), self.random.one_in(2));
        let n = self.random.below(4) as usize;
        let above = |key: &Value| {
            let key = keys.bytes(key);
            key > a_bytes || (first && key == a_bytes)
        };
        let below = |key: &Value| {
            let key = keys.bytes(key);
            key < b_bytes || (last && key == b_bytes)
        };
        let at_the_end = |all: Pairs| {
            let skipped = all.len().saturating_sub(n);
            all.into_iter().skip(skipped).collect()
        };
        match self.random.below(6) {
            0 => {
                self.say(json!([format!("{name}FromStart"), n]));
                all.into_iter().take(n).collect()
            }
            1 => {
                self.say(json!([format!("{name}ToEnd"), n]));
                at_the_end(all)
            }
            2 => {
                let options = json!({ "inclusive?": first, "max-amt": n });
                self.say(json!([format!("{name}From"), a, options]));
                let part = all.into_iter().filter(|(key, _)| above(key));
                part.take(n).collect()
            }
            3 => {
                let options = json!({ "inclusive?": last, "max-amt": n });
                self.say(json!([format!("{name}To"), b, options]));
                at_the_end(all.into_iter().filter(|(key, _)| below(key)).collect())
            }
            4 => {
                // N-11: no start key is the beginning.
                self.say(json!([format!("{name}From"), null]));
                all
            }
            _ => {
                let options = json!({ "inclusive-start?": first, "inclusive-end?": last });
                self.say(json!([name, a, b, options]));
                let part = all.into_iter().filter(|(key, _)| above(key) && below(key));
                part.collect()
            }
        }
    }
}
