"""The five steps: credentials, launch, health, request, termination; the last one always runs."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from ..errors import ConfigurationError, StrataError
from ..progress import progress
from ..servers.waiting import until
from ..stack.health import readiness_error
from . import leases, providers, reaper, smoke
from .leases import Lease
from .options import Options
from .providers import Answering, NotYetError, Provider, Quote

STEPS = ("credentials", "launch", "health", "request", "termination")
HEALTH = 600.0
"""Seconds within which a service has to be healthy on a launched machine."""
INTERVAL = 0.05
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class SignalledError(BaseException):
    """A signal stopped the run. A BaseException, so that no step catches it by mistake."""


@dataclass
class Signals:
    """Signal handling of a run: signals interrupt a step, but never the termination."""

    seen: list[str] = field(default_factory=list)
    armed: bool = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle signals during the block, and restore the former handlers."""
        before = {each: signal.signal(each, self._take) for each in SIGNALS}
        try:
            yield
        finally:
            for each, former in before.items():
                signal.signal(each, former)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Raise SignalledError on the first signal during the block; others are only recorded."""
        try:
            self.armed = True
            yield
        finally:
            self.armed = False

    def _take(self, number: int, _: FrameType | None) -> None:
        self.seen.append(signal.Signals(number).name)
        if self.armed:
            self.armed = False
            raise SignalledError(self.seen[-1])
        sys.stderr.write("the machine is being given back: wait for it\n")


@dataclass
class Run:
    """Results of the steps so far."""

    signals: Signals = field(default_factory=Signals)
    rows: list[dict[str, Any]] = field(default_factory=list)
    error: StrataError | None = None
    """Worst error so far."""
    machine: dict[str, Any] = field(default_factory=dict)
    """Report about the machine: the lease, the quote, its cost and its final state."""

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, float]]:
        """Record the outcome of a step; yield its metrics, to be filled in."""
        start, metrics = time.monotonic(), dict[str, float]()
        failed: BaseException | None = None
        try:
            with progress(name):
                yield metrics
        except BaseException as error:
            failed = error
            raise
        finally:
            self._record(name, time.monotonic() - start, failed, metrics)

    def fail(self, error: StrataError) -> None:
        """Record an error, if it is the worst so far."""
        if self.error is None or error.code > self.error.code:
            self.error = error

    def skip_rest(self, why: str) -> None:
        """Record the remaining steps as skipped."""
        taken = {row["name"] for row in self.rows}
        self.rows += [
            {"name": name, "status": "skipped", "duration": 0.0, "error": why, "metrics": {}}
            for name in STEPS
            if name not in taken
        ]
        self.rows.sort(key=lambda row: STEPS.index(row["name"]))

    def _record(
        self, name: str, seconds: float, failed: BaseException | None, metrics: dict[str, float]
    ) -> None:
        status = "failed" if failed else "passed"
        message = failed.message if isinstance(failed, StrataError) else str(failed or "")
        self.rows.append(
            {
                "name": name,
                "status": status,
                "duration": round(seconds, 3),
                "error": message or None,
                "metrics": metrics,
            }
        )
        figures = "".join(f"  {name}={value:g}" for name, value in metrics.items())
        sys.stdout.write(f"{name:<12} {status:<7} {seconds:6.1f} s{figures}\n")
        sys.stdout.flush()


def take(run: Run, options: Options, *, keep: bool = False) -> None:
    """Run the steps and record their results; the machine is terminated, unless it is kept.

    Raises:
        ConfigurationError: the options are invalid, so no step was run.
    """
    request = smoke.load(options.chosen())
    run.machine |= {"service": options.chosen().name}
    try:
        if options.host:
            run.machine |= {"host": options.host}
            with run.signals.interrupting():
                _ask(run, request, lambda: _elsewhere(options), HEALTH)
        else:
            _rent(run, options, request, keep=keep)
    except StrataError as error:
        run.fail(error)
    except SignalledError:
        pass
    run.skip_rest("the machine is not ours" if options.host else "not taken")


def _rent(run: Run, options: Options, request: smoke.Smoke, *, keep: bool) -> None:
    provider = providers.provider(options.cloud)
    with run.signals.interrupting(), run.step("credentials") as metrics:
        provider.check()
        quote = provider.quote(options.instance, options.region)
        metrics |= {"usd_per_hour": quote.usd_per_hour, "max_usd": options.max_usd}
        run.machine |= {"cloud": provider.name, **asdict(quote), "max_usd": options.max_usd}
        _refuse_dear(options, quote)
    for line in reaper.reap(provider):
        sys.stdout.write(f"{line}\n")
    lease = Lease(
        id=leases.new_id(options.seconds),
        provider=provider.name,
        service=options.chosen().name,
        written=datetime.now(UTC).isoformat(),
        seconds=options.seconds,
        usd_per_hour=quote.usd_per_hour,
        max_usd=options.max_usd,
        instance=quote.instance,
        region=quote.region,
        keep=keep,
    )
    run.machine |= {"lease": lease.id, "left": "unknown"}
    # Not the wall clock, which may be set forward.
    start = time.monotonic()
    with leases.held(lease):
        kept = False
        try:
            with run.signals.interrupting():
                with run.step("launch"):
                    provider.launch(lease)
                left = start + lease.seconds - time.monotonic()
                _ask(run, request, lambda: provider.answering(lease), min(HEALTH, left))
                kept = lease.keep
        except StrataError as error:
            run.fail(error)
            sys.stdout.write(f"{_last(provider, lease)}\n")
        finally:
            if kept:
                run.machine |= {"left": "kept"}
                _tell_kept(lease)
            else:
                _give_back(run, provider, lease, quote, start)


def _ask(
    run: Run, request: smoke.Smoke, answering: Callable[[], Answering], seconds: float
) -> None:
    with run.step("health"):
        found: list[Answering] = []
        try:
            until(
                lambda: found.append(answering()),
                seconds,
                unless=StrataError,
                interval=INTERVAL,
            )
        except TimeoutError as error:
            raise StrataError(
                f"the service is not healthy after {seconds:.0f} s: {error.__cause__}",
                "the last lines of the machine are above; the same here: uv run nox -s cloud",
            ) from error
    with run.step("request"):
        smoke.ask(request, found[0].url, found[0].settings)


def _give_back(run: Run, provider: Provider, lease: Lease, quote: Quote, start: float) -> None:
    try:
        with run.step("termination") as metrics:
            reaper.end(provider, lease.id)
            metrics |= {"usd": round(quote.usd(time.monotonic() - start), 6)}
            run.machine |= {**metrics, "left": "given back"}
        lease.forget()
    except StrataError as error:
        run.fail(error)


def _tell_kept(lease: Lease) -> None:
    sys.stdout.write(
        f"the machine {lease.id} keeps running until {lease.expires:%H:%M} UTC\n"
        f"  what it prints: uv run invoke cloud.logs --lease {lease.id}\n"
        f"  a shell on it:  uv run invoke cloud.ssh --lease {lease.id}\n"
        f"  its end:        uv run invoke cloud.down --lease {lease.id}\n"
    )


def _last(provider: Provider, lease: Lease) -> str:
    """Return the last lines of the machine, or why they cannot be read."""
    try:
        return provider.logs(lease)
    except (OSError, StrataError) as error:
        return f"the machine's output cannot be read: {error}"


def _refuse_dear(options: Options, quote: Quote) -> None:
    """Refuse a machine that would exceed the maximum cost in its time to live.

    Raises:
        ConfigurationError: it would.
    """
    usd = quote.usd(options.seconds)
    if usd > options.max_usd:
        raise ConfigurationError(
            f"{options.ttl} of {quote.instance} in {quote.region} cost ${usd:.2f}"
            f" (${quote.usd_per_hour:.4f} an hour, {quote.source}), and --max-usd is"
            f" {options.max_usd:g}",
            "ask for less time or a smaller machine: --ttl 10m, --instance NAME",
        )


def _elsewhere(options: Options) -> Answering:
    """Return the service on an existing host, with its settings from our environment.

    Raises:
        NotYetError: it is not ready yet.
    """
    if problem := readiness_error(options.host):
        raise NotYetError(problem)
    prefix = options.chosen().prefix
    known = {name: value for name, value in os.environ.items() if name.startswith(prefix)}
    return Answering(options.host.rstrip("/"), known)
