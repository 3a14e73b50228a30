// The state root of what anvil dumps, computed with EthereumJS's trie.
//
// anvil's own is another one wherever an account that does not exist was looked at, or a slot became 0: its trie keeps
// them, and Ethereum's has neither. The contract of EIP-2935 is left out: anvil puts one into every state, and a genesis
// whose blocks have other hashes can not have it.
import { MerklePatriciaTrie } from '@ethereumjs/mpt'
import { RLP } from '@ethereumjs/rlp'
import { Account, bigIntToBytes, bytesToHex, hexToBytes, setLengthLeft } from '@ethereumjs/util'
import { keccak256 } from 'ethereum-cryptography/keccak.js'
import { gunzipSync } from 'node:zlib'
import { systemContracts } from './genesis.mjs'

const newTrie = () => new MerklePatriciaTrie({ useKeyHashing: true })
const nothing = { nonce: 0, balance: '0x0', code: '0x', storage: {} }

export class StateRoot {
  #accounts = {}
  #storage = new Map()
  #trie = newTrie()

  // The root after `dump`, as `anvil_dumpState` answers it.
  async after(dump) {
    const { accounts } = JSON.parse(gunzipSync(hexToBytes(dump)).toString())
    delete accounts[systemContracts.history]
    for (const address of new Set([...Object.keys(accounts), ...Object.keys(this.#accounts)])) {
      const [before, now] = [this.#accounts[address] ?? nothing, accounts[address] ?? nothing]
      if (JSON.stringify(before) !== JSON.stringify(now)) await this.#put(address, before, now)
    }
    this.#accounts = accounts
    return bytesToHex(this.#trie.root())
  }

  async #put(address, before, now) {
    const key = hexToBytes(address)
    const { nonce, balance, code } = now
    if (Number(nonce) === 0 && BigInt(balance) === 0n && code === '0x') {
      this.#storage.delete(address)
      return this.#trie.del(key)
    }
    if (!this.#storage.has(address)) this.#storage.set(address, newTrie())
    const storage = this.#storage.get(address)
    for (const slot of new Set([...Object.keys(before.storage), ...Object.keys(now.storage)])) {
      const value = BigInt(now.storage[slot] ?? '0x0')
      if (value === BigInt(before.storage[slot] ?? '0x0')) continue
      const at = setLengthLeft(hexToBytes(slot), 32)
      await (value === 0n ? storage.del(at) : storage.put(at, RLP.encode(bigIntToBytes(value))))
    }
    const codeHash = keccak256(hexToBytes(code))
    const account = new Account(BigInt(nonce), BigInt(balance), storage.root(), codeHash)
    await this.#trie.put(key, account.serialize())
  }
}
