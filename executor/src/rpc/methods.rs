//! The one table of methods: the server registers from it, and `rpc.discover` describes from it.

use super::{
    RpcContext, access,
    args::{Args, Reply},
    blocks, calls, discover, fees, filters, logs, network, pending_block, proof, state, submit, sync,
};
use std::{future::Future, pin::Pin};

/// What a value looks like: one of the schemas in `schemas.json`, or made of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// A schema by name.
    One(&'static str),
    /// The named one, or `null`.
    Maybe(&'static str),
    /// A list of the named one.
    List(&'static str),
    /// Such a list, or `null`.
    MaybeList(&'static str),
}

/// One positional parameter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
}

pub(super) type Answer = fn(&RpcContext, Args) -> Reply;
pub(super) type Waiting<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

/// How a method is run.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// From memory, on the spot.
    Quick(Answer),
    /// Reads the database or the state: on a blocking thread, so many at a time.
    Read(Answer),
    /// Executes code: as `Read`, fewer at a time.
    Execute(Answer),
    /// Waits for operators or blocks.
    Wait(for<'a> fn(&'a RpcContext, Args) -> Waiting<'a>),
    /// Starts a subscription (WebSocket only).
    Subscribe,
    /// Ends a subscription (WebSocket only).
    Unsubscribe,
}

/// One method.
#[derive(Clone, Copy)]
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) params: &'static [Param],
    pub(super) result: Shape,
    pub(super) run: Run,
}

use Run::{Execute, Quick, Read, Wait};
use Shape::{List, Maybe, MaybeList, One};

const fn need(name: &'static str, schema: &'static str) -> Param {
    Param { name, shape: One(schema), required: true }
}

const fn may(name: &'static str, schema: &'static str) -> Param {
    Param { name, shape: One(schema), required: false }
}

const fn method(
    name: &'static str,
    summary: &'static str,
    params: &'static [Param],
    result: Shape,
    run: Run,
) -> Method {
    Method { name, summary, params, result, run }
}

const BLOCK: Param = need("block", "BlockNumberOrTagOrHash");
const AT: Param = may("block", "BlockNumberOrTagOrHash");
const BLOCK_HASH: Param = need("blockHash", "Hash");
const INDEX: Param = need("index", "Quantity");
const TX_HASH: Param = need("transactionHash", "Hash");
const ADDRESS: Param = need("address", "Address");
const FULL: Param = may("hydrated", "Boolean");
const CALL: Param = need("transaction", "Call");
const OVERRIDES: Param = may("stateOverrides", "StateOverrides");
const BLOCK_OVERRIDES: Param = may("blockOverrides", "BlockOverrides");
const RAW: Param = need("transaction", "Bytes");
const HEIGHT: Param = need("orderedHeight", "Quantity");
const FILTER: Param = need("filter", "LogFilter");
const FILTER_ID: Param = need("filterId", "Quantity");

/// All methods, in the order in which the document lists them.
pub(super) const METHODS: &[&[Method]] = &[ABOUT, BLOCKS, STATE, CALLS, LOGS, FEES, SUBMIT];

const ABOUT: &[Method] = &[
    method("rpc.discover", "This document.", &[], One("Object"), Quick(discover::answer)),
    method("web3_clientVersion", "The software and its version.", &[], One("String"), Quick(network::client_version)),
    method("web3_sha3", "keccak256 of the data.", &[need("data", "Bytes")], One("Hash"), Quick(network::sha3)),
    method("net_version", "The chain id in decimal.", &[], One("String"), Quick(network::net_version)),
    method("net_listening", "Always true.", &[], One("Boolean"), Quick(network::net_listening)),
    method("eth_chainId", "The chain id.", &[], One("Quantity"), Quick(network::chain_id)),
    method("eth_accounts", "Empty: this server holds no keys.", &[], List("Address"), Quick(network::accounts)),
    method(
        "eth_syncing",
        "False, or how far catch-up is, in ordered heights.",
        &[],
        One("Syncing"),
        Quick(network::syncing),
    ),
    method("squad_status", "What this executor knows about itself.", &[], One("Object"), Quick(network::status)),
    method(
        "squad_evmBlocks",
        "The EVM blocks that an ordered height made; null if it is not executed yet.",
        &[HEIGHT],
        MaybeList("Quantity"),
        Read(network::evm_blocks),
    ),
    method(
        "squad_skipReason",
        "Why a transaction was ordered but not executed; null if it was not skipped.",
        &[TX_HASH],
        Maybe("Skip"),
        Read(network::skip_reason),
    ),
    method(
        "squad_skippedAt",
        "The transactions ordered at a height but not executed, at most 1000.",
        &[HEIGHT],
        List("Skip"),
        Read(network::skipped_at),
    ),
];

