"""`python -m stratakit.load.generator WORDS`: Locust with our recorder and open arrivals."""

import os
import signal
import sys

# Imported first, since it monkey-patches threads with gevent.
import locust
from gevent import monkey
from locust.main import main as run_locust

from . import arrivals, distributed
from .recorder import Recorder
from .samples import Order


def main() -> None:
    """Run Locust with our arguments and the order in the environment."""
    # A real thread: a gevent one would block all users.
    monkey.get_original("_thread", "start_new_thread")(_end_with_parent, ())
    remote = "--worker" in sys.argv
    recorder = Recorder(distributed.UNTOLD if remote else Order.given())
    recorder.listen()
    if remote:
        distributed.follow(recorder)
    else:
        locust.events.quitting.add_listener(recorder.save)
    if "--master" in sys.argv:
        distributed.lead(recorder)
    if recorder.order.rate:
        locust.events.init.add_listener(arrivals.replace_users(recorder))
    run_locust()


def _end_with_parent() -> None:
    """Exit when our parent does, together with Locust's child processes."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL) if hasattr(os, "killpg") else os._exit(1)


if __name__ == "__main__":
    main()
