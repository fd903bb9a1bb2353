//! Bodies that two readers could read differently are rejected; others are read alike at any split.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/forms.rs"]
mod forms;
#[path = "support/random.rs"]
mod random;

use tollgate_core::api::Api;
use tollgate_core::llm::request::{
    BodyError, BodyParser, LlmRequest, MaxOutput, StreamOptions, include_usage,
};

fn read(content_type: Option<&str>, pieces: &[&[u8]]) -> Result<LlmRequest, BodyError> {
    let mut reader = BodyParser::for_head(content_type, None)?;
    for piece in pieces {
        reader.push(piece)?;
    }
    reader.finish().cloned()
}

fn json(body: &str) -> Result<LlmRequest, BodyError> {
    read(Some("application/json"), &[body.as_bytes()])
}

/// Reads a body as a whole, and checks that every cut gives the same result.
fn at_every_cut(content_type: &str, body: &[u8]) -> Result<LlmRequest, BodyError> {
    let whole = read(Some(content_type), &[body]);
    for cut in 0..=body.len() {
        let (head, tail) = body.split_at(cut);
        assert_eq!(read(Some(content_type), &[head, tail]), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(read(Some(content_type), &bytes), whole, "byte by byte");
    whole
}

#[test]
fn ambiguous_json_is_refused_at_every_cut() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(json(&deep), Err(BodyError::TooDeep { .. })));
    let bodies: &[&[u8]] = &[
        br#"{"model":"a","model":"b"}"#,
        br#"{"model":"a","\u006dodel":"b"}"#,
        br#"{"model":"a","tools":[],"tools":[{"type":"web_search"}]}"#,
        br#"{"model":"a","input":"x","input":[{"type":"item_reference","id":"msg_1"}]}"#,
        br#"{"model":"a","Model":"b"}"#,
        br#"{"model":"a","MODEL":"b"}"#,
        br#"{"model":"a","model\u0000x":"b"}"#,
        "{\"model\":\"a\",\"\u{17f}tream\":true}".as_bytes(),
        br#"{"model":"a\u0000b"}"#,
        br#"{"model":""}"#,
        br#"{"model":7}"#,
        br#"{"model":null}"#,
        br#"{"model":["a"]}"#,
        br#"{"model":"a","max_tokens":1,"max_tokens":9}"#,
        br#"{"model":"a","n":1,"n":9}"#,
        br#"{"model":"a","n":0}"#,
        br#"{"model":"a","n":1.0}"#,
        br#"{"model":"a","max_tokens":1e3}"#,
        br#"{"model":"a","max_tokens":-1}"#,
        br#"{"model":"a","max_tokens":"9"}"#,
        br#"{"model":"a","max_tokens":99999999999999999999}"#,
        br#"{"model":"a","models":["b",3]}"#,
        br#"{"model":"a","models":["b",["c"]]}"#,
        br#"{"model":"a","models":"b"}"#,
        br#"{"model":"a","stream":"true"}"#,
        br#"{"model":"a","stream_options":{"include_usage":false,"include_usag\u0065":true}}"#,
        br#"{"model":"a","stream_options":[]}"#,
        br#"{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}}"#,
        br#"{"generationConfig":{"candidateCount":1},"generation_config":{"candidateCount":9}}"#,
        br#"{"generationConfig":{"candidateCount":1,"candidatecount":9}}"#,
        b"{\"model\":\"a\"}\0",
        b"\xef\xbb\xbf{\"model\":\"a\"}",
        br#"{"model":"a"} x"#,
        br#"{"model":"a"}{"model":"b"}"#,
        br#"{"model":"a","x":"\ud800"}"#,
        b"{\"model\":\"a\",\"x\":\"\xff\"}",
        b"{\"model\":\"a\",\"x\":\"\xed\xa0\x80\"}",
        b"{'model':'a'}",
        br#"{"model":"a",}"#,
        br#"{"model":"a"/**/}"#,
        br#"["model"]"#,
        br#""model""#,
        b"",
        br#"{"model":"a""#,
        b"\x1f\x8b\x08\x00",
    ];
    for body in bodies {
        let read = at_every_cut("application/json", body);
        assert!(read.is_err(), "{} gave {read:?}", String::from_utf8_lossy(body));
    }
}

