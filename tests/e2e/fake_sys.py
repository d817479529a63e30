# SPDX-License-Identifier: Apache-2.0
"""A /sys of a phone for `--sysfs`, and how much a program works."""
import os
import pathlib


class FakeSys:
    """On the charger, 80 percent, 25 degrees."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.say("power_supply/BAT0/type", "Battery")
        self.say("power_supply/BAT0/capacity", "80")
        self.heat(25)
        self.plug(True)

    def say(self, name, text):
        path = self.root / "class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name("." + path.name)  # the program must not see half of it
        new.write_text(text + "\n")
        new.rename(path)

    def plug(self, charging):
        self.say("power_supply/BAT0/status", "Charging" if charging else "Discharging")

    def heat(self, celsius):
        self.say("thermal/thermal_zone0/temp", str(celsius * 1000))


def cpu_seconds(child):
    """Processor time of a running child."""
    fields = pathlib.Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
