#!/usr/bin/env python3
"""Makes the recordings (those of coding agents: README.md): runs a real program on a terminal of 100 by 30, types, and
keeps every byte it writes.

    python3 record.py            all of them
    python3 record.py vim less   some of them

Needs vim, less, htop, nano, mc, dialog, whiptail, tmux, vttest, ncurses-examples, git and python3. A program not
installed is left out. What is recorded differs a little each time (times, process lists), so recordings are kept,
not made by tests. Answers to queries are given as a plain xterm would, or programs wait for them.
"""

import fcntl, os, pty, re, select, shutil, signal, struct, subprocess, sys, tempfile, termios, time

COLS, ROWS = 100, 30
QUIET = 0.4  # seconds without output after which the next key is typed
MOST = 200_000  # bytes kept of each

ANSWERS = [
    (re.compile(rb"\x1b\[0?c"), b"\x1b[?62;22c"),
    (re.compile(rb"\x1b\[>0?c"), b"\x1b[>1;10;0c"),
    (re.compile(rb"\x1b\[6n"), b"\x1b[1;1R"),
    (re.compile(rb"\x1b\]11;\?(\x07|\x1b\\)"), b"\x1b]11;rgb:0000/0000/0000\x1b\\"),
    (re.compile(rb"\x1b\]10;\?(\x07|\x1b\\)"), b"\x1b]10;rgb:ffff/ffff/ffff\x1b\\"),
]

UP, DOWN, RIGHT, PGDN, F10 = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[6~", "\x1b[21~"
EXAMPLES = "/usr/libexec/ncurses-examples/"

SOURCE = "".join(
    f"/// Item {i}: 漢字 and émoji 🚀.\npub fn item_{i}(x: &str) -> Option<u32> {{\n    let y = x.len() * {i};\n"
    f"    if y > 10 {{ Some(y as u32) }} else {{ None }} // {'long ' * (i % 30)}\n}}\n\n"
    for i in range(120)
)

SCRIPT = r"""
import sys, time
out = sys.stdout.write
for frame in range(40):
    out("\x1b[?2026h\x1b[?25l\x1b[H")
    for y in range(28):
        out(f"\x1b[38;2;{y*9};{frame*6};120m│\x1b[39m \x1b[1mline {y}\x1b[22m frame {frame} {'█' * ((frame + y) % 30)}\x1b[K\r\n")
    out(f"\x1b[48;5;236m status {frame} \x1b[K\x1b[49m\x1b[?25h\x1b[?2026l")
    sys.stdout.flush()
out("\x1b[2J\x1b[H\x1b[>1u\x1b[>5u")
for i in range(60):
    out(f"\x1b]8;id=l{i % 7};https://example.org/{i}\x1b\\link {i}\x1b]8;;\x1b\\ \x1b[4:3m\x1b[58:2::255:0:0mcurly\x1b[0m e\u0301 👨‍👩‍👧 漢\r\n")
out("\x1b[5;20r\x1b[20;1H")
for i in range(40):
    out(f"in the region {i}\r\n" if i % 3 else f"\x1b[5;1H\x1bM{i} pushed down\x1b[20;1H\n")
out("\x1b[r\x1b[<1u\x1b[<1u\x1b]0;a title 漢\x07\x1b[22;0t\x1b]2;another\x07\x1b[23;0t\x1b[?2004h\x1b[?1049h\x1b[2J\x1b[Halt\x1b[?1049l\r\n")
"""


def scenarios(directory):
    source = os.path.join(directory, "items.rs")
    with open(source, "w") as file:
        file.write(SOURCE)
    script = os.path.join(directory, "frames.py")
    with open(script, "w") as file:
        file.write(SCRIPT)
    repository = os.path.join(directory, "repository")
    commit = "git init -q; for i in 1 2 3 4 5; do cp ../*.rs .; sed -i s/1$i/2$i/ *.rs; git add .; git commit -qm \"Change $i\"; done"
    who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "A"), ("EMAIL", "a@example.org"), ("DATE", "2026-01-01T00:00:00Z"))}
    os.mkdir(repository)
    subprocess.run(["sh", "-c", commit], cwd=repository, env={**os.environ, **who}, check=True)
    paste = "\x1b[200~" + "".join(f"pasted line {i} with 漢字 and text\n" for i in range(3300)) + "\x1b[201~"
    log = (
        "for i in $(seq 1 400); do printf '\\033[32m%8d\\033[0m \\033[1;34mCompiling\\033[0m crate-%d v1.%d.0 (/src/%d)\\r\\n' $i $i $i $i;"
        " [ $((i % 20)) = 0 ] && printf '\\033[1;33mwarning\\033[0m: unused \\033[4mvariable\\033[0m `x_%d`\\n   \\033[34m-->\\033[0m src/lib.rs:%d\\n' $i $i;"
        " printf 'Building [%-30s] %d/400\\r' '=========>' $i; done"
    )
    examples = ["firework", "worm", "hanoi", "rain", "newdemo", "ncurses-examples", "demo_panels", "demo_menus", "knight", "picsmap", "test_addwstr", "xmas"]
    return {
        "vim": (["vim", "-u", "NONE", "-c", "syntax on | set nu hls wrap | colorscheme default", source],
                ["G", "gg", "/item_4\r", "n", ":split\r", "\x04", "iinserted 漢字 🚀 text\r\x1b", "5dd", "u", ":vsplit\r", "\x0c", "\x05\x05\x05", ":set list\r", "V10j>", ":qa!\r"]),
        "vim-defaults": (["vim", source], ["\x06", "\x06", "\x02", ":term\r", "ls --color /usr\r", "exit\r", "\x17\x17", ":h motion\r", "\x06", ":qa!\r", ":qa!\r"]),
        "less": (["less", "-R", source], [" ", " ", "b", "/item_9\r", "n", "G", "g", "-S", "\x1b[C", "100g", "q"]),
        "nano": (["nano", "-l", source], [DOWN * 5, "typed text", PGDN, PGDN, "\x17item_5\r", "\x0b\x0b\x15", "\x18", "n"]),
        "htop": (["htop", "-d", "5"], ["", "", DOWN * 4, "\x1b[15~", "", "t", "", "/bash", "\r", "q"]),
        "mc": (["mc", "-c", directory, "/usr"], [DOWN * 3, "\t", DOWN * 8, "\r", "\x1b[13~", PGDN, F10, "\x1b[20~", RIGHT, DOWN, "\x1b\x1b", F10, "\r"]),
        "dialog": (["dialog", "--menu", "Choose 漢字", "20", "60", "10"] + [part for i in range(20) for part in (str(i), f"Entry number {i}")],
                   [DOWN, DOWN, DOWN, PGDN, UP, "\t", "\t", "\r"]),
        "whiptail": (["whiptail", "--checklist", "Pick some", "20", "60", "10"] + [part for i in range(20) for part in (f"n{i}", f"Entry {i}", "off")],
                     [DOWN, " ", DOWN, " ", PGDN, "\t", "\t", "\r"]),
        "tmux": (["tmux", "-L", "lap-vt-recording", "-f", "/dev/null", "new-session", "bash --norc"],
                 ["ls -la --color /usr\r", "\x02%", "cat " + source + " | head -60\r", '\x02"', "for i in $(seq 100); do echo $i; done\r", "\x02\x1b[A", "\x02[", "\x1b[5~", "q", "\x02z", "\x02c", "echo new window 漢字\r", "\x02n", "\x02:kill-server\r"]),
        "bash": (["bash", "--norc"], ["ls --color /usr/bin | head -200\r", "echo 漢字 🚀 é\r", "cat << EOF\r", "lines\rand lines\rEOF\r", "ec\t\t", "\x15", "seq 200\r", "\x12seq\x1b[D\x1b[D", "\x03", "clear\r", "printf '\\e[31mred\\e[m%100s|\\n' x\r", "exit\r"]),
        "paste": (["bash", "--norc"], ["cat > /dev/null\r", paste, "\r\x04", "exit\r"]),
        "python": (["python3"], ["import sys, json\r", "help(json)\r", " ", "q", "for i in range(50): print(i, '漢' * i)\r\r", "1/0\r", "\x04"]),
        "build-log": (["bash", "--norc", "-c", log], []),
        "git": (["git", "-C", repository, "-c", "color.ui=always", "log", "--stat", "--graph", "-p"], [" ", " ", " ", "G", "q"]),
        "frames": (["python3", script], []),
        "wide": (["bash", "--norc", "-c", f"cat {source}; cat {source} | fold -w 37; printf '%s\\n' 日本語テキスト{{1..60}}한국어中文字符👍🏽❤️🇫🇷"], []),
        "vttest": (["vttest"], ["1\r", "\r", "\r", "\r", "\r", "\r", "\r", "2\r", "\r", "\r", "\r", "\r", "\r", "\r", "\r", "\r", "\r", "\r", "\r", "\r", "\r", "\r", "\r", "3\r", "8\r", "\r", "\r", "0\r", "8\r", "\r", "\r", "\r", "\r", "\r", "\r", "\r", "0\r"]),
        "vttest-colours": (["vttest"], ["11\r", "6\r", "2\r", "\r", "3\r", "\r", "\r", "4\r", "\r", "\r", "5\r", "\r", "0\r", "8\r", "2\r", "\r", "\r", "\r", "3\r", "\r", "0\r", "0\r", "0\r"]),
        **{f"demo-{name}": ([EXAMPLES + name], ["", "", "n", "\r", " ", "q", "\x1b", "q"]) for name in examples},
    }


