/*
 * The dialog of two-factor authentication: has a code sent, takes it, and
 * resolves when the gateway has accepted it.
 */

const dialog = document.getElementById("dialog")
const send = document.getElementById("send")
const enter = document.getElementById("enter")
const code = document.getElementById("code")
const problem = document.getElementById("problem")


export class Cancelled extends Error {
    constructor() {
        super("Cancelled.")
    }
}


/* the gateway does not tell a wrong code from an old one, nor how many are left */

function explain(error) {
    switch (error.code) {
    case "verification_failed":
        problem.textContent = "This code is not right, or no longer good."
            + " After five wrong ones you need another code."
        break
    case "two_factor_limited":
        problem.textContent = "Too many codes were asked for. Try again in"
            + ` ${Math.ceil((Number(error.retryAfter) || 60) / 60)} minutes.`
        break
    default:
        problem.textContent = error.message
    }
}

/* while a call is under way nothing may be pressed twice */

async function busy(form, work) {
    const buttons = [...form.elements].filter((e) => !e.disabled)
    problem.textContent = ""
    buttons.forEach((e) => { e.disabled = true })
    try {
        return await work()

    } finally {
        buttons.forEach((e) => { e.disabled = false })
    }
}

function show(form) {
    send.hidden = form !== send
    enter.hidden = form !== enter
    problem.textContent = ""
    code.value = ""
    if (form === enter) {
        code.focus()
    }
}


/*
 * gateway  to authenticate at
 * scope    that is missing
 * hint     how a developer finds the code
 */

export function stepUp(gateway, scope, hint) {
    return new Promise((resolve, reject) => {
        let handle, done, closed

        document.getElementById("scope").textContent = scope
        document.getElementById("otp").textContent = hint
        show(send)

        send.onsubmit = async (event) => {
            event.preventDefault()
            const channel = new FormData(send).get("channel")
            try {
                handle = await busy(send, () => gateway.verify(channel))
                if (!closed) {
                    show(enter)
                }

            } catch (error) {
                if (!closed) {
                    explain(error)
                }
            }
        }

        enter.onsubmit = async (event) => {
            event.preventDefault()
            const digits = code.value
            try {
                await busy(enter, () => gateway.confirm(scope, handle, digits))
                if (!closed) {
                    done = true
                    dialog.close()
                }

            } catch (error) {
                if (!closed) {
                    explain(error)
                    code.select()
                }
            }
        }

        document.getElementById("again").onclick = () => show(send)
        for (const button of dialog.querySelectorAll(".cancel")) {
            button.onclick = () => dialog.close()
        }

        dialog.onclose = () => {
            closed = true
            code.value = ""
            handle = undefined
            if (done) {
                resolve()

            } else {
                reject(new Cancelled())
            }
        }

        dialog.showModal()
    })
}
