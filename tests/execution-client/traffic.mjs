// Mixed transactions from several accounts, each the next when the last is secured, until told to stop.
import { Common, Hardfork, Mainnet } from '@ethereumjs/common'
import { createAccessList2930Tx, createFeeMarket1559Tx, createLegacyTx } from '@ethereumjs/tx'
import { setTimeout as pause } from 'node:timers/promises'
import { bytesToHex, createAddressFromPrivateKey, createContractAddress, hexToBytes } from '@ethereumjs/util'
import { call } from './processes.mjs'

// A network makes blocks faster than a client in JavaScript may execute them: each account rests, in milliseconds.
const REST = 300

// Accounts of the mnemonic 'test … junk'; everybody knows these keys.
const keys = [
  '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80',
  '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d',
  '0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a',
  '0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6',
].map((key) => hexToBytes(key))

export const senders = keys.map((key) => createAddressFromPrivateKey(key).toString())

// sstore(calldataload(0), number); log1(0, 32, number);
// sstore(8, prevrandao ^ timestamp ^ coinbase ^ blockhash(number - 1)): what a block tells a contract goes into the state.
const worker = '435f3555' + '435f52' + '4360205fa1' + '444218411860014303401860085500'
// mstore(0, 42); revert(0, 32)
const reverter = '602a5f5260205ffd'
const deployment = (code) => `0x60${(code.length / 2).toString(16).padStart(2, '0')}80600a5f395ff300${code}`
const word = (value) => `0x${BigInt(value).toString(16).padStart(64, '0')}`

// Every kind of transaction that a wallet sends, over and over.
const kinds = [
  { kind: 'transfer', to: (n) => `0x${BigInt(1000 + (n % 40)).toString(16).padStart(40, '0')}`, value: 1n, gasLimit: 21_000n },
  { kind: 'call', to: (_, deployed) => deployed[0], data: (n) => word(n % 7), gasLimit: 100_000n },
  { kind: 'revert', to: (_, deployed) => deployed[1], gasLimit: 60_000n },
  { kind: 'out of gas', to: (_, deployed) => deployed[0], data: (n) => word(n), gasLimit: 27_500n },
  { kind: 'deploy', data: () => deployment(worker), gasLimit: 200_000n },
]

function build(common, { to, data, value = 0n, gasLimit }, nonce, n, deployed) {
  const fields = { nonce, gasLimit, value, to: to?.(n, deployed), data: data?.(n), chainId: common.chainId() }
  const price = 100_000_000_000n
  const accessList = fields.to && data ? [{ address: fields.to, storageKeys: [word(n % 7)] }] : []
  switch (n % 3) {
    case 0:
      return createLegacyTx({ ...fields, gasPrice: price }, { common })
    case 1:
      return createAccessList2930Tx({ ...fields, gasPrice: price, accessList }, { common })
    default:
      return createFeeMarket1559Tx({ ...fields, maxFeePerGas: price, maxPriorityFeePerGas: 1_000_000_000n }, { common })
  }
}

// Starts; `stop` waits for what is under way and says how many of each kind were sent.
export function traffic(urls, chainId) {
  const common = new Common({ chain: { ...Mainnet, chainId }, hardfork: Hardfork.Cancun })
  const counts = {}
  let going = true
  // An operator that is catching up says so; the same transaction may go to another one.
  const submit = async (raw, at) => {
    for (let turn = 0; ; turn += 1) {
      try {
        return await call(`${urls[(at + turn) % urls.length]}/evm`, 'eth_sendRawTransaction', raw)
      } catch (error) {
        if (turn > 20 || !/try again/.test(error.message)) throw error
        await pause(REST)
      }
    }
  }
  const account = async (key, at) => {
    const from = createAddressFromPrivateKey(key)
    const deployed = [0n, 1n].map((nonce) => createContractAddress(from, nonce).toString())
    let nonce = 0n
    const send = async (kind, n) => {
      const raw = bytesToHex(build(common, kind, nonce, n, deployed).sign(key).serialize())
      await submit(raw, at)
      nonce += 1n
      counts[kind.kind] = (counts[kind.kind] ?? 0) + 1
    }
    await send({ kind: 'deploy', data: () => deployment(worker), gasLimit: 200_000n }, at)
    await send({ kind: 'deploy', data: () => deployment(reverter), gasLimit: 200_000n }, at)
    for (let n = at; going; n += 1) {
      await send(kinds[n % kinds.length], n)
      await pause(REST)
    }
  }
  const accounts = Promise.all(keys.map(account))
  // Reported by `stop`; until then it shall not end the process.
  accounts.catch(() => {})
  return {
    stop: async () => {
      going = false
      await accounts
      return counts
    },
  }
}
