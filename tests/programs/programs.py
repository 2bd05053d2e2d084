"""Runs the built programs for the tests of this folder: plainly, or on a terminal of their own.

GEMMA_BIN is the folder of the programs, GEMMA_SOURCE_DIR the checkout.
"""

import codecs
import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unittest

BIN = pathlib.Path(os.environ["GEMMA_BIN"])
SOURCE = pathlib.Path(os.environ["GEMMA_SOURCE_DIR"])
GEMMA = str(SOURCE / "examples/models/gemma-demo.Q4_K_M.gguf")
LLAMA = str(SOURCE / "examples/models/llama-demo.Q4_K_M.gguf")
MISTRAL = str(SOURCE / "examples/models/mistral-demo.Q4_K_M.gguf")
LIMIT = 60  # seconds, for a machine that is busy; each call takes far less

PASSAGE = ("The Maris Bridge crosses the river Orne near the town of Velden. It was designed by the engineer "
           "Anna Keller and opened in 1931. The bridge is 412 metres long and carries two railway tracks.")
PROMPT = ("Use the following pieces of context to answer the question at the end.\n" + PASSAGE +
          "\nQuestion: Who designed the Maris Bridge?\nAnswer:")


def environment(**changes):
    """This process's, without what would change the programs' ways; None takes a variable away."""
    env = {k: v for k, v in os.environ.items() if k not in ("GEMMA_ISA", "NO_COLOR", "OMP_NUM_THREADS")}
    env.update(LC_ALL="C.UTF-8", TERM="xterm-256color")
    env.update({k: v for k, v in changes.items() if v is not None})
    for name in [k for k, v in changes.items() if v is None]:
        env.pop(name, None)
    return env


def run(program, *arguments, stdin=b"", env=None, stdout=subprocess.PIPE):
    """(status, standard output, standard error); bytes become text, invalid ones as surrogates."""
    if isinstance(stdin, str):
        stdin = stdin.encode("utf-8", "surrogateescape")
    env = dict(env or environment())
    if "-t" not in arguments:  # where threads are not the point: tests run beside each other
        env.setdefault("OMP_THREAD_LIMIT", "1")
    done = subprocess.run([str(BIN / program), *map(os.fsencode, arguments)], input=stdin, stdout=stdout,
                          stderr=subprocess.PIPE, env=env, timeout=LIMIT, check=False)
    text = [part.decode("utf-8", "surrogateescape") if part is not None else "" for part in (done.stdout, done.stderr)]
    return done.returncode, text[0], text[1]


class ProgramTest(unittest.TestCase):
    """A temporary folder, and what every program promises."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="gemma-programs-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def succeeds(self, program, *arguments, **options):
        """Standard output of a run that ends well and has nothing to complain about."""
        status, out, err = run(program, *arguments, **options)
        self.assertEqual((status, err), (0, ""), f"{program} {arguments}")
        return out

    def refuses(self, program, *arguments, says, **options):
        """Exactly one line on standard error, naming the program and the trouble; nothing else; status 1."""
        status, out, err = run(program, *arguments, **options)
        about = f"{program} {arguments}: {err!r}"
        self.assertEqual(status, 1, about)
        self.assertEqual(out, "", about)
        self.assertRegex(err, r"\A" + re.escape(program) + r": [^\n]+\n\Z", about)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, err)
        return err


class Terminal:
    """A program on a pseudo-terminal of 100 columns. What it showed is `seen`, escape sequences included."""

    def __init__(self, program, *arguments, env=None, columns=100, stdout=None):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:  # the program; nothing may come back from here
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
                if stdout is not None:
                    os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT, 0o600), 1)
                os.execve(str(BIN / program), [program, *arguments], env or environment())
            finally:
                os._exit(127)
        self.seen = ""
        self.status = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def _read(self, seconds):
        """Takes what comes within the time; False when the terminal is closed."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return True
        try:
            part = os.read(self.fd, 65536)
        except OSError:  # how Linux says that the other side is gone
            return False
        self.seen += self._decoder.decode(part)
        return bool(part)

    def wait_for(self, text, since=0):
        """Until `text` has been shown after position `since`; returns the position behind it."""
        deadline = time.monotonic() + LIMIT
        while (at := self.seen.find(text, since)) < 0:
            if time.monotonic() > deadline or not self._read(0.2):
                raise AssertionError(f"{text!r} does not come; the terminal shows {self.seen[since:]!r}")
        return at + len(text)

    def send(self, keys):
        data = keys.encode() if isinstance(keys, str) else keys
        while data:  # what is echoed has to be read, or both sides wait
            _, ready, _ = select.select([], [self.fd], [], 0.05)
            if ready:
                data = data[os.write(self.fd, data[:512]):]
            self._read(0)

    def wait_for_prompt(self, since=0):
        return self.wait_for("> ", since)

    def wait_for_answer(self, since):
        """Until some of an answer has been shown after position `since`."""
        deadline = time.monotonic() + LIMIT
        while len(plain(self.seen[since:]).strip()) < 10:
            if time.monotonic() > deadline or not self._read(0.1):
                raise AssertionError(f"no answer comes; the terminal shows {self.seen[since:]!r}")

    def command(self, line):
        """Types a line at the prompt and returns what is shown until the next prompt."""
        begin = len(self.seen)
        self.send(line + "\r")
        echoed = self.wait_for("\n", begin)
        self.wait_for_prompt(echoed)
        return self.seen[echoed:]

    def end(self):
        """The exit status, once the program has ended by itself."""
        deadline = time.monotonic() + LIMIT
        while self._read(0.1):
            if time.monotonic() > deadline:
                raise AssertionError(f"it does not end; the terminal shows {self.seen!r}")
        _, status = os.waitpid(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        return self.status


def plain(text):
    """What is left to read when escape sequences and carriage returns are gone."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r", "", text)
