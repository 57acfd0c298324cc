import t from 'tap'
import { createKeyring } from '../../src/crypto/keyring.ts'

/** Two values of SEED_SECRET. */
const [OLD, NEW] = ['the first SEED_SECRET, 44 characters in all..', 'the second SEED_SECRET, with 44 characters...']

t.test('sealed text opens on every replica with the same secret, and only in its own context', async (t) => {
  const [one, other] = [createKeyring(OLD, undefined), createKeyring(OLD, undefined)]
  const sealed = one.seal('upstream töken', 'grant:1')
  t.equal(other.open(sealed, 'grant:1'), 'upstream töken')
  t.equal(one.open(sealed, 'grant:2'), undefined, 'in another context')
  t.equal(createKeyring(NEW, undefined).open(sealed, 'grant:1'), undefined, 'another secret')
  t.notOk(sealed.includes('token') || Buffer.from(
    sealed.split('.')[2]!,
    'base64url'
  ).toString('latin1').includes('upstream'))
  t.not(one.seal('upstream töken', 'grant:1'), sealed, 'a fresh nonce each time')
  t.equal(one.seal('', 'grant:1').split('.')[0], one.generations[0]!.id)
  t.equal(one.open(one.seal('', 'grant:1'), 'grant:1'), '')
})

t.test('sealed text that was changed in any part does not open', async (t) => {
  const keyring = createKeyring(OLD, undefined)
  const sealed = keyring.seal('upstream token', 'grant:1')
  const [id, nonce, data] = sealed.split('.') as [string, string, string]
  const flip = (part: string): string => {
    const bytes = Buffer.from(part, 'base64url')
    bytes[0]! ^= 1
    return bytes.toString('base64url')
  }
  const tag = Buffer.from(data, 'base64url')
  tag[tag.length - 1]! ^= 1
  for (const [what, text] of [
    ['key id', [flip(id), nonce, data].join('.')],
    ['nonce', [id, flip(nonce), data].join('.')],
    ['no nonce', [id, '', data].join('.')],
    ['ciphertext', [id, nonce, flip(data)].join('.')],
    ['tag', [id, nonce, tag.toString('base64url')].join('.')],
    ['a cut tag', [id, nonce, data.slice(0, 8)].join('.')],
    ['a part missing', [id, nonce].join('.')],
    ['the key id alone', id],
    ['nothing', '']
  ] as const) t.equal(keyring.open(text, 'grant:1'), undefined, what)
  t.equal(keyring.open(sealed, 'grant:1'), 'upstream token', 'unchanged, it opens')
})

t.test('sealed text has one form: other characters for the same bytes do not open', async (t) => {
  const keyring = createKeyring(OLD, undefined)
  // Seventeen bytes with the tag: two bits of the last character stand for nothing.
  const sealed = keyring.seal('x', 'grant:1')
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const twin = sealed.slice(0, -1) + alphabet[alphabet.indexOf(sealed.at(-1)!) ^ 1]!
  t.same(Buffer.from(twin.split('.')[2]!, 'base64url'), Buffer.from(sealed.split('.')[2]!, 'base64url'))
  for (const text of [twin, `${sealed}=`, `${sealed}.`, `${sealed}.x`, ` ${sealed}`, sealed.replace('.', '=.')]) {
    t.equal(keyring.open(text, 'grant:1'), undefined, text)
  }
  t.equal(keyring.open(sealed, 'grant:1'), 'x')
})

t.test('with the previous secret both generations read, and the current one writes', async (t) => {
  const [before, during, after] = [
    createKeyring(OLD, undefined),
    createKeyring(NEW, OLD),
    createKeyring(NEW, undefined)
  ]
  const sealed = before.seal('upstream token', 'grant:1')
  t.equal(during.open(sealed, 'grant:1'), 'upstream token')
  t.equal(after.open(sealed, 'grant:1'), undefined)
  const sealedAnew = during.seal('upstream token', 'grant:1')
  t.equal(after.open(sealedAnew, 'grant:1'), 'upstream token')
  t.equal(before.open(sealedAnew, 'grant:1'), undefined)

  const oldId = before.generations[0]!.id
  t.same(during.generations.map(({ id }) => id), [after.generations[0]!.id, oldId])
  t.equal(during.mac(oldId, 'message'), before.mac(oldId, 'message'))
  t.equal(after.mac(oldId, 'message'), undefined, 'no MAC with a generation that is gone')
})

t.test('a MAC depends on the secret, the generation and every character of the message', async (t) => {
  const keyring = createKeyring(NEW, OLD)
  const [newId, oldId] = keyring.generations.map(({ id }) => id) as [string, string]
  const macs = [keyring.mac(newId, 'message'), keyring.mac(oldId, 'message'), keyring.mac(newId, 'message ')]
  t.equal(new Set(macs).size, 3)
  for (const mac of macs) t.match(mac, /^[\w-]{43}$/)
  t.match(newId, /^[\w-]{8}$/)
})

t.test('each purpose has its own key', async (t) => {
  const [generation] = createKeyring(OLD, undefined).generations
  const derived = [
    'seal', 'mac', 'id', 'signing-key:1', 'signing-key:2'
  ].map((purpose) => generation!.derive(purpose, 32).toString('hex'))
  t.equal(new Set(derived).size, 5)
})

t.test('without a secret each process has its own', async (t) => {
  const [one, other] = [createKeyring(undefined, undefined), createKeyring(undefined, undefined)]
  t.not(one.generations[0]!.id, other.generations[0]!.id)
  t.equal(other.open(one.seal('x', 'c'), 'c'), undefined)
})
