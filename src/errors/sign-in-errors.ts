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

/** An access rule (an ACCESS_ setting) refuses the person. `message` is for them; `rule` names the setting. */
export class AccessDeniedError extends HttpError {
  override readonly name = 'AccessDeniedError'
  readonly rule: string
  /** ACCESS_CONTACT */
  readonly contact: string | undefined

  constructor (rule: string, message: string, contact: string | undefined, detail = message) {
    super(403, 'access_denied', message, {
      detail: `${rule}: ${detail}`,
      causeCode: ACCESS_RULE_CAUSES[rule],
      page: {
        title: 'You may not use this server',
        advice: `Ask ${contact ?? 'whoever runs this server'} for access, and give them the reference.`
      }
    })
    this.rule = rule
    this.contact = contact
  }
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
