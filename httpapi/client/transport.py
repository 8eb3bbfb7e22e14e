"""What lies below the API's calls: the sockets, and what they and aiohttp raise turned into this package's errors."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from contextlib import contextmanager, suppress
from socket import gaierror
from typing import TYPE_CHECKING, Final

import aiohttp

from httpapi.client.errors import EndpointRefused, Interrupted, NotAnImageService, Unreachable, Untrusted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohappyeyeballs import AddrInfoType

_TURNS: Final = 10
_OTHER_AUTHORITY: Final = (
    "if its certificate comes from an authority of your own, name that one's file with --cacert FILE or DRYSTONE_CACERT"
)
# OpenSSL's numbers of what a certificate lacks.
_CERTIFICATE_ADVICE: Final = {
    9: "look at this machine's clock",
    10: "whoever runs the service must renew its certificate",
    62: "call the service by a name that its certificate holds",
    64: "call the service by a name that its certificate holds",
}


class Sockets:
    """A session's sockets, so that its end is the end of every connection.

    asyncio closes a transport only when all it has buffered is sent: with a server that reads no more, never.
    """

    def __init__(self) -> None:
        self._made: list[socket.socket] = []

    def make(self, address: AddrInfoType) -> socket.socket:
        """What aiohttp calls for each new connection."""
        family, kind, protocol, _, _ = address
        self._made = [made for made in self._made if made.fileno() >= 0]
        self._made.append(socket.socket(family, kind, protocol))
        return self._made[-1]

    async def cut(self) -> None:
        """Ends what is still open and lets the loop notice."""
        for made in self._made:
            with suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
        # A transport needs a turn to see the error, one to close, one to let go of its socket; not ours to insist.
        for _ in range(_TURNS):
            await asyncio.sleep(0)


@contextmanager
def transport_errors(endpoint: str, stall_seconds: float) -> Iterator[None]:
    """Around network calls only: a caller's own OSError in here would be taken for the network's."""
    try:
        yield
    except aiohttp.ClientSSLError as failure:
        raise _untrusted(endpoint, failure) from failure
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as failure:
        raise Unreachable(endpoint, _reason(failure)) from failure
    except aiohttp.InvalidURL as failure:
        raise EndpointRefused(endpoint) from failure
    except aiohttp.ClientPayloadError as failure:
        raise Interrupted("the connection broke before the transfer was complete") from failure
    except aiohttp.ClientResponseError as failure:
        raise NotAnImageService(f"{endpoint} answers, but not in HTTP: check --endpoint") from failure
    except TimeoutError as failure:
        raise Interrupted(f"no byte has moved for {stall_seconds:g} s: the server or the network stalls") from failure
    except (aiohttp.ClientError, ConnectionError) as failure:
        raise Interrupted(f"the connection broke ({_reason(failure)})") from failure


def _untrusted(endpoint: str, failure: aiohttp.ClientSSLError) -> Unreachable:
    """A certificate that does not do, with the way to one that does; or no TLS at all at the other end."""
    if not isinstance(failure, aiohttp.ClientConnectorCertificateError):
        return Unreachable(endpoint, "it does not speak TLS as it should; without TLS its address begins with http://")
    error = failure.certificate_error
    told = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else str(error)
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    return Untrusted(endpoint, f"{told}; {_CERTIFICATE_ADVICE.get(code, _OTHER_AUTHORITY)}")


def _reason(failure: BaseException) -> str:
    if isinstance(failure, aiohttp.ClientConnectorError):
        # asyncio's own text repeats the address; the number's is plain. Name resolution has texts of its own.
        number = failure.os_error.errno
        known = isinstance(number, int) and number in errno.errorcode and not isinstance(failure.os_error, gaierror)
        return os.strerror(number) if known and number is not None else str(failure.os_error.strerror or failure)
    return str(failure) or type(failure).__name__
