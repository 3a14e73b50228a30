//! The generator in front of a node's real gRPC, with a node behind it that orders what it is handed.

use super::*;
use crate::api::http::bind;
use crate::api::tests::{FakeBackend, loopback};
use crate::api::{Gate, GrpcServer, serve_grpc};
use crate::config::Limits;
use crate::metrics::NodeMetrics;
use squad_types::Tier;

/// Two measured seconds after one of warm-up.
pub(super) fn args(rate: u64) -> BenchArgs {
    BenchArgs {
        targets: Vec::new(),
        devnet: None,
        namespace: "bytes".into(),
        rate,
        size: 64,
        duration: 2,
        warmup: 1,
        tier: Tier::Ordered,
        no_samples: false,
        streams: 2,
        pids: Vec::new(),
        metrics: Vec::new(),
        executor: None,
        compare: Vec::new(),
        pairs: 1,
        dir: ".".into(),
        json: true,
    }
}

async fn served() -> (GrpcServer, String) {
    let limits = Limits::default();
    let gate = Gate::new(FakeBackend::new(), NodeMetrics::new().unwrap(), &limits);
    let server = serve_grpc(bind("grpc", loopback()).await.unwrap(), gate, &limits).unwrap();
    let url = format!("http://{}", server.address());
    (server, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_offered_is_answered_and_counted() {
    let (server, url) = served().await;
    let (value, text) =
        measure(BenchArgs { targets: vec![url], pids: vec![std::process::id()], ..args(400) }).await.unwrap();
    assert_eq!((&value["offered"], &value["unsent"], &value["stray_answers"]), (&800.into(), &0.into(), &0.into()));
    let accepted = value["accepted"].as_u64().unwrap();
    assert_eq!(accepted, 800, "{value}");
    assert!(text.contains("achieved"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_namespace_and_a_silent_target_are_named() {
    let (server, url) = served().await;
    let unknown = BenchArgs { targets: vec![url], namespace: "nowhere".into(), ..args(1) };
    assert!(measure(unknown).await.unwrap_err().to_string().contains("there are"));
    let silent = BenchArgs { targets: vec!["http://127.0.0.1:1".into()], ..args(1) };
    assert!(measure(silent).await.unwrap_err().to_string().contains("http://127.0.0.1:1"));
    server.stop().await;
}
