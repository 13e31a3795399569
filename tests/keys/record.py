#!/usr/bin/env python3
"""Records what terminal emulators send for key chords, by real key events.

  tests/keys/record.py EMULATOR... > table      xterm, urxvt, kitty, lxterminal, alacritty, konsole, st, foot

Each emulator is started under an X server of its own (Xvfb) with a program in it that sets a keyboard mode and writes
down the bytes that arrive; xdotool presses the keys. A line of the table is: mode, chord, bytes (escaped as in
Python). The modes:

  plain   nothing is asked for: what a program without lap gets
  lap     what lap asks for while a program that asked for nothing is in the focused pane
  other2  modifyOtherKeys 2
  kitty1  kitty's flags 1

The tables in tui/src/term_input/recorded/ were made with it; they are what the tests compare with. Needs xvfb, xdotool,
x11-xkb-utils and the emulators. foot needs Wayland and is not recorded here.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

MODES = {
    "plain": "",
    "lap": "\x1b[>5u\x1b[>4;1m",
    "other2": "\x1b[>4;2m",
    "kitty1": "\x1b[>1u",
}

SIZES = {"PATH": os.environ.get("PATH", ""), "HOME": "", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}

# In the terminal: raw mode, the mode's sequence, and everything that arrives goes into a file.
CHILD = r"""
import os, sys, tty
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
tty.setraw(0)
os.write(1, sys.argv[2].encode().decode("unicode_escape").encode())
os.write(1, b"\x1b[c")
while True:
    os.write(out, os.read(0, 4096))
