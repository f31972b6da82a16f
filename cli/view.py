"""``vlae-codec view``."""

from __future__ import annotations

import secrets
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import click

from vlae_codec import files
from vlae_codec.errors import OutputError

from .common import blame, say
from .options import limited


@click.command()
@limited
@click.option("--export", metavar="PAGE", type=click.Path(), help="Write the page, with the pictures inside, and end.")
@click.option("--force", is_flag=True, help="Replace a page that exists.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.argument("sources", metavar="[FILE]...", nargs=-1, type=click.Path())
def view(sources: tuple[str, ...], export: str | None, force: bool, no_browser: bool, **options: Any) -> None:
    """Show the .vlae files and archives FILE... in the browser; without files a page opens that takes some.

    The page decodes them itself and asks nothing of any server. It is given out once, on a port of this machine only.
    """
    if export is not None:
        for source in sources:
            files.check_output(export, force, source)
    page = make_page(sources, options["limits"]).encode()
    if export is not None:
        files.write_file(export, page, force=force)
        say(f"{export}: {len(page):,} bytes")
        return
    serve(page, not no_browser)


def make_page(sources: tuple[str, ...], limits: Any) -> str:
    """The page with the files and with the models that they need, or without files with the usual models."""
    from vlae_codec.format import container
    from vlae_codec.web import page
    from vlae_codec.weights.model import find_weights, weights_folder

    pictures, wanted = [], dict[Path, None]()
    for source in sources:
        data = files.read_file(source, limits)
        with blame(source):
            parts = [part for group in groups_of(source, data) for part in container.read(group, limits).parts]
            ids = dict.fromkeys(part.planes.model_id for part in parts if part.model_needed)
            wanted |= {find_weights(model_id.hex()): None for model_id in ids if model_id is not None}
        pictures.append((Path(source).name, data))
    models = wanted if sources else [weights_folder() / f"{name}.safetensors" for name in page.MODELS]
    return page.make_page(pictures, models)


def groups_of(source: str, data: bytes) -> list[bytes]:
    """The .vlae files in an archive; of a .vlae file that one."""
    from vlae_codec.archive.index import MAGIC
    from vlae_codec.archive.reader import Archive

    if not data.startswith(MAGIC):
        return [data]
    with Archive(source) as archive:
        places = dict.fromkeys((entry.offset, entry.length) for entry in archive.entries())
    return [data[offset : offset + length] for offset, length in places]


class Server(HTTPServer):
    """Gives out one page, once, at an address that cannot be guessed."""

    def __init__(self, page: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.page, self.path, self.done = page, f"/{secrets.token_urlsafe(16)}", False
        self.address = f"http://127.0.0.1:{self.server_port}{self.path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path != self.server.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(self.server.page)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(self.server.page)
        self.server.done = True

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


def serve(page: bytes, with_browser: bool) -> None:
    """Opens the page in the browser, and returns when it has been given out. Raises OutputError."""
    try:
        server = Server(page)
    except OSError as error:
        raise OutputError(f"no port can be opened on this machine: {error.strerror}") from error
    with server:
        say(f"open {server.address}" + ("" if with_browser else " in a browser of this machine"))
        if with_browser:
            webbrowser.open(server.address)
        while not server.done:
            server.handle_request()
