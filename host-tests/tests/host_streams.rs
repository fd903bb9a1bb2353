//! The events of a stream, as measured on Envoy 1.40.

mod modules;

use modules::{Recorder, ok, post};
use tollgate_host::proxy_wasm::{
    Ending, Flow, Forward, HeaderMap, HttpCallResponse, LocalReply, StreamId, VmError,
};

fn body_of(flow: Flow) -> (Vec<u8>, bool) {
    let forward = flow.forward().expect("something goes on");
    (forward.body, forward.end_of_stream)
}

fn reply_of(flow: Flow) -> LocalReply {
    flow.reply().expect("the client gets a local reply")
}

#[test]
fn an_exchange_passes_every_callback_in_order_and_ends_with_log_done_delete() {
    let mut host = Recorder::new("cccccccccccc");
    let id = host.open();
    let head = host.vm.request_headers(id, post(), false).unwrap().forward().unwrap();
    assert_eq!(head, Forward { headers: Some(post()), ..Forward::default() });
    assert_eq!(body_of(host.vm.request_body(id, b"abc", false).unwrap()), (b"abc".to_vec(), false));
    assert_eq!(body_of(host.vm.request_body(id, b"", true).unwrap()), (vec![], true));
    assert_eq!(host.vm.response_headers(id, ok(), false).unwrap().forward().unwrap().headers, Some(ok()));
    assert_eq!(body_of(host.vm.response_body(id, b"x", false).unwrap()), (b"x".to_vec(), false));
    let trailers = HeaderMap::from([("grpc-status", "0")]);
    let last = host.vm.response_trailers(id, trailers.clone()).unwrap().forward().unwrap();
    assert_eq!((last.trailers, last.end_of_stream), (Some(trailers), true));
    host.vm.close(id, &Ending::Complete).unwrap();
    let expected = [
        "request_headers 4 0",
        "request_body 3 0",
        "request_body 0 1",
        "response_headers 2 0",
        "response_body 1 0",
        "response_trailers 1 1",
        "log 0 0",
        "done 0 0",
        "delete 0 0",
    ];
    assert_eq!(host.events(), expected);
    assert_eq!(host.vm.open_streams(), 0);
    assert_eq!(host.vm.close(id, &Ending::Complete), Err(VmError::UnknownStream(id)));
}

#[test]
fn every_ending_calls_log_done_delete_once() {
    for ending in [Ending::Complete, Ending::ClientGone, Ending::UpstreamReset, Ending::Drain, Ending::Idle] {
        let mut host = Recorder::new("ppcccccccccc");
        let id = host.open();
        assert_eq!(host.vm.request_headers(id, post(), false).unwrap(), Flow::Hold);
        assert_eq!(host.vm.request_body(id, b"held", false).unwrap(), Flow::Hold);
        host.events();
        host.vm.close(id, &ending).unwrap();
        assert_eq!(host.events(), ["log 0 0", "done 0 0", "delete 0 0"], "{ending:?}");
    }
}

#[test]
fn a_stream_without_headers_is_logged() {
    let mut host = Recorder::new("cccccccccccc");
    let id = host.open();
    host.vm.close(id, &Ending::ClientGone).unwrap();
    assert_eq!(host.events(), ["log 0 0", "done 0 0", "delete 0 0"]);
}

#[test]
fn a_held_body_is_counted_from_its_beginning_and_forwarded_with_its_headers() {
    let mut host = Recorder::new("PPcccccccccc");
    let id = host.open();
    assert_eq!(host.vm.request_headers(id, post(), false).unwrap(), Flow::Hold);
    assert_eq!(host.vm.request_body(id, b"abc", false).unwrap(), Flow::Hold);
    assert_eq!(host.vm.request_body(id, b"de", false).unwrap(), Flow::Hold);
    let all = host.vm.request_body(id, b"", true).unwrap().forward().unwrap();
    assert_eq!(all.headers, Some(post()));
    assert_eq!((all.body.as_slice(), all.end_of_stream), (&b"abcde"[..], true));
    assert_eq!(host.events()[1..], ["request_body 3 0", "request_body 5 0", "request_body 5 1"]);
}

