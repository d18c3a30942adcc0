"""Languages that tests require."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.languages.harness import missing_prerequisite
from tests.need import need


@pytest.fixture
def needs() -> Callable[[str], None]:
    """`needs(language)` skips a test when that language is not provisioned, or fails it where languages are required."""

    return lambda language: need(missing_prerequisite(language), "LANGUAGES")
