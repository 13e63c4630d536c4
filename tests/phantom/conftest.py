from __future__ import annotations

import pytest

from koilo.phantom import Bank, Centre, draw_bank, draw_centre


@pytest.fixture(scope="session")
def bank() -> Bank:
    return draw_bank((11,), 90, workers=1)


@pytest.fixture(scope="session")
def centre() -> Centre:
    return draw_centre(11, 0)
