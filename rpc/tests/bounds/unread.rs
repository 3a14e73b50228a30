//! Clients that send and do not read.

use crate::served::{Served, all, frame, large, limits, message, post, request, system_buffers, until};
use serde_json::Value;
use squad_rpc::{LIMIT_EXCEEDED, Limits};
use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Short enough for a test to wait for, long enough for a client that is at work.
const SHORT: Duration = Duration::from_secs(5);

/// Requests that are together more than the system and the server take in unread, from `first` on, and how many.
fn flood(first: usize) -> (Vec<u8>, usize) {
    let padding = "x".repeat(4_000);
    let count = (system_buffers() + (4 << 20)) / padding.len();
    ((first..first + count).flat_map(|id| frame(&request(id, "small", &padding))).collect(), count)
}

/// Takes all places of a connection for answers that nobody takes: one is being written and cannot be, the others wait.
async fn stuffed(served: &Served) -> TcpStream {
    let mut socket = served.socket().await;
    for id in 0..limits().under_way as usize {
        socket.write_all(&frame(&request(id, "large", ""))).await.unwrap();
    }
    assert_eq!(socket.read_u8().await.unwrap(), 0x81);
    until(&served.done.large, limits().under_way as usize).await;
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn who_never_reads_is_let_go() {
    let served = Served::new(Limits { idle: SHORT, under_way: 1, ..limits() }).await;
    let mut socket = served.socket().await;
    socket.write_all(&frame(&request(0, "large", ""))).await.unwrap();
    let (flood, count) = flood(1);
    // What cannot be sent breaks off when the connection is closed.
    assert!(socket.write_all(&flood).await.is_err(), "{count} requests were taken without an answer being read");
    until(&served.done.open, 0).await;
    served.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn who_reads_late_gets_every_answer_and_holds_up_nobody_meanwhile() {
    let served = Served::new(limits()).await;
    let under_way = limits().under_way as usize;
    let (read, mut write) = stuffed(&served).await.into_split();
    let (flood, flooded) = flood(under_way);
    let writing = tokio::spawn(async move {
        write.write_all(&flood).await.unwrap();
        write
    });
    // Those with a place, a refusal that waits for the writer, and one that waits to wait.
    let most = under_way + 2;
    for _ in 0..100 {
        assert_eq!(served.call("small").await["result"], "done");
        let read = served.done.messages.load(Ordering::SeqCst);
        assert!(read <= most, "{read} messages were read without an answer being taken");
    }
    assert!(!writing.is_finished());

    // The first byte was read before.
    let mut read = BufReader::with_capacity(1 << 20, (&[0x81u8][..]).chain(read));
    let (mut ids, mut refused) = (BTreeSet::new(), 0);
    for _ in 0..under_way + flooded {
        let answer: Value = serde_json::from_str(&message(&mut read).await.unwrap()).unwrap();
        let id = answer["id"].as_u64().unwrap() as usize;
        assert!(ids.insert(id), "answered twice: {id}");
        match answer["error"]["code"].as_i64() {
            None => {
                let wanted = if id < under_way { large() } else { "done".len() };
                assert_eq!(answer["result"].as_str().unwrap().len(), wanted);
            }
            Some(code) => {
                assert_eq!(code, i64::from(LIMIT_EXCEEDED), "{answer}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "nothing was refused, though all places were taken");
    let mut write = writing.await.unwrap();
    write.write_all(&frame(&request(under_way + flooded, "small", ""))).await.unwrap();
    assert!(message(&mut read).await.unwrap().contains("done"));
    served.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn nonsense_and_too_long_messages_are_bounded_like_requests() {
    let served = Served::new(Limits { idle: SHORT, request_bytes: 60, ..limits() }).await;
    for text in ["?".repeat(50), "?".repeat(70), "[1]".to_owned(), r#"{"id":1}"#.to_owned()] {
        let mut socket = served.socket().await;
        let frame = frame(&text);
        let chunk = frame.repeat((1 << 20) / frame.len());
        // What the system takes in unread, and as many requests as have answers that it takes in; each is longer than its
        // request.
        let (mut sent, most) = (0, 2 * system_buffers() + (4 << 20));
        while sent <= most && socket.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
        assert!(sent <= most, "{sent} bytes of '{text}' were read without an answer being taken");
    }
    served.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_subscription_that_nobody_reads_waits_and_ends() {
    let served = Served::new(Limits { idle: SHORT, ..limits() }).await;
    let mut socket = served.socket().await;
    socket.write_all(&frame(&request(1, "stream", ""))).await.unwrap();
    assert!(message(&mut socket).await.unwrap().contains("result"));
    until(&served.done.streams_ended, 1).await;
    until(&served.done.open, 0).await;
    // Each has 1 MiB: what the system holds, what may wait, and one each on its way in and out.
    let most = (system_buffers() >> 20) + 1 + limits().buffered as usize + 2;
    let notified = served.done.notified.load(Ordering::SeqCst);
    assert!(notified <= most, "{notified} notifications were made for a client that took none; at most {most} should");
    served.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn an_http_answer_that_nobody_takes_gives_its_place_back() {
    let served = Served::new(Limits { idle: SHORT, ..limits() }).await;
    let mut socket = served.connect().await;
    socket.write_all(post(&request(1, "large", "")).as_bytes()).await.unwrap();
    until(&served.done.large, 1).await;
    until(&served.done.open, 0).await;
    let answer = all(&mut socket).await;
    assert!(answer.len() < large(), "all of the answer came");
    served.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn answers_that_wait_have_a_bound_over_all_clients() {
    let served = Served::new(Limits { memory: large() + (1 << 20), ..limits() }).await;
    let mut slow = served.socket().await;
    slow.write_all(&frame(&request(1, "large", ""))).await.unwrap();
    // Its answer is made, and is being written.
    assert_eq!(slow.read_u8().await.unwrap(), 0x81);
    let refused = served.call("large").await;
    assert_eq!(refused["error"]["code"], LIMIT_EXCEEDED, "{refused}");
    assert_eq!(served.call("small").await["result"], "done");
    let batch = served.post(&format!("[{},{}]", request(1, "small", ""), request(2, "large", ""))).await;
    assert_eq!(batch["error"]["code"], LIMIT_EXCEEDED, "{batch}");
    // Once it is taken there is room again.
    assert_eq!(slow.read_u8().await.unwrap(), 127);
    let mut rest = vec![0; slow.read_u64().await.unwrap() as usize];
    slow.read_exact(&mut rest).await.unwrap();
    while served.call("large").await["result"].is_null() {}
    served.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_request_without_a_place_is_told_to_wait_and_the_others_are_answered() {
    let served = Served::new(Limits { under_way: 2, ..limits() }).await;
    let mut socket = served.socket().await;
    for id in 0..2 {
        socket.write_all(&frame(&request(id, "wait", ""))).await.unwrap();
    }
    until(&served.done.waiting, 2).await;
    let third = "[".to_owned() + &request(2, "small", "") + "]";
    socket.write_all(&frame(&third)).await.unwrap();
    socket.write_all(&frame(&request(3, "small", ""))).await.unwrap();
    for id in [Value::Null, 3.into()] {
        let refused: Value = serde_json::from_str(&message(&mut socket).await.unwrap()).unwrap();
        assert_eq!((&refused["error"]["code"], &refused["id"]), (&LIMIT_EXCEEDED.into(), &id), "{refused}");
    }
    served.go.add_permits(2);
    for _ in 0..2 {
        assert!(message(&mut socket).await.unwrap().contains("done"));
    }
    socket.write_all(&frame(&request(4, "small", ""))).await.unwrap();
    assert!(message(&mut socket).await.unwrap().contains("done"));
    let http = served.call("stream").await;
    assert_eq!(http["error"]["code"], -32601, "{http}");
    served.server.stop().await;
}
