//! A part of a document as a tree: one record at a time, never the whole document.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::lexer::{Container, Scalar};

/// A JSON value that keeps the order of members and their duplicates, for reports of a typed reader.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as written.
    Number(String),
    /// A string, unescaped. Truncated if it is longer than a record allows.
    String(String),
    /// An array.
    Array(Vec<Node>),
    /// An object, with its members in the order of the text.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Describes the value for a message.
    pub fn describe(&self) -> String {
        match self {
            Node::Null => "null".to_string(),
            Node::Bool(value) => value.to_string(),
            Node::Number(text) => text.chars().take(40).collect(),
            Node::String(text) => crate::secret::redact::redact_quoted(text),
            Node::Array(_) => "an array".to_string(),
            Node::Object(_) => "an object".to_string(),
        }
    }
}

impl From<&serde_json::Value> for Node {
    fn from(value: &serde_json::Value) -> Node {
        use serde_json::Value;
        match value {
            Value::Null => Node::Null,
            Value::Bool(value) => Node::Bool(*value),
            Value::Number(number) => Node::Number(number.to_string()),
            Value::String(text) => Node::String(text.clone()),
            Value::Array(items) => Node::Array(items.iter().map(Node::from).collect()),
            Value::Object(members) => {
                Node::Object(members.iter().map(|(name, value)| (name.clone(), Node::from(value))).collect())
            }
        }
    }
}

/// Builds a tree from the events of a lexer.
#[derive(Debug, Default)]
pub struct Builder {
    open: Vec<(Node, Option<String>)>,
    name: Option<String>,
}

impl Builder {
    /// Begins a container.
    pub fn begin(&mut self, kind: Container) {
        let node = match kind {
            Container::Object => Node::Object(Vec::new()),
            Container::Array => Node::Array(Vec::new()),
        };
        self.open.push((node, self.name.take()));
    }

    /// Sets the name of the next member.
    pub fn name(&mut self, name: &str) {
        self.name = Some(name.to_string());
    }

    /// Adds a scalar. Returns the tree if the scalar is all of it.
    pub fn scalar(&mut self, value: Scalar<'_>) -> Option<Node> {
        let node = match value {
            Scalar::String(text) => Node::String(text.text.to_string()),
            Scalar::Number(text) => Node::Number(text.text.to_string()),
            Scalar::Bool(value) => Node::Bool(value),
            Scalar::Null => Node::Null,
        };
        let name = self.name.take();
        self.put(name, node)
    }

    /// Ends a container. Returns the tree if it was the outermost one.
    pub fn end(&mut self) -> Option<Node> {
        let (node, name) = self.open.pop()?;
        self.put(name, node)
    }

    fn put(&mut self, name: Option<String>, node: Node) -> Option<Node> {
        match self.open.last_mut() {
            None => return Some(node),
            Some((Node::Object(members), _)) => members.push((name.unwrap_or_default(), node)),
            Some((Node::Array(items), _)) => items.push(node),
            Some(_) => {}
        }
        None
    }
}
