"""`python -m stratakit.load.generator WORDS`: Locust, with what it is to note and to do for us."""

import os
import signal
import sys

# Before all else: it has gevent in the place of threads.
import locust
from gevent import monkey
from locust.main import main as run_locust

from . import arrivals, distributed
from .recorder import Recorder
from .samples import Order


def main() -> None:
    """Run Locust with our words, by the order that is in the environment."""
    # A thread as it was before: one of gevent's would keep all users waiting.
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
    """End with whoever has started us, and with us the processes that Locust has made."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL) if hasattr(os, "killpg") else os._exit(1)


if __name__ == "__main__":
    main()
