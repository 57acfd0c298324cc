import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { arch, availableParallelism, cpus, release, totalmem } from 'node:os'

/** The cores: the measured server alone on one core; clients, the provider and Redis on another. */
export interface Pinning {
  server: number
  load: number
}

/** A clock tick of /proc, in milliseconds: USER_HZ is 100 on every Linux that Node runs on. */
const TICK_MS = 10
const MIB = 1_048_576

/** Moves this process, all its threads and what it starts from now on, to the load core. */
export function pinMyself ({ load, server }: Pinning): void {
  if (process.platform !== 'linux') throw new Error('The benchmark reads /proc and pins with taskset: it needs Linux')
  if (availableParallelism() < 2) throw new Error('The benchmark needs two cores: one for the server, one for the load')
  if (server === load) throw new Error('The server and the load must not share a core')
  if (spawnSync('taskset', ['--version']).error !== undefined) {
    throw new Error('taskset is missing: apt-get install util-linux')
  }
  execFileSync('taskset', ['-acp', String(load), String(process.pid)], { stdio: 'ignore' })
}

/** CPU time of a process with all its threads, in milliseconds. */
export function cpuOf (pid: number): number {
  const fields = afterName(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

function afterName (stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** Resident memory of the process in bytes, from the kernel. */
export function residentOf (pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
  return Number(kib) * 1_024
}

/**
 * Time that a core was taken by processes, or by the machine below this one, in milliseconds. Interrupts are left out:
 * they are those of the measured traffic.
 */
export function busyTimeOf (core: number): number {
  const line = new RegExp(`^cpu${core} (.*)$`, 'm').exec(readFileSync('/proc/stat', 'latin1'))?.[1]
  if (line === undefined) throw new Error(`There is no core ${core}`)
  const [user, nice, system, , , , , steal] = line.split(' ').map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number
  ]
  return (user + nice + system + steal) * TICK_MS
}

/** Describes the machine in the lines of a report. */
export function describeMachine ({ server, load }: Pinning): string[] {
  return [
    `${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC; ` +
      `${cpus().length} × ${cpus()[0]!.model.trim()} (${arch()}), ${(totalmem() / MIB / 1_024).toFixed(0)} GiB; ` +
      `Linux ${release()}; Node ${process.version}, OpenSSL ${process.versions.openssl}`,
    `each server alone, with all its threads on core ${server}; clients, the provider and Redis on core ${load} ` +
      '(taskset); loopback, no TLS'
  ]
}