#[test]
fn paused_headers_and_a_body_callback_that_continues_forward_the_request() {
    let mut host = Recorder::new("pccccccccccc");
    let id = host.open();
    assert_eq!(host.vm.request_headers(id, post(), false).unwrap(), Flow::Hold);
    let sent = host.vm.request_body(id, b"abc", false).unwrap().forward().unwrap();
    assert_eq!((sent.headers, sent.body.as_slice()), (Some(post()), &b"abc"[..]));
}

#[test]
fn with_stop_all_the_body_waits_behind_paused_headers_without_a_callback() {
    let mut host = Recorder::with("dPcccccccccc", |builder| builder.stop_all_on_paused_headers());
    let id = host.open();
    assert_eq!(host.vm.request_headers(id, post(), false).unwrap(), Flow::Hold);
    assert_eq!(host.vm.request_body(id, b"abc", false).unwrap(), Flow::Hold);
    assert_eq!(host.vm.request_body(id, b"", true).unwrap(), Flow::Hold);
    assert_eq!(host.events(), ["request_headers 4 0", "status 0"]);
}

#[test]
fn events_behind_paused_headers_are_delivered_after_they_continue() {
    let mut host = Recorder::with("dPcccccccrcc".replace('r', "k").as_str(), |builder| {
        builder.stop_all_on_paused_headers()
    });
    let id = host.open();
    assert_eq!(host.vm.request_headers(id, post(), false).unwrap(), Flow::Hold);
    assert_eq!(host.vm.request_body(id, b"abc", true).unwrap(), Flow::Hold);
    let call = host.vm.take_callouts().remove(0);
    host.events();
    host.vm.callout_response(call.token, HttpCallResponse::default()).unwrap();
    let resumed = host.vm.take_resumed().remove(0).flow.forward().unwrap();
    assert_eq!(
        (resumed.headers, resumed.body.as_slice(), resumed.end_of_stream),
        (Some(post()), &b"abc"[..], true)
    );
    assert_eq!(host.events(), ["callout 0 0", "request_body 3 1"]);
}

#[test]
fn trailers_end_a_body_without_end_of_stream() {
    let mut host = Recorder::new("PPbccccccccc");
    let id = host.open();
    host.vm.request_headers(id, post(), false).unwrap();
    host.vm.request_body(id, b"held", false).unwrap();
    host.events();
    let trailers = HeaderMap::from([("x-sum", "1")]);
    let sent = host.vm.request_trailers(id, trailers.clone()).unwrap().forward().unwrap();
    assert_eq!((sent.headers, sent.body.as_slice()), (Some(post()), &b"held"[..]));
    assert_eq!((sent.trailers, sent.end_of_stream), (Some(trailers), true));
    assert_eq!(host.events(), ["request_trailers 1 1", "body held"], "what is held can be read");
}

#[test]
fn a_reply_in_the_trailers_callback_reaches_the_client() {
    let mut host = Recorder::new("PPrccccccccc");
    let id = host.open();
    host.vm.request_headers(id, post(), false).unwrap();
    host.vm.request_body(id, b"held", false).unwrap();
    let reply = reply_of(host.vm.request_trailers(id, HeaderMap::new()).unwrap());
    assert_eq!(reply.status, 403);
}

