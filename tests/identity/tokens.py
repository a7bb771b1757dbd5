"""Why a token is not let in, and for how long it is."""

from __future__ import annotations

import pytest

from wireloom.identity.identity import Identity
from wireloom.identity.refusal import (
    TokenInvalid,
)

WEEK_SECONDS = 7 * 24 * 3600


async def refused(identity: Identity, token: str) -> str:
    """Why a token is not let in."""
    with pytest.raises(TokenInvalid) as caught:
        await identity.authenticate(token)
    return caught.value.reason
