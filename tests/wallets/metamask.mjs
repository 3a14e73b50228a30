// What is under MetaMask's windows: its controllers for networks, fees and transactions, as they come from npm, with the
// key in place of its vault and a yes in place of its approval window. They make MetaMask's calls, through its middleware
// and block tracker, and check the answers as MetaMask does.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { GasFeeController } from '@metamask/gas-fee-controller'
import { Messenger } from '@metamask/messenger'
import { NetworkController, NetworkStatus, RpcEndpointType } from '@metamask/network-controller'
import { TransactionController } from '@metamask/transaction-controller'
import { Interface, Wallet } from 'ethers'

const to = '0x0000000000000000000000000000000000004D4d'
// Where MetaMask looks for a contract that reads many balances at once (Multicall3).
const multicall = '0xcA11bde05977b3631167028862bE2a173976CA11'
// Milliseconds between two looks at the latest block.
const POLLING = 200

function versions() {
  const version = (name) => {
    const manifest = new URL(`node_modules/@metamask/${name}-controller/package.json`, import.meta.url)
    return `${name} ${JSON.parse(readFileSync(manifest)).version}`
  }
  return ['network', 'gas-fee', 'transaction'].map(version).join(', ')
}

// A fetch that knows one server, and writes down what is called there and what is refused.
function watched(rpc) {
  const calls = { methods: new Set(), refused: [] }
  const only = async (url, options) => {
    assert.equal(new URL(url).href, new URL(rpc).href, 'a call to somewhere else')
    const { method } = JSON.parse(options.body)
    const response = await fetch(url, options)
    const { error } = await response.clone().json()
    calls.methods.add(method)
    if (error) calls.refused.push({ method, error })
    return response
  }
  return { calls, only }
}

// The controllers, wired as MetaMask wires them.
function controllers(rpc, key, chainId, only) {
  const root = new Messenger({ namespace: 'Root' })
  const wallet = new Wallet(key)
  const account = { id: '1', address: wallet.address.toLowerCase(), type: 'eip155:eoa', metadata: { name: 'Account 1' } }
  const answers = {
    'AccountsController:getSelectedAccount': () => account,
    'AccountsController:getState': () => ({ internalAccounts: { accounts: { 1: account }, selectedAccount: '1' } }),
    'ApprovalController:addRequest': async () => ({ value: undefined, resultCallbacks: undefined }),
    'ErrorReportingService:captureException': (error) => {
      throw error
    },
    'KeyringController:signEip7702Authorization': async () => assert.fail('nothing here sets code'),
    'RemoteFeatureFlagController:getState': () => ({ remoteFeatureFlags: {} }),
  }
  for (const [action, answer] of Object.entries(answers)) {
    const owner = new Messenger({ namespace: action.split(':')[0], parent: root })
    owner.registerActionHandler(action, answer)
  }
  const messenger = (namespace, actions, events = []) => {
    const child = new Messenger({ namespace, parent: root })
    root.delegate({ messenger: child, actions, events })
    return child
  }
  const id = 'rollup'
  const network = new NetworkController({
    messenger: messenger('NetworkController', ['ErrorReportingService:captureException']),
    infuraProjectId: '0'.repeat(32),
    state: {
      selectedNetworkClientId: id,
      networksMetadata: {},
      networkConfigurationsByChainId: {
        [chainId]: {
          chainId,
          name: 'rollup',
          nativeCurrency: 'ETH',
          blockExplorerUrls: [],
          defaultRpcEndpointIndex: 0,
          rpcEndpoints: [{ networkClientId: id, type: RpcEndpointType.Custom, url: rpc }],
        },
      },
    },
    getRpcServiceOptions: () => ({ fetch: only, btoa }),
    getBlockTrackerOptions: () => ({ pollingInterval: POLLING }),
  })
  network.initializeProvider()
  const networkActions = ['getState', 'getNetworkClientById', 'getEIP1559Compatibility', 'findNetworkClientIdByChainId']
  const use = networkActions.map((action) => `NetworkController:${action}`)
  const fees = new GasFeeController({
    messenger: messenger('GasFeeController', use, ['NetworkController:networkDidChange']),
    getCurrentNetworkEIP1559Compatibility: () => network.getEIP1559Compatibility(),
    getCurrentNetworkLegacyGasAPICompatibility: () => false,
    getCurrentAccountEIP1559Compatibility: () => true,
    getProvider: () => network.getProviderAndBlockTracker().provider,
    EIP1559APIEndpoint: '',
  })
  // MetaMask's own service has estimates for the chains that it knows; for others it asks the chain itself.
  fees.disableNonRPCGasFeeApis()
  const others = ['AccountsController:getSelectedAccount', 'AccountsController:getState', 'ApprovalController:addRequest']
  others.push('KeyringController:signEip7702Authorization', 'RemoteFeatureFlagController:getState')
  const transactions = new TransactionController({
    messenger: messenger('TransactionController', [...use, ...others], ['NetworkController:stateChange']),
    disableHistory: true,
    disableSendFlowHistory: true,
    disableSwaps: true,
    getCurrentAccountEIP1559Compatibility: async () => true,
    getCurrentNetworkEIP1559Compatibility: () => network.getEIP1559Compatibility(),
    getGasFeeEstimates: (options) => fees.fetchGasFeeEstimates(options),
    getNetworkClientRegistry: () => network.getNetworkClientRegistry(),
    getNetworkState: () => network.state,
    isFirstTimeInteractionEnabled: () => false,
    isSimulationEnabled: () => false,
    incomingTransactions: { isEnabled: () => false },
    pendingTransactions: { isResubmitEnabled: () => true },
    sign: async (transaction) => transaction.sign(Buffer.from(key.slice(2), 'hex')),
    transactionHistoryLimit: 40,
    hooks: {},
  })
  return { id, account, root, network, fees, transactions }
}

