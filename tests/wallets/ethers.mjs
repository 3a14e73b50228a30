import assert from 'node:assert/strict'
import { ContractFactory, JsonRpcProvider, NonceManager, Wallet, WebSocketProvider, isError, parseEther, version } from 'ethers'

const to = '0x0000000000000000000000000000000000000B0b'

export async function run({ rpc, ws, key, counter: { abi, bytecode }, step, named }) {
  named(version)
  const provider = new JsonRpcProvider(rpc, undefined, { polling: true })
  provider.pollingInterval = 100
  const live = new WebSocketProvider(ws)
  const wallet = new NonceManager(new Wallet(key, provider))
  const mined = async (sent) => {
    const receipt = await (await sent).wait()
    assert.equal(receipt.status, 1)
    return receipt
  }
  await step('chain id', async () => assert.equal((await provider.getNetwork()).chainId, (await live.getNetwork()).chainId))
  const head = new Promise((resolve) => live.once('block', resolve))
  await step('transfer (EIP-1559)', async () => {
    const before = await provider.getBalance(to)
    await mined(wallet.sendTransaction({ to, value: parseEther('1') }))
    assert.equal((await provider.getBalance(to)) - before, parseEther('1'))
  })
  await step('block subscription', async () => assert((await head) > 0))
  await step('several transactions at once', async () => {
    const sent = await Promise.all([1, 2, 3].map((value) => wallet.sendTransaction({ to, value })))
    await Promise.all(sent.map(mined))
  })
  const contract = await step('deploy', async () => {
    const deployed = await new ContractFactory(abi, bytecode, wallet).deploy(5)
    return deployed.waitForDeployment()
  })
  await step('call', async () => assert.equal(await contract.value(), 5n))
  const polled = new Promise((resolve) => contract.once('Counted', (by, value) => resolve(value)))
  const heard = new Promise((resolve) => contract.connect(live).once('Counted', (by, value) => resolve(value)))
  // Both listeners are in place before something happens.
  await Promise.all([contract.listenerCount('Counted'), live.send('eth_chainId', [])])
  const receipt = await step('contract transaction', () => mined(contract.add(7)))
  await step('events by polling', async () => assert.equal(await polled, 12n))
  await step('events by logs subscription', async () => assert.equal(await heard, 12n))
  await step('queryFilter', async () => {
    const [found] = await contract.queryFilter(contract.filters.Counted(await wallet.getAddress()), 0)
    assert.equal(found.transactionHash, receipt.hash)
  })
  await step('revert reason (string and custom error)', async () => {
    const text = await contract.add.staticCall(0).catch((error) => error)
    assert(isError(text, 'CALL_EXCEPTION'), text)
    assert.equal(text.reason, 'nothing to add')
    const custom = await contract.add.staticCall(500).catch((error) => error)
    assert(isError(custom, 'CALL_EXCEPTION'), custom)
    assert.deepEqual([custom.revert.name, [...custom.revert.args]], ['TooFar', [500n, 100n]])
  })
  await step('block with transactions', async () => {
    const block = await provider.getBlock(receipt.blockNumber, true)
    assert(block.prefetchedTransactions.some((tx) => tx.hash === receipt.hash))
  })
  await step('storage, code and nonce', async () => {
    assert.equal(BigInt(await provider.getStorage(contract, 0)), 12n)
    assert.notEqual(await provider.getCode(contract), '0x')
    assert((await provider.getTransactionCount(wallet, 'pending')) >= 6)
  })
  await live.destroy()
  provider.destroy()
}
