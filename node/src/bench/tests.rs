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
        latencies: None,
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_latency_is_written_with_its_tier_and_target() {
    let (server, url) = served().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("latencies.csv");
    let asked = BenchArgs { targets: vec![url], latencies: Some(file.clone()), ..args(100) };
    let (value, _) = measure(asked.clone()).await.unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("due_us,target,tier,latency_us"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len() as u64, value["accepted"].as_u64().unwrap());
    for tier in ["batched", "secured", "ordered"] {
        let count = rows.iter().filter(|row| row[2] == tier).count() as u64;
        assert_eq!(value["latency_ms"][tier]["count"].as_u64(), Some(count), "{tier}");
    }
    assert!(rows.iter().all(|row| row[1] == "0" && row[3].parse::<u64>().is_ok()), "{text}");
    assert!(rows.iter().all(|row| (1_000_000..3_000_000).contains(&row[0].parse::<u64>().unwrap())), "{text}");

    // A file that cannot be made is said before anything is sent.
    let nowhere = BenchArgs { latencies: Some(dir.path().join("no/such/file")), ..asked };
    assert!(measure(nowhere).await.unwrap_err().to_string().contains("no/such/file"));
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
