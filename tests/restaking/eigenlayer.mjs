// EigenLayer and the network's contracts, as operators use them.
import { readFileSync } from 'node:fs'
import { decodeFunctionResult, encodeDeployData, encodeFunctionData, parseAbi } from 'viem'
import { ask } from './processes.mjs'

export const WAD = 10n ** 18n

const core = parseAbi([
  'function mint(address to, uint256 amount)',
  'function approve(address spender, uint256 amount)',
  'function depositIntoStrategy(address strategy, address token, uint256 amount)',
  'function operatorShares(address operator, address strategy) view returns (uint256)',
  'function getMaxMagnitude(address operator, address strategy) view returns (uint64)',
  'function ALLOCATION_CONFIGURATION_DELAY() view returns (uint32)',
])

function artifact(name) {
  return JSON.parse(readFileSync(new URL(`../../contracts/artifacts/${name}.json`, import.meta.url), 'utf8'))
}

const squad = Object.fromEntries(['SquadRegistrar', 'Slasher', 'CertificateVerifier'].map((name) => [name, artifact(name)]))
export class Chain {
  constructor(l1) {
    this.l1 = l1
  }

  ask(method, ...params) {
    return ask(this.l1.rpc, method, ...params)
  }

  // Sends a transaction for whomever and waits, by asking again after each block, until it is in one.
  async send(from, to, data) {
    const transaction = { from, data, ...(to ? { to } : {}) }
    const gas = await this.ask('eth_estimateGas', transaction)
    const hash = await this.ask('eth_sendTransaction', { ...transaction, gas })
    await this.ask('evm_mine')
    const receipt = await this.ask('eth_getTransactionReceipt', hash)
    if (receipt?.status !== '0x1') throw new Error(`a transaction to ${to} failed: ${JSON.stringify(receipt)}`)
    return receipt
  }

  call(from, to, functionName, args, abi = core) {
    return this.send(from, to, encodeFunctionData({ abi, functionName, args }))
  }

  async read(to, functionName, args = [], abi = core) {
    const data = encodeFunctionData({ abi, functionName, args })
    const answer = await this.ask('eth_call', { to, data }, 'latest')
    return decodeFunctionResult({ abi, functionName, data: answer })
  }

  async deposit(operator, amount) {
    const { tokens, strategy_manager: manager } = this.l1
    for (const { token, strategy } of tokens) {
      await this.call(operator, token, 'mint', [operator, amount])
      await this.call(operator, token, 'approve', [manager, amount])
      await this.call(operator, manager, 'depositIntoStrategy', [strategy, token, amount])
    }
  }

  fund(account) {
    return this.ask('anvil_setBalance', account, '0x56bc75e2d63100000')
  }

  // So many blocks at once as a delay of the core takes.
  async pass(delay) {
    const blocks = await this.read(this.l1.allocation_manager, delay)
    await this.ask('anvil_mine', `0x${(blocks + 1).toString(16)}`, '0x0')
  }

  // What an operator has of each strategy, and the part of it that was never slashed.
  async stakes(operator) {
    const { tokens, delegation_manager: delegation, allocation_manager: allocation } = this.l1
    const one = async ({ strategy }) => ({
      shares: await this.read(delegation, 'operatorShares', [operator, strategy]),
      magnitude: await this.read(allocation, 'getMaxMagnitude', [operator, strategy]),
    })
    return Promise.all(tokens.map(one))
  }

  fraction(kind) {
    return this.read(this.l1.slasher, 'fractions', [BigInt(kind)], squad.Slasher.abi)
  }

  isTombstoned(operator) {
    return this.read(this.l1.registrar, 'isTombstoned', [operator], squad.SquadRegistrar.abi)
  }

  async deployVerifier(from, pin) {
    const { abi, bytecode } = squad.CertificateVerifier
    const args = [pin.network_id, BigInt(pin.epoch), pin.committee_hash, BigInt(pin.as_of)]
    this.verifier = (await this.send(from, undefined, encodeDeployData({ abi, bytecode, args }))).contractAddress
  }

  verify({ confirmation, committee }) {
    return this.read(this.verifier, 'verify', [confirmation, committee], squad.CertificateVerifier.abi)
  }

  newest() {
    return this.read(this.verifier, 'newest', [], squad.CertificateVerifier.abi)
  }

  advance(from, committee, proofs) {
    return this.call(from, this.verifier, 'advance', [committee, proofs], squad.CertificateVerifier.abi)
  }
}
