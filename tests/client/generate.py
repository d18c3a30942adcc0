"""Generates `amid/client/async_methods.py` from `methods.py`: `python -m tests.client.generate`."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "amid/client"


def async_methods() -> str:
    source = (FOLDER / "methods.py").read_text()
    head, body = source.split("class Methods(ABC):")
    head = head[head.index("from __future__") :]
    lead = '"""`methods` for asyncio. Made by `python -m tests.client.generate`: do not edit."""\n\n'
    body = re.sub(r"^    def ", "    async def ", body, flags=re.M).replace("= self.call(", "= await self.call(")
    return f"{lead}{head}class AsyncMethods(ABC):{body}"


if __name__ == "__main__":
    (FOLDER / "async_methods.py").write_text(async_methods())
