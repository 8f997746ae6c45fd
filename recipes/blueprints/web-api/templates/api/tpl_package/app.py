"""Puts the parts together, starts and stops them."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import signal
import sys
import threading

from . import __version__, config, logs, schema, storage
from .api import Api
from .web.server import Server

EXIT_CONFIG = 78
EXIT_STORAGE = 74
EXIT_STOP_TIMEOUT = 75
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(settings, log):
    """Serves until SIGTERM or SIGINT; returns when every request that was started is answered."""
    store = storage.Store(settings.database)
    try:
        server = Server((settings.host, settings.port), Api(store).router(), log)
    except BaseException:
        store.close()
        raise
    # Signals are waited for, not handled: a handler would run between any two steps of what it
    # interrupts, a log line half written for one. Who asks again is not heard, to the very end.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    fields = {"host": settings.host, "port": server.server_port, "version": __version__, "pid": os.getpid()}
    log.info("listening", extra={"fields": {**fields, "schema_changes": store.changes_made}})
    guard = threading.Timer(settings.shutdown_seconds, give_up, [log])
    guard.daemon = True
    try:
        with concurrent.futures.ThreadPoolExecutor(1, "serve") as serving:
            served = serving.submit(server.serve_forever, poll_interval=0.1)
            # A server that ends by itself ends the service, with its reason.
            here = threading.get_ident()
            served.add_done_callback(lambda _: signal.pthread_kill(here, signal.SIGTERM))
            try:
                number = signal.sigwait(STOP_SIGNALS)
                guard.start()
                log.info("stopping", extra={"fields": {"signal": signal.Signals(number).name}})
            finally:
                server.shutdown()
            served.result()
    finally:
        server.server_close()
        store.close()
        guard.cancel()
    log.info("stopped")


def give_up(log):
    """Ends the process although requests are still being answered."""
    log.error("requests did not end in time")
    os._exit(EXIT_STOP_TIMEOUT)


def main(environ=None):
    """The program; returns its exit status."""
    log = logs.configure(logging.getLogger("tpl_package"), "INFO", sys.stderr)
    try:
        settings = config.from_environ(os.environ if environ is None else environ)
    except config.ConfigError as error:
        log.error("configuration cannot be used", extra={"fields": {"problems": error.problems}})
        return EXIT_CONFIG
    log.setLevel(settings.log_level)
    try:
        serve(settings, log)
    except (schema.SchemaTooNew, OSError, storage.sqlite3.Error) as error:
        log.error("service cannot start", extra={"fields": {"reason": str(error)}})
        return EXIT_STORAGE
    return 0
