"""Metrics for Prometheus."""

from collections.abc import Callable
from functools import cache, partial
from http import HTTPMethod

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from servicebase import transport

from .domain import Usage

# In seconds: a fast response takes milliseconds, that of a large model a minute.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Metrics of one application, in their own registry."""

    def __init__(self, slots: int, slots_taken: Callable[[], int]) -> None:
        registry = self.registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        requests = counter("gateway_requests", "Requests answered.", ["method", "route", "status"])
        seconds = Histogram(
            "gateway_request_seconds",
            "Seconds from the first byte of a request to the last of its response.",
            ["route"],
            registry=registry,
            buckets=BUCKETS,
        )
        self.failures = counter(
            "gateway_failures", "Requests that ended in an error of the gateway, by code.", ["code"]
        )
        tokens = counter(
            "gateway_tokens", "Tokens of prompts and completions.", ["provider", "kind"]
        )
        # Cached, since `labels` would process all labels again for every request.
        self._requests, self._seconds = cache(requests.labels), cache(seconds.labels)
        self._tokens = cache(tokens.labels)
        self.in_flight = gauge("gateway_requests_in_flight", "Requests not yet answered.")
        self.streams = gauge("gateway_streams_open", "Responses being streamed.")
        taken = gauge("gateway_slots_in_use", "Requests in flight to backends.")
        taken.set_function(slots_taken)
        gauge("gateway_slots", "Limit of gateway_slots_in_use.").set(slots)
        dropped = gauge(
            "gateway_dropped_connections",
            "Connections dropped since the process started.",
            ["reason"],
        )
        for reason in transport.REASONS:
            dropped.labels(reason).set_function(partial(transport.DROPPED.__getitem__, reason))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; `route` is the template of its path, not the path itself."""
        # Clients may invent methods, and each would be a time series of its own.
        known = method if method in HTTPMethod.__members__ else "other"
        self._requests(known, route, status).inc()
        self._seconds(route).observe(seconds)

    def used(self, provider: str, usage: Usage) -> None:
        """Count the tokens of a completion."""
        self._tokens(provider, "prompt").inc(usage.prompt_tokens)
        self._tokens(provider, "completion").inc(usage.completion_tokens)
