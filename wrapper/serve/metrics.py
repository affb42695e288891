"""Figures of a running server, in the form of Prometheus."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from errata.gates.base import Decision
    from errata.router import EditRouter

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Counts of one server.

    :param router: whose patches are counted.
    """

    def __init__(self, router: EditRouter) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "errata_requests", "Requests.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "errata_request_seconds", "Until the response began.", ["path"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.decisions = Counter(
            "errata_decisions", "Decisions by route.", ["route", "shadow"], registry=self.registry
        )
        self.deciding = Histogram(
            "errata_decision_seconds", "Until it was decided, of the batch.",
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.batches = Histogram(
            "errata_batch_size", "Conversations decided at once.",
            buckets=_SIZES, registry=self.registry,
        )  # fmt: skip
        self.upstream_errors = Counter(
            "errata_upstream_errors", "Requests that the upstream failed.", registry=self.registry
        )
        patches = Gauge("errata_edits", "Edits in force.", registry=self.registry)
        patches.set_function(lambda: len(router.edits))
        errors = Gauge(
            "errata_patch_errors", "Problems that keep newer patch files out of force.",
            registry=self.registry,
        )  # fmt: skip
        errors.set_function(lambda: len(router.patch_errors))
        lost = Gauge(
            "errata_audit_dropped", "Decisions that are not in the audit log.",
            registry=self.registry,
        )  # fmt: skip
        lost.set_function(lambda: 0 if router.audit is None else router.audit.dropped)

    def decided(self, decision: Decision, seconds: float, *, shadow: bool) -> None:
        """Count a decision."""
        self.decisions.labels(decision.route, str(shadow).lower()).inc()
        self.deciding.observe(seconds)


class MetricsMiddleware:
    """ASGI middleware that counts requests by the path of their route.

    :param app: the application.
    :param metrics: counts.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = getattr(scope.get("route"), "path", "other")
                self.metrics.requests.labels(path, message["status"]).inc()
                self.metrics.seconds.labels(path).observe(time.perf_counter() - start)
            await send(message)

        await self.app(scope, receive, counted)
