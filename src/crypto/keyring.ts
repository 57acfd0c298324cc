import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto'

/**
 * All keys that Seed needs, derived from SEED_SECRET (HKDF, RFC 5869), so that every replica has the same ones and none
 * is stored. During a rotation there are two generations: the first one makes, both read (SEED_SECRET_PREVIOUS).
 */
export type Keyring = ReturnType<typeof createKeyring>

/** Returns the keyring that seals what Seed hands out and reads again. @throws StoreUnavailableError */
export type FindKeyring = () => Promise<Keyring>

export type KeyGeneration = ReturnType<typeof createGeneration>

/** @param current SEED_SECRET; without it, a random secret that lives as long as this process */
export function createKeyring (current: string | undefined, previous: string | undefined) {
  const secrets = [current ?? randomBytes(32).toString('base64'), ...(previous === undefined ? [] : [previous])]
  const generations = secrets.map(createGeneration)
  const keys = new Map(generations.map(({ id, derive }) => [id, { seal: derive('seal', 32), mac: derive('mac', 32) }]))
  const { id: sealingId } = generations[0]!

  return {
    generations: generations as readonly KeyGeneration[],

    /**
     * Encrypts with AES-256-GCM and a fresh nonce.
     *
     * @param context the place it belongs to, such as its key in the store; it opens nowhere else
     * @returns `<key id>.<nonce>.<ciphertext and tag>`, base64url
     */
    seal (plaintext: string, context: string): string {
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', keys.get(sealingId)!.seal, nonce).setAAD(Buffer.from(context))
      const sealed = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final(), cipher.getAuthTag()])
      return `${sealingId}.${nonce.toString('base64url')}.${sealed.toString('base64url')}`
    },

    /**
     * Decrypts.
     *
     * @returns undefined for text that was not sealed here or was changed, that belongs to another context, or whose
     * generation is gone
     */
    open (sealed: string, context: string): string | undefined {
      const [id = '', nonce = '', data = ''] = sealed.split('.')
      const key = keys.get(id)
      if (key === undefined) return undefined
      const [iv, bytes] = [Buffer.from(nonce, 'base64url'), Buffer.from(data, 'base64url')]
      // Other characters can stand for the same bytes: what was sealed has one form only.
      if (sealed !== `${id}.${iv.toString('base64url')}.${bytes.toString('base64url')}`) return undefined
      try {
        const decipher = createDecipheriv('aes-256-gcm', key.seal, iv, { authTagLength: 16 })
        decipher.setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(-16))
        return decipher.update(bytes.subarray(0, -16), undefined, 'utf8') + decipher.final('utf8')
      } catch {
        return undefined
      }
    },

    /** Returns the HMAC-SHA256, base64url, with the key of one generation; undefined if that generation is gone. */
    mac (keyId: string, message: string): string | undefined {
      const key = keys.get(keyId)
      return key === undefined ? undefined : createHmac('sha256', key.mac).update(message).digest('base64url')
    }
  }
}

function createGeneration (secret: string) {
  const derive = (purpose: string, bytes: number): Buffer => {
    return Buffer.from(hkdfSync('sha256', secret, 'seed-mcp-server', purpose, bytes))
  }
  /** `id` names the generation without revealing anything about its secret. */
  return { id: derive('id', 6).toString('base64url'), derive }
}
