"""Open every page of the built site in a browser, and say what is wrong with it.

    python docs/look.py build/site                   # problems are printed; 1 is returned where there are some
    python docs/look.py build/site --out pictures    # and what pages look like, at both widths

Looked for: links that lead nowhere, within the site, anchors included; errors in the console; requests that fail or
leave the site; pictures that do not load; pages that are wider than a phone; signatures that name types of which no
reader has heard, such as those that ``ArrayLike`` is made of. Needs playwright and a Chromium, its own
(`playwright install chromium`) or the system's.
"""

import argparse
import functools
import http.server
import os
import re
import shutil
import sys
import threading
from pathlib import Path
from urllib.parse import urldefrag, urlparse

WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}  # pixels
SHOWN = (  # pages that --out has pictures of
    *("index", "guide", "from_sklearn", "benchmarks", "limits", "api", "gallery/index", "gallery/gallery"),
    *("generated/softmax_clf.SoftmaxRegressionClassifier", "_gathered/benchmarks/results/hard-quick", "method"),
)
# Read in the page: links, anchors, pictures without pixels, and what sticks out to the right of the window.
LOOK = """() => ({
    links: [...document.querySelectorAll('a[href]')].map(a => a.href),
    anchors: [...document.querySelectorAll('[id]')].map(e => e.id),
    pictures: [...document.images].map(i => [i.src, i.naturalWidth]),
    excess: document.documentElement.scrollWidth - window.innerWidth,
    signatures: [...document.querySelectorAll('dt.sig')].map(e => e.textContent),
    smallest: Math.min(...[...document.querySelectorAll('article p, article li')]
        .filter(e => e.offsetParent).map(e => parseFloat(getComputedStyle(e).fontSize)), 99),
})"""


def main(site, out=None):
    """Problems of all pages, one a line."""
    with serving(site) as address, browser() as chromium:
        pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
        problems, seen = [], {}
        for kind, (width, height) in WIDTHS.items():
            window = chromium.new_page(viewport={"width": width, "height": height})
            faults = watch(window, address)
            for page in pages:
                window.goto(f"{address}/{page}", wait_until="load")
                window.evaluate("[...document.images].forEach(i => i.loading = 'eager')")
                window.wait_for_load_state("networkidle")
                seen[page] = window.evaluate(LOOK)
                problems += [f"{page} ({kind}): {problem}" for problem in [*faults, *wrong(seen[page])]]
                faults.clear()
                if out is not None and page.removesuffix(".html") in SHOWN:
                    out.mkdir(parents=True, exist_ok=True)
                    window.screenshot(path=out / f"{page.replace('/', '-')}.{kind}.png")
            window.close()
    return [*problems, *broken_links(site, address, seen)], len(pages)


def watch(window, address):
    """A list to which is added what the console and the network of a window complain of."""
    faults = []
    window.on("console", lambda message: faults.append(f"console: {message.text}") if message.type == "error" else None)
    window.on("pageerror", lambda error: faults.append(f"error: {error}"))
    window.on("requestfailed", lambda request: faults.append(f"request failed: {request.url}"))
    window.on(
        "response", lambda answer: faults.append(f"{answer.status}: {answer.url}") if answer.status > 399 else None
    )

    def check(request):
        if not request.url.startswith((address, "data:")):
            faults.append(f"leaves the site: {request.url}")

    window.on("request", check)
    return faults


def wrong(page):
    """What is wrong with a page by itself."""
    problems = [f"picture without pixels: {source}" for source, width in page["pictures"] if not width]
    if page["excess"] > 1:
        problems.append(f"{page['excess']} pixels wider than the window")
    private = {name for words in page["signatures"] for name in re.findall(r"\b_[A-Z]\w*", words)}
    problems += [f"a private name in a signature: {name}" for name in sorted(private)]
    if page["smallest"] < 12:
        problems.append(f"letters of {page['smallest']} pixels")
    return problems


def broken_links(site, address, seen):
    """Links within the site to pages, files and anchors that are not there."""
    problems = []
    for page, found in seen.items():
        for link in sorted(set(found["links"])):
            if not link.startswith(address):
                continue
            target, anchor = urldefrag(link)
            path = urlparse(target).path.lstrip("/")
            path = f"{path}index.html" if not path or path.endswith("/") else path
            if not (site / path).is_file():
                problems.append(f"{page}: a link to {path}, which is not there")
            elif anchor and path in seen and anchor not in seen[path]["anchors"]:
                problems.append(f"{page}: a link to {path}#{anchor}, a heading that is not there")
    return problems


class serving:
    """The site on a port of this machine; pages that are files may not fetch others."""

    def __init__(self, site):
        handler = functools.partial(Quiet, directory=str(site))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/favicon.ico":  # which browsers ask for by themselves
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


class browser:
    """Chromium without a window."""

    def __enter__(self):
        from playwright.sync_api import sync_playwright

        self.playwright = sync_playwright().start()
        own = Path(self.playwright.chromium.executable_path).exists()
        path = None if own else shutil.which("chromium") or shutil.which("google-chrome")
        if not own and path is None:
            self.playwright.stop()
            raise SystemExit("Expected a Chromium, found none. Remedy: playwright install chromium.")
        root = hasattr(os, "geteuid") and os.geteuid() == 0  # for whom there is no sandbox
        self.chromium = self.playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if root else [])
        return self.chromium

    def __exit__(self, *_):
        self.chromium.close()
        self.playwright.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path, help="the folder that sphinx-build has written")
    parser.add_argument("--out", type=Path, help="a folder for pictures of some pages")
    args = parser.parse_args()
    found, n_pages = main(args.site.resolve(), args.out)
    print("\n".join(found))
    print(f"{n_pages} pages, {len(found)} problems")
    sys.exit(bool(found) or not n_pages)
