//! The content of a simulated reply: text, JSON that satisfies a schema, or a tool call.

use serde_json::{Value, json};

use super::draw::Draw;
use super::schema::example;

/// The parts of a request that select the kind of its reply, in any dialect.
#[derive(Debug, Default)]
pub struct Wish<'a> {
    /// The function tools that the client declares: their names and the schemas of their arguments.
    pub tools: Vec<(&'a str, &'a Value)>,
    /// The tools that may be called, if the request chooses among them; empty for none.
    pub only: Option<Vec<&'a str>>,
    /// True if the last message is the result of a tool call.
    pub answered: bool,
    /// The schema of a structured output; null for any JSON object.
    pub format: Option<&'a Value>,
}

/// The content of a reply.
#[derive(Debug)]
pub struct Reply {
    /// The name of the called tool; `None` for text.
    pub tool: Option<String>,
    /// The text, or the arguments of the call as JSON: one token at a time.
    pub tokens: Vec<String>,
}

/// The number of characters of JSON in one token.
const JSON_TOKEN: usize = 4;

impl Reply {
    /// Creates the reply to a request: a call where it declares tools and has no result yet, then JSON where it
    /// sets a format, else the drawn text. The usage is changed to the length of a call or of JSON.
    pub fn new(wish: &Wish, draw: &mut Draw) -> Reply {
        let may_call = |name: &str| wish.only.as_ref().is_none_or(|only| only.contains(&name));
        let tool = wish.tools.iter().find(|(name, _)| !wish.answered && may_call(name));
        let (name, schema) = match (tool, wish.format) {
            (Some((name, schema)), _) => (Some(*name), *schema),
            (None, Some(schema)) => (None, schema),
            (None, None) => return Reply { tool: None, tokens: draw.words().collect() },
        };
        // A tool without a schema has no parameters.
        let value = if schema.is_null() && name.is_some() { json!({}) } else { example(schema) };
        let text: Vec<char> = value.to_string().chars().collect();
        let tokens: Vec<String> = text.chunks(JSON_TOKEN).map(|token| token.iter().collect()).collect();
        draw.set_length(tokens.len() as u64);
        Reply { tool: name.map(str::to_owned), tokens }
    }

    /// Returns the text, or the arguments of the call as JSON.
    pub fn text(&self) -> String {
        self.tokens.concat()
    }

    /// Returns the arguments of the call.
    pub fn arguments(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap_or_default()
    }
}

/// Returns the elements of an array; none for anything else.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::super::simulate::Simulation;
    use super::*;

    fn draw() -> Draw {
        Draw::new("/v1/chat/completions", b"{}", &json!({"max_tokens": 9}), &Simulation::default())
    }

    #[test]
    fn a_call_comes_first_and_the_format_after_its_result() {
        let (place, format) =
            (json!({"type": "object", "properties": {"place": {"type": "string"}}}), json!({}));
        let wish = |answered: bool, only: Option<Vec<&'static str>>| {
            let wish = Wish { tools: vec![("look_up", &place)], only, answered, format: Some(&format) };
            let reply = Reply::new(&wish, &mut draw());
            (reply.tool.clone(), reply.arguments())
        };
        let call = (Some("look_up".to_owned()), json!({"place": "simulated"}));
        let answer = (None, json!({"answer": "simulated"}));
        assert_eq!(wish(false, None), call);
        assert_eq!(wish(false, Some(vec!["look_up"])), call);
        assert_eq!(wish(false, Some(vec![])), answer);
        assert_eq!(wish(false, Some(vec!["another"])), answer);
        assert_eq!(wish(true, None), answer);
    }

    #[test]
    fn the_usage_is_the_length_of_the_json_within_the_maximum() {
        let schema = json!({"enum": ["0123456789"]});
        let mut draw = draw();
        let reply = Reply::new(&Wish { format: Some(&schema), ..Wish::default() }, &mut draw);
        assert_eq!(reply.tokens, ["\"012", "3456", "789\""]);
        assert_eq!((draw.usage.output, draw.usage.reasoning, draw.cut_short), (3, 0, false));
    }

    #[test]
    fn without_tools_and_format_it_is_the_drawn_text() {
        let mut draw = draw();
        let usage = draw.usage;
        assert_eq!(Reply::new(&Wish::default(), &mut draw).text(), draw.text());
        assert_eq!(draw.usage, usage);
    }
}
