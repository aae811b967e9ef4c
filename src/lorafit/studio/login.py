"""The page that asks for the studio's token: plain HTML, since nothing else is given without it."""

from __future__ import annotations

from html import escape

from lorafit.studio.words import said_in

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:15vh auto;padding:0 1rem}"
    "input,button{font:inherit;width:100%;box-sizing:border-box;padding:.6rem .8rem;margin-top:.5rem;border-radius:8px}"
    "input{border:1px solid GrayText}button{border:0;background:#2a6fd0;color:#fff;cursor:pointer}"
    ":focus-visible{outline:3px solid #2a6fd0;outline-offset:2px}.wrong{color:#c02b2b;font-weight:600}"
    "@media(prefers-color-scheme:dark){.wrong{color:#ff8f8f}}"
)


def login_page(language: str, target: str, wrong: bool = False) -> str:
    """language: `en` or `zh`; target: the path to go to afterwards; wrong: whether a wrong token was given."""
    title = escape(said_in(language, "This studio asks for its token"))
    note = escape(said_in(language, "Whoever started it has the token: it was printed, or chosen, in the terminal."))
    told = escape(said_in(language, "That is not the token."))
    button = escape(said_in(language, "Open the studio"))
    return (
        f'<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>lorafit</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main><h1>lorafit</h1>"
        + (f'<p class="wrong" role="alert">{told}</p>' if wrong else "")
        + f'<form method="post" action="/login"><label for="token">{title}</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>'
        f'<input name="to" type="hidden" value="{escape(target)}">'
        f"<button>{button}</button></form><p>{note}</p></main></body></html>"
    )
