import type { Config } from '../config/config.ts'
import type { ConfigInspection } from '../config/load.ts'
import type { Definition } from '../define/definition.ts'
import type { DeclaredMount } from '../mounts/settings/define-mount.ts'
import type { FetchPublicDocument } from '../net/public-fetch.ts'
import { createPublicFetcher } from '../net/public-fetch.ts'
import type { ProviderMetadata } from '../provider/discovery.ts'
import { checkAuthorization } from './authorization.ts'
import { checkClientAuthentication } from './client-authentication.ts'
import { checkClock } from './clock.ts'
import { checkAccess, checkConfiguration } from './configuration.ts'
import { question } from './finding.ts'
import type { Finding } from './finding.ts'
import { checkMounts } from './mounts.ts'
import { checkMetadataDocuments } from './network.ts'
import { checkDiscovery, checkDocument } from './provider-document.ts'
import { checkPublicUrl } from './public-url.ts'
import { checkRefresh, checkRevocation } from './refresh-and-revocation.ts'
import { checkSigningKeys } from './signing-keys.ts'
import { createTokenEndpointProbes } from './token-endpoint.ts'
import { checkTools } from './tools.ts'
import { checkTrustedIssuers } from './trusted-issuers.ts'
import { within } from './within.ts'

export interface ExamineOptions {
  inspection: ConfigInspection
  /** Loads what the server offers itself, and the mounts of extensions. */
  loadOffers (config: Config): Promise<{ definitions: readonly Definition[], mounts: readonly DeclaredMount[] }>
  fetchDocument?: FetchPublicDocument
  /** Wall clock in milliseconds. */
  now?: () => number
}

/** Time for all mounted servers together, each of which has a little less: their findings must have come before. */
const MOUNTS_MS = 60_000

/** Runs all checks. What depends on a setting that has a problem is not checked; everything else is. */
export async function examine (options: ExamineOptions): Promise<Finding[]> {
  const { inspection, loadOffers, fetchDocument = createPublicFetcher(), now = Date.now } = options
  const { config, problems } = inspection
  const isBroken = (setting: string): boolean => problems.some((problem) => problem.setting === setting)
  const findings = await Promise.all([
    checkConfiguration(inspection),
    checkAccess(config),
    config.authRequired ? checkProvider(config, now) : [],
    config.authRequired ? checkTrustedIssuers(config) : [],
    isBroken('REDIS_URL')
      ? [notChecked('store.connection', 'REDIS_URL')]
      : within('store.connection', async () => await (await import('./redis.ts')).checkRedis(config)),
    isBroken('BASE_URL')
      ? [notChecked('public-url.reachable', 'BASE_URL')]
      : within('public-url.reachable', async () => await checkPublicUrl(config)),
    within('network.client-metadata-documents', async () => await checkMetadataDocuments(config, fetchDocument)),
    isBroken('SEED_MOUNTS')
      ? [notChecked('mounts.connection', 'SEED_MOUNTS')]
      : within('mounts.connection', async () => await checkMounts(config, async () => await loadOffers(config)),
        MOUNTS_MS),
    within('tools.definitions', async () => await checkTools(async () => (await loadOffers(config)).definitions))
  ])
  return findings.flat()
}

/** The checks of the provider; the others need its discovery document. */
async function checkProvider (config: Config, now: () => number): Promise<Finding[]> {
  if (config.oidc.issuer === '') return [notChecked('provider.discovery', 'OIDC_ISSUER')]
  const clock = within('provider.clock', async () => await checkClock(config, now))
  const { findings, metadata } = await checkDiscovery(config)
  if (metadata === undefined) return [...findings, ...await clock]
  const others = await Promise.all([
    checkDocument(config, metadata),
    within('provider.signing-keys', async () => await checkSigningKeys(config, metadata)),
    checkClient(config, metadata),
    clock
  ])
  return [...findings, ...others.flat()]
}

/** The checks that send made-up codes and tokens as Seed's client. */
async function checkClient (config: Config, metadata: ProviderMetadata): Promise<Finding[]> {
  if (config.oidc.clientId === '') return [notChecked('provider.client-authentication', 'OIDC_CLIENT_ID')]
  const probes = createTokenEndpointProbes(config, metadata)
  const groups = await Promise.all([
    within('provider.client-authentication', async () => {
      const { findings, accepted } = await checkClientAuthentication(config, metadata, probes)
      if (accepted === undefined) return findings
      const [refresh, revocation] = await Promise.all([
        checkRefresh(metadata, probes, accepted), checkRevocation(config, metadata, probes, accepted)
      ])
      return [...findings, refresh, ...revocation]
    }),
    within('provider.authorization', async () => await checkAuthorization(config, metadata))
  ])
  return groups.flat()
}

function notChecked (check: string, setting: string): Finding {
  return question(check, 'nothing').unknown('nothing', `Not checked: ${setting} cannot be used`, { setting })
}
