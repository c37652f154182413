/*
 * The panel that shows the calls.  What is secret is cut short before it gets
 * here: a screen is seen by more people than one.
 */

const list = document.getElementById("wire")
const secrets = ["token", "verificationToken", "verificationCode"]


function short(text) {
    return text.length > 12 ? `${text.slice(0, 6)}\u2026` : "\u2022".repeat(text.length)
}

function attributes(data) {
    return Object.entries(data?.attributes ?? {})
        .map(([name, value]) => [name, secrets.includes(name) ? short(`${value}`) : value])
        .map(([name, value]) => `${name}: ${[value].flat().join(" ")}`)
        .join(", ")
}

/* the bodies of the two-factor calls tell the story, others are only long */

function lines(call) {
    const found = []
    if (call.challenge !== "") {
        found.push(["WWW-Authenticate", call.challenge])
    }
    if (call.path.endsWith("/token") || call.path.endsWith("/verification")) {
        if (call.sent !== undefined) {
            found.push(["sent", attributes(call.sent)])
        }
        if (call.body?.data) {
            found.push(["got", attributes(call.body.data)])
        }
    }
    return found
}

function element(name, type, text) {
    const e = document.createElement(name)
    e.className = type
    e.textContent = text
    return e
}


export function show(call) {
    const item = document.createElement("li")
    const head = element("div", "call", "")
    const kind = call.status >= 200 && call.status < 300 ? "good" : "bad"

    head.append(
        element("span", "method", call.method),
        element("span", "path", call.path),
        element("span", `status ${kind}`, call.status === 0 ? "no answer" : call.status),
        element("span", "code", call.code),
        element("span", "time", `${call.milliseconds} ms`))
    item.append(head)

    for (const [name, text] of lines(call)) {
        const line = element("div", "more", "")
        line.append(element("span", "name", `${name} `), text)
        item.append(line)
    }

    list.prepend(item)
}


export function clear() {
    list.replaceChildren()
}
