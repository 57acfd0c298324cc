import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Interaction, Provider } from 'oidc-provider'
import { requestedLevel } from './configuration.ts'
import { sendSignIn } from './pages.ts'
import { LEVELS, OPAQUE_RESOURCE, RESOURCE, findUser } from './state.ts'
import type { ProviderState } from './state.ts'

/** Signs the user in. Consent is given for them: the client belongs to the company that runs the provider. */
export async function interact (
  req: IncomingMessage, res: ServerResponse, provider: Provider, state: ProviderState
): Promise<void> {
  const interaction = await provider.interactionDetails(req, res)
  if (interaction.prompt.name === 'consent') {
    const consent = await grantConsent(interaction, interaction.session!.accountId, provider, state)
    return await provider.interactionFinished(req, res, { consent })
  }
  const hint = interaction.params['login_hint']
  if (req.method !== 'POST') return sendSignIn(res, state.users, hint)

  const form = new URLSearchParams(await text(req))
  const user = findUser(state, String(form.get('login')))
  if (user === undefined || user.password !== form.get('password')) {
    return sendSignIn(res, state.users, hint, 'That user name and password do not match. Please try again.')
  }
  const consent = await grantConsent(interaction, user.login, provider, state)
  const acr = requestedLevel(interaction.params['acr_values']) ?? LEVELS[0]!
  const login = { accountId: user.login, acr }
  await provider.interactionFinished(req, res, { login, select_account: {}, consent })
}

async function grantConsent (
  { params }: Interaction, accountId: string, provider: Provider, { audience }: ProviderState
): Promise<{ grantId: string }> {
  const grant = new provider.Grant({ accountId, clientId: params['client_id']! })
  grant.addOIDCScope(params['scope'] ?? '')
  for (const resource of [RESOURCE, OPAQUE_RESOURCE, audience]) {
    grant.addResourceScope(resource, params['scope'] ?? '')
  }
  return { grantId: await grant.save() }
}
