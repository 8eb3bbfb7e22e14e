"""The client's environment: where the service is, and whose images are the caller's own.

The only place on the client's side that reads environment variables.
"""

from __future__ import annotations

import os
from typing import Final

USUAL_ENDPOINT: Final = "http://127.0.0.1:9292"
# The first one that is set counts; the OS_ names are those of OpenStack's clients.
ENDPOINT_VARIABLES: Final = ("DRYSTONE_ENDPOINT", "OS_IMAGE_ENDPOINT_OVERRIDE", "OS_ENDPOINT")
PROJECT_VARIABLES: Final = ("DRYSTONE_PROJECT", "OS_PROJECT_ID")


def endpoint_from_environment() -> str:
    """The service's address, with or without /v2."""
    return _first(ENDPOINT_VARIABLES) or USUAL_ENDPOINT


def project_from_environment() -> str | None:
    """The caller's own project's id, if the environment tells it."""
    return _first(PROJECT_VARIABLES)


def _first(names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)
