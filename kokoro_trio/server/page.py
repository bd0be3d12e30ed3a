"""The page at `/`: its files and their HTTP headers.

`/` is `index.html`, which loads the other files from `/page/`. They need no key; the page asks for the key.
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
    # The page loads only this server's files and creates neither markup nor code from text. 'self' covers the
    # WebSocket too.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The browser revalidates each file, so that an updated server takes effect at the next visit.
    "Cache-Control": "no-cache",
}


@frozen
class PageFile:
    content: bytes = field(repr=False)
    content_type: str


def page_files() -> dict[str, PageFile]:
    """The files of the page by name."""
    folder = files("kokoro_trio.server").joinpath("page")
    return {
        each.name: PageFile(each.read_bytes(), content_type)
        for each in folder.iterdir()
        # Editors and file managers leave other files there.
        if (content_type := _CONTENT_TYPES.get(each.name.rpartition(".")[2])) and each.is_file()
    }