const BLOCKS: &[Method] = &[
    method("eth_blockNumber", "The latest ordered EVM block.", &[], One("Quantity"), Quick(blocks::number)),
    method(
        "eth_getBlockByNumber",
        "A block by number or tag; null if there is none. `pending` is the head with what is secured and not ordered yet.",
        &[need("block", "BlockNumberOrTag"), FULL],
        Maybe("Block"),
        Read(blocks::by_number),
    ),
    method(
        "eth_getBlockByHash",
        "A block by hash; null if there is none.",
        &[BLOCK_HASH, FULL],
        Maybe("Block"),
        Read(blocks::by_hash),
    ),
    method(
        "eth_getBlockReceipts",
        "All receipts of a block; null if there is none. Those of `pending` name no block and say so.",
        &[BLOCK],
        MaybeList("Receipt"),
        Read(blocks::receipts),
    ),
    method(
        "eth_getBlockTransactionCountByNumber",
        "How many transactions a block has; null if there is no such block.",
        &[need("block", "BlockNumberOrTag")],
        Maybe("Quantity"),
        Read(blocks::count_by_number),
    ),
    method(
        "eth_getBlockTransactionCountByHash",
        "How many transactions a block has; null if there is no such block.",
        &[BLOCK_HASH],
        Maybe("Quantity"),
        Read(blocks::count_by_hash),
    ),
    method(
        "eth_getUncleCountByBlockNumber",
        "Zero; null if there is no such block.",
        &[need("block", "BlockNumberOrTag")],
        Maybe("Quantity"),
        Read(blocks::uncles_by_number),
    ),
    method(
        "eth_getUncleCountByBlockHash",
        "Zero; null if there is no such block.",
        &[BLOCK_HASH],
        Maybe("Quantity"),
        Read(blocks::uncles_by_hash),
    ),
    method(
        "eth_getTransactionByHash",
        "A transaction, ordered or pending; null if it is not known.",
        &[TX_HASH],
        Maybe("Transaction"),
        Read(blocks::transaction),
    ),
    method(
        "eth_getTransactionByBlockNumberAndIndex",
        "A transaction by its place.",
        &[need("block", "BlockNumberOrTag"), INDEX],
        Maybe("Transaction"),
        Read(blocks::by_number_and_index),
    ),
    method(
        "eth_getTransactionByBlockHashAndIndex",
        "A transaction by its place.",
        &[BLOCK_HASH, INDEX],
        Maybe("Transaction"),
        Read(blocks::by_hash_and_index),
    ),
    method(
        "eth_getRawTransactionByHash",
        "The bytes of an ordered or pending transaction; null if it is not known.",
        &[TX_HASH],
        Maybe("Bytes"),
        Read(blocks::raw_transaction),
    ),
    method(
        "eth_getTransactionReceipt",
        "What an ordered transaction did; null if it is not ordered.",
        &[TX_HASH],
        Maybe("Receipt"),
        Read(blocks::receipt),
    ),
];

const STATE: &[Method] = &[
    method("eth_getBalance", "Balance in wei.", &[ADDRESS, AT], One("Quantity"), Read(state::balance)),
    method(
        "eth_getTransactionCount",
        "The next nonce; under `pending` after all that was forwarded, also where it is not secured yet.",
        &[ADDRESS, AT],
        One("Quantity"),
        Read(state::nonce),
    ),
    method("eth_getCode", "An account's code.", &[ADDRESS, AT], One("Bytes"), Read(state::code)),
    method(
        "eth_getStorageAt",
        "A storage slot.",
        &[ADDRESS, need("slot", "Slot"), AT],
        One("Hash"),
        Read(state::storage),
    ),
    method(
        "eth_getProof",
        "An account and storage slots with their proofs under the block's state root (EIP-1186); not under `pending`.",
        &[ADDRESS, Param { name: "slots", shape: List("Slot"), required: true }, AT],
        One("Proof"),
        Read(proof::answer),
    ),
];

