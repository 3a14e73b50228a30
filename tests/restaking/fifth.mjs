// An operator that joins while the network runs.
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts'
import { Node, run } from './processes.mjs'

export class Fifth {
  constructor(program, network, { dir, operators, l1 }) {
    this.program = program
    this.network = network
    this.genesis = join(dir, 'genesis.json')
    this.bootstrap = operators.map(({ id }, at) => {
      const config = readFileSync(join(dir, `operator-${at + 1}`, 'node.toml'), 'utf8')
      return config.match(/^listen = \["([^"]+)"\]/m)[1]
    })
    this.l1 = l1.rpc
    this.secret = generatePrivateKey()
    this.key = privateKeyToAddress(this.secret).toLowerCase()
    // Its account on the chain.
    this.purse = generatePrivateKey()
    this.account = privateKeyToAddress(this.purse).toLowerCase()
  }

  // What an operator does on the chain, with the program's own commands.
  operator(command, ...options) {
    const home = join(this.network, 'fifth')
    const purse = join(home, 'account.hex')
    if (!existsSync(purse)) writeFileSync(purse, this.purse, { mode: 0o600 })
    const account = ['--account', purse, '--insecure-plaintext-account']
    return run(this.program, ['operator', command, '--config', join(home, 'node.toml'), ...account, ...options])
  }

  // The command line's checks of that node. Fails if one of them does.
  async doctor(node) {
    const { address } = await node.says('serving JSON-RPC')
    const config = ['--config', join(node.home, 'node.toml'), '--insecure-plaintext-key', '--rpc-listen', address]
    return run(this.program, ['doctor', ...config])
  }

  // A node with this operator's key, in a directory of its own, on free ports; it dials those operators and tells nobody where it
  // is. With `other`'s identity on the network, if one is given: peers take the two for one. One that `reports` sends evidence from
  // its account.
  start(name, peers, { other, options, reports } = {}) {
    const home = join(this.network, name)
    mkdirSync(join(home, 'data'), { recursive: true })
    if (other) copyFileSync(join(other.home, 'data', 'network-identity'), join(home, 'data', 'network-identity'))
    writeFileSync(join(home, 'key.hex'), this.secret, { mode: 0o600 })
    const quoted = JSON.stringify(peers.map((at) => this.bootstrap[at]))
    const config = [
      `data_dir = "data"`,
      `genesis = "${this.genesis}"`,
      `[key]\nplaintext = "key.hex"`,
      `[p2p]\nlisten = ["/ip4/127.0.0.1/tcp/0"]\nannounce = ["none"]\nbootstrap = ${quoted}`,
      `[rpc]\nlisten = "127.0.0.1:0"`,
      `[grpc]\nlisten = "127.0.0.1:0"`,
      `[metrics]\nlisten = "127.0.0.1:0"`,
      `[l1]\nendpoints = ["${this.l1}"]\npoll_ms = 500`,
    ]
    if (reports) {
      writeFileSync(join(home, 'account.hex'), this.purse, { mode: 0o600 })
      config.push(`account = { plaintext = "account.hex" }\nsubmit_evidence = true`)
    }
    writeFileSync(join(home, 'node.toml'), config.join('\n'))
    return Object.assign(new Node(name, this.program, join(home, 'node.toml'), options), { home })
  }
}

export async function rpc(node) {
  return `http://${(await node.says('serving JSON-RPC')).address}`
}
