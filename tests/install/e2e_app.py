# SPDX-License-Identifier: Apache-2.0
"""The example app against a real coordinator: join, contribute, be killed in
the middle, go on, receive the better adapter, answer with it."""
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from lab import Lab, expect, run  # noqa: E402

APP = dict(zip(sys.argv[1::2], sys.argv[2::2]))["--app"]

with Lab("app") as lab:
    lab.init().start()
    lab.task(rounds=2, count="2,2", steps=4, over=1).ok()
    phones = [lab.dir / f"phone{i}" for i in range(2)]

    def app(phone, *words):
        return run([APP, phone, lab.model, *words])

    for i, phone in enumerate(phones):
        for day in range(10):
            app(phone, "note", f"day {day}: slept {5 + (day + i) % 4} hours, walked by the sea").ok()
        app(phone, "join", lab.url, lab.token(), lab.root).ok()
        app(phone, "join", lab.url, "used", lab.root).ok()  # joined before: harmless
    app(lab.dir / "phone9", "join", lab.url, "wrong", lab.root).failed("EAUTH")
    wrong = "sha256//" + "A" * 43 + "="
    app(lab.dir / "phone9", "join", lab.url, lab.token(), wrong).failed("ESIGNATURE", lab.root)

    # Kill the first phone's app at different moments of its nights.
    for turn in range(8):
        p = subprocess.Popen([APP, phones[0], lab.model, "night", "--test-study"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.02 * turn)
        p.send_signal(signal.SIGKILL)
        p.wait()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for phone in phones:
            app(phone, "night", "--test-study").ok()
        if [r["counted"] for r in lab.rounds() if r["phase"] == "released"] == [2, 2]:
            break
        time.sleep(0.1)
    expect([r["counted"] for r in lab.released(2)] == [2, 2], "each phone counted once a round")
    for phone in phones:
        app(phone, "night", "--test-study").ok()
        time.sleep(0.2)
        app(phone, "night", "--test-study").ok()
        status = run([lab.hearth, "status", "--state", phone, "--json"]).ok().of("status")[0]
        expect(status["participations"] == 2 and status["sequence"] == 3, status)
        answer = app(phone, "ask", "How did I sleep?").ok()
        expect(answer.out.endswith("\n"), "an answer")
        app(phone, "forget").ok()
        status = run([lab.hearth, "status", "--state", phone, "--json"]).ok().of("status")[0]
        expect(status["records"] == 0 and status["participations"] == 2, status)
        for path in phone.rglob("*"):
            expect(not path.is_file() or b"walked by the sea" not in path.read_bytes(),
                   f"{path.name} still holds a forgotten note")
    check = run([lab.hearth, "doctor", "--state", phones[0], "--json"]).ok()
    found = {e["name"]: e for e in check.of("check")}
    expect(all(found[n]["ok"] for n in ("enrolment", "certificate", "keyset", "coordinator",
                                        "base model")), found)
    lab.stop()
    run([lab.hearth, "doctor", "--state", phones[0], "--json"]).failed('"coordinator","ok":false')
