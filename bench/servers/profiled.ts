import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'

/**
 * Preloaded into a server that is profiled (`node --import`): one SIGWINCH begins a CPU profile, the next ends it and
 * writes it to BENCH_PROFILE. The signal is one that no server here ends on.
 */
const session = new Session()
session.connect()
await session.post('Profiler.enable')
await session.post('Profiler.setSamplingInterval', { interval: 100 })
let running = false

process.on('SIGWINCH', async () => {
  if (!running) {
    running = true
    await session.post('Profiler.start')
    return
  }
  const { profile } = await session.post('Profiler.stop')
  writeFileSync(process.env['BENCH_PROFILE']!, JSON.stringify(profile))
})
