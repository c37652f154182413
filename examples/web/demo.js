/*
 * The page: who is logged in, accounts, cards.
 */

import { Gateway } from "./gateway.js"
import { stepUp } from "./dialog.js"
import * as wire from "./wire.js"

const $ = (id) => document.getElementById(id)

let gateway, customer, sandbox


function say(text, bad = false) {
    $("message").textContent = text
    $("message").classList.toggle("problem", bad)
}

/* every action of the user runs here, one at a time */

let running = false

async function run(action) {
    if (running) {
        return
    }
    running = true
    say("")
    try {
        await action()

    } catch (error) {
        if (error.code === "token_invalid") {
            logout()
            say("The token has expired. \"script/run --restart-gateway\" makes"
                + " new ones; then reload this page.", true)

        } else {
            say(error.message, true)
        }

    } finally {
        running = false
    }
}


function button(text, action) {
    const b = document.createElement("button")
    b.type = "button"
    b.textContent = text
    b.onclick = () => run(action)
    return b
}

function row(...cells) {
    const tr = document.createElement("tr")
    for (const cell of cells) {
        const td = document.createElement("td")
        td.append(cell)
        tr.append(td)
    }
    return tr
}

function dollars(cents) {
    return new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" })
        .format(cents / 100)
}

function badge(text) {
    const span = document.createElement("span")
    span.className = `badge ${text.toLowerCase()}`
    span.textContent = text
    return span
}


async function showFactor() {
    const { scopes, verified, expiresIn } = await gateway.status()
    $("factor").classList.toggle("verified", verified)
    $("factor").textContent = verified
        ? `Two-factor authentication done, for ${scopes.join(", ")};`
          + ` good for ${Math.ceil(expiresIn / 60)} minutes.`
        : "No two-factor authentication yet."
}

async function showAccounts() {
    const { data } = await gateway.get("/accounts")
    $("accounts").replaceChildren(...data.map(({ attributes: a }) => {
        const tr = row(a.name ?? a.depositProduct, `\u2022\u2022${a.accountNumber.slice(-4)}`,
            badge(a.status), dollars(a.balance))
        tr.lastChild.className = "number"
        return tr
    }))
}

async function showCards() {
    const { data } = await gateway.get("/cards")
    $("cards").replaceChildren(...data.map(({ id, type, attributes: a }) => {
        const verb = a.status === "Frozen" ? "unfreeze" : "freeze"
        const name = `${/Virtual/.test(type) ? "Virtual" : "Debit"} card ending in ${a.last4Digits}`
        const b = button(verb === "freeze" ? "Freeze" : "Unfreeze", () => change(id, verb))
        b.setAttribute("aria-label", `${b.textContent} the card ending in ${a.last4Digits}`)
        const tr = row(name, a.expirationDate, badge(a.status), b)
        tr.dataset.card = id
        return tr
    }))
}

/* nothing here knows of two-factor authentication: request() does */

async function change(card, verb) {
    await gateway.request("POST", `/cards/${encodeURIComponent(card)}/${verb}`)
    await showCards()
    await showFactor()
    say(verb === "freeze" ? "The card is frozen." : "The card works again.")
}


async function login(user) {
    gateway = new Gateway({
        token: user.token,
        onCall: wire.show,
        stepUp: (scope) => stepUp(gateway, scope,
            `curl -s ${sandbox}/_sandbox/otp/${customer}`),
    })

    const { data } = await gateway.get("/customers/me")
    customer = data.id.replace(/[^\w-]/g, "")    /* goes into a command line */
    const a = data.attributes
    $("who").textContent = a.fullName ? `${a.fullName.first} ${a.fullName.last}` : a.name

    await showAccounts()
    await showCards()
    await showFactor()
    $("login").hidden = true
    $("bank").hidden = false
}

function logout() {
    gateway = undefined
    $("bank").hidden = true
    $("login").hidden = false
    $("accounts").replaceChildren()
    $("cards").replaceChildren()
}


async function start() {
    const response = await fetch("tokens.json", { cache: "no-store" })
    if (!response.ok) {
        throw new Error("There are no tokens: is this served by script/run?")
    }
    const tokens = await response.json()
    sandbox = tokens.sandbox
    $("users").replaceChildren(...tokens.users.map((user) => {
        const b = button(`Log in as ${user.subject}`, () => login(user))
        b.className = "primary"
        return b
    }))
}

$("logout").onclick = () => run(async () => {
    await gateway.logout()
    logout()
    say("Logged out: the gateway has forgotten the session's tokens.")
})
$("clear").onclick = wire.clear

run(start)
