import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import {
  BaseError,
  ContractFunctionRevertedError,
  createPublicClient,
  createWalletClient,
  encodeFunctionData,
  getContractAddress,
  http,
  keccak256,
  parseEther,
  webSocket,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'

const manifest = new URL('node_modules/viem/package.json', import.meta.url)
const to = '0x00000000000000000000000000000000000a11ce'

// The next value that `start` hands to its callback.
function next(start) {
  const value = new Promise((resolve, reject) => {
    const stop = start((value) => {
      setImmediate(() => stop())
      resolve(value)
    }, reject)
  })
  // A failure counts where the value is awaited, and not before.
  value.catch(() => {})
  return value
}

function reverted(error) {
  assert(error instanceof BaseError, String(error))
  const found = error.walk((cause) => cause instanceof ContractFunctionRevertedError)
  assert(found, String(error))
  return found
}

export async function run({ rpc, ws, operator, key, counter: { abi, bytecode }, step, named }) {
  named(JSON.parse(readFileSync(manifest)).version)
  const account = privateKeyToAccount(key)
  const pollingInterval = 100
  const reader = createPublicClient({ transport: http(rpc, { batch: true }), pollingInterval })
  const live = createPublicClient({ transport: webSocket(ws), pollingInterval })
  const id = await step('chain id', () => reader.getChainId())
  const chain = {
    id,
    name: 'rollup',
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [rpc] } },
  }
  const wallet = createWalletClient({ account, chain, transport: http(rpc), pollingInterval })
  const receipt = async (hash) => {
    const found = await reader.waitForTransactionReceipt({ hash })
    assert.equal(found.status, 'success')
    return found
  }

  const head = next((done, failed) => live.watchBlocks({ onBlock: done, onError: failed }))
  const announced = next((done, failed) =>
    live.watchPendingTransactions({ onTransactions: done, onError: failed, poll: false }),
  )
  await step('transfer (EIP-1559)', async () => {
    const before = await reader.getBalance({ address: to })
    await receipt(await wallet.sendTransaction({ to, value: parseEther('1') }))
    assert.equal((await reader.getBalance({ address: to })) - before, parseEther('1'))
  })
  await step('newHeads subscription', async () => assert((await head).hash))
  await step('newPendingTransactions subscription', async () => assert.match((await announced)[0], /^0x/))
  await step('legacy and EIP-2930 transactions', async () => {
    await receipt(await wallet.sendTransaction({ to, value: 1n, type: 'legacy' }))
    const accessList = [{ address: to, storageKeys: [] }]
    await receipt(await wallet.sendTransaction({ to, value: 1n, type: 'eip2930', accessList }))
  })
  const address = await step('deploy', async () => {
    const nonce = BigInt(await reader.getTransactionCount({ address: account.address, blockTag: 'pending' }))
    const found = await receipt(await wallet.deployContract({ abi, bytecode, args: [5n] }))
    assert.equal(found.contractAddress, getContractAddress({ from: account.address, nonce }).toLowerCase())
    return found.contractAddress
  })
  const contract = { address, abi }
  await step('call', async () => {
    assert.equal(await reader.readContract({ ...contract, functionName: 'value' }), 5n)
  })
  const event = next((done, failed) =>
    live.watchContractEvent({ ...contract, eventName: 'Counted', onLogs: done, onError: failed, poll: false }),
  )
  const filter = await reader.createContractEventFilter({ ...contract, eventName: 'Counted' })
  const added = await step('contract transaction', async () => {
    const { request } = await reader.simulateContract({ ...contract, account, functionName: 'add', args: [7n] })
    return receipt(await wallet.writeContract(request))
  })
  await step('logs subscription', async () => assert.equal((await event)[0].args.value, 12n))
  await step('event filter', async () => {
    const logs = await reader.getFilterChanges({ filter })
    assert.equal(logs[0].transactionHash, added.transactionHash)
    assert(await reader.uninstallFilter({ filter }))
  })
  await step('getLogs by event and argument', async () => {
    const args = { by: account.address }
    const logs = await reader.getContractEvents({ ...contract, eventName: 'Counted', args, fromBlock: 0n })
    assert.deepEqual(logs.map((log) => log.args.value), [12n])
  })
  await step('revert reason (string and custom error)', async () => {
    const add = (by) => reader.simulateContract({ ...contract, account, functionName: 'add', args: [by] })
    const text = reverted(await add(0n).catch((error) => error))
    assert.equal(text.reason, 'nothing to add')
    const custom = reverted(await add(500n).catch((error) => error))
    assert.deepEqual([custom.data.errorName, custom.data.args], ['TooFar', [500n, 100n]])
  })
  await step('call with state override', async () => {
    const slot = `0x${'0'.repeat(64)}`
    const stateOverride = [{ address, stateDiff: [{ slot, value: `0x${'63'.padStart(64, '0')}` }] }]
    assert.equal(await reader.readContract({ ...contract, functionName: 'value', stateOverride }), 99n)
  })
  await step('call at an older block', async () => {
    const blockNumber = added.blockNumber - 1n
    assert.equal(await reader.readContract({ ...contract, functionName: 'value', blockNumber }), 5n)
  })
  await step('proof (EIP-1186)', async () => {
    const found = await reader.getProof({ address, storageKeys: [`0x${'0'.repeat(64)}`] })
    assert.equal(found.storageProof[0].value, 12n)
  })
  await step('access list', async () => {
    const data = encodeFunctionData({ abi, functionName: 'add', args: [1n] })
    const { accessList } = await reader.createAccessList({ account, to: address, data })
    assert.equal(accessList[0].storageKeys.length, 1)
  })
  await step('send and receipt in one (EIP-7966)', async () => {
    const prepared = await wallet.prepareTransactionRequest({ to, value: 1n })
    const serializedTransaction = await wallet.signTransaction(prepared)
    const found = await wallet.sendRawTransactionSync({ serializedTransaction })
    assert.equal(found.transactionHash, keccak256(serializedTransaction))
  })
  await step('set code (EIP-7702)', async () => {
    const authorization = await wallet.signAuthorization({ contractAddress: address, executor: 'self' })
    const own = { address: account.address, abi, functionName: 'value' }
    const before = await reader.readContract(own).catch(() => 0n)
    const data = encodeFunctionData({ abi, functionName: 'add', args: [4n] })
    await receipt(await wallet.sendTransaction({ authorizationList: [authorization], to: account.address, data }))
    assert.equal(await reader.readContract(own), before + 4n)
    assert.equal(await reader.getCode({ address: account.address }), `0xef0100${address.slice(2)}`)
  })
  await step('fee history and estimates', async () => {
    const { reward } = await reader.getFeeHistory({ blockCount: 4, rewardPercentiles: [25, 75] })
    assert.equal(reward[0].length, 2)
    const { maxFeePerGas } = await reader.estimateFeesPerGas()
    assert(maxFeePerGas > 0n)
  })
  if (operator) {
    await step('transfer and revert reason through an operator', async () => {
      const passing = createPublicClient({ transport: http(operator), pollingInterval })
      const sender = createWalletClient({ account, chain, transport: http(operator) })
      await receipt(await sender.sendTransaction({ to, value: 1n }))
      const call = passing.simulateContract({ ...contract, account, functionName: 'add', args: [0n] })
      assert.equal(reverted(await call.catch((error) => error)).reason, 'nothing to add')
    })
  }
  await step('blocks by number, hash and tag', async () => {
    const block = await reader.getBlock({ includeTransactions: true, blockNumber: added.blockNumber })
    assert(block.transactions.some((tx) => tx.hash === added.transactionHash))
    assert.equal((await reader.getBlock({ blockHash: block.hash })).number, block.number)
    const [latest, final, pending] = await Promise.all(
      ['latest', 'finalized', 'pending'].map((blockTag) => reader.getBlock({ blockTag })),
    )
    assert(final.number >= block.number && latest.number >= block.number && pending.hash === null)
  })
}
