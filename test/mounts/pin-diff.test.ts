import t from 'tap'
import { describeChange } from '../../src/mounts/pins/pin-diff.ts'

t.test('of a long text, a person sees the lines that differ', async (t) => {
  const accepted = { description: 'Closes a ticket.\nAsk first.\nNever twice.', title: 'Close' }
  const offered = { description: 'Closes a ticket.\nNever ask.\nNever twice.', title: 'Close' }
  t.equal(describeChange({ kind: 'tools', name: 'close', change: 'changed', accepted, offered }, 'tickets'), [
    'Tool "close" of tickets: changed',
    '  description',
    '    - "Ask first."',
    '    + "Never ask."'
  ].join('\n'))
})
