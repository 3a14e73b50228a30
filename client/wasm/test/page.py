"""The page in headless Chromium: paste, press, read. Speaks WebDriver to chromedriver; needs nothing but Python.

    page.py PAGE SAMPLE [SCREENSHOTS]
"""

import base64
import json
import pathlib
import subprocess
import sys
import urllib.request

page, sample = pathlib.Path(sys.argv[1]).resolve(), json.loads(pathlib.Path(sys.argv[2]).read_text())
shots = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One window of a headless Chromium."""

    def __init__(self):
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                self.url = "http://127.0.0.1:" + line.rstrip(".\n").rsplit(" ", 1)[1]
                break
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=900,1100"]}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self.own = self.url
        self.url += "/session/" + self.call("POST", "/session", wanted)["sessionId"]

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def script(self, text, *arguments):
        return self.call("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def find(self, selector):
        return self.call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.call("POST", f"/element/{self.find(selector)}/click", {})

    def paste(self, selector, text):
        self.script("document.querySelector(arguments[0]).value = arguments[1]", selector, text)

    def shot(self, name):
        if shots:
            shots.mkdir(parents=True, exist_ok=True)
            (shots / f"{name}.png").write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def close(self):
        try:
            self.call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()


def fill(browser, question):
    browser.paste("#confirmation", json.dumps(question["confirmation"], indent=2))
    browser.paste("#trust", json.dumps(question["genesis"], indent=2))
    browser.paste("#proofs", "\n".join(question["proofs"]))
    browser.paste("#now", str(question["now"]))


def result(browser):
    browser.click("#verify")
    shown = browser.script("const r = document.querySelector('#result'); return [r.className, r.hidden, r.innerText]")
    assert shown[1] is False, shown
    return shown[0], shown[2]


def check(browser):
    browser.call("POST", "/url", {"url": page.as_uri()})
    browser.call("POST", "/timeouts", {"implicit": 60_000})
    browser.find("#verify:enabled")
    for question, answer in zip(sample["questions"], sample["answers"]):
        fill(browser, question)
        kind, text = result(browser)
        assert kind == "valid" and f"Valid: {answer['tier']}" in text and answer["id"] in text, text
        browser.shot(answer["tier"])

    question = sample["questions"][2]
    forged = json.loads(json.dumps(question))
    forged["confirmation"]["header"]["height"] += 1
    fill(browser, forged)
    kind, text = result(browser)
    assert kind == "invalid" and "Not valid" in text and "header" in text, text
    browser.shot("forged")

    fill(browser, question)
    browser.click("#more summary")
    browser.paste("#data", sample["data"])
    assert result(browser)[0] == "valid"
    browser.shot("more")
    browser.paste("#data", "0x00")
    assert "other bytes" in result(browser)[1]
    browser.paste("#data", "")
    browser.paste("#proofs", "")
    kind, text = result(browser)
    assert kind == "invalid" and "use the committee of epoch 2" in text, text
    browser.paste("#confirmation", "no JSON")
    assert "this is no JSON" in result(browser)[1]
    # The policy of the page keeps its promise: it reaches nobody.
    reached = browser.call("POST", "/execute/async", {"args": [], "script":
        f"const done = arguments[0]; fetch('{browser.own}/status', {{mode: 'no-cors'}})"
        ".then(() => done('reached'), (error) => done(error.name))"})
    assert reached == "TypeError", reached
    print("the page verifies, refuses, explains, and asks nobody")


browser = Browser()
try:
    check(browser)
finally:
    browser.close()
