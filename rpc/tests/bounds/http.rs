//! Clients that hold an HTTP connection and do little with it.

use crate::served::{Served, all, body, frame, limits, message, post, request, until};
use serde_json::Value;
use squad_rpc::Limits;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const SHORT: Duration = Duration::from_secs(2);

async fn short() -> Served {
    Served::new(Limits { idle: SHORT, ..limits() }).await
}

/// What comes after `sent`, and that the connection's place comes back.
async fn answer(served: &Served, sent: &str) -> String {
    let mut socket = served.connect().await;
    socket.write_all(sent.as_bytes()).await.unwrap();
    let answer = all(&mut socket).await;
    until(&served.done.open, 0).await;
    answer
}

#[tokio::test]
async fn who_says_nothing_is_let_go() {
    assert_eq!(answer(&short().await, "").await, "");
}

#[tokio::test]
async fn who_does_not_end_a_head_is_let_go() {
    assert_eq!(answer(&short().await, "POST / HTTP/1.1\r\nHost: x\r\n").await, "");
}

/// Sends a letter again and again, until the server has had enough.
async fn trickle(served: &Served, begin: &str) -> String {
    let (mut read, mut write) = served.connect().await.into_split();
    write.write_all(begin.as_bytes()).await.unwrap();
    let writing = tokio::spawn(async move {
        let mut pause = tokio::time::interval(SHORT / 40);
        while write.write_all(b"x").await.is_ok() {
            pause.tick().await;
        }
    });
    let mut answer = String::new();
    let _ = tokio::io::AsyncReadExt::read_to_string(&mut read, &mut answer).await;
    writing.await.unwrap();
    until(&served.done.open, 0).await;
    answer
}

#[tokio::test]
async fn who_sends_a_head_letter_by_letter_is_let_go() {
    assert_eq!(trickle(&short().await, "POST / HTTP/1.1\r\nHost: ").await, "");
}

#[tokio::test]
async fn who_sends_a_body_letter_by_letter_is_told_and_let_go() {
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{";
    let answer = trickle(&short().await, head).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn who_keeps_a_connection_for_later_is_let_go() {
    let kept = post(&request(1, "small", "")).replace("Connection: close\r\n", "");
    let answer = answer(&short().await, &kept).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("done"), "{answer}");
}

#[tokio::test]
async fn who_gives_no_sign_of_life_on_a_websocket_is_let_go() {
    let served = short().await;
    let mut socket = served.socket().await;
    assert_eq!(message(&mut socket).await, None);
    until(&served.done.open, 0).await;
}

#[tokio::test]
async fn a_request_that_takes_its_time_is_waited_for() {
    let served = short().await;
    let mut socket = served.connect().await;
    socket.write_all(post(&request(1, "wait", "")).as_bytes()).await.unwrap();
    until(&served.done.waiting, 1).await;
    // Longer than a client may be silent: others come and go in that time.
    for _ in 0..3 {
        assert_eq!(all(&mut served.connect().await).await, "");
    }
    served.go.add_permits(1);
    assert_eq!(body(&all(&mut socket).await)["result"], "done");
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let served = Served::new(limits()).await;
    let many: String = (0..10_000).map(|at| format!("X-{at}: x\r\n")).collect();
    for headers in [format!("X: {}\r\n", "x".repeat(200_000)), many] {
        let mut socket = served.connect().await;
        // The server may close before it has all.
        let _ = socket.write_all(format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await;
        let answer = all(&mut socket).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        until(&served.done.open, 0).await;
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_json() {
    let served = Served::new(limits()).await;
    let call = request(1, "small", "");
    let head = "Host: x\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let cases = [
        (format!("GET / HTTP/1.1\r\n{head}\r\n"), "405", -32600),
        (post(&call).replace("application/json", "text/plain"), "415", -32600),
        (post("nonsense"), "400", -32700),
        (post("[]"), "200", -32600),
        (post(&"[".repeat(2 << 20)), "413", -32007),
        // Too large, which only shows at the end.
        (
            format!(
                "POST / HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n200000\r\n{}\r\n0\r\n\r\n",
                " ".repeat(2 << 20)
            ),
            "413",
            -32007,
        ),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n".into(), "400", -32600),
        (post(&format!("[{}]", [call.as_str(); 11].join(","))), "200", -32010),
    ];
    for (sent, status, code) in cases {
        let answer = answer(&served, &sent).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_eq!(body(&answer)["error"]["code"], code, "{answer}");
    }
    let notification = post(r#"{"jsonrpc":"2.0","method":"small"}"#);
    assert_eq!(body(&answer(&served, &notification).await), Value::Null);
    let batch = format!(r#"[{call},5,{{"jsonrpc":"2.0","method":"small"}},{}]"#, request(2, "none", ""));
    let answers = body(&answer(&served, &post(&batch)).await);
    let codes: Vec<_> = answers.as_array().unwrap().iter().map(|one| one["error"]["code"].as_i64()).collect();
    assert_eq!(codes, [None, Some(-32600), Some(-32601)], "{answers}");
}

#[tokio::test]
async fn a_subscription_within_a_batch_is_refused_in_its_place_and_makes_nothing() {
    let served = Served::new(limits()).await;
    let mut socket = served.socket().await;
    let batch = format!("[{},{},{}]", request(1, "small", ""), request(2, "stream", ""), request(3, "small", ""));
    socket.write_all(&frame(&batch)).await.unwrap();
    // The batch's answer is all that comes before that of the next message.
    socket.write_all(&frame(&request(4, "small", ""))).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(serde_json::from_str::<Value>(&message(&mut socket).await.unwrap()).unwrap());
    }
    answers.sort_by_key(Value::is_object);
    assert_eq!(answers[1]["id"], 4, "{answers:?}");
    let [first, refused, last] = answers[0].as_array().unwrap().as_slice() else { panic!("{answers:?}") };
    assert_eq!((&first["result"], &last["result"]), (&"done".into(), &"done".into()));
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&2.into(), &(-32600).into()), "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("alone"), "{refused}");
    assert_eq!(served.done.notified.load(std::sync::atomic::Ordering::SeqCst), 0);
}
