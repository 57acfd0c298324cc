/** An address to listen on, and the settings that it comes from. */
export interface ListenAddress {
  host: string
  port: number
  hostSetting: string
  portSetting: string
}

/** Returns an error that says in a sentence for a person why an address cannot be had, and which setting to change. */
export function explainListenError (err: unknown, { host, port, hostSetting, portSetting }: ListenAddress): Error {
  const noAddress = `This machine has no address "${host}": set ${hostSetting} to one it has`
  const reasons: Record<string, string> = {
    EADDRINUSE: `Port ${port} is already in use: stop what listens there, or set ${portSetting} to another one`,
    EACCES: `Port ${port} may not be opened by this user: set ${portSetting} to one above 1023`,
    EADDRNOTAVAIL: noAddress,
    ENOTFOUND: noAddress
  }
  return new Error(reasons[String((err as NodeJS.ErrnoException).code)] ?? (err as Error).message, { cause: err })
}