#[test]
fn a_field_whose_name_has_escapes_is_refused_and_named() {
    for (body, within, field) in [
        (r#"{"mod\u0065l":"cheap"}"#, "", "model"),
        (r#"{"\u006d\u006F\u0064\u0065\u006c":"cheap"}"#, "", "model"),
        (r#"{"max\u005ftokens":9}"#, "", "max_tokens"),
        (r#"{"tool\u0073":[]}"#, "", "tools"),
        (r#"{"stream_options":{"include\u005fusage":true}}"#, "/stream_options", "include_usage"),
        (r#"{"generation_config":{"candidate\u0043ount":2}}"#, "/generationConfig", "candidateCount"),
    ] {
        let error = at_every_cut("application/json", body.as_bytes()).unwrap_err();
        let offset = body.find("\":").unwrap() as u64 + 1;
        let offset = if within.is_empty() { offset } else { body.rfind("\":").unwrap() as u64 + 1 };
        assert_eq!(error, BodyError::Escaped { within, field, offset }, "{body}");
        assert!(error.to_string().contains(&format!("`{within}/{field}`")), "{error}");
    }
    let request =
        r#"{"model":"ch\u0065ap","met\u0061data":{"mod\u0065l":"x"},"stream_options":{"\u0078":1}}"#;
    let request = at_every_cut("application/json", request.as_bytes()).unwrap();
    assert_eq!(request.model.as_deref(), Some("cheap"));
}

#[test]
fn prompts_of_a_list_are_counted_and_a_list_of_numbers_is_one() {
    for (prompt, prompts) in [
        (r#""one""#, 0),
        ("null", 0),
        ("[]", 0),
        (r#"["one"]"#, 1),
        (r#"["one","","three"]"#, 3),
        ("[1,2,3,4]", 1),
        ("[[1,2,3],[4],[]]", 3),
        ("[[1,2],\"two\",3,4]", 3),
        ("[[[1],[2]],[3]]", 2),
        (r#"[{"text":["one","two"]},null,true]"#, 3),
    ] {
        let body = format!(r#"{{"messages":["x",["y"]],"prompt":{prompt},"suffix":["z","z"]}}"#);
        let request = at_every_cut("application/json", body.as_bytes()).unwrap();
        assert_eq!(request.prompts, prompts, "{prompt}");
        assert!(!request.external_input, "{prompt}");
    }
}

#[test]
fn names_longer_than_a_target_can_have_are_refused() {
    let body = |length: usize| format!(r#"{{"model":"{}"}}"#, "a".repeat(length));
    assert_eq!(json(&body(256)).unwrap().model.unwrap().len(), 256);
    assert!(matches!(json(&body(257)), Err(BodyError::TooLong { field: "model", max: 256, .. })));
    let names = |count: usize| format!(r#"{{"models":[{}]}}"#, vec!["\"a\""; count].join(","));
    assert_eq!(json(&names(32)).unwrap().fallbacks.len(), 32);
    assert!(matches!(json(&names(33)), Err(BodyError::TooMany { field: "models", max: 32, .. })));
}

#[test]
fn only_the_members_of_the_body_itself_are_read() {
    let request = json(
        r#"{"messages":[{"model":"x","n":9,"content":"\"model\":\"y\""}],"metadata":{"model":"z"},"model":"a"}"#,
    );
    let request = request.unwrap();
    assert_eq!(request.model.as_deref(), Some("a"));
    assert_eq!(request.choices, None);
    let late = format!(r#"{{"messages":"{}","model":"late"}}"#, "x".repeat(1 << 20));
    let request = json(&late).unwrap();
    assert_eq!((request.model.as_deref(), request.bytes), (Some("late"), late.len() as u64));
}

#[test]
fn the_larger_output_maximum_and_the_larger_count_apply() {
    let request = at_every_cut(
        "application/json; charset=utf-8",
        br#" {"model":"a","models":["b","c"],"max_tokens":5,"max_completion_tokens":70,"n":2,"best_of":3,"stream":null}"#,
    )
    .unwrap();
    assert_eq!(request.model.as_deref(), Some("a"));
    assert_eq!(request.fallbacks, ["b".into(), "c".into()]);
    assert_eq!(
        (request.max_output.of(Api::OpenAiChat), request.choices, request.stream),
        (Some(70), Some(3), false)
    );
    let gemini = at_every_cut(
        "application/json",
        br#"{"contents":[],"generation_config":{"maxOutputTokens":12,"candidate_count":4}}"#,
    );
    let gemini = gemini.unwrap();
    assert_eq!((gemini.max_output.of(Api::GeminiGenerate), gemini.choices), (Some(12), Some(4)));
    assert_eq!(json(r#"{"max_tokens":null}"#).unwrap().max_output, MaxOutput::default());
}

#[test]
fn an_api_uses_its_own_maximum_and_ignores_the_others() {
    let all = r#"{"max_tokens":1,"max_completion_tokens":2,"max_output_tokens":3,"max_tokens_to_sample":4,
        "generationConfig":{"maxOutputTokens":5}}"#;
    let none = r#"{"max_tokens":0,"max_completion_tokens":0,"max_output_tokens":0,"generationConfig":{"maxOutputTokens":0}}"#;
    for (api, its_own, of_none) in [
        (Api::OpenAiChat, Some(2), None),
        (Api::OpenAiCompletions, Some(1), None),
        (Api::OpenAiResponses, Some(3), None),
        (Api::AnthropicMessages, Some(4), Some(0)),
        (Api::GeminiGenerate, Some(5), None),
        (Api::OpenAiImages, None, None),
    ] {
        assert_eq!(json(all).unwrap().max_output.of(api), its_own, "{api:?}");
        assert_eq!(
            json(none).unwrap().max_output.of(api),
            of_none,
            "{api:?}: 0 is no maximum to every server"
        );
    }
}

#[test]
fn every_model_that_a_body_names_is_found() {
    for (body, names) in [
        (r#"{"fallbacks":["b","c"]}"#, &["b", "c"][..]),
        (r#"{"fallbacks":[{"model":"b","max_tokens":9},{"max_tokens":7,"model":"c"}]}"#, &["b", "c"]),
        (r#"{"fallbacks":[{"model":"b","Model":"c"}],"models":["d"]}"#, &["b", "c", "d"]),
        (r#"{"fallbacks":[{"model":["b","c"]}]}"#, &["b", "c"]),
        (r#"{"fallbacks":"default"}"#, &["default"]),
        (r#"{"fallbacks":null}"#, &[]),
        (r#"{"fallbacks":[]}"#, &[]),
        (r#"{"tools":[{"type":"advisor_20260301","name":"advisor","model":"b"}]}"#, &["b"]),
        (r#"{"tools":[{"model":null,"type":"image_generation"},{"type":"custom","model":"b"}]}"#, &["b"]),
        (r#"{"tools":{"model":"b"}}"#, &["b"]),
        // A parameter of a function, and a word in a message.
        (r#"{"tools":[{"type":"function","function":{"parameters":{"properties":{"model":{}}}}}]}"#, &[]),
        (r#"{"messages":[{"model":"x"}],"metadata":{"fallbacks":["y"]}}"#, &[]),
    ] {
        let request = at_every_cut("application/json", body.as_bytes()).unwrap();
        assert_eq!(request.fallbacks.iter().map(|name| &**name).collect::<Vec<_>>(), names, "{body}");
    }
    let said =
        json(r#"{"fallbacks":[{"model":"b","max_tokens":9},{"max_tokens":70,"model":"c"}],"max_tokens":3}"#);
    let said = said.unwrap().max_output;
    assert_eq!((said.of(Api::AnthropicMessages), said.of_fallbacks), (Some(3), 70));
    for entry in
        [r#"{"model":"b","max_completion_tokens":70,"n":8}"#, r#"{"n":8,"Max_Output_Tokens":70,"model":"b"}"#]
    {
        let request = json(&format!(r#"{{"fallbacks":[{entry}],"max_tokens":1}}"#)).unwrap();
        assert_eq!((request.max_output.of_fallbacks, request.choices), (70, Some(8)), "{entry}");
    }
    let long = format!(r#"{{"tools":[{{"model":"{}"}}]}}"#, "m".repeat(257));
    for body in [
        r#"{"fallbacks":{"model":"b"}}"#,
        r#"{"fallbacks":[["b"]]}"#,
        r#"{"fallbacks":[{"b":["c"]}]}"#,
        r#"{"fallbacks":[{}]}"#,
        r#"{"fallbacks":[7]}"#,
        r#"{"fallbacks":[{"model":7}]}"#,
        r#"{"fallbacks":[{"model":"b","max_tokens":"9"}]}"#,
        r#"{"fallbacks":["b"],"fallbacks":["c"]}"#,
        r#"{"tools":[{"model":7}]}"#,
        &long,
    ] {
        at_every_cut("application/json", body.as_bytes()).unwrap_err();
    }
}

#[test]
fn unmetered_output_is_detected() {
    for (body, unseen) in [
        (r#"{"background":true}"#, true),
        (r#"{"audio":{"voice":"alloy","format":"wav"},"modalities":["text","audio"]}"#, true),
        (r#"{"background":false}"#, false),
        (r#"{"background":"transparent"}"#, false),
        (r#"{"audio":null}"#, false),
        (r#"{"messages":[{"role":"assistant","audio":{"expires_at":1}}]}"#, false),
    ] {
        assert_eq!(
            at_every_cut("application/json", body.as_bytes()).unwrap().unmetered_output,
            unseen,
            "{body}"
        );
    }
}

#[test]
fn external_content_is_detected() {
    for hidden in [
        r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://a/b.png"}}]}]}"#,
        r#"{"input":[{"content":[{"type":"input_image","image_url":"http://a"}]}]}"#,
        r#"{"input":[{"content":[{"type":"input_file","file_url":"http://a"}]}]}"#,
        r#"{"input":[{"content":[{"type":"input_file","file_id":"file-1"}]}]}"#,
        r#"{"messages":[{"content":[{"type":"image","source":{"type":"url","url":"https://a"}}]}]}"#,
        r#"{"messages":[{"content":[{"type":"document","source":{"type":"file","file_id":"f"}}]}]}"#,
        r#"{"contents":[{"parts":[{"fileData":{"fileUri":"gs://a"}}]}]}"#,
        r#"{"contents":[{"parts":[{"file_data":{"file_uri":"gs://a"}}]}]}"#,
        r#"{"messages":[{"content":[{"type":"image_url","Image_URL":{"URL":"https://a"}}]}]}"#,
        r#"{"messages":[{"role":"assistant","audio":{"id":"audio_1"}}]}"#,
        r#"{"data_sources":[{"type":"azure_search","parameters":{}}]}"#,
        r#"{"cachedContent":"cachedContents/1"}"#,
        r#"{"previous_response_id":"resp_1"}"#,
        r#"{"conversation":{"id":"conv_1"}}"#,
        r#"{"conversation":"conv_1"}"#,
        r#"{"prompt":{"id":"pmpt_1"}}"#,
        r#"{"tools":[{"type":"file_search","vector_store_ids":["vs_1"]}]}"#,
        r#"{"tools":[{"type":"function","name":"f"},{"type":"web_search"}]}"#,
        r#"{"tools":[{"type":"web_search_preview_2025_03_11"}]}"#,
        r#"{"tools":[{"type":"file_search"}]}"#,
        r#"{"tools":[{"server_url":"https://a","type":"mcp"}]}"#,
        r#"{"tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}"#,
        r#"{"tools":[{"type":"web_search_20250305","name":"web_search"}]}"#,
        r#"{"tools":[{"type":"computer_toolset_20260801"}]}"#,
        r#"{"tools":[{"type":"web_fetch_20250910","name":"web_fetch"}]}"#,
        r#"{"tools":[{"type":"code_execution_20250825","name":"code_execution"}]}"#,
        r#"{"tools":[{"type":"a_tool_that_comes_next_year"}]}"#,
        r#"{"tools":[{"typ\u0065":"w\u0065b_search"}]}"#,
        r#"{"web_search_options":{}}"#,
        r#"{"mcp_servers":[{"type":"url","url":"https://a","name":"a"}]}"#,
        r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#,
        r#"{"input":[{"role":"user","content":"x"},{"id":"msg_1"}]}"#,
        r#"{"input":[{"type":null,"id":"msg_1"}]}"#,
        r#"{"input":[{"type":"image_generation_call","id":"ig_1"}]}"#,
        r#"{"input":[{"type":"web_search_call","id":"ws_1","status":"completed"}]}"#,
        r#"{"input":[{"type":"reasoning","id":"rs_1","summary":[]}]}"#,
        r#"{"input":[{"id":"rs_1","summary":[],"encrypted_content":null,"type":"reasoning"}]}"#,
        r#"{"input":[{"type":"reasoning","id":"rs_1","encrypted_content":""}]}"#,
        r#"{"input":[{"type":"reasoning","id":"rs_1","encrypted_content":"gA","encrypted_content":null}]}"#,
        r#"{"context_management":{"edits":[{"type":"clear_tool_uses_20250919"},{"type":"compact_20260112"}]}}"#,
        r#"{"context_management":[{"type":"compaction","compact_threshold":200000}]}"#,
        r#"{"tools":[{"functionDeclarations":[]},{"googleSearch":{}}]}"#,
        r#"{"tools":[{"google_search":{}}]}"#,
        r#"{"tools":{"googleSearch":{}}}"#,
        r#"{"tools":[{"googleSearchRetrieval":{"dynamicRetrievalConfig":{}}}]}"#,
        r#"{"tools":[{"google_search_retrieval":{}}]}"#,
        r#"{"tools":[{"urlContext":{}}]}"#,
        r#"{"tools":[{"url_context":{}}]}"#,
        r#"{"tools":[{"codeExecution":{}}]}"#,
        r#"{"tools":[{"fileSearch":{"fileSearchStoreNames":["a"]}}]}"#,
    ] {
        let request = at_every_cut("application/json", hidden.as_bytes()).unwrap();
        assert!(request.external_input, "{hidden}");
    }
    for shown in [
        r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]}]}"#,
        r#"{"messages":[{"content":[{"type":"image","source":{"type":"base64","data":"AA"}}]}]}"#,
        r#"{"messages":[{"content":[{"type":"file","file":{"file_data":"data:application/pdf;base64,AA"}}]}]}"#,
        r#"{"messages":[{"content":"see https://example.com and file_id"}]}"#,
        r#"{"previous_response_id":null,"conversation":null,"prompt":"text"}"#,
        r#"{"tools":[{"container":{"type":"auto","file_ids":[]}}],"metadata":{"url":"https://a"}}"#,
        r#"{"tools":[{"type":"function","function":{"name":"web_search","parameters":{"type":"object",
            "properties":{"googleSearch":{"type":"web_search"},"type":{"type":"mcp"},"url_context":{}}}}}]}"#,
        r#"{"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{"web_search_options":{},
            "codeExecution":{"type":"code_interpreter"}}}}]}"#,
        r#"{"tools":[{"name":"f","input_schema":{"type":"object","properties":{"type":{"const":"mcp"}}}}]}"#,
        r#"{"tools":[{"type":"custom","name":"f"},{"type":"bash_20250124"},{"type":"text_editor_20250728"}]}"#,
        r#"{"tools":[{"type":"computer_20250124"},{"type":"computer_use_preview"},{"type":"local_shell"}]}"#,
        r#"{"tools":[{"functionDeclarations":[{"name":"googleSearch","parameters":{"type":"OBJECT",
            "properties":{"fileSearch":{"type":"STRING"}}}}]}]}"#,
        r#"{"tools":[{"type":"function","name":"f","parameters":{"properties":{"file_data":{"type":"string"},
            "fileUri":{"type":"string"},"audio":{"type":"string"},"data_sources":{"type":"array"}}}}]}"#,
        r#"{"audio":{"voice":"alloy","format":"wav"},"messages":[{"id":"x"}],"data_sources":[]}"#,
        r#"{"tools":null,"web_search_options":null,"mcp_servers":[],"input":"item_reference"}"#,
        r#"{"messages":[{"role":"user","content":"use web_search, googleSearch and \"type\":\"mcp\""}]}"#,
        r#"{"messages":[{"type":"web_search","googleSearch":{}}],"metadata":{"tools":[{"type":"mcp"}]}}"#,
        r#"{"input":[{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"x"}]}]}"#,
        r#"{"input":[{"id":"fc_1","type":"function_call","call_id":"c","name":"f","arguments":"{}"}]}"#,
        r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"item_reference"}],"id":"x"}]}"#,
        r#"{"input":[[1,2],[3]]}"#,
        r#"{"input":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}]}"#,
        r#"{"input":[{"type":"reasoning","summary":[{"type":"summary_text","text":"x"}]}]}"#,
        r#"{"context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]},"type":"compaction"}"#,
    ] {
        let request = at_every_cut("application/json", shown.as_bytes()).unwrap();
        assert!(!request.external_input, "{shown}");
    }
}

#[test]
fn include_usage_never_adds_a_duplicate_member() {
    for body in [
        r#"{"stream":true}"#,
        " \n{\"stream\":true,\"model\":\"a\"}",
        r#"{"model":"a","stream_options":null,"stream":true}"#,
        r#"{"model":"a","stream_options":{},"stream":true}"#,
        r#"{"model":"a","stream_options": { } ,"stream":true}"#,
        r#"{"stream":true,"stream_options":{"include_obfuscation":false}}"#,
        r#"{"stream":true,"stream_options":{"x":1,"include_usage": false ,"y":[2]},"model":"a"}"#,
        r#"{"stream":true,"stream_options":{"include_usage":null}}"#,
    ] {
        let request = json(body).unwrap();
        let edit = include_usage(&request).unwrap();
        let [start, end] = [edit.at.start, edit.at.end].map(|at| usize::try_from(at).unwrap());
        let rewritten = [&body[..start], edit.put, &body[end..]].concat();
        assert_eq!(edit.length_of(request.bytes), rewritten.len() as u64);
        assert!(json(&rewritten).unwrap().stream_options.includes_usage(), "{rewritten}");
        let mut expected: serde_json::Value = serde_json::from_str(body).unwrap();
        if !expected["stream_options"].is_object() {
            expected["stream_options"] = serde_json::json!({});
        }
        expected["stream_options"]["include_usage"] = true.into();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&rewritten).unwrap(), expected);
    }
    for body in [
        r#"{"model":"a"}"#,
        r#"{"stream":false,"stream_options":{}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
    ] {
        assert_eq!(include_usage(&json(body).unwrap()), None);
    }
    assert_eq!(json("{}").unwrap().stream_options, StreamOptions::Absent);
}

#[test]
fn forms_of_clients_are_read_at_every_cut() {
    for form in forms::accepted() {
        let request = at_every_cut(&form.content_type, &form.body)
            .unwrap_or_else(|error| panic!("{}: {error}", form.name));
        assert!(request.model.is_some() && request.choices.is_some(), "{}", form.name);
        assert_eq!(request.bytes, form.body.len() as u64);
    }
}

#[test]
fn forms_that_servers_read_differently_are_refused_at_every_cut() {
    for (form, reason) in forms::refused() {
        let error = if form.body.len() < 1_000 {
            at_every_cut(&form.content_type, &form.body)
        } else {
            read(Some(&form.content_type), &[&form.body])
        };
        let error = error.expect_err(form.name).to_string();
        assert!(error.to_lowercase().contains(&reason.to_lowercase()), "{}: {error}", form.name);
    }
}

#[test]
fn generated_forms_are_read_alike_at_every_cut() {
    let mut random = random::Random(17);
    let mut accepted = 0;
    for _ in 0..3_000 {
        let form = forms::generated(&mut random);
        let whole = read(Some(&form.content_type), &[&form.body]);
        assert_eq!(read(Some(&form.content_type), &random.cut(&form.body)), whole, "{form:?}");
        accepted += usize::from(whole.is_ok());
    }
    assert!((500..2_500).contains(&accepted), "{accepted} are accepted");
}

#[test]
fn unsupported_content_types_and_encodings_are_rejected() {
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "application/json; charset=utf-16; charset=utf-8",
        "application/json, multipart/form-data",
        "application/json, application/json",
        "application/json; charset=utf-8, text/plain",
        "application/json; charset=\"utf-8\" x",
        "application/json; charset=utf-8; charset*0=utf-16",
        "application/json; boundary=x",
        "application/json; type=multipart/form-data",
        "application/json; multipart/form-data; boundary=x",
        "application/json form",
        "application/form+json",
        "application/multipart+json",
        "text/json",
        "json",
    ] {
        let reader = BodyParser::for_head(Some(content_type), None);
        assert!(matches!(reader, Err(BodyError::UnsupportedType { .. })), "{content_type}");
    }
    for encoding in ["gzip", "br", "identity, gzip", "zstd"] {
        let error = BodyParser::for_head(None, Some(encoding)).unwrap_err();
        assert_eq!(error, BodyError::UnsupportedEncoding { found: encoding.into() });
    }
    for content_type in [
        None,
        Some(""),
        Some("application/json"),
        Some("Application/JSON;charset=UTF-8"),
        Some("application/json; charset=\"utf-8\""),
        Some("application/json;"),
        Some("application/a+json"),
    ] {
        assert!(matches!(BodyParser::for_head(content_type, Some("identity")), Ok(BodyParser::Json(_))));
    }
}
