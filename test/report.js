/** What tap writes besides results, as long as it does not concern the whole run. */
const OTHER_TAP = /^(TAP version .*|\d+\.\.\d+.*|\}| *)$/

/**
 * Prints what a person needs of tap's stream: each failure with its details, each file that passed with its time, what
 * was skipped, what tests print, and the totals. tap's own reporters draw every assertion, which takes a tenth of the
 * tests' CPU time.
 *
 * @param {(line: string) => void} print
 * @returns {(line: string) => void} takes the stream line by line
 */
export function createReport (print) {
  /** The tests that the current line is in, and how many failures were printed before each. */
  const tests = []
  let failures = 0
  /** The headline of a failure that the next line may have details of. */
  let failure
  /** The line that ends the details; undefined outside of them. */
  let end

  return (line) => {
    if (end !== undefined) {
      if (failure !== undefined) print(line.slice(end.indexOf('.') - 2))
      if (line === end) end = undefined
      return
    }
    const [, indent, text] = /^((?: {4})*)(.*)$/.exec(line)
    const depth = indent.length / 4
    if (text === '  ---') {
      end = `${indent}  ...`
      if (failure !== undefined) {
        print(`✖ ${failure}`)
        failures++
      }
      return
    }
    failure = undefined
    const [, subtest] = /^# Subtest: (.*)$/.exec(text) ?? []
    const [, failed, description] = /^(not )?ok \d+(?: - (.*))?$/.exec(text) ?? []
    if (subtest !== undefined) {
      tests[depth] = { name: subtest, failures }
    } else if (failed !== undefined) {
      // A test that failed for what is in it says nothing new.
      const hasInner = (tests[depth]?.failures ?? failures) < failures
      const isKnown = description?.includes(' # time=') && hasInner
      if (!isKnown) failure = [...namesOf(tests, depth), description].join(' > ')
    } else if (description !== undefined) {
      printResult(description, namesOf(tests, depth), print)
    } else if (!OTHER_TAP.test(text) && (depth === 0 || !text.startsWith('#'))) {
      print(text)
    }
  }
}

function namesOf (tests, depth) {
  return tests.slice(0, depth).map(({ name }) => name)
}

function printResult (description, path, print) {
  const [, file, milliseconds] = /^\.test-build\/(.*\.test)\.js # time=([\d.]+)ms$/.exec(description) ?? []
  if (description.includes(' # SKIP')) print(`- ${[...path, description].join(' > ')}`)
  else if (file !== undefined && !file.includes('/groups/')) {
    print(`✔ ${file}.ts ${(milliseconds / 1_000).toFixed(1)} s`)
  }
}
