import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { ReadableValue } from './instruments.ts'

const NANOSECONDS = 1e9

/** Memory, CPU and the delay of the event loop (semantic conventions for processes and Node.js). */
export function createProcessGauges (): ReadableValue[] {
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  const delayOf = (name: string, read: () => number): ReadableValue => ({
    about: { name: `nodejs.eventloop.delay.${name}`, unit: 's', description: `Event loop delay: ${name}` },
    read: () => read() / NANOSECONDS
  })
  const cpu = (mode: 'user' | 'system'): ReadableValue => ({
    about: { name: 'process.cpu.time', unit: 's', description: 'CPU time of the process' },
    read: () => process.cpuUsage()[mode] / 1e6,
    labels: { 'cpu.mode': mode },
    isMonotonic: true
  })
  return [
    delayOf('p50', () => delay.percentile(50)),
    delayOf('p99', () => delay.percentile(99)),
    {
      about: { name: 'nodejs.eventloop.delay.max', unit: 's', description: 'Event loop delay: longest since the last' },
      read () {
        const { max } = delay
        delay.reset()
        return max / NANOSECONDS
      }
    },
    cpu('user'),
    cpu('system'),
    {
      about: { name: 'process.memory.usage', unit: 'By', description: 'Memory of the process' },
      read: () => process.memoryUsage.rss()
    },
    {
      about: { name: 'v8js.memory.heap.used', unit: 'By', description: 'Heap in use' },
      read: () => process.memoryUsage().heapUsed
    },
    {
      about: { name: 'process.uptime', unit: 's', description: 'Time since the process has started' },
      read: () => process.uptime()
    }
  ]
}