export async function run({ rpc, key, counter: { abi, bytecode }, step, named }) {
  named(versions())
  const { calls, only } = watched(rpc)
  // As `wallet_addEthereumChain` does, before a network is taken in.
  const chainId = await step('the probe of a network that is added', async () => {
    const body = { id: 1, jsonrpc: '2.0', method: 'eth_chainId', params: [] }
    const headers = { 'content-type': 'application/json' }
    const response = await only(rpc, { method: 'POST', headers, body: JSON.stringify(body) })
    const { result } = await response.json()
    assert.match(result, /^0x[1-9a-f][0-9a-f]*$/)
    return result
  })
  const { id, account, root, network, fees, transactions } = controllers(rpc, key, chainId, only)
  const { provider, blockTracker } = network.getNetworkClientById(id)
  const ask = (method, ...params) => provider.request({ method, params })
  // What the interface asks for goes through the cache, and `latest` becomes the tracker's block.
  const sent = async (params) => {
    const { result, transactionMeta } = await transactions.addTransaction(params, { networkClientId: id, origin: 'metamask' })
    const ended = new Promise((resolve, reject) => {
      const look = () => {
        const found = transactions.state.transactions.find((transaction) => transaction.id === transactionMeta.id)
        if (found.status === 'confirmed') resolve(found)
        if (['failed', 'dropped', 'rejected'].includes(found.status)) reject(new Error(JSON.stringify(found.error)))
      }
      root.subscribe('TransactionController:stateChange', look)
    })
    ended.catch(() => {})
    const hash = await result
    const done = await ended
    assert.equal(done.hash, hash)
    assert.equal(done.txReceipt.status, '0x1')
    return done
  }

  await step('network status and EIP-1559', async () => {
    await network.lookupNetwork(id)
    const { status, EIPS } = network.state.networksMetadata[id]
    assert.equal(status, NetworkStatus.Available)
    assert.equal(EIPS[1559], true)
  })
  await step('network id', async () => assert.equal(BigInt(await ask('net_version')), BigInt(chainId)))
  await step('block tracker', async () => {
    const number = await blockTracker.getLatestBlock()
    assert.match(number, /^0x[0-9a-f]+$/)
  })
  await step('balances, with no contract to read many at once', async () => {
    assert.equal(await ask('eth_getCode', multicall, 'latest'), '0x')
    // getEthBalance(address), which then answers nothing.
    const data = `0x4d2301cc${account.address.slice(2).padStart(64, '0')}`
    assert.equal(await ask('eth_call', { to: multicall, data }, 'latest'), '0x')
    const balances = await Promise.all([account.address, to].map((address) => ask('eth_getBalance', address, 'latest')))
    assert(BigInt(balances[0]) > 0n && balances.every((balance) => /^0x(0|[1-9a-f][0-9a-f]*)$/.test(balance)))
  })
  await step('fee estimates', async () => {
    const { gasFeeEstimates, gasEstimateType } = await fees.fetchGasFeeEstimates({ networkClientId: id })
    assert.equal(gasEstimateType, 'eth_gasPrice')
    assert(Number(gasFeeEstimates.gasPrice) > 0)
    const history = await ask('eth_feeHistory', '0x5', 'latest', [10, 50, 95])
    assert.equal(history.baseFeePerGas.length, history.gasUsedRatio.length + 1)
    assert(history.reward.every((tips) => tips.length === 3))
  })
  await step('transfer: gas, fee, nonce, signature, publication, receipt', async () => {
    const before = BigInt(await ask('eth_getBalance', to, 'latest'))
    const { txParams } = await sent({ from: account.address, to, value: '0xde0b6b3a7640000' })
    assert.equal(txParams.gas, '0x5208')
    assert.equal(txParams.type, '0x2')
    await blockTracker.checkForLatestBlock()
    assert.equal(BigInt(await ask('eth_getBalance', to, 'latest')) - before, 10n ** 18n)
  })
  await step('several transactions, with nonces of its own', async () => {
    const each = await Promise.all(['0x1', '0x2', '0x3'].map((value) => sent({ from: account.address, to, value })))
    const nonces = each.map(({ txParams }) => Number(txParams.nonce)).sort((one, other) => one - other)
    assert.deepEqual(nonces, [0, 1, 2].map((n) => nonces[0] + n))
  })
  const contract = new Interface(abi)
  const address = await step('deploy', async () => {
    const start = contract.encodeDeploy([5]).slice(2)
    const { txReceipt, type } = await sent({ from: account.address, data: bytecode + start, value: '0x0' })
    assert.equal(type, 'contractDeployment')
    return txReceipt.contractAddress
  })
  await step('contract transaction, with its kind and its gas', async () => {
    const data = contract.encodeFunctionData('add', [7])
    const { type, txParams, txReceipt } = await sent({ from: account.address, to: address, data, value: '0x0' })
    assert.equal(type, 'contractInteraction')
    assert(Number(txParams.gas) > Number(txReceipt.gasUsed))
    assert.equal(txReceipt.logs.length, 1)
  })
  await step('a transaction that would revert is told before it is signed', async () => {
    const data = contract.encodeFunctionData('add', [0])
    const { simulationFails } = await transactions.estimateGas({ from: account.address, to: address, data }, id)
    assert(simulationFails, 'a warning')
    // To whoever asks through MetaMask, the node's own error is the data of MetaMask's.
    const refused = await ask('eth_call', { from: account.address, to: address, data }, 'latest').catch((error) => error)
    assert.equal(refused.data.message, 'execution reverted: nothing to add')
    assert.equal(contract.parseError(refused.data.data).args[0], 'nothing to add')
  })
  const expected = ['eth_blockNumber', 'eth_getTransactionCount', 'eth_getTransactionReceipt', 'eth_estimateGas']
  expected.push('eth_getCode', 'eth_getBlockByNumber', 'eth_sendRawTransaction', 'eth_gasPrice', 'eth_getBlockByHash')
  for (const method of expected) assert(calls.methods.has(method), `${method} was not called: ${[...calls.methods]}`)
  const foreseen = ({ method, error }) => ['eth_estimateGas', 'eth_call'].includes(method) && error.code === 3
  assert.deepEqual(calls.refused.filter((refused) => !foreseen(refused)), [])
  transactions.destroy()
  fees.destroy()
  await network.destroy()
}
