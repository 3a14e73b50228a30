//! What a program written with alloy does with a rollup: `squad-wallets-alloy RPC KEY BYTECODE`.
//!
//! Prints alloy's version, then each step when it is done, a line each; a failure ends it with 1 and says in which step.

use alloy_eips::{BlockId, BlockNumberOrTag, eip7702::Authorization};
use alloy_network::{EthereumWallet, ReceiptResponse, TransactionBuilder, TransactionBuilder7702};
use alloy_primitives::{Address, B256, Bytes, U256, address, hex, keccak256};
use alloy_provider::{Provider, ProviderBuilder};
use alloy_rpc_types_eth::{Filter, TransactionReceipt, TransactionRequest, state::StateOverridesBuilder};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use std::{future::Future, time::Duration};

const TO: Address = address!("00000000000000000000000000000000000a110a");
const ETHER: u64 = 1_000_000_000_000_000_000;

fn call(signature: &str, arguments: &[u64]) -> Bytes {
    let mut data = keccak256(signature)[..4].to_vec();
    data.extend(arguments.iter().flat_map(|argument| U256::from(*argument).to_be_bytes::<32>()));
    data.into()
}

async fn step<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let value = work.await.with_context(|| what.to_owned())?;
    println!("{what}");
    Ok(value)
}

async fn send(provider: &impl Provider, transaction: TransactionRequest) -> Result<TransactionReceipt> {
    let receipt = provider.send_transaction(transaction).await?.get_receipt().await?;
    ensure!(receipt.status(), "the transaction failed: {receipt:?}");
    Ok(receipt)
}

fn transfer(wei: u64) -> TransactionRequest {
    TransactionRequest::default().with_to(TO).with_value(U256::from(wei))
}

async fn transfers(provider: &impl Provider) -> Result<()> {
    let before = provider.get_balance(TO).await?;
    send(provider, transfer(ETHER)).await?;
    let legacy = transfer(1).with_gas_price(provider.get_gas_price().await?);
    ensure!(send(provider, legacy).await?.inner.tx_type() as u8 == 0);
    ensure!(provider.get_balance(TO).await? - before == U256::from(ETHER + 1));
    Ok(())
}

async fn deploy(provider: &impl Provider, code: &Bytes) -> Result<Address> {
    let mut code = code.to_vec();
    code.extend(U256::from(5).to_be_bytes::<32>());
    let receipt = send(provider, TransactionRequest::default().with_deploy_code(code)).await?;
    let contract = receipt.contract_address().context("no contract address")?;
    ensure!(!provider.get_code_at(contract).await?.is_empty());
    ensure!(provider.get_storage_at(contract, U256::ZERO).await? == U256::from(5));
    Ok(contract)
}

fn value(contract: Address) -> TransactionRequest {
    TransactionRequest::default().with_to(contract).with_input(call("value()", &[]))
}

fn add(contract: Address, by: u64) -> TransactionRequest {
    TransactionRequest::default().with_to(contract).with_input(call("add(uint256)", &[by]))
}

async fn calls(provider: &impl Provider, contract: Address) -> Result<()> {
    ensure!(U256::from_be_slice(&provider.call(value(contract)).await?) == U256::from(12));
    let slot = B256::ZERO;
    let overrides = StateOverridesBuilder::default().with_state_diff(contract, [(slot, U256::from(99).into())]).build();
    ensure!(U256::from_be_slice(&provider.call(value(contract)).overrides(overrides).await?) == U256::from(99));
    ensure!(provider.estimate_gas(add(contract, 1)).await? > 21_000);
    let list = provider.create_access_list(&add(contract, 1)).await?;
    ensure!(list.access_list.0.iter().any(|item| item.address == contract), "{list:?}");
    Ok(())
}

async fn reverts(provider: &impl Provider, contract: Address) -> Result<()> {
    let refused = provider.call(add(contract, 0)).await.err().context("not refused")?;
    let answer = refused.as_error_resp().context("no answer")?;
    ensure!(answer.message.contains("nothing to add"), "{answer:?}");
    let refused = provider.call(add(contract, 500)).await.err().context("not refused")?;
    let data = refused.as_error_resp().and_then(|answer| answer.as_revert_data()).context("no revert data")?;
    ensure!(data == call("TooFar(uint256,uint256)", &[500, 100]), "{data}");
    Ok(())
}

