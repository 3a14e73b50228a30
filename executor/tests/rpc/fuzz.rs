//! Requests made from the OpenRPC document: good ones, bent ones and nonsense. Each gets a proper JSON-RPC answer.

use crate::{
    common::{LOGGER, REVERTER, deploy_code},
    rollup::Rollup,
};
use alloy_primitives::{Address, TxKind, U256};
use jsonrpsee::{
    core::client::{ClientT, Error as ClientError},
    core::params::ArrayParams,
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Map, Value, json};
use squad_executor::{RpcLimits, dev_accounts};

/// Requests per run, and as many nonsensical bodies.
const REQUESTS: usize = 1_500;

/// Codes that a request may be refused with. Never -32603: nothing that a client sends is an internal failure.
const CODES: [i64; 14] = [-32700, -32600, -32601, -32602, -32000, -32005, -32007, -32008, -32010, -32006, 3, 4, 5, 6];

/// Values that a schema of the document allows.
struct Generator<'a> {
    document: &'a Value,
    /// Addresses and hashes that exist, so that not everything misses.
    known: Vec<Value>,
}

impl Generator<'_> {
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(path) => self.resolve(self.document.pointer(&path[1..]).unwrap()),
            None => schema,
        }
    }

    /// What is wrong with `value` by `schema`; the inside of numbers and of texts without fixed length is not looked at.
    fn judge(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let schema = self.resolve(schema);
        let wrong = |what: &str| Err(format!("{what}: {value} by {schema}"));
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            let fits = choices.iter().any(|choice| self.judge(choice, value).is_ok());
            return if fits { Ok(()) } else { wrong("fits no choice") };
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return if values.contains(value) { Ok(()) } else { wrong("is not listed") };
        }
        match (schema["type"].as_str().unwrap(), value) {
            ("null", Value::Null) | ("boolean", Value::Bool(_)) | ("integer" | "number", Value::Number(_)) => Ok(()),
            ("string", Value::String(text)) => match schema.get("pattern").and_then(Value::as_str) {
                Some(pattern) if !text.starts_with("0x") => wrong(pattern),
                Some(pattern) if length_of(pattern).is_some_and(|length| length != text.len()) => wrong(pattern),
                _ => Ok(()),
            },
            ("array", Value::Array(values)) => values.iter().try_for_each(|value| self.judge(&schema["items"], value)),
            ("object", Value::Object(fields)) => {
                let missing = schema["required"].as_array().into_iter().flatten();
                if let Some(name) = missing.filter_map(Value::as_str).find(|name| !fields.contains_key(*name)) {
                    return wrong(name);
                }
                let listed = schema["properties"].as_object().into_iter().flatten();
                let mut present = listed.filter_map(|(name, schema)| Some((schema, fields.get(name)?)));
                present.try_for_each(|(schema, value)| self.judge(schema, value))
            }
            _ => wrong("has another type"),
        }
    }

    fn value(&self, schema: &Value, runner: &mut TestRunner) -> Value {
        let schema = self.resolve(schema);
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            return self.value(&choices[pick(runner, choices.len())], runner);
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return values[pick(runner, values.len())].clone();
        }
        match schema["type"].as_str().unwrap() {
            "null" => Value::Null,
            "boolean" => json!(pick(runner, 2) == 0),
            "integer" => json!(pick(runner, 1_000)),
            "number" => json!(pick(runner, 1_010) as f64 / 10.0),
            "string" => self.text(schema, runner),
            "array" => (0..pick(runner, 4)).map(|_| self.value(&schema["items"], runner)).collect(),
            "object" => self.object(schema, runner),
            other => panic!("the document has a type '{other}' that this test does not know"),
        }
    }

    fn text(&self, schema: &Value, runner: &mut TestRunner) -> Value {
        let Some(pattern) = schema.get("pattern").and_then(Value::as_str) else { return json!("text") };
        // What exists has the right form more often than what is made up.
        let fits = |value: &&Value| value.as_str().is_some_and(|text| length_of(pattern) == Some(text.len()));
        let known: Vec<_> = self.known.iter().filter(fits).collect();
        if !known.is_empty() && pick(runner, 2) == 0 {
            return known[pick(runner, known.len())].clone();
        }
        // Small numbers, so that blocks and indices are hit.
        if pattern.contains("[1-9a-f]") && pick(runner, 2) == 0 {
            return json!(format!("{:#x}", pick(runner, 8)));
        }
        let bare = pattern.trim_start_matches('^').trim_end_matches('$');
        json!(draw(runner, proptest::string::string_regex(bare).unwrap()))
    }

    fn object(&self, schema: &Value, runner: &mut TestRunner) -> Value {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut out = Map::new();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if required.contains(&name.as_str()) || pick(runner, 3) == 0 {
                out.insert(name.clone(), self.value(schema, runner));
            }
        }
        if let Some(more) = schema.get("additionalProperties").filter(|more| more.is_object()) {
            for _ in 0..pick(runner, 3) {
                let key = self.text(&schema["propertyNames"], runner);
                out.insert(key.as_str().unwrap().to_owned(), self.value(more, runner));
            }
        }
        Value::Object(out)
    }

    fn params(&self, method: &Value, runner: &mut TestRunner) -> Vec<Value> {
        let params = method["params"].as_array().unwrap();
        let required = params.iter().filter(|param| param["required"] == true).count();
        let count = required + pick(runner, params.len() - required + 1);
        params[..count].iter().map(|param| self.value(&param["schema"], runner)).collect()
    }
}

