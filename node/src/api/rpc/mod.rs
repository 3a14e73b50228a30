//! JSON-RPC, over HTTP and WebSocket on one port.
//!
//! `squad_*` is answered on every path; `eth_*` on `/{namespace}`, as wallets expect it.

mod eth;
mod executor;
mod params;
mod squad;
mod subscribe;

pub use params::Args;

use super::entry::{Gate, NamespaceName};
use super::rejection::{RejectCode, Rejected};
use jsonrpsee::server::{RegisterMethodError, RpcModule};
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::json;
use squad_types::NamespaceSpec;
use std::net::IpAddr;

/// What a request's path and socket say, attached to every call.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The namespace in the path.
    pub namespace: Option<String>,
    /// The caller.
    pub client: IpAddr,
}

/// What methods work with.
#[derive(Clone)]
pub struct Context {
    gate: Gate,
    executors: executor::Executors,
}

impl Context {
    /// The namespace of the path.
    fn path_namespace(&self, origin: &Origin) -> Result<NamespaceSpec, Rejected> {
        let hint = "post to /{namespace}, such as /evm, or name the namespace";
        let name = origin.namespace.as_ref().ok_or_else(|| Rejected::new(RejectCode::UnknownNamespace, hint))?;
        self.gate.namespace(&NamespaceName::from(name.as_str()))
    }
}

impl From<Rejected> for ErrorObjectOwned {
    fn from(refusal: Rejected) -> Self {
        let mut data = json!({ "code": refusal.code });
        if let (Some(after), Some(data)) = (refusal.retry_after, data.as_object_mut()) {
            data.insert("retry_after_ms".into(), json!(after.as_millis() as u64));
        }
        Self::owned(refusal.code.number(), refusal.reason, Some(data))
    }
}

/// Every method of the port.
///
/// # Errors
/// Never in practice: two methods of one name.
pub fn module(gate: Gate, executors: &[(String, String)]) -> Result<RpcModule<Context>, RegisterMethodError> {
    let executors = executor::Executors::new(executors);
    let mut module = RpcModule::new(Context { gate, executors });
    squad::register(&mut module)?;
    eth::register(&mut module)?;
    subscribe::register(&mut module)?;
    Ok(module)
}

/// Registers a method that takes its arguments as [`Args`], and counts its calls.
macro_rules! method {
    ($module:expr, $name:literal, $handler:path) => {
        $module.register_async_method($name, |params, context, extensions| async move {
            context.gate.metrics().calls.with_label_values(&[$name]).inc();
            let origin = $crate::api::rpc::origin(&extensions);
            let outcome = match $crate::api::rpc::Args::parse(&params) {
                Ok(args) => $handler(&context, &origin, args).await,
                Err(refusal) => Err(refusal),
            };
            outcome.map_err(jsonrpsee::types::ErrorObjectOwned::from)
        })?
    };
}
use method;

fn origin(extensions: &jsonrpsee::Extensions) -> Origin {
    let unknown = || Origin { namespace: None, client: IpAddr::from([0, 0, 0, 0]) };
    extensions.get::<Origin>().cloned().unwrap_or_else(unknown)
}
