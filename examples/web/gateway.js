/*
 * A client of the gateway: Unit's API with the user's own JWT, and the answer
 * to "this needs two-factor authentication" (RFC 9470).
 */

const TYPE = "application/vnd.api+json"


export class ApiError extends Error {
    constructor(response, errors) {
        const error = errors?.[0] ?? {}
        super(error.detail ?? error.title ?? `status ${response.status}`)
        this.status = response.status
        this.code = error.code ?? ""
        this.challenge = parseChallenge(response.headers.get("WWW-Authenticate"))
        this.retryAfter = response.headers.get("Retry-After")
    }
}


/* Bearer error="...", scope="a b", max_age=86400 */

export function parseChallenge(text) {
    const challenge = {}
    if (/^bearer\s/i.test(text ?? "")) {
        for (const m of text.matchAll(/([a-z_]+)=(?:"([^"]*)"|([^\s,"]+))/gi)) {
            challenge[m[1].toLowerCase()] = m[2] ?? m[3]
        }
    }
    return challenge
}


export class Gateway {

    /*
     * token   the user's JWT; kept in memory only
     * stepUp  called with the scope that is missing; resolves when the user
     *         has authenticated, see verify() and confirm()
     * onCall  is told of every call
     */

    constructor({ token, stepUp, onCall }) {
        this.token = token
        this.stepUp = stepUp
        this.onCall = onCall
    }

    get(path) {
        return this.request("GET", path)
    }

    /* Authenticates when it has to, and tries again, once. */

    async request(method, path, data) {
        try {
            return await this.call(method, path, data)

        } catch (error) {
            if (error.challenge?.error !== "insufficient_user_authentication") {
                throw error
            }

            await this.stepUp(error.challenge.scope ?? "")
            return await this.call(method, path, data)
        }
    }

    async call(method, path, data) {
        const headers = { Accept: TYPE, Authorization: `Bearer ${this.token}` }
        if (data !== undefined) {
            headers["Content-Type"] = TYPE
        }

        const started = performance.now()
        let response, body, text

        try {
            response = await fetch(path, {
                method,
                headers,
                body: data === undefined ? undefined : JSON.stringify({ data }),
                cache: "no-store",
                credentials: "omit",
                redirect: "error",
            })
            text = await response.text()
            body = text === "" ? null : JSON.parse(text)

        } catch (error) {
            this.tell(method, path, data, started, response, null)
            throw error
        }

        this.tell(method, path, data, started, response, body)

        if (!response.ok) {
            throw new ApiError(response, body?.errors)
        }

        return body
    }

    tell(method, path, sent, started, response, body) {
        this.onCall?.({
            method,
            path,
            sent,
            body,
            status: response?.status ?? 0,
            code: body?.errors?.[0]?.code ?? "",
            challenge: response?.headers.get("WWW-Authenticate") ?? "",
            milliseconds: Math.round(performance.now() - started),
        })
    }

    /* Has a code sent; the handle that comes back goes with the code. */

    async verify(channel) {
        const answer = await this.call(
            "POST", "/customers/me/token/verification",
            { type: "customerTokenVerification", attributes: { channel } })
        return answer.data.attributes.verificationToken
    }

    /* Unit's answer would be another token: so may this one. */

    async confirm(scope, verificationToken, verificationCode) {
        const answer = await this.call(
            "POST", "/customers/me/token",
            { type: "customerToken",
              attributes: { scope, verificationToken, verificationCode } })
        this.token = answer.data.attributes.token
    }

    async status() {
        return (await this.get("/customers/me/token")).data.attributes
    }

    logout() {
        return this.call("DELETE", "/customers/me/token")
    }
}