"""

COMMANDS = {
    "xterm": lambda child: ["xterm", "-e", *child],
    "urxvt": lambda child: ["urxvt", "-e", *child],
    "kitty": lambda child: [
        "kitty", "--config", "NONE", "-o", "clear_all_shortcuts=yes", "-o", "update_check_interval=0", *child],
    "lxterminal": lambda child: ["dbus-run-session", "lxterminal", "--no-remote", "-e", quoted(child)],
    "alacritty": lambda child: ["alacritty", "-e", *child],
    "konsole": lambda child: ["dbus-run-session", "konsole", "--nofork", "-e", *child],
    "st": lambda child: ["st", "-e", *child],
}


def quoted(words):
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)


def chords():
    """(name for xdotool, layout)"""
    plain = ["a", "A", "z", "1", "exclam", "slash", "question", "space", "bracketright"]
    plain += [f"ctrl+{k}" for k in "abcdhijmnqsz"]
    plain += [f"ctrl+{k}" for k in ["space", "2", "3", "4", "5", "6", "7", "8", "9", "slash", "minus", "backslash",
                                    "bracketleft", "bracketright", "semicolon", "comma", "period", "equal", "grave"]]
    plain += [f"ctrl+shift+{k}" for k in ["a", "z", "slash", "2", "6", "minus", "semicolon"]]
    plain += [f"alt+{k}" for k in ["a", "z", "1", "slash", "bracketleft", "bracketright", "shift+a", "shift+o",
                                   "shift+p", "space", "period"]]
    plain += ["ctrl+alt+a", "ctrl+alt+shift+a", "ctrl+alt+bracketright", "ctrl+alt+space"]
    mods = ["", "shift+", "ctrl+", "alt+", "ctrl+shift+", "ctrl+alt+", "alt+shift+"]
    for key in ["Return", "Tab", "BackSpace", "Escape"]:
        plain += [m + key for m in mods[:5]]
    for key in ["Up", "Down", "Right", "Left", "Home", "End"]:
        plain += [m + key for m in mods]
    for key in ["Insert", "Delete", "Prior", "Next"]:
        plain += [m + key for m in mods[:5]]
    for key in range(1, 13):
        plain += [m + f"F{key}" for m in (mods[:5] if key < 6 else mods[:3])]
    plain += ["KP_Enter", "KP_Add", "KP_Divide", "KP_Home", "KP_Up", "KP_Begin", "KP_Delete", "ctrl+KP_Up"]
    found = [(name, "us", False) for name in plain]
    found += [(name, "us", True) for name in
              ["F3", "shift+F3", "ctrl+F3", "F5", "Up", "ctrl+Left", "Home", "a", "ctrl+a", "alt+a", "KP_5", "KP_Enter",
               "Return", "Escape", "shift+Tab"]]
    # By keycode: the key in that place on a US keyboard.
    places = {"c": 54, "d": 40, "z": 52, "bracketright": 35, "semicolon": 47, "slash": 61, "b": 56, "2": 11}
    for place, code in places.items():
        found += [(f"{m}{code}:{place}", "ru", False) for m in ["", "ctrl+", "alt+", "shift+"]]
    for place, code in {"c": 54, "2": 11, "bracketright": 35, "q": 24, "7": 16}.items():
        found += [(f"{m}{code}:{place}", "fr", False) for m in ["", "ctrl+", "alt+"]]
    return found


class Bench:
    def __init__(self, display):
        self.env = dict(SIZES, DISPLAY=display, HOME=tempfile.mkdtemp(), XDG_RUNTIME_DIR=tempfile.mkdtemp(),
                        LIBGL_ALWAYS_SOFTWARE="1", KITTY_DISABLE_WAYLAND="1", QT_QPA_PLATFORM="xcb")

    def run(self, *words):
        return subprocess.run(words, env=self.env, capture_output=True, text=True, check=False).stdout

    def layout(self, name):
        self.run("setxkbmap", "-layout", name if name == "us" else f"{name},us")

    def num_lock(self, on):
        state = self.run("xset", "q")
        is_on = "Num Lock:    on" in state
        if is_on != on:
            self.run("xdotool", "key", "Num_Lock")


def settle(path, quiet=0.08, within=1.5, at_least=0):
    """Waits until the file has grown and then stays as it is; gives its size."""
    until, size, since = time.monotonic() + within, -1, time.monotonic()
    while time.monotonic() < until:
        now = path.stat().st_size if path.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > quiet and (size > at_least or time.monotonic() - since > 0.15):
            break
        time.sleep(0.01)
    return max(size, 0)


def record(bench, emulator, mode):
    out = pathlib.Path(tempfile.mkdtemp()) / "bytes"
    child = [sys.executable, "-c", CHILD, str(out), MODES[mode].encode("unicode_escape").decode()]
    bench.layout("us")
    bench.num_lock(False)
    running = subprocess.Popen(COMMANDS[emulator](child), env=bench.env, start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rows = []
    try:
        until = time.monotonic() + 20
        while settle(out, quiet=0.5, within=2) == 0 and time.monotonic() < until:
            pass
        if not out.exists() or out.stat().st_size == 0:
            raise SystemExit(f"{emulator} did not start")
        windows = []
        # The root window is the first.
        while len(windows) < 2 and time.monotonic() < until:
            windows = bench.run("xdotool", "search", "--onlyvisible", "--maxdepth", "1", "--name", ".*").split()
            time.sleep(0.1)
        for window in windows:
            bench.run("xdotool", "windowfocus", window)
        before = settle(out, quiet=0.3)
        now = ("us", False)
        for chord, layout, lock in chords():
            if (layout, lock) != now:
                if layout != now[0]:
                    bench.layout(layout)
                if lock != now[1]:
                    bench.num_lock(lock)
                now = (layout, lock)
                before = settle(out, quiet=0.3)
            keys, _, place = chord.partition(":")
            bench.run("xdotool", "key", keys)
            after = settle(out, at_least=before)
            got = out.read_bytes()[before:after]
            before = after
            name = chord if not place else keys.rpartition("+")[0] + ("+" if "+" in keys else "") + place
            name += ("" if layout == "us" else f" {layout}") + (" numlock" if lock else "")
            rows.append(f"{mode}\t{name}\t{repr(got)[2:-1]}")
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait()
    return rows


def main():
    number = os.getpid() % 400 + 100
    display = f":{number}"
    server = subprocess.Popen(["Xvfb", display, "-screen", "0", "1024x768x24", "+extension", "GLX"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        bench = Bench(display)
        for _ in range(100):
            if "dimensions" in bench.run("xdpyinfo"):
                break
            time.sleep(0.1)
        for emulator in sys.argv[1:]:
            print(f"# {emulator}")
            for mode in MODES:
                for row in record(bench, emulator, mode):
                    print(row, flush=True)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
