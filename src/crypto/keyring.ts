import { createCipheriv, createDecipheriv, createHmac, hash, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'

/**
 * All keys that Seed needs, derived from SEED_SECRET (HKDF, RFC 5869), so that every replica holds the same ones and
 * none lies in the store. There are two generations: the first makes, both read (SEED_SECRET_PREVIOUS).
 */
export interface Keyring {
  generations: readonly KeyGeneration[]
  /**
   * AES-256-GCM with a fresh nonce: `<key id>.<nonce>.<ciphertext and tag>`, base64url.
   * @param context what it belongs to (a store key): it opens nowhere else
   */
  seal (plaintext: string, context: string): string
  /** @returns undefined for what was not sealed here, was changed, belongs to another context or to a generation that is gone */
  open (sealed: string, context: string): string | undefined
  /** HMAC-SHA256, base64url, with the key of one generation; undefined for a generation that is gone. */
  mac (keyId: string, message: string): string | undefined
}

export interface KeyGeneration {
  /** Names the generation without telling anything of it. */
  id: string
  derive (purpose: string, bytes: number): Buffer
}

/** @param current SEED_SECRET; when absent, a random one that lives as long as this process */
export function createKeyring (current: string | undefined, previous: string | undefined): Keyring {
  const generations = [current ?? randomBytes(32).toString('base64'), ...(previous === undefined ? [] : [previous])].map(createGeneration)
  const keys = new Map(generations.map((generation) => [generation.id, { seal: generation.derive('seal', 32), mac: generation.derive('mac', 32) }]))
  const { id: sealingId } = generations[0]!

  return {
    generations,

    seal (plaintext, context) {
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', keys.get(sealingId)!.seal, nonce).setAAD(Buffer.from(context))
      const sealed = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final(), cipher.getAuthTag()])
      return `${sealingId}.${nonce.toString('base64url')}.${sealed.toString('base64url')}`
    },

    open (sealed, context) {
      const [id = '', nonce = '', data = ''] = sealed.split('.')
      const key = keys.get(id)
      if (key === undefined) return undefined
      const bytes = Buffer.from(data, 'base64url')
      try {
        const decipher = createDecipheriv('aes-256-gcm', key.seal, Buffer.from(nonce, 'base64url'), { authTagLength: 16 }).setAAD(Buffer.from(context))
        decipher.setAuthTag(bytes.subarray(-16))
        return decipher.update(bytes.subarray(0, -16), undefined, 'utf8') + decipher.final('utf8')
      } catch {
        return undefined
      }
    },

    mac (keyId, message) {
      const key = keys.get(keyId)
      return key === undefined ? undefined : createHmac('sha256', key.mac).update(message).digest('base64url')
    }
  }
}

function createGeneration (secret: string): KeyGeneration {
  const derive = (purpose: string, bytes: number): Buffer => Buffer.from(hkdfSync('sha256', secret, 'seed-mcp-server', purpose, bytes))
  return { id: derive('id', 6).toString('base64url'), derive }
}

/** What the store keeps instead of a code, a token or a cookie. */
export function digest (secret: string): string {
  return hash('sha256', secret, 'base64url')
}

/** Comparison whose time says nothing of where two secrets differ. */
export function timingSafeEquals (one: string, other: string): boolean {
  return timingSafeEqual(hash('sha256', one, 'buffer'), hash('sha256', other, 'buffer'))
}

/** @returns base64url of `bytes` random bytes */
export function randomId (bytes = 24): string {
  return randomBytes(bytes).toString('base64url')
}