async fn reads(provider: &impl Provider, receipt: &TransactionReceipt) -> Result<()> {
    let hash = receipt.block_hash.context("no block")?;
    let block = provider.get_block(BlockId::hash(hash)).full().await?.context("no such block")?;
    ensure!(block.header.hash_slow() == hash, "the header does not hash to its hash");
    ensure!(block.transactions.hashes().any(|found| found == receipt.transaction_hash));
    let receipts = provider.get_block_receipts(BlockId::hash(hash)).await?.context("no receipts")?;
    ensure!(receipts.contains(receipt));
    let transaction = provider.get_transaction_by_hash(receipt.transaction_hash).await?.context("no transaction")?;
    ensure!(transaction.block_number == receipt.block_number);
    let fees = provider.get_fee_history(4, BlockNumberOrTag::Latest, &[50.0]).await?;
    ensure!(fees.latest_block_base_fee().is_some());
    Ok(())
}

async fn logs(provider: &impl Provider, contract: Address, receipt: &TransactionReceipt) -> Result<()> {
    let filter = Filter::new().address(contract).event("Counted(address,uint256)").from_block(0);
    let found = provider.get_logs(&filter).await?;
    ensure!(found.len() == 1 && found[0].transaction_hash == Some(receipt.transaction_hash), "{found:?}");
    Ok(())
}

async fn watched(provider: &impl Provider, contract: Address) -> Result<()> {
    let filter = Filter::new().address(contract).event("Counted(address,uint256)");
    let mut poller = provider.watch_logs(&filter).await?.with_poll_interval(Duration::from_millis(100)).into_stream();
    let receipt = send(provider, add(contract, 1)).await?;
    let found = poller.next().await.context("the filter ended")?;
    ensure!(found.len() == 1 && found[0].transaction_hash == Some(receipt.transaction_hash), "{found:?}");
    Ok(())
}

async fn set_code(provider: &impl Provider, signer: &PrivateKeySigner, contract: Address) -> Result<()> {
    let (own, chain_id) = (signer.address(), provider.get_chain_id().await?);
    // It is its own sender, so the authorization is for the nonce after the transaction's.
    let nonce = provider.get_transaction_count(own).await? + 1;
    let authorization = Authorization { chain_id: U256::from(chain_id), address: contract, nonce };
    let signature = signer.sign_hash_sync(&authorization.signature_hash())?;
    let mut request = add(own, 3);
    request.set_authorization_list(vec![authorization.into_signed(signature)]);
    send(provider, request).await?;
    let code = provider.get_code_at(own).await?;
    ensure!(code[..] == [&hex!("ef0100")[..], contract.as_slice()].concat(), "{code}");
    Ok(())
}

async fn run(rpc: &str, key: &str, code: &Bytes) -> Result<()> {
    println!("2.5.0");
    let signer: PrivateKeySigner = key.parse()?;
    let provider = ProviderBuilder::new().wallet(EthereumWallet::from(signer.clone())).connect_http(rpc.parse()?);
    provider.client().set_poll_interval(Duration::from_millis(100));
    step("chain id and client", async {
        ensure!(provider.get_chain_id().await? > 0);
        Ok(ensure!(provider.get_client_version().await?.contains("squad")))
    })
    .await?;
    step("transfer (EIP-1559 and legacy)", transfers(&provider)).await?;
    let contract = step("deploy, code and storage", deploy(&provider, code)).await?;
    let receipt = step("contract transaction", send(&provider, add(contract, 7))).await?;
    step("call with state override, estimate and access list", calls(&provider, contract)).await?;
    step("revert reason (string and custom error)", reverts(&provider, contract)).await?;
    step("getLogs by event", logs(&provider, contract, &receipt)).await?;
    step("log filter", watched(&provider, contract)).await?;
    step("block, whose header hashes to its hash, receipts, transaction and fee history", reads(&provider, &receipt))
        .await?;
    step("set code (EIP-7702)", set_code(&provider, &signer, contract)).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rpc, key, code] = arguments.as_slice() else { anyhow::bail!("use: squad-wallets-alloy RPC KEY BYTECODE") };
    run(rpc, key, &code.parse()?).await
}
