import { Compile } from 'typebox/compile'
import { EndpointsFileSchema } from './endpoint-schema.ts'
import type { EndpointsFile } from './endpoint-schema.ts'
import { problem } from './problem.ts'
import type { ConfigError, Problem } from './problem.ts'
import type { Env } from './schema.ts'
import { readSettingsFile } from './settings-file.ts'

const fileForm = {
  setting: 'SEED_ENDPOINTS' as const,
  schema: Compile(EndpointsFileSchema),
  entries: 'endpoints',
  noun: 'endpoint',
  article: 'an' as const,
  names: 'have 1 to 32 lower-case letters, digits and -, and begin with a letter'
}

/** Reads the file of SEED_ENDPOINTS, and returns its problems. */
export function readEndpointsFile (path: string, env: Env): { entries: EndpointsFile, problems: Problem[] } {
  try {
    const { value } = readSettingsFile(path, fileForm)
    return { entries: value, problems: checkMode(value, env) }
  } catch (err) {
    const problems = (err as ConfigError).problems.map((message) => ({ setting: fileForm.setting, message }))
    return { entries: {}, problems }
  }
}

/** Access tokens of the provider have one audience, so they cannot say for which of several endpoints they are. */
function checkMode ({ main, endpoints = {} }: EndpointsFile, env: Env): Problem[] {
  if (!env.AUTH_REQUIRED) {
    return [main ?? {}, ...Object.values(endpoints)].some(({ access }) => access !== undefined)
      ? [problem('SEED_ENDPOINTS', 'has rules for access, which need AUTH_REQUIRED=true: nobody is signed in without')]
      : []
  }
  if (env.OAUTH_MODE === 'broker' || Object.keys(endpoints).length === 0) return []
  return [problem('SEED_ENDPOINTS', 'needs OAUTH_MODE=broker for further endpoints: with OAUTH_MODE=proxy the ' +
    "provider's access tokens do not say for which endpoint they are")]
}
