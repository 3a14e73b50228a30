// Mixed transactions from several accounts, each the next when the last is secured, until told to stop.
import { Common, Hardfork, Mainnet } from '@ethereumjs/common'
import { createAccessList2930Tx, createEOACode7702Tx, createFeeMarket1559Tx, createLegacyTx } from '@ethereumjs/tx'
import { setTimeout as pause } from 'node:timers/promises'
import {
  bigIntToHex,
  bytesToHex,
  createAddressFromPrivateKey,
  createContractAddress,
  eoaCode7702SignAuthorization,
  hexToBytes,
} from '@ethereumjs/util'
import { contracts } from './contracts.mjs'
import { call } from './processes.mjs'
import { randomDeployment } from './random.mjs'

// Accounts of the mnemonic 'test … junk'; everybody knows these keys.
const keys = [
  '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80',
  '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d',
  '0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a',
  '0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6',
].map((key) => hexToBytes(key))
// Sends nothing but EIP-7702 transactions, which Cancun's rules skip: what comes after them must not need their nonces.
const setter = hexToBytes('0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a')
// Whose code is set; it pays for nothing.
const authority = hexToBytes('0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba')
// Has nothing, so all that it sends is skipped.
const pauper = hexToBytes('0x92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e')

const address = (key) => createAddressFromPrivateKey(key).toString()
export const senders = [...keys, setter].map(address)
export const setAccount = address(authority)

const word = (value) => `0x${BigInt(value).toString(16).padStart(64, '0')}`
const receiver = (n) => `0x${BigInt(1000 + (n % 40)).toString(16).padStart(40, '0')}`
const price = 100_000_000_000n
const tip = 1_000_000_000n

// Every kind of transaction that a wallet sends, over and over.
const kinds = [
  { kind: 'transfer', to: receiver, value: 1n, gasLimit: 21_000n },
  { kind: 'call', to: (_, [worker]) => worker, data: (n) => word(n % 7), gasLimit: 120_000n },
  { kind: 'revert', to: (_, [, reverter]) => reverter, gasLimit: 60_000n },
  { kind: 'out of gas', to: (_, [worker]) => worker, data: (n) => word(n), gasLimit: 27_500n },
  { kind: 'precompiles', to: (_, [, , prober]) => prober, data: (n) => word(n) + 'ff'.repeat(n % 200), gasLimit: 1_200_000n },
  { kind: 'create and end', to: (_, [, , , scratch]) => scratch, value: 3n, data: (n) => word(n), gasLimit: 250_000n },
  { kind: 'deploy', data: (n, codes) => codes[n % codes.length], gasLimit: 250_000n },
]

function build(common, { to, data, value = 0n, gasLimit }, nonce, n, deployed, codes, made) {
  const chainId = common.chainId()
  const fields = { nonce, gasLimit, value, to: to?.(n, deployed, made), data: data?.(n, codes), chainId }
  const accessList = fields.to && data ? [{ address: fields.to, storageKeys: [word(n % 7)] }] : []
  switch (n % 3) {
    case 0:
      return createLegacyTx({ ...fields, gasPrice: price }, { common })
    case 1:
      return createAccessList2930Tx({ ...fields, gasPrice: price, accessList }, { common })
    default:
      return createFeeMarket1559Tx({ ...fields, maxFeePerGas: price, maxPriorityFeePerGas: tip }, { common })
  }
}

// Contracts of random code, and calls of those that were deployed by the same account.
const randomKinds = [
  { kind: 'random deployment', value: 1n, data: (n) => randomDeployment(n), gasLimit: 1_500_000n },
  { kind: 'random call', to: (n, _, made) => made[n % made.length], value: 2n, data: (n) => word(n % 9), gasLimit: 800_000n },
]

// Starts; `stop` waits for what is under way and says how many of each kind were sent. A network makes blocks faster than
// a client in JavaScript may execute them: each account rests, in milliseconds. For `plain` see contracts.mjs. With `random`, a number,
// most transactions deploy and call random contracts that follow from it.
export function traffic(urls, chainId, { rest = 300, plain = false, random } = {}) {
  const common = new Common({ chain: { ...Mainnet, chainId }, hardfork: Hardfork.Prague })
  const codes = contracts(plain)
  const counts = {}
  let going = true
  // An operator that is catching up says so; the same transaction may go to another one.
  const submit = async (raw, at) => {
    for (let turn = 0; ; turn += 1) {
      try {
        return await call(`${urls[(at + turn) % urls.length]}/evm`, 'eth_sendRawTransaction', raw)
      } catch (error) {
        if (turn > 20 || !/try again/.test(error.message)) throw error
        await pause(300)
      }
    }
  }
  const send = async (tx, key, kind, at) => {
    await submit(bytesToHex(tx.sign(key).serialize()), at)
    counts[kind] = (counts[kind] ?? 0) + 1
  }
  const deployedBy = (key) => {
    const from = createAddressFromPrivateKey(key)
    return codes.map((_, nonce) => createContractAddress(from, BigInt(nonce)).toString())
  }
  const mixed = async (key, at) => {
    const [from, deployed] = [createAddressFromPrivateKey(key), deployedBy(key)]
    let nonce = 0n
    for (const code of codes) {
      const kind = { kind: 'deploy', data: () => code, gasLimit: 250_000n }
      await send(build(common, kind, nonce, at, deployed, codes), key, kind.kind, at)
      nonce += 1n
    }
    const [made, mix] = [[], random === undefined ? kinds : [...kinds, ...Array(6).fill(randomKinds).flat()]]
    for (let n = at; going; n += 1) {
      const kind = mix[n % mix.length]
      if (kind === randomKinds[1] && made.length === 0) continue
      if (kind === randomKinds[0]) made.push(createContractAddress(from, nonce).toString())
      const seed = random === undefined ? n : random * 1_000_003 + at * 100_003 + n
      await send(build(common, kind, nonce, seed, deployed, codes, made), key, kind.kind, at)
      nonce += 1n
      await pause(rest)
    }
  }
  // The authority's code becomes one contract, another, and none again; each transaction calls what it has by then.
  const setCode = async () => {
    const targets = [...deployedBy(keys[0]), `0x${'00'.repeat(20)}`]
    for (let nonce = 0n; going; nonce += 1n) {
      const target = targets[Number(nonce) % targets.length]
      const unsigned = { chainId: bigIntToHex(BigInt(chainId)), address: target, nonce: nonce ? bigIntToHex(nonce) : '0x' }
      const fields = { nonce, gasLimit: 1_300_000n, to: setAccount, data: word(nonce), chainId }
      const fees = { maxFeePerGas: price, maxPriorityFeePerGas: tip }
      const authorizationList = [eoaCode7702SignAuthorization(unsigned, authority)]
      await send(createEOACode7702Tx({ ...fields, ...fees, authorizationList }, { common }), setter, 'set code', 0)
      await pause(rest)
    }
  }
  const broke = async () => {
    for (let nonce = 0n; going; nonce += 1n) {
      const kind = { kind: 'without funds', to: receiver, value: 1n, gasLimit: 21_000n }
      await send(build(common, kind, nonce, Number(nonce), [], codes), pauper, kind.kind, 1)
      await pause(10 * rest)
    }
  }
  const all = Promise.all([...keys.map(mixed), setCode(), broke()])
  // Reported by `stop`; until then it shall not end the process.
  all.catch(() => {})
  return {
    stop: async () => {
      going = false
      await all
      return counts
    },
  }
}
