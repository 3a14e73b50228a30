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

  // A node with this operator's key, in a directory of its own, on free ports; it dials those operators and tells nobody where it
  // is. With `other`'s identity on the network, if one is given: peers take the two for one.
  start(name, peers, other, options) {
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
    writeFileSync(join(home, 'node.toml'), config.join('\n'))
    return Object.assign(new Node(name, this.program, join(home, 'node.toml'), options), { home })
  }
}

export async function rpc(node) {
  return `http://${(await node.says('serving JSON-RPC')).address}`
}
