import type { ServerResponse } from 'node:http'
import type { DevUser } from './quirks.ts'

/** Sends the sign-in form. @param login the client's `login_hint`, which is filled in */
export function sendSignIn (res: ServerResponse, users: DevUser[], login = '', problem = ''): void {
  const rows = users.map(({ login, password, name }) =>
    `<li>${escapeHtml(name)}: <code>${escapeHtml(login)}</code> / <code>${escapeHtml(password)}</code></li>`)
  sendPage(res, 200, 'Sign in', `${problem && `<p role="alert">${problem}</p>`}
<form method="post">
<label for="login">User name</label>
<input id="login" name="login" value="${escapeHtml(login)}" autocomplete="username" autocapitalize="none"
  required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button type="submit">Sign in</button>
</form>
<p>Development users (user name / password):</p>
<ul>${rows.join('')}</ul>`)
}

export function sendPage (res: ServerResponse, status: number, title: string, body: string): void {
  res.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    // Without form-action: browsers apply it to the redirect after the form too, which leads to the client.
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
  }).end(page(title, body))
}

export function page (title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} - development provider</title>
<style>
body { max-width: 24rem; margin: 2rem auto; padding: 0 1rem }
body { font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff }
label { display: block; margin-top: 1rem }
input, button { box-sizing: border-box; width: 100%; padding: .6rem; font: inherit }
button { margin-top: 1.5rem; color: #fff; background: #1f4f99; border: 0; border-radius: .3rem }
[role=alert] { color: #a40000 }
</style>
</head>
<body>
<main>
<h1>${title}</h1>
${body}
</main>
</body>
</html>
`
}

export function escapeHtml (value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