const CALLS: &[Method] = &[
    method(
        "eth_call",
        "Runs a call and forgets its changes. A revert is error 3 with the data. `pending`: on what is secured.",
        &[CALL, AT, OVERRIDES, BLOCK_OVERRIDES],
        One("Bytes"),
        Execute(calls::eth_call),
    ),
    method(
        "eth_estimateGas",
        "The gas limit that a transaction needs, within 1.5 per cent.",
        &[CALL, AT, OVERRIDES, BLOCK_OVERRIDES],
        One("Quantity"),
        Execute(calls::estimate),
    ),
    method(
        "eth_createAccessList",
        "The access list that a call would use, and its gas with it.",
        &[CALL, AT, OVERRIDES],
        One("AccessListResult"),
        Execute(access::create),
    ),
];

const LOGS: &[Method] = &[
    method("eth_getLogs", "The logs that match a filter.", &[FILTER], List("Log"), Read(logs::get)),
    method("eth_newFilter", "Remembers a log filter; its id.", &[FILTER], One("Quantity"), Quick(filters::new_logs)),
    method("eth_newBlockFilter", "Remembers a watch on blocks.", &[], One("Quantity"), Quick(filters::new_blocks)),
    method(
        "eth_newPendingTransactionFilter",
        "Remembers a watch on pending transactions.",
        &[],
        One("Quantity"),
        Quick(filters::new_pending),
    ),
    method(
        "eth_getFilterChanges",
        "What is new since the last time: logs, or hashes.",
        &[FILTER_ID],
        List("LogOrHash"),
        Read(filters::changes),
    ),
    method("eth_getFilterLogs", "All logs that a log filter matches.", &[FILTER_ID], List("Log"), Read(filters::logs)),
    method(
        "eth_uninstallFilter",
        "Forgets a filter; whether there was one.",
        &[FILTER_ID],
        One("Boolean"),
        Quick(filters::remove),
    ),
    method(
        "eth_subscribe",
        "Over WebSocket: `newHeads`, `logs` (with a filter) or `newPendingTransactions` (true: whole ones).",
        &[need("kind", "SubscriptionKind"), may("options", "SubscriptionOptions")],
        One("Quantity"),
        Run::Subscribe,
    ),
    method(
        "eth_unsubscribe",
        "Over WebSocket: ends a subscription; whether there was one.",
        &[need("subscriptionId", "Quantity")],
        One("Boolean"),
        Run::Unsubscribe,
    ),
];

const FEES: &[Method] = &[
    method("eth_gasPrice", "A price that the next blocks will take.", &[], One("Quantity"), Quick(fees::gas_price)),
    method("eth_maxPriorityFeePerGas", "The tip suggested.", &[], One("Quantity"), Quick(fees::tip)),
    method("eth_blobBaseFee", "One: there are no blobs.", &[], One("Quantity"), Quick(fees::blob_base_fee)),
    method(
        "eth_feeHistory",
        "Base fees, fullness and tips of up to 1024 blocks.",
        &[
            need("blockCount", "Quantity"),
            need("newestBlock", "BlockNumberOrTag"),
            may("rewardPercentiles", "Percentiles"),
        ],
        One("FeeHistory"),
        Read(fees::history),
    ),
];

const SUBMIT: &[Method] = &[
    method(
        "eth_sendRawTransaction",
        "Hands a signed transaction to the operators; answers with its hash once it is secured.",
        &[RAW],
        One("Hash"),
        Wait(submit::send_raw),
    ),
    method(
        "eth_sendRawTransactionSync",
        "The same, and waits for the receipt (EIP-7966).",
        &[RAW, may("timeoutMs", "Quantity")],
        One("Receipt"),
        Wait(sync::send_raw_sync),
    ),
    method(
        "squad_pendingTransactions",
        "The transactions that were forwarded and are not ordered yet, at most 1000.",
        &[],
        List("Transaction"),
        Read(pending_block::transactions),
    ),
];

/// Every method.
pub(super) fn all() -> impl Iterator<Item = &'static Method> {
    METHODS.iter().copied().flatten()
}
