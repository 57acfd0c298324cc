import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { ROOT } from '../../support/root.ts'
import type { KubernetesTools, Manifest } from './tools.ts'

/** The places of kinds in kubernetes-models and kubernetes-types, by their API. */
const MODULES: Record<string, { models: string, types?: string }> = {
  v1: { models: 'kubernetes-models/v1', types: 'kubernetes-types/core/v1' },
  'apps/v1': { models: 'kubernetes-models/apps/v1', types: 'kubernetes-types/apps/v1' },
  'autoscaling/v2': { models: 'kubernetes-models/autoscaling/v2', types: 'kubernetes-types/autoscaling/v2' },
  'networking.k8s.io/v1': {
    models: 'kubernetes-models/networking.k8s.io/v1', types: 'kubernetes-types/networking/v1'
  },
  'policy/v1': { models: 'kubernetes-models/policy/v1', types: 'kubernetes-types/policy/v1' },
  'gateway.networking.k8s.io/v1': { models: '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1' },
  'monitoring.coreos.com/v1': { models: '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1' }
}

const run = promisify(execFile)

/** @returns what the schemas of Kubernetes have against these objects: values of the wrong type, missing members */
export async function schemaProblems ({ folder }: KubernetesTools, manifests: Manifest[]): Promise<string[]> {
  const problems: string[] = []
  for (const manifest of manifests) {
    const { apiVersion, kind, metadata } = manifest
    const file = join(folder, 'node_modules', MODULES[apiVersion]!.models, 'index.js')
    const models = await import(pathToFileURL(file).href) as Record<string, new (data: Manifest) => Model>
    try {
      new models[kind]!(manifest).validate()
    } catch (err) {
      problems.push(`${kind} ${metadata.name}: ${(err as Error).message}`)
    }
  }
  return problems
}

interface Model { validate (): void }

/** @returns what the types of Kubernetes have against these objects: misspelt members */
export async function typeProblems (
  { folder }: KubernetesTools, manifests: Manifest[], file: string
): Promise<string[]> {
  const lines = manifests
    .filter(({ apiVersion }) => MODULES[apiVersion]!.types !== undefined)
    .map((manifest, index) => {
      const { types } = MODULES[manifest.apiVersion]!
      const path = join(folder, 'node_modules', `${types}.d.ts`)
      return `export const m${index}: import('${path}').${manifest.kind} = ${JSON.stringify(manifest, null, 1)}`
    })
  await writeFile(file, lines.join('\n'))
  const args = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2023', '--types', '']
  const compiler = join(ROOT, 'node_modules/typescript-native/lib/tsc.js')
  return await run(process.execPath, [compiler, ...args, file], { cwd: dirname(file) })
    .then(() => [], ({ stdout }: { stdout: string }) => stdout.split('\n').filter((line) => line !== ''))
}
