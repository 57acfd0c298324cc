import { digest, timingSafeEquals } from '../../crypto/hash.ts'
import { OAuthError } from '../../errors/oauth-error.ts'

/** Returns the value that each form of a session carries. Other sites do not have the cookie that it is made from. */
export function formToken (sessionCookie: string): string {
  return digest(`form of the page /connections: ${sessionCookie}`)
}

/**
 * Refuses a form that another site's page has sent. Browsers without Sec-Fetch-Site are accepted: `Origin` and the
 * form's token decide.
 *
 * @throws OAuthError access_denied
 */
export function checkSite (secFetchSite: string | undefined): void {
  if (secFetchSite === undefined || secFetchSite === 'same-origin') return
  throw invalidForm(`Sec-Fetch-Site: ${secFetchSite.slice(0, 20)}`)
}

/**
 * Refuses a form that another origin's page has sent. Browsers send `Origin` with each form of the page /connections;
 * what sends none is decided by the form's token.
 *
 * @throws OAuthError access_denied
 */
export function checkOrigin (origin: string | undefined, baseUrl: string): void {
  if (origin === undefined || origin === new URL(baseUrl).origin) return
  throw invalidForm(`Origin: ${origin.slice(0, 100)}`)
}

/**
 * Refuses a form without the token of the session: another site has made it, or it is of an earlier session.
 *
 * @throws OAuthError access_denied
 */
export function checkFormToken (token: string, sessionCookie: string): void {
  if (timingSafeEquals(token, formToken(sessionCookie))) return
  throw invalidForm('the token of the form is not that of the session')
}

function invalidForm (detail: string): OAuthError {
  return new OAuthError('access_denied', 'The form was not sent by the page of this session', {
    statusCode: 403,
    detail,
    causeCode: 'connections_form_invalid',
    page: {
      title: 'Nothing was changed',
      sentence: 'The form was sent by another web site, or you have signed in again since it was shown.',
      advice: 'Open the page again. If it happens again, give the reference to whoever runs this server.'
    }
  })
}
