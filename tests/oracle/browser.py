# SPDX-License-Identifier: MIT
"""A headless Chromium, driven over WebDriver with the standard library alone.

with Browser() as browser:
    browser.open(page, width=390, dark=True)
    browser.run("return document.title")
"""

import base64
import json
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"
).split()


def missing() -> str:
    """What is not installed; "" if a Browser can be had."""
    programs = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"not installed: {', '.join(programs)}" if programs else ""


class Browser:
    def __enter__(self):
        self.profile = tempfile.TemporaryDirectory()
        driver = ["chromedriver", "--port=0"]
        self.driver = subprocess.Popen(driver, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            self.session = ""
            self.address = f"http://127.0.0.1:{self.port()}"
            options = {"binary": shutil.which("chromium"), "args": [*FLAGS, f"--user-data-dir={self.profile.name}"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            self.session = "/session/" + self.post("/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.session:
            self.send("DELETE", "")
        self.driver.terminate()
        self.driver.wait()
        self.profile.cleanup()

    def port(self) -> int:
        for line in self.driver.stdout:
            if "started successfully on port " in line:
                return int(line.split("on port ")[1].strip().rstrip("."))
        raise RuntimeError("chromedriver ended before it listened")

    def send(self, method: str, path: str, body: dict | None = None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + self.session + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {json.load(error)['value']['message']}") from None

    def post(self, path: str, body: dict):
        return self.send("POST", path, body)

    def devtools(self, command: str, **parameters):
        return self.post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, page: pathlib.Path, width: int, dark: bool = False) -> None:
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.devtools("Emulation.setEmulatedMedia", features=scheme)
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 600
        )
        self.post("/url", {"url": pathlib.Path(page).absolute().as_uri()})
        end = time.monotonic() + 30
        while self.run("return document.readyState") != "complete" and time.monotonic() < end:
            time.sleep(0.05)

    def run(self, script: str):
        return self.post("/execute/sync", {"script": script, "args": []})

    def console(self) -> list[str]:
        """What the page wrote there since the last call, errors of loading among it."""
        return [entry["message"] for entry in self.post("/se/log", {"type": "browser"})]

    def screenshot(self, file: pathlib.Path) -> None:
        """The whole page."""
        png = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        pathlib.Path(file).write_bytes(base64.b64decode(png))


if __name__ == "__main__":  # python browser.py PAGE FOLDER: screenshots to look at
    import sys

    with Browser() as browser:
        for width in (390, 1280):
            for dark in (False, True):
                browser.open(sys.argv[1], width, dark)
                browser.screenshot(pathlib.Path(sys.argv[2]) / f"{width}-{'dark' if dark else 'light'}.png")
