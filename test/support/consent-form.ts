import { createStoredKeyring } from '../../src/oauth/modes/stored-keyring.ts'
import type { TestSeed } from './seed.ts'

export interface ConsentForm {
  request: { redirectUri: string }
  expiresAt: number
}

/** Opens the hidden field of a consent page with the server's own keys, edits it, and seals it again. */
export async function editConsent (
  { app }: TestSeed, sealed: string, edit: (form: ConsentForm) => void
): Promise<string> {
  const keyring = app.config.secrets.current === undefined ? await createStoredKeyring(app.store)() : app.keyring
  const form = JSON.parse(keyring.open(sealed, 'consent')!) as ConsentForm
  edit(form)
  return keyring.seal(JSON.stringify(form), 'consent')
}
