#!/usr/bin/env python3
"""Rolling restarts of a charm's units through goahead, with nothing but Python's standard library.

In a charm: make a RollingRestart in __init__, call request() where a restart is needed, and work() in every hook. No
call waits. Outside of a charm:

    rolling_restart.py --unit web/0 request --service nginx --context '{"version": 7}'
    rolling_restart.py --unit web/0 work
"""

import argparse
import json
import logging
import os
import shlex
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

RELEASE, RETRY_RELEASE, RETRY_HOLD, FAILED = "release", "retry_release", "retry_hold", "failed"


class Away(Exception):
    """The service cannot be reached, or cannot answer now."""


class RollingRestart:
    """What one unit is to do under a lock, one thing after another, one unit at a time."""

    def __init__(self, url, unit, lock, state, token=None):
        self.url, self.unit, self.lock, self.state, self.token = url, unit, lock, state, token

    def request(self, services, context=None, action="restart", max_retry=None):
        """Asks for a restart. One that is equal to the last and has not begun is that one. Kept while goahead is away."""
        work = {
            "unit": self.unit, "lock": self.lock, "action": action, "services": services,
            "context": context or {}, "max_retry": max_retry,
        }
        kept = self._kept()
        if not kept or kept[-1] != work:
            self._keep(kept + [work])
        self._send_kept()

    def work(self, callback):
        """Does what is next if it is this unit's turn: callback(operation) restarts and checks, and returns an outcome,
        or None for RELEASE; an exception is RETRY_RELEASE. Gives what came of it: done, retry, hold, failed or lost; or
        why nothing was done: queued, nothing, blocked, away."""
        if not self._send_kept():
            return "away"
        try:
            # The lock is kept for ten minutes when our turn comes while no hook runs (update-status comes every five),
            # and is lost when a hook takes longer than the ttl.
            _, operation = self._call(f"/v1/units/{quote(self.unit)}/next", {"ttl": "10m", "claim_within": "10m"})
        except Away as away:
            logging.warning("goahead: %s", away)
            return "away"
        if operation["outcome"] != "granted":
            return operation["outcome"]
        detail = None
        try:
            outcome = callback(operation) or RELEASE
        except Exception as error:
            logging.exception("operation %s failed", operation["id"])
            outcome, detail = RETRY_RELEASE, str(error)[:1000]
        report = {"unit": self.unit, "token": operation["token"], "outcome": outcome, "detail": detail}
        try:
            return self._call(f"/v1/operations/{operation['id']}/finish", report)[1]["outcome"]
        except Away as away:
            # It is granted again with the same token in the next hook, or retried when the lock was lost.
            logging.warning("goahead: operation %s is not reported: %s", operation["id"], away)
            return "away"

    def _send_kept(self):
        kept = self._kept()
        while kept:
            try:
                self._call("/v1/operations", kept[0])
            except Away as away:
                logging.warning("goahead: %s keeps %d requests: %s", self.state, len(kept), away)
                return False
            kept = kept[1:]
            self._keep(kept)
        return True

    def _kept(self):
        try:
            with open(self.state, encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return []

    def _keep(self, kept):
        with open(self.state + ".new", "w", encoding="utf-8") as file:
            json.dump(kept, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.state + ".new", self.state)

    def _call(self, path, body):
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=15) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            if error.code in (404, 409, 410) and "json" in error.headers.get("Content-Type", ""):
                answer = json.load(error)
                if "outcome" in answer:
                    return error.code, answer
            if error.code == 429 or error.code >= 500:
                raise Away(f"HTTP {error.code}") from error
            raise RuntimeError(f"goahead refuses {path}: {error.code} {error.read(1000)!r}") from error
        except (OSError, ValueError) as error:
            raise Away(str(error)) from error


def quote(name):
    """A name as one segment of a path."""
    return urllib.parse.quote(name, safe="")


def main():
    """The same from a shell; the exit code is 0 unless the unit is blocked, or what was to be done was not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=os.environ.get("GOAHEAD_URL", "http://127.0.0.1:8443"))
    parser.add_argument("--unit", required=True)
    parser.add_argument("--lock", default="restart")
    parser.add_argument("--state", default="rolling_restart.json")
    commands = parser.add_subparsers(dest="command", required=True)
    request = commands.add_parser("request")
    request.add_argument("--service", action="append", default=[])
    request.add_argument("--context", type=json.loads, default={})
    request.add_argument("--max-retry", type=int)
    work = commands.add_parser("work")
    work.add_argument("--restart", type=shlex.split, default=["systemctl", "restart"])
    work.add_argument("--check", type=shlex.split)
    arguments = parser.parse_args()
    restarts = RollingRestart(
        arguments.url, arguments.unit, arguments.lock, arguments.state, os.environ.get("GOAHEAD_TOKEN")
    )
    if arguments.command == "request":
        restarts.request(arguments.service, arguments.context, max_retry=arguments.max_retry)
        return 0

    def restart(operation):
        for service in operation["services"]:
            subprocess.run([*arguments.restart, service], check=True)
        if arguments.check and subprocess.run(arguments.check, check=False).returncode != 0:
            return RETRY_HOLD
        return RELEASE

    outcome = restarts.work(restart)
    print(outcome)
    return 1 if outcome in ("blocked", "failed", "lost", "unknown") else 0


if __name__ == "__main__":
    sys.exit(main())