#[test]
fn a_local_reply_passes_the_response_callbacks() {
    let mut host = Recorder::new("rcchcccccccc");
    let id = host.open();
    let reply = reply_of(host.vm.request_headers(id, post(), false).unwrap());
    assert_eq!(reply.body, b"no");
    let headers = HeaderMap::from([
        (":status", "403"),
        ("content-length", "2"),
        ("content-type", "text/plain"),
        ("x-out", "response"),
    ]);
    assert_eq!((reply.status, reply.headers), (403, headers));
    assert_eq!(host.vm.request_body(id, b"late", true).unwrap(), Flow::Hold, "what comes later goes nowhere");
    let closed = host.vm.close(id, &Ending::Complete).unwrap();
    assert_eq!(closed.status, 403);
    let expected = [
        "request_headers 4 0",
        "response_headers 3 0",
        "response_body 2 1",
        "log 0 0",
        "done 0 0",
        "delete 0 0",
    ];
    assert_eq!(host.events(), expected);
}

#[test]
fn a_reply_after_part_of_the_body_went_upstream_still_reaches_the_client() {
    let mut host = Recorder::new("crcccccccccc");
    let id = host.open();
    host.vm.request_headers(id, post(), false).unwrap();
    assert_eq!(reply_of(host.vm.request_body(id, b"abc", false).unwrap()).status, 403);
}

#[test]
fn a_reply_in_the_response_headers_replaces_them_without_callbacks() {
    let mut host = Recorder::new("cccrcccccccc");
    let id = host.open();
    host.vm.request_headers(id, post(), true).unwrap();
    let reply = reply_of(host.vm.response_headers(id, ok(), false).unwrap());
    assert_eq!((reply.status, reply.body.as_slice()), (403, &b"no"[..]));
    assert_eq!(host.events(), ["request_headers 4 1", "response_headers 2 0"]);
    assert_eq!(host.vm.response_body(id, b"x", true).unwrap(), Flow::Hold);
}

#[test]
fn a_reply_in_the_response_body_resets_the_exchange() {
    let mut host = Recorder::new("ccccrccccccc");
    let id = host.open();
    host.vm.request_headers(id, post(), true).unwrap();
    host.vm.response_headers(id, ok(), false).unwrap();
    assert_eq!(host.vm.response_body(id, b"x", false).unwrap(), Flow::Reset);
}

#[test]
fn a_closed_stream_is_reset() {
    let mut host = Recorder::new("xccccccccccc");
    let id = host.open();
    assert_eq!(host.vm.request_headers(id, post(), true).unwrap(), Flow::Reset);
}

#[test]
fn body_edits_are_prefix_append_and_replace_all_only() {
    let edited = |letter: &str| {
        let mut host = Recorder::new(&format!("c{letter}cccccccccc"));
        let id = host.open();
        host.vm.request_headers(id, post(), false).unwrap();
        let sent = body_of(host.vm.request_body(id, b"abcd", true).unwrap());
        assert!(sent.1);
        (host.events().pop().unwrap(), sent.0)
    };
    assert_eq!(edited("f"), ("status 0".into(), b"<<cd".to_vec()));
    assert_eq!(edited("a"), ("status 0".into(), b"abcd+tail".to_vec()));
    assert_eq!(edited("w"), ("status 0".into(), b"WHOLE".to_vec()));
    assert_eq!(edited("m"), ("status 2".into(), b"abcd".to_vec()));
}

#[test]
fn an_empty_replacement_takes_a_chunk_out_of_a_response() {
    let mut host = Recorder::new("cccceccccccc");
    let id = host.open();
    host.vm.request_headers(id, post(), true).unwrap();
    host.vm.response_headers(id, ok(), false).unwrap();
    assert_eq!(body_of(host.vm.response_body(id, b"data: x\n\n", false).unwrap()), (vec![], false));
}

#[test]
fn headers_can_be_read_while_they_are_held_and_not_after_they_are_forwarded() {
    let head = || HeaderMap::from_iter(post().iter().chain([(&b"x-in"[..], &b"\xff"[..])]));
    let read_in_body = |script: &str| {
        let mut host = Recorder::new(script);
        let id = host.open();
        host.vm.request_headers(id, head(), false).unwrap();
        host.vm.request_body(id, b"abc", true).unwrap();
        let status = host.events().into_iter().find(|line| line.starts_with("status"));
        status.unwrap()
    };
    assert_eq!(read_in_body("pvcccccccccc"), "status 0");
    assert_eq!(read_in_body("cvcccccccccc"), "status 2");
}

