import t from 'tap'
import { isUriSelected } from '../../src/selection/uri-selection.ts'

const FILES = 'file:///{+path}'

t.test('what is denied stays so in every spelling that a server may understand', async (t) => {
  const deny = ['file:///secret/*', 'file:///key', 'http://a.example/secret*', 'notes://100%', 'file:///a b']
  for (const uri of [
    'file:///secret/key', 'file:///SECRET/key', 'file:///%73ecret/key', 'file:///%2573ecret/key', 'file://localhost/secret/key',
    'file:////secret//key', 'file:///secret%2Fkey', 'file:///secret\\key', 'file:/secret/key', 'FILE:///secret/key',
    'file:///\uFF53ecret/key', 'file:///key?', 'file:///key#a', 'file:///key/', 'file:///%61%20b', 'file:///a b',
    'http://A.example:80/secret', 'http://u:p@a.example/secret', 'http://a.example//secret'
  ]) t.equal(isUriSelected(uri, FILES, { deny }), false, uri)
  for (const uri of [
    'file:///a/../b', 'file:///a/%2e%2E/b', 'file:///..', 'file:///a/./b', 'notes:..\\a', 'file:///a%', 'file:///a%FF',
    'file:///%25252525252541', 'http://[a/b'
  ]) t.equal(isUriSelected(uri, FILES, { deny }), false, `in doubt: ${uri}`)
  for (const uri of ['file:///public/key', 'file:///a..b/c', 'notes://1', 'notes:1', 'http://a.example/x?y=/secret']) {
    t.equal(isUriSelected(uri, FILES, { deny }), true, uri)
  }
})

t.test('what is denied behind the name of a mount stays so in every spelling of host and port', async (t) => {
  const deny = ['web+https://intern.example/secret/*', 'a+b+file:///secret/*']
  for (const uri of [
    'web+https://intern.example:443/secret/x', 'web+https://INTERN.example/secret/x', 'web+https://u@intern.example/secret/x',
    'web+HTTPS://intern.example:443/secret/x', 'a+b+file://localhost/secret/x', 'a+b+file:/secret/x'
  ]) t.equal(isUriSelected(uri, '{+uri}', { deny }), false, uri)
  for (const uri of ['web+https://intern.example/public', 'web+https://other.example/secret/x', 'web+1:a', 'a+b+file:///public']) {
    t.equal(isUriSelected(uri, '{+uri}', { deny }), true, uri)
  }
})

t.test('what is allowed must be so in every spelling, unless the template itself is allowed', async (t) => {
  const allow = ['file:///public/*']
  t.equal(isUriSelected('file:///public/a%20b', FILES, { allow }), true)
  t.equal(isUriSelected('file:///other', FILES, { allow }), false)
  t.equal(isUriSelected('file:///public%2Fa', FILES, { allow }), false)
  t.equal(isUriSelected('file:///other', FILES, { allow: [FILES] }), true)
  t.equal(isUriSelected('file:///other', FILES, { allow: [FILES], deny: ['*other*'] }), false)
})

t.test('without a choice every URI is offered as it is', async (t) => {
  for (const selection of [undefined, true, {}]) t.equal(isUriSelected('file:///a/../b', FILES, selection), true)
  t.equal(isUriSelected('file:///a', FILES, false), false)
})
