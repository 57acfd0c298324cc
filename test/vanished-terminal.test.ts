import t from 'tap'
import { endWithoutTerminal } from '../src/vanished-terminal.ts'

/** `test/process/start-and-stop.test.ts` closes a real terminal. */
for (const { name, remains, kills } of [
  { name: 'a terminal that is still there', remains: true, kills: 0 },
  { name: 'a terminal that is gone', remains: false, kills: 1 }
]) {
  t.test(`the exit of a process with ${name}`, async (t) => {
    let isThere = true
    let killed = 0
    const onExit = endWithoutTerminal((fd) => fd === 0 && isThere, () => { killed++ })
    t.ok(process.listeners('exit').includes(onExit))
    process.removeListener('exit', onExit)
    isThere = remains
    onExit()
    t.equal(killed, kills)
  })
}
