import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** `npm run providers [-- NAME...]`: real clients and Seed at real OpenID providers, by default all. */
const child = spawn(process.execPath, [
  fileURLToPath(new URL('../run.js', import.meta.url)),
  '--timeout=3600',
  'test/providers/providers.proof.ts'
], { stdio: 'inherit', env: { ...process.env, SEED_PROVIDERS: process.argv.slice(2).join(' ') } })
// Ctrl-C reaches the tests too, which end their processes.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => { child.kill('SIGTERM') })
const [code] = await once(child, 'exit')
process.exitCode = code ?? 1
