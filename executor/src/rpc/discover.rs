//! `rpc.discover`: the OpenRPC document, made from the method table and the schemas.

use super::{
    RpcContext,
    args::{self, Args, Reply},
    methods::{self, Method, Param, Run, Shape},
};
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// The schemas that the table names.
const SCHEMAS: &str = include_str!("schemas.json");

pub(super) fn answer(_: &RpcContext, args: Args) -> Reply {
    args.end()?;
    Ok(document().clone())
}

/// The OpenRPC document of the executor's interface.
///
/// It lists exactly the methods that are registered, since both come from one table.
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        json!({
            "openrpc": "1.3.2",
            "info": {
                "title": "SQUAD executor",
                "description": "Ethereum's JSON-RPC over one namespace of a SQUAD network, by HTTP POST and WebSocket on one port. `latest`, `safe` and `finalized` are the last ordered block, which is final; `pending` is what is secured and not ordered yet.",
                "version": env!("CARGO_PKG_VERSION"),
            },
            "methods": methods::all().map(method).collect::<Vec<_>>(),
            "components": {"schemas": schemas(), "errors": errors()},
        })
    })
}

fn schemas() -> Value {
    // The file is part of the program, and a test parses it.
    serde_json::from_str(SCHEMAS).unwrap_or_default()
}

fn method(method: &Method) -> Value {
    let mut out = json!({
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "by-position",
        "params": method.params.iter().map(param).collect::<Vec<_>>(),
        "result": {"name": "result", "schema": schema(method.result)},
        "errors": errors_of(method).map(|name| json!({"$ref": format!("#/components/errors/{name}")})).collect::<Vec<_>>(),
    });
    if matches!(method.run, Run::Subscribe | Run::Unsubscribe) {
        out["x-transport"] = json!("websocket");
    }
    out
}

fn param(param: &Param) -> Value {
    json!({"name": param.name, "required": param.required, "schema": schema(param.shape)})
}

fn schema(shape: Shape) -> Value {
    let named = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let list = |name: &str| json!({"type": "array", "items": named(name)});
    match shape {
        Shape::One(name) => named(name),
        Shape::Maybe(name) => json!({"oneOf": [named(name), {"type": "null"}]}),
        Shape::List(name) => list(name),
        Shape::MaybeList(name) => json!({"oneOf": [list(name), {"type": "null"}]}),
    }
}

const ERRORS: &[(&str, i32, &str)] = &[
    ("InvalidParams", args::INVALID_PARAMS, "A parameter is missing, malformed or too many."),
    ("Internal", args::INTERNAL, "The database or a worker failed."),
    ("Refused", args::SERVER_ERROR, "Understood, and refused for the reason given."),
    ("LimitExceeded", args::LIMIT_EXCEEDED, "Over a limit of this server, or too much at once."),
    ("Reverted", args::REVERTED, "The call reverted; `data` is what it reverted with."),
    ("SyncTimeout", args::SYNC_TIMEOUT, "Forwarded, and no receipt in time; `data` is the hash."),
    ("SyncNotReady", args::SYNC_NOT_READY, "Ordered but skipped, or not taken now; `data` is the hash."),
    ("SyncNonceGap", args::SYNC_NONCE_GAP, "Lower nonces are missing; `data` is the expected nonce."),
];

fn errors() -> Value {
    let entry =
        |(name, code, message): &(&str, i32, &str)| ((*name).to_owned(), json!({"code": code, "message": message}));
    Value::Object(ERRORS.iter().map(entry).collect::<Map<_, _>>())
}

fn errors_of(method: &Method) -> impl Iterator<Item = &'static str> {
    let special: &[&str] = match method.name {
        "eth_call" | "eth_estimateGas" => &["Reverted"],
        "eth_sendRawTransactionSync" => &["SyncTimeout", "SyncNotReady", "SyncNonceGap"],
        _ => &[],
    };
    let common: &[&str] = match method.run {
        Run::Quick(_) | Run::Unsubscribe => &["InvalidParams", "LimitExceeded"],
        Run::Read(_) | Run::Execute(_) | Run::Wait(_) | Run::Subscribe => {
            &["InvalidParams", "LimitExceeded", "Refused", "Internal"]
        }
    };
    common.iter().chain(special).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| match (name.as_str(), value) {
                ("$ref", Value::String(path)) => {
                    found.insert(path.clone());
                }
                (_, value) => references(value, found),
            }),
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = document();
        let mut found = BTreeSet::new();
        references(document, &mut found);
        for path in &found {
            let pointer = path.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{path}");
        }
        for kind in ["schemas", "errors"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                assert!(found.contains(&format!("#/components/{kind}/{name}")), "{name}");
            }
        }
    }

    #[test]
    fn no_method_is_listed_twice_and_required_parameters_come_first() {
        let names: Vec<_> = methods::all().map(|method| method.name).collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
        for method in methods::all() {
            let optional = method.params.iter().skip_while(|param| param.required);
            assert!(optional.clone().all(|param| !param.required), "{}", method.name);
        }
    }
}
