"""What only the client for Node can get wrong: JavaScript spreads a string into letters, and an
object has no length."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from tests.daemon import Daemon
from tests.languages.harness import ROOT

PROGRAM = """
import { Client } from "./clients/node/amid.js";
const client = new Client({ runDir: process.argv[1] });
for (const names of ["Hangup", { names: ["Hangup"] }])
  await client.events(names, { timeout: 1 }).next().catch((error) => console.log(error.kind));
client.close();
"""


def test_names_that_are_no_array_are_refused(daemon: Daemon, needs: Callable[[str], None]) -> None:
    needs("Node.js")
    argv = ["node", "--input-type=module", "-e", PROGRAM, str(daemon.run_dir)]
    said = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
    assert said.split() == ["invalid_params"] * 2
