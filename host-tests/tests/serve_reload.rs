//! Workers and their switch to another configuration.

mod modules;
mod serving;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use modules::recorder;
use serving::{Choices, Client, Serving, eventually, growing, piece, rest, status};
use tollgate_host::proxy_wasm::StartError;

const PASS: &str = "cccccccccccc";
const REFUSE: &str = "rccccccccccc";
/// The script whose `on_configure` returns false.
const BAD: &str = "cccccccccccn";

#[tokio::test]
async fn connections_are_dealt_out_to_the_workers_in_turn() {
    let serving = Serving::with(&recorder(), PASS, Choices { workers: 3, ..Choices::default() });
    for _ in 0..6 {
        assert_eq!(status(&mut Client::http1(serving.addr()).await).await, 200);
    }
    eventually("all are closed", || serving.count("delete") == 6).await;
    for worker in 0..3 {
        let heads = serving.log.lines().into_iter().filter(|line| line.vm == Some(worker));
        assert_eq!(heads.filter(|line| line.text.starts_with("request_headers")).count(), 2);
    }
}

#[tokio::test]
async fn a_reload_applies_from_the_next_request_in_every_worker() {
    let serving = Serving::with(&recorder(), PASS, Choices { workers: 3, ..Choices::default() });
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::http2(serving.addr()).await);
    }
    for (configuration, expected) in [(REFUSE, 403), (PASS, 200), (REFUSE, 403)] {
        serving.server.reload(configuration.as_bytes()).unwrap();
        for client in &mut clients {
            assert_eq!(status(client).await, expected);
        }
    }
}

#[tokio::test]
async fn an_invalid_configuration_changes_nothing() {
    let serving = Serving::with(&recorder(), PASS, Choices { workers: 2, ..Choices::default() });
    let refused = serving.server.reload(BAD.as_bytes());
    assert!(matches!(refused, Err(StartError::ConfigurationRefused)));
    for _ in 0..2 {
        assert_eq!(status(&mut Client::http1(serving.addr()).await).await, 200);
    }
    let configured = serving.events().iter().filter(|event| event.starts_with("configure")).count();
    assert_eq!(configured, 2, "only the canary saw it");
}

#[tokio::test]
async fn an_open_stream_can_end_after_a_reload() {
    let serving = Serving::new(&recorder(), PASS);
    let mut client = Client::http1(serving.addr()).await;
    let (mut sender, body) = growing();
    let request = client.request("POST", "/any").header("x-simulate", "mirror").body(body).unwrap();
    let mut response = client.send(request).await.unwrap();
    sender.send_data("before".into()).await.unwrap();
    assert_eq!(piece(response.body_mut()).await, b"before");
    serving.server.reload(PASS.as_bytes()).unwrap();
    sender.send_data("after".into()).await.unwrap();
    assert_eq!(piece(response.body_mut()).await, b"after");
    drop(sender);
    assert!(rest(response.into_body()).await.is_empty());
}

#[tokio::test]
async fn reloads_under_load_lose_no_request() {
    let serving = Serving::with(&recorder(), PASS, Choices { workers: 2, ..Choices::default() });
    let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (addr, done, served) = (serving.addr(), Arc::clone(&done), Arc::clone(&served));
            tokio::spawn(async move {
                let mut client = Client::http1(addr).await;
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(status(&mut client).await, 200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for reloads in 1..=20 {
        serving.server.reload(PASS.as_bytes()).unwrap();
        eventually("requests go on", || served.load(Ordering::Relaxed) >= reloads * 10).await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let all = served.load(Ordering::Relaxed);
    eventually("each has its line", || serving.lines.all().len() == all).await;
    assert!(serving.lines.all().iter().all(|line| line["status"] == 200));
}

#[tokio::test]
async fn every_worker_gets_ticks() {
    // `T` in `on_configure`: ticks every 250 ms.
    let serving = Serving::with(&recorder(), "cccccccccccT", Choices { workers: 2, ..Choices::default() });
    let ticked = |worker| {
        let mut lines = serving.log.lines().into_iter();
        lines.any(|line| line.vm == Some(worker) && line.text.starts_with("tick"))
    };
    eventually("both tick", || ticked(0) && ticked(1)).await;
    serving.server.reload(PASS.as_bytes()).unwrap();
    let before = serving.count("tick");
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert!(serving.count("tick") <= before + 2, "a configuration without ticks ends them");
}
