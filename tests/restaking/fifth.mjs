// An operator that joins while the network runs.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bytesToHex, hexToBytes } from 'viem'
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts'
import { Node } from './processes.mjs'

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
    // Its account on the chain: the chain signs for it.
    this.account = privateKeyToAddress(generatePrivateKey()).toLowerCase()
  }

  // A node with this operator's key, in a directory of its own, on free ports; it dials those operators and tells nobody where it
  // is. With `other`'s identity on the network, if one is given: peers take the two for one.
  start(name, peers, other) {
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
    return Object.assign(new Node(name, this.program, join(home, 'node.toml')), { home })
  }
}

// Where a node is, as the registrar takes it: its peer id and the address that it listens at.
export async function contact(node) {
  const { address } = await node.says('listening for peers')
  const port = Number(address.split('/').at(-1))
  // A libp2p key file is 08 01 12 40, the secret and the public key; a peer id of such a short key is the key itself.
  const identity = readFileSync(join(node.home, 'data', 'network-identity'))
  const peerId = Buffer.concat([hexToBytes('0x002408011220'), identity.subarray(-32)])
  return { peerId: bytesToHex(peerId), addresses: [bytesToHex(Buffer.from([4, 127, 0, 0, 1, 6, port >> 8, port & 255]))] }
}

export async function rpc(node) {
  return `http://${(await node.says('serving JSON-RPC')).address}`
}
