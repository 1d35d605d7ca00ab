// The part of scripts/http-suite that knows the suite: starts its origin server and our proxy, runs its client, asks its
// judge, and compares with the floor.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const { values: options } = parseArgs({
  options: {
    suite: { type: 'string' },
    proxy: { type: 'string' },
    store: { type: 'string' },
    floor: { type: 'string' },
    id: { type: 'string' },
    raise: { type: 'boolean' },
    // For our own child: run the tests against this URL and print the raw results.
    run: { type: 'string' },
    only: { type: 'string' }
  }
})

const suiteFile = path => import(pathToFileURL(join(options.suite, path)).href)
const { default: suites } = await suiteFile('tests/index.mjs')

if (options.run) {
  const fetch = createRequire(join(options.suite, 'cli.mjs'))('node-fetch')
  const { runTests, getResults } = await suiteFile('client/runner.mjs')
  const only = options.only?.split(',')
  const wanted = suites.map(suite => ({ ...suite, tests: suite.tests.filter(test => !only || only.includes(test.id)) }))
  if (only?.length === 1) wanted.forEach(suite => suite.tests.forEach(test => { test.dump = true }))
  await runTests(wanted, fetch, false, options.run)
  process.send(getResults())
} else {
  const work = mkdtempSync(join(tmpdir(), 'http-suite-'))
  const children = []
  process.on('exit', () => {
    children.forEach(child => child.kill())
    rmSync(work, { recursive: true, force: true })
  })
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))
  const code = await score(children, work)
  process.exit(code)
}

async function score (children, work) {
  const origin = await started(children, process.execPath, ['--no-warnings', 'server/server.mjs'], {
    cwd: options.suite,
    env: {
      ...process.env,
      npm_config_protocol: 'http',
      npm_config_port: '0',
      npm_config_pidfile: join(work, 'pid')
    }
  }, options.id)
  const originUrl = `http://127.0.0.1:${new URL(origin).port}`
  const proxy = await started(children, options.proxy,
    ['--listen', '127.0.0.1:0', '--origin', originUrl, '--store', options.store], {}, false)

  const { determineTestResult } = await suiteFile('lib/display.mjs')
  const tests = suites.flatMap(suite => suite.tests).filter(test => !test.browser_only)
  const kind = test => test.kind ?? 'required'
  const judge = (test, results) => determineTestResult(suites, test.id, results)[2]
  const passes = (test, results) => judge(test, results) === '✅'
  const describe = (test, results) => {
    const detail = results[test.id]
    return `${judge(test, results)} ${kind(test)} ${test.id}${Array.isArray(detail) ? `: ${detail[1]}` : ''}`
  }

  if (options.id) {
    const test = tests.find(test => test.id === options.id)
    if (!test) throw new Error(`there is no test ${options.id}`)
    console.log(describe(test, await run(proxy, [test.id])))
    return 0
  }

  const results = await run(proxy)
  const counted = tests.filter(test => kind(test) !== 'check')
  const lines = existsSync(options.floor) ? readFileSync(options.floor, 'utf8').split('\n').filter(Boolean) : []
  // What begins with `#` says what is not in the floor, and why.
  const comments = lines.filter(line => line.startsWith('#'))
  const floor = lines.filter(line => !line.startsWith('#'))
  const lost = () => counted.filter(test => floor.includes(test.id) && !passes(test, results))
  // The suite measures ages in seconds, so a machine that stalls can fail a test. Such a test fails twice only if it is us.
  const again = lost()
  if (again.length > 0) {
    console.log(`once more: ${again.map(test => test.id).join(', ')}`)
    Object.assign(results, await run(proxy, again.map(test => test.id)))
  }

  console.log('failing:')
  counted.filter(test => !passes(test, results)).forEach(test => console.log(`  ${describe(test, results)}`))
  console.log('what it does where the standard leaves it open:')
  tests.filter(test => kind(test) === 'check').forEach(test => console.log(`  ${describe(test, results)}`))

  const gained = counted.filter(test => passes(test, results) && !floor.includes(test.id))
  if (gained.length > 0 && options.raise) {
    const raised = [...floor, ...gained.map(test => test.id)].sort()
    writeFileSync(options.floor, [...comments, ...raised].join('\n') + '\n')
    console.log(`raised ${options.floor} by ${gained.length} tests`)
  } else if (gained.length > 0) {
    console.log(`${gained.length} tests above the floor, which --raise takes into it: ${gained.map(test => test.id).join(' ')}`)
  }
  const below = lost()
  const unknown = floor.filter(id => !counted.some(test => test.id === id))
  below.forEach(test => console.log(`BELOW THE FLOOR: ${describe(test, results)}`))
  unknown.forEach(id => console.log(`BELOW THE FLOOR: ${id} is not in the suite`))

  const sum = wanted => {
    const all = counted.filter(test => kind(test) === wanted)
    return `${wanted} ${all.filter(test => passes(test, results)).length}/${all.length}`
  }
  console.log(`${sum('required')} ${sum('optimal')}`)
  return below.length + unknown.length > 0 ? 1 : 0
}

// Starts a server and returns the URL that it says it listens on. `aloud` shows what it says after that.
function started (children, command, commandArguments, spawnOptions, aloud) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, commandArguments, { ...spawnOptions, stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    let said = ''
    child.stdout.on('data', data => {
      if (aloud) process.stdout.write(data)
      said += data
      const url = /listening on (http:\S+?)[,\s]/i.exec(said)
      if (url) resolve(url[1])
    })
    child.on('error', reject)
    child.on('exit', code => reject(new Error(`${command} ended with ${code}`)))
  })
}

// Runs the suite's client in a process of its own, since it keeps what it has run in globals.
function run (base, only) {
  return new Promise((resolve, reject) => {
    const commandArguments = [fileURLToPath(import.meta.url), '--suite', options.suite, '--run', base]
    if (only) commandArguments.push('--only', only.join(','))
    const child = spawn(process.execPath, ['--no-warnings', ...commandArguments], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc']
    })
    child.on('message', results => {
      resolve(results)
      child.disconnect()
    })
    child.on('exit', code => reject(new Error(`the client ended with ${code}`)))
  })
}
