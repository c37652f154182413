'use strict'

// The same without a framework, for the floor of what Node can do: its own
// server, undici's callbacks, and no stream objects on the way back.

const { createServer } = require('node:http')
const { authorization, errors, headers, pool, Refused } = require('./identity')

const dropped = new Set(['connection', 'keep-alive', 'transfer-encoding'])

function fail (response, error) {
  const status = error instanceof Refused ? 401 : 502
  if (response.headersSent) {
    response.destroy()
    return
  }
  response.writeHead(status, { 'content-type': 'application/vnd.api+json' })
  response.end(errors[status])
}

class Answer {
  constructor (response) {
    this.response = response
  }

  onRequestStart (controller) {
    this.response.on('close', () => {
      if (!this.response.writableFinished) {
        controller.abort(new Error('the client is gone'))
      }
    })
    this.response.on('drain', () => controller.resume())
  }

  onResponseStart (controller, status, from) {
    const to = {}
    for (const name in from) {
      if (!dropped.has(name)) {
        to[name] = from[name]
      }
    }
    this.response.writeHead(status, to)
  }

  onResponseData (controller, chunk) {
    if (!this.response.write(chunk)) {
      controller.pause()
    }
  }

  onResponseEnd () {
    this.response.end()
  }

  onResponseError (controller, error) {
    fail(this.response, error)
  }
}

function forward (request, response, bearer) {
  const from = request.headers
  const body = from['content-length'] !== undefined || from['transfer-encoding'] !== undefined
  pool.dispatch({
    method: request.method,
    path: request.url,
    headers: headers(from, bearer),
    body: body ? request : null
  }, new Answer(response))
}

const server = createServer((request, response) => {
  try {
    const bearer = authorization(request.headers.authorization)
    if (typeof bearer === 'string') {
      forward(request, response, bearer)
    } else {
      bearer.then(value => forward(request, response, value)).catch(error => fail(response, error))
    }
  } catch (error) {
    fail(response, error)
  }
})

server.keepAliveTimeout = 75000
server.listen(Number(process.env.PORT), '127.0.0.1', 4096)
