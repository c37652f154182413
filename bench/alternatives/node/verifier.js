'use strict'

// What auth_request asks: 200 with the token of the customer, or 401. nginx
// remembers the answer for as long as X-Accel-Expires says.

const { createServer } = require('node:http')
const { authorization, identify, Refused } = require('./identity')

const longest = 60     // seconds

createServer(async (request, response) => {
  try {
    const header = request.headers.authorization
    const bearer = await authorization(header)
    const left = Math.floor((identify(header, Date.now()).until - Date.now()) / 1000)
    response.writeHead(200, {
      'content-length': 0,
      'x-accel-expires': Math.min(left, longest),
      'x-unit-authorization': bearer
    })
  } catch (error) {
    response.writeHead(error instanceof Refused ? 401 : 500, { 'content-length': 0 })
  }
  response.end()
}).listen(Number(process.env.PORT), '127.0.0.1', 4096)
