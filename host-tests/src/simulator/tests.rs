//! Tools and structured outputs in every dialect, as a whole and as a stream.

use hyper::Request;
use serde_json::{Value, json};

use super::answer::Answer;
use super::provider;
use super::simulate::Simulation;

fn answer(path: &str, body: &Value) -> Answer {
    let (head, ()) = Request::post(path).body(()).unwrap().into_parts();
    provider::answer(&head, body.to_string().as_bytes(), &Simulation::default())
}

fn document(path: &str, body: &Value) -> Value {
    serde_json::from_slice(&answer(path, body).chunks.concat()).unwrap()
}

/// Returns the documents of a stream's events, without OpenAI's last line.
fn events(path: &str, body: &Value) -> Vec<Value> {
    let text = String::from_utf8(answer(path, body).chunks.concat()).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// Returns the body with these members added.
fn plus(body: &Value, more: Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn joined(events: &[Value], pointer: &str) -> String {
    events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
}

fn parsed(text: &Value) -> Value {
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
           "required": ["city", "days"], "additionalProperties": false})
}

fn example() -> Value {
    json!({"city": "simulated", "days": 1})
}

#[test]
fn chat_completions() {
    const PATH: &str = "/v1/chat/completions";
    let asked = json!({"model": "m", "messages": [{"role": "user", "content": "The weather?"}]});
    let function = json!({"type": "function", "function": {"name": "weather", "parameters": schema()}});
    let tools = plus(&asked, json!({"tools": [function]}));
    let call = document(PATH, &tools);
    assert_eq!(call["choices"][0]["finish_reason"], "tool_calls");
    let message = &call["choices"][0]["message"];
    assert_eq!(parsed(&message["tool_calls"][0]["function"]["arguments"]), example());
    assert_eq!(message["content"], Value::Null);
    assert_eq!(call["usage"]["completion_tokens"], 8, "the length of the arguments");

    let stream = events(PATH, &plus(&tools, json!({"stream": true})));
    let arguments = joined(&stream, "/choices/0/delta/tool_calls/0/function/arguments");
    assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), example());
    assert_eq!(stream[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"], "weather");
    assert_eq!(stream.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");

    let result = json!({"role": "tool", "tool_call_id": "call_1", "content": "rain"});
    for text in [
        plus(&tools, json!({"messages": [asked["messages"][0], message, result]})),
        plus(&tools, json!({"tool_choice": "none"})),
    ] {
        assert!(document(PATH, &text)["choices"][0]["message"]["content"].is_string(), "{text}");
    }

    let format =
        json!({"type": "json_schema", "json_schema": {"name": "w", "strict": true, "schema": schema()}});
    let structured = plus(&asked, json!({"response_format": format}));
    assert_eq!(parsed(&document(PATH, &structured)["choices"][0]["message"]["content"]), example());
    let stream = events(PATH, &plus(&structured, json!({"stream": true})));
    let text = joined(&stream, "/choices/0/delta/content");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), example());
    let any = document(PATH, &plus(&asked, json!({"response_format": {"type": "json_object"}})));
    assert!(parsed(&any["choices"][0]["message"]["content"]).is_object());
}

#[test]
fn responses() {
    const PATH: &str = "/v1/responses";
    let asked = json!({"model": "m", "input": "The weather?"});
    let tools = plus(
        &asked,
        json!({"tools": [{"type": "function", "name": "weather", "parameters": schema()}, {"type": "web_search"}]}),
    );
    let call = document(PATH, &tools);
    assert_eq!(call["output"][0]["type"], "function_call");
    assert_eq!(parsed(&call["output"][0]["arguments"]), example());

    let stream = events(PATH, &plus(&tools, json!({"stream": true})));
    let deltas: Vec<_> =
        stream.iter().filter(|event| event["type"] == "response.function_call_arguments.delta").collect();
    let arguments: String = deltas.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), example());
    let output = &stream.last().unwrap()["response"]["output"];
    assert_eq!(output[0]["arguments"], call["output"][0]["arguments"]);

    let result = json!([{"type": "function_call_output", "call_id": "call_1", "output": "rain"}]);
    for text in [plus(&tools, json!({"input": result})), plus(&tools, json!({"tool_choice": "none"}))] {
        assert_eq!(document(PATH, &text)["output"][0]["type"], "message", "{text}");
    }

    let format = json!({"format": {"type": "json_schema", "name": "w", "schema": schema()}});
    let structured = plus(&asked, json!({"text": format}));
    assert_eq!(parsed(&document(PATH, &structured)["output"][0]["content"][0]["text"]), example());
    let stream = events(PATH, &plus(&structured, json!({"stream": true})));
    let done = stream.iter().find(|event| event["type"] == "response.output_text.done").unwrap();
    assert_eq!(parsed(&done["text"]), example());
}

