"""Serve a fitted classifier over HTTP: how is it loaded once and asked by many threads and processes?

The model is fitted when this module is imported, by a real server loaded from a file. Servers that fork import it once
and share it between workers; kernels, threads and locks are fit for that:

    gunicorn --preload --workers 4 --threads 8 --chdir examples serve:app

Rows are posted as JSON, [[0, 0, 5, ...], ...], and probabilities come back. Without a server, this program asks itself.
"""

import json
import threading
import urllib.request
from wsgiref.simple_server import WSGIRequestHandler, make_server

import numpy as np
from sklearn.datasets import load_digits

from softmax_clf import SoftmaxRegressionClassifier

X, y = load_digits(return_X_y=True)
CLF = SoftmaxRegressionClassifier(C=0.01, n_jobs=1).fit(X, y)  # one thread a request: the server has its own
CLF.predict_proba(X[:1])  # so that the workers need not compile it


def app(environ, start_response):
    """The WSGI application."""
    try:
        rows = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        answer, status = CLF.predict_proba(np.asarray(rows, dtype=np.float64)).tolist(), "200 OK"
    except ValueError as error:  # what the classifier says of rows that it cannot take is for the client
        answer, status = {"error": str(error)}, "400 Bad Request"
    body = json.dumps(answer).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def ask(port, rows):
    """Probabilities of rows, from a server on this machine."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", json.dumps(rows).encode(), method="POST")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
        return json.load(response)


class Quiet(WSGIRequestHandler):
    """No line a request."""

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            proba = np.array(ask(server.server_port, X[:5].tolist()))
        finally:
            server.shutdown()
            thread.join()
    for digit, row in zip(y, proba, strict=False):
        print(f"a {digit}: taken for a {row.argmax()} with probability {row.max():.3f}")
    assert np.array_equal(proba, CLF.predict_proba(X[:5])), "JSON keeps every digit of a float"
