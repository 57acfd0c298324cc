import closeWithGrace from 'close-with-grace'
import { startDevProvider } from './provider.ts'

/**
 * The development provider as a container beside Seed's, whose network it shares: at the same http://localhost:3001 for
 * Seed and for the browser. docker-compose.yml publishes the port on loopback. DEV_PROVIDER_PORT moves it.
 */
const { DEV_PROVIDER_PORT = '3001' } = process.env
const provider = await startDevProvider({ host: 'localhost', port: Number(DEV_PROVIDER_PORT), allAddresses: true })
closeWithGrace({ delay: 5_000, logger: false }, async () => { await provider.close() })
const users = provider.users.map(({ login, password }) => `${login} (password ${password})`).join(' or ')
console.log(`The development provider listens at ${provider.issuer}. Sign in as ${users}.`)
