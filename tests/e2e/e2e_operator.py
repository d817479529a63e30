# SPDX-License-Identifier: Apache-2.0
"""What hearthd says to its operator: words, events, one-line errors, exit codes."""
from lab import Lab, expect, options, run

HEARTHD = options()[1]


def hearthd(*words):
    return run([HEARTHD, *words])


def fails(rc, needle, *words):
    done = hearthd(*words)
    expect(done.rc == rc and done.err.count("\n") == 1 and needle in done.err and not done.out,
           f"{words}: {done.rc} {done.out!r} {done.err!r}")


with Lab("operator") as lab:
    lab.init()
    ini = str(lab.ini)

    # Help teaches, also for a group of commands.
    for group in ("token", "device", "task", "round", "release"):
        done = hearthd(group, "--help")
        expect(done.rc == 0 and f"usage: hearthd {group} COMMAND" in done.out, done.out)
        fails(2, f"see `hearthd {group} --help`", group)
    expect(hearthd("--version").out.startswith("hearthd "), "version")
    expect("example: hearthd token create" in hearthd("token", "create", "--help").out, "example")

    # Bad usage is 2, failure is 1, each one line with a next step.
    fails(2, "did you mean 'serve'?", "srve")
    fails(2, "did you mean 'token create'?", "token", "creat")
    for host in ("a b", "a:8443", ""):
        fails(2, "--host must be a name", "init", "--dir", ini + ".new", "--host", host)
    fails(2, "unknown flag '--use'; did you mean '--uses'?", "token", "create", "--use", "1")
    fails(1, "make them: hearthd init --dir DIR", "status", "-c", ini + ".none")
    fails(1, "no task 'none'; see `hearthd task list`", "round", "list", "none", "-c", ini)
    fails(1, "no such task", "release", "list", "none", "-c", ini)

    # With --json bad usage is an event as well.
    done = hearthd("token", "create", "--uses", "0", "--json")
    error, = done.of("error")
    expect(done.rc == 2 and error["class"] == "caller" and error["hint"].startswith("see `hearthd")
           and not done.err, (error, done.err))

    # A round of one device promises nothing about its release: no device would come.
    lab.task(count="1,2").failed("let [cohort] count begin at 2")
    lab.task().ok()
    expect("epsilon_release" in hearthd("task", "show", "diary", "-c", ini).out, "task show")
    status, = hearthd("status", "-c", ini, "--json").of("status")
    expect(0 < status["epsilon_release"] <= status["epsilon_coordinator"], status)
    expect("No round yet" in hearthd("round", "list", "diary", "-c", ini).out, "round list")
    fails(1, "task 'diary' has no release 9", "release", "rollback", "diary", "9", "-c", ini)
    fails(1, "has no round 7", "round", "show", "diary", "7", "-c", ini)
    paused, = hearthd("task", "pause", "diary", "-c", ini, "--json").of("task")
    expect(paused == {"event": "task", "task": "diary", "state": "paused"}, paused)
