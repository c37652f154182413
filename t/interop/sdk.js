/*
 * Calls Unit's own SDK, as it is published, and tells what comes of it.  One
 * JSON document per line, in and out:
 *
 *   {"base":URL,"token":TOKEN}              with these from now on
 *   {"methods":true}                        what the SDK can do
 *   {"call":["accounts","get"],"args":[..]}
 *
 * The answers: {"value":...} or {"error":{...}} with what an application sees
 * of the exception.
 */

"use strict"

const readline = require("readline")
const { Unit } = require("@unit-finance/unit-node-sdk")

let unit

function methods() {
    const names = []
    for (const [resource, object] of Object.entries(unit)) {
        const prototype = Object.getPrototypeOf(object)
        if (prototype === Object.prototype) {
            continue
        }
        for (const name of Object.getOwnPropertyNames(prototype)) {
            if (name !== "constructor") {
                names.push(`${resource}.${name}`)
            }
        }
    }
    return names
}

function seen(error) {
    return {
        isUnitError: unit.isError(error),
        name: error.name,
        message: error.message,
        errors: error.errors ?? null,
        retryAfter: error.underlying?.response?.headers["retry-after"] ?? null,
        challenge:
            error.underlying?.response?.headers["www-authenticate"] ?? null,
    }
}

async function answer(request) {
    if (request.base) {
        unit = new Unit(request.token, request.base)
        return { value: true }
    }
    if (request.methods) {
        return { value: methods() }
    }
    const [resource, method] = request.call
    try {
        return { value: await unit[resource][method](...request.args) ?? null }
    } catch (error) {
        return { error: seen(error) }
    }
}

async function main() {
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const result = await answer(JSON.parse(line))
        process.stdout.write(JSON.stringify(result) + "\n")
    }
}

main().catch((error) => {
    console.error(error)
    process.exit(1)
})
