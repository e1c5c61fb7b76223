"""Who can be told of alerts: a web address, and a subject of the broker.

Both get a CloudEvent whose id is the same for the same news, with the alert as its data.
"""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from datetime import UTC, datetime
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Final

from es_saga.adapters.cloudevents import STRUCTURED, encode
from es_saga.core.errors import InvalidInput, Unavailable
from es_saga.core.messages import Envelope, Subjects
from es_saga.engine.alerts import Alert
from es_saga.engine.ports import Transport

WEBHOOK_SECONDS: Final = 5.0
"""How long the other side may take to answer."""


def as_event(alert: Alert, app: str) -> Envelope:
    """An alert as it is sent."""
    return Envelope(
        id=alert.id,
        source=app,
        type="es_saga.alert.opened" if alert.opened else "es_saga.alert.closed",
        datacontenttype="application/json",
        time=datetime.fromtimestamp(alert.at, UTC).isoformat(),
        sagaid=alert.saga_id,
        sagatype=alert.saga_type,
        step=alert.step,
        data={
            "kind": alert.kind.value,
            "why": alert.why,
            "at": alert.at,
            "since": alert.since,
        },
    )


class Webhook:
    """Posts alerts to a web address. Any answer of 200 to 299 means that it was told.

    Raises:
        InvalidInput: the address is no http or https one.
    """

    name = "webhook"

    def __init__(self, url: str, app: str) -> None:
        if not url.lower().startswith(("http://", "https://")):
            raise InvalidInput("The webhook for alerts is no http:// or https:// address.")
        self._url = url
        self._app = app
        self._opener = urllib.request.build_opener(_NoRedirect)

    async def tell(self, alert: Alert) -> None:
        """See `Hook.tell`.

        Raises:
            Unavailable: nobody answered, or the answer was no.
        """
        await asyncio.to_thread(self._post, encode(as_event(alert, self._app)))

    def _post(self, body: bytes) -> None:
        request = urllib.request.Request(
            self._url, data=body, headers={"Content-Type": STRUCTURED}, method="POST"
        )
        try:
            with self._opener.open(request, timeout=WEBHOOK_SECONDS):
                return
        except urllib.error.HTTPError as error:
            error.close()
            raise Unavailable(f"The webhook answered {error.code}.") from error
        except (OSError, HTTPException) as error:
            # Not the error itself: it may tell the address, which may hold a secret.
            raise Unavailable(f"The webhook is out of reach: {type(error).__name__}.") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere would arrive there as a GET, without its body."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Any:
        return None


class BrokerHook:
    """Publishes alerts as `saga.v1.<tenant>.alr.<app>.<kind>`, kept in a stream."""

    name = "nats"

    def __init__(self, transport: Transport, app: str, *, tenant: str) -> None:
        self._transport = transport
        self._app = app
        self._subjects = Subjects(tenant)

    async def tell(self, alert: Alert) -> None:
        """See `Hook.tell`; waits until the broker has it."""
        subject = self._subjects.alert(self._app, alert.kind.value)
        await self._transport.publish(subject, as_event(alert, self._app))