#[test]
fn messages() {
    const PATH: &str = "/v1/messages";
    let question = json!({"role": "user", "content": "The weather?"});
    let asked = json!({"model": "m", "max_tokens": 64, "messages": [question]});
    let tools = plus(
        &asked,
        json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}, {"name": "weather", "input_schema": schema()}]}),
    );
    let call = document(PATH, &tools);
    assert_eq!(call["stop_reason"], "tool_use");
    assert_eq!(call["content"][0]["input"], example());

    let stream = events(PATH, &plus(&tools, json!({"stream": true})));
    let input = joined(&stream, "/delta/partial_json");
    assert_eq!(serde_json::from_str::<Value>(&input).unwrap(), example());

    let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}]});
    for text in [
        plus(
            &tools,
            json!({"messages": [question, {"role": "assistant", "content": call["content"]}, result]}),
        ),
        plus(&tools, json!({"tool_choice": {"type": "none"}})),
    ] {
        assert_eq!(document(PATH, &text)["content"][0]["type"], "text", "{text}");
    }

    let format = json!({"type": "json_schema", "schema": schema()});
    for structured in [json!({"output_config": {"format": format}}), json!({"output_format": format})] {
        let structured = plus(&asked, structured);
        assert_eq!(parsed(&document(PATH, &structured)["content"][0]["text"]), example());
        let text = joined(&events(PATH, &plus(&structured, json!({"stream": true}))), "/delta/text");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), example());
    }
}

#[test]
fn generate_content() {
    const PATH: &str = "/v1beta/models/m:generateContent";
    const STREAM: &str = "/v1beta/models/m:streamGenerateContent?alt=sse";
    let asked = json!({"contents": [{"role": "user", "parts": [{"text": "The weather?"}]}]});
    let snake = json!({"name": "weather", "parameters_json_schema": schema()});
    for function in [
        json!({"name": "weather", "parametersJsonSchema": schema()}),
        json!({"name": "weather", "parameters": schema()}),
        snake,
    ] {
        let tools = plus(&asked, json!({"tools": [{"functionDeclarations": [function]}]}));
        let call = document(PATH, &tools);
        assert_eq!(call["candidates"][0]["content"]["parts"][0]["functionCall"]["args"], example());
        let stream = events(STREAM, &tools);
        assert_eq!(stream[0]["candidates"][0]["content"]["parts"][0]["functionCall"]["name"], "weather");

        let result =
            json!([{"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {}}}]}]);
        let none = json!({"functionCallingConfig": {"mode": "NONE"}});
        for text in [plus(&tools, json!({"contents": result})), plus(&tools, json!({"toolConfig": none}))] {
            assert!(
                document(PATH, &text)["candidates"][0]["content"]["parts"][0]["text"].is_string(),
                "{text}"
            );
        }
    }

    for name in ["responseSchema", "responseJsonSchema"] {
        let config = json!({"generationConfig": {"responseMimeType": "application/json", name: schema()}});
        let structured = plus(&asked, config);
        assert_eq!(
            parsed(&document(PATH, &structured)["candidates"][0]["content"]["parts"][0]["text"]),
            example()
        );
        let text = joined(&events(STREAM, &structured), "/candidates/0/content/parts/0/text");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), example());
    }

    let image =
        document(PATH, &plus(&asked, json!({"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}})));
    assert_eq!(image["candidates"][0]["content"]["parts"][0]["inlineData"]["mimeType"], "image/png");
}

#[test]
fn answers_without_a_conversation() {
    let counted = document("/v1beta/models/m:countTokens", &json!({"contents": []}));
    assert!(counted["totalTokens"].as_u64() > Some(0));
    let embedded =
        document("/v1beta/models/m:embedContent", &json!({"content": {}, "outputDimensionality": 3}));
    assert_eq!(embedded["embedding"]["values"].as_array().unwrap().len(), 3);
    let embedded = document("/v1beta/models/m:batchEmbedContents", &json!({"requests": [{}, {}]}));
    assert_eq!(embedded["embeddings"].as_array().unwrap().len(), 2);
    assert!(embedded["usageMetadata"]["promptTokenCount"].as_u64() > Some(0));
    let moderated = document("/v1/moderations", &json!({"input": ["a", "b"]}));
    assert_eq!(moderated["results"].as_array().unwrap().len(), 2);
    assert_eq!(moderated["results"][0]["categories"]["violence"], false);
    let ranked = document("/v2/rerank", &json!({"query": "q", "documents": ["a", "b", "c"], "top_n": 2}));
    assert_eq!(ranked["results"].as_array().unwrap().len(), 2);
    assert_eq!(ranked["meta"]["billed_units"]["search_units"], 1);
    let counted = document("/v1/responses/input_tokens", &json!({"input": "a"}));
    assert!(counted["input_tokens"].as_u64() > Some(0));
}
