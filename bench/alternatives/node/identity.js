'use strict'

// Who asks, and with which token of theirs Unit is to be asked: the part that
// the gateways and the verifier in this directory share. What has been verified
// or made is remembered, so that a warm request looks two strings up.

const { readFileSync } = require('node:fs')
const { createVerifier } = require('fast-jwt')
const { LRUCache } = require('lru-cache')
const { Pool } = require('undici')

const env = process.env
const orgToken = readFileSync(env.ORG_TOKEN_FILE, 'utf8').trim()
const identities = new LRUCache({ max: 10000 })
const tokens = new LRUCache({ max: 10000 })
const minting = new Map()
const early = 30000     // a token of Unit is renewed so long before its end

const pool = new Pool(env.UPSTREAM, {
  connections: 64,
  pipelining: 1,
  keepAliveTimeout: 3600000,
  keepAliveMaxTimeout: 3600000
})

const verify = createVerifier({
  key: readFileSync(env.PUBLIC_KEY, 'utf8'),
  algorithms: ['RS256'],
  allowedIss: env.ISSUER,
  allowedAud: env.AUDIENCE,
  requiredClaims: ['exp', 'sub', 'unitCustomerId']
})

class Refused extends Error {}

function identify (header, now) {
  const known = identities.get(header)
  if (known !== undefined && known.until > now) {
    return known
  }

  if (header === undefined || !/^bearer /i.test(header)) {
    throw new Refused('no token')
  }

  let claims
  try {
    claims = verify(header.slice(7))
  } catch (error) {
    throw new Refused(error.message)
  }

  const identity = { customer: String(claims.unitCustomerId), until: claims.exp * 1000 }
  identities.set(header, identity)
  return identity
}

async function mint (customer) {
  const { statusCode, body } = await pool.request({
    method: 'POST',
    path: `/customers/${encodeURIComponent(customer)}/token`,
    headers: {
      authorization: `Bearer ${orgToken}`,
      'content-type': 'application/vnd.api+json'
    },
    body: JSON.stringify({ data: { type: 'customerToken', attributes: { scope: 'accounts' } } })
  })
  const answer = await body.json()
  if (statusCode !== 201) {
    throw new Error(`Unit answered ${statusCode}`)
  }

  const { token, expiresIn } = answer.data.attributes
  const entry = { bearer: `Bearer ${token}`, until: Date.now() + expiresIn * 1000 - early }
  tokens.set(customer, entry)
  return entry
}

// The Authorization header to send, at once where it is known, else a promise
// of it. Throws Refused where the caller is not known.
function authorization (header) {
  const now = Date.now()
  const { customer } = identify(header, now)

  const token = tokens.get(customer)
  if (token !== undefined && token.until > now) {
    return token.bearer
  }

  // one call for all who wait for it
  let flight = minting.get(customer)
  if (flight === undefined) {
    flight = mint(customer).finally(() => minting.delete(customer))
    minting.set(customer, flight)
  }
  return flight.then(entry => entry.bearer)
}

// What goes on to Unit of what the caller sent, and nothing else.
const passed = [
  'accept', 'accept-language', 'content-type', 'content-length', 'user-agent',
  'x-request-id', 'traceparent', 'tracestate', 'x-unit-sdk', 'x-accept-version'
]

function headers (from, bearer) {
  const to = { authorization: bearer }
  for (const name of passed) {
    const value = from[name]
    if (value !== undefined) {
      to[name] = value
    }
  }
  return to
}

const errors = {
  401: { code: 'token_invalid', title: 'Unauthorized' },
  502: { code: 'upstream_unavailable', title: 'Bad Gateway' }
}

for (const status of Object.keys(errors)) {
  errors[status] = JSON.stringify({ errors: [{ status, ...errors[status] }] })
}

module.exports = { authorization, errors, headers, identify, pool, Refused }
