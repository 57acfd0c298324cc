import type { TokenRevoker } from '../endpoints/revoke.ts'
import type { SignIn } from './sign-in.ts'
import type { TokenIssuer } from '../endpoints/token.ts'

/** What OAUTH_MODE decides; everything else is the same for both. */
export interface Mode {
  signIn: SignIn
  issuer: TokenIssuer
  revoker: TokenRevoker
  /** Ends what a person, or one session of theirs at the provider, has here. @returns how much, for the log */
  revokeFor (who: { subject: string } | { sid: string }): Promise<number>
}
