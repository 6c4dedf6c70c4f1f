"""Keeps an instance registered, whatever becomes of the registry: it is registered again as soon as that is back."""

from __future__ import annotations

import sys
import threading
import time

from .registration import Registration, RegistryError

AGAIN_AFTER = 1.0
"""Seconds after which a registration that failed is tried again."""
LEAVE_WITHIN = 10.0


class Keeper:
    """One registration, looked after by a thread. What it does is one line each on stdout."""

    def __init__(self, name: str, registration: Registration) -> None:
        self._name = name
        self._registration = registration
        self._left = threading.Event()
        self._registered = False
        self._failed = ""
        self._thread = threading.Thread(target=self._keep, name=f"registration-{name}", daemon=True)

    def start(self) -> None:
        """Register from now on. Returns at once."""
        self._thread.start()

    def leave(self) -> None:
        """Take the registration back; returns when that is done, or has failed."""
        self._left.set()
        if not self._thread.is_alive():
            return
        self._thread.join(LEAVE_WITHIN)
        if self._registered:
            try:
                self._registration.deregister()
                self._say("deregistered")
            except RegistryError as error:
                self._say("not deregistered", str(error))

    def _keep(self) -> None:
        pause = 0.0
        while not self._left.wait(pause):
            try:
                if not self._registered:
                    self._registration.register()
                    self._registered = True
                    self._say("registered")
                    pause = self._registration.every
                elif self._registration.beat():
                    pause = self._registration.every
                else:
                    self._registered = False
                    self._say("is not known any more")
                    pause = 0.0
                self._failed = ""
            except RegistryError as error:
                pause = AGAIN_AFTER if not self._registered else min(AGAIN_AFTER, self._registration.every)
                if str(error) != self._failed:  # once, not every second
                    self._failed = str(error)
                    self._say("failed", self._failed)

    def _say(self, did: str, why: str = "") -> None:
        said = why.replace("\\", "/").replace('"', "'").replace("\n", " ")
        sys.stdout.write(f'{{"registry": "{self._name}", "did": "{did}", "why": "{said}", "t": {time.time():.3f}}}\n')
        sys.stdout.flush()
