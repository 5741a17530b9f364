"""Chromium without a window, steered through pipes: open a page, wait for what it says, ask it, photograph it.

The protocol is that of Chrome's developer tools (``--remote-debugging-pipe``): JSON, a zero byte after each message.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe")

LAUNCH = """
import fcntl, os, sys
given = [fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]]
for fd, wanted in zip(given, (3, 4)):
    os.dup2(fd, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""The browser reads from the third and writes into the fourth of the files that it finds open."""


class Page:
    """One page, from a file; as a context manager.

    Raises:
        TimeoutError: if the browser does not answer.
    """

    def __init__(self, path: Path, profile: Path, size: tuple[int, int] = (1000, 1100), seconds: float = 60) -> None:
        assert CHROMIUM is not None, "no Chromium here"
        self._seconds, self._number, self._rest, self._session = seconds, 0, b"", ""
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "about:blank"]
        launch = [sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out), *command]
        self._process = subprocess.Popen(
            launch, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        target = self._call("Target.createTarget", url=path.as_uri())["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression; of a promise, what it promised."""
        answer = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Until the expression is true."""
        end = time.monotonic() + self._seconds
        while not self.ask(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"waited {self._seconds} s in vain for {expression}")
            time.sleep(0.05)

    def photograph(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(message).encode("utf-8") + b"\0")
        while True:
            answer = self._next(method)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self, method: str) -> Any:
        end = time.monotonic() + self._seconds
        while b"\0" not in self._rest:
            readable, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            got = os.read(self._in, 1 << 16) if readable else b""
            if not got:
                raise TimeoutError(f"the browser did not answer to {method}")
            self._rest += got
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)
