//! Images, sound, video and documents in a body, and text that looks like them.

use super::estimates::*;
use super::*;

#[test]
fn inline_images_are_reserved_by_their_number() {
    let gateway = input_only();
    for (path, images, body) in [
        (
            CHAT,
            1,
            r#"{"model":"small","messages":[{"role":"user","content":[{"type":"text","text":"what"},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,DATA"}}]}]}"#,
        ),
        (
            CHAT,
            1,
            r#"{"model":"small","messages":[{"role":"user","content":[{"type":"image_url","image_url":"data:IMAGE/WebP;base64,DATA"}]}]}"#,
        ),
        (
            CHAT,
            2,
            r#"{"model":"small","messages":[{"content":[{"image_url":{"detail":"high","url":"data:image/jpeg;base64,DATA"}},
            {"image_url":{"url":"data:image/gif;base64,AA"}}]}]}"#,
        ),
        (
            RESPONSES,
            1,
            r#"{"model":"small","input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,DATA"}]}]}"#,
        ),
        (
            RESPONSES,
            1,
            r#"{"model":"small","input":[{"type":"computer_call_output","call_id":"c","output":
            {"type":"computer_screenshot","image_url":"data:image/png;base64,DATA"}}]}"#,
        ),
        (
            RESPONSES,
            1,
            r#"{"model":"small","input":[{"type":"function_call_output","call_id":"c","output":
            [{"type":"input_image","image_url":"data:image/png;base64,DATA"}]}]}"#,
        ),
        (
            MESSAGES,
            1,
            r#"{"model":"small","max_tokens":1,"messages":[{"role":"user","content":[
            {"type":"image","source":{"type":"base64","media_type":"image/png","data":"DATA"}}]}]}"#,
        ),
        (
            MESSAGES,
            1,
            r#"{"model":"small","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t",
            "content":[{"source":{"data":"DATA","media_type":"image/jpeg","type":"base64"},"type":"image"}]}]}]}"#,
        ),
        (
            MESSAGES,
            1,
            r#"{"model":"small","max_tokens":1,"messages":[{"role":"user","content":[{"type":"document","source":
            {"type":"content","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"DATA"}}]}}]}]}"#,
        ),
        (GEMINI, 1, r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"DATA"}}]}]}"#),
        (GEMINI, 1, r#"{"contents":{"parts":{"inline_data":{"data":"DATA","mime_type":"image/heic"}}}}"#),
        (
            GEMINI,
            1,
            r#"{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{},"parts":[
            {"inlineData":{"mimeType":"image/png","data":"DATA"}}]}}]}]}"#,
        ),
        (
            "/v1/images/edits",
            1,
            r#"{"model":"small","prompt":"x","images":[{"image_url":"data:image/png;base64,DATA"}]}"#,
        ),
        ("/v1/embeddings", 1, r#"{"model":"small","images":["data:image/png;base64,DATA"]}"#),
    ] {
        let (most, body) = (most_input(&gateway, path, &with_data(body)), with_data(body));
        let text = (body.len() - TEXT) as u64 + 32;
        assert!((images * IMAGE..=images * IMAGE + text).contains(&most), "{most} for {body:.200}");
        let likely = reservation(&gateway, path, &body).input_tokens;
        assert!((images * 1_600..images * 1_600 + text).contains(&likely), "{likely} for {body:.200}");
    }
}

#[test]
fn sound_video_and_documents_are_reserved_by_their_length() {
    let gateway = input_only();
    let content = TEXT as u64 * 3 / 4;
    let (sound, video) = (content / 600 * 32 + 32, content / 4_000 * 300 + 300);
    let pdf = content + 4_600;
    for (path, bound, body) in [
        (
            CHAT,
            sound,
            r#"{"model":"small","messages":[{"content":[{"type":"input_audio","input_audio":{"data":"DATA","format":"wav"}}]}]}"#,
        ),
        (
            CHAT,
            sound,
            r#"{"model":"small","messages":[{"content":[{"type":"audio_url","audio_url":{"url":"data:audio/ogg;base64,DATA"}}]}]}"#,
        ),
        (
            GEMINI,
            sound,
            r#"{"contents":[{"parts":[{"inlineData":{"data":"DATA","mimeType":"audio/mp3"}}]}]}"#,
        ),
        (
            CHAT,
            video,
            r#"{"model":"small","messages":[{"content":[{"video_url":{"url":"data:video/mp4;base64,DATA"}}]}]}"#,
        ),
        (
            GEMINI,
            video,
            r#"{"contents":[{"parts":[{"inlineData":{"data":"DATA","mimeType":"video/mp4"}}]}]}"#,
        ),
        (
            CHAT,
            pdf,
            r#"{"model":"small","messages":[{"content":[{"type":"file","file":{"filename":"a.PDF","file_data":"data:application/pdf;base64,DATA"}}]}]}"#,
        ),
        (
            RESPONSES,
            pdf,
            r#"{"model":"small","input":[{"content":[{"type":"input_file","file_data":"data:application/pdf;base64,DATA","filename":"a.pdf"}]}]}"#,
        ),
        (
            MESSAGES,
            pdf,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"DATA"}}]}]}"#,
        ),
        (
            GEMINI,
            pdf,
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"application/pdf","data":"DATA"}}]}]}"#,
        ),
    ] {
        let body = with_data(body);
        let most = most_input(&gateway, path, &body);
        let text = (body.len() - TEXT) as u64 + 64;
        assert!((bound..bound + text).contains(&most), "{most}, not {bound}, for {body:.200}");
        let likely = reservation(&gateway, path, &body).input_tokens;
        assert!(likely < most && likely <= (body.len() as u64) / 4 + 1_632, "{likely} for {body:.200}");
    }
}