/// The length of the texts that a pattern of fixed length matches.
fn length_of(pattern: &str) -> Option<usize> {
    if pattern.ends_with("{40}$") { Some(42) } else { pattern.ends_with("{64}$").then_some(66) }
}

fn draw<S: Strategy>(runner: &mut TestRunner, strategy: S) -> S::Value {
    strategy.new_tree(runner).unwrap().current()
}

fn pick(runner: &mut TestRunner, below: usize) -> usize {
    draw(runner, 0..below.max(1))
}

/// Any JSON, a few levels deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no such number", |number| number.is_finite()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "0x[0-9a-f]{0,80}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{1,8}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Changes something somewhere: a value is replaced, a text is cut or lengthened, a field or an element goes.
fn bend(value: &mut Value, runner: &mut TestRunner) {
    let inner = match value {
        Value::Array(values) if !values.is_empty() => {
            let at = pick(runner, values.len());
            if pick(runner, 4) == 0 {
                values.remove(at);
                return;
            }
            values.get_mut(at)
        }
        Value::Object(fields) if !fields.is_empty() => {
            let key = fields.keys().nth(pick(runner, fields.len())).unwrap().clone();
            if pick(runner, 4) == 0 {
                fields.remove(&key);
                return;
            }
            fields.get_mut(&key)
        }
        _ => None,
    };
    match inner {
        Some(inner) if pick(runner, 4) != 0 => return bend(inner, runner),
        _ => {}
    }
    *value = match value {
        Value::String(text) => match pick(runner, 5) {
            0 => json!(text.chars().take(text.chars().count() / 2).collect::<String>()),
            1 => json!(format!("{text}0")),
            2 => json!(text.to_uppercase()),
            3 => json!(text.replace('0', "_")),
            _ => draw(runner, any_json()),
        },
        _ => draw(runner, any_json()),
    };
}

fn runner(seed: u8) -> TestRunner {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    TestRunner::new_with_rng(Config::default(), rng)
}

/// An answer to a single request with `id`.
fn check(answer: &Value, id: &Value, request: &str) {
    let members = answer.as_object().unwrap_or_else(|| panic!("{request}: {answer}"));
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), id), "{request}: {answer}");
    assert_eq!(members.len(), 3, "{request}: {answer}");
    if let Some(error) = members.get("error") {
        let code = error["code"].as_i64().unwrap();
        assert!(CODES.contains(&code), "{request}: {answer}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{request}: {answer}");
    }
}

