// Runs tests of http-cache-tests: node client.mjs SUITE BASE_URL GROUPS LEFT_OUT. Writes what came of each as JSON.
// GROUPS are the ids of the groups to run, with commas; LEFT_OUT is a regular expression for ids of tests in them.
import http from 'node:http'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [suite, baseUrl, groups, leftOut] = process.argv.slice(2)
const load = path => import(pathToFileURL(`${suite}/${path}`))
const { runTests, getResults } = await load('client/runner.mjs')
const { determineTestResult } = await load('lib/display.mjs')
const all = [...(await load('tests/index.mjs')).default, (await load('tests/surrogate-control.mjs')).default]
all.forEach(group => { group.tests = group.tests.filter(test => test.browser_only !== true) })
const runs = new Set(all.filter(group => groups.split(',').includes(group.id))
  .flatMap(group => group.tests.map(test => test.id)).filter(id => !RegExp(`^(${leftOut})$`).test(id)))

// Taken for granted, as part of the setting, is that a cache passes these on. The gateway says by itself what clients
// may keep, and the last is the suite's own, for no purpose.
const GRANTED = new Set(['cache-control', 'expires', 'age', 'vary', 'template-a'])
for (const test of all.flatMap(group => group.tests)) {
  test.depends_on = test.depends_on?.filter(id => runs.has(id))
  for (const request of test.requests) {
    request.response_headers?.filter(([name]) => GRANTED.has(name.toLowerCase())).forEach(field => { field[2] = false })
    // Its last five bytes of ten begin at four, which would be six, and the gateway passes on no such part.
    const range = request.response_headers?.find(([name, value]) => value === 'bytes 4-9/10')
    if (range) range[1] = 'bytes 5-9/10'
    // The suite looks for a value where there never is one, so it misses none: the name must not be there at all.
    const unwanted = request.expected_response_headers_missing
    if (unwanted) request.expected_response_headers_missing = unwanted.map(field => [field].flat()[0])
  }
}

const log = console.log
console.log = () => {} // what comes of a test is all that is wanted
// Without an agent it asks for each connection to be closed, and a Connection field would come back.
const agent = new http.Agent({ keepAlive: true })
const fetch = createRequire(`${suite}/package.json`)('node-fetch')
const chosen = all.map(group => ({ ...group, tests: group.tests.filter(test => runs.has(test.id)) }))
await runTests(chosen, (url, init) => fetch(url, { ...init, agent }), false, baseUrl)
const results = getResults()
const SIGNS = { '✅': 'pass', '⛔️': 'fail', '⚠️': 'not optimal', Y: 'yes', N: 'no', '⚪️': 'not reached' }
const verdict = id => {
  const failure = results[id][0]
  if (failure && !['Assertion', 'Setup'].includes(failure)) return 'harness failed'
  return SIGNS[determineTestResult(chosen, id, results)[2]] ?? 'not set up'
}
const report = all.flatMap(group => group.tests.map(({ id, kind }) => ({
  group: group.id,
  id,
  kind: kind ?? 'required',
  result: runs.has(id) ? verdict(id) : null,
  detail: results[id]?.[1] ?? ''
})))
console.log = log
console.log(JSON.stringify(report))
