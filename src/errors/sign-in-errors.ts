import { ACCESS_RULE_CAUSES } from './causes.ts'
import type { CauseCode } from './causes.ts'
import { HttpError } from './http-error.ts'
import { OAuthError } from './oauth-error.ts'

/** The consent request or the sign-in has expired, or was answered or completed before. */
export class SignInExpiredError extends OAuthError {
  constructor (message: string, detail: string, causeCode: CauseCode) {
    super('invalid_request', message, {
      detail,
      causeCode,
      page: { title: 'This sign-in has expired', advice: 'Go back to the application and connect again.' }
    })
  }
}

/** The browser is not the one that started the sign-in (CVE-2026-27124). */
export class OtherBrowserError extends OAuthError {
  constructor (message: string, detail: string) {
    super('access_denied', message, {
      statusCode: 403,
      detail,
      causeCode: 'other_browser',
      page: {
        title: 'You were not signed in',
        advice: 'If you started it yourself, connect again from the application and stay in one browser. ' +
          'If somebody sent you here, close this page.'
      }
    })
  }
}

/** The MCP endpoint whose own access rule refuses a person. */
export interface RefusingEndpoint {
  /** Such as `/mcp/sales`. */
  path: string
  /** For the person. */
  title: string | undefined
}

export interface AccessDeniedOptions {
  /** ACCESS_CONTACT */
  contact?: string | undefined
  /** For the log. */
  detail?: string | undefined
  /** Undefined for a rule of the ACCESS_ settings. */
  endpoint?: RefusingEndpoint | undefined
}

/** An access rule refuses the person. `message` is for them; `rule` names the setting. */
export class AccessDeniedError extends HttpError {
  override readonly name = 'AccessDeniedError'
  readonly rule: string
  /** ACCESS_CONTACT */
  readonly contact: string | undefined

  /** @param setting the setting of the rule, or of the one of all endpoints that it is like */
  constructor (setting: string, message: string, { contact, detail = message, endpoint }: AccessDeniedOptions = {}) {
    const rule = endpoint === undefined
      ? setting
      : `${ENDPOINT_RULES[setting]} of ${endpoint.path} (SEED_ENDPOINTS)`
    super(403, 'access_denied', message, {
      detail: `${rule}: ${detail}`,
      causeCode: ACCESS_RULE_CAUSES[setting],
      page: {
        title: `You may not use ${endpoint?.title ?? 'this server'}`,
        advice: `Ask ${contact ?? 'whoever runs this server'} for access, and give them the reference.`
      }
    })
    this.rule = rule
    this.contact = contact
  }
}

/** The members of `access` in the file of SEED_ENDPOINTS, by the settings that they are like. */
const ENDPOINT_RULES: Readonly<Record<string, string>> = {
  ACCESS_GROUPS: 'access.groups',
  ACCESS_EMAIL_DOMAINS: 'access.emailDomains',
  ACCESS_HOSTED_DOMAINS: 'access.hostedDomains',
  ACCESS_CLAIMS: 'access.claims'
}

/** A sign-in that ends on an error page of Seed's own, with a way back to the application. */
export class SignInError extends Error {
  override readonly name = 'SignInError'
  /** OAuthError, AccessDeniedError or ProviderUnavailableError. */
  override readonly cause: Error
  /** The client's redirect URI with the error in OAuth's form; for a sign-in to the page /connections, that page. */
  readonly returnTo: URL
  readonly origin: 'application' | 'connections'

  constructor (cause: Error, returnTo: URL, origin: 'application' | 'connections' = 'application') {
    super(cause.message, { cause })
    this.cause = cause
    this.returnTo = returnTo
    this.origin = origin
  }
}
