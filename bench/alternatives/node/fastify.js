'use strict'

// A gateway as one writes it with fastify and its proxy plugin.

const { authorization, errors, headers, pool, Refused } = require('./identity')

const app = require('fastify')({ logger: false, exposeHeadRoutes: false })

app.register(require('@fastify/reply-from'), {
  base: process.env.UPSTREAM,
  undici: pool,
  disableRequestLogging: true
})

// bodies are passed on as they come
app.removeAllContentTypeParsers()
app.addContentTypeParser('*', (request, payload, done) => done(null, payload))

app.decorateRequest('bearer', '')

app.addHook('onRequest', (request, reply, done) => {
  const bearer = authorization(request.headers.authorization)
  if (typeof bearer === 'string') {
    request.bearer = bearer
    done()
  } else {
    bearer.then(value => { request.bearer = value; done() }, done)
  }
})

const options = {
  rewriteRequestHeaders: (request, from) => {
    const to = headers(from, request.bearer)
    to.host = from.host
    return to
  }
}

app.all('/*', (request, reply) => {
  reply.from(undefined, options)
})

app.setErrorHandler((error, request, reply) => {
  const status = error instanceof Refused ? 401 : 502
  reply.code(status).header('content-type', 'application/vnd.api+json').send(errors[status])
})

app.listen({ host: '127.0.0.1', port: Number(process.env.PORT), backlog: 4096 })
