import t from 'tap'

/** A copy of the module, as a process of its own would have; its process id is the same. */
async function load (name: string): Promise<typeof import('./free-port.ts')> {
  return await import(`${new URL('free-port.js', import.meta.url).href}?${name}`) as typeof import('./free-port.ts')
}

t.test('processes whose ids lead to the same ports never get the same one', async (t) => {
  const copies = [await load('one'), await load('two'), await load('three')]
  const owners = new Map<number, number>()
  for (let round = 0; round < 24; round++) {
    for (const [copy, { freePort }] of copies.entries()) {
      const port = await freePort()
      t.equal(owners.get(port) ?? copy, copy)
      owners.set(port, copy)
    }
  }
})
