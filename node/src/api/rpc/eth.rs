//! `eth_*` on `/{namespace}`: what a wallet needs to submit.
//!
//! Operators order and do not execute, so receipts, balances and nonces are an executor's to say. Where one is configured
//! for the namespace, those calls are passed on to it; where none is, the answer says that one is needed.

use super::{Args, Context, Origin, method};
use crate::api::backend::Source;
use crate::api::entry::decode_hex;
use crate::api::rejection::{RejectCode, Rejected};
use jsonrpsee::server::{RegisterMethodError, RpcModule};
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::{Value, json};
use squad_types::{Confirmation, NamespaceKind, NamespaceSpec, Tier};
use std::time::Duration;

pub(super) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    method!(module, "eth_chainId", chain_id);
    method!(module, "net_version", net_version);
    method!(module, "web3_clientVersion", client_version);
    method!(module, "eth_sendRawTransaction", send_raw);
    method!(module, "eth_sendRawTransactionSync", send_raw_sync);
    for name in PASSED_ON {
        module.register_async_method(name, move |params, context, extensions| async move {
            context.gate.metrics().calls.with_label_values(&[*name]).inc();
            let origin = super::origin(&extensions);
            pass_on(&context, &origin, name, params.as_str().unwrap_or("[]")).await
        })?;
    }
    Ok(())
}

/// Calls that only an executor can answer.
const PASSED_ON: &[&str] = &[
    "eth_accounts",
    "eth_blobBaseFee",
    "eth_blockNumber",
    "eth_call",
    "eth_createAccessList",
    "eth_estimateGas",
    "eth_feeHistory",
    "eth_gasPrice",
    "eth_getBalance",
    "eth_getBlockByHash",
    "eth_getBlockByNumber",
    "eth_getBlockReceipts",
    "eth_getBlockTransactionCountByHash",
    "eth_getBlockTransactionCountByNumber",
    "eth_getCode",
    "eth_getFilterChanges",
    "eth_getFilterLogs",
    "eth_getLogs",
    "eth_getProof",
    "eth_getRawTransactionByHash",
    "eth_getStorageAt",
    "eth_getTransactionByBlockHashAndIndex",
    "eth_getTransactionByBlockNumberAndIndex",
    "eth_getTransactionByHash",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_getUncleCountByBlockHash",
    "eth_getUncleCountByBlockNumber",
    "eth_maxPriorityFeePerGas",
    "eth_newBlockFilter",
    "eth_newFilter",
    "eth_newPendingTransactionFilter",
    "eth_syncing",
    "eth_uninstallFilter",
];

/// How often an executor is asked for a receipt. Its block is ordered already, so it is there within milliseconds.
const RECEIPT_POLL: Duration = Duration::from_millis(20);
/// How long an executor may take to execute what is ordered.
const RECEIPT_WAIT: Duration = Duration::from_secs(10);

fn evm_namespace(context: &Context, origin: &Origin) -> Result<(NamespaceSpec, u64), Rejected> {
    let spec = context.path_namespace(origin)?;
    match spec.kind {
        NamespaceKind::Evm { chain_id } => Ok((spec, chain_id)),
        NamespaceKind::Opaque => {
            let reason = format!("namespace '{}' is opaque and speaks no eth_*: use squad_sendTransaction", spec.name);
            Err(Rejected::new(RejectCode::UnknownNamespace, reason))
        }
    }
}

async fn chain_id(context: &Context, origin: &Origin, args: Args) -> Result<String, Rejected> {
    args.end()?;
    evm_namespace(context, origin).map(|(_, id)| format!("{id:#x}"))
}

async fn net_version(context: &Context, origin: &Origin, args: Args) -> Result<String, Rejected> {
    args.end()?;
    evm_namespace(context, origin).map(|(_, id)| id.to_string())
}

async fn client_version(_: &Context, _: &Origin, args: Args) -> Result<String, Rejected> {
    args.end()?;
    Ok(format!("squad/v{}/{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS))
}

async fn hand_in(
    context: &Context,
    origin: &Origin,
    data: &str,
    wait: Tier,
) -> Result<(Confirmation, String), Rejected> {
    let (spec, _) = evm_namespace(context, origin)?;
    let data =
        decode_hex(data, "transaction").inspect_err(|refusal| context.gate.metrics().count_refusal(refusal.code))?;
    let hash = format!("0x{}", hex::encode(squad_types::hash::keccak256(&data)));
    let confirmation = context.gate.submit(&spec, data, None, wait, Source::Client(origin.client)).await?;
    Ok((confirmation, hash))
}

/// Waits for tier batched, or for the one given, and answers with Ethereum's hash as wallets expect.
async fn send_raw(context: &Context, origin: &Origin, mut args: Args) -> Result<String, Rejected> {
    let (data, wait): (String, Option<Tier>) = (args.required("transaction")?, args.optional("wait")?);
    args.end()?;
    hand_in(context, origin, &data, wait.unwrap_or(Tier::Batched)).await.map(|(_, hash)| hash)
}

/// EIP-7966: answers with the receipt. The transaction is handed in, ordered, and its receipt fetched from the executor.
///
/// Without an executor nothing is handed in, so that the caller may submit by another way. The optional second
/// parameter is the EIP's timeout in milliseconds for the receipt, once the transaction is ordered.
async fn send_raw_sync(context: &Context, origin: &Origin, mut args: Args) -> Result<Value, Rejected> {
    let (data, timeout): (String, Option<u64>) = (args.required("transaction")?, args.optional("timeout")?);
    args.end()?;
    let (spec, _) = evm_namespace(context, origin)?;
    let executor = context.executors.of(&spec.name)?;
    let (_, hash) = hand_in(context, origin, &data, Tier::Ordered).await?;
    let limit = timeout.map_or(RECEIPT_WAIT, |ms| Duration::from_millis(ms).min(RECEIPT_WAIT));
    let receipt = async {
        loop {
            let receipt = executor.call("eth_getTransactionReceipt", vec![json!(hash)]).await?;
            if !receipt.is_null() {
                return Ok(receipt);
            }
            tokio::time::sleep(RECEIPT_POLL).await;
        }
    };
    tokio::time::timeout(limit, receipt).await.unwrap_or_else(|_| {
        let reason = format!(
            "transaction {hash} is ordered, but its executor has no receipt after {} ms: it skipped the transaction or is behind",
            limit.as_millis()
        );
        Err(Rejected::new(RejectCode::Timeout, reason))
    })
}

async fn pass_on(context: &Context, origin: &Origin, method: &str, params: &str) -> Result<Value, ErrorObjectOwned> {
    let (spec, _) = evm_namespace(context, origin)?;
    let executor = context.executors.of(&spec.name)?;
    let malformed = |_| Rejected::new(RejectCode::MalformedParameter, "params are no list");
    executor.pass_on(method, serde_json::from_str(params).map_err(malformed)?).await
}