/// A rollup with contracts, logs and a pending transaction, and the names of what there is in it.
async fn populated() -> (Rollup, Vec<Value>) {
    // Small, so that what is out of bounds comes up.
    let limits = RpcLimits {
        log_blocks: 4,
        logs: 3,
        filters: 4,
        sync_timeout: std::time::Duration::from_millis(20),
        ..RpcLimits::default()
    };
    let mut rollup = Rollup::start_with(limits).await;
    let from = &dev_accounts()[0];
    let create =
        |nonce, code: &[u8]| from.transact(1516, nonce, TxKind::Create, U256::ZERO, deploy_code(code), 200_000);
    let (logger, reverter) = (from.address().create(0), from.address().create(1));
    let call = |nonce, to| from.transact(1516, nonce, TxKind::Call(to), U256::ZERO, Default::default(), 100_000);
    rollup.order(vec![create(0, &LOGGER), create(1, &REVERTER)]).await;
    for nonce in 2..7 {
        rollup.order(vec![call(nonce, logger)]).await;
    }
    rollup.order(vec![call(7, reverter), from.transfer(1516, 99, Address::ZERO, U256::ONE)]).await;
    let pending = rollup.result("eth_sendRawTransaction", json!([call(8, logger)])).await;
    let block = rollup.result("eth_getBlockByNumber", json!(["0x3", false])).await;
    let filter = rollup.result("eth_newFilter", json!([{}])).await;
    let known = vec![
        json!(from.address()),
        json!(logger),
        json!(reverter),
        block["hash"].clone(),
        block["transactions"][0].clone(),
        pending,
        filter,
    ];
    (rollup, known)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_gets_a_proper_answer() {
    let (rollup, known) = populated().await;
    let document = rollup.result("rpc.discover", json!([])).await;
    let generator = Generator { document: &document, known };
    let methods = document["methods"].as_array().unwrap();
    let mut runner = runner(1);
    let (mut answered, mut refused) = (0, 0);
    for at in 0..REQUESTS {
        let method = &methods[at % methods.len()];
        let mut params = Value::Array(generator.params(method, &mut runner));
        if at / methods.len() % 3 != 0 {
            bend(&mut params, &mut runner);
        }
        let id = json!(at);
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method["name"], "params": params}).to_string();
        let (status, answer) = rollup.raw(&request).await;
        assert_eq!(status, 200, "{request}");
        check(&answer, &id, &request);
        match answer.get("result") {
            Some(result) => {
                answered += 1;
                let judged = generator.judge(&method["result"]["schema"], result);
                judged.unwrap_or_else(|why| panic!("{request}: {why}"));
            }
            None => refused += 1,
        }
    }
    // Both sides of the interface were seen.
    assert!(answered > REQUESTS / 5 && refused > REQUESTS / 5, "{answered} answered, {refused} refused");
    assert_eq!(rollup.result("eth_chainId", json!([])).await, "0x5ec");
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_over_one_socket_and_many_at_once() {
    let (rollup, known) = populated().await;
    let document = rollup.result("rpc.discover", json!([])).await;
    let generator = Generator { document: &document, known };
    let methods: Vec<_> =
        document["methods"].as_array().unwrap().iter().filter(|method| method.get("x-transport").is_none()).collect();
    let (client, mut runner) = (rollup.socket().await, runner(2));
    for round in 0..REQUESTS / 32 {
        let requests: Vec<_> = (0..32)
            .map(|at| {
                let method = methods[(round * 32 + at) % methods.len()];
                let mut params = Value::Array(generator.params(method, &mut runner));
                bend(&mut params, &mut runner);
                let mut list = ArrayParams::new();
                params.as_array().into_iter().flatten().for_each(|param| list.insert(param).unwrap());
                (method["name"].as_str().unwrap(), list)
            })
            .collect();
        let answers = requests.into_iter().map(|(name, params)| client.request::<Value, _>(name, params));
        for answer in futures::future::join_all(answers).await {
            match answer {
                Ok(_) => {}
                Err(ClientError::Call(error)) => assert!(CODES.contains(&i64::from(error.code())), "{error}"),
                Err(other) => panic!("{other}"),
            }
        }
    }
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_requests_get_an_error() {
    let rollup = Rollup::start().await;
    let mut runner = runner(3);
    for at in 0..REQUESTS {
        let body = match at % 3 {
            0 => draw(&mut runner, any_json()).to_string(),
            1 => {
                let mut request = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []});
                bend(&mut request, &mut runner);
                request.to_string()
            }
            _ => {
                let text = json!([{"jsonrpc": "2.0", "id": 1, "method": "eth_getBalance", "params": ["0x", {}]}, 5])
                    .to_string();
                text.chars().take(pick(&mut runner, text.len())).collect()
            }
        };
        let (status, answer) = rollup.raw(&body).await;
        assert!(matches!(status, 200 | 400), "{status}: {body}");
        for answer in answer.as_array().unwrap_or(&vec![answer.clone()]) {
            // A notification has no answer.
            if !answer.is_null() {
                assert_eq!(answer["jsonrpc"], "2.0", "{body}: {answer}");
                let code = answer["error"]["code"].as_i64();
                assert!(code.is_none_or(|code| CODES.contains(&code)), "{body}: {answer}");
            }
        }
    }
    assert_eq!(rollup.result("eth_chainId", json!([])).await, "0x5ec");
    rollup.stop().await.unwrap();
}

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openrpc-executor.json");
    let made = format!("{}\n", serde_json::to_string_pretty(squad_executor::openrpc()).unwrap());
    if std::env::var_os("SQUAD_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/openrpc-executor.json is not what rpc.discover answers; SQUAD_BLESS=1 cargo test -p squad-executor --test rpc writes it"
    );
}
