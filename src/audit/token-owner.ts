/**
 * Returns whom an access token stands for, without verifying it: for tokens that this server has just issued or
 * verified. A token that is no JWT gives nothing.
 */
export function tokenOwner (accessToken: string): { issuer?: string, subject?: string, grant?: string } {
  try {
    const payload = JSON.parse(Buffer.from(accessToken.split('.')[1] ?? '', 'base64url').toString()) as object
    const { iss, sub, grant } = payload as Record<string, unknown>
    return { ...text('issuer', iss), ...text('subject', sub), ...text('grant', grant) }
  } catch {
    return {}
  }
}

function text<Name extends string> (name: Name, value: unknown): { [name in Name]?: string } {
  return typeof value === 'string' ? { [name]: value } as { [name in Name]: string } : {}
}
