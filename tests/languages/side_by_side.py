"""One step of a trial with the harnesses of all languages at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.languages.harness import Harness

Harnesses = dict[str, Harness]
"""By language."""


def each(harnesses: Harnesses, check: Callable[[Harness], None]) -> dict[str, str]:
    """Run the same step for every language in parallel."""

    def reason(harness: Harness) -> str:
        try:
            check(harness)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    with ThreadPoolExecutor(max(1, len(harnesses))) as pool:
        reasons = dict(zip(harnesses, pool.map(reason, harnesses.values()), strict=True))
    return {language: why for language, why in reasons.items() if why}


def all_do(harnesses: Harnesses, step: Callable[[Harness], None]) -> tuple[dict[str, str], Harnesses]:
    """Run one step of a trial. Returns the errors, and the harnesses that continue with the next step."""
    failed = each(harnesses, step)
    return failed, {language: harness for language, harness in harnesses.items() if language not in failed}
