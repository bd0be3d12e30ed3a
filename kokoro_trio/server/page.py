"""The page at `/`: its files, and how a browser is to treat them.

`/` is `index.html`, and what it needs is below `/page/`. Without the key: the page asks for it.
"""

from importlib.resources import files

from attrs import field, frozen

INDEX = "index.html"
_CONTENT_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
HEADERS = {
    # Everything is of this server, and nothing is made into markup or code on the way. Of the WebSocket
    # too: to 'self' it belongs.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Asked for anew each time, and not sent again while it is the same: a server that was brought up to
    # date is seen at the next look.
    "Cache-Control": "no-cache",
}


@frozen
class PageFile:
    content: bytes = field(repr=False)
    content_type: str


def page_files() -> dict[str, PageFile]:
    """What the page is made of, by name."""
    folder = files("kokoro_trio.server").joinpath("page")
    return {
        each.name: PageFile(each.read_bytes(), content_type)
        for each in folder.iterdir()
        # Editors and file managers leave files of their own there.
        if (content_type := _CONTENT_TYPES.get(each.name.rpartition(".")[2])) and each.is_file()
    }