#[test]
fn text_in_the_form_of_media_costs_as_much_as_text() {
    let gateway = input_only();
    for (path, body) in [
        // The look of a string changes nothing.
        (CHAT, r#"{"model":"small","messages":[{"content":"data:image/png;base64,DATA"}]}"#),
        (
            CHAT,
            r#"{"model":"small","messages":[{"content":[{"type":"text","text":"data:image/png;base64,DATA"}]}]}"#,
        ),
        // Schemas, arguments and results are shown to the model as text.
        (
            CHAT,
            r#"{"model":"small","messages":[],"tools":[{"function":{"parameters":{"content":[{"image_url":{"url":"data:image/png;base64,DATA"}}]}}}]}"#,
        ),
        (
            CHAT,
            r#"{"model":"small","response_format":{"messages":[{"content":[{"image_url":"data:image/png;base64,DATA"}]}]}}"#,
        ),
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"type":"tool_use","input":
            {"source":{"type":"base64","media_type":"image/png","data":"DATA"}}}]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"tools":[{"input_schema":{"source":{"type":"base64","media_type":"image/png","data":"DATA"}}}]}"#,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"functionCall":{"args":{"inlineData":{"mimeType":"image/png","data":"DATA"}}}}]}]}"#,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"functionResponse":{"response":{"parts":[{"inlineData":{"mimeType":"image/png","data":"DATA"}}]}}}]}]}"#,
        ),
        // Text by its type.
        (
            CHAT,
            r#"{"model":"small","messages":[{"content":[{"image_url":{"url":"data:text/plain;base64,DATA"}}]}]}"#,
        ),
        (
            CHAT,
            r#"{"model":"small","messages":[{"content":[{"image_url":{"url":"data:image/svg+xml;base64,DATA"}}]}]}"#,
        ),
        (
            CHAT,
            r#"{"model":"small","messages":[{"content":[{"file":{"file_data":"data:text/markdown;base64,DATA","filename":"a.pdf"}}]}]}"#,
        ),
        (
            CHAT,
            r#"{"model":"small","messages":[{"content":[{"file":{"file_data":"data:application/pdf;base64,DATA","filename":"a.txt"}}]}]}"#,
        ),
        (
            CHAT,
            r#"{"model":"small","messages":[{"content":[{"file":{"file_data":"data:image/png;base64,DATA"}}]}]}"#,
        ),
        (
            RESPONSES,
            r#"{"model":"small","input":[{"content":[{"filename":"notes.csv","file_data":"data:application/pdf;base64,DATA"}]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"DATA"}}]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"type":"document","source":{"type":"text","media_type":"image/png","data":"DATA"}}]}]}"#,
        ),
        (GEMINI, r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"text/csv","data":"DATA"}}]}]}"#),
        (GEMINI, r#"{"contents":[{"parts":[{"inlineData":{"data":"DATA"}}]}]}"#),
        // Two values of one member: some readers take the first, others the last.
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"source":{"type":"text","type":"base64","media_type":"image/png","data":"DATA"}}]}]}"#,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","mime_type":"text/plain","data":"DATA"}}]}]}"#,
        ),
        // A description that only some servers read, in place of the other.
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"source":{"type":"base64","Type":"text","media_type":"image/png","data":"DATA"}}]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"source":{"MEDIA_TYPE":"text/plain","type":"base64","media_type":"image/png","data":"DATA"}}]}]}"#,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","mimetype":"text/plain","data":"DATA"}}]}]}"#,
        ),
        // Spellings that only some servers know.
        (GEMINI, r#"{"contents":[{"parts":[{"inlinedata":{"mimeType":"image/png","data":"DATA"}}]}]}"#),
        (
            CHAT,
            r#"{"model":"small","Messages":[{"content":[{"image_url":{"url":"data:image/png;base64,DATA"}}]}]}"#,
        ),
    ] {
        let body = with_data(body);
        let most = most_input(&gateway, path, &body);
        assert!(most >= body.len() as u64, "{most} for {body:.200}");
        let likely = reservation(&gateway, path, &body).input_tokens;
        assert!(likely >= body.len() as u64 / 4, "{likely} for {body:.200}");
    }
    // Data of one object is no data of the next.
    let beside = with_data(
        r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"source":{"type":"text","data":"DATA"}},
            {"source":{"type":"base64","media_type":"image/png","data":"AA"}}]}]}"#,
    );
    assert!(most_input(&gateway, MESSAGES, &beside) >= TEXT as u64 + IMAGE);
    let two = with_data(
        r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"source":{"type":"base64","media_type":"image/png","data":"DATA","data":"AA"}}]}]}"#,
    );
    assert!(most_input(&gateway, MESSAGES, &two) >= 2 * IMAGE, "both may be read");
}