#[test]
fn headers_of_both_directions_can_be_read_again_in_on_log() {
    let mut host = Recorder::new("hcchccvccccc");
    let id = host.open();
    let sent = host.vm.request_headers(id, post(), true).unwrap().forward().unwrap();
    assert_eq!(sent.headers.unwrap().text("x-in"), Some("request"));
    let sent = host.vm.response_headers(id, ok(), true).unwrap().forward().unwrap();
    assert_eq!(sent.headers.unwrap().text("x-out"), Some("response"));
    host.events();
    host.vm.close(id, &Ending::Complete).unwrap();
    assert_eq!(host.events()[..3], ["log 0 0", "status 0", "header request"]);
}

#[test]
fn a_property_written_in_on_log_is_there_for_the_access_log() {
    let mut host = Recorder::new("ccccccsccccc");
    let id = host.open();
    host.vm.request_headers(id, post(), true).unwrap();
    assert_eq!(host.vm.property(id, &["team"]), None);
    let closed = host.vm.close(id, &Ending::Complete).unwrap();
    assert_eq!(closed.properties["team"], b"blue");
}

#[test]
fn a_body_over_the_buffer_limit_gets_the_host_s_413() {
    let mut host = Recorder::with("PPcccccccccc", |builder| builder.buffer_limit(10));
    let id = host.open();
    host.vm.request_headers(id, post(), false).unwrap();
    assert_eq!(host.vm.request_body(id, b"0123456789", false).unwrap(), Flow::Hold);
    let reply = reply_of(host.vm.request_body(id, b"x", false).unwrap());
    assert_eq!((reply.status, reply.details.as_str()), (413, "request_payload_too_large"));
    assert_eq!(host.events()[2..], ["response_headers 3 0", "response_body 17 1"]);
}

#[test]
fn the_module_may_reject_a_body_over_its_own_limit() {
    let mut host = Recorder::with("prcccccccccc", |builder| builder.buffer_limit(10));
    let id = host.open();
    host.vm.request_headers(id, post(), false).unwrap();
    assert_eq!(reply_of(host.vm.request_body(id, &[b'x'; 100], false).unwrap()).status, 403);
}

#[test]
fn a_body_that_is_not_held_may_be_of_any_size() {
    let mut host = Recorder::with("cccccccccccc", |builder| builder.buffer_limit(10));
    let id = host.open();
    host.vm.request_headers(id, post(), false).unwrap();
    assert_eq!(body_of(host.vm.request_body(id, &[b'x'; 100], false).unwrap()).0.len(), 100);
}

#[test]
fn a_trap_kills_every_stream_of_the_vm_and_none_is_logged() {
    let mut host = Recorder::new("ctcccccccccc");
    let bystander = host.open();
    host.vm.request_headers(bystander, post(), false).unwrap();
    let id = host.open();
    host.vm.request_headers(id, post(), false).unwrap();
    let trap = host.vm.request_body(id, b"x", false).unwrap_err();
    let VmError::Trapped { callback, reason } = &trap else { panic!("{trap}") };
    assert_eq!(*callback, "proxy_on_request_body");
    assert!(reason.contains("unreachable"), "{reason}");
    host.events();
    let dead = VmError::Dead { callback: "proxy_on_request_body" };
    assert_eq!(host.vm.request_body(bystander, b"x", false), Err(dead.clone()));
    assert_eq!(host.vm.close(bystander, &Ending::ClientGone), Err(dead.clone()));
    assert_eq!(host.vm.tick(), Err(dead));
    assert!(host.vm.is_dead() && host.events().is_empty());
}

