import { OAuthError } from '../../../errors/oauth-error.ts'
import type { TokenIssuer } from '../mode.ts'
import type { AuthorizationCodes } from './authorization-codes.ts'
import type { Grants } from './grants.ts'
import { createIssueTokens } from './token-response.ts'
import type { IssueTokensOptions } from './token-response.ts'
import type { RefreshRotation } from './refresh-rotation.ts'

export interface BrokerTokensOptions extends IssueTokensOptions {
  codes: AuthorizationCodes
  grants: Grants
  rotation: RefreshRotation
  /** Undefined if no client of OAUTH_CLIENTS is a service. */
  clientCredentials: TokenIssuer['clientCredentials']
  /** Undefined with ENTERPRISE_AUTHORIZATION=off. */
  jwtBearer: TokenIssuer['jwtBearer']
  /** Undefined without TRUSTED_ISSUERS. */
  workloadToken: TokenIssuer['workloadToken']
  /** ENTERPRISE_AUTHORIZATION=only: people come with the company's client alone. */
  isEnterpriseOnly: boolean
}

/** The grant types of broker mode. Each has a file that does its work; a new one is one file and one entry here. */
export function createBrokerTokens (options: BrokerTokensOptions): TokenIssuer {
  const { codes, grants, rotation, clientCredentials, jwtBearer, workloadToken } = options
  const issueTokens = createIssueTokens(options)
  if (options.isEnterpriseOnly) {
    return { refreshToken: refuseRefresh, clientCredentials, jwtBearer, workloadToken }
  }

  return {
    async authorizationCode ({ code, ...presented }, client, step) {
      const redeemed = await codes.redeem(code, { clientId: client.id, ...presented }, step)
      const grant = await grants.activate(redeemed)
      return await issueTokens(grant, grant.scope)
    },

    async refreshToken ({ refreshToken, ...request }, client, step) {
      const rotated = await rotation.rotate(refreshToken, client, request, step)
      return await issueTokens(rotated.grant, rotated.scope)
    },

    clientCredentials,
    jwtBearer,
    workloadToken
  }
}

/** Clients forget a refresh token that is an `invalid_grant`, and send the person to sign in, where a page explains. */
async function refuseRefresh (): Promise<never> {
  throw new OAuthError('invalid_grant', 'This server is reached with the application of your company alone', {
    detail: 'the grant is from before ENTERPRISE_AUTHORIZATION=only', causeCode: 'enterprise_only'
  })
}
