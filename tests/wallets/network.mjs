// A network of four operators and one executor on this machine, for as long as the clients need it.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export async function devnet(program) {
  const dir = mkdtempSync(join(tmpdir(), 'squad-wallets-'))
  const options = ['devnet', '--json', '--operators', '4', '--executors', '1', '--dir', dir]
  const child = spawn(program, options, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const ready = new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`${program} devnet ended with ${code} before it was ready`)))
    createInterface({ input: child.stdout }).on('line', (line) => {
      const event = JSON.parse(line)
      if (event.event === 'ready') resolve(event)
    })
  })
  const stop = async () => {
    child.kill('SIGINT')
    await ended
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    const { executors, operators } = await ready
    return { rpc: executors[0].rpc, operator: `${operators[0].rpc}/evm`, stop }
  } catch (error) {
    rmSync(dir, { recursive: true, force: true })
    throw error
  }
}