#[test]
fn a_reload_makes_a_new_vm_with_the_configuration_and_keeps_shared_data() {
    let mut host = Recorder::new("tccccccccccc");
    host.process.shared_data().set(b"cell", Some(b"7"), 0).unwrap();
    let id = host.open();
    host.vm.request_headers(id, post(), false).unwrap_err();
    host.process.configure(b"cccccccccccc").unwrap();
    host.events();
    host.vm.reload().unwrap();
    assert_eq!(host.events(), ["create 0 0", "vm_start 0 0", "configure 12 0"]);
    assert_eq!(host.process.shared_data().get(b"cell").unwrap().0, b"7");
    let id = host.open();
    assert!(host.vm.request_headers(id, post(), true).unwrap().forward().is_some());
}

#[test]
fn a_callout_answer_can_continue_the_request_it_held() {
    let mut host = Recorder::new("dcccccccckcc");
    let id = host.open();
    assert_eq!(host.vm.request_headers(id, post(), true).unwrap(), Flow::Hold);
    let call = host.vm.take_callouts().remove(0);
    assert_eq!((call.upstream.as_str(), call.body.as_slice()), ("etcd", &b"no"[..]));
    assert_eq!(call.headers.text(":path"), Some("/"));
    let answer = HttpCallResponse { headers: ok(), body: b"yes".to_vec(), trailers: HeaderMap::new() };
    host.vm.callout_response(call.token, answer.clone()).unwrap();
    let resumed = host.vm.take_resumed();
    assert_eq!((resumed.len(), resumed[0].stream), (1, id));
    let sent = resumed[0].flow.clone().forward().unwrap();
    assert_eq!((sent.headers, sent.end_of_stream), (Some(post()), true));
    assert_eq!(host.vm.callout_response(call.token, answer), Err(VmError::UnknownCallout(call.token)));
}

#[test]
fn a_callout_answer_can_refuse_the_request_it_held() {
    let mut host = Recorder::new("dccccccccrcc");
    let id = host.open();
    host.vm.request_headers(id, post(), false).unwrap();
    let token = host.vm.take_callouts()[0].token;
    host.vm.callout_failed(token).unwrap();
    let resumed = host.vm.take_resumed().remove(0);
    assert_eq!((resumed.stream, reply_of(resumed.flow).status), (id, 403));
}

#[test]
fn a_callout_for_a_closed_stream_has_no_effect() {
    let mut host = Recorder::new("dccccccccrcc");
    let id = host.open();
    host.vm.request_headers(id, post(), false).unwrap();
    let token = host.vm.take_callouts()[0].token;
    host.vm.close(id, &Ending::ClientGone).unwrap();
    host.vm.callout_response(token, HttpCallResponse::default()).unwrap();
    assert_eq!(host.vm.take_resumed(), []);
}

#[test]
fn a_callout_to_an_unknown_cluster_or_while_configuring_is_a_bad_argument() {
    let mut host = Recorder::with("dccccccccccc", |builder| builder.cluster("other"));
    let id = host.open();
    host.vm.request_headers(id, post(), true).unwrap();
    assert_eq!(host.events().pop().unwrap(), "status 0");

    let (sink, log) = tollgate_host::proxy_wasm::Log::capture();
    let builder = tollgate_host::proxy_wasm::Process::builder(&modules::recorder()).log(sink).cluster("etcd");
    builder.start(b"cccccccccccd").unwrap();
    assert!(log.contains("status 2"), "{:?}", log.lines());
}

#[test]
fn a_second_local_reply_is_ignored() {
    let mut host = Recorder::new("Rccccccccccc");
    let id = host.open();
    assert_eq!(reply_of(host.vm.request_headers(id, post(), true).unwrap()).status, 403);
}

#[test]
fn ids_of_closed_streams_are_not_used_again() {
    let mut host = Recorder::new("cccccccccccc");
    let first: StreamId = host.open();
    host.vm.close(first, &Ending::Complete).unwrap();
    assert_ne!(host.open(), first);
}
