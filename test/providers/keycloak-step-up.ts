import { decodeJwt } from 'jose'
import { createBrowser } from '../support/browser.ts'
import type { Browser } from '../support/browser.ts'
import { createPlainClient } from '../support/sign-in.ts'
import type { PlainClient, TokenAnswer } from '../support/sign-in.ts'
import { check, equal, nextSecond } from './checks.ts'
import type { SeedUnderTest } from './provider.ts'

/** Recent and strong sign-ins (RFC 9470) at Keycloak, whose `acr` is a level of authentication (LoA). */

/** Sends a request to Keycloak's administration. */
export type Administer = (method: string, path: string, body?: object) => Promise<unknown>

/** The attribute of a client: its names of levels. */
export const LEVELS = { 'acr.loa.map': JSON.stringify({ silver: '1', gold: '2' }) }

const FLOW = 'step-up'
const PASSWORD_PAGES = 5

interface Execution {
  id: string
  displayName: string
  providerId?: string
  authenticationFlow?: boolean
}

/**
 * Makes a browser flow with two levels: name and password, then the password once more, which stands for a second
 * factor.
 *
 * @param path of the realm
 * @returns its id, for a client's `authenticationFlowBindingOverrides`
 */
export async function createStepUpFlow (administer: Administer, path: string): Promise<string> {
  const flows = `${path}/authentication/flows`
  const addFlow = async (parent: string, alias: string): Promise<void> => {
    const provider = 'registration-page-form'
    await administer('POST', `${flows}/${parent}/executions/flow`, { alias, type: 'basic-flow', provider })
  }
  const addStep = async (parent: string, provider: string): Promise<void> => {
    await administer('POST', `${flows}/${parent}/executions/execution`, { provider })
  }
  await administer('POST', flows, { alias: FLOW, providerId: 'basic-flow', topLevel: true, builtIn: false })
  await addStep(FLOW, 'auth-cookie')
  await addFlow(FLOW, 'levels')
  for (const [level, step] of [['silver', 'auth-username-password-form'], ['gold', 'auth-password-form']] as const) {
    await addFlow('levels', level)
    await addStep(level, 'conditional-level-of-authentication')
    await addStep(level, step)
  }
  const executions = await administer('GET', `${flows}/${FLOW}/executions`) as Execution[]
  for (const execution of executions) {
    await administer('PUT', `${flows}/${FLOW}/executions`, { ...execution, requirement: requirementOf(execution) })
  }
  const conditions = executions.filter(({ providerId }) => providerId === 'conditional-level-of-authentication')
  for (const [index, { id }] of conditions.entries()) {
    await administer('POST', `${path}/authentication/executions/${id}/config`, {
      alias: `level ${index + 1}`, config: { 'loa-condition-level': String(index + 1), 'loa-max-age': '36000' }
    })
  }
  const all = await administer('GET', flows) as Array<{ id: string, alias: string }>
  return all.find(({ alias }) => alias === FLOW)!.id
}

function requirementOf ({ displayName, providerId, authenticationFlow }: Execution): string {
  if (providerId === 'auth-cookie' || displayName === 'levels') return 'ALTERNATIVE'
  return authenticationFlow === true ? 'CONDITIONAL' : 'REQUIRED'
}

interface Visit {
  client: PlainClient
  browser: Browser
  /** What the person types. */
  values: Record<string, string>
}

/** A tool demands a level, and a client a recent sign-in: Keycloak asks the person, and Seed sees that it has. */
export async function checkStepUp (seed: SeedUnderTest, username: string, password: string): Promise<void> {
  const visit = {
    client: await createPlainClient(seed.url), browser: createBrowser(), values: { username, password }
  }
  const first = await signIn(visit)
  equal([first.asked, first.claims['acr']], [1, 'silver'], 'the first sign-in')
  equal((await seed.call(first.tokens, 'recent')).status, 200, 'a tool for recent sign-ins')
  equal((await signIn(visit)).asked, 0, 'passwords at the next sign-in: Keycloak knows the browser')

  equal((await seed.call(first.tokens, 'gold')).status, 401, 'a tool for the level gold')
  const strong = await signIn(visit)
  equal([strong.asked, strong.claims['acr']], [1, 'gold'], 'the sign-in that the tool demands')
  equal((await seed.call(strong.tokens, 'gold')).status, 200, 'the same tool')

  await nextSecond(2)
  const recent = await signIn(visit, { max_age: '1' })
  check(recent.asked > 0, 'max_age=1 has the person asked again')
  check(timeOf(recent) > timeOf(strong), 'auth_time is that of the new sign-in')
  const renewed = await signIn(visit, { prompt: 'login' })
  check(renewed.asked > 0, 'prompt=login has the person asked again')
  check(timeOf(renewed) >= timeOf(recent), 'auth_time is that of the last sign-in')
}

interface Outcome {
  tokens: TokenAnswer
  claims: Record<string, unknown>
  /** How often the person was asked for the password. */
  asked: number
}

function timeOf ({ claims }: Outcome): number {
  return Number(claims['auth_time'])
}

async function signIn ({ client, browser, values }: Visit, parameters: Record<string, string> = {}): Promise<Outcome> {
  let page = await browser.get(client.authorizationUrl(parameters))
  let asked = 0
  while (page.status !== 0) {
    const [form] = page.forms
    if (form === undefined || asked > PASSWORD_PAGES) throw new Error(`The sign-in ends at ${page.url.href}: ${page.body}`)
    if (form.names.includes('password')) asked++
    const pressed = form.buttons.slice(0, 1).map(({ name, value }) => [name, value])
    const typed = Object.entries(values).filter(([name]) => form.names.includes(name))
    page = await browser.submit(form, Object.fromEntries([...pressed, ...typed]))
  }
  const answer = await client.redeem(page)
  const tokens = await answer.json() as TokenAnswer
  equal(answer.status, 200, `answer of /oauth/token at ${page.url.search} (${JSON.stringify(tokens)})`)
  return { tokens, claims: decodeJwt(tokens.access_token), asked }
}
