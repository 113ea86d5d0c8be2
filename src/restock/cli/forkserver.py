"""`restock forkserver`: what the workers of one machine are forked from.

Importing this module imports whatever every worker needs. A service's own code is left to its
worker: it is small, and its metrics are nobody else's.
"""

import os
import socket
import sys
from importlib import import_module

import click
from prometheus_client import values
from setproctitle import setproctitle

from restock.cli import restock, run  # noqa: F401
from restock.engines.processes import end_with_parent
from restock.kernel.forks import Job, serve
from restock.kernel.settings import environment

# what uvicorn imports when it starts
for _name in ("http.httptools_impl", "websockets.websockets_sansio_impl"):
    import_module(f"uvicorn.protocols.{_name}")


@click.command(hidden=True)
def forkserver() -> None:
    """Fork workers for `restock up` and `restock run`, which start this."""
    environ = environment()
    end_with_parent(int(environ["RESTOCK_SUPERVISOR"]))
    job = serve(socket.socket(fileno=int(environ["RESTOCK_LISTEN_FD"])))
    if job is not None:
        _become(job)
        restock.main(args=job.words, prog_name="restock")


def _become(job: Job) -> None:
    """Be as if started as a program: with its own environment, under its own name.

    Only that it ends with the fork server, which alone can tell how it ended.
    """
    end_with_parent(job.server)
    # while the environment is where it was: it finds the place of the name by that
    setproctitle(" ".join((sys.executable, "-P", "-m", "restock", *job.words)))
    os.environ.clear()
    os.environ.update(job.env)
    if job.listening >= 0:
        os.environ["RESTOCK_LISTEN_FD"] = str(job.listening)
    # whether workers count together is said only now
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
