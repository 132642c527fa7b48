"""The service behind real sockets, in a thread of the tests."""

import contextlib
import threading
import time

from soundctm.service import Settings, create_app
from soundctm.service.web.server import Server, bound


@contextlib.contextmanager
def serving(pipe, settings=None, token=None):
    """(address, application) of a server in a thread of its own."""
    settings = settings or Settings(port=0)
    app = create_app(settings, pipe, token, "tiny")
    with bound(settings) as listener:
        server = Server(app, settings)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", app
        finally:
            server.stop()
            thread.join(60)
        assert not thread.is_alive()