def record(argv, keys, directory):
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8", "PS1": "$ ", "HISTFILE": "", "HOME": tempfile.gettempdir()}
    for name in ("LINES", "COLUMNS", "TMUX"):
        environment.pop(name, None)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(directory)
        # A host and a process list of its own: recordings are kept, and tell nothing of where they were made.
        alone = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "sh", "-c", 'hostname terminal; exec "$@"', "sh"]
        os.execvpe(alone[0], alone + argv, environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLS, 0, 0))
    recorded, keys, started = b"", list(keys), time.time()
    answered, last = 0, time.time()
    typing = b""
    while len(recorded) < MOST and time.time() - started < 40:
        readable, writable, _ = select.select([terminal], [terminal] if typing else [], [], 0.05)
        if writable:
            typing = typing[os.write(terminal, typing[:1024]):]
        if readable:
            try:
                chunk = os.read(terminal, 65536)
            except OSError:
                break
            if not chunk:
                break
            recorded += chunk
            last = time.time()
            for pattern, answer in ANSWERS:
                for _ in pattern.finditer(recorded, answered):
                    typing += answer
            answered = len(recorded)
        elif not typing and time.time() - last > QUIET:
            if not keys:
                break
            typing = keys.pop(0).encode()
            last = time.time()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(terminal)
    return recorded[:MOST]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    with tempfile.TemporaryDirectory() as directory:
        for name, (argv, keys) in scenarios(directory).items():
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            if not shutil.which(argv[0]):
                print(f"{name}: no {argv[0]}")
                continue
            recorded = record(argv, keys, directory)
            with open(os.path.join(here, f"{name}.bin"), "wb") as file:
                file.write(recorded)
            print(f"{name}: {len(recorded)} bytes", flush=True)
    subprocess.run(["tmux", "-L", "lap-vt-recording", "kill-server"], capture_output=True)


if __name__ == "__main__":
    main()
