"""What a push of changes leaves at the server when it fails: an image to be gone on with, or none."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from httpapi.client.errors import ClientError, LoginNeeded, SourceRefused, may_pass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from httpapi.client.api import ImagesApi
    from httpapi.client.push_state import PushState
    from httpapi.client.report import Report


class Overtaken(SourceRefused):
    """An image that was to be gone on with is complete, and not known to be what the file is now."""


@asynccontextmanager
async def kept_or_taken_back(api: ImagesApi, state: PushState, image_id: str, report: Report) -> AsyncIterator[None]:
    """After what may pass, the image stays to be gone on with; after what would repeat itself, it goes."""
    try:
        yield
    except Overtaken:
        state.forget()
        raise
    except (ClientError, OSError) as failure:
        if isinstance(failure, LoginNeeded | OSError) or may_pass(failure):
            report.note(f"image {image_id} is begun: the same command goes on where this one stopped")
            raise
        state.forget()
        try:
            await api.delete_image(image_id)
        except ClientError as second:
            report.note(f"image {image_id} could not be deleted again ({second}): `drystone rm` does it later")
        raise
    except BaseException:
        report.note(f"image {image_id} is begun: the same command goes on where this one stopped")
        raise
