//! A JSON-RPC client of its own, so that the tests see what any client would.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longer than a node lets a submission wait.
const ANSWER: Duration = Duration::from_secs(90);

/// Why there is no result.
#[derive(Debug)]
#[allow(dead_code)] // All of it is shown when a test fails.
pub(super) enum NoResult {
    /// The process is not there, or went away.
    Silent(String),
    /// It said no.
    Refused {
        /// JSON-RPC's number.
        code: i64,
        /// For people.
        message: String,
        /// SQUAD's stable text, where it is given.
        text: String,
    },
}

/// What a probe or a browser sees at a URL: the status code and the text.
pub(super) fn get(url: &str) -> (u16, String) {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split_whitespace().nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn outcome(answer: &Value) -> Result<Value, NoResult> {
    match answer.get("error") {
        None => Ok(answer["result"].clone()),
        Some(error) => Err(NoResult::Refused {
            code: error["code"].as_i64().unwrap(),
            message: error["message"].as_str().unwrap_or_default().to_owned(),
            text: error["data"]["code"].as_str().unwrap_or_default().to_owned(),
        }),
    }
}

/// One connection, opened when needed and kept: a connection a call would use up the machine's ports.
pub(super) struct Rpc {
    address: String,
    path: String,
    connection: Option<BufReader<TcpStream>>,
}

impl Rpc {
    /// For a URL such as `http://127.0.0.1:1234/evm`.
    pub(super) fn new(url: &str) -> Self {
        let rest = url.strip_prefix("http://").unwrap();
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        Self { address: address.to_owned(), path: format!("/{path}"), connection: None }
    }

    /// Calls, whatever comes of it.
    pub(super) fn try_call(&mut self, method: &str, params: Value) -> Result<Value, NoResult> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        match self.exchange(&body) {
            Ok(answer) => outcome(&answer),
            Err(error) => {
                self.connection = None;
                Err(NoResult::Silent(error.to_string()))
            }
        }
    }

    /// One method for each of the parameters, in one request.
    pub(super) fn batch(
        &mut self,
        method: &str,
        params: impl IntoIterator<Item = Value>,
    ) -> Vec<Result<Value, NoResult>> {
        let call = |(id, params)| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let calls: Vec<Value> = params.into_iter().enumerate().map(call).collect();
        let answer = self.exchange(&json!(calls).to_string()).unwrap();
        answer.as_array().unwrap().iter().map(outcome).collect()
    }

    /// Calls and expects a result.
    pub(super) fn call(&mut self, method: &str, params: Value) -> Value {
        let shown: String = params.to_string().chars().take(200).collect();
        self.try_call(method, params).unwrap_or_else(|none| panic!("{method} {shown} at {}: {none:?}", self.address))
    }

    /// Calls and expects a refusal: its number, its stable text, its message.
    pub(super) fn refused(&mut self, method: &str, params: Value) -> (i64, String, String) {
        match self.try_call(method, params) {
            Err(NoResult::Refused { code, message, text }) => (code, text, message),
            other => panic!("{method} at {} is not refused: {other:?}", self.address),
        }
    }

    fn exchange(&mut self, body: &str) -> std::io::Result<Value> {
        let stream = match self.connection.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_read_timeout(Some(ANSWER))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let stream = self.connection.insert(stream);
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.path,
            self.address,
            body.len()
        );
        stream.get_mut().write_all((head + body).as_bytes())?;
        let mut length = None;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok();
            }
        }
        let mut answer = vec![0; length.ok_or(std::io::ErrorKind::InvalidData)?];
        stream.read_exact(&mut answer)?;
        Ok(serde_json::from_slice(&answer)?)
    }
}
